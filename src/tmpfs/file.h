/* SPDX-License-Identifier: MIT */
/*
 * Reading and writing a regular file: the bytes together with the size, times and
 * modes that follow from the access.  Knows inodes and the plane in which their bytes lie;
 * takes the inode's lock.
 *
 * All give -EISDIR for a directory and -EINVAL for what else is no regular file.
 */
#ifndef TMPFS_FILE_H
#define TMPFS_FILE_H

#include "inode.h"

enum file_write_flags {
	FILE_KEEP_TIMES = 1 << 0, /* somebody else sets mtime and ctime: the kernel that wrote it back */
	FILE_DROP_SETID = 1 << 1, /* the writer may not keep setuid and setgid */
	FILE_DROP_AS_STRANGER = 1 << 2, /* and is not of the file's group */
	FILE_KEEP_SETID = 1 << 3, /* it was somebody's mapping, which takes nothing away */
};

enum file_open_flags {
	FILE_OPEN_WRITER = 1 << 0, /* may write */
	FILE_OPEN_NEW = 1 << 1, /* just made */
	FILE_OPEN_SYNC = 1 << 2, /* reading and writing is to come to us */
};

/* How an open is to go on. */
struct file_opening {
	int handle; /* > 0: of the registry's, by which the kernel does the I/O; 0: it comes to us */
	bool is_ours; /* reading and writing comes to us all the same, only mappings do not */
	bool is_first_writer; /* from here on the attributes may change without our seeing it */
};

/* Only in a plane with opens (data_plane.ops->open).  @request is for its registry.
 * Returns 0, -ENOSPC only for a new file, -ENOMEM, -ENFILE. */
int file_open(struct inode *inode, struct data_plane *plane, unsigned flags, void *request,
	      struct file_opening *opening);
void file_close(struct inode *inode, struct data_plane *plane, unsigned flags);

/* Returns how many bytes were read, or -errno of the plane's. */
ssize_t file_read(struct inode *inode, struct data_plane *plane, void *buf, size_t n, uint64_t off);

/* Returns how many bytes were written, or -EFBIG, -ENOSPC, -ENOMEM. */
ssize_t file_write(struct inode *inode, struct data_plane *plane, const void *buf, size_t n, uint64_t off,
		   unsigned flags);

/*
 * What the kernel had taken from writers and wrote back found no room.  The bytes up to @end are lost, and the
 * file has holes there: it is as long as the writers were told.  They are told of the loss by close(2) or
 * fsync(2); to who goes on writing, file_is_starved() is to say that there is no room, as long as there is none.
 */
void file_lose(struct inode *inode, struct data_plane *plane, uint64_t end);
bool file_is_starved(struct inode *inode, struct data_plane *plane);

/* fallocate(2): @mode is 0 or FALLOC_FL_*.  Returns 0, -EOPNOTSUPP, -EFBIG, -ENOSPC, -ENOMEM. */
int file_allocate(struct inode *inode, struct data_plane *plane, int mode, uint64_t off, uint64_t len, unsigned flags);

/* SEEK_DATA and SEEK_HOLE.  Returns the offset, or -ENXIO. */
int64_t file_seek(struct inode *inode, struct data_plane *plane, uint64_t off, int whence);

/* copy_file_range(2).  Returns how many bytes were copied, or -EFBIG, -ENOSPC, -ENOMEM, -EINVAL
 * for ranges of one file that overlap. */
ssize_t file_copy(struct inode *from, uint64_t off, struct inode *to, uint64_t to_off, size_t n,
		  struct data_plane *plane, unsigned flags);

#endif
