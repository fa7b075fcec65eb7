/* SPDX-License-Identifier: MIT */
/* What Python-LLFUSE offers beside its handlers: extended attributes, listings, groups. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include "internal.h"

int llfuse_setxattr(const char *path, const char *name, const void *value, size_t size)
{
	return setxattr(path, name, value, size, 0) < 0 ? -errno : 0;
}

/* The value may grow between the question for its size and the one for its bytes. */
ssize_t llfuse_getxattr(const char *path, const char *name, void **value)
{
	for (;;) {
		ssize_t size = getxattr(path, name, NULL, 0), n;
		char *buf;

		if (size < 0)
			return -errno;
		buf = malloc((size_t)size + 1);
		if (!buf)
			return -ENOMEM;
		n = getxattr(path, name, buf, (size_t)size);
		if (n >= 0 && n <= size) {
			buf[n] = '\0';
			*value = buf;
			return n;
		}
		free(buf);
		if (errno != ERANGE && n < 0)
			return -errno;
	}
}

static int append_name(char ***names, size_t *n, size_t *max, const char *name)
{
	if (*n + 1 >= *max) {
		size_t more = *max ? *max * 2 : 16;
		char **larger = realloc(*names, more * sizeof(*larger));

		if (!larger)
			return -ENOMEM;
		*names = larger;
		*max = more;
	}
	(*names)[*n] = strdup(name);
	if (!(*names)[*n])
		return -ENOMEM;
	(*names)[++*n] = NULL;
	return 0;
}

static int read_names(DIR *dir, char ***names, size_t *n)
{
	size_t max = 0;

	for (;;) {
		struct dirent *entry;
		int err;

		errno = 0;
		entry = readdir(dir);
		if (!entry)
			return -errno;
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		err = append_name(names, n, &max, entry->d_name);
		if (err)
			return err;
	}
}

ssize_t llfuse_listdir(const char *path, char ***names)
{
	char **found = calloc(1, sizeof(*found));
	DIR *dir = opendir(path);
	size_t n = 0;
	int err;

	if (!dir || !found) {
		err = dir ? -ENOMEM : -errno;
		if (dir)
			closedir(dir);
		free(found);
		return err;
	}
	err = read_names(dir, &found, &n);
	closedir(dir);
	if (err) {
		llfuse_listdir_free(found);
		return err;
	}
	*names = found;
	return (ssize_t)n;
}

void llfuse_listdir_free(char **names)
{
	for (char **name = names; name && *name; name++)
		free(*name);
	free(names);
}

/* @line: the numbers behind "Groups:". */
static ssize_t parse_groups(const char *line, gid_t **groups)
{
	gid_t *found = NULL;
	size_t n = 0;

	for (;;) {
		gid_t *larger;
		char *end;
		unsigned long group = strtoul(line, &end, 10);

		if (end == line)
			break;
		larger = realloc(found, (n + 1) * sizeof(*found));
		if (!larger) {
			free(found);
			return -ENOMEM;
		}
		found = larger;
		found[n++] = (gid_t)group;
		line = end;
	}
	*groups = found;
	return (ssize_t)n;
}

/* Source: proc(5), /proc/pid/status. */
ssize_t llfuse_get_sup_groups(pid_t pid, gid_t **groups)
{
	char path[64], *line = NULL;
	ssize_t n = -ESRCH;
	size_t size = 0;
	FILE *status;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	status = ll_proc_fopen(path);
	if (!status)
		return errno == ENOENT ? -ESRCH : -errno;
	errno = 0;
	while (getline(&line, &size, status) >= 0)
		if (!strncmp(line, "Groups:", 7)) {
			n = parse_groups(line + 7, groups);
			break;
		}
	if (n == -ESRCH && errno)
		n = -errno;
	free(line);
	fclose(status);
	return n;
}
