/* SPDX-License-Identifier: MIT */
/*
 * Rows that come in a row: to SQLite they are a table, from which one INSERT ... SELECT takes them all.  A statement for each
 * row takes twice the time, and more: it begins and ends, opens the table and its indexes, and looks for the place of the row
 * from the top, where this one goes on behind the last.
 *
 * The table is a temporary one, which no table of the database can take the place of.
 */
#include "store_internal.h"

#include <stdlib.h>

/* As many as the widest table takes. */
#define COLUMNS "c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12"
/* A plan that looks for single rows is not to look cheaper. */
#define MANY 100000

struct rows_table {
	sqlite3_vtab base;
	struct store_db *db;
};

/* It reads on, and never twice. */
struct rows_cursor {
	sqlite3_vtab_cursor base;
	struct store_rows *rows;
	sqlite3_int64 at;
	bool is_at_end;
};

static int rows_connect(sqlite3 *handle, void *arg, int n, const char *const *words, sqlite3_vtab **made, char **error)
{
	struct rows_table *table;
	int result;

	(void)n, (void)words, (void)error;
	result = sqlite3_declare_vtab(handle, "CREATE TABLE incoming (" COLUMNS ")");
	if (result == SQLITE_OK) /* no view of the database's reads it */
		result = sqlite3_vtab_config(handle, SQLITE_VTAB_DIRECTONLY);
	if (result != SQLITE_OK)
		return result;
	table = calloc(1, sizeof(*table));
	if (!table)
		return SQLITE_NOMEM;
	table->db = arg;
	*made = &table->base;
	return SQLITE_OK;
}

static int rows_disconnect(sqlite3_vtab *table)
{
	free(table);
	return SQLITE_OK;
}

static int rows_plan(sqlite3_vtab *table, sqlite3_index_info *info)
{
	(void)table;
	info->estimatedCost = MANY;
	info->estimatedRows = MANY;
	return SQLITE_OK;
}

static int rows_open(sqlite3_vtab *table, sqlite3_vtab_cursor **made)
{
	struct rows_cursor *cursor = calloc(1, sizeof(*cursor));

	if (!cursor)
		return SQLITE_NOMEM;
	cursor->rows = ((struct rows_table *)table)->db->rows;
	*made = &cursor->base;
	return SQLITE_OK;
}

static int rows_close(sqlite3_vtab_cursor *cursor)
{
	free(cursor);
	return SQLITE_OK;
}

static int rows_next(sqlite3_vtab_cursor *base)
{
	struct rows_cursor *cursor = (struct rows_cursor *)base;
	int got = cursor->rows ? cursor->rows->next(cursor->rows->arg) : 0;

	cursor->at++;
	cursor->is_at_end = got <= 0;
	if (got < 0)
		cursor->rows->err = got;
	return got < 0 ? SQLITE_ERROR : SQLITE_OK;
}

static int rows_filter(sqlite3_vtab_cursor *cursor, int plan, const char *name, int n, sqlite3_value **values)
{
	(void)plan, (void)name, (void)n, (void)values;
	return rows_next(cursor);
}

static int rows_is_at_end(sqlite3_vtab_cursor *cursor)
{
	return ((struct rows_cursor *)cursor)->is_at_end;
}

static int rows_column(sqlite3_vtab_cursor *base, sqlite3_context *context, int column)
{
	const struct rows_cursor *cursor = (struct rows_cursor *)base;

	cursor->rows->column(cursor->rows->arg, context, column + 1);
	return SQLITE_OK;
}

static int rows_rowid(sqlite3_vtab_cursor *cursor, sqlite3_int64 *rowid)
{
	*rowid = ((struct rows_cursor *)cursor)->at;
	return SQLITE_OK;
}

static const sqlite3_module rows_module = {
	.xCreate = rows_connect,
	.xConnect = rows_connect,
	.xBestIndex = rows_plan,
	.xDisconnect = rows_disconnect,
	.xDestroy = rows_disconnect,
	.xOpen = rows_open,
	.xClose = rows_close,
	.xFilter = rows_filter,
	.xNext = rows_next,
	.xEof = rows_is_at_end,
	.xColumn = rows_column,
	.xRowid = rows_rowid,
};

int store_prepare_rows(struct store_db *db)
{
	int result = sqlite3_create_module(db->handle, "incoming", &rows_module, db);

	if (result != SQLITE_OK)
		return store_failure(db, result);
	return store_execute(db, "CREATE VIRTUAL TABLE temp.incoming USING incoming");
}

int store_run_rows(struct store_db *db, enum store_statement which, struct store_rows *rows)
{
	sqlite3_stmt *statement;
	int err;

	err = store_prepare(db, which, &statement);
	if (err)
		return err;
	db->rows = rows;
	rows->err = 0;
	err = store_run(db, statement);
	db->rows = NULL;
	return rows->err ? rows->err : err;
}
