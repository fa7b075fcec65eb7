/* SPDX-License-Identifier: MIT */
/*
 * What is newly mounted: see mountinfo.h.
 *
 * An id goes to another mount once its own has gone, so that a mount is known by its whole line, or a hash of it: if one
 * were taken for another, a name would be remembered for as long as any other.
 */
#include "mountinfo.h"

#include "fd.h"
#include "number_list.h"
#include "siphash.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct mountinfo {
	FILE *file;
	struct number_list lines; /* their hashes, when it was read last, in order */
};

static int by_value(const void *a, const void *b)
{
	const uint64_t *one = a;
	const uint64_t *other = b;

	return *one < *other ? -1 : *one > *other;
}

static bool has_line(const struct number_list *lines, uint64_t hash)
{
	return lines->n && bsearch(&hash, lines->numbers, lines->n, sizeof(hash), by_value);
}

/* In place: spaces, tabs, newlines and backslashes are a backslash and three octal digits. */
static void unescape(char *text)
{
	char *to = text;

	for (; *text; text++) {
		if (text[0] == '\\' && text[1] && text[2] && text[3]) {
			*to++ = (char)((text[1] - '0') * 64 + (text[2] - '0') * 8 + (text[3] - '0'));
			text += 3;
		} else {
			*to++ = *text;
		}
	}
	*to = 0;
}

/* The fifth field, or NULL. */
static char *mount_point(char *line)
{
	char *rest = line;
	char *field = NULL;

	for (int i = 0; i < 5; i++)
		field = strsep(&rest, " ");
	if (field)
		unescape(field);
	return field;
}

/* Calls @tell, unless it is NULL, for those lines that are not among @before. */
static int read_lines(FILE *file, const struct number_list *before, struct number_list *now,
		      void (*tell)(void *arg, const char *path), void *arg)
{
	static const struct siphash_key key = {{0, 0}};
	char *line = NULL;
	size_t size = 0;
	ssize_t len;
	int err = 0;

	rewind(file);
	while (!err && (len = getline(&line, &size, file)) > 0) {
		uint64_t hash = siphash13(&key, line, (size_t)len);
		const char *path;

		err = number_list_add(now, hash) ? 0 : -ENOMEM;
		path = tell && !has_line(before, hash) ? mount_point(line) : NULL;
		if (path)
			tell(arg, path);
	}
	if (!err && !feof(file))
		err = -EIO;
	free(line);
	return err;
}

int mountinfo_read(struct mountinfo *mountinfo, void (*tell)(void *arg, const char *path), void *arg)
{
	struct number_list now = {.numbers = NULL};
	int err = read_lines(mountinfo->file, &mountinfo->lines, &now, tell, arg);

	if (now.n > 1)
		qsort(now.numbers, now.n, sizeof(*now.numbers), by_value);
	free(mountinfo->lines.numbers);
	mountinfo->lines = now;
	return err;
}

int mountinfo_new(struct mountinfo **mountinfo)
{
	scoped_fd fd = fd_open_mountinfo();
	struct mountinfo *made;
	int err;

	if (fd < 0)
		return fd;
	made = calloc(1, sizeof(*made));
	if (!made)
		return -ENOMEM;
	made->file = fdopen(fd, "r");
	if (!made->file) {
		err = -errno;
		free(made);
		return err;
	}
	(void)take_fd(&fd);
	err = mountinfo_read(made, NULL, NULL);
	if (err) {
		mountinfo_free(made);
		return err;
	}
	*mountinfo = made;
	return 0;
}

void mountinfo_free(struct mountinfo *mountinfo)
{
	if (!mountinfo)
		return;
	(void)fclose(mountinfo->file); /* it was only read */
	free(mountinfo->lines.numbers);
	free(mountinfo);
}

int mountinfo_fd(const struct mountinfo *mountinfo)
{
	return mountinfo ? fileno(mountinfo->file) : -1;
}
