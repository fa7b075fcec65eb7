/* SPDX-License-Identifier: MIT */
/* Where /proc is: a program that has changed its root directory says so. */
#include <string.h>
#include <unistd.h>

#include "internal.h"

static _Atomic int proc_fd = -1;

void llfuse_use_proc(int fd)
{
	atomic_store(&proc_fd, fd);
}

int ll_proc_at(const char **path)
{
	int fd = atomic_load(&proc_fd);

	if (fd < 0)
		return AT_FDCWD;
	*path += strlen("/proc/");
	return fd;
}

int ll_proc_open(const char *path, int flags)
{
	int dir_fd = ll_proc_at(&path);

	return openat(dir_fd, path, flags | O_CLOEXEC);
}

FILE *ll_proc_fopen(const char *path)
{
	int fd = ll_proc_open(path, O_RDONLY);
	FILE *file = fd >= 0 ? fdopen(fd, "r") : NULL;

	if (fd >= 0 && !file)
		close(fd);
	return file;
}
