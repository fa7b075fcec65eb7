/* SPDX-License-Identifier: MIT */
/*
 * Bytes are taken for rows of a database, most of them plausible, some not: what the loader sees behind SQLite's own checks
 * of a file.
 */
#include "loading.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

struct input {
	const uint8_t *at;
	size_t left;
};

static uint8_t take_byte(struct input *input)
{
	if (input->left == 0)
		return 0;
	input->left--;
	return *input->at++;
}

static const void *take_bytes(struct input *input, size_t n, size_t *got)
{
	const void *bytes = input->at;

	*got = n < input->left ? n : input->left;
	input->at += *got;
	input->left -= *got;
	return bytes;
}

static sqlite3_int64 take_integer(struct input *input)
{
	static const sqlite3_int64 borders[] = {-1,        65535,    65536, 4294967294, 4294967295, 9223370937343148031,
						INT64_MAX, INT64_MIN};
	uint8_t byte = take_byte(input);
	sqlite3_int64 number = 0;
	size_t got;
	const void *bytes;

	if (byte < 192)
		return 1 + byte % 8;
	if (byte < 240)
		return borders[byte % 8];
	bytes = take_bytes(input, sizeof(number), &got);
	memcpy(&number, bytes, got);
	return number;
}

/* Of any type. */
static void bind_wild(struct input *input, sqlite3_stmt *statement, int at)
{
	uint8_t byte = take_byte(input);
	size_t n = take_byte(input), got;
	const void *bytes;

	switch (byte % 5) {
	case 0:
		(void)sqlite3_bind_null(statement, at);
		break;
	case 1:
		(void)sqlite3_bind_double(statement, at, (double)n / 4);
		break;
	case 2:
		bytes = take_bytes(input, n, &got);
		(void)sqlite3_bind_text(statement, at, bytes, (int)got, SQLITE_TRANSIENT);
		break;
	case 3:
		bytes = take_bytes(input, n, &got);
		(void)sqlite3_bind_blob(statement, at, bytes, (int)got, SQLITE_TRANSIENT);
		break;
	default:
		(void)sqlite3_bind_int64(statement, at, take_integer(input));
		break;
	}
}

static void bind_bytes(struct input *input, sqlite3_stmt *statement, int at)
{
	size_t got;
	const void *bytes = take_bytes(input, 1 + take_byte(input) % 4, &got);

	(void)sqlite3_bind_blob(statement, at, bytes, (int)got, SQLITE_TRANSIENT);
}

static void bind_mode(struct input *input, sqlite3_stmt *statement, int at)
{
	static const int types[] = {4, 8, 8, 10, 1, 2, 6, 12};
	uint8_t byte = take_byte(input);

	(void)sqlite3_bind_int(statement, at, types[byte % 8] << 12 | (byte & 7) << 6);
}

/* What the columns of a table mostly hold: n a number, m a mode, b bytes, o an offset, x an attribute. */
static const struct {
	const char *sql, *columns;
} tables[] = {
	{"INSERT OR REPLACE INTO inodes (id, mode, size, allocated, rdev, uid, gid, mtime_ns, atime_ns, ctime_ns, "
	 "target, "
	 "data, btime_ns) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
	 "nm00000000--n"},
	{"INSERT OR REPLACE INTO inodes (id, mode, target, size, uid, gid, mtime_ns, atime_ns, ctime_ns) "
	 "VALUES (?1, 40960, ?2, 0, 0, 0, 1, 2, 3)",
	 "nb"},
	{"INSERT OR REPLACE INTO inodes (id, mode, size, data, uid, gid, mtime_ns, atime_ns, ctime_ns) "
	 "VALUES (?1, 33188, ?2, ?3, 0, 0, 1, 2, 3)",
	 "nnb"},
	{"INSERT OR REPLACE INTO contents (parent_inode, name, inode) VALUES (?1, ?2, ?3)", "nbn"},
	{"INSERT OR REPLACE INTO chunks (inode, offset, data) VALUES (?1, ?2, ?3)", "nob"},
	{"INSERT OR REPLACE INTO xattrs (inode, name, value) VALUES (?1, ?2, ?3)", "nxb"},
	{"INSERT OR REPLACE INTO state (id, next_number, generation, is_clean) VALUES (1, ?1, ?2, ?3)", "nnn"},
	{"UPDATE inodes SET size = ?2, mode = ?3 WHERE id = ?1", "nnm"},
};
#define TABLES (sizeof(tables) / sizeof(tables[0]))

static void bind_plausible(struct input *input, sqlite3_stmt *statement, int at, char column)
{
	static const char *const names[] = {
		"user.a", "system.posix_acl_access", "system.posix_acl_default", "security.capability", "trusted.a",
		"other"};

	switch (column) {
	case 'n':
		(void)sqlite3_bind_int64(statement, at, take_integer(input));
		break;
	case 'm':
		bind_mode(input, statement, at);
		break;
	case 'b':
		bind_bytes(input, statement, at);
		break;
	case 'o':
		(void)sqlite3_bind_int64(statement, at, take_byte(input) % 4 * 65536);
		break;
	case 'x':
		(void)sqlite3_bind_blob(statement, at, names[take_byte(input) % 6], -1, SQLITE_STATIC);
		(void)sqlite3_bind_text(statement, at, names[take_byte(input) % 6], -1, SQLITE_STATIC);
		break;
	case '0':
		(void)sqlite3_bind_int(statement, at, 0);
		break;
	default:
		(void)sqlite3_bind_null(statement, at);
		break;
	}
}

static void put_row(struct input *input, sqlite3_stmt *const statements[TABLES])
{
	const uint8_t what = take_byte(input);
	const size_t table = what % TABLES;
	const char *columns = tables[table].columns;
	/* At most one value of a row is wild, or none is reached behind it. */
	const size_t wild = what >= 192 ? take_byte(input) % strlen(columns) : SIZE_MAX;
	sqlite3_stmt *statement = statements[table];
	size_t i;

	if (!statement)
		return;
	for (i = 0; columns[i]; i++)
		if (i == wild)
			bind_wild(input, statement, (int)i + 1);
		else
			bind_plausible(input, statement, (int)i + 1, columns[i]);
	(void)sqlite3_step(statement); /* what cannot be put is not there */
	(void)sqlite3_reset(statement);
}

static void put_rows(struct input *input, sqlite3 *db)
{
	sqlite3_stmt *statements[TABLES] = {NULL};
	size_t i;

	for (i = 0; i < TABLES; i++)
		(void)sqlite3_prepare_v2(db, tables[i].sql, -1, &statements[i], NULL);
	while (input->left > 0)
		put_row(input, statements);
	for (i = 0; i < TABLES; i++)
		(void)sqlite3_finalize(statements[i]);
}

/* The tables without what would refuse rows; an index is what makes names and places unique. */
static const char without_checks[] =
	"PRAGMA writable_schema = ON;"
	"UPDATE sqlite_master SET sql = 'CREATE TABLE contents (rowid INTEGER PRIMARY KEY, name, inode, parent_inode)' "
	"WHERE name = 'contents';"
	"UPDATE sqlite_master SET sql = 'CREATE TABLE chunks (rowid INTEGER PRIMARY KEY, inode, offset, data)' "
	"WHERE name = 'chunks';"
	"UPDATE sqlite_master SET sql = 'CREATE TABLE inodes (id INTEGER PRIMARY KEY, uid, gid, mode, mtime_ns, "
	"atime_ns, ctime_ns, target, size DEFAULT 0, rdev DEFAULT 0, btime_ns, allocated, data)' WHERE name = "
	"'inodes';";

static sqlite3 *database;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const char *path = fuzz_path("a.db");

	(void)argc, (void)argv;
	fuzz_make_small_tree(path);
	fuzz_run(path, without_checks);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct input input = {.at = bytes, .left = n};

	if (!database)
		MUST(sqlite3_open(fuzz_path("a.db"), &database) == SQLITE_OK);
	MUST(sqlite3_exec(
		     database,
		     "PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF; PRAGMA ignore_check_constraints = ON;"
		     "BEGIN; DELETE FROM inodes WHERE id > 4; DELETE FROM contents; DELETE FROM chunks; DELETE FROM "
		     "xattrs;"
		     "INSERT INTO contents (parent_inode, name, inode) VALUES (1, x'2e2e', 1), (1, x'41', 2), (2, "
		     "x'42', 3), "
		     "(2, x'43', 4);"
		     "UPDATE inodes SET size = CASE id WHEN 3 THEN 5 ELSE 0 END, "
		     "mode = CASE id WHEN 3 THEN 33188 WHEN 4 THEN 41471 ELSE 16877 END,"
		     "target = CASE id WHEN 4 THEN x'41' END, data = NULL, uid = 0, gid = 0, rdev = 0, allocated = 0,"
		     "mtime_ns = 0, atime_ns = 0, ctime_ns = 0, btime_ns = 0;",
		     NULL, NULL, NULL) == SQLITE_OK);
	put_rows(&input, database);
	MUST(sqlite3_exec(database, "COMMIT", NULL, NULL, NULL) == SQLITE_OK);
	fuzz_load(fuzz_path("a.db"));
	return 0;
}
