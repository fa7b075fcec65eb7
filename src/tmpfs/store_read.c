/* SPDX-License-Identifier: MIT */
/* The store: reading a tree.  Looks at each row by itself and trusts none.  See store.h. */
#include "store_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define NS_PER_S INT64_C(1000000000)

/* A number in a message: what a column holds may be anything. */
static long long shown(sqlite3_stmt *row, int column)
{
	return sqlite3_column_int64(row, column);
}

struct timespec store_time_of(int64_t ns)
{
	int64_t seconds = ns / NS_PER_S, rest = ns % NS_PER_S;

	if (rest < 0)
		return (struct timespec){.tv_sec = seconds - 1, .tv_nsec = rest + NS_PER_S};
	return (struct timespec){.tv_sec = seconds, .tv_nsec = rest};
}

/* ------------------------------------------------------------------------ */
/* Rows                                                                      */

/* Calls take() for each row of @sql.  Returns 0, what take() returned but 0, or -errno. */
static int for_each_row(struct store_db *db, const char *sql,
			int (*take)(sqlite3_stmt *row, void *arg, struct store_error *error), void *arg,
			struct store_error *error)
{
	sqlite3_stmt *statement;
	int result, err = 0;

	result = sqlite3_prepare_v2(db->handle, sql, -1, &statement, NULL);
	if (result != SQLITE_OK)
		return store_explain(error, store_failure(db, result));
	while (!err && (result = sqlite3_step(statement)) == SQLITE_ROW)
		err = take(statement, arg, error);
	if (!err && result != SQLITE_DONE)
		err = store_explain(error, store_failure(db, result));
	(void)sqlite3_finalize(statement); /* says again what step() said */
	return err;
}

/* The bytes of a blob or a text; NULL if there is no memory. */
static const void *bytes_of(sqlite3_stmt *row, int column, size_t *n)
{
	const void *bytes;

	bytes = sqlite3_column_type(row, column) == SQLITE_TEXT ? (const void *)sqlite3_column_text(row, column)
								: sqlite3_column_blob(row, column);
	*n = (size_t)sqlite3_column_bytes(row, column);
	return bytes || *n > 0 ? bytes : "";
}

static bool is_bytes(sqlite3_stmt *row, int column)
{
	int type = sqlite3_column_type(row, column);

	return type == SQLITE_BLOB || type == SQLITE_TEXT;
}

/* What the columns of a node are. */
enum node_column {
	NODE_ID,
	NODE_MODE,
	NODE_UID,
	NODE_GID,
	NODE_RDEV,
	NODE_SIZE,
	NODE_ALLOCATED,
	NODE_ATIME,
	NODE_MTIME,
	NODE_CTIME,
	NODE_BTIME,
	NODE_TARGET,
	NODE_DATA_TYPE,
};

static const struct {
	const char *name;
	int64_t min, max;
} node_columns[] = {
	[NODE_ID] = {"id", 1, NODE_NUMBER_MAX},
	[NODE_MODE] = {"mode", 0, UINT16_MAX},
	[NODE_UID] = {"uid", 0, UINT32_MAX - 1},
	[NODE_GID] = {"gid", 0, UINT32_MAX - 1},
	[NODE_RDEV] = {"rdev", 0, UINT32_MAX},
	[NODE_SIZE] = {"size", 0, INT64_MAX},
	[NODE_ALLOCATED] = {"allocated", 0, INT64_MAX},
	[NODE_ATIME] = {"atime_ns", INT64_MIN, INT64_MAX},
	[NODE_MTIME] = {"mtime_ns", INT64_MIN, INT64_MAX},
	[NODE_CTIME] = {"ctime_ns", INT64_MIN, INT64_MAX},
	[NODE_BTIME] = {"btime_ns", INT64_MIN, INT64_MAX},
};

/* Where nobody said what is allocated, it is what there is. */
#define ALLOCATED_DATA "CASE typeof(data) WHEN 'text' THEN length(CAST(data AS BLOB)) ELSE length(data) END"
#define NODES_BEFORE "SELECT id, mode, uid, gid, rdev, size, "
/* Where nobody said when it was born, it is the earliest that is known. */
#define NODES_BEHIND ", min(atime_ns, mtime_ns, ctime_ns)), target, typeof(data) FROM inodes ORDER BY id"

static const char nodes_of_reference[] =
	NODES_BEFORE "coalesce(" ALLOCATED_DATA ", 0), atime_ns, mtime_ns, ctime_ns, coalesce(NULL" NODES_BEHIND;
static const char nodes_of_ours[] =
	NODES_BEFORE "coalesce(allocated, " ALLOCATED_DATA ", "
		     "(SELECT sum(length(c.data)) FROM chunks AS c WHERE c.inode = inodes.id), 0), "
		     "atime_ns, mtime_ns, ctime_ns, coalesce(btime_ns" NODES_BEHIND;

/* A reading under way. */
struct reading {
	struct store *store;
	const struct store_reader *reader;
	uint64_t last; /* the greatest number up to now */
};

static int check_integer(sqlite3_stmt *row, int column, struct store_error *error)
{
	const char *name = node_columns[column].name;
	int64_t value = sqlite3_column_int64(row, column);

	if (sqlite3_column_type(row, column) != SQLITE_INTEGER)
		return store_say(error, -EUCLEAN, "inode %lld: %s is no integer", shown(row, NODE_ID), name);
	if (value < node_columns[column].min || value > node_columns[column].max)
		return store_say(error, -EUCLEAN, "inode %lld: %s is %" PRId64 ", which cannot be", shown(row, NODE_ID),
				 name, value);
	return 0;
}

static int check_node(sqlite3_stmt *row, const struct reading *reading, struct store_error *error)
{
	int column, err = 0;

	for (column = NODE_ID; !err && column <= NODE_BTIME; column++)
		err = check_integer(row, column, error);
	if (err)
		return err;
	if ((uint64_t)sqlite3_column_int64(row, NODE_ID) <= reading->last)
		return store_say(error, -EUCLEAN, "inode %lld: there are two of it", shown(row, NODE_ID));
	if (sqlite3_column_type(row, NODE_TARGET) != SQLITE_NULL && !is_bytes(row, NODE_TARGET))
		return store_say(error, -EUCLEAN, "inode %lld: its target is a number", shown(row, NODE_ID));
	return 0;
}

/* What the column data holds is read later; here it is only known whether there is something. */
static int note_data(sqlite3_stmt *row, struct store *store, struct store_error *error)
{
	const char *type = (const char *)sqlite3_column_text(row, NODE_DATA_TYPE);

	if (!type)
		return store_say(error, -ENOMEM, "there is not enough memory");
	if (strcmp(type, "null") == 0)
		return 0;
	if (strcmp(type, "blob") != 0 && strcmp(type, "text") != 0)
		return store_say(error, -EUCLEAN, "inode %lld: its data is a number", shown(row, NODE_ID));
	store->has_data = true;
	store->has_text = store->has_text || type[0] == 't';
	return 0;
}

static int take_target(sqlite3_stmt *row, struct store *store, struct node *node, struct store_error *error)
{
	if (!S_ISLNK(node->mode) || !is_bytes(row, NODE_TARGET))
		return 0;
	store->has_text = store->has_text || sqlite3_column_type(row, NODE_TARGET) == SQLITE_TEXT;
	node->target = bytes_of(row, NODE_TARGET, &node->target_len);
	return node->target ? 0 : store_say(error, -ENOMEM, "there is not enough memory");
}

static int take_node(sqlite3_stmt *row, void *arg, struct store_error *error)
{
	struct reading *reading = arg;
	struct node node;
	int err;

	err = check_node(row, reading, error);
	if (!err)
		err = note_data(row, reading->store, error);
	if (err)
		return err;
	node = (struct node){
		.number = (uint64_t)sqlite3_column_int64(row, NODE_ID),
		.mode = (mode_t)sqlite3_column_int64(row, NODE_MODE),
		.uid = (uid_t)sqlite3_column_int64(row, NODE_UID),
		.gid = (gid_t)sqlite3_column_int64(row, NODE_GID),
		.atime = store_time_of(sqlite3_column_int64(row, NODE_ATIME)),
		.mtime = store_time_of(sqlite3_column_int64(row, NODE_MTIME)),
		.ctime = store_time_of(sqlite3_column_int64(row, NODE_CTIME)),
		.btime = store_time_of(sqlite3_column_int64(row, NODE_BTIME)),
	};
	if (S_ISCHR(node.mode) || S_ISBLK(node.mode))
		node.rdev = (dev_t)sqlite3_column_int64(row, NODE_RDEV);
	if (S_ISREG(node.mode)) {
		node.size = (uint64_t)sqlite3_column_int64(row, NODE_SIZE);
		node.allocated = (uint64_t)sqlite3_column_int64(row, NODE_ALLOCATED);
	}
	err = take_target(row, reading->store, &node, error);
	if (err)
		return err;
	reading->last = node.number;
	return reading->reader->node(reading->reader->arg, &node, error);
}

static int take_xattr(sqlite3_stmt *row, void *arg, struct store_error *error)
{
	struct reading *reading = arg;
	size_t name_len, size;
	const char *name;
	const void *value;
	char *copy;
	int err;

	if (sqlite3_column_type(row, 0) != SQLITE_INTEGER || !is_bytes(row, 1) || !is_bytes(row, 2))
		return store_say(error, -EUCLEAN, "inode %lld: an extended attribute has the wrong types",
				 shown(row, 0));
	name = bytes_of(row, 1, &name_len);
	value = bytes_of(row, 2, &size);
	if (!name || !value)
		return store_say(error, -ENOMEM, "there is not enough memory");
	if (name_len == 0 || memchr(name, '\0', name_len))
		return store_say(error, -EUCLEAN, "inode %lld: an extended attribute has a name that cannot be",
				 shown(row, 0));
	/* SQLite puts a NUL behind a text alone. */
	copy = strndup(name, name_len);
	if (!copy)
		return store_say(error, -ENOMEM, "there is not enough memory");
	err = reading->reader->xattr(reading->reader->arg, (uint64_t)sqlite3_column_int64(row, 0), copy, value, size,
				     error);
	free(copy);
	return err;
}

/* The reference's name for the parent of the root. */
static bool is_root_name(sqlite3_stmt *row, const char *name, size_t len)
{
	return sqlite3_column_int64(row, 0) == STORE_ROOT && sqlite3_column_int64(row, 2) == STORE_ROOT && len == 2 &&
	       memcmp(name, "..", 2) == 0;
}

static int take_name(sqlite3_stmt *row, void *arg, struct store_error *error)
{
	struct reading *reading = arg;
	const char *name;
	size_t len;

	if (sqlite3_column_type(row, 0) != SQLITE_INTEGER || sqlite3_column_type(row, 2) != SQLITE_INTEGER)
		return store_say(error, -EUCLEAN, "inode %lld: a name of it, or its parent, has the wrong type",
				 shown(row, 2));
	if (!is_bytes(row, 1))
		return store_say(error, -EUCLEAN, "inode %lld: a name of it is a number", shown(row, 2));
	reading->store->has_text = reading->store->has_text || sqlite3_column_type(row, 1) == SQLITE_TEXT;
	name = bytes_of(row, 1, &len);
	if (!name)
		return store_say(error, -ENOMEM, "there is not enough memory");
	if (is_root_name(row, name, len))
		return 0;
	return reading->reader->name(reading->reader->arg, (uint64_t)sqlite3_column_int64(row, 0), name, len,
				     (uint64_t)sqlite3_column_int64(row, 2), error);
}

static int take_state(sqlite3_stmt *row, void *arg, struct store_error *error)
{
	struct store_counters *counters = arg;
	int64_t next = sqlite3_column_int64(row, 0), generation = sqlite3_column_int64(row, 1);

	if (next < 1 || (uint64_t)next > NODE_NUMBER_MAX + 1 || generation < 0 || generation > UINT32_MAX)
		return store_say(error, -EUCLEAN,
				 "its counters cannot be: next_number %" PRId64 ", generation %" PRId64, next,
				 generation);
	counters->next_number = (uint64_t)next;
	if (sqlite3_column_int64(row, 2) == 0)
		counters->next_number = counters->next_number < NODE_NUMBER_MAX - STORE_SKIP
						? counters->next_number + STORE_SKIP
						: NODE_NUMBER_MAX + 1;
	counters->generation = (uint32_t)generation;
	return 0;
}

/* ------------------------------------------------------------------------ */
/* The tree                                                                  */

static int take_lost_chunk(sqlite3_stmt *row, void *arg, struct store_error *error)
{
	struct reading *reading = arg;
	int64_t number = sqlite3_column_int64(row, 0);

	(void)error;
	if (number > 0 && (uint64_t)number > reading->last)
		reading->last = (uint64_t)number;
	return 0;
}

/* Chunks of no inode would be bytes of the one that gets its number.  What no number can be is not looked for, and what is no
 * number sorts behind them all. */
static int skip_lost_chunks(struct store_db *db, struct reading *reading, struct store_error *error)
{
	char sql[128];

	(void)snprintf(sql, sizeof(sql),
		       "SELECT inode FROM chunks WHERE inode <= %" PRIu64 " ORDER BY inode DESC LIMIT 1",
		       NODE_NUMBER_MAX); /* as long */
	return for_each_row(db, sql, take_lost_chunk, reading, error);
}

static int read_counters(struct store_db *db, struct reading *reading, struct store_counters *counters,
			 struct store_error *error)
{
	int err = 0;

	*counters = (struct store_counters){0};
	if (reading->store->kind == STORE_IS_OURS)
		err = for_each_row(db, "SELECT next_number, generation, is_clean FROM state WHERE id = 1", take_state,
				   counters, error);
	if (!err && reading->store->kind == STORE_IS_OURS)
		err = skip_lost_chunks(db, reading, error);
	if (err)
		return err;
	if (counters->next_number <= reading->last)
		counters->next_number = reading->last + 1;
	if (reading->store->mode == STORE_LOAD)
		counters->generation = 0;
	return 0;
}

/* A text counts as its UTF-8.  What CAST and a blob handle give of it is in the encoding of the database. */
static int check_encoding(struct store_db *db, const struct store *store, struct store_error *error)
{
	int64_t bytes;
	int err;

	if (!store->has_text)
		return 0;
	err = store_query(db, "SELECT length(CAST('a' AS BLOB))", &bytes);
	if (err)
		return store_explain(error, err);
	return bytes == 1
		       ? 0
		       : store_say(
				 error, -EUCLEAN,
				 "its encoding is not UTF-8, and names, targets or data in it are texts and no blobs");
}

static int read_all(struct store_db *db, struct reading *reading, struct store_counters *counters,
		    struct store_error *error)
{
	bool is_ours = reading->store->kind == STORE_IS_OURS;
	int err;

	reading->store->has_data = false;
	err = for_each_row(db, is_ours ? nodes_of_ours : nodes_of_reference, take_node, reading, error);
	if (!err && is_ours)
		err = for_each_row(db, "SELECT inode, name, value FROM xattrs", take_xattr, reading, error);
	if (!err)
		err = for_each_row(db, "SELECT parent_inode, name, inode FROM contents", take_name, reading, error);
	if (!err)
		err = check_encoding(db, reading->store, error);
	if (!err)
		err = read_counters(db, reading, counters, error);
	if (err)
		reading->store->has_data = true; /* as far as is known */
	return err;
}

int store_read_tree(struct store *store, const struct store_reader *reader, struct store_counters *counters,
		    struct store_error *error)
{
	struct store_db *db = store->mode == STORE_LOAD ? &store->reader : &store->writer;
	struct reading reading = {.store = store, .reader = reader};
	int err;

	pthread_mutex_lock(&store->read_lock);
	err = store->mode == STORE_LOAD ? 0 : store_do(db, STORE_BEGIN_READ);
	if (err)
		err = store_explain(error, err);
	else
		err = read_all(db, &reading, counters, error);
	if (store->mode != STORE_LOAD)
		store_rollback(store); /* nothing was written */
	pthread_mutex_unlock(&store->read_lock);
	return err;
}
