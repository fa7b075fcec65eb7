/* SPDX-License-Identifier: MIT */
/* The operations on names, the life of inodes, their attributes.  T1 to T5 are the invariants of tree.h. */
#include "file.h"
#include "tree.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define ROOT TREE_ROOT_NUMBER
static const struct owner nobody = {.uid = 65534, .gid = 65533};
static const struct tree_limits ample = {.size = 1u << 30, .inodes = 1u << 20};

static int make(void **state)
{
	struct tree *tree;

	assert_int_equal(tree_new(0755, (struct owner){0}, &ample, &tree), 0);
	*state = tree;
	return 0;
}

/* Every test leaves all that it made to tree_free(): a leak is the sanitizer's to find. */
static int unmake(void **state)
{
	tree_free(*state);
	return 0;
}

/* ------------------------------------------------------------------------ */
/* Shorthands: numbers instead of references, which the tree then frees at once. */

static uint64_t put_number(struct tree *tree, struct inode *inode)
{
	uint64_t number = inode->number;

	tree_put(tree, inode);
	return number;
}

static uint64_t file_in(struct tree *tree, uint64_t parent, const char *name)
{
	struct inode *made;

	assert_int_equal(tree_mknod(tree, parent, name, S_IFREG | 0644, 0, nobody, &made), 0);
	return put_number(tree, made);
}

static uint64_t dir_in(struct tree *tree, uint64_t parent, const char *name)
{
	struct inode *made;

	assert_int_equal(tree_mkdir(tree, parent, name, 0755, nobody, &made), 0);
	return put_number(tree, made);
}

static int link_in(struct tree *tree, uint64_t number, uint64_t parent, const char *name)
{
	struct inode *linked;
	int err = tree_link(tree, number, parent, name, &linked);

	if (!err)
		tree_put(tree, linked);
	return err;
}

/* The number behind a name, or -errno. */
static int64_t number_of(struct tree *tree, uint64_t parent, const char *name)
{
	struct inode *found;
	int err = tree_lookup(tree, parent, name, &found);

	return err ? err : (int64_t)put_number(tree, found);
}

static struct stat stat_of(struct tree *tree, uint64_t number)
{
	struct inode *inode = tree_get(tree, number);
	struct stat st;

	assert_non_null(inode);
	inode_stat(inode, tree->plane, &st, NULL);
	tree_put(tree, inode);
	return st;
}

static unsigned links_of(struct tree *tree, uint64_t number)
{
	return (unsigned)stat_of(tree, number).st_nlink;
}

static bool is_alive(struct tree *tree, uint64_t number)
{
	struct inode *inode = tree_get(tree, number);

	if (inode)
		tree_put(tree, inode);
	return inode != NULL;
}

/* Sets all times of an inode to one second after the Epoch, so that a change shows. */
static void make_old(struct tree *tree, uint64_t number)
{
	const struct timespec then = {.tv_sec = 1};
	const struct inode_change change = {.set = INODE_SET_ATIME | INODE_SET_MTIME | INODE_SET_CTIME,
					    .atime = then,
					    .mtime = then,
					    .ctime = then};
	struct inode *inode = tree_get(tree, number);
	struct stat after;

	assert_int_equal(inode_change(inode, tree->plane, &change, &after), 0);
	tree_put(tree, inode);
}

static bool is_new(struct timespec ts)
{
	return ts.tv_sec > 1;
}

static size_t count_in(struct tree *tree, uint64_t dir)
{
	struct tree_list list;
	struct tree_item item;
	size_t n = 0;

	assert_int_equal(tree_list_begin(tree, dir, 0, &list), 0);
	while (tree_list_next(&list, &item))
		n++;
	tree_list_end(&list);
	return n - 2; /* "." and ".." */
}

/* ------------------------------------------------------------------------ */
/* Names                                                                     */

static void made_names_are_found_and_listed(void **state)
{
	struct tree *tree = *state;
	uint64_t dir = dir_in(tree, ROOT, "dir"), file = file_in(tree, dir, "file");
	struct tree_list list;
	struct tree_item item;

	assert_int_equal(number_of(tree, ROOT, "dir"), dir);
	assert_int_equal(number_of(tree, dir, "file"), file);
	assert_int_equal(number_of(tree, dir, "."), dir);
	assert_int_equal(number_of(tree, dir, ".."), ROOT);
	assert_int_equal(number_of(tree, ROOT, ".."), ROOT);
	assert_int_equal(number_of(tree, ROOT, "file"), -ENOENT);
	assert_int_equal(number_of(tree, file, "x"), -ENOTDIR);
	assert_int_equal(number_of(tree, 999, "x"), -ESTALE);

	assert_int_equal(tree_list_begin(tree, dir, 0, &list), 0);
	assert_true(tree_list_next(&list, &item) && strcmp(item.name, ".") == 0 && item.inode->number == dir);
	assert_true(tree_list_next(&list, &item) && strcmp(item.name, "..") == 0 && item.inode->number == ROOT);
	assert_true(tree_list_next(&list, &item) && strcmp(item.name, "file") == 0 && item.inode->number == file);
	assert_false(tree_list_next(&list, &item));
	tree_list_end(&list);
	assert_int_equal(tree_list_begin(tree, file, 0, &list), -ENOTDIR);
}

static void name_that_is_there_is_not_made_again(void **state)
{
	struct tree *tree = *state;
	uint64_t file = file_in(tree, ROOT, "a");
	struct inode *made;

	assert_int_equal(tree_mknod(tree, ROOT, "a", S_IFREG, 0, nobody, &made), -EEXIST);
	assert_int_equal(tree_mkdir(tree, ROOT, "a", 0, nobody, &made), -EEXIST);
	assert_int_equal(tree_symlink(tree, ROOT, "a", "x", nobody, &made), -EEXIST);
	assert_int_equal(tree_mkdir(tree, ROOT, "..", 0, nobody, &made), -EEXIST);
	assert_int_equal(link_in(tree, file, ROOT, "a"), -EEXIST);
	assert_int_equal(links_of(tree, file), 1);
}

static void names_have_255_bytes_and_no_more(void **state)
{
	struct tree *tree = *state;
	char name[258];
	struct inode *made;

	memset(name, 'x', sizeof(name));
	name[255] = '\0';
	file_in(tree, ROOT, name);
	name[255] = 'x';
	name[256] = '\0';
	assert_int_equal(tree_mkdir(tree, ROOT, name, 0, nobody, &made), -ENAMETOOLONG);
	assert_int_equal(number_of(tree, ROOT, name), -ENAMETOOLONG);
	assert_int_equal(tree_unlink(tree, ROOT, name), -ENAMETOOLONG);
	assert_int_equal(tree_rename(tree, ROOT, "x", ROOT, name, 0, nobody), -ENAMETOOLONG);
}

static void all_types_can_be_made(void **state)
{
	static const mode_t types[] = {S_IFREG, S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK};
	struct tree *tree = *state;
	struct inode *made;
	struct stat st;
	char name[8];

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		snprintf(name, sizeof(name), "%zu", i);
		assert_int_equal(tree_mknod(tree, ROOT, name, types[i] | 0640, 0x1234, nobody, &made), 0);
		st = stat_of(tree, put_number(tree, made));
		assert_int_equal(st.st_mode, types[i] | 0640);
		assert_int_equal(st.st_uid, nobody.uid);
		assert_int_equal(st.st_gid, nobody.gid);
		assert_int_equal(st.st_rdev, types[i] == S_IFCHR || types[i] == S_IFBLK ? 0x1234 : 0);
	}
	assert_int_equal(tree_mknod(tree, ROOT, "x", S_IFDIR, 0, nobody, &made), -EINVAL);
	assert_int_equal(tree_symlink(tree, ROOT, "link", "target", nobody, &made), 0);
	st = stat_of(tree, put_number(tree, made));
	assert_int_equal(st.st_mode, S_IFLNK | 0777);
	assert_int_equal(st.st_size, 6);
}

static void hard_links_are_counted(void **state)
{
	struct tree *tree = *state;
	uint64_t dir = dir_in(tree, ROOT, "dir"), file = file_in(tree, ROOT, "a");

	assert_int_equal(link_in(tree, file, dir, "b"), 0);
	assert_int_equal(links_of(tree, file), 2);
	assert_int_equal(number_of(tree, dir, "b"), file);
	assert_int_equal(tree_unlink(tree, ROOT, "a"), 0);
	assert_int_equal(links_of(tree, file), 1);
	assert_int_equal(link_in(tree, dir, ROOT, "d"), -EPERM);
	assert_int_equal(link_in(tree, 999, ROOT, "d"), -ESTALE);
}

static void T4_directory_links_are_two_and_one_for_each_in_it(void **state)
{
	struct tree *tree = *state;
	uint64_t a = dir_in(tree, ROOT, "a"), b = dir_in(tree, ROOT, "b");

	dir_in(tree, a, "x");
	file_in(tree, a, "f");
	file_in(tree, b, "f");
	assert_int_equal(links_of(tree, ROOT), 4);
	assert_int_equal(links_of(tree, a), 3);
	assert_int_equal(tree_rename(tree, a, "x", b, "x", 0, nobody), 0);
	assert_int_equal(links_of(tree, a), 2);
	assert_int_equal(links_of(tree, b), 3);
	assert_int_equal(tree_rename(tree, b, "x", a, "f", RENAME_EXCHANGE, nobody), 0);
	assert_int_equal(links_of(tree, a), 3);
	assert_int_equal(links_of(tree, b), 2);
	assert_int_equal(tree_rmdir(tree, a, "f"), 0);
	assert_int_equal(links_of(tree, a), 2);
}

static void only_what_fits_is_removed(void **state)
{
	struct tree *tree = *state;
	uint64_t dir = dir_in(tree, ROOT, "dir");

	file_in(tree, dir, "file");
	assert_int_equal(tree_unlink(tree, ROOT, "dir"), -EISDIR);
	assert_int_equal(tree_rmdir(tree, ROOT, "dir"), -ENOTEMPTY);
	assert_int_equal(tree_rmdir(tree, dir, "file"), -ENOTDIR);
	assert_int_equal(tree_unlink(tree, dir, "none"), -ENOENT);
	assert_int_equal(tree_rmdir(tree, dir, "none"), -ENOENT);
	assert_int_equal(tree_unlink(tree, dir, "file"), 0);
	assert_int_equal(tree_rmdir(tree, ROOT, "dir"), 0);
	assert_int_equal(count_in(tree, ROOT), 0);
}

/* ------------------------------------------------------------------------ */
/* Renaming                                                                  */

static void rename_moves_and_replaces(void **state)
{
	struct tree *tree = *state;
	uint64_t dir = dir_in(tree, ROOT, "dir"), a = file_in(tree, ROOT, "a"), b = file_in(tree, dir, "b");

	assert_int_equal(tree_rename(tree, ROOT, "none", dir, "x", 0, nobody), -ENOENT);
	assert_int_equal(tree_rename(tree, ROOT, "a", ROOT, "c", 0, nobody), 0);
	assert_int_equal(number_of(tree, ROOT, "a"), -ENOENT);
	assert_int_equal(tree_rename(tree, ROOT, "c", dir, "b", RENAME_NOREPLACE, nobody), -EEXIST);
	assert_int_equal(tree_rename(tree, ROOT, "c", dir, "b", 0, nobody), 0);
	assert_int_equal(number_of(tree, dir, "b"), a);
	assert_false(is_alive(tree, b));
	assert_int_equal(count_in(tree, dir), 1);
	assert_int_equal(count_in(tree, ROOT), 1);
	assert_int_equal(tree_rename(tree, dir, "b", ROOT, "..", 0, nobody), -EBUSY);
	assert_int_equal(tree_rename(tree, dir, "b", ROOT, "b", RENAME_EXCHANGE | RENAME_WHITEOUT, nobody), -EINVAL);
	assert_int_equal(tree_rename(tree, dir, "b", ROOT, "b", RENAME_EXCHANGE | RENAME_NOREPLACE, nobody), -EINVAL);
}

static void rename_can_leave_a_whiteout(void **state)
{
	struct tree *tree = *state;
	uint64_t dir = dir_in(tree, ROOT, "dir"), a = file_in(tree, ROOT, "a"), sub = dir_in(tree, ROOT, "sub");
	struct tree_limits limits, before, after;
	struct stat st;

	assert_int_equal(tree_rename(tree, ROOT, "a", dir, "b", RENAME_WHITEOUT, nobody), 0);
	assert_int_equal(number_of(tree, dir, "b"), a);
	st = stat_of(tree, (uint64_t)number_of(tree, ROOT, "a"));
	assert_int_equal(st.st_mode, S_IFCHR);
	assert_int_equal(st.st_rdev, 0);
	assert_int_equal(st.st_nlink, 1);
	assert_int_equal(st.st_uid, nobody.uid);
	/* Of a directory: the number of subdirectories follows. */
	assert_int_equal(links_of(tree, ROOT), 4);
	assert_int_equal(tree_rename(tree, ROOT, "sub", dir, "sub", RENAME_WHITEOUT | RENAME_NOREPLACE, nobody), 0);
	assert_int_equal(number_of(tree, dir, "sub"), sub);
	assert_int_equal(links_of(tree, ROOT), 3);
	assert_int_equal(links_of(tree, dir), 3);
	assert_int_equal(count_in(tree, ROOT), 3);
	/* Where nothing is moved, none is left. */
	tree_usage(tree, &limits, &before);
	assert_int_equal(tree_rename(tree, ROOT, "none", dir, "x", RENAME_WHITEOUT, nobody), -ENOENT);
	assert_int_equal(tree_rename(tree, dir, "b", dir, "sub", RENAME_WHITEOUT | RENAME_NOREPLACE, nobody), -EEXIST);
	assert_int_equal(link_in(tree, a, dir, "c"), 0);
	assert_int_equal(tree_rename(tree, dir, "b", dir, "c", RENAME_WHITEOUT, nobody), 0);
	assert_int_equal(number_of(tree, dir, "b"), a);
	tree_usage(tree, &limits, &after);
	assert_int_equal(after.inodes, before.inodes);
}

static void rename_checks_types(void **state)
{
	struct tree *tree = *state;
	uint64_t full = dir_in(tree, ROOT, "full"), empty = dir_in(tree, ROOT, "empty");

	file_in(tree, ROOT, "file");
	file_in(tree, full, "x");
	assert_int_equal(tree_rename(tree, ROOT, "file", ROOT, "empty", 0, nobody), -EISDIR);
	assert_int_equal(tree_rename(tree, ROOT, "empty", ROOT, "file", 0, nobody), -ENOTDIR);
	assert_int_equal(tree_rename(tree, ROOT, "empty", ROOT, "full", 0, nobody), -ENOTEMPTY);
	assert_int_equal(tree_rename(tree, ROOT, "full", ROOT, "empty", 0, nobody), 0);
	assert_false(is_alive(tree, empty));
	assert_int_equal(number_of(tree, ROOT, "empty"), full);
	assert_int_equal(links_of(tree, ROOT), 3);
}

static void directory_is_not_moved_into_itself(void **state)
{
	struct tree *tree = *state;
	uint64_t a = dir_in(tree, ROOT, "a"), b = dir_in(tree, a, "b"), c = dir_in(tree, b, "c");

	assert_int_equal(tree_rename(tree, ROOT, "a", a, "x", 0, nobody), -EINVAL);
	assert_int_equal(tree_rename(tree, ROOT, "a", c, "x", 0, nobody), -EINVAL);
	assert_int_equal(tree_rename(tree, ROOT, "a", b, "c", RENAME_EXCHANGE, nobody), -EINVAL);
	assert_int_equal(tree_rename(tree, b, "c", ROOT, "a", RENAME_EXCHANGE, nobody), -EINVAL);
	assert_int_equal(tree_rename(tree, b, "c", ROOT, "a", 0, nobody), -ENOTEMPTY);
	assert_int_equal(tree_rename(tree, b, "c", ROOT, "c", 0, nobody), 0);
	assert_int_equal(number_of(tree, c, ".."), ROOT);
}

static void rename_to_the_same_file_does_nothing(void **state)
{
	struct tree *tree = *state;
	uint64_t file = file_in(tree, ROOT, "a");

	assert_int_equal(link_in(tree, file, ROOT, "b"), 0);
	make_old(tree, ROOT);
	assert_int_equal(tree_rename(tree, ROOT, "a", ROOT, "b", 0, nobody), 0);
	assert_int_equal(tree_rename(tree, ROOT, "a", ROOT, "a", 0, nobody), 0);
	assert_int_equal(tree_rename(tree, ROOT, "a", ROOT, "b", RENAME_EXCHANGE, nobody), 0);
	assert_int_equal(links_of(tree, file), 2);
	assert_int_equal(count_in(tree, ROOT), 2);
	assert_false(is_new(stat_of(tree, ROOT).st_mtim));
}

static void exchange_swaps_a_file_and_a_directory(void **state)
{
	struct tree *tree = *state;
	uint64_t dir = dir_in(tree, ROOT, "dir"), sub = dir_in(tree, dir, "sub"), file = file_in(tree, ROOT, "file");

	assert_int_equal(tree_rename(tree, ROOT, "file", dir, "none", RENAME_EXCHANGE, nobody), -ENOENT);
	assert_int_equal(tree_rename(tree, ROOT, "none", dir, "sub", RENAME_EXCHANGE, nobody), -ENOENT);
	assert_int_equal(tree_rename(tree, ROOT, "file", dir, "sub", RENAME_EXCHANGE, nobody), 0);
	assert_int_equal(number_of(tree, ROOT, "file"), sub);
	assert_int_equal(number_of(tree, dir, "sub"), file);
	assert_int_equal(number_of(tree, sub, ".."), ROOT);
	assert_int_equal(links_of(tree, ROOT), 4);
	assert_int_equal(links_of(tree, dir), 2);
}

/* ------------------------------------------------------------------------ */
/* Lives                                                                     */

static void T1_unlinked_file_lives_until_the_last_reference(void **state)
{
	struct tree *tree = *state;
	struct inode *looked_up;
	uint64_t file = file_in(tree, ROOT, "a");

	assert_int_equal(tree_lookup(tree, ROOT, "a", &looked_up), 0);
	assert_int_equal(tree_lookup(tree, ROOT, "a", &looked_up), 0);
	assert_int_equal(tree_unlink(tree, ROOT, "a"), 0);
	assert_int_equal(links_of(tree, file), 0);
	assert_int_equal(file_write(looked_up, tree->plane, "x", 1, 0, 0), 1);
	tree_forget(tree, file, 1);
	assert_int_equal(stat_of(tree, file).st_size, 1);
	tree_forget(tree, file, 1);
	assert_false(is_alive(tree, file));
	tree_forget(tree, file, 1);
}

static void what_lost_its_name_is_not_found_by_its_number(void **state)
{
	struct tree *tree = *state;
	uint64_t file = file_in(tree, ROOT, "file"), dir = dir_in(tree, ROOT, "dir");
	struct inode *kept[] = {tree_get(tree, file), tree_get(tree, dir)};

	assert_int_equal(link_in(tree, file, ROOT, "link"), 0);
	assert_int_equal(tree_unlink(tree, ROOT, "file"), 0);
	assert_int_equal(number_of(tree, file, "."), file);
	assert_int_equal(tree_unlink(tree, ROOT, "link"), 0);
	assert_int_equal(tree_rmdir(tree, ROOT, "dir"), 0);
	assert_int_equal(number_of(tree, file, "."), -ESTALE);
	assert_int_equal(number_of(tree, dir, "."), -ESTALE);
	tree_put(tree, kept[0]);
	tree_put(tree, kept[1]);
}

static void lost_name_of_several_is_to_be_asked_for(void **state)
{
	struct tree *tree = *state;
	uint64_t file = file_in(tree, ROOT, "file");
	struct inode *inode = tree_get(tree, file);
	struct stat st;

	assert_int_equal(link_in(tree, file, ROOT, "link"), 0);
	assert_false(inode_stat(inode, tree->plane, &st, NULL));
	assert_int_equal(tree_unlink(tree, ROOT, "file"), 0);
	assert_true(inode_stat(inode, tree->plane, &st, NULL));
	assert_int_equal(st.st_nlink, 1);
	/* The next change there shows that the kernel is done with this one. */
	(void)file_in(tree, dir_in(tree, ROOT, "dir"), "elsewhere");
	assert_false(inode_stat(inode, tree->plane, &st, NULL));
	assert_int_equal(link_in(tree, file, ROOT, "again"), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(tree_unlink(tree, ROOT, "again"), 0);
		assert_int_equal(link_in(tree, file, ROOT, "again"), 0);
	}
	assert_false(inode_stat(inode, tree->plane, &st, NULL));
	tree_put(tree, inode);
}

static void busy_inode_is_not_waited_for(void **state)
{
	struct tree *tree = *state;
	struct inode *inode = tree_get(tree, file_in(tree, ROOT, "file"));
	bool may_change;
	struct stat st;

	small_rwlock_wrlock(&inode->lock);
	assert_false(inode_try_stat(inode, tree->plane, &st, &may_change));
	small_rwlock_wrunlock(&inode->lock);
	assert_true(inode_try_stat(inode, tree->plane, &st, &may_change));
	assert_int_equal(st.st_nlink, 1);
	assert_false(may_change);
	small_rwlock_rdlock(&inode->lock);
	assert_true(inode_try_stat(inode, tree->plane, &st, &may_change));
	small_rwlock_rdunlock(&inode->lock);
	tree_put(tree, inode);
}

static void T2_numbers_are_not_used_again(void **state)
{
	struct tree *tree = *state;
	uint64_t last = 0, number;

	for (int i = 0; i < 100; i++) {
		number = file_in(tree, ROOT, "a");
		assert_true(number > last);
		last = number;
		assert_int_equal(tree_unlink(tree, ROOT, "a"), 0);
	}
	assert_true(tree->generation != 0);
}

static void nothing_is_made_in_a_removed_directory(void **state)
{
	struct tree *tree = *state;
	uint64_t file = file_in(tree, ROOT, "file"), dir = dir_in(tree, ROOT, "dir");
	struct tree_list list;
	struct tree_item item;
	struct inode *made, *held;

	held = tree_get(tree, dir);
	assert_int_equal(tree_rmdir(tree, ROOT, "dir"), 0);
	assert_int_equal(links_of(tree, dir), 0);
	assert_int_equal(tree_mkdir(tree, dir, "x", 0, nobody, &made), -ENOENT);
	assert_int_equal(tree_mknod(tree, dir, "x", S_IFREG, 0, nobody, &made), -ENOENT);
	assert_int_equal(link_in(tree, file, dir, "x"), -ENOENT);
	assert_int_equal(tree_rename(tree, ROOT, "file", dir, "x", 0, nobody), -ENOENT);
	assert_int_equal(number_of(tree, dir, ".."), -ENOENT);
	assert_int_equal(tree_list_begin(tree, dir, 0, &list), 0);
	assert_true(tree_list_next(&list, &item));
	assert_true(tree_list_next(&list, &item));
	assert_false(tree_list_next(&list, &item));
	tree_list_end(&list);
	tree_put(tree, held);
	assert_false(is_alive(tree, dir));
}

static void file_without_a_name_can_be_given_one(void **state)
{
	struct tree *tree = *state;
	struct inode *made;
	uint64_t file;

	assert_int_equal(tree_tmpfile(tree, ROOT, 0600, nobody, &made), 0);
	file = made->number;
	assert_int_equal(links_of(tree, file), 0);
	assert_int_equal(count_in(tree, ROOT), 0);
	assert_int_equal(link_in(tree, file, ROOT, "a"), 0);
	assert_int_equal(links_of(tree, file), 1);
	/* But not to one that was removed. */
	assert_int_equal(tree_unlink(tree, ROOT, "a"), 0);
	assert_int_equal(link_in(tree, file, ROOT, "a"), -ENOENT);
	tree_put(tree, made);
	assert_false(is_alive(tree, file));
}

static void removing_gives_all_memory_back(void **state)
{
	struct tree *tree = *state;
	struct tree_limits limits, before, after;
	char name[16];
	struct inode *made;

	tree_usage(tree, &limits, &before);
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "%d", i);
		assert_int_equal(tree_symlink(tree, ROOT, name, "target", nobody, &made), 0);
		tree_put(tree, made);
	}
	tree_usage(tree, &limits, &after);
	assert_int_equal(after.inodes, before.inodes + 1000);
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "%d", i);
		assert_int_equal(tree_unlink(tree, ROOT, name), 0);
	}
	tree_usage(tree, &limits, &after);
	assert_int_equal(after.inodes, before.inodes);
	assert_in_range(after.size, 0, before.size + 2048); /* shards that were empty before */
}

/* ------------------------------------------------------------------------ */
/* Attributes                                                                */

static void changes_to_names_stamp_parents_and_files(void **state)
{
	struct tree *tree = *state;
	uint64_t a = dir_in(tree, ROOT, "a"), b = dir_in(tree, ROOT, "b"), file;

#define STAMPED(number) (is_new(stat_of(tree, number).st_mtim) && is_new(stat_of(tree, number).st_ctim))
	make_old(tree, a);
	file = file_in(tree, a, "f");
	assert_true(STAMPED(a));

	make_old(tree, a);
	make_old(tree, file);
	assert_int_equal(link_in(tree, file, a, "g"), 0);
	assert_true(STAMPED(a));
	assert_true(is_new(stat_of(tree, file).st_ctim));
	assert_false(is_new(stat_of(tree, file).st_mtim));

	make_old(tree, a);
	make_old(tree, b);
	make_old(tree, file);
	assert_int_equal(tree_rename(tree, a, "g", b, "g", 0, nobody), 0);
	assert_true(STAMPED(a));
	assert_true(STAMPED(b));
	assert_true(is_new(stat_of(tree, file).st_ctim));

	make_old(tree, b);
	make_old(tree, file);
	assert_int_equal(tree_unlink(tree, b, "g"), 0);
	assert_true(STAMPED(b));
	assert_true(is_new(stat_of(tree, file).st_ctim));
	assert_false(is_new(stat_of(tree, file).st_mtim));
}

static void reading_follows_relatime(void **state)
{
	struct tree *tree = *state;
	uint64_t file = file_in(tree, ROOT, "f");
	struct inode *inode = tree_get(tree, file);
	struct inode_change change = {.set = INODE_SET_ATIME | INODE_SET_MTIME | INODE_SET_CTIME};
	struct timespec now;
	struct stat st;
	char byte;

	inode_now(&now);
	change.atime = (struct timespec){.tv_sec = now.tv_sec - 100};
	change.mtime = change.ctime = (struct timespec){.tv_sec = now.tv_sec - 200};
	assert_int_equal(inode_change(inode, tree->plane, &change, &st), 0);
	assert_int_equal(file_read(inode, tree->plane, &byte, 1, 0), 0);
	assert_int_equal(stat_of(tree, file).st_atime, now.tv_sec - 100);
	/* Changed since it was read last. */
	change.mtime.tv_sec = now.tv_sec - 100;
	assert_int_equal(inode_change(inode, tree->plane, &change, &st), 0);
	assert_int_equal(file_read(inode, tree->plane, &byte, 1, 0), 0);
	assert_true(stat_of(tree, file).st_atime >= now.tv_sec);
	/* Read last more than a day ago. */
	change.atime.tv_sec = now.tv_sec - 86400;
	change.mtime.tv_sec = change.ctime.tv_sec = now.tv_sec - 90000;
	assert_int_equal(inode_change(inode, tree->plane, &change, &st), 0);
	assert_int_equal(file_read(inode, tree->plane, &byte, 1, 0), 0);
	assert_true(stat_of(tree, file).st_atime >= now.tv_sec);
	tree_put(tree, inode);
}

static void writing_stamps_unless_told_not_to(void **state)
{
	struct tree *tree = *state;
	uint64_t file = file_in(tree, ROOT, "f");
	struct inode *inode = tree_get(tree, file);

	make_old(tree, file);
	assert_int_equal(file_write(inode, tree->plane, "abc", 3, 0, FILE_KEEP_TIMES), 3);
	assert_false(is_new(stat_of(tree, file).st_mtim));
	assert_int_equal(file_write(inode, tree->plane, "abc", 3, 3, 0), 3);
	assert_true(STAMPED(file));
	assert_int_equal(stat_of(tree, file).st_size, 6);
	assert_int_equal(stat_of(tree, file).st_blocks, 1);
	tree_put(tree, inode);
}

static void change_of_size_stamps_mtime_only_if_it_differs(void **state)
{
	struct tree *tree = *state;
	uint64_t file = file_in(tree, ROOT, "f");
	struct inode *inode = tree_get(tree, file), *root = tree_get(tree, ROOT);
	struct inode_change change = {.set = INODE_SET_SIZE, .size = 0};
	struct stat st;

	make_old(tree, file);
	assert_int_equal(inode_change(inode, tree->plane, &change, &st), 0);
	assert_false(is_new(st.st_mtim));
	change.size = UINT64_C(999999999999999);
	assert_int_equal(inode_change(inode, tree->plane, &change, &st), 0);
	assert_true(is_new(st.st_mtim) && is_new(st.st_ctim));
	assert_int_equal(st.st_size, 999999999999999);
	assert_int_equal(st.st_blocks, 0);
	/* T5: what fails changes nothing, also of what else was asked for. */
	change.set |= INODE_SET_MODE;
	change.size = (uint64_t)INT64_MAX + 1;
	assert_int_equal(inode_change(inode, tree->plane, &change, &st), -EFBIG);
	assert_int_equal(stat_of(tree, file).st_mode, S_IFREG | 0644);
	assert_int_equal(inode_change(root, tree->plane, &change, &st), -EISDIR);
	tree_put(tree, inode);
	tree_put(tree, root);
}

static void setuid_and_setgid_are_dropped(void **state)
{
	struct tree *tree = *state;
	struct inode *inode = tree_get(tree, file_in(tree, ROOT, "f"));
	struct inode_change mode = {.set = INODE_SET_MODE}, owner = {.set = INODE_SET_UID, .uid = 7};
	struct stat st;

	mode.mode = 06755;
	assert_int_equal(inode_change(inode, tree->plane, &mode, &st), 0);
	assert_int_equal(st.st_mode & 07777, 06755);
	assert_int_equal(file_write(inode, tree->plane, "x", 1, 0, 0), 1);
	assert_int_equal(stat_of(tree, inode->number).st_mode & 07777, 06755);
	assert_int_equal(file_write(inode, tree->plane, "x", 1, 0, FILE_DROP_SETID), 1);
	assert_int_equal(stat_of(tree, inode->number).st_mode & 07777, 0755);
	/* Without group execution setgid is another thing, and stays. */
	mode.mode = 06745;
	assert_int_equal(inode_change(inode, tree->plane, &mode, &st), 0);
	assert_int_equal(inode_change(inode, tree->plane, &owner, &st), 0);
	assert_int_equal(st.st_mode & 07777, 02745);
	assert_int_equal(st.st_uid, 7);
	tree_put(tree, inode);
}

static void setgid_directory_hands_its_group_down(void **state)
{
	struct tree *tree = *state;
	uint64_t dir = dir_in(tree, ROOT, "dir"), sub;
	struct inode *inode = tree_get(tree, dir);
	const struct inode_change change = {.set = INODE_SET_MODE | INODE_SET_GID, .mode = 02775, .gid = 42};
	struct stat st;

	assert_int_equal(inode_change(inode, tree->plane, &change, &st), 0);
	assert_int_equal(st.st_mode & 07777, 02775);
	tree_put(tree, inode);
	sub = dir_in(tree, dir, "sub");
	assert_int_equal(stat_of(tree, sub).st_gid, 42);
	assert_int_equal(stat_of(tree, sub).st_mode & 07777, 02755);
	assert_int_equal(stat_of(tree, file_in(tree, sub, "f")).st_gid, 42);
	assert_int_equal(stat_of(tree, (uint64_t)number_of(tree, sub, "f")).st_mode & 07777, 0644);
}

static void fallocate_does_what_its_mode_says(void **state)
{
	struct tree *tree = *state;
	struct inode *inode = tree_get(tree, file_in(tree, ROOT, "f"));
	struct data_plane *plane = tree->plane;

	assert_int_equal(file_allocate(inode, plane, 0, 0, 10000, 0), 0);
	assert_int_equal(stat_of(tree, inode->number).st_size, 10000);
	assert_int_equal(file_allocate(inode, plane, FALLOC_FL_KEEP_SIZE, 0, 30000, 0), 0);
	assert_int_equal(stat_of(tree, inode->number).st_size, 10000);
	assert_int_equal(stat_of(tree, inode->number).st_blocks, 8 * 8);
	assert_int_equal(file_allocate(inode, plane, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 8192, 0), 0);
	assert_int_equal(file_seek(inode, plane, 0, SEEK_DATA), 8192);
	assert_int_equal(file_seek(inode, plane, 0, SEEK_HOLE), 0);
	assert_int_equal(file_write(inode, plane, "x", 1, 9000, 0), 1);
	assert_int_equal(file_allocate(inode, plane, FALLOC_FL_ZERO_RANGE, 8192, 40000, 0), 0);
	assert_int_equal(stat_of(tree, inode->number).st_size, 48192);
	assert_int_equal(file_allocate(inode, plane, FALLOC_FL_PUNCH_HOLE, 0, 1, 0), -EOPNOTSUPP);
	assert_int_equal(file_allocate(inode, plane, FALLOC_FL_COLLAPSE_RANGE, 0, 4096, 0), -EOPNOTSUPP);
	assert_int_equal(file_allocate(inode, plane, 0, 0, UINT64_C(1) << 50, 0), -ENOSPC);
	assert_int_equal(file_allocate(inode, plane, 0, INT64_MAX, 1, 0), -EFBIG);
	assert_int_equal(file_allocate(tree->root, plane, 0, 0, 1, 0), -EISDIR);
	tree_put(tree, inode);
}

static void copy_goes_from_file_to_file(void **state)
{
	struct tree *tree = *state;
	struct inode *a = tree_get(tree, file_in(tree, ROOT, "a")), *b = tree_get(tree, file_in(tree, ROOT, "b"));
	struct data_plane *plane = tree->plane;
	char buf[20];

	assert_int_equal(file_write(a, plane, "0123456789", 10, 0, 0), 10);
	make_old(tree, b->number);
	assert_int_equal(file_copy(a, 2, b, 5, 100, plane, 0), 8);
	assert_int_equal(file_read(b, plane, buf, sizeof(buf), 0), 13);
	assert_memory_equal(buf,
			    "\0\0\0\0\0"
			    "23456789",
			    13);
	assert_true(is_new(stat_of(tree, b->number).st_mtim));
	assert_int_equal(file_copy(a, 10, b, 0, 5, plane, 0), 0);
	assert_int_equal(file_copy(a, 0, a, 5, 5, plane, 0), 5);
	assert_int_equal(file_read(a, plane, buf, sizeof(buf), 0), 10);
	assert_memory_equal(buf, "0123401234", 10);
	assert_int_equal(file_copy(a, 0, a, 4, 5, plane, 0), -EINVAL);
	assert_int_equal(file_copy(a, 0, b, INT64_MAX, 1, plane, 0), -EFBIG);
	assert_int_equal(file_copy(a, 0, tree->root, 0, 1, plane, 0), -EISDIR);
	tree_put(tree, a);
	tree_put(tree, b);
}

/* ------------------------------------------------------------------------ */
/* Limits                                                                    */

static struct tree *tree_within(uint64_t size, uint64_t inodes)
{
	struct tree *tree;

	assert_int_equal(tree_new(0755, nobody, &(struct tree_limits){.size = size, .inodes = inodes}, &tree), 0);
	return tree;
}

/* Returns how many files could be made, and why no more. */
static int fill_with_files(struct tree *tree, int *err)
{
	struct inode *made;
	char name[32];
	int n;

	for (n = 0;; n++) {
		snprintf(name, sizeof(name), "file-%d", n);
		*err = tree_mknod(tree, ROOT, name, S_IFREG | 0644, 0, nobody, &made);
		if (*err)
			return n;
		tree_put(tree, made);
	}
}

static void T7_inodes_are_as_many_as_allowed(void **state)
{
	struct tree *tree = tree_within(1u << 30, 10);
	struct tree_limits limits, used;
	struct inode *made;
	int err;

	(void)state;
	assert_int_equal(fill_with_files(tree, &err), 9); /* and the root */
	assert_int_equal(err, -ENOSPC);
	assert_int_equal(tree_mkdir(tree, ROOT, "d", 0755, nobody, &made), -ENOSPC);
	assert_int_equal(tree_tmpfile(tree, ROOT, 0600, nobody, &made), -ENOSPC);
	tree_usage(tree, &limits, &used);
	assert_int_equal(limits.inodes, 10);
	assert_int_equal(used.inodes, 10);
	assert_int_equal(tree_unlink(tree, ROOT, "file-3"), 0);
	assert_int_equal(tree_mkdir(tree, ROOT, "d", 0755, nobody, &made), 0);
	tree_put(tree, made);
	tree_free(tree);
}

static void T7_names_count_like_bytes(void **state)
{
	struct tree *tree = tree_within(1u << 20, UINT64_MAX);
	struct tree_limits limits, used;
	struct inode *made;
	int err, n, again;

	(void)state;
	n = fill_with_files(tree, &err);
	assert_int_equal(err, -ENOSPC);
	assert_in_range(n, (1 << 20) / 250, (1 << 20) / 150);
	tree_usage(tree, &limits, &used);
	assert_in_range(used.size, (1 << 20) - 20000, 1 << 20);
	assert_int_equal(tree_symlink(tree, ROOT, "l", "target", nobody, &made), -ENOSPC);
	/* What is removed makes room at once, for as many again. */
	for (int i = 0; i < n; i++) {
		char name[32];

		snprintf(name, sizeof(name), "file-%d", i);
		assert_int_equal(tree_unlink(tree, ROOT, name), 0);
	}
	again = fill_with_files(tree, &err);
	assert_in_range(again, n - 20, n + 20);
	tree_free(tree);
}

static void limits_change_but_not_below_what_is_used(void **state)
{
	struct tree *tree = tree_within(1u << 20, 1000);
	struct tree_limits limits, used, tight;
	int err;

	(void)state;
	assert_int_equal(fill_with_files(tree, &err), 999);
	tree_usage(tree, &limits, &used);
	tight = (struct tree_limits){.size = used.size, .inodes = 1000};
	assert_int_equal(tree_set_limits(tree, &tight), 0);
	tight.size--;
	assert_int_equal(tree_set_limits(tree, &tight), -EBUSY);
	tight = (struct tree_limits){.size = 1u << 21, .inodes = 999};
	assert_int_equal(tree_set_limits(tree, &tight), -EBUSY);
	tree_usage(tree, &limits, &used);
	assert_int_equal(limits.size, used.size);
	assert_int_equal(limits.inodes, 1000);
	tight.inodes = 1001;
	assert_int_equal(tree_set_limits(tree, &tight), 0);
	assert_int_equal(tree_unlink(tree, ROOT, "file-0"), 0);
	assert_int_equal(fill_with_files(tree, &err), 1);
	tree_free(tree);
}

/* ------------------------------------------------------------------------ */
/* Failures and storms                                                       */

typedef int operation(struct tree *tree, uint64_t dir, uint64_t file);

static int do_mkdir(struct tree *tree, uint64_t dir, uint64_t file)
{
	struct inode *made;
	int err = tree_mkdir(tree, dir, "new", 0755, nobody, &made);

	(void)file;
	if (!err)
		tree_put(tree, made);
	return err;
}

static int do_symlink(struct tree *tree, uint64_t dir, uint64_t file)
{
	struct inode *made;
	int err = tree_symlink(tree, dir, "new", "target", nobody, &made);

	(void)file;
	if (!err)
		tree_put(tree, made);
	return err;
}

static int do_tmpfile(struct tree *tree, uint64_t dir, uint64_t file)
{
	struct inode *made;
	int err = tree_tmpfile(tree, dir, 0600, nobody, &made);

	(void)file;
	if (!err)
		tree_put(tree, made);
	return err;
}

static int do_link(struct tree *tree, uint64_t dir, uint64_t file)
{
	return link_in(tree, file, dir, "new");
}

static int do_whiteout(struct tree *tree, uint64_t dir, uint64_t file)
{
	(void)file;
	return tree_rename(tree, ROOT, "file", dir, "new", RENAME_WHITEOUT, nobody);
}

static int do_rename(struct tree *tree, uint64_t dir, uint64_t file)
{
	(void)file;
	return tree_rename(tree, ROOT, "file", dir, "new", 0, nobody);
}

static void T5_failed_allocation_leaves_the_tree_as_it_was(void **state)
{
	static operation *const operations[] = {do_mkdir, do_symlink, do_tmpfile, do_link, do_rename, do_whiteout};

	(void)state;
	for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++) {
		bool fired = true;

		for (long nth = 1; fired; nth++) {
			struct tree *tree;
			struct tree_limits limits, before, after;
			uint64_t dir, file;
			int err;

			assert_int_equal(tree_new(0755, nobody, &ample, &tree), 0);
			dir = dir_in(tree, ROOT, "dir");
			file = file_in(tree, ROOT, "file");
			make_old(tree, dir);
			make_old(tree, file);
			tree_usage(tree, &limits, &before);
			mem_fail_nth(&tree->mem, nth);
			err = operations[i](tree, dir, file);
			fired = !mem_fail_pending(&tree->mem);
			mem_fail_nth(&tree->mem, 0);
			tree_usage(tree, &limits, &after);
			assert_int_equal(err, fired ? -ENOMEM : 0);
			if (err) {
				assert_int_equal(before.size, after.size);
				assert_int_equal(before.inodes, after.inodes);
				assert_int_equal(number_of(tree, ROOT, "file"), file);
				assert_int_equal(number_of(tree, dir, "new"), -ENOENT);
				assert_false(is_new(stat_of(tree, dir).st_mtim));
				assert_false(is_new(stat_of(tree, file).st_ctim));
				assert_int_equal(links_of(tree, file), 1);
				assert_int_equal(links_of(tree, dir), 2);
			}
			tree_free(tree);
		}
	}
}

enum { THREADS = 4, STEPS = 20000, NAMES = 12 };

struct storm {
	struct tree *tree;
	uint64_t dirs[3];
	unsigned seed;
};

static void use(struct tree *tree, uint64_t parent, const char *name, unsigned random) NO_THREAD_SAFETY_ANALYSIS
{
	struct inode *inode;
	char buf[100];
	struct stat st;

	if (tree_lookup(tree, parent, name, &inode))
		return;
	if (random % 3 == 0) {
		(void)file_write(inode, tree->plane, "storm", 5, random % 9000, 0);
	} else if (random % 3 == 1) {
		(void)file_read(inode, tree->plane, buf, sizeof(buf), 0);
	}
	inode_stat(inode, tree->plane, &st, NULL);
	tree_put(tree, inode);
}

static void list_all(struct tree *tree, uint64_t dir)
{
	struct tree_list list;
	struct tree_item item;
	struct stat st;

	if (tree_list_begin(tree, dir, 0, &list))
		return;
	while (tree_list_next(&list, &item))
		inode_stat(item.inode, tree->plane, &st, NULL);
	tree_list_end(&list);
}

static void *run_storm(void *arg)
{
	struct storm *storm = arg;
	struct tree *tree = storm->tree;
	struct inode *inode;
	char a[4], b[4];

	for (int step = 0; step < STEPS; step++) {
		unsigned random = (unsigned)rand_r(&storm->seed);
		uint64_t from = storm->dirs[random % 3], to = storm->dirs[random / 3 % 3];

		snprintf(a, sizeof(a), "%u", random / 9 % NAMES);
		snprintf(b, sizeof(b), "%u", random / 200 % NAMES);
		switch (random / 5000 % 10) {
		case 0:
		case 1:
			if (tree_mknod(tree, from, a, S_IFREG | 0644, 0, nobody, &inode) == 0)
				tree_put(tree, inode);
			break;
		case 2:
			if (tree_mkdir(tree, from, a, 0755, nobody, &inode) == 0)
				tree_put(tree, inode);
			break;
		case 3:
			(void)tree_unlink(tree, from, a);
			break;
		case 4:
			(void)tree_rmdir(tree, from, a);
			break;
		case 5:
			(void)tree_rename(tree, from, a, to, b, 0, nobody);
			break;
		case 6:
			(void)tree_rename(tree, from, a, to, b, RENAME_EXCHANGE, nobody);
			break;
		case 7:
			if (tree_lookup(tree, from, a, &inode) == 0) {
				(void)link_in(tree, inode->number, to, b);
				tree_put(tree, inode);
			}
			break;
		case 8:
			use(tree, from, a, random / 50000);
			break;
		default:
			list_all(tree, from);
			break;
		}
	}
	return NULL;
}

/* Removes all below @dir, and returns how many names there were. */
static size_t remove_all(struct tree *tree, uint64_t dir)
{
	char name[DIR_NAME_MAX + 1];
	struct tree_list list;
	struct tree_item item;
	size_t n = 0;
	bool is_dir, found;
	uint64_t number;

	for (;;) {
		assert_int_equal(tree_list_begin(tree, dir, 2, &list), 0);
		found = tree_list_next(&list, &item);
		if (found) {
			snprintf(name, sizeof(name), "%s", item.name);
			is_dir = inode_is_dir(item.inode);
			number = item.inode->number;
		}
		tree_list_end(&list);
		if (!found)
			return n;
		n++;
		if (is_dir)
			n += remove_all(tree, number);
		assert_int_equal(is_dir ? tree_rmdir(tree, dir, name) : tree_unlink(tree, dir, name), 0);
	}
}

static void storm_leaves_a_tree_that_can_be_removed(void **state)
{
	struct tree *tree = *state;
	struct storm storms[THREADS];
	pthread_t threads[THREADS];
	struct tree_limits limits, used;
	struct inode *held[3];
	uint64_t dirs[3] = {ROOT, dir_in(tree, ROOT, "d1"), dir_in(tree, ROOT, "d2")};

	for (int i = 1; i < 3; i++)
		held[i] = tree_get(tree, dirs[i]);
	for (unsigned i = 0; i < THREADS; i++) {
		storms[i] = (struct storm){.tree = tree, .dirs = {dirs[0], dirs[1], dirs[2]}, .seed = i + 1};
		assert_int_equal(pthread_create(&threads[i], NULL, run_storm, &storms[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	remove_all(tree, ROOT);
	assert_int_equal(links_of(tree, ROOT), 2);
	assert_int_equal(stat_of(tree, ROOT).st_size, 2 * 20);
	for (int i = 1; i < 3; i++)
		tree_put(tree, held[i]);
	tree_usage(tree, &limits, &used);
	assert_int_equal(used.inodes, 1);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, make, unmake)
	const struct CMUnitTest tests[] = {
		TEST(made_names_are_found_and_listed),
		TEST(name_that_is_there_is_not_made_again),
		TEST(names_have_255_bytes_and_no_more),
		TEST(all_types_can_be_made),
		TEST(hard_links_are_counted),
		TEST(T4_directory_links_are_two_and_one_for_each_in_it),
		TEST(only_what_fits_is_removed),
		TEST(rename_moves_and_replaces),
		TEST(rename_can_leave_a_whiteout),
		TEST(rename_checks_types),
		TEST(directory_is_not_moved_into_itself),
		TEST(rename_to_the_same_file_does_nothing),
		TEST(exchange_swaps_a_file_and_a_directory),
		TEST(T1_unlinked_file_lives_until_the_last_reference),
		TEST(what_lost_its_name_is_not_found_by_its_number),
		TEST(lost_name_of_several_is_to_be_asked_for),
		TEST(busy_inode_is_not_waited_for),
		TEST(T2_numbers_are_not_used_again),
		TEST(nothing_is_made_in_a_removed_directory),
		TEST(file_without_a_name_can_be_given_one),
		TEST(removing_gives_all_memory_back),
		TEST(changes_to_names_stamp_parents_and_files),
		TEST(reading_follows_relatime),
		TEST(writing_stamps_unless_told_not_to),
		TEST(change_of_size_stamps_mtime_only_if_it_differs),
		TEST(setuid_and_setgid_are_dropped),
		TEST(setgid_directory_hands_its_group_down),
		TEST(fallocate_does_what_its_mode_says),
		TEST(copy_goes_from_file_to_file),
		cmocka_unit_test(T7_inodes_are_as_many_as_allowed),
		cmocka_unit_test(T7_names_count_like_bytes),
		cmocka_unit_test(limits_change_but_not_below_what_is_used),
		cmocka_unit_test(T5_failed_allocation_leaves_the_tree_as_it_was),
		TEST(storm_leaves_a_tree_that_can_be_removed),
	};

	return cmocka_run_group_tests_name("tmpfs_tree", tests, NULL, NULL);
}
