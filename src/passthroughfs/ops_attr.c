/* SPDX-License-Identifier: MIT */
/*
 * Handlers for attributes and extended attributes.
 */
#include "ops.h"

#include "attr.h"
#include "fd.h"

#include <errno.h>
#include <string.h>
#include <linux/capability.h>
#include <linux/xattr.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

int op_getattr(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, struct llfuse_entry *entry)
{
	struct source *source = llfuse_userdata(req);
	scoped_hold hold = HOLD_NONE;
	int err;

	(void)file;
	err = inode_hold(source_inodes(source), ino, &hold);
	if (err)
		return err;
	return ops_attr(source, &hold, entry);
}

/* Attributes to set. */
struct change {
	uint64_t ino;
	int fd;
	const struct llfuse_file *file; /* an open file, or NULL */
	const struct stat *attr;
	unsigned fields; /* LLFUSE_SET_* */
};

static int set_owner(const void *arg)
{
	const struct change *what = arg;
	uid_t uid = what->fields & LLFUSE_SET_UID ? what->attr->st_uid : (uid_t)-1;
	gid_t gid = what->fields & LLFUSE_SET_GID ? what->attr->st_gid : (gid_t)-1;

	return attr_set_owner(what->fd, uid, gid);
}

/* "Now" goes to the source as such: one who may write but does not own a file may set only that. */
static struct timespec time_to_set(const struct timespec *time, bool is_set, bool is_now)
{
	if (is_now)
		return (struct timespec){.tv_nsec = UTIME_NOW};
	return is_set ? *time : (struct timespec){.tv_nsec = UTIME_OMIT};
}

static int set_times(int fd, const struct stat *attr, unsigned fields)
{
	struct timespec atime = time_to_set(&attr->st_atim, fields & LLFUSE_SET_ATIME, fields & LLFUSE_SET_ATIME_NOW);
	struct timespec mtime = time_to_set(&attr->st_mtim, fields & LLFUSE_SET_MTIME, fields & LLFUSE_SET_MTIME_NOW);

	return attr_set_times(fd, &atime, &mtime);
}

/* This may be open(2) with O_TRUNC, which changes the times of an empty file too. */
static int empty_by_opening(int fd)
{
	scoped_fd emptied = fd_reopen(fd, O_WRONLY | O_TRUNC);

	return emptied < 0 ? emptied : 0;
}

/* Through the open file if there is one: it may be writable where the file is not any more. */
static int set_size(const void *arg)
{
	const struct change *what = arg;
	off_t size = what->attr->st_size;

	if (what->file)
		return ftruncate(file_fd(what->file), size) < 0 ? -errno : 0;
	if (size == 0 && ops_kernel_moves_bytes())
		return empty_by_opening(what->fd);
	return attr_set_size(what->fd, size);
}

/* The owner before the mode, whose setuid bits a change of owner drops; the times
 * last, because the other changes set them. */
static int set_attr(const struct llfuse_request *req, const struct change *what)
{
	const struct stat *attr = what->attr;
	unsigned fields = what->fields;
	int fd = what->fd;
	int err = 0;

	if (fields & (LLFUSE_SET_UID | LLFUSE_SET_GID))
		err = ops_change(req, what->ino, fd, ops_may_not_keep_setid(req, fd), set_owner, what);
	if (!err && (fields & LLFUSE_SET_MODE))
		err = attr_set_mode(fd, attr->st_mode);
	if (!err && (fields & LLFUSE_SET_SIZE))
		err = ops_change(req, what->ino, fd, fields & LLFUSE_SET_KILL_SUIDGID, set_size, what);
	if (!err && (fields & (LLFUSE_SET_ATIME | LLFUSE_SET_MTIME | LLFUSE_SET_ATIME_NOW | LLFUSE_SET_MTIME_NOW)))
		err = set_times(fd, attr, fields);
	return err;
}

int op_setattr(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, const struct stat *attr,
	       unsigned fields, struct llfuse_entry *entry)
{
	struct change what = {.ino = ino, .file = file, .attr = attr, .fields = fields};
	struct source *source = llfuse_userdata(req);
	scoped_hold hold = HOLD_NONE;
	int err;

	err = inode_hold(source_inodes(source), ino, &hold);
	what.fd = hold.fd;
	if (!err)
		err = set_attr(req, &what);
	if (err)
		return err;
	err = ops_attr(source, &hold, entry);
	/* The kernel takes these for new though others may have changed the file since. */
	if (source_cache(source) == SOURCE_CACHE_AUTO)
		entry->attr_timeout_s = OPS_UNSURE_S;
	return err;
}

int op_statx(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, unsigned flags, unsigned mask,
	     struct statx *stx, double *attr_timeout_s)
{
	struct source *source = llfuse_userdata(req);
	scoped_hold hold = HOLD_NONE;
	int err;

	(void)file;
	err = inode_hold(source_inodes(source), ino, &hold);
	if (err)
		return err;
	*attr_timeout_s = ops_attr_timeout_s(source, &hold);
	if (statx(hold.fd, "", AT_EMPTY_PATH | (int)(flags & AT_STATX_SYNC_TYPE), mask, stx) < 0)
		return -errno;
	stx->stx_ino = source_shown_ino(source, makedev(stx->stx_dev_major, stx->stx_dev_minor), stx->stx_ino);
	return 0;
}

int op_statfs(struct llfuse_request *req, uint64_t ino, struct statvfs *st)
{
	struct source *source = llfuse_userdata(req);
	scoped_hold hold = HOLD_NONE;
	int err;

	err = inode_hold(source_inodes(source), ino, &hold);
	if (err)
		return err;
	return fstatvfs(hold.fd, st) < 0 ? -errno : 0;
}

static bool is_acl(const char *name)
{
	return strncmp(name, "system.posix_acl_", strlen("system.posix_acl_")) == 0;
}

/* An extended attribute to set. */
struct setting {
	int fd;
	const char *name;
	const void *value;
	size_t size;
	int flags;
};

static int set_xattr(const void *arg)
{
	const struct setting *what = arg;

	return setxattr(fd_name(what->fd).path, what->name, what->value, what->size, what->flags) < 0 ? -errno : 0;
}

/* An access list, or its end, may cost a file or directory its setgid bit: that depends on who sets it. */
static int change_acl(const struct llfuse_request *req, int fd, int (*act)(const void *what), const void *what)
{
	struct stat attr;

	if (attr_get(fd, &attr) < 0 || !(attr.st_mode & S_ISGID) || llfuse_has_capability(req, CAP_FSETID))
		return act(what);
	return ops_without_setid(req, act, what);
}

/* What system.* other than ACLs is, is the file system's own business, which asks who it is. */
static int change_xattr(const struct llfuse_request *req, const char *name, int fd, int (*act)(const void *what),
			const void *what)
{
	if (is_acl(name))
		return change_acl(req, fd, act, what);
	if (strncmp(name, XATTR_SYSTEM_PREFIX, XATTR_SYSTEM_PREFIX_LEN) == 0)
		return ops_as_caller(req, true, act, what);
	return act(what);
}

int op_setxattr(struct llfuse_request *req, uint64_t ino, const char *name, const void *value, size_t size, int flags)
{
	struct setting what = {.name = name, .value = value, .size = size, .flags = flags};
	struct source *source = llfuse_userdata(req);
	scoped_hold hold = HOLD_NONE;
	int err;

	err = inode_hold(source_inodes(source), ino, &hold);
	if (err)
		return err;
	what.fd = hold.fd;
	return change_xattr(req, name, what.fd, set_xattr, &what);
}

int op_getxattr(struct llfuse_request *req, uint64_t ino, const char *name, struct llfuse_data *data)
{
	struct source *source = llfuse_userdata(req);
	void *room = llfuse_data_room(data);
	scoped_hold hold = HOLD_NONE;
	ssize_t n;
	int err;

	if (!room)
		return -ENOMEM;
	err = inode_hold(source_inodes(source), ino, &hold);
	if (err)
		return err;
	n = getxattr(fd_name(hold.fd).path, name, room, llfuse_data_size(data));
	if (n < 0)
		return -errno;
	llfuse_data_filled(data, (size_t)n);
	return 0;
}

static bool is_trusted(const char *name)
{
	return strncmp(name, XATTR_TRUSTED_PREFIX, XATTR_TRUSTED_PREFIX_LEN) == 0;
}

/* xattr(7): processes without CAP_SYS_ADMIN do not see the trusted namespace.  Returns the size of what is left. */
static size_t hide_trusted(const struct llfuse_request *req, char *names, size_t size)
{
	bool is_checked = false;
	size_t kept = 0;

	for (size_t at = 0; at < size;) {
		size_t length = strnlen(names + at, size - at - 1) + 1;

		/* Asked only if there is something to hide. */
		if (!is_checked && is_trusted(names + at)) {
			if (llfuse_has_capability(req, CAP_SYS_ADMIN))
				return size;
			is_checked = true;
		}
		if (!is_trusted(names + at)) {
			memmove(names + kept, names + at, length);
			kept += length;
		}
		at += length;
	}
	return kept;
}

int op_listxattr(struct llfuse_request *req, uint64_t ino, struct llfuse_data *data)
{
	struct source *source = llfuse_userdata(req);
	void *room = llfuse_data_room(data);
	scoped_hold hold = HOLD_NONE;
	ssize_t n;
	int err;

	if (!room)
		return -ENOMEM;
	err = inode_hold(source_inodes(source), ino, &hold);
	if (err)
		return err;
	n = listxattr(fd_name(hold.fd).path, room, llfuse_data_size(data));
	if (n < 0)
		return -errno;
	llfuse_data_filled(data, hide_trusted(req, room, (size_t)n));
	return 0;
}

/* An extended attribute to remove. */
struct removal {
	int fd;
	const char *name;
};

static int remove_xattr(const void *arg)
{
	const struct removal *what = arg;

	return removexattr(fd_name(what->fd).path, what->name) < 0 ? -errno : 0;
}

int op_removexattr(struct llfuse_request *req, uint64_t ino, const char *name)
{
	struct source *source = llfuse_userdata(req);
	struct removal what = {.name = name};
	scoped_hold hold = HOLD_NONE;
	int err;

	err = inode_hold(source_inodes(source), ino, &hold);
	if (err)
		return err;
	what.fd = hold.fd;
	return change_xattr(req, name, what.fd, remove_xattr, &what);
}
