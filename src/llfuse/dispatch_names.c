/* SPDX-License-Identifier: MIT */
/* Requests on names and directories: unpack, call the handler, reply. */
#include "call.h"

enum { SYMLINK_MAX = 4095 }; /* PATH_MAX without its NUL: what the kernel takes from readlink */

static void ll_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct llfuse_entry entry = {0};
	struct call call;
	int err;

	if (!ll_call_begin(&call, req, LLFUSE_OP_LOOKUP))
		return;
	err = call.session->ops.lookup(&call.req, parent, name, &entry);
	ll_call_end(&call, err);
	ll_reply_lookup(&call, err, &entry);
}

static void forget_all(fuse_req_t req, size_t n, const struct llfuse_forget *forgets)
{
	struct call call;

	if (!ll_call_begin(&call, req, LLFUSE_OP_FORGET))
		return;
	call.session->ops.forget(&call.req, n, forgets);
	ll_close_backings(call.session, req);
	ll_call_end(&call, false);
	fuse_reply_none(req);
}

static void ll_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
	struct llfuse_forget forget = {.ino = ino, .nlookup = nlookup};

	forget_all(req, 1, &forget);
}

static void ll_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	_Static_assert(sizeof(struct fuse_forget_data) == sizeof(struct llfuse_forget) &&
			       offsetof(struct fuse_forget_data, nlookup) == offsetof(struct llfuse_forget, nlookup),
		       "the same layout lets a batch through as it is");

	forget_all(req, count, (const struct llfuse_forget *)forgets);
}

static void ll_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct llfuse_data data;
	struct call call;
	int err;

	if (!ll_call_begin(&call, req, LLFUSE_OP_READLINK))
		return;
	ll_data_init(&data, req, call.worker, SYMLINK_MAX);
	err = call.session->ops.readlink(&call.req, ino, &data);
	ll_reply_data(&call, err, &data);
}

static void ll_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	struct llfuse_entry entry = {0};
	struct call call;
	int err;

	if (!ll_call_begin(&call, req, LLFUSE_OP_MKNOD))
		return;
	err = call.session->ops.mknod(&call.req, parent, name, mode, rdev, &entry);
	ll_call_end(&call, err);
	ll_reply_entry(&call, err, &entry, mode & S_IFMT);
}

static void ll_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct llfuse_entry entry = {0};
	struct call call;
	int err;

	if (!ll_call_begin(&call, req, LLFUSE_OP_MKDIR))
		return;
	err = call.session->ops.mkdir(&call.req, parent, name, mode, &entry);
	ll_call_end(&call, err);
	ll_reply_entry(&call, err, &entry, S_IFDIR);
}

static void ll_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct call call;
	int err;

	if (!ll_call_begin(&call, req, LLFUSE_OP_UNLINK))
		return;
	err = call.session->ops.unlink(&call.req, parent, name);
	ll_call_end(&call, err);
	ll_reply_status(&call, err);
}

static void ll_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct call call;
	int err;

	if (!ll_call_begin(&call, req, LLFUSE_OP_RMDIR))
		return;
	err = call.session->ops.rmdir(&call.req, parent, name);
	ll_call_end(&call, err);
	ll_reply_status(&call, err);
}

static void ll_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	struct llfuse_entry entry = {0};
	struct call call;
	int err;

	if (!ll_call_begin(&call, req, LLFUSE_OP_SYMLINK))
		return;
	err = call.session->ops.symlink(&call.req, parent, name, target, &entry);
	ll_call_end(&call, err);
	ll_reply_entry(&call, err, &entry, S_IFLNK);
}

static void ll_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent, const char *new_name,
		      unsigned flags)
{
	struct call call;
	int err;

	if (!ll_call_begin(&call, req, LLFUSE_OP_RENAME))
		return;
	err = call.session->ops.rename(&call.req, parent, name, new_parent, new_name, flags);
	ll_call_end(&call, err);
	ll_reply_status(&call, err);
}

static void ll_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t new_parent, const char *new_name)
{
	struct llfuse_entry entry = {0};
	struct call call;
	int err;

	if (!ll_call_begin(&call, req, LLFUSE_OP_LINK))
		return;
	err = call.session->ops.link(&call.req, ino, new_parent, new_name, &entry);
	ll_call_end(&call, err);
	ll_reply_entry(&call, err, &entry, 0);
}

/* The handler has opened a directory that the kernel does not know of. */
static void undo_opendir(struct call *call, uint64_t ino, struct llfuse_file *file)
{
	struct llfuse_session *session = call->session;

	if (!session->ops.releasedir)
		return;
	ll_opens_remove(session, ino, file, true);
	ll_turn_begin(session);
	(void)session->ops.releasedir(&call->req, ino, file); /* nobody is there to be told */
	ll_turn_end(session);
}

static void ll_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
	struct llfuse_file file;
	struct call call;
	int err;

	if (!ll_call_begin(&call, req, LLFUSE_OP_OPENDIR))
		return;
	err = ll_opens_reserve(call.worker);
	if (!err)
		err = call.session->ops.opendir(&call.req, ino, ll_file_from_fuse(&file, info));
	ll_call_end(&call, err);
	if (err) {
		ll_reply_status(&call, err);
		return;
	}
	ll_file_to_fuse(&file, info);
	ll_opens_add(call.session, call.worker, ino, &file, true);
	if (ll_is_undelivered(&call, fuse_reply_open(req, info)))
		undo_opendir(&call, ino, &file);
}

static void list(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *info, bool wants_attr)
{
	struct llfuse_dir dir;
	struct llfuse_file file;
	struct call call;
	int err;

	if (!ll_call_begin(&call, req, wants_attr ? LLFUSE_OP_READDIRPLUS : LLFUSE_OP_READDIR))
		return;
	err = ll_dir_init(&dir, req, call.worker, size, wants_attr);
	if (!err)
		err = call.session->ops.readdir(&call.req, ino, ll_file_from_fuse(&file, info), off, &dir);
	if (!err && !dir.used && dir.is_too_small)
		err = -EINVAL; /* getdents(2): the buffer is too small.  An empty answer would be the end. */
	ll_call_end(&call, err);
	/* Entries that were packed before an error are the answer; the error comes again with the
	 * next call, which starts behind them. */
	if (err && !dir.used)
		ll_reply_status(&call, err);
	else if (ll_is_undelivered(&call, fuse_reply_buf(req, dir.buf, dir.used)))
		ll_give_back(&call, dir.n_counted, dir.counted);
}

static void ll_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *info)
{
	list(req, ino, size, off, info, false);
}

static void ll_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *info)
{
	list(req, ino, size, off, info, true);
}

static void ll_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
	struct llfuse_file file;
	struct call call;
	int err;

	if (!ll_call_begin(&call, req, LLFUSE_OP_RELEASEDIR))
		return;
	ll_opens_remove(call.session, ino, ll_file_from_fuse(&file, info), true);
	err = call.session->ops.releasedir(&call.req, ino, &file);
	ll_call_end(&call, err);
	ll_reply_status(&call, err);
}

static void ll_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *info)
{
	struct llfuse_file file;
	struct call call;
	int err;

	if (!ll_call_begin(&call, req, LLFUSE_OP_FSYNCDIR))
		return;
	err = call.session->ops.fsyncdir(&call.req, ino, ll_file_from_fuse(&file, info), datasync);
	ll_call_end(&call, err);
	ll_reply_status(&call, err);
}

void ll_names_table(const struct llfuse_ops *ops, struct fuse_lowlevel_ops *table)
{
	PASS_ON(lookup);
	PASS_ON(forget);
	PASS_ON(readlink);
	PASS_ON(mknod);
	PASS_ON(mkdir);
	PASS_ON(unlink);
	PASS_ON(rmdir);
	PASS_ON(symlink);
	PASS_ON(rename);
	PASS_ON(link);
	PASS_ON(opendir);
	PASS_ON(readdir);
	PASS_ON(releasedir);
	PASS_ON(fsyncdir);
	if (ops->forget)
		table->forget_multi = ll_forget_multi;
	/* The kernel chooses between both: it asks for attributes while somebody looks at them. */
	if (ops->readdir && ops->lookup)
		table->readdirplus = ll_readdirplus;
}
