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

/** How long what was seen of the source counts. */
enum source_cache {
	SOURCE_CACHE_AUTO, /* until somebody else changes it, as far as that can be watched */
	SOURCE_CACHE_ALWAYS, /* for ever: nobody else changes it */
	SOURCE_CACHE_NEVER,
};

struct source_options {
	/** The directory where it is to be shown; what cannot be looked at is left for the mount to complain about. */
	const char *mountpoint;
	enum source_cache cache;
	bool one_file_system; /* what is mounted in it is not shown */
	size_t descriptors; /* for inode_table_limit(); 0: its preset */
};

/**
 * Opens the directory @path to be shown, before anything is mounted.
 * Returns 0, or -errno: -ENOENT, -ENOTDIR, -EACCES for @path.
 */
int source_open(const char *path, const struct source_options *options, struct source **source);

/** NULL is nothing. */
void source_close(struct source *source);

/** Learns which mount is our own.  Once it is mounted, before the first source_child(). */
void source_mounted(struct source *source);

/** Takes @covered_fd for the descriptor of the directory that the mount covers, in the place of
 * the one that source_open() took: another way to it, or -1 if it does not lie in the source. */
void source_take_covered(struct source *source, int covered_fd);

struct inode_table *source_inodes(const struct source *source);

enum source_cache source_cache(const struct source *source);

/** What others change; NULL if that cannot be watched, or need not. */
struct watch *source_watch(const struct source *source);

/** 0, or -errno: why the source is not watched. */
int source_watch_error(const struct source *source);

/** The inode number to show for @ino on the device @dev (st_dev): the root's file system has its own, and those of others
 * differ from these, as far as none is above 2^48.  Any thread. */
uint64_t source_shown_ino(struct source *source, dev_t dev, uint64_t ino);

/**
 * Opens with O_PATH the directory that @path, an absolute one as this process sees it, is in, and points *@name to its last
 * component.  Returns a descriptor; -ENOENT if that is not in the source, or behind a mount of which nobody remembers any
 * name for long; or -errno.
 */
int source_open_above(const struct source *source, const char *path, const char **name);

/** Something of the handlers' own, from before there are requests. */
void source_attach(struct source *source, void *own);
void *source_attached(const struct source *source);

/**
 * Opens @name in the directory @dir_fd with O_PATH and asks for its attributes.
 * @over_mount: something is mounted there, so that the name alone does not lead to it.
 * Returns 0, -EXDEV if something is mounted there that is not to be shown, -ELOOP if it is our own mount somewhere else than at the mount point,
 * or -errno.
 */
int source_child(const struct source *source, int dir_fd, const char *name, int *fd, struct statx *stx,
		 bool *over_mount);

#endif
