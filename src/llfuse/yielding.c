/* SPDX-License-Identifier: MIT */
/*
 * The scheduling of the threads of the rings: while requests come one right after the other they run under SCHED_IDLE, so
 * that who has waited for an answer goes on where he is.
 *
 * libfuse has a ring and a thread for each CPU, and a request goes to the ring of the CPU that it comes from.  Its answer
 * wakes the caller while the thread still occupies that CPU; so the scheduler takes the caller to another one that is
 * idle, which has to be woken first, as has its ring's thread for the next request.  That makes a round trip several
 * times as long.  A CPU where nothing but SCHED_IDLE runs counts as idle: there the caller stays, and goes on at once.
 *
 * Under SCHED_IDLE a thread may starve where others want the CPU.  So one thread of each session, the guard, decides: it
 * lets a thread yield when that asks for it, looks every few milliseconds if it gets on, and ends its yielding if not.
 * While no thread yields, the guard sleeps.  A thread that was starved does not ask again for a while.
 *
 * Source: sched(7); Linux kernel/sched/fair.c, select_idle_sibling() and sched_idle_cpu().
 */
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "caps.h"
#include "internal.h"

enum {
	STREAK = 8, /* requests, each soon after the one before, that make it worth while */
	SOON_NS = 500000,
	LOOK_MS = 2, /* how long a thread may be without a request before it is put back */
	MIN_PAUSE_NS = 10000000, /* of a thread that was starved */
	MAX_PAUSE_NS = 1000000000,
	LONG_NS = 100000000, /* yielding so long without being starved: it was worth while */
};

enum { DOES_NOT_YIELD, ASKS, YIELDS };

enum {
	WAS_IDLE = -1, /* it had nothing to do */
	WAS_STARVED = -2,
};

/* --- When: of the thread itself ------------------------------------------------------------- */

bool ll_pace_request(struct pace *pace, uint64_t now_ns)
{
	pace->streak = now_ns - pace->last_ns < SOON_NS ? pace->streak + 1 : 0;
	pace->last_ns = now_ns;
	if (pace->streak < STREAK || now_ns < pace->pause_end_ns)
		return false;
	pace->streak = 0;
	pace->begin_ns = now_ns;
	return true;
}

void ll_pace_starved(struct pace *pace, uint64_t now_ns)
{
	if (!pace->pause_ns || now_ns - pace->begin_ns > LONG_NS)
		pace->pause_ns = MIN_PAUSE_NS;
	else if (pace->pause_ns < MAX_PAUSE_NS)
		pace->pause_ns *= 2;
	pace->pause_end_ns = now_ns + pace->pause_ns;
}

/* It was ready to run when it was put back, after it had gone to sleep @sleeps times.  If it has not since, a request was
 * waiting for it; else it was only waiting to go to sleep. */
static bool was_starved(long sleeps)
{
	struct rusage usage;

	return sleeps == WAS_STARVED || getrusage(RUSAGE_THREAD, &usage) < 0 || usage.ru_nvcsw == sleeps;
}

static void ask(struct llfuse_session *session, struct yielding *yielding)
{
	atomic_store(&yielding->state, ASKS);
	sem_post(&session->guard.events);
}

void ll_yielding_request(struct llfuse_session *session, struct worker *worker, uint64_t now_ns)
{
	struct yielding *yielding = &worker->yielding;
	uint64_t n = atomic_load_explicit(&yielding->n_requests, memory_order_relaxed);
	long sleeps;

	if (!atomic_load_explicit(&session->guard.may_yield, memory_order_relaxed))
		return;
	atomic_store_explicit(&yielding->n_requests, n + 1, memory_order_relaxed); /* nobody else writes it */
	if (atomic_load_explicit(&yielding->state, memory_order_acquire) != DOES_NOT_YIELD) {
		yielding->pace.last_ns = now_ns;
		return;
	}
	sleeps = yielding->sleeps;
	yielding->sleeps = WAS_IDLE;
	if (sleeps != WAS_IDLE && was_starved(sleeps))
		ll_pace_starved(&yielding->pace, now_ns);
	if (ll_pace_request(&yielding->pace, now_ns))
		ask(session, yielding);
}

/* --- The guard ------------------------------------------------------------------------------ */

static int set_policy(pid_t tid, int policy)
{
	struct sched_param param = {.sched_priority = 0};

	return sched_setscheduler(tid, policy, &param) < 0 ? -errno : 0;
}

/* Whoever makes a thread yield must be able to end that: without a privilege it is for good (sched(7)), and to have the
 * capability may mean nothing in a user namespace.  Returns 0 or -errno; the calling thread may then yield until it ends. */
static int try_to_yield(void)
{
	int err;

	if (sched_getscheduler(0) != SCHED_OTHER)
		return -EINVAL; /* somebody wanted it otherwise */
	if (!caps_thread_has(CAP_SYS_NICE))
		return -EPERM;
	err = set_policy(0, SCHED_IDLE);
	return err ? err : set_policy(0, SCHED_OTHER);
}

/* What the thread @tid was doing: WAS_IDLE, WAS_STARVED, or how often it had gone to sleep before it was ready to run,
 * with or without a request. */
static long look_why(pid_t tid)
{
	static const char state_key[] = "\nState:\t", sleeps_key[] = "\nvoluntary_ctxt_switches:\t";
	const char *state, *sleeps;
	char path[64], status[4096];
	ssize_t n = -1;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/status", (int)tid);
	fd = ll_proc_open(path, O_RDONLY);
	if (fd >= 0) {
		n = read(fd, status, sizeof(status) - 1);
		close(fd);
	}
	status[n > 0 ? n : 0] = '\0';
	state = strstr(status, state_key);
	sleeps = strstr(status, sleeps_key);
	if (!state || !sleeps)
		return WAS_STARVED;
	return state[sizeof(state_key) - 1] == 'R' ? atol(sleeps + sizeof(sleeps_key) - 1) : WAS_IDLE;
}

/* The program may have given up rights, and somebody else may have given the thread a policy. */
static bool may_begin(const struct yielding *yielding)
{
	return yielding->tid && caps_thread_has(CAP_SYS_NICE) && sched_getscheduler(yielding->tid) == SCHED_OTHER;
}

/* Returns whether the thread yields now. */
static bool begin(struct yielding *yielding)
{
	if (!may_begin(yielding) || set_policy(yielding->tid, SCHED_IDLE) < 0) {
		yielding->sleeps = WAS_STARVED; /* so that it does not ask again soon */
		atomic_store_explicit(&yielding->state, DOES_NOT_YIELD, memory_order_release);
		return false;
	}
	yielding->seen = atomic_load(&yielding->n_requests);
	yielding->seen_ns = ll_now_ns();
	atomic_store(&yielding->state, YIELDS);
	return true;
}

static void end(struct yielding *yielding)
{
	if (yielding->tid) {
		yielding->sleeps = look_why(yielding->tid);
		(void)set_policy(yielding->tid, SCHED_OTHER); /* it was tried */
	}
	atomic_store_explicit(&yielding->state, DOES_NOT_YIELD, memory_order_release);
}

static bool gets_on(struct yielding *yielding)
{
	uint64_t n = atomic_load(&yielding->n_requests), now = ll_now_ns();

	if (n == yielding->seen)
		return now - yielding->seen_ns < LOOK_MS * UINT64_C(1000000);
	yielding->seen = n;
	yielding->seen_ns = now;
	return true;
}

/* Returns whether the thread yields. */
static bool look_at(struct yielding *yielding, bool is_stopping)
{
	bool yields = false;

	if (pthread_mutex_trylock(&yielding->lock))
		return false; /* it ends: nobody else has it for long */
	switch (atomic_load(&yielding->state)) {
	case ASKS:
		yields = !is_stopping && begin(yielding);
		break;
	case YIELDS:
		yields = !is_stopping && gets_on(yielding);
		if (!yields)
			end(yielding);
		break;
	}
	pthread_mutex_unlock(&yielding->lock);
	return yields;
}

/* Returns whether it has to look again soon.  It waits for no lock that a thread may have which does not get on. */
static bool look_at_all(struct llfuse_session *session, bool is_stopping)
{
	bool any_yields = false;

	if (pthread_mutex_trylock(&session->workers_lock))
		return true;
	for (struct worker *worker = session->workers; worker; worker = worker->next)
		any_yields |= look_at(&worker->yielding, is_stopping);
	pthread_mutex_unlock(&session->workers_lock);
	return any_yields;
}

/* Until it is time to look, or something is asked. */
static void wait_a_little(struct guard *guard)
{
	struct timespec until = deadline_after_ms(LOOK_MS);

	(void)sem_clockwait(&guard->events, CLOCK_MONOTONIC, &until);
}

static void *run_guard(void *arg)
{
	struct llfuse_session *session = arg;
	struct guard *guard = &session->guard;
	int err;

	(void)pthread_setname_np(pthread_self(), "guard");
	err = try_to_yield();
	if (err) {
		llfuse_log(LLFUSE_LOG_DEBUG, session->name, "the threads of rings cannot yield: %s", strerror(-err));
		return NULL;
	}
	atomic_store(&guard->may_yield, true);
	while (!atomic_load(&guard->is_stopping)) {
		if (look_at_all(session, false))
			wait_a_little(guard);
		else
			(void)sem_wait(&guard->events); /* if it is cut short, nothing is found to do */
	}
	atomic_store(&guard->may_yield, false);
	while (look_at_all(session, true))
		wait_a_little(guard);
	return NULL;
}

void ll_guard_init(struct guard *guard)
{
	sem_init(&guard->events, 0, 0);
}

void ll_guard_done(struct guard *guard)
{
	sem_destroy(&guard->events);
}

void ll_guard_start(struct llfuse_session *session)
{
	struct guard *guard = &session->guard;

	guard->is_running = session->may_yield && !ll_thread_start(&guard->thread, run_guard, session);
}

void ll_guard_stop(struct llfuse_session *session)
{
	struct guard *guard = &session->guard;

	atomic_store(&guard->is_stopping, true);
	sem_post(&guard->events);
	if (guard->is_running)
		(void)pthread_join(guard->thread, NULL);
	guard->is_running = false;
}

void ll_yielding_init(struct yielding *yielding)
{
	pthread_mutex_init(&yielding->lock, NULL);
	yielding->sleeps = WAS_IDLE;
}

void ll_yielding_follow_thread(struct yielding *yielding)
{
	pthread_mutex_lock(&yielding->lock);
	yielding->tid = gettid();
	pthread_mutex_unlock(&yielding->lock);
}

void ll_yielding_forget_thread(struct yielding *yielding)
{
	pthread_mutex_lock(&yielding->lock);
	yielding->tid = 0;
	atomic_store(&yielding->state, DOES_NOT_YIELD);
	pthread_mutex_unlock(&yielding->lock);
	yielding->sleeps = WAS_IDLE;
	yielding->pace = (struct pace){.streak = 0};
}
