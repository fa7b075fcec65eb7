/* SPDX-License-Identifier: MIT */
/*
 * The extended attributes of one inode: names and values.  Knows how much the kernel lets there be; nothing of
 * what they mean.  Guarded by the lock of the inode.
 * Source: xattr(7), linux/limits.h.
 */
#ifndef TMPFS_XATTR_H
#define TMPFS_XATTR_H

#include <stddef.h>
#include <stdint.h>

struct mem;

/* One attribute; a list of them is NULL or leads to the first. */
struct xattr {
	struct xattr *next;
	uint32_t size; /* of the value */
	uint8_t name_len;
	char name[]; /* with a NUL; the value follows */
};

static inline const void *xattr_value(const struct xattr *xattr)
{
	return xattr->name + xattr->name_len + 1;
}

/* NULL if it is not there. */
struct xattr *xattr_find(struct xattr *list, const char *name);

/* @flags: XATTR_CREATE, XATTR_REPLACE.  Returns 0, -EEXIST, -ENODATA, -ERANGE (the name is empty or too long), -E2BIG,
 * -ENOSPC (also if not all names could be listed any more), -ENOMEM; on failure the list is as it was. */
int xattr_set(struct xattr **list, struct mem *mem, const char *name, const void *value, size_t size, int flags);

/* Returns 0 or -ENODATA. */
int xattr_remove(struct xattr **list, struct mem *mem, const char *name);

void xattr_clear(struct xattr **list, struct mem *mem);

/* Bytes that the list costs. */
uint64_t xattr_cost(const struct xattr *list);

#endif
