/* SPDX-License-Identifier: MIT */
/* Handlers by which callers wait for a commit.  See ops.h. */
#include "ops.h"
#include "saver.h"

#include <errno.h>
#include <fcntl.h>

/* Whatever went wrong, fsync(2) knows two words for it. */
static int commit(const struct tmpfs *fs)
{
	int err = saver_sync(fs->saver);

	return err == 0 || err == -ENOSPC ? err : -EIO;
}

/* Where nothing is stored the kernel need not ask again. */
static int commit_or_never(struct llfuse_request *req)
{
	const struct tmpfs *fs = tmpfs_of(req);

	return saver_keeps(fs->saver) ? commit(fs) : -ENOSYS;
}

int op_fsync(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, bool datasync)
{
	(void)ino, (void)file;
	(void)datasync; /* one commit has all that came before it */
	return commit_or_never(req);
}

int op_fsyncdir(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, bool datasync)
{
	(void)ino, (void)file, (void)datasync;
	return commit_or_never(req);
}

ssize_t sync_written(struct llfuse_request *req, const struct llfuse_file *file, ssize_t n)
{
	int err;

	if (n <= 0 || !(file->flags & O_DSYNC) || !saver_keeps(tmpfs_of(req)->saver))
		return n;
	err = commit(tmpfs_of(req));
	return err ? err : n;
}
