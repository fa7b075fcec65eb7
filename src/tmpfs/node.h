/* SPDX-License-Identifier: MIT */
/*
 * What there is to say of an inode beside its names, its bytes and its attributes by name: how it goes to a store and
 * comes back.  Plain values, copied.
 */
#ifndef TMPFS_NODE_H
#define TMPFS_NODE_H

#include <stdint.h>
#include <sys/types.h>
#include <time.h>

/* Numbers go up to here: what follows is the first that there is not, and fits where a sign is. */
#define NODE_NUMBER_MAX ((uint64_t)INT64_MAX - ((uint64_t)1 << 40))

struct node {
	uint64_t number;
	mode_t mode; /* type and permissions */
	uid_t uid;
	gid_t gid;
	dev_t rdev; /* devices, else 0 */
	uint64_t size; /* regular files, else 0 */
	uint64_t allocated; /* regular files: bytes that are no hole, as far as known, else 0 */
	struct timespec atime, mtime, ctime, btime;
	const char *target; /* symbolic links: its bytes, which somebody else owns; else NULL */
	size_t target_len;
};

#endif
