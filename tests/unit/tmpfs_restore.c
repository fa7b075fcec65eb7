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
	tree_free(tree);
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
	tree_free(tree);
}

/* ------------------------------------------------------------------------ */
/* Databases that cannot be, and some that can                               */

/* /dir, /dir/file, /link. */
static void make_small_tree(const char *path)
{
	static const struct node nodes[] = {
		{.number = 1, .mode = S_IFDIR | 0755},
		{.number = 2, .mode = S_IFDIR | 0755},
		{.number = 3, .mode = S_IFREG | 0644, .size = 5, .allocated = 5},
		{.number = 4, .mode = S_IFLNK | 0777, .target = "dir", .target_len = 3},
	};
	struct store *store = opened(path, STORE_KEEP);
	size_t i;
	int err;

	err = store_begin(store);
	for (i = 0; !err && i < sizeof(nodes) / sizeof(nodes[0]); i++)
		err = store_put_node(store, &nodes[i]);
	assert_int_equal(err, 0);
	assert_int_equal(store_put_name(store, 1, "dir", 3, 2), 0);
	assert_int_equal(store_put_name(store, 2, "file", 4, 3), 0);
	assert_int_equal(store_put_name(store, 1, "link", 4, 4), 0);
	assert_int_equal(store_put_chunk(store, 3, 0, "hello", 5), 0);
	assert_int_equal(store_commit(store, &(struct store_counters){.next_number = 5, .generation = 9}), 0);
	assert_int_equal(store_close(store), 0);
}

/* What such a file makes of that; its first line, without the "-- ", says what is expected. */
struct hostile {
	char expected[256];
	char sql[8192];
};

static void read_hostile(const char *folder, const char *name, struct hostile *hostile)
{
	char path[PATH_MAX];
	FILE *file;
	size_t n;

	(void)snprintf(path, sizeof(path), "%s/%s/%s", TEST_DATA, folder, name);
	file = fopen(path, "r");
	assert_non_null(file);
	assert_non_null(fgets(hostile->expected, sizeof(hostile->expected), file));
	n = fread(hostile->sql, 1, sizeof(hostile->sql) - 1, file);
	hostile->sql[n] = '\0';
	fclose(file);
	hostile->expected[strcspn(hostile->expected, "\n")] = '\0';
	memmove(hostile->expected, hostile->expected + 3, strlen(hostile->expected) - 2);
}

static void make_hostile(const char *path, const char *sql)
{
	char *text;

	make_small_tree(path);
	assert_true(asprintf(&text, "PRAGMA ignore_check_constraints = ON; BEGIN; %s; COMMIT", sql) > 0);
	run(path, text);
	free(text);
}

/* Calls @check for each file of the folder, with the database that it makes. */
static void for_each_hostile(const char *folder, void (*check)(const char *name, const struct hostile *hostile))
{
	char path[PATH_MAX];
	struct hostile hostile;
	struct dirent *entry;
	unsigned n = 0;
	DIR *dir;

	(void)snprintf(path, sizeof(path), "%s/%s", TEST_DATA, folder);
	dir = opendir(path);
	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		if (!strstr(entry->d_name, ".sql"))
			continue;
		read_hostile(folder, entry->d_name, &hostile);
		make_hostile(at("hostile.db"), hostile.sql);
		check(entry->d_name, &hostile);
		empty_place();
		n++;
	}
	closedir(dir);
	assert_true(n > 0);
}

static void check_refused(const char *name, const struct hostile *hostile)
{
	struct tree *tree = new_tree(&ample);
	struct tree_restored restored;
	struct store_error error;
	int err = restore(tree, at("hostile.db"), &restored, &error);

	if (err >= 0 || !strstr(error.text, hostile->expected) || strchr(error.text, '\n'))
		fail_msg("%s: %d \"%s\", not \"%s\"", name, err, error.text, hostile->expected);
	tree_free(tree);
}

static void what_cannot_be_is_refused_with_one_line(void **state)
{
	(void)state;
	for_each_hostile("refused", check_refused);
}

static char *query(const char *path, const char *sql)
{
	sqlite3_stmt *statement;
	sqlite3 *db;
	char *text = NULL;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
	if (sqlite3_step(statement) == SQLITE_ROW)
		text = strdup((const char *)sqlite3_column_text(statement, 0));
	sqlite3_finalize(statement);
	sqlite3_close(db);
	return text ? text : strdup("");
}

static void assert_query(const char *name, const char *sql, const char *expected)
{
	char *text = query(at("hostile.db"), sql);

	if (strcmp(text, expected) != 0)
		fail_msg("%s: %s: \"%s\", not \"%s\"", name, sql, text, expected);
	free(text);
}

static void check_repaired(const char *name, const struct hostile *hostile)
{
	struct store *store = opened(at("hostile.db"), STORE_KEEP);
	struct tree *tree = new_tree(&ample);
	struct tree_restored restored;
	struct store_error error = {""};

	if (tree_restore(tree, store, &restored, &error))
		fail_msg("%s: %s", name, error.text);
	if (restored.orphans != strtoull(hostile->expected, NULL, 10))
		fail_msg("%s: %llu without a name, not %s", name, (unsigned long long)restored.orphans,
			 hostile->expected);
	assert_int_equal(inode_at(tree, 2, "file")->number, 3);
	assert_int_equal(inode_at(tree, ROOT, "link")->number, 4);
	assert_int_equal(tree->mem.inodes, 4);
	assert_true(tree->next_number >= 5);
	assert_int_equal(store_begin(store), 0);
	assert_int_equal(store_commit(store, &(struct store_counters){.next_number = tree->next_number}), 0);
	tree_free(tree);
	assert_int_equal(store_close(store), 0);
	assert_query(name, "PRAGMA integrity_check", "ok");
	assert_query(name, "SELECT count(*) FROM pragma_foreign_key_check", "0");
	assert_query(name, "SELECT count(*) FROM inodes", "4");
	assert_query(name, "SELECT group_concat(path) FROM (SELECT path FROM files ORDER BY path)",
		     "/,/dir,/dir/file,/link");
}

static void what_can_be_repaired_is(void **state)
{
	(void)state;
	for_each_hostile("repaired", check_repaired);
}

static void limits_that_are_too_small_are_named(void **state)
{
	struct tree_restored restored;
	struct store_error error;
	struct tree *tree;

	(void)state;
	make_small_tree(at("a.db"));
	tree = new_tree(&(struct tree_limits){.size = 1u << 20, .inodes = 3});
	assert_int_equal(restore(tree, at("a.db"), &restored, &error), -ENOSPC);
	assert_string_equal(error.text, "it has more than the 3 inodes that are allowed");
	tree_free(tree);
	run(at("a.db"), "UPDATE inodes SET allocated = 2000000 WHERE id = 3");
	tree = new_tree(&(struct tree_limits){.size = 1u << 20, .inodes = 10});
	assert_int_equal(restore(tree, at("a.db"), &restored, &error), -ENOSPC);
	assert_string_equal(error.text, "it takes more than the 1048576 bytes that are allowed");
	tree_free(tree);
}

static void allocations_that_fail_are_an_error_and_leave_no_trace(void **state)
{
	struct tree_restored restored;
	struct store_error error;
	struct tree *tree;
	int err, pending;
	long nth;

	(void)state;
	make_small_tree(at("a.db"));
	run(at("a.db"), "INSERT INTO xattrs VALUES (3, CAST('user.a' AS BLOB), x'61')");
	for (nth = 1, pending = 0; !pending; nth++) {
		tree = new_tree(&ample);
		mem_fail_nth(&tree->mem, nth);
		err = restore(tree, at("a.db"), &restored, &error);
		pending = mem_fail_pending(&tree->mem);
		assert_true(err == -ENOMEM || err == 0); /* a table may do without */
		assert_true(err == 0 || error.text[0] != '\0');
		tree_free(tree);
	}
	assert_int_equal(err, 0);
	assert_true(nth > 10);
}

static void capabilities_and_acls_are_what_they_were(void **state)
{
	struct tree_restored restored;
	struct store_error error;
	struct inode *inode;
	struct tree *tree;
	char value[64];

	(void)state;
	make_small_tree(at("a.db"));
	run(at("a.db"),
	    "INSERT INTO xattrs VALUES (3, CAST('security.capability' AS BLOB), x'6162'),"
	    " (2, CAST('system.posix_acl_default' AS BLOB),"
	    " x'0200000001000700ffffffff04000500ffffffff20000500ffffffff'),"
	    " (2, CAST('system.posix_acl_access' AS BLOB),"
	    " x'0200000001000600ffffffff020007000100000004000500ffffffff10000700ffffffff20000000ffffffff')");
	tree = new_tree(&ample);
	assert_int_equal(restore(tree, at("a.db"), &restored, &error), 0);
	inode = tree_get(tree, 3);
	assert_true(inode->has_capability);
	tree_put(tree, inode);
	inode = tree_get(tree, 2);
	assert_int_equal(stat_of(tree, inode, NULL).st_mode, S_IFDIR | 0670); /* T8 */
	assert_int_equal(inode_get_xattr(inode, "system.posix_acl_access", value, sizeof(value)), 44);
	assert_int_equal(inode_get_xattr(inode, "system.posix_acl_default", value, sizeof(value)), 28);
	tree_put(tree, inode);
	tree_free(tree);
}

static struct tree *restored_from(struct store *store)
{
	struct tree *tree = new_tree(&ample);
	struct tree_restored restored;
	struct store_error error = {""};

	if (tree_restore(tree, store, &restored, &error))
		fail_msg("%s", error.text);
	return tree;
}

static void S4_after_the_last_number_there_is_no_more_room(void **state)
{
	struct store_counters counters = {.generation = 9};
	struct inode *inode;
	struct store *store;
	struct tree *tree;
	unsigned i;

	(void)state;
	make_small_tree(at("a.db"));
	run(at("a.db"), "UPDATE inodes SET id = 9223370937343148031 WHERE id = 4;"
			"UPDATE contents SET inode = 9223370937343148031 WHERE inode = 4;");
	for (i = 0; i < 2; i++) {
		store = opened(at("a.db"), STORE_KEEP);
		tree = restored_from(store);
		assert_int_equal(inode_at(tree, ROOT, "link")->number, NODE_NUMBER_MAX);
		assert_int_equal(tree_create(tree, ROOT, "one more", 0644, (struct owner){0}, NULL, &inode), -ENOSPC);
		counters.next_number = tree->next_number;
		assert_int_equal(store_begin(store), 0);
		assert_int_equal(store_commit(store, &counters), 0);
		tree_free(tree);
		assert_int_equal(store_close(store), 0);
		run(at("a.db"), "UPDATE state SET is_clean = 0"); /* which skips some */
	}
}

static void counters_go_on(void **state)
{
	struct tree_restored restored;
	struct store_error error = {""};
	struct store *store;
	struct tree *tree;
	uint32_t generation;

	(void)state;
	make_small_tree(at("a.db"));
	store = opened(at("a.db"), STORE_KEEP);
	tree = new_tree(&ample);
	assert_int_equal(tree_restore(tree, store, &restored, &error), 0);
	assert_int_equal(tree->next_number, 5);
	assert_int_equal(tree->generation, 9);
	tree_free(tree);
	assert_int_equal(store_close(store), 0);
	/* What is loaded gives out the same numbers each time, to other inodes. */
	tree = new_tree(&ample);
	generation = tree->generation;
	assert_int_equal(restore(tree, at("a.db"), &restored, &error), 0);
	assert_int_equal(tree->generation, generation);
	tree_free(tree);
}

#define WITH_PLACE(test) cmocka_unit_test_setup_teardown(test, make_place, remove_place)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_PLACE(a_tree_is_restored_with_all_it_has),
		WITH_PLACE(every_inode_has_the_references_of_its_names),
		WITH_PLACE(what_cannot_be_is_refused_with_one_line),
		WITH_PLACE(what_can_be_repaired_is),
		WITH_PLACE(limits_that_are_too_small_are_named),
		WITH_PLACE(allocations_that_fail_are_an_error_and_leave_no_trace),
		WITH_PLACE(capabilities_and_acls_are_what_they_were),
		WITH_PLACE(S4_after_the_last_number_there_is_no_more_room),
		WITH_PLACE(counters_go_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
