/* SPDX-License-Identifier: MIT */
/*
 * Attributes of a file of the source: see attr.h.
 */
#include "attr.h"

#include "fd.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

static struct timespec timespec_of(struct statx_timestamp stamp)
{
	return (struct timespec){.tv_sec = stamp.tv_sec, .tv_nsec = stamp.tv_nsec};
}

void attr_from_statx(const struct statx *stx, struct stat *attr)
{
	*attr = (struct stat){
		.st_dev = makedev(stx->stx_dev_major, stx->stx_dev_minor),
		.st_ino = stx->stx_ino,
		.st_mode = stx->stx_mode,
		.st_nlink = stx->stx_nlink,
		.st_uid = stx->stx_uid,
		.st_gid = stx->stx_gid,
		.st_rdev = makedev(stx->stx_rdev_major, stx->stx_rdev_minor),
		.st_size = (off_t)stx->stx_size,
		.st_blksize = (blksize_t)stx->stx_blksize,
		.st_blocks = (blkcnt_t)stx->stx_blocks,
		.st_atim = timespec_of(stx->stx_atime),
		.st_mtim = timespec_of(stx->stx_mtime),
		.st_ctim = timespec_of(stx->stx_ctime),
	};
}

int attr_get(int fd, struct stat *attr)
{
	return fstat(fd, attr) < 0 ? -errno : 0;
}

int attr_set_mode(int fd, mode_t mode)
{
	/* fchmod(2) refuses O_PATH.  Source: fchmodat2(2), Linux 6.6. */
	if (syscall(SYS_fchmodat2, fd, "", mode & 07777, AT_EMPTY_PATH) == 0)
		return 0;
	if (errno != ENOSYS)
		return -errno;
	return chmod(fd_name(fd).path, mode & 07777) < 0 ? -errno : 0;
}

int attr_set_owner(int fd, uid_t uid, gid_t gid)
{
	return fchownat(fd, "", uid, gid, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

int attr_set_times(int fd, const struct timespec *atime, const struct timespec *mtime)
{
	struct timespec times[2] = {*atime, *mtime};

	return utimensat(fd, "", times, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

int attr_set_size(int fd, off_t size)
{
	return truncate(fd_name(fd).path, size) < 0 ? -errno : 0;
}

bool attr_mode_has_setid(mode_t mode)
{
	return !S_ISDIR(mode) && (mode & (S_ISUID | S_ISGID));
}

bool attr_has_setid(int fd)
{
	struct stat attr;

	return attr_get(fd, &attr) == 0 && attr_mode_has_setid(attr.st_mode);
}
