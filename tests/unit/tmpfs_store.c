/* SPDX-License-Identifier: MIT */
/* The SQLite form of a tree: what is written is read again, and what cannot be is said in one line. */
#include "mem.h"
#include "store_dump.h"
#include "store_internal.h"
#include "xattr.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#define ROOT UINT64_C(1)
#define CHUNK STORE_CHUNK_SIZE

static const struct store_counters counters = {.next_number = 100, .generation = 77};

/* ------------------------------------------------------------------------ */
/* Shorthands                                                                */

static struct store *opened(const char *path, enum store_mode mode)
{
	struct store_error error = {""};
	struct store *store = NULL;
	int err = store_open(path, mode, &store, &error);

	if (err)
		print_error("%s: %s\n", path, error.text);
	assert_int_equal(err, 0);
	return store;
}

static int refusal(const char *path, enum store_mode mode, struct store_error *error)
{
	struct store *store = NULL;
	int err = store_open(path, mode, &store, error);

	assert_int_not_equal(err, 0);
	assert_true(error->text[0] != '\0');
	assert_null(strchr(error->text, '\n'));
	assert_null(store);
	return err;
}

static void ok(int err)
{
	if (err)
		print_error("%s\n", store_reason());
	assert_int_equal(err, 0);
}

static struct node node_of(uint64_t number, mode_t mode)
{
	return (struct node){.number = number,
			     .mode = mode,
			     .uid = 1000 + (uid_t)number,
			     .gid = 2000 + (gid_t)number,
			     .atime = {.tv_sec = 1700000000, .tv_nsec = 1},
			     .mtime = {.tv_sec = 1700000001, .tv_nsec = 999999999},
			     .ctime = {.tv_sec = -1, .tv_nsec = 500000000},
			     .btime = {.tv_sec = 1, .tv_nsec = (long)number}};
}

static void put_node(struct store *store, uint64_t number, mode_t mode)
{
	const struct node node = node_of(number, mode);

	ok(store_put_node(store, &node));
}

static void put_file(struct store *store, uint64_t number, uint64_t size, uint64_t allocated)
{
	struct node node = node_of(number, S_IFREG | 0644);

	node.size = size;
	node.allocated = allocated;
	ok(store_put_node(store, &node));
}

static void put_name(struct store *store, const char *name, uint64_t number)
{
	ok(store_put_name(store, ROOT, name, strlen(name), number));
}

static void put_text(struct store *store, uint64_t number, uint64_t off, const char *text)
{
	ok(store_put_chunk(store, number, off, text, strlen(text)));
}

static void put_target(struct store *store, uint64_t number, const char *target)
{
	struct node node = node_of(number, S_IFLNK | 0777);

	node.target = target;
	node.target_len = strlen(target);
	ok(store_put_node(store, &node));
}

static void put_device(struct store *store, uint64_t number, mode_t type, dev_t rdev)
{
	struct node node = node_of(number, type | 0600);

	node.rdev = rdev;
	ok(store_put_node(store, &node));
}

static void put_xattrs(struct store *store, uint64_t number)
{
	struct xattr *list = NULL;
	struct mem mem;

	mem_init(&mem, MEM_UNLIMITED, 1);
	ok(xattr_set(&list, &mem, "user.empty", NULL, 0, 0));
	ok(xattr_set(&list, &mem, "user.\xff\x01", "a\0b", 3, 0));
	ok(store_put_xattrs(store, number, list));
	xattr_clear(&list, &mem);
	mem_done(&mem);
}

/* Something of everything. */
static void put_tree(struct store *store)
{
	put_node(store, ROOT, S_IFDIR | 01777);
	put_node(store, 2, S_IFDIR | 0700);
	put_name(store, "dir", 2);
	put_file(store, 3, 3 * CHUNK + 5, CHUNK + 5);
	put_text(store, 3, CHUNK, "behind a hole");
	put_text(store, 3, 3 * CHUNK, "tail!");
	put_name(store, "sparse", 3);
	put_name(store, "another name", 3);
	put_target(store, 4, "/where/\xff it leads");
	put_name(store, "link", 4);
	put_device(store, 5, S_IFCHR, makedev(1, 3));
	put_name(store, "null", 5);
	put_device(store, 6, S_IFBLK, makedev(259, 70000));
	put_name(store, "disk", 6);
	put_node(store, 7, S_IFIFO | 0622);
	put_name(store, "fifo", 7);
	put_node(store, 8, S_IFSOCK | 07755);
	put_name(store, "socket", 8);
	ok(store_put_name(store, 2, "odd \n\x80\xfe '\"", 10, 3));
	put_xattrs(store, 3);
	put_xattrs(store, 2);
}

static void commit(struct store *store)
{
	ok(store_commit(store, &counters));
}

static void make_tree(const char *path)
{
	struct store *store = opened(path, STORE_KEEP);

	ok(store_begin(store));
	put_tree(store);
	commit(store);
	ok(store_close(store));
}

static char *dump_of(const char *path)
{
	struct store_error error = {""};
	char *text = dump_file(path, &error);

	if (!text)
		print_error("%s: %s\n", path, error.text);
	assert_non_null(text);
	return text;
}

static void assert_same(const char *path, const char *other)
{
	char *a = dump_of(path), *b = dump_of(other);

	assert_string_equal(a, b);
	free(a);
	free(b);
}

/* Of the database at @path, from a connection of its own. */
static char *query(const char *path, const char *sql)
{
	sqlite3_stmt *statement;
	sqlite3 *db;
	char *text = NULL;

	assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL), SQLITE_OK);
	if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK)
		fail_msg("%s: %s", sql, sqlite3_errmsg(db));
	if (sqlite3_step(statement) == SQLITE_ROW)
		text = strdup((const char *)sqlite3_column_text(statement, 0));
	sqlite3_finalize(statement);
	sqlite3_close(db);
	return text ? text : strdup("");
}

static void assert_query(const char *path, const char *sql, const char *expected)
{
	char *text = query(path, sql);

	assert_string_equal(text, expected);
	free(text);
}

static void assert_sound(const char *path)
{
	assert_query(path, "PRAGMA integrity_check", "ok");
	assert_query(path, "SELECT count(*) FROM pragma_foreign_key_check", "0");
}

/* ------------------------------------------------------------------------ */
/* What is written is read again                                             */

static void what_is_committed_is_read_again(void **state)
{
	char *text;

	(void)state;
	make_tree(at("a.db"));
	text = dump_of(at("a.db"));
	assert_non_null(strstr(text, "node 3 mode=100644 uid=1003 gid=2003 rdev=0 size=196613 allocated=65541 "
				     "atime=1700000000.000000001 mtime=1700000001.999999999 ctime=-1.500000000 "
				     "btime=1.000000003\n"));
	assert_non_null(strstr(text, "node 4 "));
	assert_non_null(strstr(text, " -> /where/\\ff\\20it\\20leads\n"));
	assert_non_null(strstr(text, "data 3 [65536] behind\\20a\\20hole [196608] tail!\n"));
	assert_non_null(strstr(text, "name 2/odd\\20\\0a\\80\\fe\\20'\" 3\n"));
	assert_non_null(strstr(text, "xattr 3 user.empty=\n"));
	assert_non_null(strstr(text, "xattr 3 user.\\ff\\01=a\\00b\n"));
	free(text);
	assert_sound(at("a.db"));
}

static void what_is_changed_is_read_again(void **state)
{
	struct store *store;
	char *text;

	(void)state;
	make_tree(at("a.db"));
	store = opened(at("a.db"), STORE_KEEP);
	ok(store_begin(store));
	ok(store_put_name(store, ROOT, "fifo", 4, 5)); /* over another one */
	ok(store_remove_node(store, 7));
	ok(store_remove_name(store, ROOT, "null", 4));
	ok(store_remove_name(store, ROOT, "never there", 11));
	put_text(store, 3, CHUNK, "other bytes");
	ok(store_remove_chunks(store, 3, 3 * CHUNK, UINT64_MAX));
	ok(store_put_xattrs(store, 3, NULL));
	put_target(store, 4, "elsewhere");
	commit(store);
	ok(store_close(store));
	text = dump_of(at("a.db"));
	assert_null(strstr(text, "node 7 "));
	assert_non_null(strstr(text, "/fifo 5\n"));
	assert_null(strstr(text, "/null 5\n"));
	assert_non_null(strstr(text, "data 3 [65536] other\\20bytes\n"));
	assert_null(strstr(text, "xattr 3"));
	assert_non_null(strstr(text, " -> elsewhere\n"));
	free(text);
	assert_sound(at("a.db"));
}

static void what_is_rolled_back_was_never_there(void **state)
{
	struct store *store;
	char *before, *after;

	(void)state;
	make_tree(at("a.db"));
	before = dump_of(at("a.db"));
	store = opened(at("a.db"), STORE_KEEP);
	ok(store_begin(store));
	put_node(store, 9, S_IFDIR);
	put_name(store, "nine", 9);
	ok(store_remove_name(store, ROOT, "dir", 3));
	store_rollback(store);
	store_rollback(store);
	ok(store_close(store));
	after = dump_of(at("a.db"));
	assert_string_equal(before, after);
	free(before);
	free(after);
}

static void the_order_of_writes_within_a_transaction_is_free(void **state)
{
	struct store *store;

	(void)state;
	store = opened(at("a.db"), STORE_KEEP);
	ok(store_begin(store));
	put_text(store, 2, 0, "first of all its bytes");
	put_xattrs(store, 2);
	put_name(store, "b", 2);
	put_file(store, 2, 100, 100);
	put_node(store, ROOT, S_IFDIR);
	commit(store);
	ok(store_begin(store));
	ok(store_remove_node(store, 2));
	ok(store_remove_name(store, ROOT, "b", 1));
	commit(store);
	ok(store_close(store));
	assert_query(at("a.db"), "SELECT count(*) FROM chunks", "0");
	assert_query(at("a.db"), "SELECT count(*) FROM xattrs", "0");
	assert_sound(at("a.db"));
}

/* Files with a name and some bytes each, from number 10 on; one that cannot be had at @broken. */
struct many {
	uint64_t at, end, broken;
	char name[32];
};

static int next_of_many(struct many *many)
{
	if (many->at == many->broken)
		return -ENOMEM;
	return many->at++ < many->end ? 1 : 0;
}

static int next_node(void *arg, struct node *node)
{
	struct many *many = arg;

	*node = (struct node){.number = many->at, .mode = S_IFREG | 0644, .size = 5, .allocated = 5};
	return next_of_many(many);
}

static int next_name(void *arg, struct store_name *name)
{
	struct many *many = arg;

	/* All of them in the same place. */
	(void)snprintf(many->name, sizeof(many->name), "file-%" PRIu64, many->at);
	*name = (struct store_name){.parent = ROOT, .bytes = many->name, .len = strlen(many->name), .number = many->at};
	return next_of_many(many);
}

static int next_chunk(void *arg, struct store_chunk *chunk)
{
	struct many *many = arg;

	*chunk = (struct store_chunk){.number = many->at, .bytes = "bytes", .n = 5};
	return next_of_many(many);
}

static int put_many(struct store *store, uint64_t end, uint64_t broken)
{
	int err = store_put_nodes(store, next_node, &(struct many){.at = 10, .end = end});

	if (!err)
		err = store_put_names(store, next_name, &(struct many){.at = 10, .end = end});
	return err ? err : store_put_chunks(store, next_chunk, &(struct many){.at = 10, .end = end, .broken = broken});
}

/* As a mount does it: then it is known that no bytes are in the column data. */
static struct store *opened_and_read(const char *path)
{
	struct store *store = opened(path, STORE_KEEP);
	struct store_error error = {""};
	char *text = dump_store(store, &error);

	assert_non_null(text);
	free(text);
	return store;
}

static void many_rows_are_as_good_as_one_by_one(void **state)
{
	struct store *store;

	(void)state;
	make_tree(at("a.db"));
	store = opened_and_read(at("a.db"));
	ok(store_begin(store));
	ok(put_many(store, 1010, 0));
	ok(put_many(store, 1010, 0)); /* they are there already */
	ok(put_many(store, 10, 0)); /* none */
	commit(store);
	ok(store_close(store));
	assert_query(at("a.db"), "SELECT count(*) FROM files WHERE path = '/file-' || inode AND size = 5", "1000");
	assert_query(at("a.db"), "SELECT count(*) FROM chunks WHERE data = x'6279746573' AND inode >= 10", "1000");
	assert_sound(at("a.db"));
}

static void s1_what_ends_many_rows_is_told_and_the_store_goes_on(void **state)
{
	struct store *store;

	(void)state;
	make_tree(at("a.db"));
	store = opened_and_read(at("a.db"));
	ok(store_begin(store));
	assert_int_equal(put_many(store, 110, 60), -ENOMEM);
	store_rollback(store);
	ok(store_begin(store));
	ok(put_many(store, 20, 0));
	commit(store);
	ok(store_close(store));
	assert_query(at("a.db"), "SELECT count(*) FROM inodes WHERE id >= 10", "10");
	assert_sound(at("a.db"));
}

/* What the database brings along has no part in what is written. */
static void s3_a_table_of_the_database_does_not_take_the_place_of_rows(void **state)
{
	struct store *store;

	(void)state;
	make_tree(at("a.db"));
	run(at("a.db"), "CREATE TABLE incoming (c1, c2, c3); INSERT INTO incoming VALUES (1, x'62', 1)");
	store = opened_and_read(at("a.db"));
	ok(store_begin(store));
	ok(put_many(store, 20, 0));
	commit(store);
	ok(store_close(store));
	assert_query(at("a.db"), "SELECT count(*) FROM inodes WHERE id >= 10", "10");
	assert_sound(at("a.db"));
}

/* Code of SQLite's own, which reads as its tables tell it. */
static void s3_a_virtual_table_is_none_of_ours(void **state)
{
	struct store_error error;

	(void)state;
	if (!sqlite3_compileoption_used("ENABLE_RTREE"))
		skip();
	make_tree(at("a.db"));
	run(at("a.db"), "DROP TABLE state; CREATE VIRTUAL TABLE state USING rtree_i32(id, next_number, generation)");
	assert_int_equal(refusal(at("a.db"), STORE_LOAD, &error), -EMEDIUMTYPE);
	assert_non_null(strstr(error.text, "no table state"));
}

/* Whatever else reads them: no row of ours is asked for by way of a view. */
static void s3_views_do_not_run(void **state)
{
	struct store *store;
	int64_t n;

	(void)state;
	make_tree(at("a.db"));
	store = opened(at("a.db"), STORE_LOAD);
	ok(store_query(&store->reader, "SELECT count(*) FROM inodes", &n));
	assert_int_equal(store_query(&store->reader, "SELECT count(*) FROM files", &n), -EIO);
	ok(store_close(store));
}

static void times_that_no_integer_holds_become_the_last_that_one_does(void **state)
{
	struct node node = node_of(ROOT, S_IFDIR);
	struct store *store;
	char *text;

	(void)state;
	node.atime = (struct timespec){.tv_sec = INT64_MAX, .tv_nsec = 999999999};
	node.mtime = (struct timespec){.tv_sec = INT64_MIN};
	store = opened(at("a.db"), STORE_KEEP);
	ok(store_begin(store));
	ok(store_put_node(store, &node));
	commit(store);
	ok(store_close(store));
	text = dump_of(at("a.db"));
	assert_non_null(strstr(text, "atime=9223372036.854775807 mtime=-9223372037.145224192"));
	free(text);
}

/* ------------------------------------------------------------------------ */
/* Saving and loading                                                        */

/* Piece by piece, as a copy of a tree gets what the tree does not have. */
static void copy_pieces(struct store *to, struct store *from, uint64_t number)
{
	static char bytes[STORE_CHUNK_SIZE];
	struct store_piece piece;
	uint64_t off;

	for (off = 0; off < 3 * CHUNK + 5; off = piece.end) {
		ok(store_read_piece(from, number, 3 * CHUNK + 5, off, bytes, &piece));
		assert_true(piece.end > off && (piece.end % STORE_CHUNK_SIZE == 0 || piece.end == UINT64_MAX));
		if (piece.n > 0)
			ok(store_put_chunk(to, number, off, bytes, piece.n));
	}
}

static void a_saved_copy_is_the_same_and_needs_nothing_beside_it(void **state)
{
	struct store *store, *from;

	(void)state;
	make_tree(at("a.db"));
	from = opened(at("a.db"), STORE_LOAD);
	store = opened(at("b.db"), STORE_SAVE);
	ok(store_begin(store));
	put_tree(store);
	ok(store_remove_chunks(store, 3, 0, UINT64_MAX));
	copy_pieces(store, from, 3);
	commit(store);
	ok(store_close(store));
	ok(store_close(from));
	assert_int_not_equal(access(at("b.db-wal"), F_OK), 0);
	assert_int_not_equal(access(at("b.db-journal"), F_OK), 0);
	assert_same(at("a.db"), at("b.db"));
	assert_sound(at("b.db"));
}

static void the_reference_s_bytes_are_read_in_pieces_too(void **state)
{
	static const size_t expected[] = {CHUNK, CHUNK, 7, 0};
	static char bytes[CHUNK];
	struct store_piece piece;
	struct store *store;
	unsigned i;

	(void)state;
	run(at("a.db"),
	    REFERENCE_TABLES "INSERT INTO inodes (id, uid, gid, mode, mtime_ns, atime_ns, ctime_ns, size, data) "
			     "VALUES (3, 0, 0, 33188, 0, 0, 0, 300000, "
			     "CAST(printf('%.131079c', 'x') AS BLOB));");
	store = opened(at("a.db"), STORE_LOAD);
	for (i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
		ok(store_read_piece(store, 3, 300000, i * CHUNK, bytes, &piece));
		assert_int_equal(piece.n, expected[i]);
		assert_int_equal(piece.end, piece.n > 0 ? (i + 1) * CHUNK : UINT64_MAX);
		if (piece.n > 0)
			assert_int_equal(bytes[piece.n - 1], 'x');
	}
	ok(store_read_piece(store, 4, 300000, 0, bytes, &piece)); /* is not there */
	assert_int_equal(piece.n, 0);
	ok(store_close(store));
}

/* How many pages the connection for reading has looked at. */
static int pages_looked_at(struct store *store)
{
	int hits, misses, most;

	assert_int_equal(sqlite3_db_status(store->reader.handle, SQLITE_DBSTATUS_CACHE_HIT, &hits, &most, 0), 0);
	assert_int_equal(sqlite3_db_status(store->reader.handle, SQLITE_DBSTATUS_CACHE_MISS, &misses, &most, 0), 0);
	return hits + misses;
}

/* All pieces of the file 2 of the database @path, which @store has open. */
static void read_many_pieces(struct store *store, uint64_t pieces)
{
	static char bytes[CHUNK];
	struct store_piece piece;
	int before = 0;
	uint64_t i;

	for (i = 0; i < pieces; i++) {
		ok(store_read_piece(store, 2, pieces * CHUNK, i * CHUNK, bytes, &piece));
		assert_int_equal(piece.n, CHUNK);
		assert_int_equal(bytes[0], 0);
		if (i == 0)
			before = pages_looked_at(store);
	}
	/* Each of them once, and some of the tree. */
	assert_in_range(pages_looked_at(store) - before, 1, 2 * pieces * CHUNK / 4096);
}

static void a_great_file_of_the_reference_s_is_read_in_pieces_with_one_look_at_each_page(void **state)
{
	enum { PIECES = 128 };
	static char bytes[CHUNK];
	struct store_piece piece;
	struct store_error error;
	struct store *store;

	(void)state;
	run(at("a.db"), REFERENCE_TABLES
	    "INSERT INTO inodes (id, mode, uid, gid, mtime_ns, atime_ns, ctime_ns) VALUES (1, 16877, 0, 0, 3, 2, 1);"
	    "INSERT INTO inodes (id, uid, gid, mode, mtime_ns, atime_ns, ctime_ns, size, data) "
	    "VALUES (2, 0, 0, 33188, 0, 0, 0, 128 * 65536, zeroblob(128 * 65536)), "
	    "(3, 0, 0, 33188, 0, 0, 0, 1, x'33');");
	store = opened(at("a.db"), STORE_LOAD);
	read_many_pieces(store, PIECES);
	ok(store_read_piece(store, 2, PIECES * CHUNK, 0, bytes, &piece));
	ok(store_close(store));

	store = opened(at("a.db"), STORE_KEEP);
	free(dump_store(store, &error));
	/* There is no log yet, and a commit would have to wait for who reads. */
	ok(store_read_piece(store, 2, PIECES * CHUNK, 0, bytes, &piece));
	assert_true(sqlite3_get_autocommit(store->reader.handle));
	ok(store_begin(store));
	commit(store);
	read_many_pieces(store, PIECES);
	assert_true(sqlite3_get_autocommit(store->reader.handle));
	/* Another file, and a commit, in between. */
	ok(store_read_piece(store, 2, PIECES * CHUNK, 0, bytes, &piece));
	ok(store_read_piece(store, 3, 1, 0, bytes, &piece));
	assert_int_equal(piece.n, 1);
	assert_int_equal(bytes[0], 0x33);
	ok(store_read_piece(store, 2, PIECES * CHUNK, CHUNK, bytes, &piece));
	ok(store_begin(store));
	ok(store_remove_chunks(store, 2, 2 * CHUNK, UINT64_MAX));
	commit(store);
	ok(store_read_piece(store, 2, PIECES * CHUNK, 2 * CHUNK, bytes, &piece)); /* as it was */
	assert_int_equal(piece.n, CHUNK);
	store_end_pieces(store);
	assert_true(sqlite3_get_autocommit(store->reader.handle));
	ok(store_read_piece(store, 2, PIECES * CHUNK, 2 * CHUNK, bytes, &piece));
	assert_int_equal(piece.n, 0);
	ok(store_close(store));
}

static void saving_replaces_nothing(void **state)
{
	struct store_error error;

	(void)state;
	make_tree(at("a.db"));
	assert_int_equal(refusal(at("a.db"), STORE_SAVE, &error), -EEXIST);
	assert_sound(at("a.db"));
	assert_int_equal(refusal(at("none/a.db"), STORE_SAVE, &error), -ENOENT);
}

/* Names and times of all that is in the place. */
static char *list_place(void)
{
	DIR *dir = opendir(place);
	struct dirent *entry;
	struct stat st;
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.' && fstatat(dirfd(dir), entry->d_name, &st, 0) == 0)
			fprintf(out, "%s %lld %lld.%09ld\n", entry->d_name, (long long)st.st_size,
				(long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
	fclose(out);
	closedir(dir);
	return text;
}

static void loading_leaves_the_file_and_its_directory_alone(void **state)
{
	char *before, *after;

	(void)state;
	make_tree(at("a.db"));
	before = list_place();
	free(dump_of(at("a.db")));
	after = list_place();
	assert_string_equal(before, after);
	free(before);
	free(after);
}

static void a_load_does_not_see_what_others_change_later(void **state)
{
	struct store_error error;
	struct store *store;
	char *before, *after;

	(void)state;
	make_tree(at("a.db"));
	store = opened(at("a.db"), STORE_LOAD);
	before = dump_store(store, &error);
	run(at("a.db"), "UPDATE inodes SET uid = 4; DELETE FROM chunks");
	after = dump_store(store, &error);
	assert_string_equal(before, after);
	ok(store_close(store));
	free(before);
	free(after);
}

static void a_directory_in_which_nothing_can_be_made_is_loaded_from(void **state)
{
	char *text = NULL, *before;
	int status;

	(void)state;
	if (geteuid() != 0)
		skip();
	make_tree(at("a.db"));
	before = dump_of(at("a.db"));
	assert_int_equal(chmod(at("a.db"), 0444), 0);
	assert_int_equal(chmod(place, 0555), 0);
	if (fork() == 0) {
		struct store_error error = {""};

		if (setgid(65534) || setuid(65534))
			_exit(3);
		text = dump_file(at("a.db"), &error);
		_exit(text && strcmp(text, before) == 0 ? 0 : 1);
	}
	wait(&status);
	assert_int_equal(chmod(place, 0700), 0);
	assert_int_equal(status, 0);
	free(before);
}

/* ------------------------------------------------------------------------ */
/* Others                                                                    */

static void others_read_while_it_is_kept(void **state)
{
	struct store *store;

	(void)state;
	make_tree(at("a.db"));
	store = opened(at("a.db"), STORE_KEEP);
	ok(store_begin(store));
	put_node(store, 50, S_IFDIR);
	put_name(store, "fifty", 50);
	assert_query(at("a.db"), "SELECT count(*) FROM files WHERE path = '/fifty'", "0");
	commit(store);
	assert_query(at("a.db"), "SELECT count(*) FROM files WHERE path = '/fifty'", "1");
	ok(store_close(store));
}

/* In a process of its own: who closes a file gives up all locks that his process has on it. */
static void second_open(const char *path, enum store_mode mode, int expected, const char *why)
{
	int status;

	if (fork() == 0) {
		struct store_error error = {""};
		struct store *store;
		int err = store_open(path, mode, &store, &error);

		if (err != expected || (why && !strstr(error.text, why))) {
			print_error("%d instead of %d: %s\n", err, expected, error.text);
			_exit(1);
		}
		_exit(0);
	}
	wait(&status);
	assert_int_equal(status, 0);
}

static void what_one_mount_keeps_another_cannot(void **state)
{
	struct store *store;

	(void)state;
	store = opened(at("a.db"), STORE_KEEP);
	second_open(at("a.db"), STORE_KEEP, -EBUSY, "in use by another mount");
	ok(store_begin(store));
	put_tree(store);
	commit(store);
	second_open(at("a.db"), STORE_KEEP, -EBUSY, "in use by another mount");
	second_open(at("a.db"), STORE_LOAD, 0, NULL);
	ok(store_begin(store));
	put_node(store, 50, S_IFDIR);
	put_name(store, "fifty", 50);
	commit(store);
	ok(store_close(store));
	second_open(at("a.db"), STORE_KEEP, 0, NULL);
	assert_sound(at("a.db"));
}

static void a_database_that_somebody_writes_to_is_busy(void **state)
{
	struct store_error error;
	sqlite3 *db;

	(void)state;
	make_tree(at("a.db"));
	assert_int_equal(sqlite3_open(at("a.db"), &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(refusal(at("a.db"), STORE_KEEP, &error), -EBUSY);
	assert_non_null(strstr(error.text, "another program"));
	sqlite3_close(db);
}

static void what_cannot_be_written_is_refused_at_once(void **state)
{
	int status;

	(void)state;
	if (geteuid() != 0)
		skip();
	make_tree(at("a.db"));
	make_tree(at("b.db"));
	assert_int_equal(chmod(place, 0755), 0);
	assert_int_equal(chmod(at("a.db"), 0444), 0);
	assert_int_equal(chmod(at("b.db"), 0666), 0);
	if (fork() == 0) {
		struct store_error error = {""};

		if (setgid(65534) || setuid(65534))
			_exit(3);
		if (refusal(at("a.db"), STORE_KEEP, &error) != -EACCES)
			_exit(1);
		if (refusal(at("b.db"), STORE_KEEP, &error) != -EACCES || !strstr(error.text, "directory"))
			_exit(2);
		_exit(0);
	}
	wait(&status);
	assert_int_equal(status, 0);
}

/* And not with the first commit that fails, and each after it. */
static void s2_what_nothing_can_be_committed_to_is_refused_before_anything_changes(void **state)
{
	static const char *const changes[] = {
		"DROP INDEX contents_name",
		"DROP INDEX chunks_place",
		"DROP TABLE state; CREATE TABLE state (id INT, next_number INT, generation INT, is_clean INT)",
		"ALTER TABLE xattrs RENAME TO other; CREATE TABLE xattrs (inode INT, name BLOB, value BLOB, more INT "
		"NOT "
		"NULL)",
	};
	struct store_error error;
	char *before, *after;
	unsigned i;

	(void)state;
	for (i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		make_tree(at("a.db"));
		run(at("a.db"), "DROP VIEW attributes; DROP VIEW usage; DROP VIEW files; PRAGMA journal_mode = DELETE");
		run(at("a.db"), changes[i]);
		before = list_place();
		assert_int_not_equal(refusal(at("a.db"), STORE_KEEP, &error), 0);
		after = list_place();
		assert_string_equal(before, after);
		assert_query(at("a.db"), "PRAGMA journal_mode", "delete");
		free(before);
		free(after);
		free(dump_of(at("a.db"))); /* what is there can be read */
		empty_place();
	}
	run(at("a.db"), REFERENCE_TABLES "ALTER TABLE contents ADD COLUMN note TEXT");
	ok(store_close(opened(at("a.db"), STORE_KEEP)));
	run(at("b.db"),
	    "CREATE TABLE inodes (id INTEGER PRIMARY KEY);"
	    "CREATE TABLE contents (rowid INTEGER PRIMARY KEY NOT NULL, name, inode, parent_inode, note NOT NULL)");
	assert_int_equal(refusal(at("b.db"), STORE_KEEP, &error), -EMEDIUMTYPE);
	assert_non_null(strstr(error.text, "contents"));
}

static void write_file(const char *path, const char *bytes, size_t n)
{
	FILE *file = fopen(path, "w");

	assert_int_equal(fwrite(bytes, 1, n, file), n);
	fclose(file);
}

static void what_is_no_database_of_a_tmpfs_is_refused(void **state)
{
	static char text[8192];
	struct store_error error;

	(void)state;
	memset(text, 'x', sizeof(text));
	write_file(at("text"), text, sizeof(text));
	assert_int_equal(refusal(at("text"), STORE_KEEP, &error), -EMEDIUMTYPE);
	assert_int_equal(refusal(at("text"), STORE_LOAD, &error), -EMEDIUMTYPE);
	assert_int_equal(refusal(place, STORE_LOAD, &error), -EMEDIUMTYPE);
	assert_int_equal(refusal(place, STORE_KEEP, &error), -EISDIR);
	assert_int_equal(mkfifo(at("fifo"), 0600), 0);
	assert_int_equal(refusal(at("fifo"), STORE_LOAD, &error), -EMEDIUMTYPE);
	run(at("other.db"), "CREATE TABLE people (name)");
	assert_int_equal(refusal(at("other.db"), STORE_KEEP, &error), -EMEDIUMTYPE);
	run(at("marked.db"), "PRAGMA application_id = 42; CREATE TABLE inodes (id); CREATE TABLE contents (id)");
	assert_int_equal(refusal(at("marked.db"), STORE_KEEP, &error), -EMEDIUMTYPE);
	run(at("view.db"), "CREATE TABLE t (a); CREATE TABLE contents (b); CREATE VIEW inodes AS SELECT * FROM t");
	assert_int_equal(refusal(at("view.db"), STORE_KEEP, &error), -EMEDIUMTYPE);
	assert_int_equal(refusal(at("none.db"), STORE_LOAD, &error), -ENOENT);
	assert_int_not_equal(access(at("none.db"), F_OK), 0);
}

static void a_newer_version_is_refused(void **state)
{
	struct store_error error;

	(void)state;
	make_tree(at("a.db"));
	run(at("a.db"), "PRAGMA user_version = 2");
	assert_int_equal(refusal(at("a.db"), STORE_KEEP, &error), -EPROTO);
	assert_int_equal(refusal(at("a.db"), STORE_LOAD, &error), -EPROTO);
	assert_non_null(strstr(error.text, "version is 2"));
}

static void an_empty_file_is_a_new_database(void **state)
{
	struct store *store;

	(void)state;
	write_file(at("a.db"), "", 0);
	store = opened(at("a.db"), STORE_KEEP);
	assert_false(store_has_tree(store));
	ok(store_close(store));
	make_tree(at("a.db"));
	assert_sound(at("a.db"));
}

/* ------------------------------------------------------------------------ */
/* Counters                                                                  */

static uint64_t next_number_of(const char *path)
{
	struct store *store = opened(path, STORE_KEEP);
	const char *line;
	struct store_error error;
	char *text = dump_store(store, &error);
	uint64_t next;

	line = strstr(text, "next=");
	assert_non_null(line);
	next = strtoull(line + 5, NULL, 10);
	free(text);
	ok(store_close(store));
	return next;
}

static void counters_are_kept_and_an_unclean_end_skips_numbers(void **state)
{
	struct store *store;
	int status;

	(void)state;
	make_tree(at("a.db"));
	assert_int_equal(next_number_of(at("a.db")), 100);
	if (fork() == 0) {
		store = opened(at("a.db"), STORE_KEEP);
		ok(store_begin(store));
		put_node(store, 99, S_IFDIR);
		put_name(store, "99", 99);
		commit(store);
		_exit(0);
	}
	wait(&status);
	assert_int_equal(status, 0);
	assert_int_equal(next_number_of(at("a.db")), 100 + (UINT64_C(1) << 32));
	/* Until somebody has committed that. */
	assert_int_equal(next_number_of(at("a.db")), 100 + (UINT64_C(1) << 32));
	assert_sound(at("a.db"));
}

static void s4_the_number_of_chunks_of_no_inode_is_not_given_out(void **state)
{
	static const struct {
		const char *sql;
		uint64_t expected;
	} cases[] = {
		{"INSERT INTO chunks (inode, offset, data) VALUES (100, 0, x'30'), (2000, 0, x'31'), (1999, 0, x'32')",
		 2001},
		{"INSERT INTO chunks (inode, offset, data) VALUES (x'32', 0, x'30'), ('text', 0, x'30'), (-1, 0, "
		 "x'30')",
		 2001},
		{"INSERT INTO chunks (inode, offset, data) VALUES (9223372036854775807, 0, x'30')", 2001},
		{"UPDATE state SET next_number = 3000", 3000},
	};
	unsigned i;

	(void)state;
	make_tree(at("a.db"));
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		run(at("a.db"), cases[i].sql);
		assert_int_equal(next_number_of(at("a.db")), cases[i].expected);
	}
}

/* ------------------------------------------------------------------------ */
/* The reference's tables                                                    */

static const char reference[] = REFERENCE_TABLES
	"INSERT INTO inodes (id, mode, uid, gid, mtime_ns, atime_ns, ctime_ns) VALUES (1, 16877, 0, 0, 3, 2, 1);"
	"INSERT INTO contents (name, parent_inode, inode) VALUES (x'2e2e', 1, 1);"
	"INSERT INTO inodes (id, mode, uid, gid, mtime_ns, atime_ns, ctime_ns, size, data)"
	" VALUES (2, 33188, 5, 6, 1, 1, 1, 150000, zeroblob(75000) || CAST(zeroblob(75000) AS BLOB));"
	"UPDATE inodes SET data = randomblob(150000) WHERE id = 2;"
	"INSERT INTO contents (name, parent_inode, inode) VALUES (x'61', 1, 2);"
	/* As a person types it. */
	"INSERT INTO inodes (id, mode, uid, gid, mtime_ns, atime_ns, ctime_ns, size, data)"
	" VALUES (3, 33188, 5, 6, 1, 1, 1, 5, 'hello');"
	"INSERT INTO contents (name, parent_inode, inode) VALUES ('greeting', 1, 3);"
	"INSERT INTO inodes (id, mode, uid, gid, mtime_ns, atime_ns, ctime_ns, target)"
	" VALUES (4, 41471, 5, 6, 1, 1, 1, 'greeting');"
	"INSERT INTO contents (name, parent_inode, inode) VALUES ('link', 1, 4);";

/* In another encoding, and all of it blobs. */
static const char utf16[] =
	"PRAGMA encoding = 'UTF-16';" REFERENCE_TABLES
	"INSERT INTO inodes (id, mode, uid, gid, mtime_ns, atime_ns, ctime_ns) VALUES (1, 16877, 0, 0, 3, 2, 1);"
	"INSERT INTO inodes (id, mode, uid, gid, mtime_ns, atime_ns, ctime_ns, size, data)"
	" VALUES (2, 33188, 5, 6, 1, 1, 1, 5, x'68656c6c6f');"
	"INSERT INTO inodes (id, mode, uid, gid, mtime_ns, atime_ns, ctime_ns, target)"
	" VALUES (3, 41471, 5, 6, 1, 1, 1, x'61');"
	"INSERT INTO contents (name, parent_inode, inode) VALUES (x'61', 1, 2), (x'62', 1, 3);";

static void a_database_of_the_reference_is_not_written_before_the_first_commit(void **state)
{
	struct store_error error;
	struct store *store;
	char *before, *after;

	(void)state;
	run(at("a.db"), reference);
	before = list_place();
	store = opened(at("a.db"), STORE_KEEP);
	free(dump_store(store, &error));
	ok(store_close(store));
	after = list_place();
	assert_string_equal(before, after);
	free(before);
	free(after);
	assert_query(at("a.db"), "PRAGMA application_id", "0");
}

static void a_database_of_the_reference_becomes_one_of_ours_with_all_it_has(void **state)
{
	struct store_error error;
	struct store *store;
	char *before, *after;

	(void)state;
	run(at("a.db"), reference);
	before = dump_of(at("a.db"));
	assert_non_null(strstr(before, "data 3 [0] hello\n"));
	assert_non_null(strstr(before, "name 1/greeting 3\n"));
	store = opened(at("a.db"), STORE_KEEP);
	free(dump_store(store, &error));
	ok(store_begin(store));
	ok(store_commit(store, &(struct store_counters){.next_number = 5}));
	free(dump_store(store, &error));
	ok(store_close(store));
	after = dump_of(at("a.db"));
	assert_string_equal(before, after);
	free(before);
	free(after);
	assert_query(at("a.db"), "SELECT count(*) FROM contents WHERE typeof(name) <> 'blob'", "0");
	assert_query(at("a.db"), "SELECT path FROM files WHERE inode = 3", "/greeting");
	assert_sound(at("a.db"));
}

static void views_of_a_person_outlast_the_first_commit(void **state)
{
	struct store *store;

	(void)state;
	run(at("a.db"), reference);
	run(at("a.db"), "CREATE VIEW sizes AS SELECT CAST(name AS TEXT) AS name, size FROM inodes JOIN contents ON "
			"inode = id WHERE size > 0");
	store = opened_and_read(at("a.db"));
	ok(store_begin(store));
	ok(store_commit(store, &(struct store_counters){.next_number = 5}));
	ok(store_close(store));
	assert_query(at("a.db"), "SELECT group_concat(name) FROM (SELECT name FROM sizes ORDER BY name)", "a,greeting");
	assert_sound(at("a.db"));
}

static void the_reference_s_bytes_of_a_file_become_chunks_when_it_changes(void **state)
{
	struct store_error error;
	struct store *store;
	char *text;

	(void)state;
	run(at("a.db"), reference);
	store = opened(at("a.db"), STORE_KEEP);
	free(dump_store(store, &error));
	ok(store_begin(store));
	put_file(store, 2, CHUNK + 10, CHUNK + 10);
	ok(store_remove_chunks(store, 2, 2 * CHUNK, UINT64_MAX));
	put_text(store, 2, CHUNK, "ten bytes!");
	put_file(store, 3, 5, 5);
	commit(store);
	ok(store_close(store));
	assert_query(at("a.db"), "SELECT count(*) FROM inodes WHERE data IS NOT NULL", "0");
	assert_query(at("a.db"), "SELECT group_concat(length(data)) FROM chunks WHERE inode = 2", "65536,10");
	text = dump_of(at("a.db"));
	assert_non_null(strstr(text, "data 3 [0] hello\n"));
	free(text);
	assert_sound(at("a.db"));
}

/* What an INTEGER PRIMARY KEY would be; here it is the order in which they were made. */
static const char no_alias[] =
	"CREATE TABLE inodes (id INT PRIMARY KEY, uid INT, gid INT, mode INT, mtime_ns INT, atime_ns INT, ctime_ns INT,"
	" target BLOB, size INT, rdev INT, data BLOB);"
	"CREATE TABLE contents (rowid INTEGER PRIMARY KEY, name BLOB, inode INT, parent_inode INT);"
	"INSERT INTO inodes VALUES (1, 0, 0, 16877, 1, 1, 1, NULL, 0, 0, NULL),"
	" (3, 0, 0, 33152, 1, 1, 1, NULL, 8, 0, x'6f66207468726565'), (2, 0, 0, 33188, 1, 1, 1, NULL, 6, 0, "
	"x'6f662074776f');"
	"INSERT INTO contents (name, inode, parent_inode) VALUES (x'32', 2, 1), (x'33', 3, 1);";

static void assert_bytes_are_their_own(struct store *store)
{
	struct store_error error = {""};
	char piece[CHUNK], *text = dump_store(store, &error);
	struct store_piece found;

	assert_non_null(text);
	assert_non_null(strstr(text, "data 2 [0] of\\20two\n"));
	assert_non_null(strstr(text, "data 3 [0] of\\20three\n"));
	free(text);
	ok(store_read_piece(store, 2, 6, 0, piece, &found));
	assert_int_equal(found.n, 6);
	assert_memory_equal(piece, "of two", 6);
}

static void files_have_their_own_bytes_where_the_number_is_not_the_rowid(void **state)
{
	struct store *store;

	(void)state;
	run(at("a.db"), no_alias);
	store = opened(at("a.db"), STORE_LOAD);
	assert_bytes_are_their_own(store);
	ok(store_close(store));
	store = opened_and_read(at("a.db"));
	ok(store_begin(store));
	put_text(store, 2, 0, "OF"); /* all of them become chunks */
	ok(store_commit(store, &(struct store_counters){.next_number = 4}));
	assert_query(at("a.db"), "SELECT hex(data) FROM chunks WHERE inode = 2", "4F46");
	ok(store_begin(store));
	ok(store_remove_chunks(store, 3, CHUNK, UINT64_MAX));
	ok(store_commit(store, &(struct store_counters){.next_number = 4}));
	assert_query(at("a.db"), "SELECT CAST(data AS TEXT) FROM chunks WHERE inode = 3", "of three");
	ok(store_close(store));
}

/* By which the bytes of others could be had. */
static void what_has_no_rowids_or_takes_their_name_is_refused(void **state)
{
	struct store_error error;

	(void)state;
	run(at("a.db"), no_alias);
	run(at("a.db"), "ALTER TABLE inodes ADD COLUMN _ROWID_ INT DEFAULT 2");
	assert_int_equal(refusal(at("a.db"), STORE_LOAD, &error), -EMEDIUMTYPE);
	run(at("b.db"), "CREATE TABLE inodes (id INTEGER PRIMARY KEY) WITHOUT ROWID; CREATE TABLE contents (inode)");
	assert_int_equal(refusal(at("b.db"), STORE_LOAD, &error), -EIO);
	assert_non_null(strstr(error.text, "_rowid_"));
}

static void assert_not_read(const char *path, enum store_mode mode, const char *why)
{
	struct store *store = opened(path, mode);
	struct store_error error = {""};

	assert_null(dump_store(store, &error));
	assert_non_null(strstr(error.text, why));
	ok(store_close(store));
}

/* Their bytes as SQL has them are not those of their UTF-8. */
static void texts_of_another_encoding_are_refused(void **state)
{
	static const char *const texts[] = {
		"UPDATE contents SET name = 'text' WHERE inode = 2",
		"UPDATE inodes SET target = 'text' WHERE id = 3",
		"UPDATE inodes SET data = 'text' WHERE id = 2",
	};
	unsigned i;

	(void)state;
	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		run(at("a.db"), utf16);
		run(at("a.db"), texts[i]);
		assert_not_read(at("a.db"), STORE_LOAD, "encoding is not UTF-8");
		assert_not_read(at("a.db"), STORE_KEEP, "encoding is not UTF-8");
		assert_query(at("a.db"), "PRAGMA application_id", "0");
		empty_place();
	}
}

static void blobs_of_another_encoding_are_kept(void **state)
{
	struct store *store;
	char *before, *after;

	(void)state;
	run(at("a.db"), utf16);
	before = dump_of(at("a.db"));
	store = opened_and_read(at("a.db"));
	ok(store_begin(store));
	ok(store_commit(store, &(struct store_counters){.next_number = 4}));
	ok(store_close(store));
	after = dump_of(at("a.db"));
	assert_string_equal(before, after);
	assert_non_null(strstr(after, "data 2 [0] hello\n"));
	assert_non_null(strstr(after, "name 1/a 2\n"));
	free(before);
	free(after);
	assert_sound(at("a.db"));
}

/* ------------------------------------------------------------------------ */
/* The documentation                                                         */

/* docs/format.md; what is between "```sql" and "```" follows one another. */
static char *read_documentation(void)
{
	FILE *file = fopen(DOCS "/format.md", "r");
	char *text = calloc(1, 1 << 16);

	assert_non_null(file);
	assert_non_null(text);
	assert_true(fread(text, 1, (1 << 16) - 1, file) > 0);
	fclose(file);
	return text;
}

/* The next block behind @*at, which is moved; or NULL. */
static char *next_block(const char **at)
{
	const char *begin = strstr(*at, "```sql\n"), *end;

	if (!begin)
		return NULL;
	begin += strlen("```sql\n");
	end = strstr(begin, "```");
	assert_non_null(end);
	*at = end + 3;
	return strndup(begin, (size_t)(end - begin));
}

static void the_documentation_has_the_schema(void **state)
{
	static const char schema[] = "SELECT group_concat(sql, ';') FROM (SELECT sql FROM sqlite_master WHERE sql "
				     "IS NOT NULL ORDER BY type, name)";
	char *documentation = read_documentation(), *block, *expected;
	const char *next = documentation;
	int i;

	(void)state;
	make_tree(at("a.db"));
	for (i = 0; i < 2; i++) { /* tables, views */
		block = next_block(&next);
		assert_non_null(block);
		run(at("b.db"), block);
		free(block);
	}
	expected = query(at("b.db"), schema);
	assert_query(at("a.db"), schema, expected);
	free(expected);
	for (i = 0; (block = next_block(&next)); i++) {
		run(at("a.db"), block);
		free(block);
	}
	assert_int_equal(i, 3);
	expected = query(at("a.db"), "PRAGMA application_id");
	assert_non_null(strstr(documentation, expected));
	free(expected);
	assert_query(at("a.db"), "PRAGMA user_version", "1");
	free(documentation);
}

static void views_show_people_what_there_is(void **state)
{
	(void)state;
	make_tree(at("a.db"));
	assert_query(at("a.db"), "SELECT count(*) FROM files", "10");
	assert_query(
		at("a.db"),
		"SELECT type || ' ' || mode || ' ' || uid || ' ' || size || ' ' || mtime || ' ' || names FROM files "
		"WHERE path = '/sparse'",
		"file 0644 1003 196613 2023-11-14 22:13:21 3");
	assert_query(at("a.db"), "SELECT target FROM files WHERE path = '/link'", "/where/\xff it leads");
	assert_query(at("a.db"), "SELECT inodes || ' ' || size FROM usage WHERE path = '/'", "7 196613");
	assert_query(at("a.db"), "SELECT inodes || ' ' || size FROM usage WHERE path = '/dir'", "1 196613");
	assert_query(at("a.db"), "SELECT count(*) FROM attributes WHERE name = 'user.empty'", "4");
}

/* As its tmpfs.py asks. */
static void queries_of_the_reference_run_unchanged(void **state)
{
	(void)state;
	make_tree(at("a.db"));
	assert_query(at("a.db"), "SELECT parent_inode FROM contents WHERE inode=1", "1");
	assert_query(at("a.db"), "SELECT inode FROM contents WHERE name=x'6469' || x'72' AND parent_inode=1", "");
	assert_query(at("a.db"), "SELECT inode FROM contents WHERE name=x'646972' AND parent_inode=1", "2");
	assert_query(at("a.db"), "SELECT COUNT(inode) FROM contents WHERE inode=3", "3");
	assert_query(at("a.db"), "SELECT target FROM inodes WHERE id=4", "/where/\xff it leads");
	assert_query(at("a.db"), "SELECT SUM(size) FROM inodes", "196613");
	assert_query(at("a.db"),
		     "SELECT count(*) FROM (SELECT * FROM contents WHERE parent_inode=1 AND rowid > -1 "
		     "ORDER BY rowid)",
		     "9");
	run(at("a.db"), "INSERT INTO contents (name, inode, parent_inode) VALUES (x'61', 3, 2);"
			"UPDATE contents SET name=x'62', parent_inode=1 WHERE name=x'61' AND parent_inode=2;"
			"DELETE FROM contents WHERE name=x'62' AND parent_inode=1");
}

/* ------------------------------------------------------------------------ */

#define WITH_PLACE(test) cmocka_unit_test_setup_teardown(test, make_place, remove_place)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_PLACE(what_is_committed_is_read_again),
		WITH_PLACE(what_is_changed_is_read_again),
		WITH_PLACE(what_is_rolled_back_was_never_there),
		WITH_PLACE(the_order_of_writes_within_a_transaction_is_free),
		WITH_PLACE(many_rows_are_as_good_as_one_by_one),
		WITH_PLACE(s1_what_ends_many_rows_is_told_and_the_store_goes_on),
		WITH_PLACE(s3_a_table_of_the_database_does_not_take_the_place_of_rows),
		WITH_PLACE(s3_a_virtual_table_is_none_of_ours),
		WITH_PLACE(s3_views_do_not_run),
		WITH_PLACE(times_that_no_integer_holds_become_the_last_that_one_does),
		WITH_PLACE(a_saved_copy_is_the_same_and_needs_nothing_beside_it),
		WITH_PLACE(the_reference_s_bytes_are_read_in_pieces_too),
		WITH_PLACE(a_great_file_of_the_reference_s_is_read_in_pieces_with_one_look_at_each_page),
		WITH_PLACE(saving_replaces_nothing),
		WITH_PLACE(loading_leaves_the_file_and_its_directory_alone),
		WITH_PLACE(a_load_does_not_see_what_others_change_later),
		WITH_PLACE(a_directory_in_which_nothing_can_be_made_is_loaded_from),
		WITH_PLACE(others_read_while_it_is_kept),
		WITH_PLACE(what_one_mount_keeps_another_cannot),
		WITH_PLACE(a_database_that_somebody_writes_to_is_busy),
		WITH_PLACE(what_cannot_be_written_is_refused_at_once),
		WITH_PLACE(s2_what_nothing_can_be_committed_to_is_refused_before_anything_changes),
		WITH_PLACE(what_is_no_database_of_a_tmpfs_is_refused),
		WITH_PLACE(a_newer_version_is_refused),
		WITH_PLACE(an_empty_file_is_a_new_database),
		WITH_PLACE(counters_are_kept_and_an_unclean_end_skips_numbers),
		WITH_PLACE(s4_the_number_of_chunks_of_no_inode_is_not_given_out),
		WITH_PLACE(a_database_of_the_reference_is_not_written_before_the_first_commit),
		WITH_PLACE(a_database_of_the_reference_becomes_one_of_ours_with_all_it_has),
		WITH_PLACE(views_of_a_person_outlast_the_first_commit),
		WITH_PLACE(the_reference_s_bytes_of_a_file_become_chunks_when_it_changes),
		WITH_PLACE(files_have_their_own_bytes_where_the_number_is_not_the_rowid),
		WITH_PLACE(what_has_no_rowids_or_takes_their_name_is_refused),
		WITH_PLACE(texts_of_another_encoding_are_refused),
		WITH_PLACE(blobs_of_another_encoding_are_kept),
		WITH_PLACE(the_documentation_has_the_schema),
		WITH_PLACE(views_show_people_what_there_is),
		WITH_PLACE(queries_of_the_reference_run_unchanged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
