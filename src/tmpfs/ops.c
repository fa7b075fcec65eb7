/* SPDX-License-Identifier: MIT */
/* The table of handlers, and what is agreed with the kernel.  See ops.h. */
#include "ops.h"

static void op_init(void *userdata, struct llfuse_conn *conn)
{
	struct tmpfs *fs = userdata;

	fs->writeback = fs->writeback && (conn->capable & LLFUSE_CAP_WRITEBACK_CACHE);
	if (fs->writeback)
		conn->want |= LLFUSE_CAP_WRITEBACK_CACHE;
	conn->want |= LLFUSE_CAP_CACHE_SYMLINKS | LLFUSE_CAP_PARALLEL_DIROPS | LLFUSE_CAP_EXPLICIT_INVAL_DATA |
		      LLFUSE_CAP_HANDLE_KILLPRIV_V2;
}

static void op_destroy(void *userdata)
{
	struct tmpfs *fs = userdata;

	tree_free(fs->tree);
	fs->tree = NULL;
}

void fill_entry(struct tree *tree, struct inode *inode, struct llfuse_entry *entry)
{
	entry->ino = inode->number;
	entry->generation = tree->generation;
	entry->entry_timeout_s = LLFUSE_FOREVER_S;
	entry->attr_timeout_s = LLFUSE_FOREVER_S;
	inode_stat(inode, &tree->plane, &entry->attr, NULL);
}

/*
 * Left out on purpose: open and opendir, without which the kernel opens by itself, and keeps what it has of
 * pages and listings, as nobody else changes them; flush, fsync and fsyncdir, as there is nothing behind this
 * memory (the kernel takes the missing handler for success and asks no more); access,
 * as the kernel checks permissions; the locks, which the kernel keeps itself.
 */
const struct llfuse_ops tmpfs_ops = {
	.init = op_init,
	.destroy = op_destroy,
	.lookup = op_lookup,
	.forget = op_forget,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.readlink = op_readlink,
	.mknod = op_mknod,
	.mkdir = op_mkdir,
	.unlink = op_unlink,
	.rmdir = op_rmdir,
	.symlink = op_symlink,
	.rename = op_rename,
	.link = op_link,
	.read = op_read,
	.write = op_write,
	.readdir = op_readdir,
	.statfs = op_statfs,
	.create = op_create,
	.fallocate = op_fallocate,
	.lseek = op_lseek,
	.copy_file_range = op_copy_file_range,
	.ioctl = op_ioctl,
	.tmpfile = op_tmpfile,
	.statx = op_statx,
};
