/* SPDX-License-Identifier: MIT */
/* Compares the extended attributes of one node, see model_look.h: names in any order, and values. */
#include "model_look.h"
#include "model_report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#define LIST_ROOM 4096
#define VALUE_ROOM 65536
#define ATTRIBUTES_MAX 64

struct list {
	char bytes[LIST_ROOM];
	const char *names[ATTRIBUTES_MAX];
	size_t n;
};

/* What one side cannot have is no difference. */
static bool is_compared(const struct features *features, const char *name)
{
	if (strncmp(name, "user.", 5) == 0)
		return features->xattr_user;
	if (strncmp(name, "trusted.", 8) == 0)
		return features->xattr_trusted;
	if (strncmp(name, "security.", 9) == 0)
		return features->xattr_security;
	if (strncmp(name, "system.posix_acl_", 17) == 0)
		return features->acl;
	return true;
}

static int by_name(const void *x, const void *y)
{
	return strcmp(*(const char *const *)x, *(const char *const *)y);
}

static void read_list(const struct model *model, const struct node *node, const char *path, bool follows,
		      struct list *list)
{
	ssize_t size = (follows ? listxattr : llistxattr)(path, list->bytes, sizeof(list->bytes));
	const char *name;

	list->n = 0;
	if (size < 0 && errno != EOPNOTSUPP)
		differ(model, "%s: listxattr of %s: %s", node_name(node), path, strerror(errno));
	for (name = list->bytes; name < list->bytes + size; name += strlen(name) + 1)
		if (is_compared(&model->features, name) && list->n < ATTRIBUTES_MAX)
			list->names[list->n++] = name;
	qsort(list->names, list->n, sizeof(list->names[0]), by_name);
}

static void compare_value(const struct model *model, const struct node *node, const char *const path[SIDES],
			  bool follows, const char *name)
{
	static unsigned char value[SIDES][VALUE_ROOM];
	ssize_t size[SIDES];
	enum side side;

	for (side = A; side < SIDES; side++) {
		size[side] = (follows ? getxattr : lgetxattr)(path[side], name, value[side], VALUE_ROOM);
		if (size[side] < 0)
			differ(model, "%s: getxattr of %s on %c: %s", node_name(node), name, "AB"[side],
			       strerror(errno));
	}
	if (size[A] != size[B])
		differ(model, "%s: %s has %zd bytes on A, %zd on B", node_name(node), name, size[A], size[B]);
	if (memcmp(value[A], value[B], (size_t)size[B]) != 0)
		differ(model, "%s: %s has another value on A than on B", node_name(node), name);
}

void compare_xattrs(const struct model *model, const struct node *node, const char *const path[SIDES], bool follows)
{
	static struct list list[SIDES];
	const char *name[SIDES];
	size_t i;

	read_list(model, node, path[A], follows, &list[A]);
	read_list(model, node, path[B], follows, &list[B]);
	for (i = 0; i < list[A].n || i < list[B].n; i++) {
		name[A] = i < list[A].n ? list[A].names[i] : NULL;
		name[B] = i < list[B].n ? list[B].names[i] : NULL;
		if (!name[A] || (name[B] && strcmp(name[A], name[B]) > 0))
			differ(model, "%s: has the attribute %s on B alone", node_name(node), name[B]);
		if (!name[B] || strcmp(name[A], name[B]) < 0)
			differ(model, "%s: has the attribute %s on A alone", node_name(node), name[A]);
		compare_value(model, node, path, follows, name[A]);
	}
}
