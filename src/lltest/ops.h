/* SPDX-License-Identifier: MIT */
/* A directory with one file in it that can be read. */
#ifndef LLTEST_OPS_H
#define LLTEST_OPS_H

#include "llfuse.h"

struct lltest {
	const char *name;
	uid_t uid;
	gid_t gid;
	/* Where the file's bytes are: a descriptor, or -1 and memory. */
	int fd;
	const void *bytes;
	size_t size;
};

extern const struct llfuse_ops lltest_ops;

#endif
