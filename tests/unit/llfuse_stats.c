/* SPDX-License-Identifier: MIT */
/* The counters: buckets, sums over threads, reading while others count. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "internal.h"

/* Enough of a session for its counters. */
static struct llfuse_session *new_session(void)
{
	static uint64_t last_id = 1000;
	struct llfuse_session *session = calloc(1, sizeof(*session));

	assert_non_null(session);
	session->id = ++last_id;
	session->name = strdup("probe");
	pthread_mutex_init(&session->workers_lock, NULL);
	return session;
}

static void free_session(struct llfuse_session *session)
{
	ll_workers_free(session);
	pthread_mutex_destroy(&session->workers_lock);
	free(session->name);
	free(session);
}

static void fresh_counters_are_zero(void **state)
{
	struct llfuse_session *session = new_session();
	struct llfuse_stats stats, none;

	(void)state;
	memset(&none, 0, sizeof(none));
	memset(&stats, 0xff, sizeof(stats));
	llfuse_stats_read(session, &stats);
	assert_memory_equal(&stats, &none, sizeof(stats));
	free_session(session);
}

static void times_fall_into_powers_of_two(void **state)
{
	static const struct {
		uint64_t elapsed_ns;
		unsigned bucket;
	} cases[] = {
		{0, 0},
		{1, 0},
		{2, 1},
		{3, 1},
		{4, 2},
		{7, 2},
		{8, 3},
		{1023, 9},
		{1024, 10},
		{(UINT64_C(1) << 39) - 1, 38},
		{UINT64_C(1) << 39, 39},
		{UINT64_C(1) << 40, 39},
		{UINT64_MAX, 39},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct llfuse_session *session = new_session();
		struct llfuse_stats stats;

		ll_worker_count(ll_worker_current(session), LLFUSE_OP_READ, false, cases[i].elapsed_ns);
		llfuse_stats_read(session, &stats);
		for (unsigned bucket = 0; bucket < LLFUSE_LATENCY_BUCKETS; bucket++)
			assert_int_equal(stats.op[LLFUSE_OP_READ].latency[bucket], bucket == cases[i].bucket);
		free_session(session);
	}
}

static void errors_count_among_all(void **state)
{
	struct llfuse_session *session = new_session();
	struct worker *worker = ll_worker_current(session);
	struct llfuse_stats stats;

	(void)state;
	ll_worker_count(worker, LLFUSE_OP_LOOKUP, true, 5);
	ll_worker_count(worker, LLFUSE_OP_LOOKUP, false, 5);
	ll_worker_count(worker, LLFUSE_OP_LOOKUP, true, 5);
	ll_worker_count(worker, LLFUSE_OP_STATX, false, 5);
	llfuse_stats_read(session, &stats);
	assert_int_equal(stats.op[LLFUSE_OP_LOOKUP].count, 3);
	assert_int_equal(stats.op[LLFUSE_OP_LOOKUP].errors, 2);
	assert_int_equal(stats.op[LLFUSE_OP_LOOKUP].latency[2], 3);
	assert_int_equal(stats.op[LLFUSE_OP_STATX].count, 1);
	assert_int_equal(stats.op[LLFUSE_OP_STATX].errors, 0);
	assert_int_equal(stats.op[LLFUSE_OP_GETATTR].count, 0);
	free_session(session);
}

static void a_thread_has_one_worker_for_each_session(void **state)
{
	struct llfuse_session *one = new_session(), *two = new_session();
	struct worker *worker = ll_worker_current(one);

	(void)state;
	assert_non_null(worker);
	assert_ptr_equal(ll_worker_current(one), worker);
	assert_ptr_not_equal(ll_worker_current(two), worker);
	free_session(one);
	free_session(two);
}

static void scratch_grows_and_is_kept(void **state)
{
	struct llfuse_session *session = new_session();
	struct worker *worker = ll_worker_current(session);
	char *scratch = ll_worker_scratch(worker, 100);

	(void)state;
	assert_non_null(scratch);
	memset(scratch, 1, 100);
	assert_ptr_equal(ll_worker_scratch(worker, 50), scratch);
	scratch = ll_worker_scratch(worker, 100000);
	assert_non_null(scratch);
	memset(scratch, 1, 100000);
	free_session(session);
}

enum {
	N_THREADS = 4,
	N_COUNTS = 20000,
};

static void *count_much(void *arg)
{
	struct llfuse_session *session = arg;

	for (unsigned i = 0; i < N_COUNTS; i++) {
		ll_worker_count(ll_worker_current(session), LLFUSE_OP_READ, i % 4 == 0, i);
		ll_worker_count(ll_worker_current(session), LLFUSE_OP_WRITE, false, 1);
	}
	return NULL;
}

static void threads_are_summed_while_they_count(void **state)
{
	struct llfuse_session *session = new_session();
	struct llfuse_stats stats;
	pthread_t threads[N_THREADS];
	uint64_t before = 0, in_buckets = 0;

	(void)state;
	for (int i = 0; i < N_THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, count_much, session), 0);
	for (int i = 0; i < 100; i++) {
		llfuse_stats_read(session, &stats);
		assert_true(stats.op[LLFUSE_OP_READ].count >= before);
		before = stats.op[LLFUSE_OP_READ].count;
	}
	for (int i = 0; i < N_THREADS; i++)
		pthread_join(threads[i], NULL);
	llfuse_stats_read(session, &stats);
	assert_int_equal(stats.op[LLFUSE_OP_READ].count, N_THREADS * N_COUNTS);
	assert_int_equal(stats.op[LLFUSE_OP_READ].errors, N_THREADS * N_COUNTS / 4);
	assert_int_equal(stats.op[LLFUSE_OP_WRITE].count, N_THREADS * N_COUNTS);
	for (unsigned bucket = 0; bucket < LLFUSE_LATENCY_BUCKETS; bucket++)
		in_buckets += stats.op[LLFUSE_OP_READ].latency[bucket];
	assert_int_equal(in_buckets, N_THREADS * N_COUNTS);
	free_session(session);
}

static void every_operation_has_its_own_name(void **state)
{
	(void)state;
	for (int op = 0; op < LLFUSE_OP_COUNT; op++) {
		const char *name = llfuse_op_name((enum llfuse_op)op);

		assert_non_null(name);
		for (int other = 0; other < op; other++)
			assert_string_not_equal(name, llfuse_op_name((enum llfuse_op)other));
	}
	assert_string_equal(llfuse_op_name(LLFUSE_OP_LOOKUP), "lookup");
	assert_string_equal(llfuse_op_name(LLFUSE_OP_COPY_FILE_RANGE), "copy_file_range");
	assert_string_equal(llfuse_op_name(LLFUSE_OP_COUNT), "unknown");
}

static void the_log_has_a_line_for_each_that_is_not_zero(void **state)
{
	struct llfuse_session *session = new_session();
	struct worker *worker = ll_worker_current(session);
	int fds[2], before = dup(STDERR_FILENO);
	char text[4096];
	ssize_t n;

	(void)state;
	ll_worker_count(worker, LLFUSE_OP_LOOKUP, true, 1500);
	ll_worker_count(worker, LLFUSE_OP_LOOKUP, false, 3);
	ll_worker_count(worker, LLFUSE_OP_READ, false, 1024);
	assert_int_equal(pipe(fds), 0);
	dup2(fds[1], STDERR_FILENO);
	close(fds[1]);
	llfuse_stats_log(session);
	dup2(before, STDERR_FILENO);
	close(before);
	n = read(fds[0], text, sizeof(text) - 1);
	close(fds[0]);
	assert_true(n > 0);
	text[n] = '\0';
	assert_non_null(strstr(text, "[probe] stats: lookup count=2 errors=1 latency 2ns:1 1024ns:1\n"));
	assert_non_null(strstr(text, "[probe] stats: read count=1 errors=0 latency 1024ns:1\n"));
	assert_null(strstr(text, "write"));
	assert_string_equal(strstr(text, "[probe] stats: end"), "[probe] stats: end\n");
	free_session(session);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fresh_counters_are_zero),
		cmocka_unit_test(times_fall_into_powers_of_two),
		cmocka_unit_test(errors_count_among_all),
		cmocka_unit_test(a_thread_has_one_worker_for_each_session),
		cmocka_unit_test(scratch_grows_and_is_kept),
		cmocka_unit_test(threads_are_summed_while_they_count),
		cmocka_unit_test(every_operation_has_its_own_name),
		cmocka_unit_test(the_log_has_a_line_for_each_that_is_not_zero),
	};

	return cmocka_run_group_tests_name("llfuse_stats", tests, NULL, NULL);
}
