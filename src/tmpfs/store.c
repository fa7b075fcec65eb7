/* SPDX-License-Identifier: MIT */
/* The store: its life, its connections, and transactions.  See store.h. */
#include "store_internal.h"

#include "path.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <linux/limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* How long to wait for the locks of others: a checkpoint's, or that of somebody who looks at it. */
#define BUSY_MS 2000
/* How long the log may be until it is worth the time to move it to its place, and until it is moved before more comes. */
#define LOG_PAGES 1000
#define LOG_PAGES_MAX 16384
/* What it keeps of the disk between commits. */
#define LOG_BYTES_KEPT "67108864"

/* ------------------------------------------------------------------------ */
/* Connections                                                               */

static void disconnect(struct store_db *db)
{
	unsigned i;

	for (i = 0; i < STORE_STATEMENTS; i++)
		(void)sqlite3_finalize(db->statements[i]); /* NULL is nothing */
	(void)sqlite3_close(db->handle); /* what there is to lose is in the log */
	memset(db, 0, sizeof(*db));
}

/*
 * What the database brings along is data: no triggers, no views, and no function that could do anything.  No memory
 * mapping: what another program cuts off would be a SIGBUS.
 */
static int configure(struct store_db *db)
{
	(void)sqlite3_extended_result_codes(db->handle, 0);
	(void)sqlite3_busy_timeout(db->handle, BUSY_MS);
	(void)sqlite3_db_config(db->handle, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
	(void)sqlite3_db_config(db->handle, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
	(void)sqlite3_db_config(db->handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	(void)sqlite3_db_config(db->handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	return store_execute(db, "PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0; PRAGMA temp_store = MEMORY");
}

/* SQLite counts its memory under a lock that each allocation takes, for nobody who asks here.  Too late where SQLite is in
 * use already, which costs only the time. */
static void configure_library(void)
{
	(void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

static int connect_to(struct store_db *db, const char *name, int flags)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	int result, err;

	(void)pthread_once(&once, configure_library); /* fails for no reason that there is */
	result = sqlite3_open_v2(name, &db->handle, flags | SQLITE_OPEN_NOMUTEX, NULL);
	err = result == SQLITE_OK ? configure(db) : store_failure(db, result);
	if (err)
		disconnect(db);
	return err;
}

/* What is not a letter or a digit means something in a URI. */
static char *immutable_uri(const char *path)
{
	static const char before[] = "file:", behind[] = "?immutable=1";
	char *uri = malloc(sizeof(before) + 3 * strlen(path) + sizeof(behind)), *to;

	if (!uri)
		return NULL;
	to = stpcpy(uri, before);
	for (; *path; path++)
		to += *path == '/' ? sprintf(to, "/") : sprintf(to, "%%%02x", (unsigned char)*path);
	(void)strcpy(to, behind);
	return uri;
}

static int begin_snapshot(struct store_db *db)
{
	int64_t tables;
	int err;

	err = store_do(db, STORE_BEGIN_READ);
	/* Only reading begins it. */
	return err ? err : store_query(db, "SELECT count(*) FROM sqlite_master", &tables);
}

/* Opens it to read, as it is now and nothing later. */
static int connect_to_snapshot(struct store_db *db, const char *name, int flags)
{
	int err;

	err = connect_to(db, name, flags | SQLITE_OPEN_READONLY);
	if (err)
		return err;
	err = begin_snapshot(db);
	if (err)
		disconnect(db);
	return err;
}

/* How long the file beside it is that ends in @suffix, or -1 if there is none. */
static off_t size_beside(const char *path, const char *suffix)
{
	char name[PATH_MAX + 16];
	struct stat st;

	(void)snprintf(name, sizeof(name), "%s%s", path, suffix); /* no longer than that: realpath(3) */
	return stat(name, &st) == 0 ? st.st_size : -1;
}

/* SQLite reads a database that has a log only with a file of shared memory beside it.  Where that cannot be made nobody
 * writes either, so that a database without a log can be taken as it is. */
static int connect_reader_of_load(struct store *store)
{
	char *uri;
	int err;

	err = connect_to_snapshot(&store->reader, store->path, 0);
	if (err == 0 || err == -EBUSY || err == -ENOMEM || err == -EMEDIUMTYPE)
		return err;
	if (size_beside(store->path, "-wal") > 0 || size_beside(store->path, "-journal") > 0)
		return err;
	uri = immutable_uri(store->path);
	if (!uri)
		return store_refuse(-ENOMEM, "out of memory");
	err = connect_to_snapshot(&store->reader, uri, SQLITE_OPEN_URI);
	free(uri);
	return err;
}

/* These must be there when there is no memory. */
static int prepare_ends(struct store_db *db)
{
	sqlite3_stmt *statement;
	int err;

	err = store_prepare(db, STORE_COMMIT, &statement);
	return err ? err : store_prepare(db, STORE_ROLLBACK, &statement);
}

/* Stands where SQLite itself would move the log, within the commit. */
static int note_log(void *arg, sqlite3 *handle, const char *name, int pages)
{
	struct store *store = arg;

	(void)handle, (void)name;
	store->log_pages = pages;
	store->has_log = true;
	return SQLITE_OK;
}

/*
 * Checks and foreign keys are for others who write: what we do is made to satisfy them, and to have each row looked at once more takes
 * a third of a commit.  S3 looks at all that is read.
 */
static int trust_ourselves(struct store_db *db)
{
	return store_execute(db, "PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON");
}

static int connect_writer(struct store *store)
{
	int err;

	err = connect_to(&store->writer, store->path, SQLITE_OPEN_READWRITE);
	if (!err) /* of a new one, before anything else asks */
		err = store_execute(&store->writer, "PRAGMA page_size = 4096; PRAGMA encoding = 'UTF-8'");
	if (!err)
		err = trust_ourselves(&store->writer);
	if (!err)
		err = prepare_ends(&store->writer);
	if (!err)
		err = store_prepare_rows(&store->writer);
	if (err)
		return err;
	/* It would not let us do without a journal. */
	if (store->mode == STORE_SAVE)
		(void)sqlite3_db_config(store->writer.handle, SQLITE_DBCONFIG_DEFENSIVE, 0, NULL);
	if (store->mode == STORE_SAVE)
		return store_execute(&store->writer, "PRAGMA synchronous = OFF; "
						     "PRAGMA locking_mode = EXCLUSIVE; PRAGMA cache_size = -16384");
	/* Gives the argument of the hook before, and there was SQLite's own. */
	(void)sqlite3_wal_hook(store->writer.handle, note_log, store);
	return store_execute(&store->writer, "PRAGMA synchronous = FULL; "
					     "PRAGMA secure_delete = FAST; PRAGMA cache_size = -16384; "
					     "PRAGMA journal_size_limit = " LOG_BYTES_KEPT);
}

int store_open_reader(struct store *store)
{
	return store->reader.handle ? 0 : connect_to(&store->reader, store->path, SQLITE_OPEN_READONLY);
}

/* ------------------------------------------------------------------------ */
/* The file                                                                  */

static int open_flags(enum store_mode mode)
{
	switch (mode) {
	case STORE_LOAD:
		return O_RDONLY;
	case STORE_SAVE:
		return O_RDWR | O_CREAT | O_EXCL;
	default:
		return O_RDWR | O_CREAT;
	}
}

static int check_directory(const char *path, struct store_error *error)
{
	char name[PATH_MAX];

	(void)snprintf(name, sizeof(name), "%s", path); /* no longer than that: realpath(3) */
	if (faccessat(AT_FDCWD, dirname(name), W_OK | X_OK, AT_EACCESS) == 0)
		return 0;
	return store_say(error, -errno, "its directory cannot be written: %s", strerror(errno));
}

/* One mount at a time keeps it: a lock that SQLite does not know, and does not take away. */
static int lock_file(struct store *store, struct store_error *error)
{
	if (flock(store->fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	if (errno == EWOULDBLOCK)
		return store_say(error, -EBUSY, "it is in use by another mount");
	return store_say(error, -errno, "it cannot be locked: %s", strerror(errno));
}

static int check_file(struct store *store, struct store_error *error)
{
	struct stat st;
	int err;

	if (fstat(store->fd, &st) < 0)
		return store_say(error, -errno, "%s", strerror(errno));
	if (!S_ISREG(st.st_mode))
		return store_say(error, -EMEDIUMTYPE, "it is no regular file");
	if (store->mode == STORE_LOAD)
		return 0;
	err = lock_file(store, error);
	return err ? err : check_directory(store->path, error);
}

static int open_file(struct store *store, const char *path, struct store_error *error)
{
	store->is_made = store->mode != STORE_LOAD && access(path, F_OK) < 0;
	/* It holds what belongs to everybody in the tree. */
	store->fd = open(path, open_flags(store->mode) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0600);
	if (store->fd < 0) {
		store->is_made = false;
		return store_say(error, -errno, "%s", strerror(errno));
	}
	store->path = realpath(path, NULL);
	if (!store->path)
		return store_say(error, -errno, "%s", strerror(errno));
	store->had_wal = size_beside(store->path, "-wal") >= 0;
	return check_file(store, error);
}

/* A lock of somebody else shows now, and not with the first commit. */
static int try_to_write(struct store *store, struct store_error *error)
{
	int err;

	err = store_do(&store->writer, STORE_BEGIN);
	if (!err)
		err = store_do(&store->writer, STORE_ROLLBACK);
	return err ? store_explain(error, err) : 0;
}

static int open_database(struct store *store, struct store_error *error)
{
	struct store_db *db = store->mode == STORE_LOAD ? &store->reader : &store->writer;
	int err;

	err = store->mode == STORE_LOAD ? connect_reader_of_load(store) : connect_writer(store);
	if (err)
		return store_explain(error, err);
	err = store_find_kind(db, &store->kind, error);
	if (err)
		return err;
	store->has_data = store->kind != STORE_IS_EMPTY;
	if (store->mode != STORE_KEEP)
		return 0;
	err = store_check_writing(store, error);
	return err ? err : try_to_write(store, error);
}

/* ------------------------------------------------------------------------ */
/* Life                                                                      */

/* As SQLite's own last connection would: it takes away the log and the shared memory that reading has made, unless
 * somebody else has them in use. */
static void tidy_after_reading(struct store *store)
{
	struct store_db db = {0};
	int64_t tables;

	if (store->mode != STORE_LOAD || store->had_wal || !store->path || size_beside(store->path, "-wal") < 0)
		return;
	if (connect_to(&db, store->path, SQLITE_OPEN_READWRITE))
		return;
	(void)store_query(&db, "SELECT count(*) FROM sqlite_master", &tables); /* it is a courtesy */
	disconnect(&db);
}

static void free_store(struct store *store)
{
	disconnect(&store->reader);
	disconnect(&store->writer);
	tidy_after_reading(store);
	if (store->fd >= 0)
		close(store->fd);
	(void)pthread_mutex_destroy(&store->read_lock); /* fails only while it is held */
	free(store->path);
	free(store);
}

int store_open(const char *path, enum store_mode mode, struct store **opened, struct store_error *error)
{
	struct store *store = calloc(1, sizeof(*store));
	int err;

	if (!store)
		return store_say(error, -ENOMEM, "there is not enough memory");
	store->mode = mode;
	store->fd = -1;
	(void)pthread_mutex_init(&store->read_lock, NULL); /* never fails for the default kind */
	err = open_file(store, path, error);
	if (!err)
		err = open_database(store, error);
	if (err) {
		/* What is to be kept may be somebody else's by now; empty, it does no harm. */
		if (store->is_made && mode == STORE_SAVE)
			(void)unlink(path);
		free_store(store);
		return err;
	}
	if (store->is_made)
		(void)path_sync_directory(store->path); /* a name that is lost later is no more than an empty file */
	*opened = store;
	return 0;
}

/* The numbers that were given out are all accounted for: the next mount need not skip any. */
static void mark_clean(struct store *store)
{
	struct store_db *db = &store->writer;

	if (store->mode != STORE_KEEP || !store->is_settled)
		return;
	(void)store_execute(db, "UPDATE state SET is_clean = 1"); /* or it skips them */
}

static int sync_saved(struct store *store)
{
	int err;

	if (fsync(store->fd) < 0)
		return store_refuse(-errno, "%s", strerror(errno));
	err = path_sync_directory(store->path);
	return err ? store_refuse(err, "%s", strerror(-err)) : 0;
}

int store_close(struct store *store)
{
	int err = 0;

	if (!store)
		return 0;
	mark_clean(store);
	store_end_pieces(store);
	disconnect(&store->reader);
	disconnect(&store->writer);
	if (store->mode == STORE_SAVE)
		err = sync_saved(store);
	free_store(store);
	return err;
}

bool store_is_kept(const struct store *store)
{
	if (flock(store->fd, LOCK_SH | LOCK_NB) < 0)
		return errno == EWOULDBLOCK;
	(void)flock(store->fd, LOCK_UN); /* what one has one may give up */
	return false;
}

bool store_has_tree(const struct store *store)
{
	return store->kind != STORE_IS_EMPTY;
}

void store_drop_orphans(struct store *store)
{
	store->has_orphans = true;
}

/* ------------------------------------------------------------------------ */
/* Transactions                                                              */

/* What of it somebody reads stays, for the next time; what cannot be moved does too, and is as safe there. */
static void move_log(struct store *store, int pages_min)
{
	if (store->log_pages < pages_min)
		return;
	(void)sqlite3_wal_checkpoint_v2(store->writer.handle, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
	store->log_pages = 0;
}

void store_unsettle(struct store *store)
{
	store->is_settled = false;
}

void store_settle(struct store *store)
{
	move_log(store, LOG_PAGES);
}

int store_begin(struct store *store)
{
	struct store_db *db = &store->writer;
	int err;

	store->is_settled = false;
	store_rollback(store); /* what an earlier one left behind, if that was not to be had then */
	move_log(store, LOG_PAGES_MAX);
	err = store->is_ready ? 0 : store_prepare_file(store);
	if (!err)
		err = store_do(db, STORE_BEGIN);
	if (err)
		return err;
	if (!store->is_ready)
		err = store_set_up(store);
	if (err)
		store_rollback(store);
	return err;
}

static int put_counters(struct store *store, const struct store_counters *counters)
{
	sqlite3_stmt *statement;
	int err;

	err = store_prepare(&store->writer, STORE_PUT_COUNTERS, &statement);
	if (err)
		return err;
	(void)sqlite3_bind_int64(statement, 1, (int64_t)counters->next_number);
	(void)sqlite3_bind_int64(statement, 2, counters->generation);
	(void)sqlite3_bind_int(statement, 3, store->mode == STORE_SAVE);
	return store_run(&store->writer, statement);
}

int store_commit(struct store *store, const struct store_counters *counters)
{
	int err;

	err = put_counters(store, counters);
	if (!err)
		err = store_do(&store->writer, STORE_COMMIT);
	if (err) {
		store_rollback(store);
		return err;
	}
	store->kind = STORE_IS_OURS;
	store->is_ready = store->is_settled = true;
	return 0;
}

void store_rollback(struct store *store)
{
	char because[STORE_REASON_SIZE];

	/* Some failures have done it already. */
	if (sqlite3_get_autocommit(store->writer.handle))
		return;
	(void)snprintf(because, sizeof(because), "%s", store_reason()); /* as long */
	(void)store_do(&store->writer, STORE_ROLLBACK); /* what fails here, the next opening rolls back */
	store_take_reason(because);
}

bool store_is_file(const struct store *store, const struct stat *st)
{
	struct stat ours;

	return fstat(store->fd, &ours) == 0 && ours.st_dev == st->st_dev && ours.st_ino == st->st_ino;
}
