/* SPDX-License-Identifier: MIT */
/*
 * What the kernel has of files and the file system has not: stores to mappings, and with LLFUSE_CAP_WRITEBACK_CACHE writes.
 * It writes that back when it likes, up to half a minute later, and drops it when the connection ends.  Here it is made to.
 *
 * To a FUSE file system syncfs(2) promises nothing: it sends the writes and waits for no answer (since Linux 6.19, and 6.18 with its
 * fixes: fs/fs-writeback.c, AS_NO_DATA_INTEGRITY), and it stops once so many requests that nobody waits for are under way,
 * reading ahead too (congestion_threshold: fs/fuse/file.c, fuse_writepages()); the rest of them, from max_background on, waits
 * apart, where others overtake it.  So conn.c sets both high, and it is called until it brings little; and each time a request
 * that somebody waits for goes the way of the writes, behind them, so that they have come when it is answered.
 *
 * These calls wait in the kernel for answers of ours, and no signal ends that.  Who holds the connection's descriptor
 * meanwhile, or the memory that its rings are mapped to, keeps the connection alive: killed with SIGKILL, the process would wait
 * for ever for answers that nobody is left to give.  So another process makes them (unmounter.c), which has neither.
 */
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "internal.h"

enum {
	QUIET_ROUNDS = 2,
	PAUSE_MS = 1, /* while nothing comes, but something is under way */
	MAX_MS = 30000, /* if somebody goes on to write to many files */
	BURST_MS = 1000, /* in which signals are one */
};

/* ------------------------------------------------------------------------ */
/* One round, by the other process                                           */

/* Who has the right to opens a copy of the mount, which is mounted nowhere: so an unmount does not find the mount busy. */
static int open_root(const char *mountpoint)
{
	int tree_fd = open_tree(AT_FDCWD, mountpoint, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_NO_AUTOMOUNT);
	int fd;

	if (tree_fd < 0)
		return open(mountpoint, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fd = openat(tree_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	close(tree_fd);
	return fd;
}

static void ask_something(int fd)
{
	struct statfs st;

	(void)fstatfs(fd, &st); /* is always asked; whatever the answer, it was given */
}

/* Each CPU has a ring, and writes go by any of them. */
static void ask_something_on_each_cpu(int fd)
{
	cpu_set_t all, one;

	if (sched_getaffinity(0, sizeof(all), &all) < 0) {
		ask_something(fd); /* more CPUs than fit */
		return;
	}
	for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &all))
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		if (sched_setaffinity(0, sizeof(one), &one) == 0)
			ask_something(fd);
	}
	(void)sched_setaffinity(0, sizeof(all), &all); /* as it was */
}

int ll_writeback_round(const char *mountpoint, uint64_t mount_id)
{
	char path[PATH_MAX];
	int err = 0;
	int fd;

	/* What lies over it, or took its place, is not ours to wait for. */
	if (ll_find_mount(mountpoint, mount_id, path) < 0)
		return -ENOENT;
	fd = open_root(path);
	if (fd < 0)
		return -errno;
	if (syncfs(fd) < 0)
		err = -errno;
	else
		ask_something_on_each_cpu(fd);
	close(fd);
	return err;
}

/* ------------------------------------------------------------------------ */
/* All rounds                                                                */

/* Until nothing comes and nothing is under way, or hardly anything comes, as somebody may go on to write; or the session is told
 * to stop.  A round that brings as much as the kernel sends at once may have left more. */
static int do_rounds(struct llfuse_session *session, struct unmounter *process)
{
	const struct timespec end = deadline_after_ms(MAX_MS);
	unsigned quiet = 0;

	while (quiet < QUIET_ROUNDS) {
		uint64_t before = atomic_load(&session->n_written_back), brought;
		int err = ll_unmounter_writeback_round(process);
		bool is_busy;

		if (err || atomic_load(&session->is_stopping))
			return err ? err : -ENODEV;
		if (deadline_has_passed(&end))
			return -ETIMEDOUT;
		brought = atomic_load(&session->n_written_back) - before;
		is_busy = atomic_load(&session->n_writing_back);
		quiet = brought >= session->max_background || is_busy ? 0 : quiet + 1;
		if (!brought && is_busy)
			ll_sleep_ms(PAUSE_MS);
	}
	return 0;
}

/* A process for once, forked with all of our memory, would hold on to that for longer than it should if it stayed. */
static int do_rounds_by_fork(struct llfuse_session *session)
{
	struct unmounter process = {.is_started = false};
	int err = ll_unmounter_start(&process, session);

	if (!err)
		err = do_rounds(session, &process);
	ll_unmounter_done(&process);
	return err;
}

static int write_back(struct llfuse_session *session)
{
	int err;

	if (!session->ops.write)
		return 0; /* there is nothing that could be written back */
	if (!session->mountpoint)
		return -ENOENT;
	pthread_mutex_lock(&session->writeback_lock);
	err = session->unmounter.is_started ? do_rounds(session, &session->unmounter) : -EPIPE;
	if (err == -EPIPE && !session->unmounts_from_outside)
		err = do_rounds_by_fork(session); /* there is none, or somebody has killed it */
	pthread_mutex_unlock(&session->writeback_lock);
	return err;
}

int llfuse_syncfs(struct llfuse_session *session)
{
	if (!ll_notify_enter(session))
		return -ENODEV;
	return ll_notify_leave(session, write_back(session));
}

/* ------------------------------------------------------------------------ */
/* Before a signal stops a session                                           */

static void complain(const struct llfuse_session *session, int err)
{
	llfuse_log(LLFUSE_LOG_WARNING, session->name, "what the kernel has not written back may be lost: %s",
		   strerror(-err));
}

/* Not by way of llfuse_syncfs(), for the end of which the end of the session waits. */
static void *write_back_and_stop(void *arg)
{
	struct llfuse_session *session = arg;
	int err;

	(void)pthread_setname_np(pthread_self(), "stopper");
	err = write_back(session);
	if (err && session->mountpoint && !atomic_load(&session->is_stopping))
		complain(session, err);
	llfuse_stop(session);
	return NULL;
}

void ll_stopper_init(struct stopper *stopper)
{
	pthread_mutex_init(&stopper->lock, NULL);
}

void ll_stopper_done(struct stopper *stopper)
{
	pthread_mutex_destroy(&stopper->lock);
}

static void start_locked(struct llfuse_session *session)
{
	int err = ll_thread_start(&session->stopper.thread, write_back_and_stop, session);

	if (!err) {
		session->stopper.has_thread = true;
		session->stopper.begun_ns = ll_now_ns();
		return;
	}
	complain(session, err);
	llfuse_stop(session);
}

/* Who sends a signal to a process and then to its group, as timeout(1) does, sends it twice at once. */
static bool is_burst_over_locked(const struct stopper *stopper)
{
	return ll_now_ns() >= stopper->begun_ns + UINT64_C(1000000) * BURST_MS;
}

void ll_stopper_begin(struct llfuse_session *session, bool is_patient)
{
	struct stopper *stopper = &session->stopper;

	pthread_mutex_lock(&stopper->lock);
	if (!atomic_load(&session->is_initialized))
		llfuse_stop(session);
	else if (!stopper->has_thread)
		start_locked(session);
	else if (!is_patient && is_burst_over_locked(stopper))
		llfuse_stop(session);
	pthread_mutex_unlock(&stopper->lock);
}

void ll_stopper_end(struct llfuse_session *session)
{
	if (session->stopper.has_thread)
		pthread_join(session->stopper.thread, NULL);
}
