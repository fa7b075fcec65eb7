/* SPDX-License-Identifier: MIT */
/* Names in the source: src/passthroughfs/beneath.h. */
#include "beneath.h"
#include "fd.h"

#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

struct fixture {
	char path[64];
	int dir_fd;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	strcpy(f->path, "/tmp/passthroughfs-beneath-XXXXXX");
	assert_non_null(mkdtemp(f->path));
	f->dir_fd = open(f->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_true(f->dir_fd >= 0);
	*state = f;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	(void)close(f->dir_fd);
	(void)nftw(f->path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

static void names_that_are_none_never_reach_the_source(void **state)
{
	static const char *const bad[] = {"", ".", "..", "a/b", "/", "/etc", "../x", "a/", "/."};
	struct fixture *f = *state;

	assert_int_equal(beneath_mkdir_at(f->dir_fd, "a", 0755), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_false(beneath_name_ok(bad[i]));
		assert_int_equal(beneath_open_at(f->dir_fd, bad[i], false), -EINVAL);
		assert_int_equal(beneath_open_at(f->dir_fd, bad[i], true), -EINVAL);
		assert_int_equal(beneath_create_at(f->dir_fd, bad[i], O_RDWR, 0644), -EINVAL);
		assert_int_equal(beneath_mkdir_at(f->dir_fd, bad[i], 0755), -EINVAL);
		assert_int_equal(beneath_mknod_at(f->dir_fd, bad[i], S_IFIFO | 0644, 0), -EINVAL);
		assert_int_equal(beneath_symlink_at(f->dir_fd, bad[i], "t"), -EINVAL);
		assert_int_equal(beneath_link_at(f->dir_fd, f->dir_fd, bad[i]), -EINVAL);
		assert_int_equal(beneath_unlink_at(f->dir_fd, bad[i], false), -EINVAL);
		assert_int_equal(beneath_unlink_at(f->dir_fd, bad[i], true), -EINVAL);
		assert_int_equal(beneath_rename_at(f->dir_fd, bad[i], f->dir_fd, "n", 0), -EINVAL);
		assert_int_equal(beneath_rename_at(f->dir_fd, "a", f->dir_fd, bad[i], 0), -EINVAL);
	}
	assert_true(beneath_name_ok("..."));
	assert_true(beneath_name_ok(".a"));
	assert_true(beneath_name_ok("a b\n\xff"));
}

static void a_symbolic_link_is_opened_itself(void **state)
{
	struct fixture *f = *state;
	scoped_fd fd = -1;
	struct stat st;

	assert_int_equal(beneath_symlink_at(f->dir_fd, "out", "/etc/passwd"), 0);
	fd = beneath_open_at(f->dir_fd, "out", false);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
}

static void creating_over_a_symbolic_link_is_refused(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(beneath_symlink_at(f->dir_fd, "out", "/tmp/passthroughfs-must-not-exist"), 0);
	assert_int_equal(beneath_create_at(f->dir_fd, "out", O_RDWR, 0644), -EEXIST);
	assert_int_equal(access("/tmp/passthroughfs-must-not-exist", F_OK), -1);
}

/* Opening a FIFO to read would wait for a writer. */
static void a_fifo_is_not_opened(void **state)
{
	struct fixture *f = *state;
	scoped_fd fd = -1;
	struct stat st;

	assert_int_equal(beneath_mknod_at(f->dir_fd, "fifo", S_IFIFO | 0644, 0), 0);
	fd = beneath_open_at(f->dir_fd, "fifo", false);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_true(S_ISFIFO(st.st_mode));
	assert_true(fcntl(fd, F_GETFL) & O_PATH);
}

static void a_missing_name_is_enoent(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(beneath_open_at(f->dir_fd, "missing", false), -ENOENT);
	assert_int_equal(beneath_unlink_at(f->dir_fd, "missing", false), -ENOENT);
}

static void a_long_name_is_enametoolong(void **state)
{
	struct fixture *f = *state;
	char name[257];

	memset(name, 'n', 256);
	name[256] = 0;
	assert_int_equal(beneath_mkdir_at(f->dir_fd, name, 0755), -ENAMETOOLONG);
	name[255] = 0;
	assert_int_equal(beneath_mkdir_at(f->dir_fd, name, 0755), 0);
}

/* /proc is a mount of its own on every machine. */
static void a_mount_is_crossed_only_if_asked(void **state)
{
	scoped_fd root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	scoped_fd fd = -1;
	struct stat mounted;
	struct stat st;

	(void)state;
	assert_true(root >= 0);
	assert_int_equal(beneath_open_at(root, "proc", false), -EXDEV);
	fd = beneath_open_at(root, "proc", true);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(stat("/proc", &mounted), 0);
	assert_int_equal(st.st_dev, mounted.st_dev);
}

static void a_magic_link_is_opened_itself(void **state)
{
	scoped_fd dir = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
	scoped_fd fd = -1;
	struct stat st;

	(void)state;
	fd = beneath_open_at(dir, "root", false);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
}

static void a_tmpfile_can_be_given_a_name(void **state)
{
	struct fixture *f = *state;
	scoped_fd fd = beneath_tmpfile_at(f->dir_fd, O_RDWR, 0640);
	scoped_fd found = -1;
	struct stat st;

	if (fd == -EOPNOTSUPP)
		skip();
	assert_true(fd >= 0);
	assert_int_equal(beneath_link_at(fd, f->dir_fd, "named"), 0);
	found = beneath_open_at(f->dir_fd, "named", false);
	assert_true(found >= 0);
	assert_int_equal(fstat(found, &st), 0);
	assert_int_equal(st.st_nlink, 1);
}

static void linking_a_symbolic_link_links_the_link(void **state)
{
	struct fixture *f = *state;
	scoped_fd fd = -1;
	struct stat st;

	assert_int_equal(beneath_symlink_at(f->dir_fd, "link", "nowhere"), 0);
	fd = beneath_open_at(f->dir_fd, "link", false);
	assert_int_equal(beneath_link_at(fd, f->dir_fd, "second"), 0);
	assert_int_equal(fstatat(f->dir_fd, "second", &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_true(S_ISLNK(st.st_mode));
	assert_int_equal(st.st_nlink, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(names_that_are_none_never_reach_the_source, setup, teardown),
		cmocka_unit_test_setup_teardown(a_symbolic_link_is_opened_itself, setup, teardown),
		cmocka_unit_test_setup_teardown(creating_over_a_symbolic_link_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(a_fifo_is_not_opened, setup, teardown),
		cmocka_unit_test_setup_teardown(a_missing_name_is_enoent, setup, teardown),
		cmocka_unit_test_setup_teardown(a_long_name_is_enametoolong, setup, teardown),
		cmocka_unit_test(a_mount_is_crossed_only_if_asked),
		cmocka_unit_test(a_magic_link_is_opened_itself),
		cmocka_unit_test_setup_teardown(a_tmpfile_can_be_given_a_name, setup, teardown),
		cmocka_unit_test_setup_teardown(linking_a_symbolic_link_links_the_link, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
