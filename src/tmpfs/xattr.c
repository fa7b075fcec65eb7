/* SPDX-License-Identifier: MIT */
/* The extended attributes of one inode.  See xattr.h. */
#include "xattr.h"

#include "mem.h"

#include <errno.h>
#include <linux/limits.h>
#include <string.h>
#include <sys/xattr.h>

static size_t bytes_of(size_t name_len, size_t size)
{
	return sizeof(struct xattr) + name_len + 1 + size;
}

static void free_one(struct xattr *xattr, struct mem *mem)
{
	mem_free(mem, xattr, bytes_of(xattr->name_len, xattr->size));
}

/* Where the link to it is, or the end of the list. */
static struct xattr **find_link(struct xattr **list, const char *name)
{
	while (*list && strcmp((*list)->name, name) != 0)
		list = &(*list)->next;
	return list;
}

struct xattr *xattr_find(struct xattr *list, const char *name)
{
	return *find_link(&list, name);
}

static size_t length_of_names(const struct xattr *list)
{
	size_t total = 0;

	for (; list; list = list->next)
		total += list->name_len + 1u;
	return total;
}

static int check(struct xattr **list, struct xattr *const *at, const char *name, size_t size, int flags)
{
	size_t len = strlen(name);

	if (len == 0 || len > XATTR_NAME_MAX)
		return -ERANGE;
	if (size > XATTR_SIZE_MAX)
		return -E2BIG;
	if (*at)
		return flags & XATTR_CREATE ? -EEXIST : 0;
	if (flags & XATTR_REPLACE)
		return -ENODATA;
	return length_of_names(*list) + len + 1 > XATTR_LIST_MAX ? -ENOSPC : 0;
}

static struct xattr *new_one(struct mem *mem, const char *name, const void *value, size_t size)
{
	size_t len = strlen(name);
	struct xattr *xattr = mem_alloc(mem, bytes_of(len, size));

	if (!xattr)
		return NULL;
	xattr->next = NULL;
	xattr->size = (uint32_t)size;
	xattr->name_len = (uint8_t)len;
	memcpy(xattr->name, name, len + 1);
	if (size > 0)
		memcpy(xattr->name + len + 1, value, size);
	return xattr;
}

int xattr_set(struct xattr **list, struct mem *mem, const char *name, const void *value, size_t size, int flags)
{
	struct xattr **at = find_link(list, name);
	struct xattr *old = *at, *made;
	int err;

	err = check(list, at, name, size, flags);
	if (err)
		return err;
	made = new_one(mem, name, value, size);
	if (!made)
		return -errno;
	made->next = old ? old->next : NULL;
	*at = made;
	if (old)
		free_one(old, mem);
	return 0;
}

int xattr_remove(struct xattr **list, struct mem *mem, const char *name)
{
	struct xattr **at = find_link(list, name);
	struct xattr *old = *at;

	if (!old)
		return -ENODATA;
	*at = old->next;
	free_one(old, mem);
	return 0;
}

void xattr_clear(struct xattr **list, struct mem *mem)
{
	struct xattr *next;

	for (; *list; *list = next) {
		next = (*list)->next;
		free_one(*list, mem);
	}
}

uint64_t xattr_cost(const struct xattr *list)
{
	uint64_t total = 0;

	for (; list; list = list->next)
		total += mem_block_cost(bytes_of(list->name_len, list->size));
	return total;
}
