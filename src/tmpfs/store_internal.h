/* SPDX-License-Identifier: MIT */
/*
 * Between the files of the store: a connection with its statements, how SQLite's results become ours, and what
 * store_open() found out about a database.
 */
#ifndef TMPFS_STORE_INTERNAL_H
#define TMPFS_STORE_INTERNAL_H

#include "store.h"

#include <pthread.h>
#include <sqlite3.h>

/* "llfs" */
#define STORE_APPLICATION_ID 0x6c6c6673
/* The greatest user_version that this code reads, and the one that it writes. */
#define STORE_VERSION 1

#define STORE_ROOT UINT64_C(1)
/* More than a mount gives out between two commits. */
#define STORE_SKIP (UINT64_C(1) << 32)

enum store_statement {
	STORE_BEGIN,
	STORE_BEGIN_READ,
	STORE_COMMIT,
	STORE_ROLLBACK,
	STORE_PUT_COUNTERS,
	STORE_PUT_NODES,
	STORE_REMOVE_NODE,
	STORE_PUT_NAMES,
	STORE_REMOVE_NAME,
	STORE_PUT_XATTR,
	STORE_CLEAR_XATTRS,
	STORE_PUT_CHUNKS,
	STORE_REMOVE_CHUNKS,
	STORE_REMOVE_ALL_NAMES,
	STORE_REMOVE_NAMELESS,
	STORE_REMOVE_LOST_CHUNKS,
	STORE_REMOVE_LOST_XATTRS,
	STORE_FORGET_DATA, /* the last that writes */
	STORE_READ_DATA,
	STORE_READ_CHUNKS,
	STORE_READ_CHUNK,
	STORE_STATEMENTS
};

/* Rows for one statement.  @next goes to the next one and returns 1, 0 if there is none any more, or -errno, which ends the
 * statement; @column gives a column of it, from 1 on, with sqlite3_result_*(): bytes stay until the next one. */
struct store_rows {
	int (*next)(void *arg);
	void (*column)(void *arg, sqlite3_context *context, int column);
	void *arg;
	int err; /* what next() returned, if that was no row */
};

/* A connection. */
struct store_db {
	sqlite3 *handle;
	struct store_rows *rows; /* of the statement that runs, or NULL */
	sqlite3_stmt *statements[STORE_STATEMENTS]; /* prepared when first needed, and kept */
};

/* Whose tables there are. */
enum store_kind {
	STORE_IS_EMPTY, /* none yet */
	STORE_IS_REFERENCE, /* inodes and contents, as Python-LLFUSE's tmpfs or a person made them */
	STORE_IS_OURS,
};

struct store {
	enum store_mode mode;
	char *path; /* without symbolic links */
	int fd; /* of the same file, with our lock on it; closed last, as SQLite's locks go with any that is closed */
	bool is_made; /* by us, just now */
	bool had_wal; /* when it was opened */

	struct store_db writer; /* STORE_LOAD: NULL */

	/* The writer's. */
	enum store_kind kind;
	bool is_ready; /* what comes before and in the first commit is done */
	bool has_data; /* some inode may have its bytes in the column data */
	bool has_text; /* some name, target or bytes are no blob */
	bool has_orphans; /* see store_drop_orphans() */
	int log_pages; /* of the write-ahead log, when something was last committed */
	bool is_settled; /* the last transaction was committed: all that was given out is counted */
	_Atomic bool has_log; /* who reads does not hold up who writes; anybody's, to read */

	pthread_mutex_t read_lock;
	struct store_db reader; /* guarded by read_lock; KEEP: opened when first needed.  LOAD: in one transaction */

	/* Of the file whose pieces are being read, if they are in the column data, or NULL: who opens it for each of them walks all
	 * its pages up to there again.  Guarded by read_lock; KEEP: the transaction lasts as long. */
	sqlite3_blob *column;
	uint64_t column_number;
	int64_t column_size;
};

/* ------------------------------------------------------------------------ */
/* What went wrong: store_reason.c                                           */

/* Turns what SQLite says into -errno, and store_reason() into its message. */
int store_failure(const struct store_db *db, int result);

/* -errno for what SQLite has no word for. */
int store_refuse(int err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same for who opens or reads.  @error: NULL if nobody asks. */
int store_say(struct store_error *error, int err, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The line for a failure with store_reason(). */
int store_explain(struct store_error *error, int err);

/* ------------------------------------------------------------------------ */
/* Statements: store_statements.c, and for those that take rows store_rows.c */

/* Returns 0 and the statement, all its parameters to be bound. */
int store_prepare(struct store_db *db, enum store_statement which, sqlite3_stmt **statement);

/* Runs a statement that gives no rows, and makes it ready for the next time. */
int store_run(struct store_db *db, sqlite3_stmt *statement);

/* Prepares all statements that write, for which the tables are there: what one of them lacks shows now. */
int store_prepare_writing(struct store_db *db);

/* store_prepare() and store_run() for what has no parameters. */
int store_do(struct store_db *db, enum store_statement which);

/* Before the first of them, once for a connection. */
int store_prepare_rows(struct store_db *db);

/* Runs a statement that takes rows from the table "incoming". */
int store_run_rows(struct store_db *db, enum store_statement which, struct store_rows *rows);

/* Any number of statements in a row. */
int store_execute(struct store_db *db, const char *sql);

/* The integer that @sql gives; 0 if it gives none. */
int store_query(struct store_db *db, const char *sql, int64_t *value);

/* ------------------------------------------------------------------------ */
/* Connections: store.c                                                      */

/* The connection for reading, open.  The caller holds read_lock. */
int store_open_reader(struct store *store);

/* ------------------------------------------------------------------------ */
/* The schema: store_schema.c                                                */

/* Says what kind of database it is, or that it is none. */
int store_find_kind(struct store_db *db, enum store_kind *kind, struct store_error *error);

/* S2: says what would make every commit fail. */
int store_check_writing(struct store *store, struct store_error *error);

/* Outside of a transaction, before the first one. */
int store_prepare_file(struct store *store);

/* First in a transaction: makes the tables, or of those of the reference ours. */
int store_set_up(struct store *store);

/* ------------------------------------------------------------------------ */
/* Reading and writing                                                       */

/* The column data of an inode. */
struct store_column {
	int64_t rowid; /* by which a blob is opened; in a table that a person made it need not be the number */
	int64_t size; /* how many bytes it stands for; -1 if they are not there, but in chunks */
};

/* What it is until the transaction ends. */
int store_find_column(struct store_db *db, uint64_t number, struct store_column *column);

/* Calls @put for what the column data has of the bytes, which end at its size. */
int store_read_column(struct store_db *db, const struct store_column *column,
		      int (*put)(void *arg, uint64_t off, const void *bytes, size_t n), void *arg);

/* The times that fit into an integer. */
int64_t store_ns_of(const struct timespec *time);
struct timespec store_time_of(int64_t ns);

#endif
