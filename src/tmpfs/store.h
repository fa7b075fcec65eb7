/* SPDX-License-Identifier: MIT */
/*
 * The SQLite form of a tree: one database file, as docs/format.md describes it.  Knows tables and statements; nothing of
 * when something is written, or of the tree in memory.
 *
 * Writing goes from store_begin() to store_commit() or store_rollback(), by one thread at a time.  Reading
 * (store_read_data()) has a connection and a lock of its own: any thread, at any time.
 *
 * Results are 0 or -errno unless said otherwise: -ENOSPC for a full disk, -EIO for a damaged database and what
 * else SQLite cannot do, -EROFS, -EBUSY if somebody else holds its lock, -ENOMEM.  store_reason() says more.
 */
#ifndef TMPFS_STORE_H
#define TMPFS_STORE_H

#include "node.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

/* Bytes of a file are kept in pieces of so many bytes, which begin at multiples of it. */
#define STORE_CHUNK_SIZE 65536

struct store;
struct xattr;

enum store_mode {
	STORE_KEEP, /* to read and to write; made if it is not there.  One process at a time. */
	STORE_LOAD, /* to read only: nothing of the file is changed */
	STORE_SAVE, /* a new one, at a path where nothing is; written at once, without a journal: worthless unless all succeeds */
};

/* Room for one line that says what is wrong with a database. */
struct store_error {
	char text[256];
};

/*
 * Opens the database at @path, which is absolute.  With STORE_KEEP a database of the two tables of Python-LLFUSE's tmpfs
 * becomes one of ours at the first commit, and not before.
 * Returns 0 or -errno with @error filled in: -EBUSY if another process keeps it, or holds SQLite's lock; -EMEDIUMTYPE
 * if it is no such database; -EPROTO if its version is newer than ours; -EROFS, -EACCES ... if it cannot be written.
 *
 * A store does not outlive a fork(2): a child has none of SQLite's locks, so that it is the child that has to open it.
 */
int store_open(const char *path, enum store_mode mode, struct store **opened, struct store_error *error);

/* Closes it; what was not committed is gone.  The counters of the last commit are taken as the last, if that succeeded and
 * nobody called store_unsettle() since: the next mount goes on from them, and skips 2^32 numbers otherwise.  NULL is nothing.
 * Returns 0, or why what was committed may not have reached the disk. */
int store_close(struct store *store);

/* Why the last call of this thread failed, in one line without the name of the file. */
const char *store_reason(void);

/* What another thread was told is the reason of this one's, too; "" is none. */
#define STORE_REASON_SIZE 256
void store_take_reason(const char *reason);

/* The counters of a tree, which outlast a mount. */
struct store_counters {
	uint64_t next_number; /* no inode has this one or a greater one, or ever had */
	uint32_t generation; /* 0 when it is read: none is kept, as numbers are given out anew (STORE_LOAD) */
};

/* ------------------------------------------------------------------------ */
/* Reading                                                                   */

/* What store_read_tree() calls for what it finds; each returns 0, or -errno, which ends it, with @error filled in. */
struct store_reader {
	/* First, all inodes, in the order of their numbers; the root is the first. */
	int (*node)(void *arg, const struct node *node, struct store_error *error);
	/* Then their attributes by name ... */
	int (*xattr)(void *arg, uint64_t number, const char *name, const void *value, size_t size,
		     struct store_error *error);
	/* ... and all names.  A name may hold any bytes: nobody has looked at it yet. */
	int (*name)(void *arg, uint64_t parent, const char *name, size_t len, uint64_t number,
		    struct store_error *error);
	void *arg;
};

/* Whether it is the file that @st is of. */
bool store_is_file(const struct store *store, const struct stat *st);

/* Whether another mount keeps it, or somebody else has its lock just now.  For STORE_LOAD. */
bool store_is_kept(const struct store *store);

/* Whether there is a tree in it yet.  A database that was just made has none. */
bool store_has_tree(const struct store *store);

/* Inodes without a name are removed with the first commit. */
void store_drop_orphans(struct store *store);

/* Reads all but the bytes of files.  Each row is checked by itself (types, ranges); what the rows say together is the
 * reader's to check.  Returns 0 or -errno with @error filled in. */
int store_read_tree(struct store *store, const struct store_reader *reader, struct store_counters *counters,
		    struct store_error *error);

/*
 * Reads the bytes of the file @number as they were last committed: calls @put for each piece that is not a hole, in their
 * order, until it returns something but 0.  @n is at most STORE_CHUNK_SIZE.
 * Returns 0, what @put returned, or -EIO (also for pieces that cannot be: overlapping, behind the end of @size).
 */
int store_read_data(struct store *store, uint64_t number, uint64_t size,
		    int (*put)(void *arg, uint64_t off, const void *bytes, size_t n), void *arg);

/* What is at a place of a file: @n bytes, or a hole up to @end. */
struct store_piece {
	uint64_t end; /* a multiple of STORE_CHUNK_SIZE, or UINT64_MAX */
	size_t n; /* 0: a hole */
};

/* The same for what is at @off, a multiple of STORE_CHUNK_SIZE before the end; @buf has room for one piece. */
int store_read_piece(struct store *store, uint64_t number, uint64_t size, uint64_t off, void *buf,
		     struct store_piece *piece);

/* No further piece is wanted: what is kept open from one to the next of a file is closed, which the end of the file and
 * any other reading do, too. */
void store_end_pieces(struct store *store);

/* ------------------------------------------------------------------------ */
/* Writing                                                                   */

int store_begin(struct store *store);

/* On failure everything since store_begin() is rolled back. */
int store_commit(struct store *store, const struct store_counters *counters);
void store_rollback(struct store *store);

/* A commit failed, perhaps before store_begin(): numbers may have been given out that the last one does not count. */
void store_unsettle(struct store *store);

/* After a commit, when nobody waits any more: moves what was committed from the log to its place in the file, which takes as
 * long again, if there is enough of it to be worth the time.  Where it is never called, store_begin() does it sometimes. */
void store_settle(struct store *store);

/*
 * Many rows at once, in the order in which they are the quickest written: that of their numbers, of directory and name, of number and
 * offset.  @next fills in the next one and returns 1, 0 if there is none any more, or -errno, which ends it and is what is
 * returned.  What it points to stays until the next call.
 */
struct store_name {
	uint64_t parent;
	const char *bytes;
	size_t len;
	uint64_t number;
};
struct store_chunk {
	uint64_t number;
	uint64_t off; /* a multiple of STORE_CHUNK_SIZE */
	const void *bytes;
	size_t n; /* at most STORE_CHUNK_SIZE, and not 0 */
};
int store_put_nodes(struct store *store, int (*next)(void *arg, struct node *node), void *arg);
int store_put_names(struct store *store, int (*next)(void *arg, struct store_name *name), void *arg);
int store_put_chunks(struct store *store, int (*next)(void *arg, struct store_chunk *chunk), void *arg);

/* Makes or changes the inode. */
int store_put_node(struct store *store, const struct node *node);

/* With its bytes and attributes; its names are to be gone by the commit. */
int store_remove_node(struct store *store, uint64_t number);

/* The name leads to @number from now on. */
int store_put_name(struct store *store, uint64_t parent, const char *name, size_t len, uint64_t number);

/* If it is there. */
int store_remove_name(struct store *store, uint64_t parent, const char *name, size_t len);

/* Every name goes, for all to be put again before the commit; and every inode that has none then. */
int store_remove_all_names(struct store *store);
int store_remove_nameless(struct store *store);

/* These are all that the inode has: @xattrs is the first of a list, or NULL. */
int store_put_xattrs(struct store *store, uint64_t number, const struct xattr *xattrs);

/* @off is a multiple of STORE_CHUNK_SIZE, @n at most that and not 0. */
int store_put_chunk(struct store *store, uint64_t number, uint64_t off, const void *bytes, size_t n);

/* The pieces that begin at @from or behind it, but before @to, are holes. */
int store_remove_chunks(struct store *store, uint64_t number, uint64_t from, uint64_t to);

#endif
