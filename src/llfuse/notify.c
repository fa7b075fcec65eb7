/* SPDX-License-Identifier: MIT */
/* Notifications: from the file system to the kernel, outside any request. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

int ll_notify_leave(struct llfuse_session *session, int result)
{
	if (atomic_fetch_sub(&session->n_notifying, 1) == 1 && atomic_load(&session->is_closed_for_notify))
		sem_post(&session->loop.events);
	return result;
}

bool ll_notify_enter(struct llfuse_session *session)
{
	atomic_fetch_add(&session->n_notifying, 1);
	if (atomic_load(&session->is_initialized) && !atomic_load(&session->is_closed_for_notify))
		return true;
	(void)ll_notify_leave(session, 0);
	return false;
}

void ll_notify_end(struct llfuse_session *session)
{
	atomic_store(&session->is_closed_for_notify, true);
	while (atomic_load(&session->n_notifying))
		(void)sem_wait(&session->loop.events); /* if it is cut short, it is looked at again */
}

int llfuse_notify_inval_inode(struct llfuse_session *session, uint64_t ino, off_t off, off_t len)
{
	if (!ll_notify_enter(session))
		return -ENODEV;
	return ll_notify_leave(session, fuse_lowlevel_notify_inval_inode(session->fuse, ino, off, len));
}

int llfuse_notify_inval_entry(struct llfuse_session *session, uint64_t parent, const char *name)
{
	if (!ll_notify_enter(session))
		return -ENODEV;
	return ll_notify_leave(session, fuse_lowlevel_notify_inval_entry(session->fuse, parent, name, strlen(name)));
}

int llfuse_notify_delete(struct llfuse_session *session, uint64_t parent, uint64_t child, const char *name)
{
	if (!ll_notify_enter(session))
		return -ENODEV;
	return ll_notify_leave(session, fuse_lowlevel_notify_delete(session->fuse, parent, child, name, strlen(name)));
}

int llfuse_notify_expire_entry(struct llfuse_session *session, uint64_t parent, const char *name)
{
	if (!ll_notify_enter(session))
		return -ENODEV;
	return ll_notify_leave(session, fuse_lowlevel_notify_expire_entry(session->fuse, parent, name, strlen(name)));
}

int llfuse_notify_store(struct llfuse_session *session, uint64_t ino, off_t off, const void *buf, size_t size)
{
	struct fuse_bufvec bufv = FUSE_BUFVEC_INIT(size);

	if (!ll_notify_enter(session))
		return -ENODEV;
	bufv.buf[0].mem = (void *)buf;
	return ll_notify_leave(session, fuse_lowlevel_notify_store(session->fuse, ino, off, &bufv, 0));
}

int llfuse_notify_increment_epoch(struct llfuse_session *session)
{
	if (!ll_notify_enter(session))
		return -ENODEV;
	return ll_notify_leave(session, fuse_lowlevel_notify_increment_epoch(session->fuse));
}

/* Who waits, and through which session: what libfuse notifies with may not outlive the connection. */
struct llfuse_poll {
	struct llfuse_session *session;
	struct fuse_pollhandle *handle;
};

struct llfuse_poll *ll_poll_new(struct llfuse_session *session, struct fuse_pollhandle *handle)
{
	struct llfuse_poll *poll = malloc(sizeof(*poll));

	if (poll)
		*poll = (struct llfuse_poll){.session = session, .handle = handle};
	return poll;
}

int llfuse_poll_notify(struct llfuse_poll *poll)
{
	if (!ll_notify_enter(poll->session))
		return -ENODEV;
	return ll_notify_leave(poll->session, fuse_lowlevel_notify_poll(poll->handle));
}

void llfuse_poll_free(struct llfuse_poll *poll)
{
	if (!poll)
		return;
	fuse_pollhandle_destroy(poll->handle);
	free(poll);
}
