/* SPDX-License-Identifier: MIT */
/*
 * From an inode's number to the inode, and its references.  The number is what
 * the kernel has (nodeid): it is looked up each time and not turned into a pointer, so
 * that a number which is not there, or not any more, is an error and never
 * stands for another file.  Knows of an inode only number, refs and link.
 */
#ifndef TMPFS_ITABLE_H
#define TMPFS_ITABLE_H

#include "lock.h"
#include "table.h"

#include <stdbool.h>
#include <stdint.h>

struct inode;
struct mem;

#define ITABLE_SHARDS 16

/* A part of the table, on a cache line of its own. */
struct itable_shard {
	struct small_rwlock lock; /* taken last; nothing is called under it */
	struct table table; /* guarded by lock */
} __attribute__((aligned(64)));

struct itable {
	struct itable_shard shards[ITABLE_SHARDS];
};

void itable_init(struct itable *itable);

/* All inodes of one shard that are not being freed, each with a further reference: an array for the caller to free(3).
 * Returns -ENOMEM with nothing referred to. */
int itable_get_all(struct itable *itable, unsigned shard, struct inode ***inodes, size_t *n);

/* Calls @drop for each inode, which may free it.  Nobody else uses the table. */
void itable_drain(struct itable *itable, struct mem *mem, void (*drop)(struct table_link *link, void *arg), void *arg);

/* Returns 0, -ENOMEM or -ENOSPC. */
int itable_add(struct itable *itable, struct mem *mem, struct inode *inode);

/* The inode with @number and a further reference to it, or NULL. */
struct inode *itable_get(struct itable *itable, uint64_t number);

/* Gives @n references back.  Returns true if they were the last: the inode is then
 * in the table no more, and the caller's to free. */
bool itable_unref(struct itable *itable, struct mem *mem, struct inode *inode, uint64_t n);

#endif
