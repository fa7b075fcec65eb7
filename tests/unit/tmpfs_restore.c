/* SPDX-License-Identifier: MIT */
/* A tree from a store: all that was kept is there again, and what cannot be is refused. */
#include "inode_xattr.h"
#include "store_dump.h"
#include "tree_restore.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>

#define ROOT TREE_ROOT_NUMBER

static const struct tree_limits ample = {.size = 1u << 30, .inodes = 1u << 20};

static const char tables[] =
	"CREATE TABLE inodes (id INTEGER PRIMARY KEY, uid INT NOT NULL, gid INT NOT NULL, mode INT NOT NULL,"
	" mtime_ns INT NOT NULL, atime_ns INT NOT NULL, ctime_ns INT NOT NULL, target BLOB(256),"
	" size INT NOT NULL DEFAULT 0, rdev INT NOT NULL DEFAULT 0, data BLOB);"
	"CREATE TABLE contents (rowid INTEGER PRIMARY KEY AUTOINCREMENT, name BLOB(256) NOT NULL,"
	" inode INT NOT NULL REFERENCES inodes(id), parent_inode INT NOT NULL REFERENCES inodes(id),"
	" UNIQUE (name, parent_inode));";

/* ------------------------------------------------------------------------ */
/* Shorthands                                                                */

static struct tree *new_tree(const struct tree_limits *limits)
{
	struct tree *tree;

	assert_int_equal(tree_new(0755, (struct owner){0}, limits, &tree), 0);
	return tree;
}

/* What lies in the store is nobody's to free: see inode_load(). */
static void free_tree(struct tree *tree)
{
	tree_free(tree);
}

static void run(const char *path, const char *sql)
{
	char *why = NULL;
	sqlite3 *db;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	if (sqlite3_exec(db, sql, NULL, NULL, &why) != SQLITE_OK)
		fail_msg("%s: %s", sql, why);
	sqlite3_close(db);
}

static struct store *opened(const char *path, enum store_mode mode)
{
	struct store_error error = {""};
	struct store *store = NULL;

	if (store_open(path, mode, &store, &error))
		fail_msg("%s: %s", path, error.text);
	return store;
}

/* Restores what is at @path. */
static int restore(struct tree *tree, const char *path, struct tree_restored *restored, struct store_error *error)
{
	struct store *store = NULL;
	int err;

	error->text[0] = '\0';
	err = store_open(path, STORE_LOAD, &store, error);
	if (!err)
		err = tree_restore(tree, store, restored, error);
	(void)store_close(store);
	return err;
}

static struct inode *inode_at(struct tree *tree, uint64_t parent, const char *name)
{
	struct inode *inode = NULL;

	if (tree_lookup(tree, parent, name, &inode))
		fail_msg("%s is not there", name);
	tree_put(tree, inode); /* its name holds it */
	return inode;
}

static struct stat stat_of(struct tree *tree, struct inode *inode, struct timespec *btime)
{
	struct stat st;

	inode_stat(inode, tree->plane, &st, btime);
	return st;
}

/* ------------------------------------------------------------------------ */
/* All is there again                                                        */

static const char some_of_all[] =
	"INSERT INTO inodes (id, mode, uid, gid, mtime_ns, atime_ns, ctime_ns) VALUES"
	" (1, 17407, 7, 8, 3000000003, 2000000002, 4000000004), (2, 16832, 0, 0, 0, 0, 0), (3, 16832, 0, 0, 0, 0, 0),"
	" (8, 4480, 0, 0, 0, 0, 0), (9, 49645, 0, 0, 0, 0, 0);"
	"INSERT INTO inodes (id, mode, uid, gid, mtime_ns, atime_ns, ctime_ns, size, data) VALUES"
	" (4, 35309, 5, 6, -1, -1000000000, 1, 100, zeroblob(100)), (5, 33188, 5, 6, 1, 1, 1, 0, NULL);"
	"INSERT INTO inodes (id, mode, uid, gid, mtime_ns, atime_ns, ctime_ns, target) VALUES"
	" (6, 41471, 5, 6, 1, 1, 1, CAST('elsewhere' AS BLOB));"
	"INSERT INTO inodes (id, mode, uid, gid, mtime_ns, atime_ns, ctime_ns, rdev) VALUES (7, 8630, 5, 6, 1, 1, 1, "
	"259);"
	"INSERT INTO contents (name, parent_inode, inode) VALUES (x'2e2e', 1, 1), ('dir', 1, 2), ('inner', 2, 3),"
	" ('file', 1, 4), ('again', 3, 4), (x'80ff0a', 1, 5), ('link', 1, 6), ('null', 2, 7), ('fifo', 2, 8), ('sock', "
	"2, 9);";

static void a_tree_is_restored_with_all_it_has(void **state)
{
	struct tree_restored restored;
	struct store_error error;
	struct timespec btime;
	struct inode *inode;
	struct tree *tree;
	struct stat st;
	uint64_t dir;

	(void)state;
	run(at("a.db"), tables);
	run(at("a.db"), some_of_all);
	tree = new_tree(&ample);
	assert_int_equal(restore(tree, at("a.db"), &restored, &error), 0);
	assert_int_equal(restored.orphans, 0);
	st = stat_of(tree, tree->root, &btime);
	assert_int_equal(st.st_mode, S_IFDIR | 01777);
	assert_int_equal(st.st_uid, 7);
	assert_int_equal(st.st_nlink, 3);
	assert_int_equal(st.st_mtim.tv_sec, 3);
	assert_int_equal(st.st_mtim.tv_nsec, 3);
	assert_int_equal(btime.tv_sec, 2);
	assert_int_equal(tree->root->entries, 4);
	dir = inode_at(tree, ROOT, "dir")->number;
	assert_int_equal(stat_of(tree, inode_at(tree, ROOT, "dir"), NULL).st_nlink, 3);
	inode = inode_at(tree, ROOT, "file");
	assert_ptr_equal(inode_at(tree, inode_at(tree, dir, "inner")->number, "again"), inode);
	st = stat_of(tree, inode, NULL);
	assert_int_equal(st.st_mode, S_IFREG | 04755);
	assert_int_equal(st.st_nlink, 2);
	assert_int_equal(st.st_size, 100);
	assert_int_equal(st.st_mtim.tv_sec, -1);
	assert_int_equal(st.st_mtim.tv_nsec, 999999999);
	assert_int_equal(st.st_atim.tv_sec, -1);
	assert_true(inode->is_stored);
	assert_int_equal(inode->data.stored.size, 100);
	assert_int_equal(inode->data.stored.allocated, 100);
	assert_false(inode_at(tree, ROOT, "\x80\xff\n")->is_stored);
	assert_string_equal(inode_at(tree, ROOT, "link")->symlink.target, "elsewhere");
	assert_int_equal(stat_of(tree, inode_at(tree, dir, "null"), NULL).st_rdev, 259);
	assert_int_equal(inode_at(tree, dir, "fifo")->type, DT_FIFO);
	assert_int_equal(inode_at(tree, dir, "sock")->type, DT_SOCK);
	assert_int_equal(tree->next_number, 10);
	free_tree(tree);
}

static void every_inode_has_the_references_of_its_names(void **state)
{
	struct tree_restored restored;
	struct store_error error;
	struct inode *inode;
	struct tree *tree;

	(void)state;
	run(at("a.db"), tables);
	run(at("a.db"), some_of_all);
	tree = new_tree(&ample);
	assert_int_equal(restore(tree, at("a.db"), &restored, &error), 0);
	inode = tree_get(tree, 4);
	assert_int_equal(inode->refs, 3);
	tree_put(tree, inode);
	assert_int_equal(tree->root->refs, 1);
	assert_int_equal(tree_rmdir(tree, ROOT, "dir"), -ENOTEMPTY);
	assert_int_equal(tree_unlink(tree, ROOT, "link"), 0);
	assert_null(tree_get(tree, 6)); /* T1: nothing else held it */
	assert_int_equal(tree_unlink(tree, 2, "null"), 0);
	assert_int_equal(tree_unlink(tree, 2, "fifo"), 0);
	assert_int_equal(tree_unlink(tree, 2, "sock"), 0);
	free_tree(tree);
}

/* ------------------------------------------------------------------------ */

#define WITH_PLACE(test) cmocka_unit_test_setup_teardown(test, make_place, remove_place)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_PLACE(a_tree_is_restored_with_all_it_has),
		WITH_PLACE(every_inode_has_the_references_of_its_names),
	};

	(void)opened;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
