/* SPDX-License-Identifier: MIT */
/*
 * Handlers for the data of open files.  Where the kernel does the I/O by itself
 * (passthrough), read and write are never asked.
 */
#include "ops.h"

#include "attr.h"
#include "fd.h"

#include <errno.h>
#include <sys/uio.h>
#include <unistd.h>

int op_open(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file)
{
	struct source *source = llfuse_userdata(req);
	scoped_fd fd = -1;
	int err;

	if (file->kill_suidgid && (file->flags & O_TRUNC)) {
		scoped_hold hold = HOLD_NONE;

		err = inode_hold(source_inodes(source), ino, &hold);
		if (!err)
			err = attr_drop_suidgid(hold.fd);
		if (err)
			return err;
	}
	fd = inode_open(source_inodes(source), ino, ops_open_flags(file->flags));
	if (fd < 0)
		return fd;
	err = inode_opened(source_inodes(source), ino);
	if (err)
		return err;
	ops_opened(file, &fd);
	return 0;
}

int op_read(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, off_t off, struct llfuse_data *data)
{
	(void)req;
	(void)ino;
	return llfuse_data_fd(data, file_fd(file), off, llfuse_data_size(data));
}

ssize_t op_write(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, const void *buf, size_t size,
		 off_t off)
{
	struct iovec bytes = {.iov_base = (void *)buf, .iov_len = size};
	/* The descriptor has no O_APPEND: see ops_open_flags(). */
	bool appends = (file->flags & O_APPEND) && !file->is_writepage;
	ssize_t n;
	int err;

	(void)req;
	(void)ino;
	if (file->kill_suidgid) {
		err = attr_drop_suidgid(file_fd(file));
		if (err)
			return err;
	}
	n = pwritev2(file_fd(file), &bytes, 1, off, appends ? RWF_APPEND : 0);
	return n < 0 ? -errno : n;
}

int op_flush(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file)
{
	int copy = dup(file_fd(file));

	(void)req;
	(void)ino;
	/* Closing a copy is what tells of errors that the source kept back.  That there is no
	 * descriptor for one says nothing about the data. */
	return copy >= 0 && close(copy) < 0 ? -errno : 0;
}

int op_release(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file)
{
	struct source *source = llfuse_userdata(req);

	inode_closed(source_inodes(source), ino);
	return close(file_fd(file)) < 0 ? -errno : 0;
}

int op_fsync(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, bool datasync)
{
	int fd = file_fd(file);

	(void)req;
	(void)ino;
	return (datasync ? fdatasync(fd) : fsync(fd)) < 0 ? -errno : 0;
}

/* What changes a file without being a write brings no word about setuid bits: those
 * of a caller without privileges go, as the kernel does it. */
static int before_change(const struct llfuse_request *req, const struct llfuse_file *file)
{
	return req->uid == 0 ? 0 : attr_drop_suidgid(file_fd(file));
}

int op_fallocate(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, int mode, off_t off, off_t len)
{
	int err;

	(void)ino;
	err = before_change(req, file);
	if (err)
		return err;
	return fallocate(file_fd(file), mode, off, len) < 0 ? -errno : 0;
}

off_t op_lseek(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, off_t off, int whence)
{
	/* The position that this moves is used by nobody. */
	off_t found = lseek(file_fd(file), off, whence);

	(void)req;
	(void)ino;
	return found < 0 ? -errno : found;
}

ssize_t op_copy_file_range(struct llfuse_request *req, uint64_t ino_in, struct llfuse_file *file_in, off_t off_in,
			   uint64_t ino_out, struct llfuse_file *file_out, off_t off_out, size_t len, unsigned flags)
{
	ssize_t n;
	int err;

	(void)ino_in;
	(void)ino_out;
	err = before_change(req, file_out);
	if (err)
		return err;
	n = copy_file_range(file_fd(file_in), &off_in, file_fd(file_out), &off_out, len, flags);
	return n < 0 ? -errno : n;
}
