/* SPDX-License-Identifier: MIT */
/*
 * Inodes in use: see inode.h.  Here: how a file is found again, by its descriptor,
 * its handle or its place.
 */
#include "inode.h"

#include "beneath.h"
#include "fd.h"
#include "inode_table.h"
#include "watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 4096 }; /* of names that are gone through to find one file again */

static void hold_locked(struct inode_table *table, struct inode *inode, struct hold *hold)
{
	inode->holds++;
	inode_leave_idle_locked(table, inode);
	*hold = (struct hold){.table = table, .inode = inode, .fd = inode->fd, .is_open = inode->opens};
}

/* Holds the inode, without a descriptor if it has none. */
static int hold_inode(struct inode_table *table, uint64_t ino, struct hold *hold)
{
	struct inode *inode;

	pthread_mutex_lock(&table->lock);
	inode = inode_hash_find_locked(table, ino);
	if (inode)
		hold_locked(table, inode, hold);
	pthread_mutex_unlock(&table->lock);
	return inode ? 0 : -ESTALE;
}

void hold_drop(struct hold *hold)
{
	struct inode_table *table = hold->table;
	struct inode *unused;
	scoped_fd spare = -1;

	if (!hold->inode)
		return;
	if (hold->fd_is_ours)
		fd_close(&hold->fd);
	pthread_mutex_lock(&table->lock);
	hold->inode->holds--;
	unused = inode_take_unused_locked(table, hold->inode);
	if (!unused)
		spare = inode_become_idle_locked(table, hold->inode);
	pthread_mutex_unlock(&table->lock);
	inode_free_all(unused);
	*hold = HOLD_NONE;
}

static int open_held(struct hold *hold, unsigned depth);

/* Holds the place of @inode.  Returns a copy of the name, NULL without memory or place. */
static char *hold_place(const struct hold *hold, struct hold *dir)
{
	char *name = NULL;

	pthread_mutex_lock(&hold->table->lock);
	if (hold->inode->parent) {
		hold_locked(hold->table, hold->inode->parent, dir);
		name = strdup(hold->inode->name);
	}
	pthread_mutex_unlock(&hold->table->lock);
	return name;
}

/* Opens @name, which was @inode when it was last seen. */
static int open_named(int dir_fd, const char *name, const struct inode *inode)
{
	scoped_fd fd = beneath_open_at(dir_fd, name, false);
	struct handle handle;
	struct statx stx;

	if (fd == -ENOENT || fd == -EXDEV || fd == -ENOTDIR)
		return -ESTALE;
	if (fd < 0)
		return fd;
	if (statx(fd, "", AT_EMPTY_PATH, INODE_STATX_MASK, &stx) < 0)
		return -errno;
	if (stx.stx_ino != inode->source_ino || inode_device(&stx) != inode->dev)
		return -ESTALE;
	mount_handle(inode->mount, fd, &handle);
	return inode_matches(inode, &stx, &handle) ? take_fd(&fd) : -ESTALE;
}

/* Finds the file again by its place, and keeps the descriptor. */
static int open_by_place(struct hold *hold, unsigned depth)
{
	scoped_hold dir = HOLD_NONE;
	scoped_fd fd = -1;
	char *name;
	int err;

	name = hold_place(hold, &dir);
	if (!name)
		return dir.inode ? -ENOMEM : -ESTALE;
	err = depth < MAX_DEPTH ? open_held(&dir, depth + 1) : -ESTALE;
	if (!err)
		fd = open_named(dir.fd, name, hold->inode);
	free(name);
	if (err || fd < 0)
		return err ? err : fd;
	pthread_mutex_lock(&hold->table->lock);
	if (hold->inode->fd < 0)
		hold->inode->fd = take_fd(&fd);
	hold->fd = hold->inode->fd;
	pthread_mutex_unlock(&hold->table->lock);
	return 0;
}

/* Names are mostly looked for where others were just before.  A file would keep its room in the source, when others remove
 * it, for as long as we had a descriptor. */
static void keep_spare(struct hold *hold)
{
	struct inode *inode = hold->inode;

	pthread_mutex_lock(&hold->table->lock);
	if (inode->fd < 0) {
		inode->fd = hold->fd;
		inode->has_spare_fd = true;
		hold->fd_is_ours = false;
	}
	pthread_mutex_unlock(&hold->table->lock);
}

/* Gets the held inode a descriptor. */
static int open_held(struct hold *hold, unsigned depth)
{
	const struct inode *inode = hold->inode;
	int fd;

	if (hold->fd >= 0)
		return 0;
	if (!inode_opens_by_handle(inode))
		return open_by_place(hold, depth);
	fd = mount_open(inode->mount, inode->handle_type, inode->handle, inode->handle_size, O_PATH);
	if (fd < 0)
		return fd;
	hold->fd = fd;
	hold->fd_is_ours = true;
	if (inode->type == S_IFDIR)
		keep_spare(hold);
	return 0;
}

int inode_open_held(struct hold *hold)
{
	return open_held(hold, 0);
}

int hold_watch_error(const struct hold *hold)
{
	return hold->inode->mount->watch_err;
}

static int check_place(const struct inode_table *table, const struct mount *mount, int fd)
{
	bool is_on_root_mount = mount == table->root_mount;
	struct statx stx;
	int err;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_TYPE | STATX_NLINK, &stx) < 0)
		return -errno;
	if (S_ISDIR(stx.stx_mode))
		return beneath_check(table->root_fd, fd, is_on_root_mount);
	if (stx.stx_nlink != 1) /* which of them it was reached by is not known; without one it is nowhere else */
		return 0;
	err = is_on_root_mount ? mount_check_below(mount, fd) : -EOPNOTSUPP;
	if (err != -EOPNOTSUPP)
		return err;
	return beneath_check_file(table->root_fd, fd, mount_keeps_names(mount));
}

/* Others can move a file out of the source, and what they do with it then is none of ours.  Nothing needs to be looked
 * at while nothing was moved. */
static int check_inside(const struct inode_table *table, struct hold *hold, int fd)
{
	struct inode *inode = hold->inode;
	unsigned moves = 0;
	int err;

	if (inode->type != S_IFDIR && hold->is_open)
		return 0;
	/* Another mount may also be unmounted, which nothing tells of. */
	if (inode->mount == table->root_mount && !inode->mount->watch_err && watch_moves(table->mounts.watch, &moves))
		hold->checked = moves + 1;
	if (inode->ino == INODE_ROOT || (hold->checked && atomic_load(&inode->checked) == hold->checked))
		return 0;
	err = check_place(table, inode->mount, fd);
	if (!err)
		atomic_store(&inode->checked, hold->checked);
	return err;
}

/* Gets the held inode a descriptor, if it is inside. */
static int open_inside(const struct inode_table *table, struct hold *hold)
{
	int err = open_held(hold, 0);

	return err ? err : check_inside(table, hold, hold->fd);
}

int inode_hold(struct inode_table *table, uint64_t ino, struct hold *hold)
{
	int err;

	err = hold_inode(table, ino, hold);
	if (!err)
		err = open_inside(table, hold);
	if (err)
		hold_drop(hold);
	return err;
}

static int open_again(struct hold *hold, int flags)
{
	const struct inode *inode = hold->inode;
	int err;

	if (hold->fd < 0 && inode_opens_by_handle(inode))
		return mount_open(inode->mount, inode->handle_type, inode->handle, inode->handle_size, flags);
	err = open_held(hold, 0);
	return err ? err : fd_reopen(hold->fd, flags);
}

int inode_open(struct inode_table *table, uint64_t ino, int flags)
{
	scoped_hold hold = HOLD_NONE;
	const struct inode *inode;
	scoped_fd fd = -1;
	int err;

	err = hold_inode(table, ino, &hold);
	if (err)
		return err;
	inode = hold.inode;
	if (inode->type != S_IFREG && inode->type != S_IFDIR)
		return -ENXIO;
	if (flags & O_TRUNC) /* once it is open it would be too late */
		err = open_inside(table, &hold);
	if (err)
		return err;
	fd = open_again(&hold, flags);
	if (fd < 0)
		return fd;
	err = check_inside(table, &hold, fd);
	return err ? err : take_fd(&fd);
}

int inode_opened(struct inode_table *table, uint64_t ino, bool *close_may_fail)
{
	struct hold hold = HOLD_NONE;
	int err;

	err = hold_inode(table, ino, &hold);
	if (!err && !inode_opens_by_handle(hold.inode))
		err = open_held(&hold, 0);
	if (err) {
		hold_drop(&hold);
		return err;
	}
	/* The hold stays: inode_closed() drops it. */
	pthread_mutex_lock(&table->lock);
	hold.inode->opens++;
	if (close_may_fail)
		*close_may_fail = !mount_closes_silently(hold.inode->mount);
	pthread_mutex_unlock(&table->lock);
	return 0;
}

void inode_closed(struct inode_table *table, uint64_t ino)
{
	struct hold hold = HOLD_NONE;

	if (hold_inode(table, ino, &hold) < 0)
		return;
	pthread_mutex_lock(&table->lock);
	hold.inode->opens--;
	hold.inode->holds--; /* the one that was kept */
	pthread_mutex_unlock(&table->lock);
	inode_notice_writes(table, &hold);
	hold_drop(&hold);
}

int inode_open_forgotten(struct inode_table *table, uint64_t ino)
{
	struct handle handle;
	scoped_fd fd = -1;
	int err;

	if (!numbers_unpack(&table->numbers, ino, &handle))
		return -ESTALE;
	fd = mount_open(table->root_mount, handle.type, handle.bytes, handle.size, O_PATH);
	if (fd < 0)
		return fd;
	err = check_place(table, table->root_mount, fd);
	return err ? err : take_fd(&fd);
}
