/* SPDX-License-Identifier: MIT */
/*
 * Reading and writing a regular file: the bytes together with the size, times and
 * modes that follow from the access.  Knows inodes and their data; takes
 * the inode's lock.
 */
#ifndef TMPFS_FILE_H
#define TMPFS_FILE_H

#include "inode.h"

enum file_write_flags {
	FILE_KEEP_TIMES = 1 << 0, /* somebody else sets mtime and ctime: the kernel that wrote it back */
	FILE_DROP_SUIDGID = 1 << 1, /* the writer may not keep setuid and setgid */
};

/* Returns how many bytes were written, or -EFBIG, -ENOMEM, -EISDIR, -EINVAL (no
 * regular file). */
ssize_t file_write(struct inode *inode, struct mem *mem, const void *buf, size_t n, uint64_t off, unsigned flags);

/*
 * Starts a read: after 0 the bytes stay as they are, to be found with
 * data_segment(&inode->data), until inode_end_access(), by any thread.
 * Returns -EISDIR or -EINVAL if this is no regular file.
 */
int file_begin_read(struct inode *inode);

/* fallocate(2): @mode is 0 or FALLOC_FL_*.  At most @room bytes more may be taken for it.
 * Returns 0, -EOPNOTSUPP, -EFBIG, -ENOSPC, -ENOMEM, -EISDIR, -EINVAL. */
int file_allocate(struct inode *inode, struct mem *mem, int mode, uint64_t off, uint64_t len, uint64_t room,
		  unsigned flags);

/* SEEK_DATA and SEEK_HOLE.  Returns the offset, -ENXIO, or -EINVAL. */
int64_t file_seek(struct inode *inode, uint64_t off, int whence);

#endif
