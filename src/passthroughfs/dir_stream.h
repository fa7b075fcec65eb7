/* SPDX-License-Identifier: MIT */
/*
 * Reading a directory of the source, entry by entry, with the source's own offsets.
 *
 * Hides that the kernel hands entries out by the bufferful, and that the position
 * belongs to the descriptor.
 */
#ifndef PASSTHROUGHFS_DIR_STREAM_H
#define PASSTHROUGHFS_DIR_STREAM_H

#include <stdint.h>
#include <sys/types.h>

struct dir_stream;

struct dir_item {
	const char *name; /* until the next call */
	uint64_t ino;
	mode_t type; /* S_IFMT bits, or 0: not known */
	off_t next_off; /* where to seek to go on behind it */
};

/** Takes @fd, a directory opened to be read, on success.  Returns 0 or -ENOMEM. */
int dir_stream_new(int *fd, struct dir_stream **stream);

/** NULL is nothing. */
void dir_stream_free(struct dir_stream *stream);

int dir_stream_fd(const struct dir_stream *stream);

/** One reader at a time, from here to dir_stream_unlock(): what follows needs it. */
void dir_stream_lock(struct dir_stream *stream);
void dir_stream_unlock(struct dir_stream *stream);

/** Goes on at @off; nothing if it is there already.  Returns 0 or -errno. */
int dir_stream_seek(struct dir_stream *stream, off_t off);

/** The next entry, which stays the next until dir_stream_skip().
 * Returns 1, 0 at the end, or -errno. */
int dir_stream_peek(struct dir_stream *stream, struct dir_item *item);

/** Past the entry that was peeked at. */
void dir_stream_skip(struct dir_stream *stream, const struct dir_item *item);

#endif
