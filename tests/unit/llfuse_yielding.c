/* SPDX-License-Identifier: MIT */
/* When a thread of a ring may yield, and how the guard ends that: without a mount, the test is the thread. */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "internal.h"

enum { MS = 1000000, S = 1000 * MS };

/* --- When ----------------------------------------------------------------------------------- */

/* Requests every @gap_ns from @at_ns on; returns how many until it may yield, 0 if none of @n. */
static unsigned requests_until_yielding(struct pace *pace, uint64_t at_ns, uint64_t gap_ns, unsigned n)
{
	for (unsigned i = 1; i <= n; i++) {
		if (ll_pace_request(pace, at_ns + (i - 1) * gap_ns))
			return i;
	}
	return 0;
}

static void requests_in_a_row_make_it_worth_while(void **state)
{
	struct pace pace = {.streak = 0};

	(void)state;
	assert_int_equal(requests_until_yielding(&pace, S, MS / 10, 100), 9);
	assert_int_equal(requests_until_yielding(&pace, 2 * (uint64_t)S, MS / 10, 100), 9);
}

static void requests_far_apart_do_not(void **state)
{
	struct pace pace = {.streak = 0};

	(void)state;
	assert_int_equal(requests_until_yielding(&pace, S, MS, 1000), 0);
}

static void who_was_starved_pauses_twice_as_long_each_time(void **state)
{
	struct pace pace = {.streak = 0};
	uint64_t now = S, pauses[12];

	(void)state;
	for (unsigned i = 0; i < 12; i++) {
		while (!ll_pace_request(&pace, now))
			now += MS / 10;
		now += 5 * MS;
		ll_pace_starved(&pace, now);
		pauses[i] = pace.pause_end_ns - now;
		assert_int_equal(requests_until_yielding(&pace, now, MS / 10, (unsigned)(pauses[i] / MS * 10)), 0);
	}
	assert_int_equal(pauses[0], 10 * MS);
	assert_int_equal(pauses[1], 20 * MS);
	assert_int_equal(pauses[11], pauses[10]);
	assert_in_range(pauses[11], S, 2 * (uint64_t)S);
}

static void a_long_time_without_being_starved_makes_the_next_pause_short(void **state)
{
	struct pace pace = {.pause_ns = S};

	(void)state;
	assert_int_equal(requests_until_yielding(&pace, S, MS / 10, 100), 9);
	ll_pace_starved(&pace, 2 * (uint64_t)S);
	assert_int_equal(pace.pause_end_ns - 2 * (uint64_t)S, 10 * MS);
}

/* --- The guard ------------------------------------------------------------------------------ */

static struct llfuse_session session;
static struct worker *worker;

static void rest(void)
{
	struct timespec time = {.tv_nsec = MS / 10};

	(void)nanosleep(&time, NULL);
}

/* Requests as if they came one right after the other, until the guard lets the thread yield. */
static void request_until_yielding(void)
{
	while (sched_getscheduler(0) != SCHED_IDLE)
		ll_yielding_request(&session, worker, ll_now_ns());
}

static bool can_yield(void)
{
	struct sched_param param = {.sched_priority = 0};

	return sched_setscheduler(0, SCHED_IDLE, &param) == 0 && sched_setscheduler(0, SCHED_OTHER, &param) == 0;
}

struct test {
	void (*function)(void);
};

static void *run_in_thread(void *arg)
{
	const struct test *test = arg;

	worker = ll_worker_current(&session);
	test->function();
	return NULL;
}

/* In a thread of its own, which may stay under SCHED_IDLE. */
static void with_guard(void (*function)(void))
{
	static uint64_t last_id = 2000;
	struct test test = {function};
	pthread_t thread;

	memset(&session, 0, sizeof(session));
	session.id = ++last_id;
	session.name = (char *)"test";
	session.may_yield = true;
	pthread_mutex_init(&session.workers_lock, NULL);
	ll_guard_init(&session.guard);
	ll_guard_start(&session);
	while (!atomic_load(&session.guard.may_yield))
		rest();
	assert_int_equal(pthread_create(&thread, NULL, run_in_thread, &test), 0);
	pthread_join(thread, NULL);
	ll_guard_stop(&session);
	ll_guard_done(&session.guard);
	ll_workers_free(&session);
	pthread_mutex_destroy(&session.workers_lock);
}

/* What the thread saw: only the main thread can assert. */
static int last_policy;
static uint64_t pause_ns;

static void note(void)
{
	last_policy = sched_getscheduler(0);
	ll_yielding_request(&session, worker, ll_now_ns());
	pause_ns = worker->yielding.pace.pause_ns;
}

static void sleep_until_put_back(void)
{
	request_until_yielding();
	while (atomic_load(&worker->yielding.state))
		rest();
	rest(); /* it may have been awake to look */
	note();
}

static void who_has_nothing_to_do_is_put_back(void **state)
{
	(void)state;
	if (!can_yield())
		skip();
	with_guard(sleep_until_put_back);
	assert_int_equal(last_policy, SCHED_OTHER);
	assert_int_equal(pause_ns, 0);
}

static void run_until_put_back(void)
{
	request_until_yielding();
	while (atomic_load(&worker->yielding.state))
		continue; /* never asleep, as if it waited for the CPU */
	note();
}

static void who_does_not_get_on_is_put_back_and_pauses(void **state)
{
	(void)state;
	if (!can_yield())
		skip();
	with_guard(run_until_put_back);
	assert_int_equal(last_policy, SCHED_OTHER);
	assert_int_equal(pause_ns, 10 * MS);
}

static void end_while_yielding(void)
{
	request_until_yielding();
}

static void a_thread_that_ends_while_it_yields_is_forgotten(void **state)
{
	(void)state;
	if (!can_yield())
		skip();
	with_guard(end_while_yielding);
}

static void stop_while_yielding(void)
{
	request_until_yielding();
	ll_guard_stop(&session);
	for (int i = 0; i < 100; i++)
		ll_yielding_request(&session, worker, ll_now_ns());
	note();
	ll_guard_start(&session);
}

static void nobody_yields_without_a_guard(void **state)
{
	(void)state;
	if (!can_yield())
		skip();
	with_guard(stop_while_yielding);
	assert_int_equal(last_policy, SCHED_OTHER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_in_a_row_make_it_worth_while),
		cmocka_unit_test(requests_far_apart_do_not),
		cmocka_unit_test(who_was_starved_pauses_twice_as_long_each_time),
		cmocka_unit_test(a_long_time_without_being_starved_makes_the_next_pause_short),
		cmocka_unit_test(who_has_nothing_to_do_is_put_back),
		cmocka_unit_test(who_does_not_get_on_is_put_back_and_pauses),
		cmocka_unit_test(a_thread_that_ends_while_it_yields_is_forgotten),
		cmocka_unit_test(nobody_yields_without_a_guard),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
