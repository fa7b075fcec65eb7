/* SPDX-License-Identifier: MIT */
/* What signals do to a session for which the kernel writes back: here for as long as the test holds the lock for that. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "internal.h"

static char mountpoint[] = "/nowhere", name[] = "test";

static ssize_t op_write(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, const void *buf,
			size_t size, off_t off)
{
	(void)req, (void)ino, (void)file, (void)buf, (void)size, (void)off;
	return -EBADF;
}

static int begin(void **state)
{
	struct llfuse_session *session = calloc(1, sizeof(*session));

	if (!session)
		return -1;
	session->name = name;
	session->mountpoint = mountpoint;
	session->ops.write = op_write;
	atomic_store(&session->is_initialized, true);
	ll_loop_init(&session->loop);
	ll_stopper_init(&session->stopper);
	pthread_mutex_init(&session->writeback_lock, NULL);
	pthread_mutex_lock(&session->writeback_lock);
	*state = session;
	return 0;
}

static int end(void **state)
{
	struct llfuse_session *session = *state;

	pthread_mutex_unlock(&session->writeback_lock);
	ll_stopper_end(session);
	pthread_mutex_destroy(&session->writeback_lock);
	ll_stopper_done(&session->stopper);
	ll_loop_done(&session->loop);
	free(session);
	return 0;
}

static void signals_in_a_burst_are_one(void **state)
{
	struct llfuse_session *session = *state;

	ll_stopper_begin(session, false);
	session->stopper.begun_ns = ll_now_ns() + UINT64_C(60000000000); /* however slow the test is */
	ll_stopper_begin(session, false);
	assert_false(atomic_load(&session->is_stopping));
}

static void a_later_signal_does_not_wait(void **state)
{
	struct llfuse_session *session = *state;

	ll_stopper_begin(session, false);
	session->stopper.begun_ns = ll_now_ns() - UINT64_C(1000000000);
	ll_stopper_begin(session, true);
	assert_false(atomic_load(&session->is_stopping));
	ll_stopper_begin(session, false);
	assert_true(atomic_load(&session->is_stopping));
}

static void without_a_request_so_far_there_is_nothing_to_wait_for(void **state)
{
	struct llfuse_session *session = *state;

	atomic_store(&session->is_initialized, false);
	ll_stopper_begin(session, false);
	assert_true(atomic_load(&session->is_stopping));
	assert_false(session->stopper.has_thread);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(signals_in_a_burst_are_one, begin, end),
		cmocka_unit_test_setup_teardown(a_later_signal_does_not_wait, begin, end),
		cmocka_unit_test_setup_teardown(without_a_request_so_far_there_is_nothing_to_wait_for, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
