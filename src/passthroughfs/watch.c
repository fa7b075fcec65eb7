/* SPDX-License-Identifier: MIT */
/*
 * What others change in the source: see watch.h.
 *
 * Source: fanotify(7), fanotify_init(2), fanotify_mark(2).
 */
#include "watch.h"

#include "fd.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { BUFFER_SIZE = 64 * 1024 };

static const uint64_t name_events = FAN_CREATE | FAN_DELETE | FAN_MOVED_FROM | FAN_MOVED_TO;
static const uint64_t file_events = FAN_ATTRIB | FAN_MODIFY;

struct watch {
	int fd; /* fixed */
	pid_t own_pid; /* fixed */
	atomic_uint serial;
	atomic_uint moves;
	atomic_bool is_reading; /* what is in the queue no more may not be counted in moves yet */
	/* of the thread that reads */
	size_t next;
	size_t filled;
	_Alignas(struct fanotify_event_metadata) char buffer[BUFFER_SIZE];
};

int watch_new(struct watch **watch)
{
	struct watch *made;
	int fd;

	fd = fanotify_init(FAN_CLASS_NOTIF | FAN_REPORT_DFID_NAME_TARGET | FAN_CLOEXEC | FAN_NONBLOCK, O_RDONLY);
	if (fd < 0)
		return -errno;
	made = calloc(1, sizeof(*made));
	if (!made) {
		fd_close(&fd);
		return -ENOMEM;
	}
	made->fd = fd;
	*watch = made;
	return 0;
}

void watch_free(struct watch *watch)
{
	if (!watch)
		return;
	fd_close(&watch->fd);
	free(watch);
}

int watch_file_system(struct watch *watch, int fd)
{
	uint64_t mask = name_events | file_events | FAN_ONDIR;

	return fanotify_mark(watch->fd, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, mask, AT_FDCWD, fd_name(fd).path) < 0
		       ? -errno
		       : 0;
}

int watch_fd(const struct watch *watch)
{
	return watch->fd;
}

unsigned watch_serial(const struct watch *watch)
{
	return watch ? atomic_load(&watch->serial) : 0;
}

/* The queue is looked at first: what had left it before then is counted, or being read. */
bool watch_moves(const struct watch *watch, unsigned *moves)
{
	int n_waiting;

	if (!watch || ioctl(watch->fd, FIONREAD, &n_waiting) < 0 || n_waiting || atomic_load(&watch->is_reading))
		return false;
	*moves = atomic_load(&watch->moves);
	return true;
}

/* Events are not aligned. */
static struct fanotify_event_metadata event_at(const struct watch *watch, size_t at)
{
	struct fanotify_event_metadata event;

	memcpy(&event, watch->buffer + at, sizeof(event));
	return event;
}

static bool has_moves(const struct watch *watch)
{
	for (size_t at = 0; at < watch->filled;) {
		struct fanotify_event_metadata event = event_at(watch, at);

		if (event.mask & (FAN_MOVED_FROM | FAN_Q_OVERFLOW))
			return true;
		at += event.event_len;
	}
	return false;
}

static ssize_t fill(struct watch *watch)
{
	ssize_t n = read(watch->fd, watch->buffer, sizeof(watch->buffer));

	watch->next = 0;
	watch->filled = n > 0 ? (size_t)n : 0;
	return n < 0 ? -errno : n;
}

int watch_read(struct watch *watch)
{
	ssize_t n;

	atomic_store(&watch->is_reading, true);
	n = fill(watch);
	if (has_moves(watch))
		atomic_fetch_add(&watch->moves, 1);
	atomic_store(&watch->is_reading, false);
	if (n <= 0)
		return n == -EAGAIN || n == -EINTR ? 0 : (int)n;
	watch->own_pid = getpid(); /* not before: going to the background changes it */
	atomic_fetch_add(&watch->serial, 1);
	return 1;
}

static void copy_handle(struct handle *handle, const struct file_handle *from)
{
	handle->type = from->handle_type;
	handle->size = from->handle_bytes;
	if (handle->size > sizeof(handle->bytes))
		handle->size = 0;
	memcpy(handle->bytes, from->f_handle, handle->size);
}

/* One record of an event: a directory and a name in it, or the file. */
static void take_record(const struct fanotify_event_info_fid *record, struct watch_change *change)
{
	/* The handle is not aligned in any way that C would know of. */
	const struct file_handle *handle = (const void *)record->handle;

	memcpy(&change->fsid, &record->fsid, sizeof(change->fsid));
	if (record->hdr.info_type == FAN_EVENT_INFO_TYPE_FID) {
		copy_handle(&change->file, handle);
	} else if (record->hdr.info_type == FAN_EVENT_INFO_TYPE_DFID_NAME) {
		copy_handle(&change->dir, handle);
		change->name = (const char *)handle->f_handle + handle->handle_bytes;
	} else if (record->hdr.info_type == FAN_EVENT_INFO_TYPE_DFID) {
		copy_handle(&change->dir, handle);
	}
}

static void take_event(const char *at, const struct fanotify_event_metadata *event, struct watch_change *change)
{
	const char *end = at + event->event_len;

	*change = (struct watch_change){
		.is_lost = event->mask & FAN_Q_OVERFLOW,
		.is_data = event->mask & FAN_MODIFY,
	};
	at += event->metadata_len;
	while (at < end) {
		const struct fanotify_event_info_fid *record = (const void *)at;

		take_record(record, change);
		at += record->hdr.len;
	}
	if (event->mask & name_events)
		return;
	/* The name is only where the file was reached. */
	change->name = NULL;
	if (!change->file.size)
		change->file = change->dir;
}

bool watch_next(struct watch *watch, struct watch_change *change)
{
	while (watch->next < watch->filled) {
		struct fanotify_event_metadata event = event_at(watch, watch->next);
		const char *at = watch->buffer + watch->next;

		watch->next += event.event_len;
		if (event.pid == watch->own_pid && !(event.mask & FAN_Q_OVERFLOW))
			continue;
		take_event(at, &event, change);
		return true;
	}
	return false;
}
