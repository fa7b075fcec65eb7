/* SPDX-License-Identifier: MIT */
/*
 * Descriptors that close themselves.
 *
 * Knows how a descriptor is owned by a scope and handed on, and how one that was
 * opened with O_PATH is named in /proc, where a system call takes no descriptor; also
 * where there is no /proc.
 */
#ifndef PASSTHROUGHFS_FD_H
#define PASSTHROUGHFS_FD_H

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static inline void fd_close(const int *fd)
{
	if (*fd >= 0)
		(void)close(*fd); /* nothing was written that an error could be about */
}

/** An int that is closed when its scope ends, unless take_fd() took it. */
#define scoped_fd __attribute__((cleanup(fd_close))) int

/** Hands the descriptor on: the scope does not close it any more. */
static inline int take_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

/** The name of an open descriptor: following it leads to the very object, also
 * for a symbolic link, and never to what is mounted on it. */
struct fd_name {
	char path[32];
};

/** What the names begin with; see fd_work_in_proc(). */
extern const char *fd_name_prefix;

static inline struct fd_name fd_name(int fd)
{
	struct fd_name name;

	(void)snprintf(name.path, sizeof(name.path), "%s%d", fd_name_prefix, fd);
	return name;
}

/**
 * Makes self/fd below @proc_fd, a mounted proc, the working directory, so that names need
 * no /proc any more.  It has to stay that.  While there is one thread; those that it
 * makes have the same, also once their working directory is their own (CLONE_FS).
 * Returns 0 or -errno.
 */
int fd_work_in_proc(int proc_fd);

/** Opens /proc/self/mountinfo.  Returns a descriptor or -errno. */
int fd_open_mountinfo(void);

/** Opens again what @fd stands for, with other flags.  Returns a descriptor or -errno. */
static inline int fd_reopen(int fd, int flags)
{
	int again = open(fd_name(fd).path, flags | O_CLOEXEC);

	return again < 0 ? -errno : again;
}

#endif
