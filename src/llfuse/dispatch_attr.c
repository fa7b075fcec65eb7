/* SPDX-License-Identifier: MIT */
/* Requests on attributes: unpack, call the handler, reply. */
#include <time.h>

#include "call.h"

enum { XATTR_MAX = 64 * 1024 }; /* XATTR_SIZE_MAX and XATTR_LIST_MAX of linux/limits.h */

static void ll_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
	struct llfuse_entry entry = {0};
	struct llfuse_file file;
	struct call call;
	int err;

	if (!ll_call_begin(&call, req, LLFUSE_OP_GETATTR))
		return;
	err = call.session->ops.getattr(&call.req, ino, ll_file_from_fuse(&file, info), &entry);
	ll_call_end(&call, err);
	ll_reply_attr(&call, err, ino, &entry);
}

static unsigned setattr_fields(int to_set)
{
	static const struct {
		int fuse;
		unsigned field;
	} map[] = {
		{FUSE_SET_ATTR_MODE, LLFUSE_SET_MODE},
		{FUSE_SET_ATTR_UID, LLFUSE_SET_UID},
		{FUSE_SET_ATTR_GID, LLFUSE_SET_GID},
		{FUSE_SET_ATTR_SIZE, LLFUSE_SET_SIZE},
		{FUSE_SET_ATTR_ATIME, LLFUSE_SET_ATIME},
		{FUSE_SET_ATTR_MTIME, LLFUSE_SET_MTIME},
		{FUSE_SET_ATTR_ATIME_NOW, LLFUSE_SET_ATIME | LLFUSE_SET_ATIME_NOW},
		{FUSE_SET_ATTR_MTIME_NOW, LLFUSE_SET_MTIME | LLFUSE_SET_MTIME_NOW},
		{FUSE_SET_ATTR_CTIME, LLFUSE_SET_CTIME},
		/* The kernel has one bit for both, FATTR_KILL_SUIDGID, with the value of this one. */
		{FUSE_SET_ATTR_KILL_SUID, LLFUSE_SET_KILL_SUIDGID},
	};
	unsigned fields = 0;

	for (size_t i = 0; i < ARRAY_SIZE(map); i++)
		if (to_set & map[i].fuse)
			fields |= map[i].field;
	return fields;
}

static void ll_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set, struct fuse_file_info *info)
{
	unsigned fields = setattr_fields(to_set);
	struct llfuse_entry entry = {0};
	struct llfuse_file file;
	struct timespec now;
	struct call call;
	int err;

	if (!ll_call_begin(&call, req, LLFUSE_OP_SETATTR))
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	if (fields & LLFUSE_SET_ATIME_NOW)
		attr->st_atim = now;
	if (fields & LLFUSE_SET_MTIME_NOW)
		attr->st_mtim = now;
	err = call.session->ops.setattr(&call.req, ino, ll_file_from_fuse(&file, info), attr, fields, &entry);
	ll_call_end(&call, err);
	ll_reply_attr(&call, err, ino, &entry);
}

static void ll_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct statvfs st = {0};
	struct call call;
	int err;

	if (!ll_call_begin(&call, req, LLFUSE_OP_STATFS))
		return;
	err = call.session->ops.statfs(&call.req, ino, &st);
	ll_call_end(&call, err);
	if (err)
		ll_reply_status(&call, err);
	else
		(void)fuse_reply_statfs(req, &st);
}

static void ll_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags)
{
	struct call call;
	int err;

	if (!ll_call_begin(&call, req, LLFUSE_OP_SETXATTR))
		return;
	err = call.session->ops.setxattr(&call.req, ino, name, value, size, flags);
	ll_call_end(&call, err);
	ll_reply_status(&call, err);
}

/* @size is the caller's buffer; 0 asks for the length alone: getxattr(2). */
static void reply_xattr(struct call *call, int err, struct llfuse_data *data, size_t size)
{
	if (!err && ll_data_is_cut(data))
		err = -E2BIG;
	if (!err && size && ll_data_length(data) > size)
		err = -ERANGE;
	if (err || size) {
		ll_reply_data(call, err, data);
		return;
	}
	(void)fuse_reply_xattr(call->fuse, ll_data_length(data));
	ll_data_done(data);
	ll_call_end(call, false);
}

static void ll_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	struct llfuse_data data;
	struct call call;
	int err = -ENOMEM;

	if (!ll_call_begin(&call, req, LLFUSE_OP_GETXATTR))
		return;
	ll_data_init(&data, req, call.worker, XATTR_MAX);
	/* On io_uring @name lies in the memory that the answer goes to: fill another. */
	data.room = ll_worker_scratch(call.worker, XATTR_MAX);
	if (data.room)
		err = call.session->ops.getxattr(&call.req, ino, name, &data);
	reply_xattr(&call, err, &data, size);
}

static void ll_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	struct llfuse_data data;
	struct call call;
	int err;

	if (!ll_call_begin(&call, req, LLFUSE_OP_LISTXATTR))
		return;
	ll_data_init(&data, req, call.worker, XATTR_MAX);
	err = call.session->ops.listxattr(&call.req, ino, &data);
	reply_xattr(&call, err, &data, size);
}

static void ll_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	struct call call;
	int err;

	if (!ll_call_begin(&call, req, LLFUSE_OP_REMOVEXATTR))
		return;
	err = call.session->ops.removexattr(&call.req, ino, name);
	ll_call_end(&call, err);
	ll_reply_status(&call, err);
}

static void ll_access(fuse_req_t req, fuse_ino_t ino, int mask)
{
	struct call call;
	int err;

	if (!ll_call_begin(&call, req, LLFUSE_OP_ACCESS))
		return;
	err = call.session->ops.access(&call.req, ino, mask);
	ll_call_end(&call, err);
	ll_reply_status(&call, err);
}

static void ll_statx(fuse_req_t req, fuse_ino_t ino, int flags, int mask, struct fuse_file_info *info)
{
	struct statx stx = {0};
	double attr_timeout_s = 0;
	struct llfuse_file file;
	struct call call;
	int err;

	if (!ll_call_begin(&call, req, LLFUSE_OP_STATX))
		return;
	err = call.session->ops.statx(&call.req, ino, ll_file_from_fuse(&file, info), (unsigned)flags, (unsigned)mask,
				      &stx, &attr_timeout_s);
	ll_call_end(&call, err);
	if (!stx.stx_ino)
		stx.stx_ino = ino;
	if (err)
		ll_reply_status(&call, err);
	else
		(void)fuse_reply_statx(req, 0, &stx, attr_timeout_s);
}

void ll_attr_table(const struct llfuse_ops *ops, struct fuse_lowlevel_ops *table)
{
	PASS_ON(getattr);
	PASS_ON(setattr);
	PASS_ON(statfs);
	PASS_ON(setxattr);
	PASS_ON(getxattr);
	PASS_ON(listxattr);
	PASS_ON(removexattr);
	PASS_ON(access);
	PASS_ON(statx);
}
