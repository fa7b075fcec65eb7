/* SPDX-License-Identifier: MIT */
/* The process that unmounts and waits for a session: here for a mount that is not there. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cmocka.h>

#include "internal.h"

static char mountpoint[] = "/nowhere";
static const struct llfuse_session session = {.mountpoint = mountpoint, .mount_id = UINT64_MAX};

static void it_answers_each_question(void **state)
{
	struct unmounter unmounter = {0};

	(void)state;
	assert_int_equal(ll_unmounter_start(&unmounter, &session), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(ll_unmounter_writeback_round(&unmounter), -ENOENT);
	assert_true(ll_unmounter_end(&unmounter, true));
	ll_unmounter_done(&unmounter);
}

static void it_is_asked_nothing_once_it_is_lost(void **state)
{
	struct unmounter unmounter = {0};
	int n_unread;

	(void)state;
	assert_int_equal(ll_unmounter_start(&unmounter, &session), 0);
	assert_int_equal(ll_unmounter_writeback_round(&unmounter), -ENOENT);
	assert_int_equal(kill(unmounter.pid, SIGKILL), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(ll_unmounter_writeback_round(&unmounter), -EPIPE);
	assert_int_equal(ioctl(unmounter.fds[0], FIONREAD, &n_unread), 0);
	assert_true(n_unread <= 1);
	assert_false(ll_unmounter_end(&unmounter, true));
	ll_unmounter_done(&unmounter);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_answers_each_question),
		cmocka_unit_test(it_is_asked_nothing_once_it_is_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
