/* SPDX-License-Identifier: MIT */
/*
 * An inode and what a store has of it: its attributes as they go there, and its bytes as they come from there.  The bytes of
 * a file that was stored stay in the store until somebody needs them; until then the file has none in a plane, and counts
 * for what they will take.
 */
#ifndef TMPFS_INODE_STORE_H
#define TMPFS_INODE_STORE_H

#include "inode.h"
#include "node.h"

/* Makes sure that the bytes of a regular file are in its plane.  Returns 0, or what the store says (-EIO ...) or the
 * plane (-ENOSPC, -ENOMEM): then they are where they were. */
int inode_load(struct inode *inode, struct data_plane *plane);
int inode_load_locked(struct inode *inode, struct data_plane *plane) REQUIRES(inode->lock);

/* The bytes in the store are no use any more: the file is empty from here on. */
void inode_forget_stored_locked(struct inode *inode, struct data_plane *plane) REQUIRES(inode->lock);

/* What is to be stored, as it is now.  target stays the inode's. */
void inode_to_node_locked(const struct inode *inode, struct data_plane *plane, struct node *node)
	REQUIRES_SHARED(inode->lock);

#endif
