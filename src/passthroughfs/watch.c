/* SPDX-License-Identifier: MIT */
/*
 * What others change in the source: see watch.h.
 *
 * Source: fanotify(7), fanotify_init(2), fanotify_mark(2).
 */
#include "watch.h"

#include "fd.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/fanotify.h>
#include <unistd.h>

enum {
	BUFFER_SIZE = 64 * 1024,
	EVENT_MAX = 1024, /* more than one event with two handles and a name takes */
};

static const uint64_t name_events = FAN_CREATE | FAN_DELETE | FAN_MOVED_FROM | FAN_MOVED_TO;
static const uint64_t file_events = FAN_ATTRIB | FAN_MODIFY;

/* Events of others, one after the other. */
struct events {
	size_t size;
	_Alignas(struct fanotify_event_metadata) char bytes[BUFFER_SIZE];
};

/*
 * Whoever reads the queue leaves what is for the thread that tells in @kept, and what we did ourselves nowhere: so a
 * handler that needs to know of moves has to read but little, and the thread need not be quick.
 */
struct watch {
	int fd; /* fixed */
	int kept_fd; /* fixed: an eventfd, readable while something is kept */
	pid_t own_pid; /* fixed from watch_begin() on; 0 before */
	atomic_uint serial;
	pthread_mutex_t lock;
	struct events *kept; /* guarded by lock */
	unsigned moves; /* guarded by lock */
	/* of the thread that tells */
	struct events *taken;
	size_t next;
	struct events buffers[2];
};

static int open_fds(struct watch *watch)
{
	watch->fd = fanotify_init(FAN_CLASS_NOTIF | FAN_REPORT_DFID_NAME_TARGET | FAN_CLOEXEC | FAN_NONBLOCK, O_RDONLY);
	if (watch->fd < 0)
		return -errno;
	watch->kept_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return watch->kept_fd < 0 ? -errno : 0;
}

int watch_new(struct watch **watch)
{
	struct watch *made;
	int err;

	made = calloc(1, sizeof(*made));
	if (!made)
		return -ENOMEM;
	(void)pthread_mutex_init(&made->lock, NULL); /* without attributes it cannot fail */
	made->kept = &made->buffers[0];
	made->taken = &made->buffers[1];
	made->fd = made->kept_fd = -1;
	err = open_fds(made);
	if (err) {
		watch_free(made);
		return err;
	}
	*watch = made;
	return 0;
}

void watch_free(struct watch *watch)
{
	if (!watch)
		return;
	fd_close(&watch->fd);
	fd_close(&watch->kept_fd);
	(void)pthread_mutex_destroy(&watch->lock);
	free(watch);
}

void watch_begin(struct watch *watch)
{
	watch->own_pid = getpid();
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

int watch_kept_fd(const struct watch *watch)
{
	return watch->kept_fd;
}

unsigned watch_serial(const struct watch *watch)
{
	return watch ? atomic_load(&watch->serial) : 0;
}

/* Events are not aligned. */
static struct fanotify_event_metadata event_at(const struct events *events, size_t at)
{
	struct fanotify_event_metadata event;

	memcpy(&event, events->bytes + at, sizeof(event));
	return event;
}

/* Of @n bytes of events that were put behind those that are kept, keeps those of others. */
static void sift_locked(struct watch *watch, size_t n)
{
	struct events *kept = watch->kept;
	size_t end = kept->size + n;

	for (size_t at = kept->size; at < end;) {
		struct fanotify_event_metadata event = event_at(kept, at);
		bool is_lost = event.mask & FAN_Q_OVERFLOW;

		if (is_lost || event.pid != watch->own_pid) {
			memmove(kept->bytes + kept->size, kept->bytes + at, event.event_len);
			kept->size += event.event_len;
			/* What we move ourselves stays inside. */
			watch->moves += is_lost || (event.mask & FAN_MOVED_FROM);
		}
		at += event.event_len;
	}
}

/* Reads what is in the queue.  Returns 0, -ENOBUFS if there may be more than there is room for, or -errno. */
static int collect_locked(struct watch *watch)
{
	for (;;) {
		size_t room = BUFFER_SIZE - watch->kept->size;
		ssize_t n;

		if (room < EVENT_MAX)
			return -ENOBUFS;
		n = read(watch->fd, watch->kept->bytes + watch->kept->size, room);
		if (n < 0 && errno != EINTR)
			return errno == EAGAIN ? 0 : -errno;
		if (n <= 0)
			continue;
		sift_locked(watch, (size_t)n);
		if (room - (size_t)n >= EVENT_MAX) /* or one more would have been read */
			return 0;
	}
}

bool watch_moves(struct watch *watch, unsigned *moves)
{
	uint64_t one = 1;
	bool was_empty;
	int err;

	if (!watch || !watch->own_pid)
		return false;
	pthread_mutex_lock(&watch->lock);
	was_empty = !watch->kept->size;
	err = collect_locked(watch);
	*moves = watch->moves;
	if (was_empty && watch->kept->size)
		(void)!write(watch->kept_fd, &one, sizeof(one)); /* cannot fail: the count is 0 or 1 */
	pthread_mutex_unlock(&watch->lock);
	return !err;
}

int watch_read(struct watch *watch)
{
	struct events *kept;
	uint64_t count;
	int err;

	pthread_mutex_lock(&watch->lock);
	err = collect_locked(watch);
	(void)!read(watch->kept_fd, &count, sizeof(count)); /* nothing to read: it was not kept by a handler */
	kept = watch->kept;
	watch->kept = watch->taken;
	watch->kept->size = 0;
	pthread_mutex_unlock(&watch->lock);
	watch->taken = kept;
	watch->next = 0;
	if (kept->size)
		atomic_fetch_add(&watch->serial, 1);
	if (err && err != -ENOBUFS)
		return err;
	return kept->size != 0;
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
	struct fanotify_event_metadata event;

	if (watch->next >= watch->taken->size)
		return false;
	event = event_at(watch->taken, watch->next);
	take_event(watch->taken->bytes + watch->next, &event, change);
	watch->next += event.event_len;
	return true;
}
