/* SPDX-License-Identifier: MIT */
/*
 * Names of descriptors where there is no /proc: see fd.h.
 */
#include "fd.h"

const char *fd_name_prefix = "/proc/self/fd/";

int fd_work_in_proc(int proc_fd)
{
	scoped_fd names = openat(proc_fd, "self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (names < 0 || fchdir(names) < 0)
		return -errno;
	fd_name_prefix = "";
	return 0;
}

int fd_open_mountinfo(void)
{
	char path[64];
	int fd;

	(void)snprintf(path, sizeof(path), "%s../mountinfo", fd_name_prefix);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}
