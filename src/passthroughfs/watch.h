/* SPDX-License-Identifier: MIT */
/*
 * What others change in the source.
 *
 * Knows fanotify(7): how whole file systems are watched, and how the kernel tells of a change, by file handles and
 * names.  Knows nothing of inodes: what a handle stands for is for the inode table to say.
 *
 * Changes that this process makes itself are not told of, unless watch_tell_own() says so.
 */
#ifndef PASSTHROUGHFS_WATCH_H
#define PASSTHROUGHFS_WATCH_H

#include "mounts.h"

#include <stdbool.h>
#include <stdint.h>

struct watch;

/** Returns 0, or -errno: -EPERM for who may not (CAP_SYS_ADMIN in the first user namespace), -ENOSYS, -EINVAL where
 * the kernel is older than Linux 5.17. */
int watch_new(struct watch **watch);

/** NULL is nothing. */
void watch_free(struct watch *watch);

/** From here on what this process changes is told apart: once, when it does not go to the background any more. */
void watch_begin(struct watch *watch);

/** From here on they are told of as those of others: where a file is known in more than one way the kernel, which asked
 * for a change by one of them, does not know what it means for the others.  Any thread; NULL is nothing. */
void watch_tell_own(struct watch *watch);

/** From here on changes on the file system of @fd (O_PATH is enough) are told of.  Returns 0 or -errno.  Any thread. */
int watch_file_system(struct watch *watch, int fd);

/** From here on writes to the file @fd (O_PATH is enough) are not told of, until watch_notice_writes() or until the kernel
 * has forgotten the file.  Returns 0 or -errno: -EINVAL before Linux 6.0.  Any thread. */
int watch_ignore_writes(struct watch *watch, int fd);

/** From here on they are again, and watch_serial() is another.  Returns 0 or -errno.  Any thread. */
int watch_notice_writes(struct watch *watch, int fd);

/** To be polled for reading: there are changes. */
int watch_fd(const struct watch *watch);

/**
 * Grows with each watch_read() that read something, before anybody can see what, and with watch_notice_writes().  Who notes it, looks at a file, and
 * finds it as it was afterwards has seen what no change read by then is about.  Any thread; NULL: always the same.
 */
unsigned watch_serial(const struct watch *watch);

/**
 * A number that is another after each move of a file or directory on what is watched, by others.  Who checks where a
 * file is, and gets the same number before that and later, knows that it is still there.
 * Returns false where that cannot be told: @watch is NULL or has not begun.  Any thread.
 */
bool watch_moves(struct watch *watch, unsigned *moves);

/** Reads what has come, without waiting.  Returns 1 (also if it was all our own), 0 if there is nothing, or -errno.  One
 * thread. */
int watch_read(struct watch *watch);

/** One change.  What it points to lasts until the next watch_read(). */
struct watch_change {
	bool is_lost; /* there were too many: anything may have changed, and nothing else here counts */
	bool is_data; /* bytes of @file were changed */
	uint64_t fsid; /* statfs.f_fsid */
	/* A name that was added, removed or moved, and where; NULL if it is not about one. */
	const char *name;
	struct handle dir;
	/* The file whose attributes changed; size 0: not known. */
	struct handle file;
};

/** The next of those that were read.  Returns false behind the last. */
bool watch_next(struct watch *watch, struct watch_change *change);

#endif
