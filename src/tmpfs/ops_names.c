/* SPDX-License-Identifier: MIT */
/* Handlers for names: lookup, making, removing, renaming, listing.  See ops.h. */
#include "ops.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int op_lookup(struct llfuse_request *req, uint64_t parent, const char *name, struct llfuse_entry *entry)
{
	struct inode *inode;
	int err;

	err = tree_lookup(tree_of(req), parent, name, &inode);
	if (err == -ENOENT) {
		/* To be remembered: whoever makes the name asks the kernel first. */
		memset(entry, 0, sizeof(*entry));
		entry->entry_timeout_s = LLFUSE_FOREVER_S;
		return 0;
	}
	if (err)
		return err;
	fill_entry(tree_of(req), inode, entry);
	return 0;
}

void op_forget(struct llfuse_request *req, size_t n, const struct llfuse_forget *forgets)
{
	size_t i;

	for (i = 0; i < n; i++)
		tree_forget(tree_of(req), forgets[i].ino, forgets[i].nlookup);
}

int op_mknod(struct llfuse_request *req, uint64_t parent, const char *name, mode_t mode, dev_t rdev,
	     struct llfuse_entry *entry)
{
	struct inode *made;
	int err;

	err = tree_mknod(tree_of(req), parent, name, mode, rdev, owner_of(req), &made);
	if (err)
		return err;
	fill_entry(tree_of(req), made, entry);
	return 0;
}

int op_mkdir(struct llfuse_request *req, uint64_t parent, const char *name, mode_t mode, struct llfuse_entry *entry)
{
	struct inode *made;
	int err;

	err = tree_mkdir(tree_of(req), parent, name, mode, owner_of(req), &made);
	if (err)
		return err;
	fill_entry(tree_of(req), made, entry);
	return 0;
}

int op_symlink(struct llfuse_request *req, uint64_t parent, const char *name, const char *target,
	       struct llfuse_entry *entry)
{
	struct inode *made;
	int err;

	err = tree_symlink(tree_of(req), parent, name, target, owner_of(req), &made);
	if (err)
		return err;
	fill_entry(tree_of(req), made, entry);
	return 0;
}

int op_link(struct llfuse_request *req, uint64_t ino, uint64_t parent, const char *name, struct llfuse_entry *entry)
{
	struct inode *linked;
	int err;

	err = tree_link(tree_of(req), ino, parent, name, &linked);
	if (err)
		return err;
	fill_entry(tree_of(req), linked, entry);
	return 0;
}

int op_unlink(struct llfuse_request *req, uint64_t parent, const char *name)
{
	return tree_unlink(tree_of(req), parent, name);
}

int op_rmdir(struct llfuse_request *req, uint64_t parent, const char *name)
{
	return tree_rmdir(tree_of(req), parent, name);
}

/* A directory that has another parent now has another "..", which the kernel has no other reason to ask for. */
static void drop_listing(struct llfuse_request *req, uint64_t parent, const char *name)
{
	struct inode *inode;

	if (tree_lookup(tree_of(req), parent, name, &inode))
		return;
	if (inode_is_dir(inode))
		invalidate(req, inode->number, 0);
	tree_put(tree_of(req), inode);
}

int op_rename(struct llfuse_request *req, uint64_t parent, const char *name, uint64_t new_parent, const char *new_name,
	      unsigned flags)
{
	int err;

	err = tree_rename(tree_of(req), parent, name, new_parent, new_name, flags, owner_of(req));
	if (err || parent == new_parent)
		return err;
	drop_listing(req, new_parent, new_name);
	if (flags & RENAME_EXCHANGE)
		drop_listing(req, parent, name);
	return 0;
}

int op_readlink(struct llfuse_request *req, uint64_t ino, struct llfuse_data *data)
{
	struct inode *inode = tree_get(tree_of(req), ino);
	size_t n;
	void *room;
	int err = 0;

	if (!inode)
		return -ESTALE;
	if (inode->type != DT_LNK) {
		err = -EINVAL;
		goto put;
	}
	inode_begin_access(inode, tree_of(req)->plane);
	inode_end_access(inode);
	room = llfuse_data_room(data);
	if (!room) {
		err = -ENOMEM;
		goto put;
	}
	n = inode->symlink.len < llfuse_data_size(data) ? inode->symlink.len : llfuse_data_size(data);
	memcpy(room, inode->symlink.target, n);
	llfuse_data_filled(data, n);
put:
	tree_put(tree_of(req), inode);
	return err;
}

int op_readdir(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, off_t off, struct llfuse_dir *dir)
{
	const bool wants_attr = llfuse_dir_wants_attr(dir);
	struct llfuse_entry entry;
	struct tree_list list;
	struct tree_item item;
	int added, err;

	(void)file;
	err = tree_list_begin(tree_of(req), ino, (uint64_t)off, &list);
	if (err)
		return err;
	while (tree_list_next(&list, &item)) {
		fill_listed_entry(list.tree, item.inode, wants_attr, &entry);
		added = llfuse_dir_add(dir, item.name, &entry, (off_t)item.next_off);
		if (added == LLFUSE_DIR_COUNTED)
			tree_ref(item.inode);
		if (added == LLFUSE_DIR_FULL)
			break;
	}
	tree_list_end(&list);
	return 0;
}
