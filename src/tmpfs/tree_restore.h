/* SPDX-License-Identifier: MIT */
/*
 * Filling a new tree with what a store has: inodes first, then their attributes by name, then names, and at the end what
 * only all of it together can tell.  Nothing that the store says is trusted.
 *
 * One thread; nobody else has the tree yet.  Results are 0, or -errno with @error filled in:
 * -EUCLEAN for what cannot be, -ENOSPC if the limits of the tree do not allow for it, -ENOMEM.
 */
#ifndef TMPFS_TREE_RESTORE_H
#define TMPFS_TREE_RESTORE_H

#include "store.h"
#include "tree.h"

/* How many inodes had no name, and were left out. */
struct tree_restored {
	uint64_t orphans;
};

/* The root of the tree, which is there already, gets the attributes that the store has. */
int tree_restore(struct tree *tree, struct store *store, struct tree_restored *restored, struct store_error *error);

#endif
