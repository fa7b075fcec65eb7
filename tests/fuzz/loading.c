/* SPDX-License-Identifier: MIT */
/* Loading a database, and looking at the tree.  See loading.h. */
#include "loading.h"

#include "capture.h"
#include "inode_store.h"
#include "store.h"
#include "tree_restore.h"

#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What cannot be loaded within these is refused, and takes no time. */
static const struct tree_limits limits = {.size = 16 << 20, .inodes = 1000};

_Noreturn void fuzz_fail(const char *what, const char *file, int line)
{
	fprintf(stderr, "%s:%d: it must be that %s\n", file, line, what);
	abort();
}

/* ------------------------------------------------------------------------ */
/* Files                                                                     */

static char place[64];

static void remove_place(void)
{
	static const char *const names[] = {"a.db", "a.db-journal", "a.db-wal", "a.db-shm", "copy.db"};
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		(void)unlink(fuzz_path(names[i])); /* those that are there */
	(void)rmdir(place);
}

static void make_place(void)
{
	(void)snprintf(place, sizeof(place), "%s/llfuse-fuzz-XXXXXX",
		       access("/dev/shm", W_OK | X_OK) == 0 ? "/dev/shm" : "/tmp");
	MUST(mkdtemp(place));
	MUST(atexit(remove_place) == 0);
}

const char *fuzz_path(const char *name)
{
	static char paths[8][sizeof(place) + 32];
	size_t i;

	if (!place[0])
		make_place();
	for (i = 0; i < 8; i++) {
		if (!paths[i][0])
			(void)snprintf(paths[i], sizeof(paths[i]), "%s/%s", place, name);
		if (strcmp(paths[i] + strlen(place) + 1, name) == 0)
			return paths[i];
	}
	abort();
}

void fuzz_make_small_tree(const char *path)
{
	static const struct node nodes[] = {
		{.number = 1, .mode = S_IFDIR | 0755},
		{.number = 2, .mode = S_IFDIR | 0755},
		{.number = 3, .mode = S_IFREG | 0644, .size = 5, .allocated = 5},
		{.number = 4, .mode = S_IFLNK | 0777, .target = "dir", .target_len = 3},
	};
	struct store_error error;
	struct store *store;
	size_t i;

	(void)unlink(path);
	MUST(store_open(path, STORE_SAVE, &store, &error) == 0);
	MUST(store_begin(store) == 0);
	for (i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++)
		MUST(store_put_node(store, &nodes[i]) == 0);
	MUST(store_put_name(store, 1, "dir", 3, 2) == 0);
	MUST(store_put_name(store, 2, "file", 4, 3) == 0);
	MUST(store_put_name(store, 1, "link", 4, 4) == 0);
	MUST(store_put_chunk(store, 3, 0, "hello", 5) == 0);
	MUST(store_commit(store, &(struct store_counters){.next_number = 5, .generation = 9}) == 0);
	MUST(store_close(store) == 0);
	/* Small pages: more of a mutation falls on something. */
	fuzz_run(path, "PRAGMA page_size = 512; VACUUM");
}

void fuzz_run(const char *path, const char *sql)
{
	sqlite3 *db;

	if (sqlite3_open(path, &db) == SQLITE_OK)
		(void)sqlite3_exec(db, sql, NULL, NULL, NULL);
	(void)sqlite3_close(db);
}

/* ------------------------------------------------------------------------ */
/* A tree                                                                    */

/* An inode, and what its names say of it. */
struct seen {
	struct inode *inode; /* a reference */
	uint64_t names, directories;
};

struct look {
	struct tree *tree;
	struct seen *seen; /* in the order of their numbers */
	size_t n;
	struct seen *dir; /* whose names are looked at */
};

static int by_number(const void *a, const void *b)
{
	const struct seen *one = a, *other = b;

	return one->inode->number < other->inode->number ? -1 : one->inode->number > other->inode->number;
}

static void see_all(struct look *look)
{
	struct inode **inodes;
	unsigned shard;
	size_t n, i;

	look->seen = calloc(limits.inodes + 1, sizeof(look->seen[0]));
	MUST(look->seen);
	for (shard = 0; shard < ITABLE_SHARDS; shard++) {
		MUST(itable_get_all(&look->tree->inodes, shard, &inodes, &n) == 0);
		for (i = 0; i < n; i++) {
			MUST(look->n < limits.inodes + 1);
			look->seen[look->n++].inode = inodes[i];
		}
		free(inodes);
	}
	qsort(look->seen, look->n, sizeof(look->seen[0]), by_number);
}

static void see_name(struct table_link *link, void *arg)
{
	const struct dir_entry *entry = (struct dir_entry *)link;
	struct look *look = arg;
	struct seen key = {.inode = entry->inode};
	struct seen *seen = bsearch(&key, look->seen, look->n, sizeof(key), by_number);

	MUST(entry->name_len > 0 && entry->name_len <= DIR_NAME_MAX && strlen(entry->name) == entry->name_len);
	MUST(!strchr(entry->name, '/') && strcmp(entry->name, ".") != 0 && strcmp(entry->name, "..") != 0);
	MUST(seen && seen->inode == entry->inode);
	seen->names++;
	if (inode_is_dir(entry->inode)) {
		look->dir->directories++;
		MUST(entry->inode->dir.parent == look->dir->inode);
	}
}

/* From each directory the way up ends at the root. */
static void climb(const struct look *look, const struct inode *dir)
{
	size_t steps = 0;

	while (dir != look->tree->root) {
		MUST(dir && steps++ < look->n);
		dir = dir->dir.parent;
	}
}

static void check_inode(const struct look *look, const struct seen *seen)
{
	const struct inode *inode = seen->inode;
	const bool is_root = inode == look->tree->root;

	MUST(inode->number >= 1 && inode->number < look->tree->next_number); /* S4 */
	MUST(is_root || seen->names > 0);
	if (inode_is_dir(inode)) {
		MUST(seen->names == !is_root); /* T3 */
		MUST(inode->links == 2 + seen->directories); /* T4 */
		climb(look, inode);
	} else {
		MUST(inode->links == seen->names);
	}
}

/* Its bytes come from the store, or there is an error. */
static void load(struct tree *tree, struct inode *inode)
{
	if (inode_is_regular(inode) && inode->is_stored)
		(void)inode_load(inode, tree->plane);
}

static int read_stored(void *arg, uint64_t number, uint64_t size,
		       int (*put)(void *to, uint64_t off, const void *bytes, size_t n), void *to)
{
	return store_read_data(arg, number, size, put, to);
}

static void check_tree(struct tree *tree, bool is_to_load)
{
	struct look look = {.tree = tree};
	size_t i;

	see_all(&look);
	for (i = 0; i < look.n; i++) {
		look.dir = &look.seen[i];
		if (inode_is_dir(look.dir->inode))
			table_each(&look.dir->inode->dir.names, see_name, &look);
	}
	MUST(tree->mem.inodes == look.n); /* T7 */
	for (i = 0; i < look.n; i++)
		check_inode(&look, &look.seen[i]);
	for (i = 0; i < look.n; i++) {
		if (is_to_load)
			load(tree, look.seen[i].inode);
		tree_put(tree, look.seen[i].inode);
	}
	free(look.seen);
}

/* ------------------------------------------------------------------------ */
/* Loading                                                                   */

/* What the schema demands, and nobody looks at while it is written. */
static void check_copy(const char *path)
{
	sqlite3_stmt *statement;
	sqlite3 *db;

	MUST(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK);
	MUST(sqlite3_prepare_v2(db,
				"SELECT integrity_check FROM pragma_integrity_check WHERE integrity_check <> 'ok' "
				"UNION ALL SELECT \"table\" FROM pragma_foreign_key_check",
				-1, &statement, NULL) == SQLITE_OK);
	if (sqlite3_step(statement) == SQLITE_ROW)
		fprintf(stderr, "%s\n", (const char *)sqlite3_column_text(statement, 0));
	MUST(sqlite3_step(statement) == SQLITE_DONE);
	(void)sqlite3_finalize(statement);
	(void)sqlite3_close(db);
}

static void restore_into(struct tree *tree, const char *path, bool is_copy);

/* Where all bytes can be read: damage among them shows only now. */
static void save_and_load_again(struct tree *tree, struct store *source)
{
	const char *path = fuzz_path("copy.db");
	struct store_error error;
	struct capture *capture;
	struct tree *second;
	struct store *store;
	int err;

	(void)unlink(path);
	MUST(store_open(path, STORE_SAVE, &store, &error) == 0);
	MUST(capture_take(tree, CAPTURE_ALL, &capture) == 0);
	err = capture_write(capture, store, source, NULL, NULL);
	capture_end(capture, true);
	MUST(store_close(store) == 0);
	if (err)
		return;
	check_copy(path);
	MUST(tree_new(0755, (struct owner){0}, &limits, &second) == 0);
	restore_into(second, path, true);
	MUST(second->mem.inodes == tree->mem.inodes);
	tree_free(second);
}

static void restore_into(struct tree *tree, const char *path, bool is_copy)
{
	struct store_error error = {""};
	struct tree_restored restored;
	struct store *store = NULL;
	int err;

	err = store_open(path, STORE_LOAD, &store, &error);
	if (!err)
		err = tree_restore(tree, store, &restored, &error);
	if (getenv("FUZZ_TELL"))
		fprintf(stderr, "%s: %d %s\n", path, err, error.text);
	MUST(err <= 0 && (err == 0) == (error.text[0] == '\0') && !strchr(error.text, '\n'));
	MUST(!is_copy || err == 0);
	if (!err && !is_copy)
		save_and_load_again(tree, store);
	if (!err) {
		tree->journal->source = (struct journal_source){.read = read_stored, .arg = store};
		check_tree(tree, true);
	}
	(void)store_close(store); /* it was only read */
}

void fuzz_load(const char *path)
{
	struct tree *tree;

	MUST(tree_new(0755, (struct owner){0}, &limits, &tree) == 0);
	restore_into(tree, path, false);
	tree_free(tree);
}
