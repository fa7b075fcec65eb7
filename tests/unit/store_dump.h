/* SPDX-License-Identifier: MIT */
/* For tests of the store: all that a database holds, as text, so that two of them can be compared; and a place for files. */
#ifndef STORE_DUMP_H
#define STORE_DUMP_H

#include "store.h"

#include <dirent.h>
#include <inttypes.h>
#include <linux/limits.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* ------------------------------------------------------------------------ */
/* A directory that is there for the time of a test                          */

static char place[64];

static int make_place(void **state)
{
	(void)state;
	/* Where waiting for the disk takes no time. */
	(void)snprintf(place, sizeof(place), "%s/llfuse-store-XXXXXX",
		       access("/dev/shm", W_OK | X_OK) == 0 ? "/dev/shm" : "/tmp");
	return mkdtemp(place) ? 0 : -1;
}

static void empty_place(void)
{
	DIR *dir = opendir(place);
	struct dirent *entry;

	while ((entry = readdir(dir)))
		(void)unlinkat(dirfd(dir), entry->d_name, 0); /* "." and ".." stay */
	closedir(dir);
}

static int remove_place(void **state)
{
	(void)state;
	empty_place();
	return rmdir(place);
}

/* The path of @name there; good until the call after the next three. */
static inline const char *at(const char *name)
{
	static char paths[4][PATH_MAX];
	static unsigned next;
	char *path = paths[next++ % 4];

	(void)snprintf(path, sizeof(paths[0]), "%s/%s", place, name);
	return path;
}

/* The two tables of Python-LLFUSE's tmpfs. */
#define REFERENCE_TABLES                                                                                               \
	"CREATE TABLE inodes (id INTEGER PRIMARY KEY, uid INT NOT NULL, gid INT NOT NULL, mode INT NOT NULL,"          \
	" mtime_ns INT NOT NULL, atime_ns INT NOT NULL, ctime_ns INT NOT NULL, target BLOB(256),"                      \
	" size INT NOT NULL DEFAULT 0, rdev INT NOT NULL DEFAULT 0, data BLOB);"                                       \
	"CREATE TABLE contents (rowid INTEGER PRIMARY KEY AUTOINCREMENT, name BLOB(256) NOT NULL,"                     \
	" inode INT NOT NULL REFERENCES inodes(id), parent_inode INT NOT NULL REFERENCES inodes(id),"                  \
	" UNIQUE (name, parent_inode));"

/* Runs statements on the database at @path, as anybody may who has SQLite. */
static inline void run(const char *path, const char *sql)
{
	char *why = NULL;
	sqlite3 *db;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	if (sqlite3_exec(db, sql, NULL, NULL, &why) != SQLITE_OK)
		fail_msg("%s: %s", sql, why);
	sqlite3_close(db);
}

/* ------------------------------------------------------------------------ */
/* A dump                                                                    */

struct dump {
	FILE *out;
	struct store *store;
	struct {
		uint64_t number, size;
	} files[64];
	unsigned n;
};

static void print_bytes(FILE *out, const void *bytes, size_t n)
{
	const unsigned char *byte = bytes;
	uint64_t sum = 0;
	size_t i;

	for (i = 0; i < n; i++) {
		if (i < 300)
			fprintf(out, byte[i] > ' ' && byte[i] < 127 ? "%c" : "\\%02x", byte[i]);
		sum = sum * 31 + byte[i];
	}
	if (n >= 300)
		fprintf(out, "... (%zu, %" PRIx64 ")", n, sum);
}

static void print_time(FILE *out, const char *name, struct timespec time)
{
	fprintf(out, " %s=%lld.%09ld", name, (long long)time.tv_sec, time.tv_nsec);
}

static int dump_node(void *arg, const struct node *node, struct store_error *error)
{
	struct dump *dump = arg;

	(void)error;
	fprintf(dump->out, "node %" PRIu64 " mode=%o uid=%u gid=%u rdev=%llx size=%" PRIu64 " allocated=%" PRIu64,
		node->number, node->mode, node->uid, node->gid, (unsigned long long)node->rdev, node->size,
		node->allocated);
	print_time(dump->out, "atime", node->atime);
	print_time(dump->out, "mtime", node->mtime);
	print_time(dump->out, "ctime", node->ctime);
	print_time(dump->out, "btime", node->btime);
	if (node->target) {
		fprintf(dump->out, " -> ");
		print_bytes(dump->out, node->target, node->target_len);
	}
	fprintf(dump->out, "\n");
	if (node->size > 0 && dump->n < sizeof(dump->files) / sizeof(dump->files[0])) {
		dump->files[dump->n].number = node->number;
		dump->files[dump->n++].size = node->size;
	}
	return 0;
}

static int dump_xattr(void *arg, uint64_t number, const char *name, const void *value, size_t size,
		      struct store_error *error)
{
	struct dump *dump = arg;

	(void)error;
	fprintf(dump->out, "xattr %" PRIu64 " ", number);
	print_bytes(dump->out, name, strlen(name));
	fprintf(dump->out, "=");
	print_bytes(dump->out, value, size);
	fprintf(dump->out, "\n");
	return 0;
}

static int dump_name(void *arg, uint64_t parent, const char *name, size_t len, uint64_t number,
		     struct store_error *error)
{
	struct dump *dump = arg;

	(void)error;
	fprintf(dump->out, "name %" PRIu64 "/", parent);
	print_bytes(dump->out, name, len);
	fprintf(dump->out, " %" PRIu64 "\n", number);
	return 0;
}

static int dump_piece(void *arg, uint64_t off, const void *bytes, size_t n)
{
	struct dump *dump = arg;

	fprintf(dump->out, " [%" PRIu64 "] ", off);
	print_bytes(dump->out, bytes, n);
	return 0;
}

static int dump_all(struct dump *dump, struct store_counters *counters, struct store_error *error)
{
	const struct store_reader reader = {.node = dump_node, .xattr = dump_xattr, .name = dump_name, .arg = dump};
	unsigned i;
	int err;

	err = store_read_tree(dump->store, &reader, counters, error);
	for (i = 0; !err && i < dump->n; i++) {
		fprintf(dump->out, "data %" PRIu64, dump->files[i].number);
		err = store_read_data(dump->store, dump->files[i].number, dump->files[i].size, dump_piece, dump);
		fprintf(dump->out, "\n");
	}
	return err;
}

/* Everything in @store, or NULL with why not in @error; the caller frees it. */
static inline char *dump_store(struct store *store, struct store_error *error)
{
	struct store_counters counters = {0};
	struct dump dump = {.store = store};
	char *text = NULL;
	size_t size;
	int err;

	dump.out = open_memstream(&text, &size);
	assert_non_null(dump.out);
	if (!store_has_tree(store)) {
		fprintf(dump.out, "no tree\n");
		err = 0;
	} else {
		err = dump_all(&dump, &counters, error);
		fprintf(dump.out, "next=%" PRIu64 " generation=%u\n", counters.next_number, counters.generation);
	}
	fclose(dump.out);
	if (err) {
		free(text);
		return NULL;
	}
	return text;
}

/* The same of the file at @path, which is not changed. */
static inline char *dump_file(const char *path, struct store_error *error)
{
	struct store *store;
	char *text;

	if (store_open(path, STORE_LOAD, &store, error))
		return NULL;
	text = dump_store(store, error);
	assert_int_equal(store_close(store), 0);
	return text;
}

#endif
