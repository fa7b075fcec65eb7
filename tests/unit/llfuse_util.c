/* SPDX-License-Identifier: MIT */
/* The utilities: listings, extended attributes, supplementary groups. */
#include <errno.h>
#include <grp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

#include "llfuse.h"

static char dir[] = "/tmp/llfuse-util-XXXXXX";

static int make_dir(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	(void)state;
	return rmdir(dir);
}

static const char *path_of(const char *name)
{
	static char path[4096];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static void make_file(const char *name)
{
	int fd = open(path_of(name), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	close(fd);
}

static void an_empty_directory_has_no_names(void **state)
{
	char **names;

	(void)state;
	assert_int_equal(llfuse_listdir(dir, &names), 0);
	assert_null(names[0]);
	llfuse_listdir_free(names);
	llfuse_listdir_free(NULL);
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void all_names_of_a_directory(void **state)
{
	enum { N = 100 };
	char name[32], **names;

	(void)state;
	for (int i = 0; i < N; i++) {
		snprintf(name, sizeof(name), "name%03d", i);
		make_file(name);
	}
	assert_int_equal(llfuse_listdir(dir, &names), N);
	assert_null(names[N]);
	qsort(names, N, sizeof(*names), compare);
	for (int i = 0; i < N; i++) {
		snprintf(name, sizeof(name), "name%03d", i);
		assert_string_equal(names[i], name);
		unlink(path_of(name));
	}
	llfuse_listdir_free(names);
}

static void what_cannot_be_listed_gives_its_error(void **state)
{
	char **names;

	(void)state;
	assert_int_equal(llfuse_listdir(path_of("missing"), &names), -ENOENT);
	make_file("file");
	assert_int_equal(llfuse_listdir(path_of("file"), &names), -ENOTDIR);
	unlink(path_of("file"));
}

static void extended_attributes(void **state)
{
	char large[3000];
	void *value;

	(void)state;
	make_file("file");
	if (setxattr(path_of("file"), "user.probe", "", 0, 0) < 0) {
		unlink(path_of("file"));
		skip(); /* the file system has none for users */
	}
	assert_int_equal(llfuse_getxattr(path_of("file"), "user.probe", &value), 0);
	assert_string_equal(value, "");
	free(value);
	assert_int_equal(llfuse_setxattr(path_of("file"), "user.probe", "a\0b", 3), 0);
	assert_int_equal(llfuse_getxattr(path_of("file"), "user.probe", &value), 3);
	assert_memory_equal(value, "a\0b\0", 4);
	free(value);
	memset(large, 'x', sizeof(large));
	assert_int_equal(llfuse_setxattr(path_of("file"), "user.probe", large, sizeof(large)), 0);
	assert_int_equal(llfuse_getxattr(path_of("file"), "user.probe", &value), sizeof(large));
	assert_memory_equal(value, large, sizeof(large));
	free(value);
	assert_int_equal(llfuse_getxattr(path_of("file"), "user.none", &value), -ENODATA);
	assert_int_equal(llfuse_getxattr(path_of("missing"), "user.probe", &value), -ENOENT);
	assert_int_equal(llfuse_setxattr(path_of("missing"), "user.probe", "", 0), -ENOENT);
	unlink(path_of("file"));
}

static int compare_groups(const void *a, const void *b)
{
	gid_t x = *(const gid_t *)a, y = *(const gid_t *)b;

	return (x > y) - (x < y);
}

static void assert_own_groups(void)
{
	gid_t expected[1024], *groups = NULL;
	int n = getgroups(1024, expected);

	assert_true(n >= 0);
	assert_int_equal(llfuse_get_sup_groups(getpid(), &groups), n);
	if (n) {
		qsort(groups, (size_t)n, sizeof(*groups), compare_groups);
		qsort(expected, (size_t)n, sizeof(*expected), compare_groups);
		assert_memory_equal(groups, expected, (size_t)n * sizeof(*groups));
	}
	free(groups);
}

static void supplementary_groups_of_this_process(void **state)
{
	gid_t before[1024], many[100];
	int n = getgroups(1024, before);

	(void)state;
	assert_own_groups();
	for (gid_t i = 0; i < 100; i++)
		many[i] = 4000000000u + i;
	if (setgroups(100, many) < 0)
		skip(); /* only root may */
	assert_own_groups();
	assert_int_equal(setgroups(0, NULL), 0);
	assert_own_groups();
	assert_int_equal(setgroups((size_t)n, before), 0);
}

static void groups_of_nobody(void **state)
{
	gid_t *groups;

	(void)state;
	assert_int_equal(llfuse_get_sup_groups(0, &groups), -ESRCH);
	assert_int_equal(llfuse_get_sup_groups(1 << 30, &groups), -ESRCH);
}

static void groups_that_cannot_be_read_are_not_those_of_nobody(void **state)
{
	struct rlimit before, none;
	gid_t *groups;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = (struct rlimit){.rlim_cur = 0, .rlim_max = before.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(llfuse_get_sup_groups(getpid(), &groups), -EMFILE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
}

static void groups_by_way_of_a_descriptor_of_proc(void **state)
{
	int proc_fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int other_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	gid_t *groups = NULL;

	(void)state;
	llfuse_use_proc(proc_fd);
	assert_int_equal(llfuse_get_sup_groups(getpid(), &groups), getgroups(0, NULL));
	free(groups);
	llfuse_use_proc(other_fd);
	assert_int_equal(llfuse_get_sup_groups(getpid(), &groups), -ESRCH);
	llfuse_use_proc(-1);
	assert_int_equal(llfuse_get_sup_groups(getpid(), &groups), getgroups(0, NULL));
	free(groups);
	close(other_fd);
	close(proc_fd);
}

static void a_made_up_request_has_no_groups_and_no_session(void **state)
{
	struct llfuse_request req = {.userdata = dir, .pid = getpid()};
	gid_t groups[1];

	(void)state;
	assert_ptr_equal(llfuse_userdata(&req), dir);
	assert_int_equal(llfuse_groups(&req, 1, groups), -ENOSYS);
	assert_false(llfuse_interrupted(&req));
	assert_null(llfuse_request_session(&req));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_directory_has_no_names),
		cmocka_unit_test(all_names_of_a_directory),
		cmocka_unit_test(what_cannot_be_listed_gives_its_error),
		cmocka_unit_test(extended_attributes),
		cmocka_unit_test(supplementary_groups_of_this_process),
		cmocka_unit_test(groups_of_nobody),
		cmocka_unit_test(groups_by_way_of_a_descriptor_of_proc),
		cmocka_unit_test(groups_that_cannot_be_read_are_not_those_of_nobody),
		cmocka_unit_test(a_made_up_request_has_no_groups_and_no_session),
	};

	return cmocka_run_group_tests_name("llfuse_util", tests, make_dir, remove_dir);
}
