/* SPDX-License-Identifier: MIT */
/*
 * The database of a mount: from the options to a tree that is kept in it.  Tells the user, in one line, what is wrong
 * with it.
 */
#ifndef TMPFS_DATABASE_H
#define TMPFS_DATABASE_H

#include "ops.h"

/* What the options say of it, with absolute paths; all zero: nothing is stored. */
struct database_options {
	char *path; /* NULL: there is none */
	bool is_kept; /* db=, and not load= */
	unsigned interval_s;
};

/* @db and @load are as the user wrote them, or NULL; @mountpoint is where the file must not lie.  Returns false, with the reason
 * told, if they make no sense. */
bool database_settle(struct database_options *options, const char *db, const char *load, const char *mountpoint);
void database_options_free(struct database_options *options);

/* Fills the tree of @fs, and prepares for its being stored.  In the process that is to have the mount, before it has
 * threads.  Returns 0, or -errno with the reason told. */
int database_open(struct tmpfs *fs, const struct database_options *options);

/* The last commit, and the end of what database_open() made.  Returns 0, or -errno if not all is committed, which has been
 * logged. */
int database_close(struct tmpfs *fs);

#endif
