/* SPDX-License-Identifier: MIT */
/* Handlers for open files: create, open, read, write, fallocate, seek.  See ops.h. */
#include "file.h"
#include "ops.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

/* ------------------------------------------------------------------------ */
/* Opening                                                                   */

/* What holds for every open regular file. */
static void fill_file(struct llfuse_file *file)
{
	file->keep_cache = true;
	file->noflush = true;
}

int op_create(struct llfuse_request *req, uint64_t parent, const char *name, mode_t mode, struct llfuse_file *file,
	      struct llfuse_entry *entry)
{
	struct tree *tree = tree_of(req);
	struct inode *made;
	int err;

	err = tree_mknod(tree, parent, name, S_IFREG | (mode & 07777), 0, owner_of(req), &made);
	if (err)
		return err;
	(void)tree_open(tree, made->number); /* it is there: we hold a reference */
	fill_entry(tree, made, entry);
	fill_file(file);
	return 0;
}

int op_tmpfile(struct llfuse_request *req, uint64_t parent, mode_t mode, struct llfuse_file *file,
	       struct llfuse_entry *entry)
{
	struct tree *tree = tree_of(req);
	struct inode *made;
	int err;

	err = tree_tmpfile(tree, parent, mode, owner_of(req), &made);
	if (err)
		return err;
	(void)tree_open(tree, made->number); /* it is there: we hold a reference */
	fill_entry(tree, made, entry);
	fill_file(file);
	return 0;
}

/* O_TRUNC is part of open, so that no request comes between. */
static int truncate_opened(struct tree *tree, uint64_t ino, bool drop_suidgid)
{
	struct inode_change change = {.set = INODE_SET_SIZE | INODE_SET_MTIME};
	struct inode *inode = tree_get(tree, ino);
	struct stat after;
	int err;

	if (!inode)
		return -ESTALE;
	if (drop_suidgid)
		change.set |= INODE_DROP_SUIDGID;
	inode_now(&change.mtime);
	err = inode_change(inode, &tree->mem, &change, &after);
	tree_put(tree, inode);
	return err;
}

int op_open(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file)
{
	struct tree *tree = tree_of(req);
	int err;

	if (file->flags & O_TRUNC) {
		err = truncate_opened(tree, ino, file->kill_suidgid);
		if (err)
			return err;
	}
	fill_file(file);
	return tree_open(tree, ino);
}

/* Of files and directories. */
int op_release(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file)
{
	(void)file;
	tree_close(tree_of(req), ino);
	return 0;
}

/* ------------------------------------------------------------------------ */
/* Bytes                                                                     */

/* A read whose answer is not sent yet.  It comes from the heap and not from the
 * tree's memory: it costs the tree nothing. */
struct reading {
	struct tree *tree;
	struct inode *inode;
};

/* Gives up the lock that op_read() took, which the analysis cannot follow. */
static void end_read(void *arg) NO_THREAD_SAFETY_ANALYSIS
{
	struct reading *reading = arg;

	inode_end_access(reading->inode);
	tree_put(reading->tree, reading->inode);
	free(reading);
}

/* Names the pieces in which the bytes lie. */
static int add_segments(const struct data *bytes, uint64_t off, struct llfuse_data *data)
{
	size_t left = llfuse_data_size(data);
	const void *at;
	size_t n;
	int err;

	for (; left > 0 && (n = data_segment(bytes, off, left, &at)) > 0; left -= n, off += n) {
		err = llfuse_data_mem(data, at, n);
		if (err)
			return err;
	}
	return 0;
}

/* The bytes are sent from where they are: the inode's lock is held for reading and a reference
 * kept until they are. */
int op_read(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, off_t off, struct llfuse_data *data)
{
	struct reading *reading = malloc(sizeof(*reading));
	int err;

	(void)file;
	if (!reading)
		return -ENOMEM;
	reading->tree = tree_of(req);
	reading->inode = tree_get(reading->tree, ino);
	if (!reading->inode) {
		err = -ESTALE;
		goto free_reading;
	}
	err = file_begin_read(reading->inode);
	if (err)
		goto put;
	llfuse_data_release(data, end_read, reading); /* called also if the next line fails */
	return add_segments(&reading->inode->data, (uint64_t)off, data);
put:
	tree_put(reading->tree, reading->inode);
free_reading:
	free(reading);
	return err;
}

ssize_t op_write(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, const void *buf, size_t size,
		 off_t off)
{
	struct tree *tree = tree_of(req);
	struct inode *inode = tree_get(tree, ino);
	unsigned flags = 0;
	ssize_t n;

	if (!inode)
		return -ESTALE;
	/* What the kernel writes back it has stamped itself, when the application wrote: those
	 * times come with setattr. */
	if (file->is_writepage)
		flags |= FILE_KEEP_TIMES;
	if (file->kill_suidgid)
		flags |= FILE_DROP_SUIDGID;
	n = file_write(inode, &tree->mem, buf, size, (uint64_t)off, flags);
	tree_put(tree, inode);
	/* The kernel takes any success of a write-back for the whole of it: the rest would be lost, and
	 * fsync(2) told that it is there. */
	if (file->is_writepage && n >= 0 && (size_t)n < size)
		return -ENOMEM;
	return n;
}

int op_fallocate(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, int mode, off_t off, off_t len)
{
	struct tree *tree = tree_of(req);
	struct inode *inode = tree_get(tree, ino);
	struct tree_usage usage;
	uint64_t room;
	int err;

	if (!inode)
		return -ESTALE;
	tree_usage(tree, &usage);
	room = usage.size_used < usage.size_max ? usage.size_max - usage.size_used : 0;
	err = file_allocate(inode, &tree->mem, mode, (uint64_t)off, (uint64_t)len, room,
			    file->kill_suidgid ? FILE_DROP_SUIDGID : 0);
	tree_put(tree, inode);
	return err;
}

off_t op_lseek(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, off_t off, int whence)
{
	struct tree *tree = tree_of(req);
	struct inode *inode;
	off_t found;

	(void)file;
	/* The kernel asks without writing back first: what it still holds would be taken for
	 * holes.  Without this handler it says that all is data, which is right. */
	if (tmpfs_of(req)->writeback)
		return -ENOSYS;
	inode = tree_get(tree, ino);
	if (!inode)
		return -ESTALE;
	found = file_seek(inode, (uint64_t)off, whence);
	tree_put(tree, inode);
	return found;
}
