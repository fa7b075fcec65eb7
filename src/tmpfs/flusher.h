/* SPDX-License-Identifier: MIT */
/*
 * What the kernel has of files and the tree has not: stores to mappings of files whose bytes come to us, and writes that it
 * collects.  Left alone it writes them back within half a minute; a commit or a copy has only what was written back.
 *
 * A thread lets it do so: every now and then for the commits of a database, and all of it for who asks.  It is neither a
 * handler's nor the saver's, as it waits for handlers, and those may wait for a commit.
 */
#ifndef TMPFS_FLUSHER_H
#define TMPFS_FLUSHER_H

#include "tree.h"

#include <llfuse.h>

struct flusher;

/* Without a thread yet.  Returns 0 or -ENOMEM. */
int flusher_new(struct tree *tree, struct llfuse_session *session, struct flusher **flusher);

/* NULL is nothing. */
void flusher_free(struct flusher *flusher);

/* Lets it do so every @period_ms from here on.  Once.  Returns 0 or what pthread_create(3) gives. */
int flusher_start(struct flusher *flusher, unsigned period_ms);

/* Begins to let it write back all that it has now.  Returns 0 and a @number for flusher_look(), 0 if there is nothing, or what
 * pthread_create(3) gives. */
int flusher_begin(struct flusher *flusher, uint64_t *number);

/* Returns 0 once that is done, -EINPROGRESS before, -EINVAL for a number that was not given out, or what llfuse_syncfs() gave
 * for the last one. */
int flusher_look(struct flusher *flusher, uint64_t number);

#endif
