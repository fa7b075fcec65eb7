/* SPDX-License-Identifier: MIT */
/* Reading and writing a regular file.  See file.h. */
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <unistd.h>

static int must_be_regular(const struct inode *inode)
{
	if (inode_is_regular(inode))
		return 0;
	return inode_is_dir(inode) ? -EISDIR : -EINVAL;
}

ssize_t file_write(struct inode *inode, struct mem *mem, const void *buf, size_t n, uint64_t off, unsigned flags)
{
	ssize_t written = must_be_regular(inode);

	if (written < 0)
		return written;
	small_rwlock_wrlock(&inode->lock);
	written = data_write(&inode->data, mem, buf, n, off);
	if (written > 0) {
		if (!(flags & FILE_KEEP_TIMES))
			inode_modified_locked(inode);
		if (flags & FILE_DROP_SUIDGID)
			inode_drop_suidgid_locked(inode);
	}
	small_rwlock_wrunlock(&inode->lock);
	return written;
}

/* Leaves the lock held on success, which the analysis of one function cannot express. */
int file_begin_read(struct inode *inode) NO_THREAD_SAFETY_ANALYSIS
{
	int err = must_be_regular(inode);

	if (!err)
		inode_begin_access(inode);
	return err;
}

/* What fallocate(2) is to do: only these make sense, and only together so. */
static int check_mode(int mode, uint64_t off, uint64_t len)
{
	if (mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		return -EOPNOTSUPP;
	if ((mode & FALLOC_FL_PUNCH_HOLE) && mode != (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE))
		return -EOPNOTSUPP;
	if (len == 0)
		return -EINVAL;
	if (off > DATA_SIZE_MAX || len > DATA_SIZE_MAX - off)
		return -EFBIG;
	return 0;
}

static int allocate_locked(struct data *data, struct mem *mem, int mode, uint64_t off, uint64_t len, uint64_t room)
{
	int err;

	/* Asked before anything is done, so that nothing is half done.  What the file has already
	 * may lie in the range. */
	if (!(mode & FALLOC_FL_PUNCH_HOLE) && len > room + data->allocated)
		return -ENOSPC;
	if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		data_punch(data, mem, off, len);
	if (mode & FALLOC_FL_PUNCH_HOLE)
		return 0;
	err = data_allocate(data, mem, off, len);
	if (!err && !(mode & FALLOC_FL_KEEP_SIZE) && off + len > data->size)
		err = data_resize(data, mem, off + len);
	return err;
}

int file_allocate(struct inode *inode, struct mem *mem, int mode, uint64_t off, uint64_t len, uint64_t room,
		  unsigned flags)
{
	int err = must_be_regular(inode);

	if (!err)
		err = check_mode(mode, off, len);
	if (err)
		return err;
	small_rwlock_wrlock(&inode->lock);
	err = allocate_locked(&inode->data, mem, mode, off, len, room);
	if (!err) {
		inode_modified_locked(inode);
		if (flags & FILE_DROP_SUIDGID)
			inode_drop_suidgid_locked(inode);
	}
	small_rwlock_wrunlock(&inode->lock);
	return err;
}

int64_t file_seek(struct inode *inode, uint64_t off, int whence)
{
	int64_t found = must_be_regular(inode);

	if (found < 0 || (whence != SEEK_DATA && whence != SEEK_HOLE))
		return -EINVAL;
	small_rwlock_rdlock(&inode->lock);
	found = whence == SEEK_DATA ? data_next_data(&inode->data, off) : data_next_hole(&inode->data, off);
	small_rwlock_rdunlock(&inode->lock);
	return found;
}
