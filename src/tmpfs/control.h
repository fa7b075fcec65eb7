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

/* -EPERM, -EBUSY if more is in use than is to be allowed, -EINVAL; on failure nothing is changed. */
#define CONTROL_LIMITS _IOWR('L', 1, struct control_limits)

#endif
