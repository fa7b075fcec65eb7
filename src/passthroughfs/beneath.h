/* SPDX-License-Identifier: MIT */
/*
 * Everything that is done to a name in a directory of the source.
 *
 * The one place where a name reaches the source.  It knows that a name is one
 * component, never "." or "..", and that following a symbolic link or leaving the
 * directory is the kernel's to refuse; nobody else passes names to system calls.
 *
 * Every function takes the descriptor of the directory (O_PATH is enough)
 * first, and returns 0 or a descriptor, or -errno: -EINVAL for a name that is none.
 */
#ifndef PASSTHROUGHFS_BENEATH_H
#define PASSTHROUGHFS_BENEATH_H

#include "mounts.h"

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

/** Whether @name is one component that lies below the directory. */
bool beneath_name_ok(const char *name);

/**
 * An O_PATH descriptor of @name, whatever it is: a symbolic link is not followed
 * and a FIFO or device not opened.
 * If something is mounted on it, the result is -EXDEV, or what is mounted if
 * @cross_mounts.  Triggers no automount.
 */
int beneath_open_at(int dir_fd, const char *name, bool cross_mounts);

/**
 * The handle of @name, whatever it is, and then what statx(2) says of it, STATX_MNT_ID being in @mask: faster than to
 * open it.  Between the two the name may go to another file: if so, what the handle is of may be there or not, and the
 * rest is of the other one.  Follows and triggers nothing.
 * -EXDEV if it is not on the mount @mount_id (stx_mnt_id); else as name_to_handle_at(2) and statx(2).
 */
int beneath_look_at(int dir_fd, const char *name, uint64_t mount_id, unsigned mask, struct handle *handle,
		    struct statx *stx);

/** Opens the directory above @dir_fd, which is not the root of what is shown, with O_PATH. */
int beneath_open_parent(int dir_fd);

/** The path of @fd, as this process sees it.  Returns its length, or -errno. */
ssize_t beneath_path(int fd, char path[PATH_MAX]);

/** Whether the directory @dir_fd is below @root_fd: 0, -ESTALE if it, or its mount, has been taken away, or -errno. */
int beneath_check(int root_fd, int dir_fd, bool is_on_root_mount);

/** The same for what is no directory, by its path.  One of which the kernel does not know the name is taken to be
 * below unless @names_are_known. */
int beneath_check_file(int root_fd, int fd, bool names_are_known);

/** Makes a regular file that was not there and opens it with @flags of open(2).
 * -EEXIST if there is anything. */
int beneath_create_at(int dir_fd, const char *name, int flags, mode_t mode);

/** A regular file without a name, which can be given one. */
int beneath_tmpfile_at(int dir_fd, int flags, mode_t mode);

int beneath_mkdir_at(int dir_fd, const char *name, mode_t mode);
int beneath_mknod_at(int dir_fd, const char *name, mode_t mode, dev_t rdev);
int beneath_symlink_at(int dir_fd, const char *name, const char *target);

/** A further name for what @fd (O_PATH is enough) stands for. */
int beneath_link_at(int fd, int dir_fd, const char *name);

/** @is_dir: rmdir instead of unlink. */
int beneath_unlink_at(int dir_fd, const char *name, bool is_dir);

/** @flags of renameat2(2). */
int beneath_rename_at(int dir_fd, const char *name, int new_dir_fd, const char *new_name, unsigned flags);

#endif
