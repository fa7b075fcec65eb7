/* SPDX-License-Identifier: MIT */
/* The store: reading the bytes of files.  See store.h. */
#include "store_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------ */
/* All of a file, from the column data or from chunks                        */

typedef int put_piece(void *arg, uint64_t off, const void *bytes, size_t n);

/* In pieces that the chunks could be too. */
static int read_blob(struct store_db *db, sqlite3_blob *blob, int64_t size, put_piece *put, void *arg)
{
	char *piece = malloc(STORE_CHUNK_SIZE);
	int64_t off, end = sqlite3_blob_bytes(blob);
	int n, result, err = 0;

	if (!piece)
		return store_refuse(-ENOMEM, "out of memory");
	if (end > size)
		end = size;
	for (off = 0; !err && off < end; off += n) {
		n = (int)(end - off < STORE_CHUNK_SIZE ? end - off : STORE_CHUNK_SIZE);
		result = sqlite3_blob_read(blob, piece, n, (int)off);
		err = result == SQLITE_OK ? put(arg, (uint64_t)off, piece, (size_t)n) : store_failure(db, result);
	}
	free(piece);
	return err;
}

static int open_blob(struct store_db *db, const struct store_column *column, sqlite3_blob **blob)
{
	int result = sqlite3_blob_open(db->handle, "main", "inodes", "data", column->rowid, 0, blob);

	return result == SQLITE_OK ? 0 : store_failure(db, result);
}

int store_read_column(struct store_db *db, const struct store_column *column, put_piece *put, void *arg)
{
	sqlite3_blob *blob;
	int err;

	err = open_blob(db, column, &blob);
	if (err)
		return err;
	err = read_blob(db, blob, column->size, put, arg);
	(void)sqlite3_blob_close(blob); /* it was only read */
	return err;
}

static int check_chunk(sqlite3_stmt *row, uint64_t number, uint64_t size)
{
	int64_t off = sqlite3_column_int64(row, 0);
	int n = sqlite3_column_bytes(row, 1);

	if (sqlite3_column_type(row, 0) != SQLITE_INTEGER || sqlite3_column_type(row, 1) != SQLITE_BLOB || off < 0 ||
	    off % STORE_CHUNK_SIZE != 0 || n < 1 || n > STORE_CHUNK_SIZE || (uint64_t)off >= size ||
	    (uint64_t)n > size - (uint64_t)off)
		return store_refuse(-EIO, "inode %" PRIu64 ": a chunk at %" PRId64 " cannot be", number, off);
	return 0;
}

static int read_chunks(struct store_db *db, uint64_t number, uint64_t size, put_piece *put, void *arg)
{
	sqlite3_stmt *statement;
	const void *bytes;
	int result = SQLITE_DONE, err;

	err = store_prepare(db, STORE_READ_CHUNKS, &statement);
	if (err)
		return err;
	(void)sqlite3_bind_int64(statement, 1, (sqlite3_int64)number);
	while (!err && (result = sqlite3_step(statement)) == SQLITE_ROW) {
		bytes = sqlite3_column_blob(statement, 1);
		err = check_chunk(statement, number, size);
		if (!err && !bytes)
			err = store_failure(db, SQLITE_NOMEM);
		if (!err)
			err = put(arg, (uint64_t)sqlite3_column_int64(statement, 0), bytes,
				  (size_t)sqlite3_column_bytes(statement, 1));
	}
	if (!err && result != SQLITE_DONE)
		err = store_failure(db, result);
	(void)sqlite3_reset(statement); /* says again what step() said */
	return err;
}

int store_find_column(struct store_db *db, uint64_t number, struct store_column *column)
{
	sqlite3_stmt *statement;
	const char *type;
	int result, err;

	err = store_prepare(db, STORE_READ_DATA, &statement);
	if (err)
		return err;
	(void)sqlite3_bind_int64(statement, 1, (sqlite3_int64)number);
	result = sqlite3_step(statement);
	column->size = -1;
	if (result == SQLITE_ROW) {
		column->rowid = sqlite3_column_int64(statement, 2);
		type = (const char *)sqlite3_column_text(statement, 1);
		if (!type)
			err = store_failure(db, SQLITE_NOMEM);
		else if (strcmp(type, "blob") == 0 || strcmp(type, "text") == 0)
			column->size = sqlite3_column_int64(statement, 0);
	} else if (result != SQLITE_DONE) {
		err = store_failure(db, result);
	}
	(void)sqlite3_reset(statement); /* says again what step() said */
	return err;
}

/* ------------------------------------------------------------------------ */
/* All of it, or one piece                                                   */

/* What is read: all, or one piece. */
struct wanted {
	uint64_t number, size;
	int (*put)(void *arg, uint64_t off, const void *bytes, size_t n); /* all: for this */
	void *arg;
	uint64_t off; /* one: there */
	void *buf;
	struct store_piece *piece; /* NULL: all */
};

static int open_column(struct store *store, uint64_t number, const struct store_column *column)
{
	const int64_t size = column->size;
	sqlite3_blob *blob;
	int err;

	err = open_blob(&store->reader, column, &blob);
	if (err)
		return err;
	store->column = blob;
	store->column_number = number;
	store->column_size = sqlite3_blob_bytes(blob) < size ? sqlite3_blob_bytes(blob) : size;
	return 0;
}

static void close_column(struct store *store)
{
	if (!store->column)
		return;
	(void)sqlite3_blob_close(store->column); /* it was only read */
	store->column = NULL;
}

static int read_column_piece(struct store *store, const struct wanted *wanted)
{
	struct store_piece *piece = wanted->piece;
	const uint64_t off = wanted->off;
	uint64_t end = (uint64_t)store->column_size;
	int result;

	if (end > wanted->size)
		end = wanted->size;
	if (off >= end)
		return 0;
	piece->n = end - off < STORE_CHUNK_SIZE ? (size_t)(end - off) : STORE_CHUNK_SIZE;
	piece->end = off + STORE_CHUNK_SIZE;
	result = sqlite3_blob_read(store->column, wanted->buf, (int)piece->n, (int)off);
	return result == SQLITE_OK ? 0 : store_failure(&store->reader, result);
}

static bool is_in_open_column(const struct store *store, const struct wanted *wanted)
{
	return store->column && wanted->piece && wanted->number == store->column_number;
}

/* Without a log, whoever reads holds up commits: not from one piece to the next. */
static bool is_column_kept(const struct store *store, const struct wanted *wanted)
{
	return is_in_open_column(store, wanted) && (store->mode == STORE_LOAD || store->has_log) &&
	       wanted->off + STORE_CHUNK_SIZE < (uint64_t)store->column_size;
}

/* The first row that is at the place or behind it. */
static int take_chunk(struct store_db *db, sqlite3_stmt *row, const struct wanted *wanted)
{
	struct store_piece *piece = wanted->piece;
	const void *bytes = sqlite3_column_blob(row, 1);
	const uint64_t at = (uint64_t)sqlite3_column_int64(row, 0);
	int err = check_chunk(row, wanted->number, wanted->size);

	if (err)
		return err;
	if (!bytes)
		return store_failure(db, SQLITE_NOMEM);
	piece->end = at;
	if (at > wanted->off)
		return 0;
	piece->end = at + STORE_CHUNK_SIZE;
	piece->n = (size_t)sqlite3_column_bytes(row, 1);
	memcpy(wanted->buf, bytes, piece->n);
	return 0;
}

static int read_chunk_piece(struct store_db *db, const struct wanted *wanted)
{
	sqlite3_stmt *statement;
	int result, err;

	err = store_prepare(db, STORE_READ_CHUNK, &statement);
	if (err)
		return err;
	(void)sqlite3_bind_int64(statement, 1, (sqlite3_int64)wanted->number);
	/* One that begins where none does is found as well. */
	(void)sqlite3_bind_int64(statement, 2, (sqlite3_int64)wanted->off - STORE_CHUNK_SIZE);
	result = sqlite3_step(statement);
	if (result == SQLITE_ROW)
		err = take_chunk(db, statement, wanted);
	else if (result != SQLITE_DONE)
		err = store_failure(db, result);
	(void)sqlite3_reset(statement); /* says again what step() said */
	return err;
}

/* One of the reference's has none. */
static int find_chunks(struct store_db *db, bool *has_chunks)
{
	int64_t tables = 1;
	int err = 0;

	if (!db->statements[STORE_READ_CHUNKS] && !db->statements[STORE_READ_CHUNK])
		err = store_query(db, "SELECT count(*) FROM sqlite_master WHERE name = 'chunks'", &tables);
	*has_chunks = tables > 0;
	return err;
}

static int read_from_column(struct store *store, const struct wanted *wanted, struct store_column *column)
{
	int err;

	if (!wanted->piece) {
		if ((uint64_t)column->size > wanted->size)
			column->size = (int64_t)wanted->size;
		return store_read_column(&store->reader, column, wanted->put, wanted->arg);
	}
	err = open_column(store, wanted->number, column);
	return err ? err : read_column_piece(store, wanted);
}

static int read_bytes(struct store *store, const struct wanted *wanted)
{
	struct store_db *db = &store->reader;
	struct store_column column;
	bool has_chunks;
	int err;

	err = store_find_column(db, wanted->number, &column);
	if (err)
		return err;
	if (column.size >= 0)
		return read_from_column(store, wanted, &column);
	err = find_chunks(db, &has_chunks);
	if (err || !has_chunks)
		return err;
	return wanted->piece ? read_chunk_piece(db, wanted)
			     : read_chunks(db, wanted->number, wanted->size, wanted->put, wanted->arg);
}

/* All of it as one commit left it. */
static int begin_reading(struct store *store)
{
	int err;

	if (store->mode == STORE_LOAD)
		return 0;
	err = store_open_reader(store);
	return err ? err : store_do(&store->reader, STORE_BEGIN_READ);
}

static void end_reading(struct store *store)
{
	struct store_db *db = &store->reader;

	close_column(store);
	if (store->mode != STORE_LOAD && db->handle && !sqlite3_get_autocommit(db->handle))
		(void)store_do(db, STORE_ROLLBACK); /* nothing was written */
}

static int read_anew(struct store *store, const struct wanted *wanted)
{
	int err;

	end_reading(store);
	err = begin_reading(store);
	return err ? err : read_bytes(store, wanted);
}

static int read_wanted(struct store *store, const struct wanted *wanted)
{
	int err;

	pthread_mutex_lock(&store->read_lock);
	if (is_in_open_column(store, wanted))
		err = read_column_piece(store, wanted);
	else
		err = read_anew(store, wanted);
	if (err || !is_column_kept(store, wanted))
		end_reading(store);
	pthread_mutex_unlock(&store->read_lock);
	return err;
}

void store_end_pieces(struct store *store)
{
	pthread_mutex_lock(&store->read_lock);
	end_reading(store);
	pthread_mutex_unlock(&store->read_lock);
}

int store_read_data(struct store *store, uint64_t number, uint64_t size, put_piece *put, void *arg)
{
	return read_wanted(store, &(struct wanted){.number = number, .size = size, .put = put, .arg = arg});
}

int store_read_piece(struct store *store, uint64_t number, uint64_t size, uint64_t off, void *buf,
		     struct store_piece *piece)
{
	/* Where there is nothing it is a hole. */
	*piece = (struct store_piece){.end = UINT64_MAX};
	return read_wanted(store,
			   &(struct wanted){.number = number, .size = size, .off = off, .buf = buf, .piece = piece});
}
