/* SPDX-License-Identifier: MIT */
/*
 * The tables, and how a database gets them.  docs/format.md describes what is here, word by word: tests compare the two.
 */
#include "store_internal.h"

#include <errno.h>
#include <string.h>

/* ------------------------------------------------------------------------ */
/* What there is                                                             */

/* As in a new database; an upgraded one has the reference's, with fewer checks. */
static const char reference_tables[] =
	"CREATE TABLE inodes (\n"
	"    id        INTEGER PRIMARY KEY CHECK (id > 0),\n"
	"    uid       INT NOT NULL CHECK (uid BETWEEN 0 AND 4294967294),\n"
	"    gid       INT NOT NULL CHECK (gid BETWEEN 0 AND 4294967294),\n"
	"    mode      INT NOT NULL CHECK (mode BETWEEN 0 AND 65535),\n"
	"    mtime_ns  INT NOT NULL,\n"
	"    atime_ns  INT NOT NULL,\n"
	"    ctime_ns  INT NOT NULL,\n"
	"    target    BLOB(256) CHECK (typeof(target) IN ('blob', 'null')),\n"
	"    size      INT NOT NULL DEFAULT 0 CHECK (size BETWEEN 0 AND 9223372036854775807),\n"
	"    rdev      INT NOT NULL DEFAULT 0 CHECK (rdev BETWEEN 0 AND 4294967295),\n"
	"    btime_ns  INT,\n"
	"    allocated INT CHECK (allocated BETWEEN 0 AND 9223372036854775807),\n"
	"    data      BLOB CHECK (typeof(data) IN ('blob', 'null'))\n"
	");\n"
	"CREATE TABLE contents (\n"
	"    rowid     INTEGER PRIMARY KEY,\n"
	"    name      BLOB(256) NOT NULL CHECK (typeof(name) = 'blob' AND length(name) BETWEEN 1 AND 255),\n"
	"    inode     INT NOT NULL REFERENCES inodes(id) DEFERRABLE INITIALLY DEFERRED,\n"
	"    parent_inode INT NOT NULL REFERENCES inodes(id) DEFERRABLE INITIALLY DEFERRED\n"
	");\n";

static const char own_tables[] =
	"CREATE UNIQUE INDEX contents_name ON contents (parent_inode, name);\n"
	"CREATE INDEX contents_inode ON contents (inode);\n"
	"CREATE TABLE chunks (\n"
	"    rowid     INTEGER PRIMARY KEY,\n"
	"    inode     INT NOT NULL REFERENCES inodes(id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,\n"
	"    offset    INT NOT NULL CHECK (offset BETWEEN 0 AND 9223372036854775807 AND offset % 65536 = 0),\n"
	"    data      BLOB NOT NULL CHECK (typeof(data) = 'blob' AND length(data) BETWEEN 1 AND 65536)\n"
	");\n"
	"CREATE UNIQUE INDEX chunks_place ON chunks (inode, offset);\n"
	"CREATE TABLE xattrs (\n"
	"    inode     INT NOT NULL REFERENCES inodes(id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,\n"
	"    name      BLOB NOT NULL CHECK (typeof(name) = 'blob' AND length(name) BETWEEN 1 AND 255),\n"
	"    value     BLOB NOT NULL CHECK (typeof(value) = 'blob' AND length(value) <= 65536),\n"
	"    PRIMARY KEY (inode, name)\n"
	") WITHOUT ROWID;\n"
	"CREATE TABLE state (\n"
	"    id        INTEGER PRIMARY KEY CHECK (id = 1),\n"
	"    next_number INT NOT NULL CHECK (next_number > 1),\n"
	"    generation INT NOT NULL CHECK (generation BETWEEN 0 AND 4294967295),\n"
	"    is_clean  INT NOT NULL CHECK (is_clean IN (0, 1))\n"
	");\n";

static const char own_views[] =
	"CREATE VIEW files AS\n"
	"WITH RECURSIVE named (inode, path) AS (\n"
	"    SELECT 1, ''\n"
	"    UNION ALL\n"
	"    SELECT c.inode, named.path || '/' || CAST(c.name AS TEXT)\n"
	"    FROM named JOIN contents AS c ON c.parent_inode = named.inode\n"
	"    WHERE c.name <> x'2e2e'\n"
	")\n"
	"SELECT\n"
	"    CASE named.path WHEN '' THEN '/' ELSE named.path END AS path,\n"
	"    CASE i.mode >> 12 WHEN 1 THEN 'fifo' WHEN 2 THEN 'char' WHEN 4 THEN 'dir' WHEN 6 THEN 'block'\n"
	"        WHEN 8 THEN 'file' WHEN 10 THEN 'symlink' WHEN 12 THEN 'socket' END AS type,\n"
	"    printf('%04o', i.mode & 4095) AS mode,\n"
	"    i.uid AS uid,\n"
	"    i.gid AS gid,\n"
	"    i.size AS size,\n"
	"    datetime(i.mtime_ns / 1000000000, 'unixepoch') AS mtime,\n"
	"    (SELECT count(*) FROM contents AS n WHERE n.inode = i.id) AS names,\n"
	"    CAST(i.target AS TEXT) AS target,\n"
	"    i.allocated AS allocated,\n"
	"    i.id AS inode\n"
	"FROM named JOIN inodes AS i ON i.id = named.inode;\n"
	"CREATE VIEW usage AS\n"
	"WITH RECURSIVE below (dir, inode) AS (\n"
	"    SELECT id, id FROM inodes WHERE mode >> 12 = 4\n"
	"    UNION\n"
	"    SELECT below.dir, c.inode\n"
	"    FROM below JOIN contents AS c ON c.parent_inode = below.inode\n"
	"    WHERE c.name <> x'2e2e'\n"
	")\n"
	"SELECT\n"
	"    f.path AS path,\n"
	"    count(*) - 1 AS inodes,\n"
	"    sum(i.size) AS size,\n"
	"    sum(i.allocated) AS allocated\n"
	"FROM files AS f JOIN below ON below.dir = f.inode JOIN inodes AS i ON i.id = below.inode\n"
	"WHERE f.type = 'dir'\n"
	"GROUP BY f.inode;\n"
	"CREATE VIEW attributes AS\n"
	"SELECT f.path AS path, CAST(x.name AS TEXT) AS name, x.value AS value, f.inode AS inode\n"
	"FROM files AS f JOIN xattrs AS x ON x.inode = f.inode;\n";

/* What makes of names and targets that a person typed those that our statements find. */
static const char make_blobs[] = "UPDATE contents SET name = CAST(name AS BLOB) WHERE typeof(name) <> 'blob';\n"
				 "UPDATE inodes SET target = CAST(target AS BLOB) WHERE typeof(target) = 'text';\n"
				 "UPDATE inodes SET data = CAST(data AS BLOB) WHERE typeof(data) = 'text';\n";

static const char drop_orphans[] = "DELETE FROM inodes WHERE id <> 1 AND id NOT IN (SELECT inode FROM contents);\n"
				   "DELETE FROM chunks WHERE inode NOT IN (SELECT id FROM inodes);\n"
				   "DELETE FROM xattrs WHERE inode NOT IN (SELECT id FROM inodes);\n";

/* "..", by which the reference finds the parent of its root. */
static const char name_root[] = "INSERT OR IGNORE INTO contents (name, inode, parent_inode) VALUES (x'2e2e', 1, 1);\n";

/* ------------------------------------------------------------------------ */
/* What kind of database it is                                               */

static int check_version(int64_t version, struct store_error *error)
{
	if (version > STORE_VERSION)
		return store_say(error, -EPROTO, "its version is %lld, and this program knows versions up to %d",
				 (long long)version, STORE_VERSION);
	if (version < 1)
		return store_say(error, -EMEDIUMTYPE, "its version is %lld, which there is not", (long long)version);
	return 0;
}

/* Tables of that name are in the way of ours. */
static int check_names(struct store_db *db, struct store_error *error)
{
	int64_t taken;
	int err;

	err = store_query(
		db,
		"SELECT count(*) FROM sqlite_master WHERE lower(name) IN ('chunks', 'xattrs', 'state', 'files', "
		"'usage', 'attributes', 'contents_name', 'contents_inode', 'chunks_place')",
		&taken);
	if (err)
		return store_explain(error, err);
	if (taken > 0)
		return store_say(error, -EMEDIUMTYPE,
				 "it has other tables beside inodes and contents, of names that are needed");
	return 0;
}

static int find_kind_of_unmarked(struct store_db *db, int64_t version, enum store_kind *kind, struct store_error *error)
{
	int64_t all, ours;
	int err;

	err = store_query(db, "SELECT count(*) FROM sqlite_master", &all);
	if (!err)
		err = store_query(
			db,
			"SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN ('inodes', 'contents')",
			&ours);
	if (err)
		return store_explain(error, err);
	if (version != 0 || (all > 0 && ours != 2))
		return store_say(error, -EMEDIUMTYPE, "it is a database, but not of a tmpfs");
	*kind = all > 0 ? STORE_IS_REFERENCE : STORE_IS_EMPTY;
	return all > 0 ? check_names(db, error) : 0;
}

/* All tables, those of the reference first, and the columns that a new row gets from us. */
static const struct {
	const char *name, *columns;
} known_tables[] = {
	{"inodes", "'id', 'uid', 'gid', 'mode', 'mtime_ns', 'atime_ns', 'ctime_ns', 'target', 'size', 'rdev', "
		   "'btime_ns', 'allocated'"},
	{"contents", "'parent_inode', 'name', 'inode'"},
	{"chunks", "'inode', 'offset', 'data'"},
	{"xattrs", "'inode', 'name', 'value'"},
	{"state", "'id', 'next_number', 'generation', 'is_clean'"},
};

static unsigned tables_of(enum store_kind kind)
{
	switch (kind) {
	case STORE_IS_OURS:
		return sizeof(known_tables) / sizeof(known_tables[0]);
	case STORE_IS_REFERENCE:
		return 2;
	default:
		return 0;
	}
}

/* S3: what is read is what was written there, and nothing that the database has computed. */
static int check_table(struct store_db *db, const char *name, struct store_error *error)
{
	int64_t tables, computed;
	char sql[160];
	int err;

	/* A virtual table is of the same type. */
	(void)sqlite3_snprintf(
		sizeof(sql), sql,
		"SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = %Q AND sql LIKE 'CREATE TABLE%%'",
		name);
	err = store_query(db, sql, &tables);
	if (err)
		return store_explain(error, err);
	if (tables != 1)
		return store_say(error, -EMEDIUMTYPE, "it has no table %s", name);
	(void)sqlite3_snprintf(sizeof(sql), sql, "SELECT count(*) FROM pragma_table_xinfo(%Q) WHERE hidden <> 0", name);
	err = store_query(db, sql, &computed);
	if (err)
		return store_explain(error, err);
	return computed == 0 ? 0 : store_say(error, -EMEDIUMTYPE, "its table %s has a column that is computed", name);
}

static int check_tables(struct store_db *db, enum store_kind kind, struct store_error *error)
{
	unsigned i;
	int err = 0;

	for (i = 0; !err && i < tables_of(kind); i++)
		err = check_table(db, known_tables[i].name, error);
	return err;
}

/* The rowid is the way to the data of an inode: there must be one, and nothing else may have its name. */
static int check_rowids(struct store_db *db, struct store_error *error)
{
	int64_t named, none;
	int err;

	err = store_query(db, "SELECT _rowid_ FROM inodes LIMIT 0", &none);
	if (!err)
		err = store_query(db, "SELECT count(*) FROM pragma_table_xinfo('inodes') WHERE lower(name) = '_rowid_'",
				  &named);
	if (err)
		return store_explain(error, err);
	return named == 0 ? 0 : store_say(error, -EMEDIUMTYPE, "its table inodes has a column that is called _rowid_");
}

static int find_kind(struct store_db *db, enum store_kind *kind, struct store_error *error)
{
	int64_t id, version;
	int err;

	err = store_query(db, "PRAGMA application_id", &id);
	if (!err)
		err = store_query(db, "PRAGMA user_version", &version);
	if (err)
		return store_explain(error, err);
	if (id == 0)
		return find_kind_of_unmarked(db, version, kind, error);
	if (id != STORE_APPLICATION_ID)
		return store_say(error, -EMEDIUMTYPE, "it is a database, but not of a tmpfs");
	*kind = STORE_IS_OURS;
	return check_version(version, error);
}

int store_find_kind(struct store_db *db, enum store_kind *kind, struct store_error *error)
{
	int err = find_kind(db, kind, error);

	if (err || *kind == STORE_IS_EMPTY)
		return err;
	err = check_tables(db, *kind, error);
	return err ? err : check_rowids(db, error);
}

/* The key of a rowid table that is no column of ours (rowid) fills itself in. */
static int check_filled_in(struct store_db *db, unsigned table, struct store_error *error)
{
	int64_t missing;
	char sql[320];
	int err;

	(void)sqlite3_snprintf(
		sizeof(sql), sql,
		"SELECT count(*) FROM pragma_table_info(%Q) WHERE \"notnull\" AND dflt_value IS NULL AND "
		"NOT pk AND name NOT IN (%s)",
		known_tables[table].name, known_tables[table].columns);
	err = store_query(db, sql, &missing);
	if (err)
		return store_explain(error, err);
	return missing == 0 ? 0
			    : store_say(error, -EMEDIUMTYPE,
					"its table %s has another column, which is not to be NULL and has no default",
					known_tables[table].name);
}

int store_check_writing(struct store *store, struct store_error *error)
{
	struct store_db *db = &store->writer;
	unsigned i;
	int err = 0;

	for (i = 0; !err && i < tables_of(store->kind); i++)
		err = check_filled_in(db, i, error);
	if (err || store->kind != STORE_IS_OURS)
		return err; /* what the reference lacks is made with the first commit */
	err = store_prepare_writing(db);
	if (err == -EIO)
		return store_say(error, err, "nothing could be committed to it: %s", store_reason());
	return err ? store_explain(error, err) : 0;
}

/* ------------------------------------------------------------------------ */
/* Making                                                                    */

int store_prepare_file(struct store *store)
{
	if (store->mode == STORE_SAVE)
		return store_execute(&store->writer, "PRAGMA journal_mode = OFF");
	/* Where there can be no WAL, it stays with what it has, which is as safe. */
	return store_execute(&store->writer, "PRAGMA journal_mode = WAL");
}

static int mark(struct store_db *db)
{
	char sql[128];

	(void)sqlite3_snprintf(sizeof(sql), sql, "PRAGMA application_id = %d; PRAGMA user_version = %d",
			       STORE_APPLICATION_ID, STORE_VERSION);
	return store_execute(db, sql);
}

/* A person may have thought of it before. */
static int add_column(struct store_db *db, const char *look, const char *add)
{
	int64_t columns;
	int err;

	err = store_query(db, look, &columns);
	if (err)
		return err;
	return columns > 0 ? 0 : store_execute(db, add);
}

static int add_columns(struct store_db *db)
{
	int err;

	err = add_column(db, "SELECT count(*) FROM pragma_table_info('inodes') WHERE name = 'btime_ns'",
			 "ALTER TABLE inodes ADD COLUMN btime_ns INT");
	if (err)
		return err;
	return add_column(db, "SELECT count(*) FROM pragma_table_info('inodes') WHERE name = 'allocated'",
			  "ALTER TABLE inodes ADD COLUMN allocated INT");
}

static int make_tables(struct store_db *db, enum store_kind kind)
{
	int err;

	if (kind == STORE_IS_OURS)
		return 0;
	err = kind == STORE_IS_EMPTY ? store_execute(db, reference_tables) : add_columns(db);
	if (!err)
		err = store_execute(db, own_tables);
	if (!err)
		err = store_execute(db, own_views);
	if (!err)
		err = mark(db);
	return err;
}

int store_set_up(struct store *store)
{
	struct store_db *db = &store->writer;
	int err;

	err = make_tables(db, store->kind);
	if (!err && store->has_text)
		err = store_execute(db, make_blobs);
	if (!err && store->has_orphans)
		err = store_execute(db, drop_orphans);
	if (!err)
		err = store_execute(db, name_root);
	return err;
}
