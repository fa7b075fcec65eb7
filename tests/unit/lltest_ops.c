/* SPDX-License-Identifier: MIT */
/* lltest's handlers, called directly with a made-up request: no mount, no kernel. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "ops.h"

#define FILE_INODE UINT64_C(2)

static struct lltest fs = {.name = "message", .uid = 1234, .gid = 5678, .fd = -1, .bytes = "hello world\n", .size = 12};
static struct llfuse_request req = {.userdata = &fs, .uid = 1000, .gid = 1000};

static void the_root_is_a_directory(void **state)
{
	struct llfuse_entry entry = {0};

	(void)state;
	assert_int_equal(lltest_ops.getattr(&req, LLFUSE_ROOT_INODE, NULL, &entry), 0);
	assert_int_equal(entry.attr.st_mode, S_IFDIR | 0755);
	assert_int_equal(entry.attr.st_uid, 1234);
	assert_int_equal(entry.attr.st_gid, 5678);
	assert_int_equal(entry.attr.st_size, 0);
	assert_int_equal(entry.attr.st_mtim.tv_sec, 1438467123);
	assert_int_equal(entry.attr.st_mtim.tv_nsec, 985654016);
}

static void the_file_is_found_by_its_name_only(void **state)
{
	struct llfuse_entry entry = {0};

	(void)state;
	assert_int_equal(lltest_ops.lookup(&req, LLFUSE_ROOT_INODE, "message", &entry), 0);
	assert_int_equal(entry.ino, FILE_INODE);
	assert_int_equal(entry.attr.st_mode, S_IFREG | 0644);
	assert_int_equal(entry.attr.st_size, 12);
	assert_int_equal(entry.attr.st_uid, 1234);
	assert_int_equal(entry.attr.st_ctim.tv_sec, 1438467123);
	assert_int_equal(lltest_ops.lookup(&req, LLFUSE_ROOT_INODE, "messag", &entry), -ENOENT);
	assert_int_equal(lltest_ops.lookup(&req, LLFUSE_ROOT_INODE, "other", &entry), -ENOENT);
	assert_int_equal(lltest_ops.lookup(&req, FILE_INODE, "message", &entry), -ENOENT);
}

static void the_listing_has_one_entry(void **state)
{
	struct llfuse_file file = {.backing_fd = -1};
	struct llfuse_dir *dir = llfuse_dir_new(4096, true);
	off_t next_off;
	uint64_t ino;

	(void)state;
	assert_int_equal(lltest_ops.readdir(&req, LLFUSE_ROOT_INODE, &file, 0, dir), 0);
	assert_string_equal(llfuse_dir_get(dir, 0, &ino, &next_off), "message");
	assert_int_equal(ino, FILE_INODE);
	assert_null(llfuse_dir_get(dir, 1, NULL, NULL));
	llfuse_dir_free(dir);

	dir = llfuse_dir_new(4096, false);
	assert_int_equal(lltest_ops.readdir(&req, LLFUSE_ROOT_INODE, &file, next_off, dir), 0);
	assert_null(llfuse_dir_get(dir, 0, NULL, NULL));
	llfuse_dir_free(dir);
}

static void it_opens_for_reading_only(void **state)
{
	static const int refused[] = {O_WRONLY, O_RDWR, O_RDWR | O_APPEND, O_WRONLY | O_TRUNC};
	struct llfuse_file file = {.flags = O_RDONLY, .backing_fd = -1};

	(void)state;
	assert_int_equal(lltest_ops.open(&req, FILE_INODE, &file), 0);
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		file.flags = refused[i];
		assert_int_equal(lltest_ops.open(&req, FILE_INODE, &file), -EPERM);
	}
}

static void assert_read(off_t off, size_t size, const char *expected)
{
	struct llfuse_file file = {.flags = O_RDONLY, .backing_fd = -1};
	struct llfuse_data *data = llfuse_data_new(size);
	char buf[64] = "";

	assert_int_equal(lltest_ops.read(&req, FILE_INODE, &file, off, data), 0);
	assert_int_equal(llfuse_data_copy(data, buf, sizeof(buf)), strlen(expected));
	assert_string_equal(buf, expected);
	llfuse_data_free(data);
}

static void reads_anywhere(void **state)
{
	(void)state;
	assert_read(0, 4096, "hello world\n");
	assert_read(0, 5, "hello");
	assert_read(6, 4096, "world\n");
	assert_read(11, 1, "\n");
	assert_read(12, 10, "");
	assert_read(INT64_MAX, 10, "");
	assert_read(0, 0, "");
}

static void a_given_file_shows_its_size_and_bytes(void **state)
{
	struct llfuse_entry entry = {0};

	(void)state;
	fs.fd = memfd_create("given", MFD_CLOEXEC);
	assert_int_equal(write(fs.fd, "given", 5), 5);
	assert_int_equal(lltest_ops.getattr(&req, FILE_INODE, NULL, &entry), 0);
	assert_int_equal(entry.attr.st_size, 5);
	assert_read(0, 100, "given");
	assert_read(2, 2, "ve");
	assert_read(5, 2, "");
	assert_int_equal(write(fs.fd, "more", 4), 4); /* it may grow meanwhile */
	assert_read(0, 100, "givenmore");
	close(fs.fd);
	fs.fd = -1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_root_is_a_directory),
		cmocka_unit_test(the_file_is_found_by_its_name_only),
		cmocka_unit_test(the_listing_has_one_entry),
		cmocka_unit_test(it_opens_for_reading_only),
		cmocka_unit_test(reads_anywhere),
		cmocka_unit_test(a_given_file_shows_its_size_and_bytes),
	};

	return cmocka_run_group_tests_name("lltest_ops", tests, NULL, NULL);
}
