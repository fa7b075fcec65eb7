/* SPDX-License-Identifier: MIT */
/* Handlers for open files: create, open, read, write, fallocate, seek, copy.  See ops.h. */
#include "file.h"
#include "ops.h"
#include "saver.h"

#include <errno.h>
#include <fcntl.h>

/* ------------------------------------------------------------------------ */
/* Opening                                                                   */

/* What holds for every open regular file that comes to us. */
static void fill_file(struct llfuse_file *file)
{
	file->keep_cache = true;
	file->noflush = true;
}

static bool is_writer(const struct llfuse_file *file)
{
	return (file->flags & O_ACCMODE) != O_RDONLY;
}

/* An open on its way through the core. */
struct opening {
	struct llfuse_request *req;
	struct llfuse_file *file;
	unsigned flags; /* of enum file_open_flags */
	bool is_first_writer;
};

static int open_inode(struct inode *inode, void *arg)
{
	struct opening *opening = arg;
	struct data_plane *plane = tree_of(opening->req)->plane;
	struct file_opening result;
	int err;

	fill_file(opening->file);
	if (!plane->ops->open)
		return 0;
	err = file_open(inode, plane, opening->flags, opening->req, &result);
	if (err)
		return err;
	tree_ref(inode); /* the open's, until release */
	opening->file->backing_id = result.handle;
	opening->file->direct_io = result.handle > 0 && result.is_ours;
	/* What the kernel keeps of a file that it read through a backing file is old. */
	opening->file->keep_cache = false;
	opening->is_first_writer = result.is_first_writer;
	return 0;
}

/* What open_inode() did, in release and where create fails after it. */
static void close_inode(struct tree *tree, struct inode *inode, const struct llfuse_file *file)
{
	if (!tree->plane->ops->open)
		return;
	file_close(inode, tree->plane, is_writer(file) ? FILE_OPEN_WRITER : 0);
	tree_put(tree, inode); /* the open's */
}

static void undo_open(struct inode *inode, void *arg)
{
	struct opening *opening = arg;

	close_inode(tree_of(opening->req), inode, opening->file);
}

static struct opening opening_of(struct llfuse_request *req, struct llfuse_file *file, unsigned flags)
{
	if (is_writer(file))
		flags |= FILE_OPEN_WRITER;
	/* Of such a write we have to hear. */
	if ((file->flags & O_DSYNC) && saver_keeps(tmpfs_of(req)->saver))
		flags |= FILE_OPEN_SYNC;
	return (struct opening){.req = req, .file = file, .flags = flags};
}

int op_create(struct llfuse_request *req, uint64_t parent, const char *name, mode_t mode, struct llfuse_file *file,
	      struct llfuse_entry *entry)
{
	struct opening opening = opening_of(req, file, FILE_OPEN_NEW);
	struct inode *made;
	int err;

	err = tree_create(tree_of(req), parent, name, mode, owner_of(req),
			  &(struct tree_preparation){.make = open_inode, .undo = undo_open, .arg = &opening}, &made);
	if (err)
		return err;
	fill_entry(tree_of(req), made, entry);
	return 0;
}

int op_tmpfile(struct llfuse_request *req, uint64_t parent, mode_t mode, struct llfuse_file *file,
	       struct llfuse_entry *entry)
{
	struct opening opening = opening_of(req, file, FILE_OPEN_NEW);
	struct tree *tree = tree_of(req);
	struct inode *made;
	int err;

	err = tree_tmpfile(tree, parent, mode, owner_of(req), &made);
	if (err)
		return err;
	err = open_inode(made, &opening);
	if (err) {
		tree_put(tree, made);
		return err;
	}
	fill_entry(tree, made, entry);
	return 0;
}

int op_open(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file)
{
	struct opening opening = opening_of(req, file, 0);
	struct inode *inode = tree_get(tree_of(req), ino);
	int err;

	if (!inode)
		return -ESTALE;
	err = open_inode(inode, &opening);
	tree_put(tree_of(req), inode);
	/* The kernel may have been told attributes that hold for ever, and from now on somebody may change the file by a
	 * mapping, of which neither of us hears. */
	if (!err && opening.is_first_writer)
		invalidate(req, ino, -1);
	return err;
}

int op_release(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file)
{
	struct tree *tree = tree_of(req);
	struct inode *inode = tree_get(tree, ino);

	if (!inode)
		return -ESTALE;
	close_inode(tree, inode, file);
	tree_put(tree, inode);
	return 0;
}

/* ------------------------------------------------------------------------ */
/* Bytes                                                                     */

int op_read(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, off_t off, struct llfuse_data *data)
{
	struct tree *tree = tree_of(req);
	struct inode *inode;
	void *room = llfuse_data_room(data);
	ssize_t n;

	(void)file;
	if (!room)
		return -ENOMEM;
	inode = tree_get(tree, ino);
	if (!inode)
		return -ESTALE;
	n = file_read(inode, tree->plane, room, llfuse_data_size(data), (uint64_t)off);
	tree_put(tree, inode);
	if (n < 0)
		return (int)n;
	llfuse_data_filled(data, (size_t)n);
	return 0;
}

/* What follows for the bits that not everybody may keep. */
static unsigned drop_flags(const struct llfuse_request *req, struct inode *inode)
{
	return FILE_DROP_SETID | (is_stranger(req, inode) ? FILE_DROP_AS_STRANGER : 0u);
}

/* The answer says nothing of them, and execve(2) goes by those that the kernel remembers. */
static void forget_bits(struct llfuse_request *req, uint64_t ino)
{
	invalidate(req, ino, -1);
}

static unsigned write_flags(const struct llfuse_request *req, struct inode *inode, const struct llfuse_file *file)
{
	if (!file->is_writepage)
		return file->kill_suidgid ? drop_flags(req, inode) : 0;
	/* What the kernel collected it has stamped itself, when the application wrote, and has dropped what a write
	 * drops: those times come with setattr. */
	return FILE_KEEP_SETID | (tmpfs_of(req)->writeback ? FILE_KEEP_TIMES : 0u);
}

/*
 * A page of the kernel's could not be written back.  Any success would be taken for the whole of it, and fsync(2)
 * told that it is there.  So that who goes on writing hears of it, the kernel is made to ask for the attributes
 * before the next write: see op_getattr().
 */
static ssize_t lose(struct llfuse_request *req, struct inode *inode, uint64_t end, ssize_t n)
{
	file_lose(inode, tree_of(req)->plane, end);
	invalidate(req, inode->number, -1);
	return n < 0 ? n : -ENOSPC;
}

ssize_t op_write(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, const void *buf, size_t size,
		 off_t off)
{
	struct tree *tree = tree_of(req);
	struct inode *inode = tree_get(tree, ino);
	bool loses_bits;
	ssize_t n;

	if (!inode)
		return -ESTALE;
	loses_bits = file->kill_suidgid && !file->is_writepage && inode_has_setid(inode);
	n = file_write(inode, tree->plane, buf, size, (uint64_t)off, write_flags(req, inode, file));
	if (file->is_writepage)
		saver_hurry(tmpfs_of(req)->saver); /* it was done before now */
	if (file->is_writepage && n != (ssize_t)size)
		n = lose(req, inode, (uint64_t)off + size, n);
	if (loses_bits)
		forget_bits(req, ino);
	tree_put(tree, inode);
	return sync_written(req, file, n);
}

int op_fallocate(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, int mode, off_t off, off_t len)
{
	struct tree *tree = tree_of(req);
	struct inode *inode = tree_get(tree, ino);
	bool loses_bits;
	int err;

	(void)file;
	if (!inode)
		return -ESTALE;
	loses_bits = drops_setid(req, inode);
	err = file_allocate(inode, tree->plane, mode, (uint64_t)off, (uint64_t)len,
			    loses_bits ? drop_flags(req, inode) : 0);
	if (loses_bits)
		forget_bits(req, ino);
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
	found = file_seek(inode, tree->plane, (uint64_t)off, whence);
	tree_put(tree, inode);
	return found;
}

ssize_t op_copy_file_range(struct llfuse_request *req, uint64_t ino_in, struct llfuse_file *file_in, off_t off_in,
			   uint64_t ino_out, struct llfuse_file *file_out, off_t off_out, size_t len, unsigned flags)
{
	struct tree *tree = tree_of(req);
	struct inode *from, *to;
	bool loses_bits;
	ssize_t n = -ESTALE;

	(void)file_in, (void)file_out;
	if (flags != 0)
		return -EINVAL;
	from = tree_get(tree, ino_in);
	to = tree_get(tree, ino_out);
	loses_bits = to && drops_setid(req, to);
	if (from && to)
		n = file_copy(from, (uint64_t)off_in, to, (uint64_t)off_out, len, tree->plane,
			      loses_bits ? drop_flags(req, to) : 0);
	if (loses_bits)
		forget_bits(req, ino_out);
	if (from)
		tree_put(tree, from);
	if (to)
		tree_put(tree, to);
	return n;
}
