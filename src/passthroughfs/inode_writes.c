/* SPDX-License-Identifier: MIT */
/*
 * Writes that nothing tells of: see inode.h.
 *
 * Knows that fanotify tells of each write that the kernel makes to an open file, also of those that come through our own
 * mount, and that this takes a third of the time of a small write; and what to make up for if it does not tell.
 *
 * In this order, so that whoever finds writes not ignored, and looks at the file afterwards, has seen what there was before
 * the first write that is told of:
 *  - the inode says that they are ignored before the kernel ignores them,
 *  - the kernel tells of them again, looks under way are told (watch_serial), and only then the inode says so.
 */
#include "inode_table.h"

#include "watch.h"

#include <errno.h>

static bool begin_locked(struct inode_table *table, struct inode *inode)
{
	if (!inode->opens || inode->ignores_writes || table->ignores_unknown)
		return false;
	inode->ignores_writes = true;
	table->n_ignoring++;
	return true;
}

static bool begin(struct inode_table *table, struct inode *inode)
{
	bool has_begun;

	pthread_mutex_lock(&table->lock);
	has_begun = begin_locked(table, inode);
	pthread_mutex_unlock(&table->lock);
	return has_begun;
}

static void end(struct inode_table *table, struct inode *inode)
{
	pthread_mutex_lock(&table->lock);
	inode->ignores_writes = false;
	table->n_ignoring--;
	pthread_mutex_unlock(&table->lock);
}

static bool is_to_end(struct inode_table *table, const struct inode *inode)
{
	bool is_closed;

	pthread_mutex_lock(&table->lock);
	is_closed = !inode->opens && inode->ignores_writes;
	pthread_mutex_unlock(&table->lock);
	return is_closed;
}

void inode_ignore_writes(struct inode_table *table, uint64_t ino)
{
	scoped_hold hold = HOLD_NONE;

	if (inode_hold(table, ino, &hold) < 0)
		return;
	pthread_mutex_lock(&table->ignoring);
	if (begin(table, hold.inode) && watch_ignore_writes(table->mounts.watch, hold.fd) < 0)
		end(table, hold.inode);
	pthread_mutex_unlock(&table->ignoring);
}

/* If that fails, they stay ignored, and are known to be. */
void inode_notice_writes(struct inode_table *table, struct hold *hold)
{
	if (!atomic_load(&hold->inode->ignores_writes))
		return;
	pthread_mutex_lock(&table->ignoring);
	if (is_to_end(table, hold->inode) && inode_open_held(hold) == 0 &&
	    watch_notice_writes(table->mounts.watch, hold->fd) == 0)
		end(table, hold->inode);
	pthread_mutex_unlock(&table->ignoring);
}

static bool ignores(const struct inode_table *table, const struct inode *inode)
{
	return atomic_load(&table->n_ignoring) &&
	       (atomic_load(&inode->ignores_writes) || atomic_load(&table->ignores_unknown));
}

bool hold_ignores_writes(const struct hold *hold)
{
	return ignores(hold->table, hold->inode);
}

bool inode_ignores_writes(struct inode_table *table, uint64_t ino)
{
	const struct inode *inode;
	bool does;

	if (!atomic_load(&table->n_ignoring)) /* mostly */
		return false;
	pthread_mutex_lock(&table->lock);
	inode = inode_hash_find_locked(table, ino);
	does = !inode || ignores(table, inode);
	pthread_mutex_unlock(&table->lock);
	return does;
}
