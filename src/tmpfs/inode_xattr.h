/* SPDX-License-Identifier: MIT */
/*
 * Extended attributes and ACLs of an inode, with what follows from them for its mode.  Knows the namespaces; who may
 * see and change which the kernel has checked.  Takes the inode's lock.
 * Source: xattr(7), acl(5).
 */
#ifndef TMPFS_INODE_XATTR_H
#define TMPFS_INODE_XATTR_H

#include "inode.h"

/* Copies the value to @buf, at most @size bytes.  Returns its length, -ENODATA, or -EOPNOTSUPP for an unknown
 * namespace. */
ssize_t inode_get_xattr(struct inode *inode, const char *name, void *buf, size_t size);

/* @keeps_setgid: the caller may keep the setgid bit of a file whose ACL changes.  Returns 0, -EOPNOTSUPP, -EINVAL (an ACL
 * that is none, a name without a second part), -EACCES (a default ACL for what is no directory), and what xattr_set()
 * gives. */
int inode_set_xattr(struct inode *inode, struct data_plane *plane, const char *name, const void *value, size_t size,
		    int flags, bool keeps_setgid);

/* The same for what a store has kept, which is no change.  Of a new inode: takes no lock. */
int inode_restore_xattr(struct inode *inode, struct data_plane *plane, const char *name, const void *value,
			size_t size);

/* Returns 0, -ENODATA (never for an ACL), -EOPNOTSUPP. */
int inode_remove_xattr(struct inode *inode, struct data_plane *plane, const char *name, bool keeps_setgid);

/* The names, each with a NUL, those of the trusted namespace if @with_trusted.  Copies at most @size bytes; returns
 * the length of all. */
size_t inode_list_xattrs(struct inode *inode, bool with_trusted, void *buf, size_t size);

/* Whether there is one in the trusted namespace. */
bool inode_has_trusted(struct inode *inode);

#endif
