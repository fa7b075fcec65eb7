/* SPDX-License-Identifier: MIT */
/* The handlers.  All that they answer is fixed, but for a given file's size and times. */
#include <errno.h>
#include <string.h>

#include "ops.h"

#define FILE_INODE (LLFUSE_ROOT_INODE + 1)

/* Nothing changes, except a given file behind our back. */
enum {
	TIMEOUT_S = 300,
	GIVEN_FILE_TIMEOUT_S = 1,
};

static const struct timespec stamp = {.tv_sec = 1438467123, .tv_nsec = 985654016};

static int fill_file(const struct lltest *fs, struct stat *attr)
{
	struct stat given;

	attr->st_mode = S_IFREG | 0644;
	if (fs->fd < 0) {
		attr->st_size = (off_t)fs->size;
		return 0;
	}
	if (fstat(fs->fd, &given) < 0)
		return -errno;
	attr->st_size = given.st_size;
	attr->st_blocks = given.st_blocks;
	attr->st_mtim = given.st_mtim;
	attr->st_ctim = given.st_ctim;
	attr->st_atim = given.st_atim;
	return 0;
}

static int fill_entry(const struct lltest *fs, uint64_t ino, struct llfuse_entry *entry)
{
	struct stat *attr = &entry->attr;

	entry->ino = ino;
	entry->entry_timeout_s = TIMEOUT_S;
	entry->attr_timeout_s = fs->fd < 0 ? TIMEOUT_S : GIVEN_FILE_TIMEOUT_S;
	attr->st_ino = ino;
	attr->st_nlink = 1;
	attr->st_uid = fs->uid;
	attr->st_gid = fs->gid;
	attr->st_blksize = 4096;
	attr->st_atim = attr->st_mtim = attr->st_ctim = stamp;
	attr->st_mode = S_IFDIR | 0755;
	return ino == FILE_INODE ? fill_file(fs, attr) : 0;
}

static int op_lookup(struct llfuse_request *req, uint64_t parent, const char *name, struct llfuse_entry *entry)
{
	const struct lltest *fs = llfuse_userdata(req);

	if (parent != LLFUSE_ROOT_INODE || strcmp(name, fs->name) != 0)
		return -ENOENT;
	return fill_entry(fs, FILE_INODE, entry);
}

static int op_getattr(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, struct llfuse_entry *entry)
{
	(void)file;
	return fill_entry(llfuse_userdata(req), ino, entry);
}

static int op_readdir(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, off_t off,
		      struct llfuse_dir *dir)
{
	const struct lltest *fs = llfuse_userdata(req);
	struct llfuse_entry entry = {0};
	int err;

	(void)ino;
	(void)file;
	if (off > 0)
		return 0;
	err = fill_entry(fs, FILE_INODE, &entry);
	if (err)
		return err;
	(void)llfuse_dir_add(dir, fs->name, &entry, 1); /* one entry fits always */
	return 0;
}

static int op_open(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file)
{
	const struct lltest *fs = llfuse_userdata(req);

	(void)ino;
	if ((file->flags & O_ACCMODE) != O_RDONLY || (file->flags & O_TRUNC))
		return -EPERM;
	file->keep_cache = fs->fd < 0;
	return 0;
}

static int op_read(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, off_t off,
		   struct llfuse_data *data)
{
	const struct lltest *fs = llfuse_userdata(req);

	(void)ino;
	(void)file;
	if (fs->fd >= 0)
		return llfuse_data_fd(data, fs->fd, off, llfuse_data_size(data));
	if ((size_t)off >= fs->size)
		return 0;
	return llfuse_data_mem(data, (const char *)fs->bytes + off, fs->size - (size_t)off);
}

const struct llfuse_ops lltest_ops = {
	.lookup = op_lookup,
	.getattr = op_getattr,
	.readdir = op_readdir,
	.open = op_open,
	.read = op_read,
};
