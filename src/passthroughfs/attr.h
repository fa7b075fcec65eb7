/* SPDX-License-Identifier: MIT */
/*
 * Attributes of one file of the source, given by a descriptor (O_PATH is enough).
 *
 * Knows which system call changes which attribute of what cannot be opened.
 * Every function returns 0 or -errno.  Any thread.
 */
#ifndef PASSTHROUGHFS_ATTR_H
#define PASSTHROUGHFS_ATTR_H

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>

/** As stat(2) would have told it. */
void attr_from_statx(const struct statx *stx, struct stat *attr);

int attr_get(int fd, struct stat *attr);

int attr_set_mode(int fd, mode_t mode);

/** (uid_t)-1 and (gid_t)-1 stay as they are. */
int attr_set_owner(int fd, uid_t uid, gid_t gid);

/** UTIME_NOW and UTIME_OMIT in tv_nsec as utimensat(2) takes them. */
int attr_set_times(int fd, const struct timespec *atime, const struct timespec *mtime);

int attr_set_size(int fd, off_t size);

/** Whether a file of this mode is no directory, and has a setuid or setgid bit. */
bool attr_mode_has_setid(mode_t mode);

/** Whether it is no directory, and has a setuid or setgid bit; false if that cannot be known. */
bool attr_has_setid(int fd);

#endif
