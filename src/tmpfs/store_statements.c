/* SPDX-License-Identifier: MIT */
/* The statements of a connection, prepared when they are first needed.  See store_internal.h. */
#include "store_internal.h"

static const char *const texts[STORE_STATEMENTS] = {
	[STORE_BEGIN] = "BEGIN IMMEDIATE",
	[STORE_BEGIN_READ] = "BEGIN",
	[STORE_COMMIT] = "COMMIT",
	[STORE_ROLLBACK] = "ROLLBACK",
	[STORE_PUT_COUNTERS] = "INSERT INTO state (id, next_number, generation, is_clean) VALUES (1, ?1, ?2, ?3) "
			       "ON CONFLICT (id) DO UPDATE SET next_number = ?1, generation = ?2, is_clean = ?3",
	/* Those that take rows say WHERE, or SQLite would take ON for a part of a join.  What fails is rolled back as a whole: there
	 * is nothing to keep for undoing a part of it (FAIL). */
	[STORE_PUT_NODES] =
		"INSERT OR FAIL INTO inodes (id, uid, gid, mode, mtime_ns, atime_ns, ctime_ns, target, size, rdev, "
		"btime_ns, allocated) SELECT c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12 FROM temp.incoming "
		"WHERE true "
		"ON CONFLICT (id) DO UPDATE SET uid = excluded.uid, gid = excluded.gid, mode = excluded.mode, "
		"mtime_ns = excluded.mtime_ns, atime_ns = excluded.atime_ns, ctime_ns = excluded.ctime_ns, "
		"target = excluded.target, size = excluded.size, rdev = excluded.rdev, btime_ns = excluded.btime_ns, "
		"allocated = excluded.allocated",
	[STORE_REMOVE_NODE] = "DELETE FROM inodes WHERE id = ?1",
	[STORE_PUT_NAMES] = "INSERT OR FAIL INTO contents (parent_inode, name, inode) "
			    "SELECT c1, c2, c3 FROM temp.incoming WHERE true "
			    "ON CONFLICT (parent_inode, name) DO UPDATE SET inode = excluded.inode",
	[STORE_REMOVE_NAME] = "DELETE FROM contents WHERE parent_inode = ?1 AND name = ?2",
	[STORE_PUT_XATTR] = "INSERT INTO xattrs (inode, name, value) VALUES (?1, ?2, ?3)",
	[STORE_CLEAR_XATTRS] = "DELETE FROM xattrs WHERE inode = ?1",
	[STORE_PUT_CHUNKS] = "INSERT OR FAIL INTO chunks (inode, offset, data) "
			     "SELECT c1, c2, c3 FROM temp.incoming WHERE true "
			     "ON CONFLICT (inode, offset) DO UPDATE SET data = excluded.data",
	[STORE_REMOVE_CHUNKS] = "DELETE FROM chunks WHERE inode = ?1 AND offset >= ?2 AND offset < ?3",
	[STORE_REMOVE_ALL_NAMES] = "DELETE FROM contents WHERE name <> x'2e2e'",
	[STORE_REMOVE_NAMELESS] = "DELETE FROM inodes WHERE id NOT IN (SELECT inode FROM contents)",
	[STORE_REMOVE_LOST_CHUNKS] = "DELETE FROM chunks WHERE inode NOT IN (SELECT id FROM inodes)",
	[STORE_REMOVE_LOST_XATTRS] = "DELETE FROM xattrs WHERE inode NOT IN (SELECT id FROM inodes)",
	[STORE_FORGET_DATA] = "UPDATE inodes SET data = NULL WHERE id = ?1",
	[STORE_READ_DATA] = "SELECT size, typeof(data), _rowid_ FROM inodes WHERE id = ?1",
	[STORE_READ_CHUNKS] = "SELECT offset, data FROM chunks WHERE inode = ?1 ORDER BY offset",
	[STORE_READ_CHUNK] = "SELECT offset, data FROM chunks WHERE inode = ?1 AND offset > ?2 ORDER BY offset LIMIT 1",
};

int store_prepare(struct store_db *db, enum store_statement which, sqlite3_stmt **statement)
{
	int result;

	if (!db->statements[which]) {
		result = sqlite3_prepare_v3(db->handle, texts[which], -1, SQLITE_PREPARE_PERSISTENT,
					    &db->statements[which], NULL);
		if (result != SQLITE_OK)
			return store_failure(db, result);
	}
	*statement = db->statements[which];
	return 0;
}

int store_prepare_writing(struct store_db *db)
{
	sqlite3_stmt *statement;
	unsigned which;
	int err = 0;

	for (which = 0; !err && which <= STORE_FORGET_DATA; which++)
		err = store_prepare(db, which, &statement);
	return err;
}

int store_run(struct store_db *db, sqlite3_stmt *statement)
{
	int result, err = 0;

	do
		result = sqlite3_step(statement);
	while (result == SQLITE_ROW);
	if (result != SQLITE_DONE)
		err = store_failure(db, result);
	(void)sqlite3_reset(statement); /* says again what step() said */
	return err;
}

int store_do(struct store_db *db, enum store_statement which)
{
	sqlite3_stmt *statement;
	int err;

	err = store_prepare(db, which, &statement);
	return err ? err : store_run(db, statement);
}

int store_execute(struct store_db *db, const char *sql)
{
	int result = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);

	return result == SQLITE_OK ? 0 : store_failure(db, result);
}

int store_query(struct store_db *db, const char *sql, int64_t *value)
{
	sqlite3_stmt *statement;
	int result, err = 0;

	result = sqlite3_prepare_v2(db->handle, sql, -1, &statement, NULL);
	if (result != SQLITE_OK)
		return store_failure(db, result);
	result = sqlite3_step(statement);
	if (result == SQLITE_ROW)
		*value = sqlite3_column_int64(statement, 0);
	else if (result == SQLITE_DONE)
		*value = 0;
	else
		err = store_failure(db, result);
	(void)sqlite3_finalize(statement); /* says again what step() said */
	return err;
}
