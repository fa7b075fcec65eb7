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

/* What the bytes of a file in a store are charged with, if so many of them are no hole: what they will take where they go
 * to, which in the kernel are whole pages. */
static inline uint64_t inode_stored_cost(const struct data_plane *plane, uint64_t allocated)
{
	if (!plane->ops->is_share)
		return allocated;
	return (allocated + DATA_PAGE_SIZE - 1) / DATA_PAGE_SIZE * DATA_PAGE_SIZE;
}

/* The bytes in the store are no use any more: the file is empty from here on. */
void inode_forget_stored_locked(struct inode *inode, struct data_plane *plane) REQUIRES(inode->lock);

/* The plane is another one now, and @before was the one by which it was charged. */
void inode_charge_stored_again(struct inode *inode, const struct data_plane *before, const struct data_plane *plane);

/* What is to be stored, as it is now.  target stays the inode's. */
void inode_to_node_locked(const struct inode *inode, struct data_plane *plane, struct node *node)
	REQUIRES_SHARED(inode->lock);

#endif
