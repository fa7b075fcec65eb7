/* SPDX-License-Identifier: MIT */
/* Paths.  See path.h. */
#include "path.h"

#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
