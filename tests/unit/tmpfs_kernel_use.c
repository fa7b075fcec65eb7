/* SPDX-License-Identifier: MIT */
/* The kernel's plane: files that are mapped, or go while the kernel still has them open. */
#include "tmpfs_kernel.h"

#include "backing.h"
#include "capture.h"

#include <pthread.h>
#include <stdatomic.h>

static void unlinked_file_whose_release_is_on_its_way_leaves(void **state)
{
	struct fixture *f = fixture_of(state);
	struct inode *inode = new_file(f, "f");
	struct tree_limits limits, used;

	close(open_behind_our_back(f, open_file(f, inode, FILE_OPEN_WRITER).handle));
	assert_int_equal(file_allocate(inode, f->tree->plane, 0, 0, 20 * MIB, 0), 0);
	assert_int_equal(tree_unlink(f->tree, ROOT, "f"), 0);
	tree_usage(f->tree, &limits, &used);
	assert_in_range(used.size, 0, MIB);
	close_file(f, inode, FILE_OPEN_WRITER);
	tree_usage(f->tree, &limits, &used);
	assert_in_range(used.size, 0, MIB);
	tree_put(f->tree, inode);
	tree_usage(f->tree, &limits, &used);
	assert_in_range(used.size, 0, MIB);
}

static void D4_who_has_mapped_a_file_never_sees_another_ones(void **state)
{
	struct fixture *f = fixture_of(state);
	struct inode *mapped = new_file(f, "mapped"), *other = new_file(f, "other");
	const struct backing *backing;
	struct file_opening opening;
	char *map;

	opening = open_file(f, mapped, FILE_OPEN_WRITER);
	map = map_behind_our_back(f, opening.handle, 4096);
	backing = mapped->data.backing;
	close_file(f, mapped, FILE_OPEN_WRITER);
	assert_ptr_equal(mapped->data.backing, backing);
	opening = open_file(f, other, FILE_OPEN_WRITER);
	assert_ptr_not_equal(other->data.backing, backing);
	close_file(f, other, FILE_OPEN_WRITER);
	/* Even if the inode went, which the kernel does not let happen. */
	remove_file(f, "mapped", mapped);
	opening = open_file(f, other, FILE_OPEN_WRITER);
	write_behind_our_back(f, opening.handle, "secret", 0);
	close_file(f, other, FILE_OPEN_WRITER);
	assert_ptr_not_equal(other->data.backing, backing);
	munmap(map, 4096);
	tree_put(f->tree, other);
}

static void D4_unmapped_empty_file_gives_up_its_backing_file(void **state)
{
	struct fixture *f = fixture_of(state);
	struct inode *inode = new_file(f, "f");
	char *map = map_behind_our_back(f, open_file(f, inode, FILE_OPEN_WRITER).handle, 4096);

	close_file(f, inode, FILE_OPEN_WRITER);
	assert_non_null(inode->data.backing);
	munmap(map, 4096);
	open_file(f, inode, 0);
	close_file(f, inode, 0);
	assert_null(inode->data.backing);
	tree_put(f->tree, inode);
}

static void what_is_stored_by_a_mapping_shows_after_the_last_close(void **state)
{
	struct fixture *f = fixture_of(state);
	struct inode *inode = new_file(f, "f");
	char *map = map_behind_our_back(f, open_file(f, inode, FILE_OPEN_WRITER).handle, MIB);
	const struct inode_change size = {.set = INODE_SET_SIZE, .size = MIB};
	struct stat st;

	assert_int_equal(inode_change(inode, f->tree->plane, &size, &st), 0);
	close_file(f, inode, FILE_OPEN_WRITER);
	assert_true(inode_stat(inode, f->tree->plane, &st, NULL));
	assert_int_equal(st.st_blocks, 0);
	memset(map, 1, MIB);
	assert_true(inode_stat(inode, f->tree->plane, &st, NULL));
	assert_int_equal(st.st_blocks, MIB / 512);
	munmap(map, MIB);
	assert_false(inode_stat(inode, f->tree->plane, &st, NULL));
	assert_int_equal(st.st_blocks, MIB / 512);
	tree_put(f->tree, inode);
}

static void D3_file_that_is_mapped_is_handed_out_whatever_its_bits(void **state)
{
	const struct inode_change mode = {.set = INODE_SET_MODE, .mode = 04755};
	struct fixture *f = fixture_of(state);
	struct inode *inode = new_file(f, "f");
	char *map = map_behind_our_back(f, open_file(f, inode, FILE_OPEN_WRITER).handle, 4096);
	struct file_opening opening;
	struct stat st;

	close_file(f, inode, FILE_OPEN_WRITER);
	assert_int_equal(inode_change(inode, f->tree->plane, &mode, &st), 0);
	opening = open_file(f, inode, FILE_OPEN_WRITER);
	assert_true(opening.handle > 0);
	assert_true(opening.is_ours);
	close_file(f, inode, FILE_OPEN_WRITER);
	f->registry.refuses = true;
	assert_int_equal(file_open(inode, f->tree->plane, 0, &f->registry, &opening), -EOPNOTSUPP);
	munmap(map, 4096);
	opening = open_file(f, inode, 0);
	assert_int_equal(opening.handle, 0);
	close_file(f, inode, 0);
	tree_put(f->tree, inode);
}

static void T7_what_left_once_does_not_leave_again(void **state)
{
	struct fixture *f = fixture_of(state);
	struct inode *inode = new_file(f, "f");
	struct tree_limits limits, used;

	assert_int_equal(file_allocate(inode, f->tree->plane, 0, 0, 8 * MIB, 0), 0);
	assert_int_equal(tree_unlink(f->tree, ROOT, "f"), 0);
	tree_usage(f->tree, &limits, &used);
	assert_in_range(used.size, 0, MIB);
	open_file(f, inode, 0);
	close_file(f, inode, 0);
	tree_usage(f->tree, &limits, &used);
	assert_in_range(used.size, 8 * MIB, 9 * MIB);
	tree_put(f->tree, inode);
	tree_usage(f->tree, &limits, &used);
	assert_in_range(used.size, 0, MIB);
}

static void T7_what_grows_while_it_leaves_is_counted(void **state)
{
	struct fixture *f = fixture_of(state);
	struct inode *inode = new_file(f, "f");
	char *map = map_behind_our_back(f, open_file(f, inode, 0).handle, 8 * MIB);
	const struct inode_change size = {.set = INODE_SET_SIZE, .size = 8 * MIB};
	struct tree_limits limits, used;
	struct stat st;

	assert_int_equal(inode_change(inode, f->tree->plane, &size, &st), 0);
	close_file(f, inode, 0);
	assert_int_equal(tree_unlink(f->tree, ROOT, "f"), 0);
	memset(map, 1, 8 * MIB);
	set_times(f, inode, 1, 2); /* looks again */
	assert_int_equal(stat_of(f, inode).st_blocks, 8 * MIB / 512);
	tree_usage(f->tree, &limits, &used);
	assert_in_range(used.size, 8 * MIB, 9 * MIB);
	munmap(map, 8 * MIB);
	tree_put(f->tree, inode);
	tree_usage(f->tree, &limits, &used);
	assert_in_range(used.size, 0, MIB);
	assert_int_equal(used.inodes, 1);
	inode = new_file(f, "next");
	assert_int_equal(file_allocate(inode, f->tree->plane, 0, 0, 8 * MIB, 0), 0);
	tree_usage(f->tree, &limits, &used);
	assert_in_range(used.size, 8 * MIB, 9 * MIB);
	tree_put(f->tree, inode);
}

/* Many of them, as a program leaves them behind: the first still mapped. */
static void what_was_closed_is_asked_for_before_a_capture_is(void **state)
{
	enum { FILES = 20 };
	struct fixture *f = fixture_of(state);
	struct inode *inodes[FILES];
	char *maps[FILES], name[16];
	unsigned i;

	f->tree->journal->is_kept = true;
	for (i = 0; i < FILES; i++) {
		(void)snprintf(name, sizeof(name), "f%u", i);
		inodes[i] = new_file(f, name);
		maps[i] = map_behind_our_back(f, open_file(f, inodes[i], FILE_OPEN_WRITER).handle, 4096);
		close_file(f, inodes[i], FILE_OPEN_WRITER);
		assert_true(data_is_exposed(f->tree->plane, &inodes[i]->data));
	}
	assert_true(journal_has_closed(f->tree->journal));
	remove_file(f, "f1", inodes[1]);
	for (i = 1; i < FILES; i++)
		munmap(maps[i], 4096);
	capture_settle(f->tree);
	assert_false(journal_has_closed(f->tree->journal));
	for (i = 0; i < FILES; i++)
		if (i != 1)
			assert_int_equal(data_is_exposed(f->tree->plane, &inodes[i]->data), i == 0);
	munmap(maps[0], 4096);
	for (i = 0; i < FILES; i++)
		if (i != 1)
			tree_put(f->tree, inodes[i]);
}

static void assert_bytes(struct fixture *f, struct inode *inode, const char *expected)
{
	char buf[64] = "";

	assert_int_equal(file_read(inode, f->tree->plane, buf, sizeof(buf) - 1, 0), strlen(expected));
	assert_string_equal(buf, expected);
}

/* As the kernel does, which lets go of a file when it has told us already. */
static void close_slowly(struct fixture *f, struct inode *inode, int handle)
{
	int fd = open_behind_our_back(f, handle);

	close_file(f, inode, FILE_OPEN_WRITER);
	assert_true(data_is_exposed(f->tree->plane, &inode->data));
	close(fd);
}

/* As soon as somebody may write, what was read before is no longer what there is. */
static void what_is_read_ahead_lasts_until_it_may_change(void **state)
{
	const struct inode_change cut = {.set = INODE_SET_SIZE, .size = 2};
	struct fixture *f = fixture_of(state);
	struct inode *inode = new_file(f, "f");
	struct data_plane *plane = f->tree->plane;
	struct capture *capture;
	struct stat st;
	int handle;

	f->tree->journal->is_kept = true;
	for (unsigned i = 0; i < 4; i++) {
		handle = open_file(f, inode, FILE_OPEN_WRITER).handle;
		assert_null(inode->data.backing->ahead);
		write_behind_our_back(f, handle, "first", 0);
		close_slowly(f, inode, handle);
		capture_settle(f->tree);
		assert_non_null(inode->data.backing->ahead);
		assert_bytes(f, inode, "first");
		switch (i) {
		case 0:
			assert_int_equal(file_write(inode, plane, "other", 5, 0, 0), 5);
			assert_bytes(f, inode, "other");
			break;
		case 1:
			assert_int_equal(inode_change(inode, plane, &cut, &st), 0);
			assert_bytes(f, inode, "fi");
			break;
		case 2:
			handle = open_file(f, inode, FILE_OPEN_WRITER).handle;
			write_behind_our_back(f, handle, "again and longer", 0);
			assert_bytes(f, inode, "again and longer");
			close_file(f, inode, FILE_OPEN_WRITER);
			empty(f, inode);
			break;
		default: /* it was for the capture */
			assert_int_equal(capture_take(f->tree, CAPTURE_CHANGES, &capture), 0);
			capture_end(capture, true);
			break;
		}
		assert_true(!inode->data.backing || !inode->data.backing->ahead);
	}
	tree_put(f->tree, inode);
}

static void what_was_let_go_of_before_anybody_looked_is_read_ahead(void **state)
{
	struct fixture *f = fixture_of(state);
	struct inode *inode = new_file(f, "f");
	struct capture *capture;

	f->tree->journal->is_kept = true;
	write_behind_our_back(f, open_file(f, inode, FILE_OPEN_WRITER).handle, "first", 0);
	close_file(f, inode, FILE_OPEN_WRITER);
	assert_false(data_is_exposed(f->tree->plane, &inode->data));
	capture_settle(f->tree);
	assert_non_null(inode->data.backing->ahead);
	assert_int_equal(capture_take(f->tree, CAPTURE_CHANGES, &capture), 0);
	capture_end(capture, true);
	assert_null(inode->data.backing->ahead);
	tree_put(f->tree, inode);
}

/* They would stay for ever. */
static void bytes_that_no_capture_will_take_are_not_read_ahead(void **state)
{
	struct fixture *f = fixture_of(state);
	struct inode *inode = new_file(f, "f");
	struct capture *capture;
	int handle;

	f->tree->journal->is_kept = true;
	/* Captured before it is seen that it was closed. */
	write_behind_our_back(f, open_file(f, inode, FILE_OPEN_WRITER).handle, "first", 0);
	close_file(f, inode, FILE_OPEN_WRITER);
	(void)stat_of(f, inode);
	assert_int_equal(capture_take(f->tree, CAPTURE_CHANGES, &capture), 0);
	capture_end(capture, true);
	journal_note_closed(f->tree->journal, inode->number);
	capture_settle(f->tree);
	assert_null(inode->data.backing->ahead);
	/* Without a name. */
	handle = open_file(f, inode, FILE_OPEN_WRITER).handle;
	write_behind_our_back(f, handle, "again", 0);
	assert_int_equal(tree_unlink(f->tree, ROOT, "f"), 0);
	close_slowly(f, inode, handle);
	capture_settle(f->tree);
	assert_false(data_is_exposed(f->tree->plane, &inode->data));
	assert_null(inode->data.backing->ahead);
	assert_int_equal(store_of(f)->ahead, 0);
	tree_put(f->tree, inode);
}

struct write_behind {
	int fd;
	atomic_bool may_write;
	ssize_t written;
};

static void *write_byte(void *arg)
{
	struct write_behind *write = arg;

	while (!atomic_load(&write->may_write))
		continue;
	write->written = pwrite(write->fd, "x", 1, 0);
	return NULL;
}

/* The kernel stamps a file before it puts anything into it; now and then somebody looks just then. */
static void file_that_is_looked_at_while_it_is_written_shows_the_write(void **state)
{
	enum { ROUNDS = 300 };
	struct fixture *f = fixture_of(state);
	struct write_behind write = {0};
	struct inode *inode;
	pthread_t thread;

	for (unsigned i = 0; i < ROUNDS; i++) {
		inode = new_file(f, "f");
		write.fd = f->registry.fds[open_file(f, inode, FILE_OPEN_WRITER).handle];
		set_times(f, inode, 1, 2);
		atomic_store(&write.may_write, false);
		assert_int_equal(pthread_create(&thread, NULL, write_byte, &write), 0);
		atomic_store(&write.may_write, true);
		while (stat_of(f, inode).st_size == 0)
			continue;
		assert_int_equal(pthread_join(thread, NULL), 0);
		assert_int_equal(write.written, 1);
		assert_true(stat_of(f, inode).st_mtim.tv_sec > 2);
		close_file(f, inode, FILE_OPEN_WRITER);
		remove_file(f, "f", inode);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(unlinked_file_whose_release_is_on_its_way_leaves),
		TEST(D4_who_has_mapped_a_file_never_sees_another_ones),
		TEST(D4_unmapped_empty_file_gives_up_its_backing_file),
		TEST(what_is_stored_by_a_mapping_shows_after_the_last_close),
		TEST(D3_file_that_is_mapped_is_handed_out_whatever_its_bits),
		TEST(what_was_closed_is_asked_for_before_a_capture_is),
		TEST(what_is_read_ahead_lasts_until_it_may_change),
		TEST(what_was_let_go_of_before_anybody_looked_is_read_ahead),
		TEST(bytes_that_no_capture_will_take_are_not_read_ahead),
		TEST(file_that_is_looked_at_while_it_is_written_shows_the_write),
		TEST(T7_what_left_once_does_not_leave_again),
		TEST(T7_what_grows_while_it_leaves_is_counted),
	};

	return cmocka_run_group_tests_name("tmpfs_kernel_use", tests, NULL, NULL);
}
