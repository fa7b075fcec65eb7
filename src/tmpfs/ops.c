/* SPDX-License-Identifier: MIT */
/* The table of handlers, and what is agreed with the kernel.  See ops.h. */
#include "database.h"
#include "flusher.h"
#include "ops.h"
#include "saver.h"

#include <errno.h>
#include <linux/capability.h>
#include <string.h>

#define NAME "tmpfs"

/* ------------------------------------------------------------------------ */
/* The registry of the kernel's plane                                        */

static int add_backing(void *request, int fd)
{
	struct llfuse_request *req = request;

	atomic_store_explicit(&tmpfs_of(req)->session, llfuse_request_session(req), memory_order_relaxed);
	return llfuse_backing_open(req, fd);
}

static void remove_backing(void *arg, int handle)
{
	struct tmpfs *fs = arg;

	llfuse_backing_close(atomic_load_explicit(&fs->session, memory_order_relaxed), handle);
}

/* ------------------------------------------------------------------------ */
/* What is agreed with the kernel                                            */

/* Returns 0 or why the bytes cannot lie in the kernel. */
static int try_kernel_plane(struct tmpfs *fs, const struct llfuse_conn *conn)
{
	struct data_kernel_options options = fs->kernel_options;

	if (!(conn->capable & LLFUSE_CAP_PASSTHROUGH))
		return -EOPNOTSUPP;
	options.registry = (struct data_registry){.add = add_backing, .remove = remove_backing, .arg = fs};
	return tree_use_kernel(fs->tree, &options);
}

static void use_kernel_plane(struct llfuse_conn *conn)
{
	conn->want |= LLFUSE_CAP_PASSTHROUGH;
	/* A write that the kernel does by itself may wait for its caller's memory as long as that likes, and a truncation
	 * of the same backing file waits for it: in the kernel, not here, if it comes as setattr. */
	conn->want &= ~(uint32_t)LLFUSE_CAP_ATOMIC_O_TRUNC;
	llfuse_log(LLFUSE_LOG_DEBUG, NAME, "data: kernel (passthrough to a private tmpfs)");
}

/* The kernel opens by itself, and may collect writes. */
static void use_heap_plane(struct tmpfs *fs, struct llfuse_conn *conn, int err)
{
	/* Where the kernel could have had them, and a tree that is too full is the reason, somebody may want to know. */
	const enum llfuse_log_level level = err == -ENOSPC ? LLFUSE_LOG_WARNING : LLFUSE_LOG_DEBUG;

	conn->no_open = true;
	fs->writeback = fs->writeback && (conn->capable & LLFUSE_CAP_WRITEBACK_CACHE);
	if (fs->writeback)
		conn->want |= LLFUSE_CAP_WRITEBACK_CACHE;
	llfuse_log(level, NAME, "data: heap%s (%s)", fs->writeback ? ", writeback cache" : "",
		   err ? strerror(-err) : "as asked for");
}

static void start_threads(struct tmpfs *fs, struct llfuse_conn *conn)
{
	const unsigned interval_ms = saver_keeps(fs->saver) ? fs->database->interval_s * 1000 : 0; /* at most a day */
	int err = flusher_new(fs->tree, conn->session, &fs->flusher);

	if (!err)
		err = saver_start(fs->saver);
	/* What it asks for in the first half is committed in the second: see op_write(). */
	if (!err && interval_ms > 0)
		err = flusher_start(fs->flusher, interval_ms / 2);
	if (!err)
		return;
	llfuse_log(LLFUSE_LOG_ERROR, NAME, "cannot make a thread to commit with: %s", strerror(-err));
	conn->error = err;
}

static void op_init(void *userdata, struct llfuse_conn *conn)
{
	struct tmpfs *fs = userdata;
	int err = fs->plane == TMPFS_PLANE_HEAP ? 0 : try_kernel_plane(fs, conn);

	/* What the kernel collects would be committed when it likes, and not in time. */
	fs->writeback = fs->writeback && !saver_keeps(fs->saver);

	conn->want |= LLFUSE_CAP_CACHE_SYMLINKS | LLFUSE_CAP_PARALLEL_DIROPS | LLFUSE_CAP_EXPLICIT_INVAL_DATA |
		      LLFUSE_CAP_HANDLE_KILLPRIV_V2 | LLFUSE_CAP_POSIX_ACL | LLFUSE_CAP_DONT_MASK |
		      LLFUSE_CAP_EXPORT_SUPPORT;
	if (err && fs->plane == TMPFS_PLANE_KERNEL) {
		llfuse_log(LLFUSE_LOG_ERROR, NAME, "data=kernel: %s",
			   err == -EOPNOTSUPP ? "this kernel has no passthrough for FUSE" : strerror(-err));
		conn->error = err;
	} else if (err || fs->plane == TMPFS_PLANE_HEAP) {
		use_heap_plane(fs, conn, err);
	} else {
		fs->writeback = false;
		use_kernel_plane(conn);
	}
	if (!conn->error)
		start_threads(fs, conn);
}

static void op_destroy(void *userdata)
{
	struct tmpfs *fs = userdata;

	flusher_free(fs->flusher);
	fs->store_err = database_close(fs);
	tree_free(fs->tree);
	fs->tree = NULL;
}

/* ------------------------------------------------------------------------ */
/* Callers                                                                   */

bool is_stranger(const struct llfuse_request *req, struct inode *inode)
{
	gid_t gid;

	if (!inode_has_setgid(inode, &gid))
		return false;
	return !llfuse_in_group(req, gid);
}

bool keeps_setgid(const struct llfuse_request *req, struct inode *inode)
{
	return !is_stranger(req, inode) || llfuse_has_capability(req, CAP_FSETID);
}

bool drops_setid(const struct llfuse_request *req, struct inode *inode)
{
	return inode_has_setid(inode) && !llfuse_has_capability(req, CAP_FSETID);
}

/* ------------------------------------------------------------------------ */

void invalidate(struct llfuse_request *req, uint64_t ino, off_t off)
{
	struct llfuse_session *session = llfuse_request_session(req);

	if (session)
		(void)llfuse_notify_inval_inode(session, ino, off, 0); /* it may have gone */
}

/* All but the attributes.  Done first: who frees the inode later takes its lock, which orders that after this. */
static void begin_entry(const struct tree *tree, const struct inode *inode, struct llfuse_entry *entry)
{
	memset(entry, 0, sizeof(*entry));
	entry->ino = inode->number;
	entry->generation = tree->generation;
	entry->entry_timeout_s = LLFUSE_FOREVER_S;
}

static double timeout_of(bool may_change)
{
	return may_change ? 0 : LLFUSE_FOREVER_S;
}

void fill_entry(struct tree *tree, struct inode *inode, struct llfuse_entry *entry)
{
	begin_entry(tree, inode, entry);
	entry->attr_timeout_s = timeout_of(inode_stat(inode, tree->plane, &entry->attr, NULL));
}

void fill_listed_entry(struct tree *tree, struct inode *inode, bool wants_attr, struct llfuse_entry *entry)
{
	bool may_change;

	begin_entry(tree, inode, entry);
	if (wants_attr && inode_try_stat(inode, tree->plane, &entry->attr, &may_change)) {
		entry->attr_timeout_s = timeout_of(may_change);
		return;
	}
	entry->attr.st_ino = inode->number;
	entry->attr.st_mode = inode_type(inode);
	if (wants_attr)
		entry->ino = 0;
}

/*
 * Left out on purpose: opendir, without which the kernel opens by itself, and keeps what it has of
 * listings, as nobody else changes them (and open too, where bytes lie with us: see use_heap_plane()); flush, as there is nothing to do
 * (the kernel takes the missing handler for success and asks no more); access,
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
	.release = op_release,
	.read = op_read,
	.write = op_write,
	.readdir = op_readdir,
	.statfs = op_statfs,
	.setxattr = op_setxattr,
	.getxattr = op_getxattr,
	.listxattr = op_listxattr,
	.removexattr = op_removexattr,
	.create = op_create,
	.fallocate = op_fallocate,
	.fsync = op_fsync,
	.fsyncdir = op_fsyncdir,
	.lseek = op_lseek,
	.copy_file_range = op_copy_file_range,
	.ioctl = op_ioctl,
	.tmpfile = op_tmpfile,
	.statx = op_statx,
};
