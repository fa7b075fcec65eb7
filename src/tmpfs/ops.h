/* SPDX-License-Identifier: MIT */
/*
 * The request handlers of tmpfs: they translate between the library and the tree,
 * and say how long the kernel may remember what it is told.
 *
 * Nobody but the kernel's own requests changes a tmpfs, so that names, missing names,
 * attributes, listings and pages may all be remembered for ever.  What a request
 * changes beside what it names (the other links of a file, the times of a parent), the
 * kernel invalidates by itself.
 */
#ifndef TMPFS_OPS_H
#define TMPFS_OPS_H

#include "tree.h"

#include <llfuse.h>

/* Where the bytes of files are to lie. */
enum tmpfs_plane {
	TMPFS_PLANE_AUTO, /* the kernel's, if it lets us */
	TMPFS_PLANE_HEAP,
	TMPFS_PLANE_KERNEL,
};

struct database_options;
struct saver;
struct flusher;

struct tmpfs {
	struct tree *tree; /* freed by destroy */
	struct saver *saver; /* the same */
	struct flusher *flusher; /* the same; made by init */
	const struct database_options *database;
	int store_err; /* why not all could be committed in the end, or 0 */
	/* Fixed before the mount. */
	enum tmpfs_plane plane;
	struct data_kernel_options kernel_options;
	_Atomic(struct llfuse_session *) session; /* once a file was registered with it */
	/* The kernel is to collect writes; from init on, whether it does: it then owns sizes and times of regular
	 * files. */
	bool writeback;
};

extern const struct llfuse_ops tmpfs_ops;

static inline struct tmpfs *tmpfs_of(const struct llfuse_request *req)
{
	return llfuse_userdata(req);
}

static inline struct tree *tree_of(const struct llfuse_request *req)
{
	return tmpfs_of(req)->tree;
}

static inline struct owner owner_of(const struct llfuse_request *req)
{
	return (struct owner){.uid = req->uid, .gid = req->gid, .umask = req->umask};
}

/* Whether the caller may keep the setgid bit of @inode, whatever else it changes; and whether, with nobody to vouch
 * for it, it is a stranger to the group.  Both ask /proc only for a file with such bits. */
bool keeps_setgid(const struct llfuse_request *req, struct inode *inode);
bool is_stranger(const struct llfuse_request *req, struct inode *inode);

/* Whether a write by the caller drops setuid and setgid, for requests with which the kernel does not say so. */
bool drops_setid(const struct llfuse_request *req, struct inode *inode);

/* The kernel is to forget the attributes of @ino, and with @off 0 its pages, or listing, too: llfuse_notify_inval_inode(). */
void invalidate(struct llfuse_request *req, uint64_t ino, off_t off);

/* What the kernel is told of @inode. */
void fill_entry(struct tree *tree, struct inode *inode, struct llfuse_entry *entry);

/* The same for a listing, during which the tree is locked: without attributes if @inode is busy, or they are not
 * wanted. */
void fill_listed_entry(struct tree *tree, struct inode *inode, bool wants_attr, struct llfuse_entry *entry);

/* The parts of tmpfs_ops. */

/* ops_names.c */
int op_lookup(struct llfuse_request *req, uint64_t parent, const char *name, struct llfuse_entry *entry);
void op_forget(struct llfuse_request *req, size_t n, const struct llfuse_forget *forgets);
int op_mknod(struct llfuse_request *req, uint64_t parent, const char *name, mode_t mode, dev_t rdev,
	     struct llfuse_entry *entry);
int op_mkdir(struct llfuse_request *req, uint64_t parent, const char *name, mode_t mode, struct llfuse_entry *entry);
int op_symlink(struct llfuse_request *req, uint64_t parent, const char *name, const char *target,
	       struct llfuse_entry *entry);
int op_link(struct llfuse_request *req, uint64_t ino, uint64_t parent, const char *name, struct llfuse_entry *entry);
int op_unlink(struct llfuse_request *req, uint64_t parent, const char *name);
int op_rmdir(struct llfuse_request *req, uint64_t parent, const char *name);
int op_rename(struct llfuse_request *req, uint64_t parent, const char *name, uint64_t new_parent, const char *new_name,
	      unsigned flags);
int op_readlink(struct llfuse_request *req, uint64_t ino, struct llfuse_data *data);
int op_readdir(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, off_t off, struct llfuse_dir *dir);

/* ops_attr.c */
int op_getattr(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, struct llfuse_entry *entry);
int op_setattr(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, const struct stat *attr,
	       unsigned fields, struct llfuse_entry *entry);
int op_statx(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, unsigned flags, unsigned mask,
	     struct statx *stx, double *attr_timeout_s);
int op_statfs(struct llfuse_request *req, uint64_t ino, struct statvfs *st);

/* ops_data.c */
int op_create(struct llfuse_request *req, uint64_t parent, const char *name, mode_t mode, struct llfuse_file *file,
	      struct llfuse_entry *entry);
int op_tmpfile(struct llfuse_request *req, uint64_t parent, mode_t mode, struct llfuse_file *file,
	       struct llfuse_entry *entry);
/* open and release are used only where the kernel reads and writes by itself. */
int op_open(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file);
int op_release(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file);
int op_read(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, off_t off, struct llfuse_data *data);
ssize_t op_write(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, const void *buf, size_t size,
		 off_t off);
int op_fallocate(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, int mode, off_t off, off_t len);
off_t op_lseek(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, off_t off, int whence);
ssize_t op_copy_file_range(struct llfuse_request *req, uint64_t ino_in, struct llfuse_file *file_in, off_t off_in,
			   uint64_t ino_out, struct llfuse_file *file_out, off_t off_out, size_t len, unsigned flags);

/* ops_sync.c */
int op_fsync(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, bool datasync);
int op_fsyncdir(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, bool datasync);
/* After a write by @file: what O_SYNC and O_DSYNC promise.  Returns @n, or why it is not committed. */
ssize_t sync_written(struct llfuse_request *req, const struct llfuse_file *file, ssize_t n);

/* ops_xattr.c */
int op_setxattr(struct llfuse_request *req, uint64_t ino, const char *name, const void *value, size_t size, int flags);
int op_getxattr(struct llfuse_request *req, uint64_t ino, const char *name, struct llfuse_data *data);
int op_listxattr(struct llfuse_request *req, uint64_t ino, struct llfuse_data *data);
int op_removexattr(struct llfuse_request *req, uint64_t ino, const char *name);

/* ops_control.c */
int op_ioctl(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, unsigned cmd, const void *in,
	     size_t in_size, void *out, size_t out_size);

#endif
