/* SPDX-License-Identifier: MIT */
/*
 * Handlers that make something, as the caller.
 */
#include "ops.h"

#include "attr.h"
#include "beneath.h"
#include "fd.h"

#include <errno.h>

/* What to make. */
struct making {
	int dir_fd;
	const char *name;
	mode_t mode; /* with the type: nothing but S_IFMT decides what is made */
	dev_t rdev;
	const char *target; /* of a symbolic link */
	int flags; /* of a file that is opened too */
	bool is_opened;
};

/* Returns 0, or a descriptor of a file that is opened, or -errno. */
static int make(const void *arg)
{
	const struct making *what = arg;

	if (what->is_opened && !what->name)
		return beneath_tmpfile_at(what->dir_fd, what->flags, what->mode);
	if (what->is_opened)
		return beneath_create_at(what->dir_fd, what->name, what->flags, what->mode);
	switch (what->mode & S_IFMT) {
	case S_IFDIR:
		return beneath_mkdir_at(what->dir_fd, what->name, what->mode);
	case S_IFLNK:
		return beneath_symlink_at(what->dir_fd, what->name, what->target);
	default:
		return beneath_mknod_at(what->dir_fd, what->name, what->mode, what->rdev);
	}
}

/* Whether a setgid bit stays is a matter of the caller's groups. */
static int make_as_caller(const struct llfuse_request *req, const struct making *what)
{
	return ops_as_caller(req, what->mode & S_ISGID, make, what);
}

static int make_entry(struct llfuse_request *req, uint64_t parent, struct making *what, struct llfuse_entry *entry)
{
	struct source *source = llfuse_userdata(req);
	scoped_hold dir = HOLD_NONE;
	int err;

	err = inode_hold(source_inodes(source), parent, &dir);
	if (err)
		return err;
	what->dir_fd = dir.fd;
	err = make_as_caller(req, what);
	if (err)
		return err;
	return ops_child(source, &dir, what->name, entry);
}

int op_mknod(struct llfuse_request *req, uint64_t parent, const char *name, mode_t mode, dev_t rdev,
	     struct llfuse_entry *entry)
{
	struct making what = {.name = name, .mode = mode, .rdev = rdev};

	return make_entry(req, parent, &what, entry);
}

int op_mkdir(struct llfuse_request *req, uint64_t parent, const char *name, mode_t mode, struct llfuse_entry *entry)
{
	struct making what = {.name = name, .mode = S_IFDIR | (mode & 07777)};

	return make_entry(req, parent, &what, entry);
}

int op_symlink(struct llfuse_request *req, uint64_t parent, const char *name, const char *target,
	       struct llfuse_entry *entry)
{
	struct making what = {.name = name, .mode = S_IFLNK, .target = target};

	return make_entry(req, parent, &what, entry);
}

static void made_unnamed(struct inode_table *inodes, const struct hold *dir, int fd, const struct statx *stx)
{
	scoped_fd path = fd_reopen(fd, O_PATH);

	if (path >= 0) /* else the file is stale once it is closed */
		inode_unnamed(inodes, dir, &path, stx, true);
}

/* The file @fd, just opened as @name in @dir (or without a name), becomes an inode and an open file. */
static int opened_entry(struct source *source, const struct hold *dir, const char *name, int *fd,
			struct llfuse_file *file, struct llfuse_entry *entry)
{
	struct inode_table *inodes = source_inodes(source);
	struct ops_look look = ops_look(source, dir);
	struct statx stx;
	int err;

	if (statx(*fd, "", AT_EMPTY_PATH, INODE_STATX_MASK, &stx) < 0)
		return -errno;
	err = ops_entry(&look, name, *fd, &stx, entry);
	if (err)
		return err;
	if (!name)
		made_unnamed(inodes, dir, *fd, &stx);
	err = ops_opened(source, entry->ino, file, fd, attr_mode_has_setid(stx.stx_mode));
	if (err)
		inode_forget(inodes, entry->ino, 1);
	return err;
}

/* Somebody made @name before us, outside the mount.  The kernel thought that there was nothing
 * and has checked no rights: so it is the caller who opens it, which also drops setuid bits as
 * the caller's own open would.  Returns a descriptor or -errno. */
static int open_existing(const struct llfuse_request *req, int dir_fd, const char *name, const struct llfuse_file *file)
{
	struct ops_opening what = {.flags = ops_open_flags(file->flags)};
	scoped_fd found = -1;
	struct statx stx;
	bool over_mount;
	int err;

	if (file->flags & O_EXCL)
		return -EEXIST;
	err = source_child(llfuse_userdata(req), dir_fd, name, &found, &stx, &over_mount);
	if (err)
		return err;
	if (!S_ISREG(stx.stx_mode) || over_mount)
		return -ESTALE; /* makes the kernel look the name up again */
	what.fd = found;
	return ops_as_caller(req, false, ops_open_again, &what);
}

int op_create(struct llfuse_request *req, uint64_t parent, const char *name, mode_t mode, struct llfuse_file *file,
	      struct llfuse_entry *entry)
{
	struct making what = {.name = name, .mode = S_IFREG | (mode & 07777), .is_opened = true};
	struct source *source = llfuse_userdata(req);
	scoped_hold dir = HOLD_NONE;
	scoped_fd fd = -1;
	int err;

	err = inode_hold(source_inodes(source), parent, &dir);
	if (err)
		return err;
	what.dir_fd = dir.fd;
	what.flags = ops_open_flags(file->flags);
	fd = make_as_caller(req, &what);
	if (fd == -EEXIST)
		fd = open_existing(req, dir.fd, name, file);
	if (fd < 0)
		return fd;
	return opened_entry(source, &dir, name, &fd, file, entry);
}

int op_tmpfile(struct llfuse_request *req, uint64_t parent, mode_t mode, struct llfuse_file *file,
	       struct llfuse_entry *entry)
{
	struct making what = {.mode = S_IFREG | (mode & 07777), .is_opened = true};
	struct source *source = llfuse_userdata(req);
	scoped_hold dir = HOLD_NONE;
	scoped_fd fd = -1;
	int err;

	err = inode_hold(source_inodes(source), parent, &dir);
	if (err)
		return err;
	what.dir_fd = dir.fd;
	what.flags = ops_open_flags(file->flags);
	fd = make_as_caller(req, &what);
	if (fd < 0)
		return fd;
	return opened_entry(source, &dir, NULL, &fd, file, entry);
}
