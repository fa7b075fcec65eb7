/* SPDX-License-Identifier: MIT */
/*
 * Acting for the caller of a request.
 */
#include "ops.h"

#include "attr.h"
#include "creds.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdlib.h>

static int act_as(const struct caller *caller, int (*enter)(const struct caller *caller, struct creds *saved),
		  int (*act)(const void *what), const void *what)
{
	scoped_creds saved = {0};
	int err;

	err = enter(caller, &saved);
	return err ? err : act(what);
}

/* The caller's supplementary groups, for the caller of this to free.  None if
 * nobody is there to ask any more. */
static int read_groups(const struct llfuse_request *req, gid_t **groups, size_t *n_groups)
{
	int n = llfuse_groups(req, 0, NULL);
	int again;

	*n_groups = 0;
	*groups = calloc(n > 0 ? (size_t)n : 1, sizeof(**groups));
	if (!*groups)
		return -ENOMEM;
	if (n <= 0)
		return 0;
	again = llfuse_groups(req, (size_t)n, *groups);
	if (again > 0)
		*n_groups = (size_t)(again < n ? again : n);
	return 0;
}

/* @enter: creds_enter(), or how else to be the caller. */
static int act_with_groups(const struct llfuse_request *req, struct caller caller,
			   int (*enter)(const struct caller *caller, struct creds *saved), int (*act)(const void *what),
			   const void *what)
{
	gid_t *groups;
	int result;

	result = read_groups(req, &groups, &caller.n_groups);
	if (result)
		return result;
	caller.groups = groups;
	result = act_as(&caller, enter, act, what);
	free(groups);
	return result;
}

int ops_as_caller(const struct llfuse_request *req, bool needs_groups, int (*act)(const void *what), const void *what)
{
	struct caller caller = {.uid = req->uid, .gid = req->gid, .umask = req->umask};
	int result;

	if (!creds_can_switch() || req->uid == 0)
		return act_as(&caller, creds_enter, act, what);
	if (!needs_groups) {
		result = act_as(&caller, creds_enter, act, what);
		if (result != -EACCES)
			return result;
	}
	return act_with_groups(req, caller, creds_enter, act, what);
}

bool ops_may_not_keep_setid(const struct llfuse_request *req, int fd)
{
	return attr_has_setid(fd) && !llfuse_has_capability(req, CAP_FSETID);
}

/* Not as the caller, who may do it by a capability or by an open file, which we did not take over. */
int ops_without_setid(const struct llfuse_request *req, int (*act)(const void *what), const void *what)
{
	struct caller caller = {.uid = req->uid, .gid = req->gid, .umask = req->umask};

	return act_with_groups(req, caller, creds_enter_without_setid, act, what);
}

void ops_forget_attributes(const struct llfuse_request *req, uint64_t ino)
{
	struct llfuse_session *session = llfuse_request_session(req);

	if (session)
		(void)llfuse_notify_inval_inode(session, ino, -1, 0); /* it may have gone */
}

int ops_change(const struct llfuse_request *req, uint64_t ino, int fd, bool drops, int (*act)(const void *what),
	       const void *what)
{
	int result;

	if (!drops || !attr_has_setid(fd))
		return act(what);
	result = ops_without_setid(req, act, what);
	if (result >= 0)
		ops_forget_attributes(req, ino);
	return result;
}
