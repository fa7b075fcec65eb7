/* SPDX-License-Identifier: MIT */
/* The table of handlers, and what is agreed with the kernel.  See ops.h. */
#include "ops.h"

static void op_init(void *userdata, struct llfuse_conn *conn)
{
	struct tmpfs *fs = userdata;

	conn->want |= LLFUSE_CAP_WRITEBACK_CACHE | LLFUSE_CAP_CACHE_SYMLINKS | LLFUSE_CAP_PARALLEL_DIROPS |
		      LLFUSE_CAP_EXPLICIT_INVAL_DATA | LLFUSE_CAP_HANDLE_KILLPRIV_V2;
	fs->writeback = conn->capable & LLFUSE_CAP_WRITEBACK_CACHE;
}

static void op_destroy(void *userdata)
{
	struct tmpfs *fs = userdata;

	tree_free(fs->tree);
	fs->tree = NULL;
}

void fill_entry(const struct tree *tree, struct inode *inode, struct llfuse_entry *entry)
{
	entry->ino = inode->number;
	entry->generation = tree->generation;
	entry->entry_timeout_s = LLFUSE_FOREVER_S;
	entry->attr_timeout_s = LLFUSE_FOREVER_S;
	inode_stat(inode, &entry->attr, NULL);
}

/*
 * Left out on purpose: flush, fsync and fsyncdir, as there is nothing behind this
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
	.open = op_open,
	.read = op_read,
	.write = op_write,
	.release = op_release,
	.opendir = op_opendir,
	.readdir = op_readdir,
	.releasedir = op_release,
	.statfs = op_statfs,
	.create = op_create,
	.fallocate = op_fallocate,
	.lseek = op_lseek,
	.tmpfile = op_tmpfile,
	.statx = op_statx,
};
