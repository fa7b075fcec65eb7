/* SPDX-License-Identifier: MIT */
/*
 * Names in the source: see beneath.h.
 *
 * Hides openat2(2) and its resolve flags.
 */
#include "beneath.h"

#include "fd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static const uint64_t stay_beneath = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS;

/* How often an open is tried anew that the kernel gave up because of a rename
 * somewhere else on the machine. */
enum { OPEN_TRIES = 100 };

bool beneath_name_ok(const char *name)
{
	if (!*name || strchr(name, '/'))
		return false;
	return strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static int open_at(int dir_fd, const char *name, int flags, mode_t mode, uint64_t resolve)
{
	struct open_how how = {
		.flags = (uint64_t)(unsigned)flags,
		.mode = mode,
		.resolve = resolve,
	};

	for (int tries = 0;; tries++) {
		long fd = syscall(SYS_openat2, dir_fd, name, &how, sizeof(how));

		if (fd >= 0)
			return (int)fd;
		if (errno != EAGAIN || tries == OPEN_TRIES)
			return -errno;
	}
}

int beneath_open_at(int dir_fd, const char *name, bool cross_mounts)
{
	if (!beneath_name_ok(name))
		return -EINVAL;
	/* RESOLVE_NO_SYMLINKS is not for the last component of an O_NOFOLLOW open:
	 * the link itself is what we want. */
	return open_at(dir_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0,
		       stay_beneath | (cross_mounts ? 0 : RESOLVE_NO_XDEV));
}

int beneath_look_at(int dir_fd, const char *name, uint64_t mount_id, unsigned mask, struct handle *handle,
		    struct statx *stx)
{
	uint64_t found_on;
	int err;

	if (!beneath_name_ok(name))
		return -EINVAL;
	err = handle_at(dir_fd, name, 0, handle, &found_on);
	if (err)
		return err;
	if (found_on != mount_id)
		return -EXDEV;
	/* By now something may be mounted there that would have to be asked, and might be us. */
	if (statx(dir_fd, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC, mask, stx) < 0)
		return -errno;
	return stx->stx_mnt_id == mount_id ? 0 : -EXDEV;
}

int beneath_open_parent(int dir_fd)
{
	int fd = openat(dir_fd, "..", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static bool is_same(const struct statx *a, const struct statx *b)
{
	return a->stx_ino == b->stx_ino && a->stx_dev_major == b->stx_dev_major &&
	       a->stx_dev_minor == b->stx_dev_minor && a->stx_mnt_id == b->stx_mnt_id;
}

/* Upwards, one by one. */
static int check_by_steps(int root_fd, int dir_fd)
{
	scoped_fd at = fcntl(dir_fd, F_DUPFD_CLOEXEC, 0);
	struct statx root;
	struct statx above = {.stx_ino = 0};
	struct statx here;

	if (at < 0 || statx(root_fd, "", AT_EMPTY_PATH, STATX_INO | STATX_MNT_ID, &root) < 0)
		return -errno;
	for (;;) {
		int up;

		if (statx(at, "", AT_EMPTY_PATH, STATX_INO | STATX_MNT_ID, &here) < 0)
			return -errno;
		if (is_same(&here, &root))
			return 0;
		if (is_same(&here, &above)) /* the root of the file system, or of ours */
			return -ESTALE;
		up = beneath_open_parent(at);
		if (up < 0)
			return up == -ENOENT ? -ESTALE : up;
		fd_close(&at);
		at = up;
		above = here;
	}
}

ssize_t beneath_path(int fd, char path[PATH_MAX])
{
	ssize_t n = readlink(fd_name(fd).path, path, PATH_MAX);

	if (n < 0)
		return -errno;
	if (n == PATH_MAX)
		return -ENAMETOOLONG;
	path[n] = 0;
	return n;
}

/* Whether @fd is below the root by its path: 0, -ESTALE if not, or -errno.  The path of what has been moved out of its
 * mount, and of what the kernel knows no name of, is "/": @of_unknown is the answer then. */
static int check_path(int root_fd, int fd, int of_unknown)
{
	char root[PATH_MAX];
	char path[PATH_MAX];
	ssize_t n_root = beneath_path(root_fd, root);
	ssize_t n = beneath_path(fd, path);

	if (n_root < 0 || n < 0)
		return (int)(n < 0 ? n : n_root);
	if (n == 1)
		return of_unknown;
	if (n_root == 1) /* all that we see */
		return 0;
	return n > n_root && path[n_root] == '/' && memcmp(root, path, (size_t)n_root) == 0 ? 0 : -ESTALE;
}

/* A path does for the mount of the root: others may have been detached. */
int beneath_check(int root_fd, int dir_fd, bool is_on_root_mount)
{
	int err = is_on_root_mount ? check_path(root_fd, dir_fd, -ESTALE) : -ENAMETOOLONG;

	return err == -ENAMETOOLONG ? check_by_steps(root_fd, dir_fd) : err;
}

int beneath_check_file(int root_fd, int fd, bool names_are_known)
{
	int err = check_path(root_fd, fd, names_are_known ? -ESTALE : 0);

	return err == -ENAMETOOLONG ? 0 : err; /* too deep for a path */
}

int beneath_create_at(int dir_fd, const char *name, int flags, mode_t mode)
{
	if (!beneath_name_ok(name))
		return -EINVAL;
	return open_at(dir_fd, name, flags | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode & 07777, stay_beneath);
}

int beneath_tmpfile_at(int dir_fd, int flags, mode_t mode)
{
	return open_at(dir_fd, ".", flags | O_TMPFILE | O_CLOEXEC, mode & 07777, stay_beneath);
}

int beneath_mkdir_at(int dir_fd, const char *name, mode_t mode)
{
	if (!beneath_name_ok(name))
		return -EINVAL;
	return mkdirat(dir_fd, name, mode & 07777) < 0 ? -errno : 0;
}

int beneath_mknod_at(int dir_fd, const char *name, mode_t mode, dev_t rdev)
{
	if (!beneath_name_ok(name))
		return -EINVAL;
	return mknodat(dir_fd, name, mode, rdev) < 0 ? -errno : 0;
}

int beneath_symlink_at(int dir_fd, const char *name, const char *target)
{
	if (!beneath_name_ok(name))
		return -EINVAL;
	return symlinkat(target, dir_fd, name) < 0 ? -errno : 0;
}

int beneath_link_at(int fd, int dir_fd, const char *name)
{
	if (!beneath_name_ok(name))
		return -EINVAL;
	/* Without CAP_DAC_READ_SEARCH a descriptor is not enough: linkat(2). */
	if (linkat(fd, "", dir_fd, name, AT_EMPTY_PATH) == 0)
		return 0;
	if (errno != ENOENT)
		return -errno;
	return linkat(AT_FDCWD, fd_name(fd).path, dir_fd, name, AT_SYMLINK_FOLLOW) < 0 ? -errno : 0;
}

int beneath_unlink_at(int dir_fd, const char *name, bool is_dir)
{
	if (!beneath_name_ok(name))
		return -EINVAL;
	return unlinkat(dir_fd, name, is_dir ? AT_REMOVEDIR : 0) < 0 ? -errno : 0;
}

int beneath_rename_at(int dir_fd, const char *name, int new_dir_fd, const char *new_name, unsigned flags)
{
	if (!beneath_name_ok(name) || !beneath_name_ok(new_name))
		return -EINVAL;
	return syscall(SYS_renameat2, dir_fd, name, new_dir_fd, new_name, flags) < 0 ? -errno : 0;
}
