/* SPDX-License-Identifier: MIT */
/*
 * Reading a directory of the source: see dir_stream.h.
 */
#include "dir_stream.h"

#include "fd.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>

enum { BUFFER_SIZE = 32 * 1024 };

struct dir_stream {
	pthread_mutex_t lock;
	int fd; /* fixed; its position is guarded by lock */
	/* guarded by lock */
	off_t off; /* of the next entry */
	size_t next; /* entry in the buffer */
	size_t filled; /* bytes of the buffer */
	_Alignas(struct dirent64) char buffer[BUFFER_SIZE];
};

int dir_stream_new(int *fd, struct dir_stream **stream)
{
	struct dir_stream *made = malloc(sizeof(*made));

	if (!made)
		return -ENOMEM;
	(void)pthread_mutex_init(&made->lock, NULL); /* without attributes it cannot fail */
	made->fd = take_fd(fd);
	made->off = 0;
	made->next = 0;
	made->filled = 0;
	*stream = made;
	return 0;
}

void dir_stream_free(struct dir_stream *stream)
{
	if (!stream)
		return;
	fd_close(&stream->fd);
	(void)pthread_mutex_destroy(&stream->lock);
	free(stream);
}

int dir_stream_fd(const struct dir_stream *stream)
{
	return stream->fd;
}

void dir_stream_lock(struct dir_stream *stream)
{
	pthread_mutex_lock(&stream->lock);
}

void dir_stream_unlock(struct dir_stream *stream)
{
	pthread_mutex_unlock(&stream->lock);
}

int dir_stream_seek(struct dir_stream *stream, off_t off)
{
	/* At the beginning always: rewinddir(3) is to see what has changed. */
	if (off == stream->off && off != 0)
		return 0;
	if (lseek(stream->fd, off, SEEK_SET) < 0)
		return -errno;
	stream->off = off;
	stream->next = 0;
	stream->filled = 0;
	return 0;
}

/* Returns 1, 0 at the end, or -errno. */
static int fill(struct dir_stream *stream)
{
	ssize_t n = getdents64(stream->fd, stream->buffer, sizeof(stream->buffer));

	if (n < 0)
		return -errno;
	stream->next = 0;
	stream->filled = (size_t)n;
	return n > 0;
}

int dir_stream_peek(struct dir_stream *stream, struct dir_item *item)
{
	const struct dirent64 *entry;
	int more;

	if (stream->next == stream->filled) {
		more = fill(stream);
		if (more <= 0)
			return more;
	}
	entry = (const void *)(stream->buffer + stream->next);
	*item = (struct dir_item){
		.name = entry->d_name,
		.ino = entry->d_ino,
		.type = DTTOIF((mode_t)entry->d_type),
		.next_off = entry->d_off,
	};
	return 1;
}

void dir_stream_skip(struct dir_stream *stream, const struct dir_item *item)
{
	const struct dirent64 *entry = (const void *)(stream->buffer + stream->next);

	stream->next += entry->d_reclen;
	stream->off = item->next_off;
}
