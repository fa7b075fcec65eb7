/* SPDX-License-Identifier: MIT */
/* Handlers for extended attributes and ACLs.  See ops.h. */
#include "inode_xattr.h"
#include "ops.h"

#include <errno.h>
#include <linux/capability.h>

int op_setxattr(struct llfuse_request *req, uint64_t ino, const char *name, const void *value, size_t size, int flags)
{
	struct tree *tree = tree_of(req);
	struct inode *inode = tree_get(tree, ino);
	int err;

	if (!inode)
		return -ESTALE;
	err = inode_set_xattr(inode, tree->plane, name, value, size, flags, keeps_setgid(req, inode));
	tree_put(tree, inode);
	return err;
}

int op_getxattr(struct llfuse_request *req, uint64_t ino, const char *name, struct llfuse_data *data)
{
	struct tree *tree = tree_of(req);
	void *room = llfuse_data_room(data);
	struct inode *inode;
	ssize_t n;

	if (!room)
		return -ENOMEM;
	inode = tree_get(tree, ino);
	if (!inode)
		return -ESTALE;
	n = inode_get_xattr(inode, name, room, llfuse_data_size(data));
	tree_put(tree, inode);
	if (n < 0)
		return (int)n;
	llfuse_data_filled(data, (size_t)n);
	return 0;
}

/* xattr(7): processes without CAP_SYS_ADMIN do not see the trusted namespace.  Asked only if there is something to see. */
static bool sees_trusted(const struct llfuse_request *req, struct inode *inode)
{
	return inode_has_trusted(inode) && llfuse_has_capability(req, CAP_SYS_ADMIN);
}

int op_listxattr(struct llfuse_request *req, uint64_t ino, struct llfuse_data *data)
{
	struct tree *tree = tree_of(req);
	void *room = llfuse_data_room(data);
	struct inode *inode;

	if (!room)
		return -ENOMEM;
	inode = tree_get(tree, ino);
	if (!inode)
		return -ESTALE;
	llfuse_data_filled(data, inode_list_xattrs(inode, sees_trusted(req, inode), room, llfuse_data_size(data)));
	tree_put(tree, inode);
	return 0;
}

int op_removexattr(struct llfuse_request *req, uint64_t ino, const char *name)
{
	struct tree *tree = tree_of(req);
	struct inode *inode = tree_get(tree, ino);
	int err;

	if (!inode)
		return -ESTALE;
	err = inode_remove_xattr(inode, tree->plane, name, keeps_setgid(req, inode));
	tree_put(tree, inode);
	return err;
}
