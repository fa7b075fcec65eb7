/* SPDX-License-Identifier: MIT */
/*
 * What can be asked of a mounted tmpfs, by ioctl(2) on its root directory: between llfusectl and tmpfs.
 * Whoever may open the root may look; whoever mounted, and root, may change.
 */
#ifndef TMPFS_CONTROL_H
#define TMPFS_CONTROL_H

#include <stdint.h>
#include <sys/ioctl.h>

enum {
	CONTROL_SET_SIZE = 1 << 0,
	CONTROL_SET_INODES = 1 << 1,
};

/* UINT64_MAX is no limit. */
struct control_limits {
	uint32_t set; /* in: which limits to change */
	uint32_t reserved; /* 0 */
	uint64_t size; /* in, if set; out: bytes */
	uint64_t inodes; /* in, if set; out */
	uint64_t size_used; /* out */
	uint64_t inodes_used; /* out */
	char data[16]; /* out: where bytes of files lie, "kernel" or "heap" */
};

/* Room for an absolute path, with its NUL. */
#define CONTROL_PATH_SIZE 4096

struct control_save {
	uint64_t number; /* out: of the copy */
	char path[CONTROL_PATH_SIZE]; /* in */
};

enum control_copy_state {
	CONTROL_COPY_NONE, /* none was ever begun */
	CONTROL_COPY_RUNS,
	CONTROL_COPY_DONE,
	CONTROL_COPY_FAILED,
};

/* How the saving of a copy goes, or went. */
struct control_copy {
	uint64_t number; /* in: of which, 0: of the last; out */
	uint32_t state; /* of enum control_copy_state */
	int32_t error; /* CONTROL_COPY_FAILED: the errno */
	uint64_t done, total; /* roughly bytes */
	uint64_t stop_ns; /* for so long nobody could change anything */
	char reason[128]; /* CONTROL_COPY_FAILED: in words, or empty */
};

/* -EPERM, -EBUSY if more is in use than is to be allowed, -EINVAL; on failure nothing is changed. */
#define CONTROL_LIMITS _IOWR('L', 1, struct control_limits)

/* Begins to save a copy in a file, which the process that keeps the mount makes.  -EPERM, -EBUSY while one is being saved,
 * -EINVAL if the path is not absolute. */
#define CONTROL_SAVE _IOWR('L', 2, struct control_save)

/* -EPERM, -EINVAL for a number that was not given, -ESTALE if so many were begun since that this one is not known any more. */
#define CONTROL_COPY _IOWR('L', 3, struct control_copy)

/* Commits to the database of the mount.  -EPERM, -ENODATA if there is none, and why it cannot be done: -ENOSPC, -EIO ... */
#define CONTROL_SYNC _IO('L', 4)

/* Before both: with 0 it begins to let the kernel write back what it has of files (stores to mappings, writes that it
 * collects), and gives a number, 0 if there is nothing; with that number it gives 0 once that is done, and else the number again.  -EPERM, -EINVAL for a
 * number that it did not give, or why it cannot be done. */
#define CONTROL_FLUSH _IOWR('L', 5, uint64_t)

#endif
