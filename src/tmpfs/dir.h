/* SPDX-License-Identifier: MIT */
/*
 * The names in one directory: found by a hash, listed in the order of a cookie.
 * Knows names and to which inode each leads, nothing of what an inode is.  Guarded by
 * the lock of the tree.
 *
 * The cookie is where an entry stands in listings, for as long as it lives.  It is
 * made of the bits of the hash in reverse, so that the entries of one chain of the
 * table stand together, whatever the size of the table: the next entry behind
 * a cookie is found without an index beside the table, also if the
 * cookie's own entry is gone.  And as a name always stands near the same place,
 * a listing ends even if somebody keeps renaming what it has listed.
 */
#ifndef TMPFS_DIR_H
#define TMPFS_DIR_H

#include "table.h"

#include <stdint.h>

/* Longest name, in bytes. */
#define DIR_NAME_MAX 255

struct inode;

struct dir_entry {
	struct table_link link;
	uint64_t cookie; /* > 2: the first offsets are for "." and ".." */
	struct inode *inode;
	uint8_t name_len;
	char name[]; /* with a NUL behind it */
};

/* All zero but the parent is an empty directory. */
struct dir {
	struct table names;
	struct inode *parent; /* NULL while the directory has no name */
};

/* A name on its way to an entry. */
struct dir_name {
	const char *bytes;
	size_t len; /* 1 to DIR_NAME_MAX */
	uint64_t hash;
};

struct dir_entry *dir_find(const struct dir *dir, const struct dir_name *name);

/* The first entry whose cookie is greater than @cookie, or NULL. */
struct dir_entry *dir_next(const struct dir *dir, uint64_t cookie);

/* Adds @name, which is not there.  Returns 0 and the entry, -ENOMEM, or -ENOSPC, also
 * if there are too many, or more than a hundred share 56 bits of the hash. */
int dir_add(struct dir *dir, struct mem *mem, const struct dir_name *name, struct inode *inode,
	    struct dir_entry **entry);

/* Takes @entry out and frees it. */
void dir_remove(struct dir *dir, struct mem *mem, struct dir_entry *entry);

/* Frees all entries; what they lead to is the caller's. */
void dir_done(struct dir *dir, struct mem *mem);

static inline size_t dir_count(const struct dir *dir)
{
	return dir->names.count;
}

#endif
