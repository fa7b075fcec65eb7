/* SPDX-License-Identifier: MIT */
/*
 * A reader-writer lock of four bytes.  A tree holds a lock for every inode, and glibc's
 * takes 56 bytes of the 200 that a file may cost.  Hides the futex.
 *
 * Not recursive: a reader that waits behind a waiting writer would wait for
 * itself.  Any thread may unlock what another one locked.
 */
#ifndef TMPFS_LOCK_H
#define TMPFS_LOCK_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#if defined(__clang__)
#define THREAD_ANNOTATION(x) __attribute__((x))
#else
#define THREAD_ANNOTATION(x)
#endif
#define CAPABILITY(name) THREAD_ANNOTATION(capability(name))
#define REQUIRES(...) THREAD_ANNOTATION(requires_capability(__VA_ARGS__))
#define REQUIRES_SHARED(...) THREAD_ANNOTATION(requires_shared_capability(__VA_ARGS__))
#define ACQUIRE(...) THREAD_ANNOTATION(acquire_capability(__VA_ARGS__))
#define ACQUIRE_SHARED(...) THREAD_ANNOTATION(acquire_shared_capability(__VA_ARGS__))
#define RELEASE(...) THREAD_ANNOTATION(release_capability(__VA_ARGS__))
#define RELEASE_SHARED(...) THREAD_ANNOTATION(release_shared_capability(__VA_ARGS__))
#define NO_THREAD_SAFETY_ANALYSIS THREAD_ANNOTATION(no_thread_safety_analysis)

struct CAPABILITY("rwlock") small_rwlock {
	_Atomic uint32_t state; /* lock.c says what is in it; 0: free */
};

void small_rwlock_init(struct small_rwlock *lock);
void small_rwlock_rdlock(struct small_rwlock *lock) ACQUIRE_SHARED(lock);
void small_rwlock_rdunlock(struct small_rwlock *lock) RELEASE_SHARED(lock);
void small_rwlock_wrlock(struct small_rwlock *lock) ACQUIRE(lock);
/* Both return false instead of waiting. */
bool small_rwlock_tryrdlock(struct small_rwlock *lock);
bool small_rwlock_trywrlock(struct small_rwlock *lock);
void small_rwlock_wrunlock(struct small_rwlock *lock) RELEASE(lock);

/* From writing to reading, with no other writer in between. */
void small_rwlock_downgrade(struct small_rwlock *lock) RELEASE(lock) ACQUIRE_SHARED(lock);

/* A lock of glibc's that writers get before readers who come later.  Not recursive, as above.  Returns 0 or -errno. */
int fair_rwlock_init(pthread_rwlock_t *lock);

#endif
