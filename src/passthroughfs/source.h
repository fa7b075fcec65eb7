/* SPDX-License-Identifier: MIT */
/*
 * The tree that is shown: its inode table, and the way from a directory to a child.
 *
 * Knows that our own mount may lie inside the source, where looking at it would send
 * a request to ourselves and wait for ever: there it shows the directory that the
 * mount covers.
 */
#ifndef PASSTHROUGHFS_SOURCE_H
#define PASSTHROUGHFS_SOURCE_H

#include "inode.h"

struct source;

/**
 * Opens the directory @path to be shown at the directory @mountpoint, before
 * anything is mounted there.
 * Returns 0, or -errno: -ENOENT, -ENOTDIR, -EACCES for @path; a @mountpoint that
 * cannot be looked at is left for the mount to complain about.
 */
int source_open(const char *path, const char *mountpoint, struct source **source);

/** NULL is nothing. */
void source_close(struct source *source);

/** Learns which mount is our own.  Once it is mounted, before the first source_child(). */
void source_mounted(struct source *source);

struct inode_table *source_inodes(const struct source *source);

/**
 * Opens @name in the directory @dir_fd with O_PATH and asks for its attributes.
 * @over_mount: something is mounted there, so that the name alone does not lead to it.
 * Returns 0, -ELOOP if it is our own mount somewhere else than at the mount point,
 * or -errno.
 */
int source_child(const struct source *source, int dir_fd, const char *name, int *fd, struct statx *stx,
		 bool *over_mount);

#endif
