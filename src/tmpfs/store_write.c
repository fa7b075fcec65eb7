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

/* They stay the caller's, and are read before he has them back. */
static void bind_bytes(sqlite3_stmt *statement, int at, const void *bytes, size_t n)
{
	(void)sqlite3_bind_blob64(statement, at, n > 0 ? bytes : "", n, SQLITE_STATIC);
}

static void give_number(sqlite3_context *context, uint64_t number)
{
	sqlite3_result_int64(context, (sqlite3_int64)number);
}

static void give_time(sqlite3_context *context, const struct timespec *time)
{
	sqlite3_result_int64(context, store_ns_of(time));
}

/* They stay the caller's, and are read before he is asked for the next row. */
static void give_bytes(sqlite3_context *context, const void *bytes, size_t n)
{
	sqlite3_result_blob64(context, n > 0 ? bytes : "", n, SQLITE_STATIC);
}

/* ------------------------------------------------------------------------ */
/* Bytes of files                                                            */

/* Where chunks come from, and the one that is on its way. */
struct chunk_source {
	int (*next)(void *arg, struct store_chunk *chunk);
	void *arg;
	struct store_chunk chunk;
};

static int next_chunk(void *arg)
{
	struct chunk_source *source = arg;

	return source->next(source->arg, &source->chunk);
}

static void chunk_column(void *arg, sqlite3_context *context, int column)
{
	const struct store_chunk *chunk = &((const struct chunk_source *)arg)->chunk;

	assert(chunk->off % STORE_CHUNK_SIZE == 0 && chunk->n > 0 && chunk->n <= STORE_CHUNK_SIZE);
	if (column == 1)
		give_number(context, chunk->number);
	else if (column == 2)
		give_number(context, chunk->off);
	else
		give_bytes(context, chunk->bytes, chunk->n);
}

static int put_chunks(struct store_db *db, int (*next)(void *arg, struct store_chunk *chunk), void *arg)
{
	struct chunk_source source = {.next = next, .arg = arg};
	struct store_rows rows = {.next = next_chunk, .column = chunk_column, .arg = &source};

	return store_run_rows(db, STORE_PUT_CHUNKS, &rows);
}

/* For the one row that there is: it is given, and then no more. */
static int next_of_one(void *arg, struct store_chunk *chunk)
{
	struct store_chunk *one = arg;

	*chunk = *one;
	one->bytes = NULL;
	return chunk->bytes ? 1 : 0;
}

static int put_chunk(struct store_db *db, uint64_t number, uint64_t off, const void *bytes, size_t n)
{
	return put_chunks(db, next_of_one, &(struct store_chunk){.number = number, .off = off, .bytes = bytes, .n = n});
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
	struct store_column column;
	int err;

	if (!store->has_data)
		return 0;
	err = store_find_column(db, number, &column);
	if (err || column.size < 0)
		return err;
	err = store_read_column(db, &column, put_read, &to);
	return err ? err : run_on(db, STORE_FORGET_DATA, number);
}

/* One by one: each of them may have its bytes in the column yet. */
static int move_and_put_chunks(struct store *store, int (*next)(void *arg, struct store_chunk *chunk), void *arg)
{
	struct store_chunk chunk;
	int got, err;

	while ((got = next(arg, &chunk)) > 0) {
		err = store_put_chunk(store, chunk.number, chunk.off, chunk.bytes, chunk.n);
		if (err)
			return err;
	}
	return got;
}

int store_put_chunks(struct store *store, int (*next)(void *arg, struct store_chunk *chunk), void *arg)
{
	return store->has_data ? move_and_put_chunks(store, next, arg) : put_chunks(&store->writer, next, arg);
}

int store_put_chunk(struct store *store, uint64_t number, uint64_t off, const void *bytes, size_t n)
{
	int err;

	err = move_data(store, number);
	return err ? err : put_chunk(&store->writer, number, off, bytes, n);
}

static int remove_chunks(struct store_db *db, uint64_t number, uint64_t from, uint64_t to)
{
	sqlite3_stmt *statement;
	int err;

	err = store_prepare(db, STORE_REMOVE_CHUNKS, &statement);
	if (err)
		return err;
	bind_number(statement, 1, number);
	bind_number(statement, 2, from < INT64_MAX ? from : INT64_MAX);
	bind_number(statement, 3, to < INT64_MAX ? to : INT64_MAX);
	return store_run(db, statement);
}

int store_remove_chunks(struct store *store, uint64_t number, uint64_t from, uint64_t to)
{
	int err;

	err = move_data(store, number);
	return err ? err : remove_chunks(&store->writer, number, from, to);
}

/* ------------------------------------------------------------------------ */
/* Inodes                                                                    */

/* Where inodes come from, and the one that is on its way. */
struct node_source {
	int (*next)(void *arg, struct node *node);
	void *arg;
	struct node node;
};

static int next_node(void *arg)
{
	struct node_source *source = arg;

	return source->next(source->arg, &source->node);
}

static void node_column(void *arg, sqlite3_context *context, int column)
{
	const struct node *node = &((const struct node_source *)arg)->node;
	const uint64_t numbers[] = {
		[1] = node->number, [2] = node->uid,   [3] = node->gid,        [4] = node->mode,
		[9] = node->size,   [10] = node->rdev, [12] = node->allocated,
	};

	switch (column) {
	case 5:
		give_time(context, &node->mtime);
		break;
	case 6:
		give_time(context, &node->atime);
		break;
	case 7:
		give_time(context, &node->ctime);
		break;
	case 8:
		if (node->target)
			give_bytes(context, node->target, node->target_len);
		break; /* NULL otherwise */
	case 11:
		give_time(context, &node->btime);
		break;
	default:
		give_number(context, numbers[column]);
		break;
	}
}

static int put_nodes(struct store_db *db, int (*next)(void *arg, struct node *node), void *arg)
{
	struct node_source source = {.next = next, .arg = arg};
	struct store_rows rows = {.next = next_node, .column = node_column, .arg = &source};

	return store_run_rows(db, STORE_PUT_NODES, &rows);
}

/* For the one row that there is. */
static int next_of_one_node(void *arg, struct node *node)
{
	const struct node **one = arg;
	const bool is_one = *one != NULL;

	if (is_one)
		*node = **one;
	*one = NULL;
	return is_one;
}

int store_put_node(struct store *store, const struct node *node)
{
	int err;

	err = move_data(store, node->number);
	return err ? err : put_nodes(&store->writer, next_of_one_node, &node);
}

/* One by one: each of them may have its bytes in the column yet. */
static int move_and_put_nodes(struct store *store, int (*next)(void *arg, struct node *node), void *arg)
{
	struct node node;
	int got, err;

	while ((got = next(arg, &node)) > 0) {
		err = store_put_node(store, &node);
		if (err)
			return err;
	}
	return got;
}

int store_put_nodes(struct store *store, int (*next)(void *arg, struct node *node), void *arg)
{
	return store->has_data ? move_and_put_nodes(store, next, arg) : put_nodes(&store->writer, next, arg);
}

int store_remove_node(struct store *store, uint64_t number)
{
	struct store_db *db = &store->writer;
	int err = remove_chunks(db, number, 0, INT64_MAX);

	if (!err)
		err = run_on(db, STORE_CLEAR_XATTRS, number);
	return err ? err : run_on(db, STORE_REMOVE_NODE, number);
}

/* ------------------------------------------------------------------------ */
/* Names and extended attributes                                             */

/* Where names come from, and the one that is on its way. */
struct name_source {
	int (*next)(void *arg, struct store_name *name);
	void *arg;
	struct store_name name;
};

static int next_name(void *arg)
{
	struct name_source *source = arg;

	return source->next(source->arg, &source->name);
}

static void name_column(void *arg, sqlite3_context *context, int column)
{
	const struct store_name *name = &((const struct name_source *)arg)->name;

	if (column == 1)
		give_number(context, name->parent);
	else if (column == 2)
		give_bytes(context, name->bytes, name->len);
	else
		give_number(context, name->number);
}

int store_put_names(struct store *store, int (*next)(void *arg, struct store_name *name), void *arg)
{
	struct name_source source = {.next = next, .arg = arg};
	struct store_rows rows = {.next = next_name, .column = name_column, .arg = &source};

	return store_run_rows(&store->writer, STORE_PUT_NAMES, &rows);
}

/* For the one row that there is. */
static int next_of_one_name(void *arg, struct store_name *name)
{
	struct store_name *one = arg;

	*name = *one;
	one->bytes = NULL;
	return name->bytes ? 1 : 0;
}

int store_put_name(struct store *store, uint64_t parent, const char *name, size_t len, uint64_t number)
{
	return store_put_names(store, next_of_one_name,
			       &(struct store_name){.parent = parent, .bytes = name, .len = len, .number = number});
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
	struct store_db *db = &store->writer;
	int err = store_do(db, STORE_REMOVE_NAMELESS);

	if (!err)
		err = store_do(db, STORE_REMOVE_LOST_CHUNKS);
	return err ? err : store_do(db, STORE_REMOVE_LOST_XATTRS);
}
