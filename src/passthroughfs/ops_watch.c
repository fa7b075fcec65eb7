/* SPDX-License-Identifier: MIT */
/*
 * The thread that tells the kernel what others change in the source.
 *
 * Knows what has to be told, and in which order.  A notification may wait for a lock that the kernel holds until a request
 * is answered, so that it is sent from here, with no lock held, and never by a handler.
 *
 * That nothing stale stays, whatever request is under way:
 *  - A name: LOOKUP, READDIR and what makes or removes something hold the directory's lock in the kernel until their
 *    answer is in its caches, and the notification about a name waits for it.
 *  - The listing and the attributes of a directory: they are dropped after that.
 *  - Attributes of an inode that the kernel knows: it takes no answer that was asked for before it was notified, from
 *    GETATTR, LOOKUP and READDIRPLUS.  Other answers come with a short time-out.
 *  - Attributes of one that it will know by an answer under way: ops_look tells if the file was looked at before the
 *    change was read.  Otherwise the inode is in our table, and the kernel is told again until it knows it.
 */
#include "ops.h"

#include "fd.h"
#include "mountinfo.h"
#include "number_list.h"
#include "watch.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

enum {
	/* Changes that come in the meantime are told of together, and the same ones as one; those of our own, which come
	 * with each request that changes something, do not wake the thread each time. */
	PAUSE_NS = 5000000,
	MAX_READS = 64, /* before it is looked at what else there is to do */
	MAX_WALKS = 64, /* the same */
	RETRY_MS = 5,
	WALK_SIZE = 64,
};

struct watcher {
	struct source *source;
	struct llfuse_session *session;
	struct watch *watch;
	pthread_t thread;
	int stop_fd; /* an eventfd */
	struct mountinfo *mountinfo; /* NULL: nothing tells what is mounted */
	atomic_bool has_failed;
	/* of the thread */
	struct number_list early; /* inodes that the kernel was told of before it knew them */
	bool drops_all; /* anything may have changed: walk is where it has come to */
	bool drops_all_again; /* and something did since it began */
	struct inode_walk walk;
	/* The directory that names were changed in last: its listing and attributes go once for all of them. */
	struct number_list dirs;
	struct number_list same; /* what was found last: a file is an inode of its own on each mount */
};

/* Anything may have changed. */
static void begin_drop_all(struct watcher *watcher)
{
	(void)llfuse_notify_increment_epoch(watcher->session);
	watcher->drops_all_again = watcher->drops_all;
	if (!watcher->drops_all)
		watcher->walk = (struct inode_walk){0};
	watcher->drops_all = true;
}

/* Part of it: changes have to be read meanwhile, our own too, or the next ones are lost as well. */
static void drop_some(struct watcher *watcher)
{
	struct inode_table *inodes = source_inodes(watcher->source);
	uint64_t numbers[WALK_SIZE];

	for (int walks = 0; watcher->drops_all && walks < MAX_WALKS; walks++) {
		size_t n = inode_table_walk(inodes, &watcher->walk, numbers, WALK_SIZE);

		for (size_t i = 0; i < n; i++)
			(void)llfuse_notify_inval_inode(watcher->session, numbers[i], 0, 0);
		if (n)
			continue;
		watcher->walk = (struct inode_walk){0};
		watcher->drops_all = watcher->drops_all_again;
		watcher->drops_all_again = false;
	}
}

/* Drops the attributes of @ino, and from @off on its bytes; again if the kernel does not know it yet. */
static void drop_inode(struct watcher *watcher, uint64_t ino, off_t off)
{
	if (llfuse_notify_inval_inode(watcher->session, ino, off, 0) != -ENOENT)
		return;
	if (inode_is_looked_up(source_inodes(watcher->source), ino) && !number_list_add(&watcher->early, ino))
		begin_drop_all(watcher);
}

static void drop_early(struct watcher *watcher)
{
	struct number_list early = watcher->early;

	watcher->early = (struct number_list){.numbers = NULL};
	for (size_t i = 0; i < early.n; i++)
		drop_inode(watcher, early.numbers[i], 0);
	free(early.numbers);
}

/*
 * To the bytes of a file that the kernel reads by itself there is nothing to drop, and it would wait for those who do.
 * Most likely it writes by itself too, and makes each write an event, which costs more than it tells.
 */
static void drop_written(struct watcher *watcher, uint64_t ino)
{
	bool is_passthrough = llfuse_file_passthrough(watcher->session, ino);

	if (is_passthrough)
		inode_ignore_writes(source_inodes(watcher->source), ino);
	drop_inode(watcher, ino, is_passthrough ? -1 : 0);
}

static void find_same(struct watcher *watcher, uint64_t fsid, const struct handle *handle)
{
	if (!inode_find_handle(source_inodes(watcher->source), fsid, handle, &watcher->same))
		begin_drop_all(watcher);
}

static void drop_file(struct watcher *watcher, const struct watch_change *change)
{
	find_same(watcher, change->fsid, &change->file);
	for (size_t i = 0; i < watcher->same.n; i++) {
		if (change->is_data)
			drop_written(watcher, watcher->same.numbers[i]);
		else
			drop_inode(watcher, watcher->same.numbers[i], -1);
	}
}

static void drop_dirs(struct watcher *watcher)
{
	for (size_t i = 0; i < watcher->dirs.n; i++)
		drop_inode(watcher, watcher->dirs.numbers[i], 0);
	watcher->dirs.n = 0;
}

/* From here on the names are in those that were found last. */
static void change_dirs(struct watcher *watcher)
{
	struct number_list emptied;

	if (number_list_equals(&watcher->same, &watcher->dirs))
		return;
	drop_dirs(watcher);
	emptied = watcher->dirs;
	watcher->dirs = watcher->same;
	watcher->same = emptied;
}

static void drop_name(struct watcher *watcher, const struct watch_change *change)
{
	find_same(watcher, change->fsid, &change->dir);
	change_dirs(watcher);
	for (size_t i = 0; i < watcher->dirs.n; i++)
		(void)llfuse_notify_inval_entry(watcher->session, watcher->dirs.numbers[i], change->name);
}

static void tell(struct watcher *watcher, const struct watch_change *change)
{
	if (change->is_lost) {
		begin_drop_all(watcher);
		return;
	}
	if (change->name)
		drop_name(watcher, change);
	if (change->file.size)
		drop_file(watcher, change);
}

/* All that there is, or much of it.  Returns 0 or -errno. */
static int tell_some(struct watcher *watcher)
{
	struct watch_change change;
	int n = 1;

	for (int reads = 0; n > 0 && reads < MAX_READS; reads++) {
		n = watch_read(watcher->watch);
		while (watch_next(watcher->watch, &change))
			tell(watcher, &change);
	}
	drop_dirs(watcher);
	return n < 0 ? n : 0;
}

/* A name leads elsewhere where something is mounted on it.  It is asked for again, and is not taken away before: something may
 * be mounted on it in our mount, which would go with it. */
static void tell_mount(void *arg, const char *path)
{
	struct watcher *watcher = arg;
	const char *name;
	scoped_fd dir_fd = source_open_above(watcher->source, path, &name);

	if (dir_fd < 0)
		return;
	if (!inode_find(source_inodes(watcher->source), dir_fd, &watcher->same))
		begin_drop_all(watcher);
	for (size_t i = 0; i < watcher->same.n; i++) {
		if (llfuse_notify_expire_entry(watcher->session, watcher->same.numbers[i], name) == -ENOSYS)
			(void)llfuse_notify_inval_entry(watcher->session, watcher->same.numbers[i], name);
	}
}

/* What was unmounted needs no word: what is found by way of a mount is not remembered for long. */
static void tell_mounts(struct watcher *watcher)
{
	if (mountinfo_read(watcher->mountinfo, tell_mount, watcher) < 0)
		(void)llfuse_notify_increment_epoch(watcher->session);
}

static void take_a_rest(void)
{
	struct timespec time = {.tv_nsec = PAUSE_NS};

	(void)nanosleep(&time, NULL); /* if it is cut short, the more is told separately */
}

/* For poll(2). */
static int wait_ms(const struct watcher *watcher)
{
	if (watcher->drops_all)
		return 0;
	return watcher->early.n ? RETRY_MS : -1;
}

static void *run(void *arg)
{
	struct watcher *watcher = arg;
	struct pollfd fds[] = {
		{.fd = watch_fd(watcher->watch), .events = POLLIN},
		{.fd = watcher->stop_fd, .events = POLLIN},
		{.fd = mountinfo_fd(watcher->mountinfo), .events = POLLPRI},
	};
	int err = 0;

	while (!err) {
		if (poll(fds, 3, wait_ms(watcher)) < 0 && errno != EINTR)
			err = -errno;
		if (fds[1].revents)
			return NULL;
		drop_early(watcher);
		if (fds[2].revents)
			tell_mounts(watcher);
		if (!err && fds[0].revents)
			err = tell_some(watcher);
		drop_some(watcher);
		if (!watcher->drops_all)
			take_a_rest();
	}
	atomic_store(&watcher->has_failed, true);
	begin_drop_all(watcher);
	while (watcher->drops_all)
		drop_some(watcher);
	llfuse_log(LLFUSE_LOG_ERROR, "passthroughfs", "the source cannot be watched any more: %s", strerror(-err));
	return NULL;
}

/* Signals are for others to take. */
static int start_thread(struct watcher *watcher)
{
	sigset_t all;
	sigset_t before;
	int err;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	err = -pthread_create(&watcher->thread, NULL, run, watcher);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return err;
}

static int start(struct source *source, struct llfuse_session *session)
{
	struct watcher *watcher = calloc(1, sizeof(*watcher));
	int err;

	if (!watcher)
		return -ENOMEM;
	*watcher = (struct watcher){.source = source, .session = session, .watch = source_watch(source)};
	watch_begin(watcher->watch);
	watcher->stop_fd = eventfd(0, EFD_CLOEXEC);
	(void)mountinfo_new(&watcher->mountinfo); /* without it what is mounted shows when the names run out */
	err = watcher->stop_fd < 0 ? -errno : start_thread(watcher);
	if (err) {
		fd_close(&watcher->stop_fd);
		mountinfo_free(watcher->mountinfo);
		free(watcher);
		return err;
	}
	(void)pthread_setname_np(watcher->thread, "watch");
	source_attach(source, watcher);
	return 0;
}

int ops_watch_start(struct source *source, struct llfuse_session *session)
{
	int err = source_watch_error(source);

	if (source_cache(source) != SOURCE_CACHE_AUTO)
		return 0;
	if (!err)
		err = start(source, session);
	if (err)
		llfuse_log(LLFUSE_LOG_INFO, "passthroughfs",
			   "the source cannot be watched (%s): the kernel remembers it for %g s", strerror(-err),
			   OPS_UNWATCHED_S);
	else
		llfuse_log(LLFUSE_LOG_DEBUG, "passthroughfs", "the source is watched for changes");
	return err;
}

bool ops_watch_works(const struct source *source)
{
	const struct watcher *watcher = source_attached(source);

	return watcher && !atomic_load(&watcher->has_failed);
}

void ops_watch_stop(struct source *source)
{
	struct watcher *watcher = source_attached(source);
	uint64_t one = 1;

	if (!watcher)
		return;
	(void)!write(watcher->stop_fd, &one, sizeof(one)); /* cannot fail: the count is 0 */
	(void)pthread_join(watcher->thread, NULL);
	source_attach(source, NULL);
	fd_close(&watcher->stop_fd);
	mountinfo_free(watcher->mountinfo);
	free(watcher->early.numbers);
	free(watcher->dirs.numbers);
	free(watcher->same.numbers);
	free(watcher);
}
