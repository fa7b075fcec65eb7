/* SPDX-License-Identifier: MIT */
/*
 * What the handlers share, what is agreed with the kernel, and the table of handlers.
 */
#include "ops.h"

#include "attr.h"
#include "fd.h"
#include "watch.h"

#include <errno.h>

static void op_init(void *userdata, struct llfuse_conn *conn)
{
	(void)ops_watch_start(userdata, conn->session); /* without it time-outs are short */
	conn->want |= LLFUSE_CAP_EXPORT_SUPPORT;
	ops_agree_on_plane(conn);
	/* The umask and default ACLs are for the source to combine. */
	conn->want |= LLFUSE_CAP_DONT_MASK | LLFUSE_CAP_POSIX_ACL;
	conn->want |= LLFUSE_CAP_HANDLE_KILLPRIV_V2;
	/* An inode is one file for its whole life, and a link's target never changes. */
	conn->want |= LLFUSE_CAP_CACHE_SYMLINKS;
	conn->no_enosys = true; /* a FUSE file system in the source that cannot do something speaks for itself alone */
}

double ops_timeout_s(const struct source *source, const struct hold *hold)
{
	switch (source_cache(source)) {
	case SOURCE_CACHE_ALWAYS:
		return LLFUSE_FOREVER_S;
	case SOURCE_CACHE_NEVER:
		return 0;
	default:
		return hold && !hold_watch_error(hold) && ops_watch_works(source) ? OPS_WATCHED_S : OPS_UNWATCHED_S;
	}
}

/* Attributes of what is written to unnoticed are looked at again soon. */
static double soon_if(bool is_unnoticed, double timeout_s)
{
	return is_unnoticed && timeout_s > OPS_UNSURE_S ? OPS_UNSURE_S : timeout_s;
}

double ops_attr_timeout_s(const struct source *source, const struct hold *hold)
{
	return soon_if(hold_ignores_writes(hold), ops_timeout_s(source, hold));
}

int ops_attr(struct source *source, const struct hold *hold, struct llfuse_entry *entry)
{
	int err;

	entry->attr_timeout_s = ops_attr_timeout_s(source, hold);
	err = attr_get(hold->fd, &entry->attr);
	if (!err)
		entry->attr.st_ino = source_shown_ino(source, entry->attr.st_dev, entry->attr.st_ino);
	return err;
}

struct ops_look ops_look(struct source *source, const struct hold *dir)
{
	return (struct ops_look){.source = source, .dir = dir, .serial = watch_serial(source_watch(source))};
}

/* @ino has been counted. */
static void fill_entry(const struct ops_look *look, const char *name, uint64_t ino, const struct statx *stx,
		       struct llfuse_entry *entry)
{
	/* What is mounted there comes and goes unseen. */
	double timeout_s = ops_timeout_s(look->source, name ? look->dir : NULL);
	/* Before it is asked what has changed in the meantime. */
	double attr_timeout_s = soon_if(inode_ignores_writes(source_inodes(look->source), ino), timeout_s);

	*entry = (struct llfuse_entry){
		.ino = ino,
		.generation = inode_generation(source_inodes(look->source), ino),
		.entry_timeout_s = timeout_s,
		.attr_timeout_s = look->serial == watch_serial(source_watch(look->source)) ? attr_timeout_s : 0,
	};
	attr_from_statx(stx, &entry->attr);
	entry->attr.st_ino = source_shown_ino(look->source, entry->attr.st_dev, entry->attr.st_ino);
}

int ops_entry(const struct ops_look *look, const char *name, int fd, const struct statx *stx,
	      struct llfuse_entry *entry)
{
	uint64_t ino;
	int err;

	err = inode_learn(source_inodes(look->source), look->dir, name, fd, stx, &ino);
	if (!err)
		fill_entry(look, name, ino, stx, entry);
	return err;
}

void ops_no_entry(struct source *source, const struct hold *dir, struct llfuse_entry *entry)
{
	*entry = (struct llfuse_entry){.entry_timeout_s = ops_timeout_s(source, dir)};
}

int ops_child(struct source *source, const struct hold *dir, const char *name, struct llfuse_entry *entry)
{
	struct ops_look look = ops_look(source, dir);
	scoped_fd fd = -1;
	struct statx stx;
	bool over_mount;
	uint64_t ino;
	int err;

	err = inode_learn_name(source_inodes(source), dir, name, &stx, &ino);
	if (!err)
		fill_entry(&look, name, ino, &stx, entry);
	if (err != -EOPNOTSUPP)
		return err;
	err = source_child(source, dir->fd, name, &fd, &stx, &over_mount);
	if (err)
		return err;
	return ops_entry(&look, over_mount ? NULL : name, fd, &stx, entry);
}

int ops_open_flags(int flags)
{
	/* Not O_APPEND: a page that the kernel writes back belongs where it says, and
	 * each write brings the flag along.  Not O_DIRECT: our buffers are not aligned for it. */
	return flags & (O_ACCMODE | O_TRUNC | O_NONBLOCK | O_NOATIME | O_DSYNC | O_SYNC);
}

int ops_opened(struct source *source, uint64_t ino, struct llfuse_file *file, int *fd, bool has_setid)
{
	bool is_writer = (file->flags & O_ACCMODE) != O_RDONLY;
	bool may_fail = true;
	int err;

	err = inode_opened(source_inodes(source), ino, &may_fail);
	if (err)
		return err;
	file->backing_fd = *fd;
	/* A write through the backing file drops setuid and setgid bits, whoever writes: such a file is written through
	 * us.  It is read and mapped as any, so that all who have it open see the same bytes. */
	file->direct_io = ops_kernel_moves_bytes() && is_writer && has_setid;
	/* Only what was written can fail to get to the source at close(2); what may be mapped to write see op_flush(). */
	file->noflush = !is_writer || ((file->flags & O_ACCMODE) == O_WRONLY && !may_fail);
	file->fh = (uint64_t)take_fd(fd);
	return 0;
}

static void op_destroy(void *userdata)
{
	ops_watch_stop(userdata);
}

const struct llfuse_ops passthroughfs_ops = {
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
	.flush = op_flush,
	.release = op_release,
	.fsync = op_fsync,
	.opendir = op_opendir,
	.readdir = op_readdir,
	.releasedir = op_releasedir,
	.fsyncdir = op_fsyncdir,
	.statfs = op_statfs,
	.setxattr = op_setxattr,
	.getxattr = op_getxattr,
	.listxattr = op_listxattr,
	.removexattr = op_removexattr,
	.create = op_create,
	.fallocate = op_fallocate,
	.lseek = op_lseek,
	.copy_file_range = op_copy_file_range,
	.tmpfile = op_tmpfile,
	.statx = op_statx,
};
