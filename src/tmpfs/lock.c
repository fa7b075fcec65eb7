/* SPDX-License-Identifier: MIT */
/* A reader-writer lock on a futex.  See lock.h. */
#include "lock.h"

#include <limits.h>
#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * The state: WRITER while one writes, else the number of readers; and WAITERS
 * when somebody sleeps.  Who sets WAITERS sees the lock held at that moment,
 * so that there is somebody to clear it and wake the sleepers.
 */
#define WRITER (UINT32_C(1) << 31)
#define WAITERS (UINT32_C(1) << 30)
#define READERS (WAITERS - 1)

static void wake_all(struct small_rwlock *lock)
{
	syscall(SYS_futex, &lock->state, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

/* Sleeps until the state may have changed from @seen, in which the lock is held. */
static void wait_for_change(struct small_rwlock *lock, uint32_t seen)
{
	uint32_t marked = seen | WAITERS;

	if (seen != marked && !atomic_compare_exchange_strong(&lock->state, &seen, marked))
		return;
	syscall(SYS_futex, &lock->state, FUTEX_WAIT_PRIVATE, marked, NULL, NULL, 0);
}

/* A waiting writer keeps new readers out, or it might never come in. */
static bool reader_must_wait(uint32_t state)
{
	return (state & WRITER) || ((state & WAITERS) && (state & READERS));
}

void small_rwlock_init(struct small_rwlock *lock)
{
	atomic_init(&lock->state, 0);
}

void small_rwlock_rdlock(struct small_rwlock *lock) NO_THREAD_SAFETY_ANALYSIS
{
	uint32_t state = atomic_load_explicit(&lock->state, memory_order_relaxed);

	for (;;) {
		if (reader_must_wait(state)) {
			wait_for_change(lock, state);
			state = atomic_load_explicit(&lock->state, memory_order_relaxed);
		} else if (atomic_compare_exchange_weak_explicit(&lock->state, &state, state + 1, memory_order_acquire,
								 memory_order_relaxed)) {
			return;
		}
	}
}

bool small_rwlock_tryrdlock(struct small_rwlock *lock)
{
	uint32_t state = atomic_load_explicit(&lock->state, memory_order_relaxed);

	while (!reader_must_wait(state))
		if (atomic_compare_exchange_weak_explicit(&lock->state, &state, state + 1, memory_order_acquire,
							  memory_order_relaxed))
			return true;
	return false;
}

void small_rwlock_rdunlock(struct small_rwlock *lock) NO_THREAD_SAFETY_ANALYSIS
{
	uint32_t before = atomic_fetch_sub_explicit(&lock->state, 1, memory_order_release);

	if ((before & READERS) == 1 && (before & WAITERS)) {
		/* Cleared before the wake-up: who comes between marks it again. */
		atomic_fetch_and(&lock->state, ~WAITERS);
		wake_all(lock);
	}
}

void small_rwlock_wrlock(struct small_rwlock *lock) NO_THREAD_SAFETY_ANALYSIS
{
	uint32_t state = atomic_load_explicit(&lock->state, memory_order_relaxed);

	for (;;) {
		if (state & ~WAITERS) {
			wait_for_change(lock, state);
			state = atomic_load_explicit(&lock->state, memory_order_relaxed);
		} else if (atomic_compare_exchange_weak_explicit(&lock->state, &state, state | WRITER,
								 memory_order_acquire, memory_order_relaxed)) {
			return;
		}
	}
}

bool small_rwlock_trywrlock(struct small_rwlock *lock)
{
	uint32_t free = 0;

	return atomic_compare_exchange_strong_explicit(&lock->state, &free, WRITER, memory_order_acquire,
						       memory_order_relaxed);
}

void small_rwlock_wrunlock(struct small_rwlock *lock) NO_THREAD_SAFETY_ANALYSIS
{
	if (atomic_exchange_explicit(&lock->state, 0, memory_order_release) & WAITERS)
		wake_all(lock);
}

void small_rwlock_downgrade(struct small_rwlock *lock) NO_THREAD_SAFETY_ANALYSIS
{
	if (atomic_exchange_explicit(&lock->state, 1, memory_order_acq_rel) & WAITERS)
		wake_all(lock);
}

int fair_rwlock_init(pthread_rwlock_t *lock)
{
	pthread_rwlockattr_t attr;
	int err = pthread_rwlockattr_init(&attr);

	if (err)
		return -err;
	(void)pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP); /* known to glibc */
	err = pthread_rwlock_init(lock, &attr);
	(void)pthread_rwlockattr_destroy(&attr); /* never fails */
	return -err;
}
