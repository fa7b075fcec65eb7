/* SPDX-License-Identifier: MIT */
/* Paths.  See path.h. */
#include "path.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char *path_absolute(const char *path)
{
	char *dir_copy = strdup(path), *name_copy = strdup(path), *dir = NULL, *absolute = NULL;

	if (dir_copy && name_copy)
		dir = realpath(dirname(dir_copy), NULL);
	if (dir && asprintf(&absolute, "%s/%s", strcmp(dir, "/") == 0 ? "" : dir, basename(name_copy)) < 0)
		absolute = NULL;
	free(dir);
	free(dir_copy);
	free(name_copy);
	return absolute;
}

int path_sync_directory(const char *path)
{
	char copy[PATH_MAX];
	int fd, err;

	(void)snprintf(copy, sizeof(copy), "%s", path);
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = fsync(fd) < 0 ? -errno : 0;
	close(fd);
	return err;
}
