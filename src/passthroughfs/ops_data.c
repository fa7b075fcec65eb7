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

#define NAME "passthroughfs"

/* What one copy does at most: nobody can interrupt it, and over io_uring others wait behind it. */
enum { COPY_MAX = 64 << 20 };

static enum ops_plane wanted_plane = OPS_PLANE_AUTO;
/* Written by init, before any other request. */
static bool is_kernel_plane;

void ops_choose_plane(enum ops_plane plane)
{
	wanted_plane = plane;
}

bool ops_kernel_moves_bytes(void)
{
	return is_kernel_plane;
}

static void use_kernel_plane(struct llfuse_conn *conn)
{
	/* The second for what is written through us where its file system takes no passthrough. */
	conn->want |= LLFUSE_CAP_PASSTHROUGH | LLFUSE_CAP_DIRECT_IO_ALLOW_MMAP;
	/* A write that the kernel does by itself may wait for its caller's memory as long as that likes, and a truncation
	 * of the same file waits for it: in the kernel, not here, if it comes as setattr. */
	conn->want &= ~(uint32_t)LLFUSE_CAP_ATOMIC_O_TRUNC;
	llfuse_log(LLFUSE_LOG_DEBUG, NAME, "data: kernel (passthrough to the source)");
}

void ops_agree_on_plane(struct llfuse_conn *conn)
{
	bool can_be = conn->capable & LLFUSE_CAP_PASSTHROUGH;

	is_kernel_plane = can_be && wanted_plane != OPS_PLANE_DAEMON;
	if (is_kernel_plane) {
		use_kernel_plane(conn);
	} else if (wanted_plane == OPS_PLANE_KERNEL) {
		llfuse_log(LLFUSE_LOG_ERROR, NAME, "data=kernel: this kernel has no passthrough for FUSE");
		conn->error = -EOPNOTSUPP;
	} else {
		llfuse_log(LLFUSE_LOG_DEBUG, NAME, "data: daemon (%s)",
			   can_be ? "as asked for" : "the kernel may not pass through");
	}
}

int ops_open_again(const void *opening)
{
	const struct ops_opening *what = opening;

	return fd_reopen(what->fd, what->flags);
}

/* Opening truncates the file, and costs it bits that the caller may not keep. */
static int open_dropping(const struct llfuse_request *req, struct inode_table *inodes, uint64_t ino, int flags)
{
	struct ops_opening what = {.flags = flags};
	scoped_hold hold = HOLD_NONE;
	int err;

	err = inode_hold(inodes, ino, &hold);
	if (err)
		return err;
	what.fd = hold.fd;
	return ops_change(req, ino, hold.fd, true, ops_open_again, &what);
}

/* A file that can only be appended to (chattr(1)) is opened in no other way.  Not to read it too: the kernel would then map
 * the source's file to be written to, which the source does not allow. */
static int open_as_asked(struct inode_table *inodes, uint64_t ino, const struct llfuse_file *file, int flags)
{
	bool only_appends = (file->flags & (O_ACCMODE | O_APPEND)) == (O_WRONLY | O_APPEND);
	int fd = inode_open(inodes, ino, flags);

	return fd == -EPERM && only_appends ? inode_open(inodes, ino, flags | O_APPEND) : fd;
}

int op_open(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file)
{
	struct source *source = llfuse_userdata(req);
	struct inode_table *inodes = source_inodes(source);
	int flags = ops_open_flags(file->flags);
	scoped_fd fd = -1;

	if (file->kill_suidgid && (flags & O_TRUNC))
		fd = open_dropping(req, inodes, ino, flags);
	else
		fd = open_as_asked(inodes, ino, file, flags);
	if (fd < 0)
		return fd;
	return ops_opened(source, ino, file, &fd, (flags & O_ACCMODE) != O_RDONLY && attr_has_setid(fd));
}

int op_read(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, off_t off, struct llfuse_data *data)
{
	(void)req;
	(void)ino;
	return llfuse_data_fd(data, file_fd(file), off, llfuse_data_size(data));
}

/* Bytes to write. */
struct writing {
	int fd;
	struct iovec bytes;
	off_t off;
	int flags; /* RWF_* */
};

/* A request has less than INT_MAX bytes. */
static int write_bytes(const void *arg)
{
	const struct writing *what = arg;
	ssize_t n = pwritev2(what->fd, &what->bytes, 1, what->off, what->flags);

	return n < 0 ? -errno : (int)n;
}

ssize_t op_write(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, const void *buf, size_t size,
		 off_t off)
{
	/* The descriptor mostly has no O_APPEND: see ops_open_flags(). */
	bool appends = (file->flags & O_APPEND) && !file->is_writepage;
	struct writing what = {
		.fd = file_fd(file),
		.bytes = {.iov_base = (void *)buf, .iov_len = size},
		.off = off,
		.flags = appends ? RWF_APPEND : 0,
	};

	/* A page of a mapping from before the file could only be appended to: it would go to the end. */
	if (file->is_writepage && (fcntl(what.fd, F_GETFL) & O_APPEND))
		return -EPERM;
	return ops_change(req, ino, what.fd, file->kill_suidgid, write_bytes, &what);
}

static bool may_be_mapped_to_write(const struct llfuse_file *file)
{
	return is_kernel_plane && (fcntl(file_fd(file), F_GETFL) & O_ACCMODE) == O_RDWR;
}

int op_flush(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file)
{
	int copy = dup(file_fd(file));

	/* Stores to a mapping of the source's file reach nobody but the source. */
	if (may_be_mapped_to_write(file))
		ops_forget_attributes(req, ino);
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

/* Room to allocate or free. */
struct allocation {
	int fd;
	int mode;
	off_t off;
	off_t len;
};

static int allocate(const void *arg)
{
	const struct allocation *what = arg;

	return fallocate(what->fd, what->mode, what->off, what->len) < 0 ? -errno : 0;
}

int op_fallocate(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, int mode, off_t off, off_t len)
{
	struct allocation what = {.fd = file_fd(file), .mode = mode, .off = off, .len = len};

	return ops_change(req, ino, what.fd, ops_may_not_keep_setid(req, what.fd), allocate, &what);
}

off_t op_lseek(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, off_t off, int whence)
{
	/* The position that this moves is used by nobody. */
	off_t found = lseek(file_fd(file), off, whence);

	(void)req;
	(void)ino;
	return found < 0 ? -errno : found;
}

/* Bytes to copy. */
struct copying {
	int fd_in;
	off_t off_in;
	int fd_out;
	off_t off_out;
	size_t len;
	unsigned flags;
};

static int copy_bytes(const void *arg)
{
	const struct copying *what = arg;
	off_t off_in = what->off_in;
	off_t off_out = what->off_out;
	size_t len = what->len < COPY_MAX ? what->len : COPY_MAX;
	ssize_t n = copy_file_range(what->fd_in, &off_in, what->fd_out, &off_out, len, what->flags);

	return n < 0 ? -errno : (int)n;
}

ssize_t op_copy_file_range(struct llfuse_request *req, uint64_t ino_in, struct llfuse_file *file_in, off_t off_in,
			   uint64_t ino_out, struct llfuse_file *file_out, off_t off_out, size_t len, unsigned flags)
{
	struct copying what = {
		.fd_in = file_fd(file_in),
		.off_in = off_in,
		.fd_out = file_fd(file_out),
		.off_out = off_out,
		.len = len,
		.flags = flags,
	};

	(void)ino_in;
	return ops_change(req, ino_out, what.fd_out, ops_may_not_keep_setid(req, what.fd_out), copy_bytes, &what);
}
