/* SPDX-License-Identifier: MIT */
/*
 * What is newly mounted, and where.
 *
 * Knows proc_pid_mountinfo(5), and nothing of inodes or of the source.  One thread.
 */
#ifndef PASSTHROUGHFS_MOUNTINFO_H
#define PASSTHROUGHFS_MOUNTINFO_H

struct mountinfo;

/** Returns 0, or -errno: -ENOENT where there is no /proc. */
int mountinfo_new(struct mountinfo **mountinfo);

/** NULL is nothing. */
void mountinfo_free(struct mountinfo *mountinfo);

/** To be polled for POLLPRI: something was mounted or unmounted.  -1 for NULL. */
int mountinfo_fd(const struct mountinfo *mountinfo);

/**
 * Calls @tell with the mount point, as this process sees it, of each mount that was not there when it was read last: by this
 * function or mountinfo_new().  Those that changed otherwise may be among them.
 * Returns 0, or -errno: then some may have been left out.
 */
int mountinfo_read(struct mountinfo *mountinfo, void (*tell)(void *arg, const char *path), void *arg);

#endif
