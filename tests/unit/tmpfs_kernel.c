/* SPDX-License-Identifier: MIT */
/*
 * The kernel's plane: backing files, their descriptors and registrations.  What lies in the files is tested with the
 * other plane's.
 */
#include "tmpfs_kernel.h"

static void D2_empty_closed_file_has_no_backing_file(void **state)
{
	struct fixture *f = fixture_of(state);
	struct inode *inode = new_file(f, "f");
	struct file_opening opening;

	assert_null(inode->data.backing);
	opening = open_file(f, inode, FILE_OPEN_WRITER);
	assert_non_null(inode->data.backing);
	close_file(f, inode, FILE_OPEN_WRITER);
	assert_null(inode->data.backing);
	open_file(f, inode, 0);
	close_file(f, inode, 0);
	assert_null(inode->data.backing);
	opening = open_file(f, inode, FILE_OPEN_WRITER);
	write_behind_our_back(f, opening.handle, "hello", 0);
	close_file(f, inode, FILE_OPEN_WRITER);
	assert_non_null(inode->data.backing);
	empty(f, inode);
	assert_null(inode->data.backing);
	assert_int_equal(stat_of(f, inode).st_size, 0);
	tree_put(f->tree, inode);
}

static void D3_overlapping_opens_share_the_first_ones_handle(void **state)
{
	struct fixture *f = fixture_of(state);
	struct inode *inode = new_file(f, "f");
	int handle = open_file(f, inode, 0).handle;

	assert_true(handle > 0);
	assert_int_equal(open_file(f, inode, FILE_OPEN_WRITER).handle, handle);
	assert_int_equal(f->registry.n, 1);
	close_file(f, inode, 0);
	f->registry.refuses = true;
	assert_int_equal(open_file(f, inode, 0).handle, handle);
	close_file(f, inode, 0);
	close_file(f, inode, FILE_OPEN_WRITER);
	tree_put(f->tree, inode);
}

static void D3_file_that_cannot_be_handed_out_goes_through_us(void **state)
{
	struct fixture *f = fixture_of(state);
	struct inode *inode = new_file(f, "f");

	f->registry.refuses = true;
	assert_int_equal(open_file(f, inode, 0).handle, 0);
	f->registry.refuses = false;
	assert_int_equal(open_file(f, inode, 0).handle, 0);
	close_file(f, inode, 0);
	close_file(f, inode, 0);
	assert_true(open_file(f, inode, 0).handle > 0);
	close_file(f, inode, 0);
	tree_put(f->tree, inode);
}

static void what_is_written_behind_our_back_shows(void **state)
{
	struct fixture *f = fixture_of(state);
	struct inode *inode = new_file(f, "f");
	struct file_opening opening;
	char buf[16];

	opening = open_file(f, inode, FILE_OPEN_WRITER);
	assert_true(opening.is_first_writer);
	assert_false(inode_stat(inode, f->tree->plane, &(struct stat){0}, NULL)); /* no page to store to */
	write_behind_our_back(f, opening.handle, "hello", 10000);
	assert_true(inode_stat(inode, f->tree->plane, &(struct stat){0}, NULL));
	assert_false(open_file(f, inode, FILE_OPEN_WRITER).is_first_writer);
	close_file(f, inode, FILE_OPEN_WRITER);
	assert_int_equal(stat_of(f, inode).st_size, 10005);
	assert_int_equal(stat_of(f, inode).st_blocks, 8);
	assert_int_equal(file_read(inode, f->tree->plane, buf, sizeof(buf), 9995), 10);
	assert_memory_equal(buf, "\0\0\0\0\0hello", 10);
	write_behind_our_back(f, opening.handle, "world", 0);
	close_file(f, inode, FILE_OPEN_WRITER);
	assert_int_equal(stat_of(f, inode).st_blocks, 16);
	assert_int_equal(file_read(inode, f->tree->plane, buf, 5, 0), 5);
	assert_memory_equal(buf, "world", 5);
	tree_put(f->tree, inode);
}

static void times_that_were_set_hold_until_the_next_access(void **state)
{
	static const time_t times[] = {5, -5, 4000000000};
	struct fixture *f = fixture_of(state);
	struct inode *inode = new_file(f, "f");
	struct timespec now;
	int handle;

	inode_now(&now);
	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		/* Set while it is empty, while it is open, while it is closed. */
		set_times(f, inode, times[i], times[i]);
		handle = open_file(f, inode, FILE_OPEN_WRITER).handle;
		assert_int_equal(stat_of(f, inode).st_mtim.tv_sec, times[i]);
		assert_int_equal(stat_of(f, inode).st_atim.tv_sec, times[i]);
		write_behind_our_back(f, handle, "x", 0);
		assert_in_range(stat_of(f, inode).st_mtim.tv_sec, now.tv_sec, now.tv_sec + 60);
		assert_int_equal(stat_of(f, inode).st_atim.tv_sec, times[i]);
		set_times(f, inode, times[i], times[i]);
		close_file(f, inode, FILE_OPEN_WRITER);
		assert_int_equal(stat_of(f, inode).st_mtim.tv_sec, times[i]);
		handle = open_file(f, inode, FILE_OPEN_WRITER).handle;
		write_behind_our_back(f, handle, "y", 1);
		close_file(f, inode, FILE_OPEN_WRITER);
		assert_in_range(stat_of(f, inode).st_mtim.tv_sec, now.tv_sec, now.tv_sec + 60);
		set_times(f, inode, now.tv_sec - 1000, now.tv_sec - 100);
		handle = open_file(f, inode, 0).handle;
		read_behind_our_back(f, handle);
		close_file(f, inode, 0);
		assert_in_range(stat_of(f, inode).st_atim.tv_sec, now.tv_sec, now.tv_sec + 60);
		assert_int_equal(stat_of(f, inode).st_mtim.tv_sec, now.tv_sec - 100);
		empty(f, inode);
	}
	tree_put(f->tree, inode);
}

/* Such as a commit, or a copy. */
static void what_we_read_for_ourselves_is_no_access(void **state)
{
	struct fixture *f = fixture_of(state);
	struct inode *inode = new_file(f, "f");
	struct data_plane *plane = f->tree->plane;
	int handle = open_file(f, inode, FILE_OPEN_WRITER).handle;
	char buf[5];

	write_behind_our_back(f, handle, "hello", 0);
	set_times(f, inode, 5, 5);
	assert_int_equal(plane->ops->read(plane, &inode->data, buf, sizeof(buf), 0), 5);
	assert_int_equal(stat_of(f, inode).st_atim.tv_sec, 5);
	close_file(f, inode, FILE_OPEN_WRITER);
	assert_int_equal(plane->ops->read(plane, &inode->data, buf, sizeof(buf), 0), 5);
	open_file(f, inode, 0);
	close_file(f, inode, 0);
	assert_int_equal(stat_of(f, inode).st_atim.tv_sec, 5);
	tree_put(f->tree, inode);
}

static void file_that_was_another_ones_is_empty_and_has_no_past(void **state)
{
	struct fixture *f = fixture_of(state);
	struct inode *inode = new_file(f, "old"), *next;
	struct backing *backing;
	struct file_opening opening = open_file(f, inode, FILE_OPEN_WRITER);
	char buf[8];

	write_behind_our_back(f, opening.handle, "secret", 0);
	backing = inode->data.backing;
	close_file(f, inode, FILE_OPEN_WRITER);
	remove_file(f, "old", inode);
	next = new_file(f, "new");
	set_times(f, next, 77, 88);
	opening = open_file(f, next, FILE_OPEN_WRITER);
	assert_ptr_equal(next->data.backing, backing);
	assert_int_equal(stat_of(f, next).st_size, 0);
	assert_int_equal(stat_of(f, next).st_mtim.tv_sec, 88);
	assert_int_equal(stat_of(f, next).st_atim.tv_sec, 77);
	write_behind_our_back(f, opening.handle, "x", 5);
	assert_int_equal(stat_of(f, next).st_atim.tv_sec, 77);
	assert_int_equal(file_read(next, f->tree->plane, buf, sizeof(buf), 0), 6);
	assert_memory_equal(buf, "\0\0\0\0\0x", 6);
	close_file(f, next, FILE_OPEN_WRITER);
	tree_put(f->tree, next);
}

static void time_to_come_of_another_file_is_not_taken_over(void **state)
{
	struct fixture *f = fixture_of(state);
	struct inode *inode = new_file(f, "old"), *next = new_file(f, "new");
	time_t before = stat_of(f, next).st_atim.tv_sec;
	struct backing *backing;

	open_file(f, inode, FILE_OPEN_WRITER);
	set_times(f, inode, before + 10000, before + 20000);
	backing = inode->data.backing;
	close_file(f, inode, FILE_OPEN_WRITER);
	open_file(f, next, FILE_OPEN_WRITER);
	assert_ptr_equal(next->data.backing, backing);
	assert_int_equal(stat_of(f, next).st_atim.tv_sec, before);
	close_file(f, next, FILE_OPEN_WRITER);
	tree_put(f->tree, inode);
	tree_put(f->tree, next);
}

static void setuid_bit_goes_with_a_write_that_we_do_not_see(void **state)
{
	const struct inode_change mode = {.set = INODE_SET_MODE, .mode = 06755};
	struct fixture *f = fixture_of(state);
	struct inode *inode = new_file(f, "f");
	struct file_opening opening;
	struct stat st;

	opening = open_file(f, inode, FILE_OPEN_WRITER);
	write_behind_our_back(f, opening.handle, "a", 0);
	assert_int_equal(inode_change(inode, f->tree->plane, &mode, &st), 0);
	assert_int_equal(stat_of(f, inode).st_mode & 07777, 06755);
	assert_int_equal(fchmod(f->registry.fds[opening.handle], 0600), 0); /* as the kernel does before the write */
	write_behind_our_back(f, opening.handle, "b", 1);
	assert_int_equal(stat_of(f, inode).st_mode & 07777, 0755);
	assert_int_equal(inode_change(inode, f->tree->plane, &mode, &st), 0);
	close_file(f, inode, FILE_OPEN_WRITER);
	assert_int_equal(stat_of(f, inode).st_mode & 07777, 06755);
	/* Opened anew, its writes come to us. */
	opening = open_file(f, inode, FILE_OPEN_WRITER);
	assert_int_equal(opening.handle, 0);
	assert_int_equal(file_write(inode, f->tree->plane, "c", 1, 0, FILE_DROP_SETID), 1);
	assert_int_equal(stat_of(f, inode).st_mode & 07777, 0755);
	close_file(f, inode, FILE_OPEN_WRITER);
	tree_put(f->tree, inode);
}

static void few_descriptors_are_kept(void **state)
{
	enum { FILES = 50, WARM = 4 };
	struct fixture *f = fixture_of(state);
	struct inode *inodes[FILES];
	char name[16], byte;

	data_kernel_set_warm_max(f->tree->plane, WARM);
	for (int i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		inodes[i] = new_file(f, name);
		write_behind_our_back(f, open_file(f, inodes[i], FILE_OPEN_WRITER).handle, "x", i);
		close_file(f, inodes[i], FILE_OPEN_WRITER);
		assert_in_range(store_of(f)->n_warm, 0, WARM);
		assert_in_range(f->registry.n, 0, WARM + 1);
	}
	/* All open: they keep their handles, and no descriptors. */
	for (int i = 0; i < FILES; i++)
		assert_true(open_file(f, inodes[i], 0).handle > 0);
	assert_int_equal(f->registry.n, FILES);
	assert_in_range(store_of(f)->n_warm, 0, WARM);
	for (int i = 0; i < FILES; i++) {
		assert_int_equal(stat_of(f, inodes[i]).st_size, i + 1);
		assert_int_equal(file_read(inodes[i], f->tree->plane, &byte, 1, (uint64_t)i), 1);
		assert_int_equal(byte, 'x');
		close_file(f, inodes[i], 0);
	}
	assert_in_range(f->registry.n, 0, WARM);
	for (int i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		remove_file(f, name, inodes[i]);
	}
	assert_in_range(f->registry.n, 0, WARM + 1);
}

static void works_with_hardly_any_descriptor(void **state)
{
	enum { FILES = 60 };
	struct fixture *f = fixture_of(state);
	struct rlimit before, tight;
	struct inode *inodes[FILES];
	char name[16], byte;
	int fd = dup(0);

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	f->registry.refuses = true; /* its copies would take descriptors too */
	tight = (struct rlimit){.rlim_cur = (rlim_t)fd + 6, .rlim_max = before.rlim_max};
	close(fd);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
	for (int i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		inodes[i] = new_file(f, name);
		assert_int_equal(open_file(f, inodes[i], FILE_OPEN_WRITER).handle, 0);
		assert_int_equal(file_write(inodes[i], f->tree->plane, "x", 1, (uint64_t)i, 0), 1);
	}
	for (int i = 0; i < FILES; i++) {
		assert_int_equal(file_read(inodes[i], f->tree->plane, &byte, 1, (uint64_t)i), 1);
		close_file(f, inodes[i], FILE_OPEN_WRITER);
		tree_put(f->tree, inodes[i]);
	}
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
}

static void T7_both_parts_stay_within_the_size(void **state)
{
	struct fixture *f = fixture_of(state);
	struct tree_limits limits, used;
	struct inode *big = new_file(f, "big");
	struct file_opening opening = open_file(f, big, FILE_OPEN_WRITER);
	static char chunk[MIB];
	ssize_t n, total = 0;

	while ((n = pwrite(f->registry.fds[opening.handle], chunk, sizeof(chunk), total)) > 0)
		total += n;
	assert_int_equal(errno, ENOSPC);
	assert_in_range(total, 63 * MIB, 64 * MIB);
	tree_usage(f->tree, &limits, &used);
	assert_in_range(used.size, 64 * MIB - 4096, 64 * MIB);
	/* Names take room from bytes, and find none. */
	for (int i = 0; i < 10000; i++) {
		struct inode *inode;
		char name[16];
		int err;

		snprintf(name, sizeof(name), "f%d", i);
		err = tree_mknod(f->tree, ROOT, name, S_IFREG, 0, nobody, &inode);
		if (err) {
			assert_int_equal(err, -ENOSPC);
			break;
		}
		assert_true(i < 2000); /* what had been granted already */
		tree_put(f->tree, inode);
	}
	tree_usage(f->tree, &limits, &used);
	assert_true(used.size <= limits.size);
	close_file(f, big, FILE_OPEN_WRITER);
	/* An empty file is opened all the same. */
	open_file(f, tree_get(f->tree, big->number + 1), 0);
	tree_put(f->tree, big);
}

static void lost_page_does_not_shorten_the_file(void **state)
{
	const struct inode_change mode = {.set = INODE_SET_MODE, .mode = 04755};
	struct fixture *f = fixture_of(state);
	struct inode *inode = new_file(f, "f");
	struct stat st;

	assert_int_equal(inode_change(inode, f->tree->plane, &mode, &st), 0);
	assert_int_equal(open_file(f, inode, FILE_OPEN_WRITER).handle, 0);
	assert_int_equal(file_write(inode, f->tree->plane, "x", 1, MIB, 0), 1);
	file_lose(inode, f->tree->plane, 4096);
	assert_int_equal(stat_of(f, inode).st_size, MIB + 1);
	close_file(f, inode, FILE_OPEN_WRITER);
	tree_put(f->tree, inode);
}

static int open_new(struct inode *inode, void *arg)
{
	struct fixture *f = arg;

	(void)open_file(f, inode, FILE_OPEN_WRITER | FILE_OPEN_NEW);
	return 0;
}

static void close_new(struct inode *inode, void *arg)
{
	close_file(arg, inode, FILE_OPEN_WRITER);
}

static void file_that_does_not_get_its_name_leaves_nothing(void **state)
{
	struct fixture *f = fixture_of(state);
	const struct tree_preparation preparation = {.make = open_new, .undo = close_new, .arg = f};
	struct inode *there = new_file(f, "there"), *made;
	struct tree_limits limits, used;

	assert_int_equal(tree_create(f->tree, ROOT, "there", 0644, nobody, &preparation, &made), -EEXIST);
	tree_usage(f->tree, &limits, &used);
	assert_int_equal(used.inodes, 2);
	assert_int_equal(tree_create(f->tree, ROOT, "made", 0644, nobody, &preparation, &made), 0);
	assert_non_null(made->data.backing);
	close_new(made, f);
	tree_put(f->tree, made);
	tree_put(f->tree, there);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(D2_empty_closed_file_has_no_backing_file),
		TEST(D3_overlapping_opens_share_the_first_ones_handle),
		TEST(D3_file_that_cannot_be_handed_out_goes_through_us),
		TEST(what_is_written_behind_our_back_shows),
		TEST(times_that_were_set_hold_until_the_next_access),
		TEST(what_we_read_for_ourselves_is_no_access),
		TEST(file_that_was_another_ones_is_empty_and_has_no_past),
		TEST(time_to_come_of_another_file_is_not_taken_over),
		TEST(setuid_bit_goes_with_a_write_that_we_do_not_see),
		TEST(few_descriptors_are_kept),
		TEST(works_with_hardly_any_descriptor),
		TEST(T7_both_parts_stay_within_the_size),
		TEST(lost_page_does_not_shorten_the_file),
		TEST(file_that_does_not_get_its_name_leaves_nothing),
	};

	return cmocka_run_group_tests_name("tmpfs_kernel", tests, NULL, NULL);
}
