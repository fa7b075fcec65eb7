/* SPDX-License-Identifier: MIT */
/* The store: writing.  See store.h. */
#include "store_internal.h"

#include "xattr.h"

#include <assert.h>
#include <errno.h>
#include <sys/stat.h>

#define NS_PER_S INT64_C(1000000000)

/* Times before 1677 and after 2262 become the first and the last that there are. */
int64_t store_ns_of(const struct timespec *time)
{
	int64_t ns;

	if (__builtin_mul_overflow((int64_t)time->tv_sec, NS_PER_S, &ns) ||
	    __builtin_add_overflow(ns, time->tv_nsec, &ns))
		return time->tv_sec < 0 ? INT64_MIN : INT64_MAX;
	return ns;
}

static void bind_number(sqlite3_stmt *statement, int at, uint64_t number)
{
	(void)sqlite3_bind_int64(statement, at, (sqlite3_int64)number);
}

static void bind_time(sqlite3_stmt *statement, int at, const struct timespec *time)
{
	(void)sqlite3_bind_int64(statement, at, store_ns_of(time));
}

/* They stay the caller's, and are read before he has them back. */
static void bind_bytes(sqlite3_stmt *statement, int at, const void *bytes, size_t n)
{
	(void)sqlite3_bind_blob64(statement, at, n > 0 ? bytes : "", n, SQLITE_STATIC);
}

/* ------------------------------------------------------------------------ */
/* Bytes of files                                                            */

static int put_chunk(struct store_db *db, uint64_t number, uint64_t off, const void *bytes, size_t n)
{
	sqlite3_stmt *statement;
	int err;

	err = store_prepare(db, STORE_PUT_CHUNK, &statement);
	if (err)
		return err;
	bind_number(statement, 1, number);
	bind_number(statement, 2, off);
	bind_bytes(statement, 3, bytes, n);
	return store_run(db, statement);
}

/* Where what is read goes to. */
struct destination {
	struct store_db *db;
	uint64_t number;
};

static int put_read(void *arg, uint64_t off, const void *bytes, size_t n)
{
	const struct destination *to = arg;

	return put_chunk(to->db, to->number, off, bytes, n);
}

static int run_on(struct store_db *db, enum store_statement which, uint64_t number)
{
	sqlite3_stmt *statement;
	int err;

	err = store_prepare(db, which, &statement);
	if (err)
		return err;
	bind_number(statement, 1, number);
	return store_run(db, statement);
}

/*
 * The reference keeps the bytes of a file in its row.  Before anything of such a file changes they become chunks, all of
 * them: what is in both places would have two meanings.
 */
static int move_data(struct store *store, uint64_t number)
{
	struct store_db *db = &store->writer;
	struct destination to = {.db = db, .number = number};
	int64_t size;
	int err;

	if (!store->has_data)
		return 0;
	err = store_find_column(db, number, &size);
	if (err || size < 0)
		return err;
	err = store_read_column(db, number, size, put_read, &to);
	return err ? err : run_on(db, STORE_FORGET_DATA, number);
}

int store_put_chunk(struct store *store, uint64_t number, uint64_t off, const void *bytes, size_t n)
{
	int err;

	assert(off % STORE_CHUNK_SIZE == 0 && n > 0 && n <= STORE_CHUNK_SIZE);
	err = move_data(store, number);
	return err ? err : put_chunk(&store->writer, number, off, bytes, n);
}

int store_remove_chunks(struct store *store, uint64_t number, uint64_t from, uint64_t to)
{
	struct store_db *db = &store->writer;
	sqlite3_stmt *statement;
	int err;

	err = move_data(store, number);
	if (!err)
		err = store_prepare(db, STORE_REMOVE_CHUNKS, &statement);
	if (err)
		return err;
	bind_number(statement, 1, number);
	bind_number(statement, 2, from < INT64_MAX ? from : INT64_MAX);
	bind_number(statement, 3, to < INT64_MAX ? to : INT64_MAX);
	return store_run(db, statement);
}

int store_copy_data(struct store *to, struct store *from, uint64_t number)
{
	struct destination destination = {.db = &to->writer, .number = number};

	return store_read_data(from, number, INT64_MAX, put_read, &destination);
}

/* ------------------------------------------------------------------------ */
/* Inodes                                                                    */

static void bind_node(sqlite3_stmt *statement, const struct node *node)
{
	bind_number(statement, 1, node->number);
	bind_number(statement, 2, node->uid);
	bind_number(statement, 3, node->gid);
	bind_number(statement, 4, node->mode);
	bind_time(statement, 5, &node->mtime);
	bind_time(statement, 6, &node->atime);
	bind_time(statement, 7, &node->ctime);
	if (node->target)
		bind_bytes(statement, 8, node->target, node->target_len);
	else
		(void)sqlite3_bind_null(statement, 8);
	bind_number(statement, 9, node->size);
	bind_number(statement, 10, node->rdev);
	bind_time(statement, 11, &node->btime);
	bind_number(statement, 12, node->allocated);
}

int store_put_node(struct store *store, const struct node *node)
{
	sqlite3_stmt *statement;
	int err;

	err = move_data(store, node->number);
	if (!err)
		err = store_prepare(&store->writer, STORE_PUT_NODE, &statement);
	if (err)
		return err;
	bind_node(statement, node);
	return store_run(&store->writer, statement);
}

int store_remove_node(struct store *store, uint64_t number)
{
	return run_on(&store->writer, STORE_REMOVE_NODE, number);
}

/* ------------------------------------------------------------------------ */
/* Names and extended attributes                                             */

int store_put_name(struct store *store, uint64_t parent, const char *name, size_t len, uint64_t number)
{
	sqlite3_stmt *statement;
	int err;

	err = store_prepare(&store->writer, STORE_PUT_NAME, &statement);
	if (err)
		return err;
	bind_number(statement, 1, parent);
	bind_bytes(statement, 2, name, len);
	bind_number(statement, 3, number);
	return store_run(&store->writer, statement);
}

int store_remove_name(struct store *store, uint64_t parent, const char *name, size_t len)
{
	sqlite3_stmt *statement;
	int err;

	err = store_prepare(&store->writer, STORE_REMOVE_NAME, &statement);
	if (err)
		return err;
	bind_number(statement, 1, parent);
	bind_bytes(statement, 2, name, len);
	return store_run(&store->writer, statement);
}

static int put_xattr(struct store_db *db, uint64_t number, const struct xattr *xattr)
{
	sqlite3_stmt *statement;
	int err;

	err = store_prepare(db, STORE_PUT_XATTR, &statement);
	if (err)
		return err;
	bind_number(statement, 1, number);
	bind_bytes(statement, 2, xattr->name, xattr->name_len);
	bind_bytes(statement, 3, xattr_value(xattr), xattr->size);
	return store_run(db, statement);
}

int store_put_xattrs(struct store *store, uint64_t number, const struct xattr *xattrs)
{
	int err;

	err = run_on(&store->writer, STORE_CLEAR_XATTRS, number);
	for (; !err && xattrs; xattrs = xattrs->next)
		err = put_xattr(&store->writer, number, xattrs);
	return err;
}

int store_remove_all_names(struct store *store)
{
	return store_do(&store->writer, STORE_REMOVE_ALL_NAMES);
}

int store_remove_nameless(struct store *store)
{
	return store_do(&store->writer, STORE_REMOVE_NAMELESS);
}
