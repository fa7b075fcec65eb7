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
#include <sys/fanotify.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
	BUFFER_SIZE = 64 * 1024,
	MOVES_SIZE = 4096, /* room for some events that only tell of moves */
	MAX_MOVE_SIZE = 256, /* one of them, with the largest handle */
};

static const uint64_t name_events = FAN_CREATE | FAN_DELETE | FAN_MOVED_FROM | FAN_MOVED_TO;
static const uint64_t file_events = FAN_ATTRIB | FAN_MODIFY;

/*
 * There are two queues.  One has all changes, for the thread that tells of them.  The other has nothing but moves, and so
 * is mostly empty: a handler that needs to know of them sees that with one cheap system call and without a lock.
 */
struct watch {
	int fd; /* fixed */
	int moves_fd; /* fixed */
	pid_t own_pid; /* fixed from watch_begin() on; 0 before */
	atomic_bool tells_own;
	atomic_uint serial;
	pthread_mutex_t counting; /* who reads moves_fd */
	atomic_bool is_counting; /* somebody does: what is not in the queue any more may not be in moves yet */
	atomic_uint moves;
	/* of the thread that tells */
	size_t next;
	size_t size; /* of what was read */
	_Alignas(struct fanotify_event_metadata) char events[BUFFER_SIZE];
};

static int open_queue(unsigned report, int *fd)
{
	*fd = fanotify_init(FAN_CLASS_NOTIF | report | FAN_CLOEXEC | FAN_NONBLOCK, O_RDONLY);
	return *fd < 0 ? -errno : 0;
}

int watch_new(struct watch **watch)
{
	struct watch *made;
	int err;

	made = calloc(1, sizeof(*made));
	if (!made)
		return -ENOMEM;
	(void)pthread_mutex_init(&made->counting, NULL); /* without attributes it cannot fail */
	made->fd = made->moves_fd = -1;
	err = open_queue(FAN_REPORT_DFID_NAME_TARGET, &made->fd);
	if (!err)
		err = open_queue(FAN_REPORT_DIR_FID, &made->moves_fd);
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
	fd_close(&watch->moves_fd);
	(void)pthread_mutex_destroy(&watch->counting);
	free(watch);
}

void watch_begin(struct watch *watch)
{
	watch->own_pid = getpid();
}

void watch_tell_own(struct watch *watch)
{
	if (!watch)
		return;
	atomic_store(&watch->tells_own, true);
	atomic_fetch_add(&watch->serial, 1); /* who looks at something now may have missed a change of our own */
}

static int mark(int queue, unsigned flags, uint64_t events, int fd)
{
	return fanotify_mark(queue, flags, events, AT_FDCWD, fd_name(fd).path) < 0 ? -errno : 0;
}

static int mark_file_system(int queue, uint64_t events, int fd)
{
	return mark(queue, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, events | FAN_ONDIR, fd);
}

int watch_file_system(struct watch *watch, int fd)
{
	int err = mark_file_system(watch->moves_fd, FAN_MOVED_FROM, fd);

	return err ? err : mark_file_system(watch->fd, name_events | file_events, fd);
}

int watch_ignore_writes(struct watch *watch, int fd)
{
	/* Evictable: it does not keep the inode in the kernel's memory. */
	return watch ? mark(watch->fd, FAN_MARK_ADD | FAN_MARK_IGNORE_SURV | FAN_MARK_EVICTABLE, FAN_MODIFY, fd)
		     : -EOPNOTSUPP;
}

int watch_notice_writes(struct watch *watch, int fd)
{
	int err = mark(watch->fd, FAN_MARK_REMOVE | FAN_MARK_IGNORE_SURV, FAN_MODIFY, fd);

	atomic_fetch_add(&watch->serial, 1);
	return err == -ENOENT ? 0 : err; /* it was forgotten, and is not ignored any more */
}

int watch_fd(const struct watch *watch)
{
	return watch->fd;
}

unsigned watch_serial(const struct watch *watch)
{
	return watch ? atomic_load(&watch->serial) : 0;
}

/* Events are not aligned. */
static struct fanotify_event_metadata event_at(const char *at)
{
	struct fanotify_event_metadata event;

	memcpy(&event, at, sizeof(event));
	return event;
}

/* What we change ourselves we know. */
static bool is_of_others(const struct watch *watch, const struct fanotify_event_metadata *event)
{
	return (event->mask & FAN_Q_OVERFLOW) || event->pid != watch->own_pid || atomic_load(&watch->tells_own);
}

/* How many of the events are not our own. */
static unsigned count_others(const struct watch *watch, const char *events, size_t size)
{
	struct fanotify_event_metadata event;
	unsigned n = 0;

	for (size_t at = 0; at < size; at += event.event_len) {
		event = event_at(events + at);
		n += is_of_others(watch, &event);
	}
	return n;
}

/* Reads what is in @queue.  Returns its size, 0 if there is nothing, or -errno. */
static ssize_t read_events(int queue, char *events, size_t size)
{
	ssize_t n;

	do
		n = read(queue, events, size);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	return n;
}

/* What we move ourselves stays inside. */
static int count_moves(struct watch *watch)
{
	_Alignas(struct fanotify_event_metadata) char events[MOVES_SIZE];
	ssize_t n;

	pthread_mutex_lock(&watch->counting);
	atomic_store(&watch->is_counting, true);
	do {
		n = read_events(watch->moves_fd, events, sizeof(events));
		if (n > 0)
			atomic_fetch_add(&watch->moves, count_others(watch, events, (size_t)n));
	} while (n > MOVES_SIZE - MAX_MOVE_SIZE); /* else there was room for more */
	atomic_store(&watch->is_counting, false);
	pthread_mutex_unlock(&watch->counting);
	return (int)n;
}

bool watch_moves(struct watch *watch, unsigned *moves)
{
	int waiting;
	int err = 0;

	if (!watch || !watch->own_pid || ioctl(watch->moves_fd, FIONREAD, &waiting) < 0)
		return false;
	/* In this order: whoever took a move from the queue said before that he counts. */
	if (waiting || atomic_load(&watch->is_counting))
		err = count_moves(watch);
	*moves = atomic_load(&watch->moves);
	return !err;
}

int watch_read(struct watch *watch)
{
	ssize_t n = read_events(watch->fd, watch->events, sizeof(watch->events));

	watch->next = 0;
	watch->size = n > 0 ? (size_t)n : 0;
	if (count_others(watch, watch->events, watch->size))
		atomic_fetch_add(&watch->serial, 1);
	return n < 0 ? (int)n : n > 0;
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
	while (watch->next < watch->size) {
		const char *at = watch->events + watch->next;
		struct fanotify_event_metadata event = event_at(at);

		watch->next += event.event_len;
		if (!is_of_others(watch, &event))
			continue;
		take_event(at, &event, change);
		return true;
	}
	return false;
}
