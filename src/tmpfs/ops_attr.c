/* SPDX-License-Identifier: MIT */
/* Handlers for attributes of inodes and of the whole.  See ops.h. */
#include "file.h"
#include "ops.h"

#include <errno.h>
#include <sys/sysmacros.h>

int op_getattr(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, struct llfuse_entry *entry)
{
	struct tree *tree = tree_of(req);
	struct inode *inode = tree_get(tree, ino);
	int err = 0;

	if (!inode)
		return -ESTALE;
	/* Only a write(2) into the kernel's cache asks by way of an open file. */
	if (file && tmpfs_of(req)->writeback && file_is_starved(inode, tree->plane))
		err = -ENOSPC;
	else
		fill_entry(tree, inode, entry);
	tree_put(tree, inode);
	return err;
}

/* The library's names for what changes, in the core's. */
static unsigned set_of(unsigned fields)
{
	static const struct {
		unsigned field, set;
	} map[] = {
		{LLFUSE_SET_MODE, INODE_SET_MODE},       {LLFUSE_SET_UID, INODE_SET_UID},
		{LLFUSE_SET_GID, INODE_SET_GID},         {LLFUSE_SET_SIZE, INODE_SET_SIZE},
		{LLFUSE_SET_ATIME, INODE_SET_ATIME},     {LLFUSE_SET_MTIME, INODE_SET_MTIME},
		{LLFUSE_SET_CTIME, INODE_SET_CTIME},     {LLFUSE_SET_KILL_SUIDGID, INODE_DROP_SETID},
		{LLFUSE_SET_ATIME_NOW, INODE_ATIME_NOW}, {LLFUSE_SET_MTIME_NOW, INODE_MTIME_NOW},
	};
	unsigned set = 0;
	size_t i;

	for (i = 0; i < sizeof(map) / sizeof(map[0]); i++)
		if (fields & map[i].field)
			set |= map[i].set;
	return set;
}

int op_setattr(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, const struct stat *attr,
	       unsigned fields, struct llfuse_entry *entry)
{
	struct inode_change change = {
		.set = set_of(fields),
		.mode = attr->st_mode,
		.uid = attr->st_uid,
		.gid = attr->st_gid,
		.size = (uint64_t)attr->st_size,
		.atime = attr->st_atim,
		.mtime = attr->st_mtim,
		.ctime = attr->st_ctim,
	};
	struct tree *tree = tree_of(req);
	struct inode *inode = tree_get(tree, ino);
	int err;

	if (!inode)
		return -ESTALE;
	/* Without a file this may be open(2) with O_TRUNC.  A kernel that writes back says which times to change. */
	if (file || !tmpfs_of(req)->writeback)
		change.set |= INODE_SIZE_OF_OPEN;
	if ((fields & (LLFUSE_SET_KILL_SUIDGID | LLFUSE_SET_UID | LLFUSE_SET_GID)) && !keeps_setgid(req, inode))
		change.set |= INODE_DROP_AS_STRANGER;
	err = inode_change(inode, tree->plane, &change, &entry->attr);
	if (!err)
		fill_entry(tree, inode, entry);
	tree_put(tree, inode);
	return err;
}

static struct statx_timestamp statx_time(const struct timespec *ts)
{
	return (struct statx_timestamp){.tv_sec = ts->tv_sec, .tv_nsec = (uint32_t)ts->tv_nsec};
}

int op_statx(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, unsigned flags, unsigned mask,
	     struct statx *stx, double *attr_timeout_s)
{
	struct inode *inode = tree_get(tree_of(req), ino);
	struct timespec btime;
	struct stat st;
	bool is_changing;

	(void)file;
	(void)flags; /* AT_STATX_*: the answer is always exact */
	(void)mask; /* all of it costs the same */
	if (!inode)
		return -ESTALE;
	is_changing = inode_stat(inode, tree_of(req)->plane, &st, &btime);
	tree_put(tree_of(req), inode);
	stx->stx_mask = STATX_BASIC_STATS | STATX_BTIME;
	stx->stx_blksize = (uint32_t)st.st_blksize;
	stx->stx_nlink = (uint32_t)st.st_nlink;
	stx->stx_uid = st.st_uid;
	stx->stx_gid = st.st_gid;
	stx->stx_mode = (uint16_t)st.st_mode;
	stx->stx_ino = st.st_ino;
	stx->stx_size = (uint64_t)st.st_size;
	stx->stx_blocks = (uint64_t)st.st_blocks;
	stx->stx_atime = statx_time(&st.st_atim);
	stx->stx_mtime = statx_time(&st.st_mtim);
	stx->stx_ctime = statx_time(&st.st_ctim);
	stx->stx_btime = statx_time(&btime);
	stx->stx_rdev_major = major(st.st_rdev);
	stx->stx_rdev_minor = minor(st.st_rdev);
	*attr_timeout_s = is_changing ? 0 : LLFUSE_FOREVER_S;
	return 0;
}

/* A limit that nothing reaches is shown as the kernel's tmpfs does: as 0. */
static uint64_t shown(uint64_t limit)
{
	return limit == UINT64_MAX ? 0 : limit;
}

int op_statfs(struct llfuse_request *req, uint64_t ino, struct statvfs *st)
{
	struct tree_limits limits, used;

	(void)ino;
	tree_usage(tree_of(req), &limits, &used);
	st->f_bsize = DATA_PAGE_SIZE;
	st->f_frsize = DATA_PAGE_SIZE;
	st->f_blocks = shown(limits.size) / DATA_PAGE_SIZE;
	used.size = (used.size + DATA_PAGE_SIZE - 1) / DATA_PAGE_SIZE;
	st->f_bfree = used.size < st->f_blocks ? st->f_blocks - used.size : 0;
	st->f_bavail = st->f_bfree;
	st->f_files = shown(limits.inodes);
	st->f_ffree = used.inodes < st->f_files ? st->f_files - used.inodes : 0;
	st->f_favail = st->f_ffree;
	st->f_namemax = DIR_NAME_MAX;
	return 0;
}
