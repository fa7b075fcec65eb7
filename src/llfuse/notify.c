/* SPDX-License-Identifier: MIT */
/* Notifications: from the file system to the kernel, outside any request. */
#include <string.h>

#include "internal.h"

static bool is_ready(const struct llfuse_session *session)
{
	return atomic_load(&session->is_initialized);
}

int llfuse_notify_inval_inode(struct llfuse_session *session, uint64_t ino, off_t off, off_t len)
{
	return is_ready(session) ? fuse_lowlevel_notify_inval_inode(session->fuse, ino, off, len) : -ENODEV;
}

int llfuse_notify_inval_entry(struct llfuse_session *session, uint64_t parent, const char *name)
{
	return is_ready(session) ? fuse_lowlevel_notify_inval_entry(session->fuse, parent, name, strlen(name))
				 : -ENODEV;
}

int llfuse_notify_delete(struct llfuse_session *session, uint64_t parent, uint64_t child, const char *name)
{
	return is_ready(session) ? fuse_lowlevel_notify_delete(session->fuse, parent, child, name, strlen(name))
				 : -ENODEV;
}

int llfuse_notify_expire_entry(struct llfuse_session *session, uint64_t parent, const char *name)
{
	return is_ready(session) ? fuse_lowlevel_notify_expire_entry(session->fuse, parent, name, strlen(name))
				 : -ENODEV;
}

int llfuse_notify_store(struct llfuse_session *session, uint64_t ino, off_t off, const void *buf, size_t size)
{
	struct fuse_bufvec bufv = FUSE_BUFVEC_INIT(size);

	if (!is_ready(session))
		return -ENODEV;
	bufv.buf[0].mem = (void *)buf;
	return fuse_lowlevel_notify_store(session->fuse, ino, off, &bufv, 0);
}

int llfuse_notify_increment_epoch(struct llfuse_session *session)
{
	return is_ready(session) ? fuse_lowlevel_notify_increment_epoch(session->fuse) : -ENODEV;
}

int llfuse_poll_notify(struct llfuse_poll *poll)
{
	return fuse_lowlevel_notify_poll((struct fuse_pollhandle *)poll);
}

void llfuse_poll_free(struct llfuse_poll *poll)
{
	if (poll)
		fuse_pollhandle_destroy((struct fuse_pollhandle *)poll);
}
