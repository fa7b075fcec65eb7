/* SPDX-License-Identifier: MIT */
/* The parts of tree_compare(): each looks at one aspect of one node, and reports what differs. */
#ifndef MODEL_LOOK_H
#define MODEL_LOOK_H

#include "model.h"

#include <limits.h>

/* Attributes and times, by stat(2): as the kernel tells them.  They become those last seen. */
void compare_attributes(const struct model *model, struct node *node, const struct stat st[SIDES]);

/* Whether compare_attributes() would find that something happened to @node. */
bool attributes_changed(const struct node *node, const struct stat st[SIDES]);

/* Whether A itself says of the file at @fd and @name (followed if it is a link and @follows) what @st says. */
void compare_with_daemon(const struct model *model, struct node *node, int fd, const char *name, bool follows,
			 const struct stat *st);

/* The bytes of two open regular files; @size is that of both. */
void compare_contents(const struct model *model, const struct node *node, const int fd[SIDES], off_t size);

/* @path leads to the node on each side, over a last symbolic link if @follows. */
void compare_xattrs(const struct model *model, const struct node *node, const char *const path[SIDES], bool follows);

/* The names in the directories at @fd, which must be the same. */
#define LISTING_MAX 64
struct listing {
	int err; /* a directory that was removed cannot be listed */
	size_t n;
	struct listed {
		char name[NAME_MAX + 1];
		ino_t ino;
		unsigned char type; /* DT_REG ... */
	} items[LISTING_MAX]; /* in the order of strcmp() */
};
void compare_listings(const struct model *model, const struct node *dir, const int fd[SIDES],
		      struct listing listing[SIDES]);

/* How a report calls @node. */
const char *node_name(const struct node *node);

#endif
