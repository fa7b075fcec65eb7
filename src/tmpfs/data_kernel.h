/* SPDX-License-Identifier: MIT */
/*
 * Bytes of files in files of the kernel's: a tmpfs of its own that is mounted nowhere, and so private to us.  The
 * kernel reads, writes and maps them for programs without asking us, and keeps their limit; we keep all else, and
 * learn from the backing file what happened to it.  Needs CAP_SYS_ADMIN.
 *
 * A backing file has a name in that mount, so that one that nobody uses needs no descriptor.  Those in use and
 * the last ones that were keep their descriptor and their registration, as both cost more than the use of
 * them; a number of empty ones waits for new files.
 *
 * D2: a file has a backing file while it is open or not empty.
 * D3: all overlapping opens of a file go the same way.
 */
#ifndef TMPFS_DATA_KERNEL_H
#define TMPFS_DATA_KERNEL_H

#include "data.h"

/* Who lets the kernel use a file by itself. */
struct data_registry {
	/* @request is what open() was given.  Returns a handle, > 0, or -errno: then the file's I/O goes through us. */
	int (*add)(void *request, int fd);
	void (*remove)(void *arg, int handle);
	void *arg;
};

struct data_kernel_options {
	const char *huge; /* huge= of tmpfs(5), or NULL */
	const char *mempolicy; /* mpol= of tmpfs(5), or NULL */
	bool noswap;
	struct data_registry registry;
};

/* Whether such a plane can be had: 0, or what data_kernel_new() would return. */
int data_kernel_probe(const struct data_kernel_options *options);

/*
 * @mem divides its size with the plane from here on.
 * Returns 0, -EPERM, -ENOSYS or -ENODEV where the kernel does not let us, -EINVAL for an option that it refuses,
 * -ENOMEM, -ENOSPC.  Source: fsopen(2), fsconfig(2), fsmount(2), tmpfs(5).
 */
int data_kernel_new(struct mem *mem, const struct data_kernel_options *options, struct data_plane **plane);

/* For tests: how many descriptors may be kept, those in use at this moment aside. */
void data_kernel_set_warm_max(struct data_plane *plane, unsigned max);

#endif
