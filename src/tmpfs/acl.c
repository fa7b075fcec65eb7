/* SPDX-License-Identifier: MIT */
/* POSIX ACLs.  See acl.h. */
#include "acl.h"

#include <endian.h>
#include <stdint.h>
#include <string.h>

#define VERSION 2
#define RWX 07u

enum tag {
	USER_OBJ = 0x01,
	USER = 0x02,
	GROUP_OBJ = 0x04,
	GROUP = 0x08,
	MASK = 0x10,
	OTHER = 0x20,
};

/* As they stand in the value, little-endian. */
struct header {
	uint32_t version;
};

struct entry {
	uint16_t tag;
	uint16_t permissions;
	uint32_t id;
};

static size_t count(size_t size)
{
	return (size - sizeof(struct header)) / sizeof(struct entry);
}

/* The value may lie anywhere. */
static struct entry get(const void *value, size_t i)
{
	struct entry entry;

	memcpy(&entry, (const char *)value + sizeof(struct header) + i * sizeof(entry), sizeof(entry));
	entry.tag = le16toh(entry.tag);
	entry.permissions = le16toh(entry.permissions);
	return entry;
}

static void set_permissions(void *value, size_t i, unsigned permissions)
{
	uint16_t stored = htole16((uint16_t)permissions);

	memcpy((char *)value + sizeof(struct header) + i * sizeof(struct entry) + offsetof(struct entry, permissions),
	       &stored, sizeof(stored));
}

/* The entry with @tag, of which there is at most one; false if there is none. */
static bool find(const void *value, size_t size, enum tag tag, size_t *at, unsigned *permissions)
{
	size_t i;

	for (i = 0; i < count(size); i++)
		if (get(value, i).tag == tag) {
			*at = i;
			*permissions = get(value, i).permissions;
			return true;
		}
	return false;
}

/* Each of the three once, a mask where there are named ones, and nothing unknown. */
bool acl_is_valid(const void *value, size_t size)
{
	unsigned seen = 0, named = 0;
	struct header header;
	struct entry entry;
	size_t i;

	if (size < sizeof(header) || size > ACL_SIZE_MAX || (size - sizeof(header)) % sizeof(entry) != 0)
		return false;
	memcpy(&header, value, sizeof(header));
	if (le32toh(header.version) != VERSION)
		return false;
	for (i = 0; i < count(size); i++) {
		entry = get(value, i);
		if (entry.permissions & ~RWX)
			return false;
		if (entry.tag == USER || entry.tag == GROUP)
			named = MASK;
		else if ((entry.tag & ~(USER_OBJ | GROUP_OBJ | MASK | OTHER)) || (entry.tag & (entry.tag - 1)) ||
			 entry.tag == 0 || (seen & entry.tag))
			return false;
		else
			seen |= entry.tag;
	}
	return (seen & ~(unsigned)MASK) == (USER_OBJ | GROUP_OBJ | OTHER) && (seen & named) == named;
}

/* Which entry stands for the group's bits. */
static bool find_group_class(const void *value, size_t size, size_t *at, unsigned *permissions)
{
	return find(value, size, MASK, at, permissions) || find(value, size, GROUP_OBJ, at, permissions);
}

static bool is_minimal(size_t size)
{
	return count(size) == 3;
}

bool acl_to_mode(const void *value, size_t size, mode_t *permissions)
{
	unsigned user = 0, group = 0, other = 0;
	size_t at;

	(void)find(value, size, USER_OBJ, &at, &user); /* a valid one has them all */
	(void)find_group_class(value, size, &at, &group);
	(void)find(value, size, OTHER, &at, &other);
	*permissions = user << 6 | group << 3 | other;
	return is_minimal(size);
}

void acl_chmod(void *value, size_t size, mode_t mode)
{
	unsigned old;
	size_t at;

	if (find(value, size, USER_OBJ, &at, &old))
		set_permissions(value, at, mode >> 6 & RWX);
	if (find_group_class(value, size, &at, &old))
		set_permissions(value, at, mode >> 3 & RWX);
	if (find(value, size, OTHER, &at, &old))
		set_permissions(value, at, mode & RWX);
}

/* Leaves in the entry and in the bits of @mode from @shift on what both have. */
static void intersect(void *value, size_t at, unsigned permissions, mode_t *mode, unsigned shift)
{
	unsigned both = permissions & (*mode >> shift & RWX);

	set_permissions(value, at, both);
	*mode = (*mode & ~(RWX << shift)) | both << shift;
}

bool acl_create(void *value, size_t size, mode_t *mode)
{
	unsigned permissions;
	size_t at;

	if (find(value, size, USER_OBJ, &at, &permissions))
		intersect(value, at, permissions, mode, 6);
	if (find_group_class(value, size, &at, &permissions))
		intersect(value, at, permissions, mode, 3);
	if (find(value, size, OTHER, &at, &permissions))
		intersect(value, at, permissions, mode, 0);
	return is_minimal(size);
}
