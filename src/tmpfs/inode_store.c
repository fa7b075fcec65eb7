/* SPDX-License-Identifier: MIT */
/* An inode and what a store has of it.  See inode_store.h. */
#include "inode_store.h"

#include "journal.h"
#include "mem.h"

#include <errno.h>
#include <sys/stat.h>

#define STAT_BLOCK 512

/* A file on its way from the store into the plane. */
struct loading {
	struct inode *inode;
	struct data_plane *plane;
};

static int put_bytes(void *arg, uint64_t off, const void *bytes, size_t n)
{
	const struct loading *loading = arg;
	struct data_plane *plane = loading->plane;
	ssize_t written;

	/* Short only if there is no room for the rest. */
	written = plane->ops->write(plane, &loading->inode->data, bytes, n, off);
	if (written < 0)
		return (int)written;
	return (size_t)written == n ? 0 : -ENOSPC;
}

/* The file in which the bytes lie has times of its own, of which the inode is not to take these for a change. */
static void settle_times(struct inode *inode, struct data_plane *plane) REQUIRES(inode->lock)
{
	struct timespec times[2] = {
		{.tv_sec = inode->atime.sec, .tv_nsec = inode->atime.nsec},
		{.tv_sec = inode->mtime.sec, .tv_nsec = inode->mtime.nsec},
	};

	if (!plane->ops->set_times)
		return;
	(void)plane->ops->set_times(plane, &inode->data, times); /* an empty file has none */
	plane->ops->refresh(plane, &inode->data);
}

static int read_stored(struct inode *inode, struct data_plane *plane, uint64_t size) REQUIRES(inode->lock)
{
	const struct journal_source *source = &plane->journal->source;
	struct loading loading = {.inode = inode, .plane = plane};
	int err;

	/* It counted all the time: a mount that was full when it was stored can be read again. */
	mem_exceed_begin();
	err = source->read(source->arg, inode->number, size, put_bytes, &loading);
	if (!err)
		err = plane->ops->resize(plane, &inode->data, size);
	mem_exceed_end(plane->mem);
	if (!err && plane->ops->refresh)
		plane->ops->refresh(plane, &inode->data);
	return err;
}

int inode_load_locked(struct inode *inode, struct data_plane *plane)
{
	const struct data stored = inode->data;
	int err;

	if (!inode_is_regular(inode) || !inode->is_stored)
		return 0;
	inode_stay_locked(inode, plane);
	inode_forget_stored_locked(inode, plane);
	err = read_stored(inode, plane, stored.stored.size);
	if (!err) {
		settle_times(inode, plane);
		return 0;
	}
	plane->ops->clear(plane, &inode->data);
	inode->data = stored;
	inode->is_stored = true;
	mem_charge_anyway(plane->mem, inode_stored_cost(plane, stored.stored.allocated));
	return err;
}

void inode_forget_stored_locked(struct inode *inode, struct data_plane *plane)
{
	uint64_t allocated = inode->data.stored.allocated;

	if (!inode_is_regular(inode) || !inode->is_stored)
		return;
	inode->data = (struct data){0};
	inode->is_stored = false;
	mem_move_to_share(plane->mem, inode_stored_cost(plane, allocated));
}

void inode_charge_stored_again(struct inode *inode, const struct data_plane *before, const struct data_plane *plane)
{
	small_rwlock_wrlock(&inode->lock);
	if (inode_is_regular(inode) && inode->is_stored) {
		mem_uncharge(plane->mem, inode_stored_cost(before, inode->data.stored.allocated));
		mem_charge_anyway(plane->mem, inode_stored_cost(plane, inode->data.stored.allocated));
	}
	small_rwlock_wrunlock(&inode->lock);
}

static bool is_here(struct inode *inode)
{
	bool is;

	small_rwlock_rdlock(&inode->lock);
	is = !inode_is_regular(inode) || !inode->is_stored;
	small_rwlock_rdunlock(&inode->lock);
	return is;
}

int inode_load(struct inode *inode, struct data_plane *plane)
{
	int err;

	if (!plane->journal || is_here(inode))
		return 0;
	small_rwlock_wrlock(&inode->lock);
	err = inode_load_locked(inode, plane);
	small_rwlock_wrunlock(&inode->lock);
	return err;
}

void inode_to_node_locked(const struct inode *inode, struct data_plane *plane, struct node *node)
{
	struct stat st;

	inode_stat_locked(inode, plane, &st);
	*node = (struct node){
		.number = inode->number,
		.mode = st.st_mode,
		.uid = st.st_uid,
		.gid = st.st_gid,
		.rdev = st.st_rdev,
		.atime = st.st_atim,
		.mtime = st.st_mtim,
		.ctime = st.st_ctim,
		.btime = {.tv_sec = inode->btime.sec, .tv_nsec = inode->btime.nsec},
	};
	if (inode_is_regular(inode)) {
		node->size = (uint64_t)st.st_size;
		node->allocated = (uint64_t)st.st_blocks * STAT_BLOCK;
	} else if (inode->type == DT_LNK) {
		node->target = inode->symlink.target;
		node->target_len = inode->symlink.len;
	}
}
