/* SPDX-License-Identifier: MIT */
/* The handlers of tmpfs, called with made-up requests. */
#include "flusher.h"
#include "ops.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cmocka.h>

#define ROOT LLFUSE_ROOT_INODE

struct fixture {
	struct tmpfs fs;
	struct llfuse_request req;
};

static int make(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	const struct tree_limits limits = {.size = 1u << 30, .inodes = 1u << 20};

	assert_int_equal(tree_new(01777, (struct owner){.uid = 3, .gid = 4}, &limits, &f->fs.tree), 0);
	f->req = (struct llfuse_request){.userdata = &f->fs, .uid = 1000, .gid = 1001};
	*state = f;
	return 0;
}

static int unmake(void **state)
{
	struct fixture *f = *state;

	tmpfs_ops.destroy(&f->fs);
	assert_null(f->fs.tree);
	free(f);
	return 0;
}

static void root_is_as_the_options_said(void **state)
{
	struct fixture *f = *state;
	struct llfuse_entry entry;

	assert_int_equal(tmpfs_ops.getattr(&f->req, ROOT, NULL, &entry), 0);
	assert_int_equal(entry.ino, ROOT);
	assert_int_equal(entry.attr.st_ino, ROOT);
	assert_int_equal(entry.attr.st_mode, S_IFDIR | 01777);
	assert_int_equal(entry.attr.st_uid, 3);
	assert_int_equal(entry.attr.st_gid, 4);
	assert_true(entry.generation != 0);
	assert_int_equal(tmpfs_ops.getattr(&f->req, 77, NULL, &entry), -ESTALE);
}

static void a_short_write_back_is_an_error(void **state)
{
	struct fixture *f = *state;
	struct llfuse_file file = {.flags = O_RDWR, .backing_fd = -1};
	static const char bytes[16 * 4096];
	struct llfuse_entry entry;
	bool was_short = false;

	assert_int_equal(tmpfs_ops.create(&f->req, ROOT, "f", 0644, &file, &entry), 0);
	for (long nth = 1; nth <= 8; nth++) {
		off_t off = (off_t)nth << 30; /* where nothing is allocated yet */
		ssize_t n;

		file.is_writepage = false;
		mem_fail_nth(&f->fs.tree->mem, nth);
		n = tmpfs_ops.write(&f->req, entry.ino, &file, bytes, sizeof(bytes), off);
		was_short = was_short || (n > 0 && n < (ssize_t)sizeof(bytes));
		file.is_writepage = true;
		mem_fail_nth(&f->fs.tree->mem, nth);
		n = tmpfs_ops.write(&f->req, entry.ino, &file, bytes, sizeof(bytes), off + (1 << 29));
		assert_true(n == -ENOMEM || n == -ENOSPC || n == (ssize_t)sizeof(bytes));
	}
	mem_fail_nth(&f->fs.tree->mem, 0);
	assert_true(was_short);
}

static void missing_name_is_an_entry_without_inode(void **state)
{
	struct fixture *f = *state;
	struct llfuse_entry entry = {.ino = 5};

	assert_int_equal(tmpfs_ops.lookup(&f->req, ROOT, "none", &entry), 0);
	assert_int_equal(entry.ino, 0);
	assert_true(entry.entry_timeout_s >= LLFUSE_FOREVER_S);
}

static void made_nodes_belong_to_the_caller(void **state)
{
	struct fixture *f = *state;
	struct llfuse_entry entry, found;
	struct llfuse_data *data = llfuse_data_new(4096);
	char target[8];

	assert_int_equal(tmpfs_ops.mkdir(&f->req, ROOT, "dir", 0750, &entry), 0);
	assert_int_equal(entry.attr.st_mode, S_IFDIR | 0750);
	assert_int_equal(entry.attr.st_uid, 1000);
	assert_int_equal(entry.attr.st_gid, 1001);
	assert_int_equal(tmpfs_ops.mknod(&f->req, entry.ino, "fifo", S_IFIFO | 0600, 0, &entry), 0);
	assert_int_equal(entry.attr.st_mode, S_IFIFO | 0600);
	assert_int_equal(tmpfs_ops.readlink(&f->req, entry.ino, data), -EINVAL);
	assert_int_equal(tmpfs_ops.symlink(&f->req, ROOT, "link", "dir", &entry), 0);
	assert_int_equal(tmpfs_ops.readlink(&f->req, entry.ino, data), 0);
	assert_int_equal(llfuse_data_copy(data, target, sizeof(target)), 3);
	assert_memory_equal(target, "dir", 3);
	assert_int_equal(tmpfs_ops.lookup(&f->req, ROOT, "link", &found), 0);
	assert_int_equal(found.ino, entry.ino);
	llfuse_data_free(data);
}

static ssize_t read_at(struct fixture *f, uint64_t ino, struct llfuse_file *file, off_t off, void *buf, size_t n)
{
	struct llfuse_data *data = llfuse_data_new(n);
	ssize_t got = tmpfs_ops.read(&f->req, ino, file, off, data);

	if (got == 0)
		got = llfuse_data_copy(data, buf, n);
	llfuse_data_free(data);
	return got;
}

static void file_is_created_written_read_and_truncated(void **state)
{
	struct fixture *f = *state;
	struct llfuse_file file = {.flags = O_RDWR};
	struct llfuse_entry entry;
	struct stat attr = {.st_size = 3};
	char buf[10000];

	assert_int_equal(tmpfs_ops.create(&f->req, ROOT, "f", 0640, &file, &entry), 0);
	assert_true(file.keep_cache && file.noflush);
	assert_int_equal(entry.attr.st_mode, S_IFREG | 0640);
	assert_int_equal(tmpfs_ops.write(&f->req, entry.ino, &file, "hello", 5, 5000), 5);
	assert_int_equal(read_at(f, entry.ino, &file, 4990, buf, sizeof(buf)), 15);
	assert_memory_equal(buf, "\0\0\0\0\0\0\0\0\0\0hello", 15);
	assert_int_equal(read_at(f, entry.ino, &file, 6000, buf, sizeof(buf)), 0);
	assert_int_equal(tmpfs_ops.setattr(&f->req, entry.ino, &file, &attr, LLFUSE_SET_SIZE, &entry), 0);
	assert_int_equal(entry.attr.st_size, 3);
	assert_int_equal(read_at(f, ROOT, &file, 0, buf, sizeof(buf)), -EISDIR);
	assert_int_equal(read_at(f, 99, &file, 0, buf, sizeof(buf)), -ESTALE);
}

static void unlinked_file_goes_with_the_last_forget(void **state)
{
	struct fixture *f = *state;
	struct llfuse_file file = {.flags = O_RDWR};
	struct llfuse_forget forget = {.nlookup = 2};
	struct llfuse_entry entry;

	assert_int_equal(tmpfs_ops.create(&f->req, ROOT, "f", 0640, &file, &entry), 0);
	assert_int_equal(tmpfs_ops.lookup(&f->req, ROOT, "f", &entry), 0);
	assert_int_equal(tmpfs_ops.unlink(&f->req, ROOT, "f"), 0);
	assert_int_equal(tmpfs_ops.getattr(&f->req, entry.ino, NULL, &entry), 0);
	assert_int_equal(entry.attr.st_nlink, 0);
	forget.ino = entry.ino;
	tmpfs_ops.forget(&f->req, 1, &forget);
	assert_int_equal(tmpfs_ops.getattr(&f->req, forget.ino, NULL, &entry), -ESTALE);
}

static void page_written_back_keeps_the_times_that_the_kernel_set(void **state)
{
	struct fixture *f = *state;
	struct llfuse_file file = {.flags = O_RDWR};
	const struct stat attr = {.st_mtim = {.tv_sec = 5, .tv_nsec = 6}, .st_ctim = {.tv_sec = 7, .tv_nsec = 8}};
	struct llfuse_entry entry;

	assert_int_equal(tmpfs_ops.create(&f->req, ROOT, "f", 0640, &file, &entry), 0);
	assert_int_equal(
		tmpfs_ops.setattr(&f->req, entry.ino, &file, &attr, LLFUSE_SET_MTIME | LLFUSE_SET_CTIME, &entry), 0);
	f->fs.writeback = true;
	file.is_writepage = true;
	assert_int_equal(tmpfs_ops.write(&f->req, entry.ino, &file, "x", 1, 0), 1);
	assert_int_equal(tmpfs_ops.getattr(&f->req, entry.ino, &file, &entry), 0);
	assert_int_equal(entry.attr.st_mtim.tv_sec, 5);
	assert_int_equal(entry.attr.st_mtim.tv_nsec, 6);
	assert_int_equal(entry.attr.st_ctim.tv_sec, 7);
	assert_int_equal(entry.attr.st_ctim.tv_nsec, 8);
}

static void setid_bits_are_dropped_when_the_kernel_says_so(void **state)
{
	struct fixture *f = *state;
	struct llfuse_file file = {.flags = O_RDWR};
	const struct stat mode = {.st_mode = 06755};
	struct llfuse_entry entry;
	int round;

	assert_int_equal(tmpfs_ops.create(&f->req, ROOT, "f", 0755, &file, &entry), 0);
	for (round = 0; round < 3; round++) {
		assert_int_equal(tmpfs_ops.setattr(&f->req, entry.ino, &file, &mode, LLFUSE_SET_MODE, &entry), 0);
		assert_int_equal(entry.attr.st_mode & 07777, 06755);
		file.kill_suidgid = round != 2;
		if (round == 0)
			assert_int_equal(tmpfs_ops.write(&f->req, entry.ino, &file, "x", 1, 0), 1);
		else if (round == 1)
			assert_int_equal(tmpfs_ops.setattr(&f->req, entry.ino, &file, &(struct stat){.st_size = 1},
							   LLFUSE_SET_SIZE | LLFUSE_SET_KILL_SUIDGID, &entry),
					 0);
		else
			assert_int_equal(tmpfs_ops.write(&f->req, entry.ino, &file, "x", 1, 0), 1);
		assert_int_equal(tmpfs_ops.getattr(&f->req, entry.ino, &file, &entry), 0);
		assert_int_equal(entry.attr.st_mode & 07777, round == 2 ? 06755 : 0755);
	}
}

/* Lists with small answers, each from the offset where the last one ended. */
static size_t list(struct fixture *f, bool wants_attr, unsigned char *seen, size_t n_seen)
{
	struct llfuse_file file = {0};
	size_t total = 0, i;
	const char *name;
	struct llfuse_dir *dir;
	off_t off = 0;

	do {
		dir = llfuse_dir_new(1000, wants_attr);
		assert_int_equal(tmpfs_ops.readdir(&f->req, ROOT, &file, off, dir), 0);
		for (i = 0; (name = llfuse_dir_get(dir, i, NULL, &off)); i++) {
			size_t number = (size_t)atol(name);

			if (name[0] != '.' && number < n_seen)
				seen[number]++;
			total++;
		}
		llfuse_dir_free(dir);
	} while (i > 0);
	return total;
}

static void listing_shows_each_name_once_and_counts_what_the_kernel_took(void **state)
{
	struct fixture *f = *state;
	enum { N = 500 };
	static unsigned char seen[N];
	static struct llfuse_forget forgets[N];
	struct tree_limits limits, used;
	struct llfuse_entry entry;
	char name[8];

	memset(seen, 0, sizeof(seen));
	for (size_t i = 0; i < N; i++) {
		snprintf(name, sizeof(name), "%zu", i);
		assert_int_equal(tmpfs_ops.mknod(&f->req, ROOT, name, S_IFREG, 0, &entry), 0);
		forgets[i] = (struct llfuse_forget){.ino = entry.ino, .nlookup = 2};
	}
	assert_int_equal(list(f, false, seen, N), N + 2);
	assert_int_equal(list(f, true, seen, N), N + 2);
	for (size_t i = 0; i < N; i++)
		assert_int_equal(seen[i], 2);
	/* One lookup from mknod and one from the listing with attributes. */
	for (size_t i = 0; i < N; i++) {
		snprintf(name, sizeof(name), "%zu", i);
		assert_int_equal(tmpfs_ops.unlink(&f->req, ROOT, name), 0);
	}
	for (size_t i = 0; i < N; i++)
		assert_int_equal(tmpfs_ops.getattr(&f->req, forgets[i].ino, NULL, &entry), 0);
	tmpfs_ops.forget(&f->req, N, forgets);
	for (size_t i = 0; i < N; i++)
		assert_int_equal(tmpfs_ops.getattr(&f->req, forgets[i].ino, NULL, &entry), -ESTALE);
	tree_usage(f->fs.tree, &limits, &used);
	assert_int_equal(used.inodes, 1);
}

static void statx_tells_the_birth_time(void **state)
{
	struct fixture *f = *state;
	struct llfuse_entry entry;
	struct statx stx = {0};
	double timeout_s = 0;

	assert_int_equal(tmpfs_ops.mknod(&f->req, ROOT, "dev", S_IFCHR | 0600, makedev(5, 7), &entry), 0);
	assert_int_equal(tmpfs_ops.statx(&f->req, entry.ino, NULL, 0, STATX_ALL, &stx, &timeout_s), 0);
	assert_true(stx.stx_mask & STATX_BTIME);
	assert_int_equal(stx.stx_btime.tv_sec, entry.attr.st_ctim.tv_sec);
	assert_int_equal(stx.stx_mode, S_IFCHR | 0600);
	assert_int_equal(stx.stx_rdev_major, 5);
	assert_int_equal(stx.stx_rdev_minor, 7);
	assert_true(timeout_s > 0);
}

static void statfs_counts_what_is_used(void **state)
{
	struct fixture *f = *state;
	struct llfuse_file file = {.flags = O_RDWR};
	struct statvfs before = {0}, after = {0};
	struct llfuse_entry entry;
	static const char buf[65536];

	assert_int_equal(tmpfs_ops.statfs(&f->req, ROOT, &before), 0);
	assert_int_equal(before.f_bsize, 4096);
	assert_int_equal(before.f_blocks, (1u << 30) / 4096);
	assert_int_equal(before.f_namemax, 255);
	assert_int_equal(tmpfs_ops.create(&f->req, ROOT, "f", 0640, &file, &entry), 0);
	assert_int_equal(tmpfs_ops.write(&f->req, entry.ino, &file, buf, sizeof(buf), 0), sizeof(buf));
	assert_int_equal(tmpfs_ops.statfs(&f->req, ROOT, &after), 0);
	assert_in_range(before.f_bfree - after.f_bfree, 16, 18);
	assert_int_equal(before.f_ffree - after.f_ffree, 1);
}

static void seeking_data_is_left_to_the_kernel_where_it_holds_unwritten_pages(void **state)
{
	struct fixture *f = *state;
	struct llfuse_conn conn = {.capable = LLFUSE_CAP_WRITEBACK_CACHE};
	struct llfuse_file file = {.flags = O_RDWR};
	struct llfuse_entry entry;

	assert_int_equal(tmpfs_ops.create(&f->req, ROOT, "f", 0640, &file, &entry), 0);
	assert_int_equal(tmpfs_ops.write(&f->req, entry.ino, &file, "x", 1, 8192), 1);
	assert_int_equal(tmpfs_ops.lseek(&f->req, entry.ino, &file, 0, SEEK_DATA), 8192);
	tmpfs_ops.init(&f->fs, &conn);
	flusher_free(f->fs.flusher); /* as if there were a second mount */
	assert_false(conn.want & LLFUSE_CAP_WRITEBACK_CACHE);
	assert_int_equal(tmpfs_ops.lseek(&f->req, entry.ino, &file, 0, SEEK_DATA), 8192);
	f->fs.writeback = true;
	tmpfs_ops.init(&f->fs, &conn);
	assert_true(conn.want & LLFUSE_CAP_WRITEBACK_CACHE);
	assert_int_equal(tmpfs_ops.lseek(&f->req, entry.ino, &file, 0, SEEK_DATA), -ENOSYS);
}

static void where_a_full_tree_keeps_bytes_out_of_the_kernel_a_line_tells(void **state)
{
	struct fixture *f = *state;
	struct llfuse_conn conn = {.capable = LLFUSE_CAP_PASSTHROUGH};
	const uint64_t too_much = 2u << 30;
	char line[200] = "";
	int before, fds[2];

	if (data_kernel_probe(&f->fs.kernel_options))
		skip(); /* it is not permitted, which nobody is told of */
	assert_int_equal(pipe(fds), 0);
	before = dup(STDERR_FILENO);
	dup2(fds[1], STDERR_FILENO);
	close(fds[1]);
	f->fs.plane = TMPFS_PLANE_AUTO;
	mem_charge_anyway(&f->fs.tree->mem, too_much);
	tmpfs_ops.init(&f->fs, &conn);
	mem_uncharge(&f->fs.tree->mem, too_much);
	dup2(before, STDERR_FILENO); /* the last who writes to it */
	close(before);
	assert_true(read(fds[0], line, sizeof(line) - 1) >= 0);
	close(fds[0]);
	assert_false(conn.want & LLFUSE_CAP_PASSTHROUGH);
	assert_non_null(strstr(line, "data: heap (No space left on device)"));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, make, unmake)
	const struct CMUnitTest tests[] = {
		TEST(root_is_as_the_options_said),
		TEST(missing_name_is_an_entry_without_inode),
		TEST(a_short_write_back_is_an_error),
		TEST(made_nodes_belong_to_the_caller),
		TEST(file_is_created_written_read_and_truncated),
		TEST(unlinked_file_goes_with_the_last_forget),
		TEST(page_written_back_keeps_the_times_that_the_kernel_set),
		TEST(setid_bits_are_dropped_when_the_kernel_says_so),
		TEST(listing_shows_each_name_once_and_counts_what_the_kernel_took),
		TEST(statx_tells_the_birth_time),
		TEST(statfs_counts_what_is_used),
		TEST(seeking_data_is_left_to_the_kernel_where_it_holds_unwritten_pages),
		TEST(where_a_full_tree_keeps_bytes_out_of_the_kernel_a_line_tells),
	};

	return cmocka_run_group_tests_name("tmpfs_ops", tests, NULL, NULL);
}
