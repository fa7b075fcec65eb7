/* SPDX-License-Identifier: MIT */
/* Acting as the caller: src/passthroughfs/creds.h. */
#include "creds.h"
#include "fd.h"

#include <errno.h>
#include <grp.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>

#include <cmocka.h>

enum { SOMEBODY = 12345, SOME_GROUP = 23456, OTHER_GROUP = 34567 };

static char dir[64];

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/passthroughfs-creds-XXXXXX");
	return mkdtemp(dir) && chmod(dir, 0777) == 0 ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	return rmdir(dir);
}

/* Makes a file and tells who owns it and which mode it has. */
static struct stat made_file(mode_t mode)
{
	int dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int fd = openat(dir_fd, "file", O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, mode);
	struct stat st = {0};

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	(void)close(fd);
	assert_int_equal(unlinkat(dir_fd, "file", 0), 0);
	(void)close(dir_fd);
	return st;
}

static void what_is_made_belongs_to_the_caller(void **state)
{
	struct caller caller = {.uid = SOMEBODY, .gid = SOME_GROUP};
	struct stat st;

	(void)state;
	if (!creds_can_switch())
		skip();
	{
		scoped_creds saved = {0};

		assert_int_equal(creds_enter(&caller, &saved), 0);
		st = made_file(0644);
	}
	assert_int_equal(st.st_uid, SOMEBODY);
	assert_int_equal(st.st_gid, SOME_GROUP);
	st = made_file(0644);
	assert_int_equal(st.st_uid, geteuid());
	assert_int_equal(st.st_gid, getegid());
}

static void the_callers_groups_count_while_it_lasts(void **state)
{
	const gid_t groups[] = {OTHER_GROUP};
	struct caller caller = {.uid = SOMEBODY, .gid = SOME_GROUP, .groups = groups, .n_groups = 1};
	struct creds saved;
	gid_t now[1];

	(void)state;
	if (!creds_can_switch())
		skip();
	assert_int_equal(creds_enter(&caller, &saved), 0);
	assert_int_equal(getgroups(1, now), 1);
	assert_int_equal(now[0], OTHER_GROUP);
	creds_leave(&saved);
	assert_int_equal(getgroups(0, NULL), 0);
	assert_int_equal(setfsuid((uid_t)-1), geteuid());
	assert_int_equal(setfsgid((gid_t)-1), getegid());
}

static void leaving_twice_changes_nothing(void **state)
{
	struct caller caller = {.uid = creds_can_switch() ? SOMEBODY : geteuid(), .gid = getegid(), .umask = 077};
	struct creds saved;

	(void)state;
	assert_int_equal(creds_enter(&caller, &saved), 0);
	creds_leave(&saved);
	creds_leave(&saved);
	assert_int_equal(setfsuid((uid_t)-1), geteuid());
}

static void each_callers_umask_counts_once(void **state)
{
	static const mode_t masks[] = {027, 027, 002, 027};

	(void)state;
	for (size_t i = 0; i < sizeof(masks) / sizeof(masks[0]); i++) {
		struct caller caller = {.uid = geteuid(), .gid = getegid(), .umask = masks[i]};
		struct creds saved;
		struct stat st;

		assert_int_equal(creds_enter(&caller, &saved), 0);
		st = made_file(0666);
		creds_leave(&saved);
		assert_int_equal(st.st_mode & 07777, 0666 & ~masks[i]);
	}
}

static void errno_survives_leaving(void **state)
{
	struct caller caller = {.uid = geteuid(), .gid = getegid()};
	struct creds saved;

	(void)state;
	assert_int_equal(creds_enter(&caller, &saved), 0);
	errno = EXDEV;
	creds_leave(&saved);
	assert_int_equal(errno, EXDEV);
}

static void the_privileges_over_files_are_gone_meanwhile(void **state)
{
	struct caller caller = {.uid = SOMEBODY, .gid = SOME_GROUP};
	struct creds saved;
	int opened;

	(void)state;
	if (!creds_can_switch() || geteuid() != 0)
		skip();
	assert_int_equal(creds_enter(&caller, &saved), 0);
	opened = open("/etc/shadow", O_RDONLY | O_CLOEXEC);
	creds_leave(&saved);
	assert_int_equal(opened, -1);
	opened = open("/etc/shadow", O_RDONLY | O_CLOEXEC);
	assert_true(opened >= 0);
	(void)close(opened);
}

struct meeting {
	pthread_barrier_t barrier;
	mode_t seen_umask;
	uid_t seen_uid;
};

static void *other_thread(void *arg)
{
	struct caller caller = {.uid = geteuid(), .gid = getegid(), .umask = 0};
	struct meeting *meeting = arg;
	struct creds saved;

	/* A umask of its own, as every worker has from its first request on. */
	if (creds_enter(&caller, &saved) < 0)
		return arg;
	creds_leave(&saved);
	(void)umask(011);
	(void)pthread_barrier_wait(&meeting->barrier); /* the main thread enters */
	(void)pthread_barrier_wait(&meeting->barrier);
	meeting->seen_umask = umask(022);
	meeting->seen_uid = (uid_t)setfsuid((uid_t)-1);
	(void)pthread_barrier_wait(&meeting->barrier); /* and leaves */
	return NULL;
}

static void other_threads_see_nothing(void **state)
{
	struct caller caller = {.uid = creds_can_switch() ? SOMEBODY : geteuid(), .gid = getegid(), .umask = 077};
	struct meeting meeting;
	struct creds saved;
	pthread_t thread;
	void *failed;

	(void)state;
	assert_int_equal(pthread_barrier_init(&meeting.barrier, NULL, 2), 0);
	assert_int_equal(pthread_create(&thread, NULL, other_thread, &meeting), 0);
	(void)pthread_barrier_wait(&meeting.barrier);
	assert_int_equal(creds_enter(&caller, &saved), 0);
	(void)pthread_barrier_wait(&meeting.barrier);
	(void)pthread_barrier_wait(&meeting.barrier);
	creds_leave(&saved);
	assert_int_equal(pthread_join(thread, &failed), 0);
	assert_null(failed);
	(void)pthread_barrier_destroy(&meeting.barrier);
	assert_int_equal(meeting.seen_umask, 011);
	assert_int_equal(meeting.seen_uid, geteuid());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_made_belongs_to_the_caller),
		cmocka_unit_test(the_callers_groups_count_while_it_lasts),
		cmocka_unit_test(leaving_twice_changes_nothing),
		cmocka_unit_test(each_callers_umask_counts_once),
		cmocka_unit_test(errno_survives_leaving),
		cmocka_unit_test(the_privileges_over_files_are_gone_meanwhile),
		cmocka_unit_test(other_threads_see_nothing),
	};

	creds_init();
	return cmocka_run_group_tests(tests, setup, teardown);
}
