/* SPDX-License-Identifier: MIT */
/*
 * What the kernel has of files and the file system has not: stores to mappings, and with LLFUSE_CAP_WRITEBACK_CACHE writes.
 * It writes that back when it likes, up to half a minute later, and drops it when the connection ends.
 *
 * To drop an inode's pages (llfuse_notify_inval_inode()) is the one thing that makes it write back and returns when that is
 * done.  syncfs(2) costs less, as the pages stay, but for a FUSE file system Linux only begins (SB_I_NO_DATA_INTEGRITY).
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "internal.h"

/* Not while the table is locked: the handlers that are waited for open files, too. */
static int write_back_shard(struct llfuse_session *session, size_t shard)
{
	uint64_t *inos;
	size_t n;
	int err = ll_opens_list(session, shard, &inos, &n);

	for (size_t i = 0; !err && i < n; i++) {
		/* With passthrough the kernel has nothing, and would wait for whoever reads or writes. */
		if (llfuse_file_passthrough(session, inos[i]))
			continue;
		if (llfuse_notify_inval_inode(session, inos[i], 0, 0) == -ENODEV) /* other errors: it is closed now */
			err = -ENODEV;
	}
	free(inos);
	return err;
}

int llfuse_write_back_opens(struct llfuse_session *session)
{
	int err = 0;

	for (size_t i = 0; !err && i < ARRAY_SIZE(session->opens.shards); i++)
		err = write_back_shard(session, i);
	return err;
}

static void *write_back_and_stop(void *arg)
{
	struct llfuse_session *session = arg;

	(void)pthread_setname_np(pthread_self(), "stopper");
	if (llfuse_write_back_opens(session) == -ENOMEM)
		llfuse_log(LLFUSE_LOG_WARNING, session->name, "what the kernel has not written back may be lost: %s",
			   strerror(ENOMEM));
	if (session->stopping)
		session->stopping(session, session->userdata);
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

void ll_stopper_begin(struct llfuse_session *session)
{
	struct stopper *stopper = &session->stopper;

	pthread_mutex_lock(&stopper->lock);
	/* Whoever asks twice does not want to wait. */
	if (stopper->has_thread || stopper->is_over || !atomic_load(&session->is_initialized) ||
	    ll_thread_start(&stopper->thread, write_back_and_stop, session))
		llfuse_stop(session);
	else
		stopper->has_thread = true;
	pthread_mutex_unlock(&stopper->lock);
}

void ll_stopper_end(struct llfuse_session *session)
{
	struct stopper *stopper = &session->stopper;
	bool has_thread;

	pthread_mutex_lock(&stopper->lock);
	stopper->is_over = true;
	has_thread = stopper->has_thread;
	pthread_mutex_unlock(&stopper->lock);
	if (has_thread)
		pthread_join(stopper->thread, NULL);
}

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

static int sync_root(const struct llfuse_session *session)
{
	int err = 0;
	int fd;

	/* What lies over it, or took its place, is not ours to wait for. */
	if (!session->mountpoint || ll_mount_id_of(session->mountpoint) != session->mount_id)
		return -ENOENT;
	fd = open_root(session->mountpoint);
	if (fd < 0)
		return -errno;
	if (syncfs(fd) < 0)
		err = -errno;
	close(fd);
	return err;
}

int llfuse_begin_writeback(struct llfuse_session *session)
{
	if (!ll_notify_enter(session))
		return -ENODEV;
	return ll_notify_leave(session, sync_root(session));
}
