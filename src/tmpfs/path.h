/* SPDX-License-Identifier: MIT */
/* Paths that stay right when the working directory changes, and names that outlast a crash. */
#ifndef TMPFS_PATH_H
#define TMPFS_PATH_H

/* @path from the root on, without symbolic links in its directory; the file itself need not be there.  NULL with errno
 * set; else for the caller to free(3). */
char *path_absolute(const char *path);

/* Makes sure that a name that was just made or changed outlasts a crash: fsync(2) of the directory that @path, which is
 * shorter than PATH_MAX, is in.  Returns 0 or -errno: -EINVAL where the file system cannot. */
int path_sync_directory(const char *path);

#endif
