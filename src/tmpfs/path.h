/* SPDX-License-Identifier: MIT */
/* Paths that stay right when the working directory changes. */
#ifndef TMPFS_PATH_H
#define TMPFS_PATH_H

/* @path from the root on, without symbolic links in its directory; the file itself need not be there.  NULL with errno
 * set; else for the caller to free(3). */
char *path_absolute(const char *path);

#endif
