/* SPDX-License-Identifier: MIT */
/* The threads that answer requests: what each has of its own, and who gets it afterwards. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "internal.h"
#include "no_memory.h"

static struct llfuse_session session;

static int set_up(void **state)
{
	static uint64_t last_id = 1000;

	(void)state;
	memset(&session, 0, sizeof(session));
	session.id = ++last_id;
	pthread_mutex_init(&session.workers_lock, NULL);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	atomic_store(&has_no_memory, false);
	ll_workers_free(&session);
	pthread_mutex_destroy(&session.workers_lock);
	return 0;
}

static unsigned count_workers(void)
{
	unsigned n = 0;

	for (const struct worker *worker = session.workers; worker; worker = worker->next)
		n++;
	return n;
}

struct thread {
	pthread_t thread;
	pthread_barrier_t *all_have_one; /* NULL: none waits for others */
	struct worker *worker;
};

static void *take_one(void *arg)
{
	struct thread *thread = arg;

	thread->worker = ll_worker_current(&session);
	if (thread->worker)
		ll_worker_count(thread->worker, LLFUSE_OP_LOOKUP, false, 1);
	if (thread->all_have_one)
		pthread_barrier_wait(thread->all_have_one);
	return NULL;
}

/* In @n threads that all live at the same time. */
static void take_at_once(struct thread *threads, unsigned n)
{
	pthread_barrier_t all_have_one;

	pthread_barrier_init(&all_have_one, NULL, n);
	for (unsigned i = 0; i < n; i++) {
		threads[i] = (struct thread){.all_have_one = &all_have_one};
		assert_int_equal(pthread_create(&threads[i].thread, NULL, take_one, &threads[i]), 0);
	}
	for (unsigned i = 0; i < n; i++)
		pthread_join(threads[i].thread, NULL);
	pthread_barrier_destroy(&all_have_one);
}

static void reserved_workers_are_there_when_memory_is_not(void **state)
{
	struct thread threads[4];
	struct llfuse_stats stats;
	unsigned n_with = 0;

	(void)state;
	assert_int_equal(ll_workers_reserve(&session, 3), 0);
	assert_int_equal(count_workers(), 3);
	atomic_store(&has_no_memory, true);
	take_at_once(threads, 4);
	atomic_store(&has_no_memory, false);
	for (unsigned i = 0; i < 4; i++)
		n_with += threads[i].worker != NULL;
	assert_int_equal(n_with, 3);
	assert_int_equal(count_workers(), 3);
	llfuse_stats_read(&session, &stats);
	assert_int_equal(stats.op[LLFUSE_OP_LOOKUP].count, 3);
}

static void *take_one_as_reader(void *arg)
{
	struct thread *thread = arg;

	thread->worker = ll_worker_of_reader(&session);
	pthread_barrier_wait(thread->all_have_one);
	return NULL;
}

/* However many come before the first request on a ring. */
static void a_reader_leaves_what_is_reserved_for_the_rings(void **state)
{
	struct thread readers[2];
	pthread_barrier_t all_have_one;

	(void)state;
	assert_int_equal(ll_workers_reserve(&session, 1), 0);
	pthread_barrier_init(&all_have_one, NULL, 2);
	for (unsigned i = 0; i < 2; i++) {
		readers[i] = (struct thread){.all_have_one = &all_have_one};
		assert_int_equal(pthread_create(&readers[i].thread, NULL, take_one_as_reader, &readers[i]), 0);
	}
	for (unsigned i = 0; i < 2; i++) {
		pthread_join(readers[i].thread, NULL);
		assert_non_null(readers[i].worker);
		assert_false(readers[i].worker->is_for_ring);
	}
	pthread_barrier_destroy(&all_have_one);
	assert_int_equal(count_workers(), 3);
}

static void reserving_without_memory_fails(void **state)
{
	(void)state;
	atomic_store(&has_no_memory, true);
	assert_int_equal(ll_workers_reserve(&session, 3), -ENOMEM);
	assert_int_equal(ll_workers_reserve(&session, 0), 0);
	assert_int_equal(count_workers(), 0);
}

static void a_thread_takes_over_from_one_that_has_ended(void **state)
{
	struct thread first = {0}, second = {0};

	(void)state;
	assert_int_equal(pthread_create(&first.thread, NULL, take_one, &first), 0);
	pthread_join(first.thread, NULL);
	assert_non_null(first.worker);
	assert_int_equal(pthread_create(&second.thread, NULL, take_one, &second), 0);
	pthread_join(second.thread, NULL);
	assert_ptr_equal(first.worker, second.worker);
	assert_int_equal(count_workers(), 1);
}

static void scratch_memory_that_cannot_grow_stays(void **state)
{
	struct worker *worker = ll_worker_current(&session);
	void *scratch;

	(void)state;
	assert_non_null(worker);
	scratch = ll_worker_scratch(worker, 1000);
	assert_non_null(scratch);
	atomic_store(&has_no_memory, true);
	assert_null(ll_worker_scratch(worker, 2000));
	assert_ptr_equal(ll_worker_scratch(worker, 1000), scratch);
}

static void the_longest_name_can_be_listed_without_memory(void **state)
{
	static uint64_t no_ring[64]; /* all that is asked of the request */
	const struct llfuse_entry entry = {.ino = 2, .attr = {.st_ino = 2, .st_mode = S_IFREG | 0644}};
	struct worker *worker = ll_worker_current(&session);
	struct llfuse_dir dir;
	char name[4096] = "";

	(void)state;
	memset(name, 'n', sizeof(name) - 1);
	assert_non_null(worker);
	assert_int_equal(ll_dir_reserve(worker), 0);
	atomic_store(&has_no_memory, true);
	for (size_t size = 4096; size <= 32768; size += 4096) {
		assert_int_equal(ll_dir_init(&dir, (fuse_req_t)no_ring, worker, size, true), 0);
		if (size > 4096) /* what the kernel asks for at least */
			assert_int_equal(llfuse_dir_add(&dir, name, &entry, 1), LLFUSE_DIR_COUNTED);
	}
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(reserved_workers_are_there_when_memory_is_not),
		TEST(a_reader_leaves_what_is_reserved_for_the_rings),
		TEST(reserving_without_memory_fails),
		TEST(a_thread_takes_over_from_one_that_has_ended),
		TEST(scratch_memory_that_cannot_grow_stays),
		TEST(the_longest_name_can_be_listed_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
