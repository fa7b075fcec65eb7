/* SPDX-License-Identifier: MIT */
/* Requests on open files: unpack, call the handler, reply. */
#include <string.h>

#include "call.h"

/* What the library keeps of an open that the handler has made.  Returns the backing id, or 0. */
static int opened(struct call *call, uint64_t ino, const struct llfuse_file *file)
{
	ll_opens_add(call->session, call->worker, ino, file, false);
	return ll_io_mode_open(call->session, call->fuse, ino, file);
}

/* The handler has opened a file that the kernel does not know of. */
static void undo_open(struct call *call, uint64_t ino, struct llfuse_file *file)
{
	struct llfuse_session *session = call->session;

	ll_io_mode_release(session, NULL, ino);
	ll_opens_remove(session, ino, file, false);
	if (!session->ops.release)
		return;
	ll_turn_begin(session);
	(void)session->ops.release(&call->req, ino, file); /* nobody is there to be told */
	ll_turn_end(session);
}

static void ll_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
	struct llfuse_file file;
	struct call call;
	int err;

	if (!ll_call_begin(&call, req, LLFUSE_OP_OPEN))
		return;
	if (!call.session->ops.open) { /* after no_open the kernel asks once */
		ll_call_end(&call, true);
		(void)fuse_reply_err(req, ENOSYS);
		return;
	}
	err = ll_opens_reserve(call.worker);
	if (!err)
		err = call.session->ops.open(&call.req, ino, ll_file_from_fuse(&file, info));
	if (!err)
		info->backing_id = opened(&call, ino, &file);
	ll_call_end(&call, err);
	if (err) {
		ll_reply_status(&call, err);
		return;
	}
	ll_file_to_fuse(&file, info);
	if (ll_is_undelivered(&call, fuse_reply_open(req, info)))
		undo_open(&call, ino, &file);
}

/* Both create and tmpfile: an entry and an open file in one. */
static void reply_create(struct call *call, int err, const struct llfuse_entry *entry, struct llfuse_file *file,
			 struct fuse_file_info *info)
{
	struct fuse_entry_param param;
	bool is_refused;
	int reply;

	if (err) {
		ll_reply_status(call, err);
		return;
	}
	is_refused = ll_is_wrong_entry(call, entry, S_IFREG);
	ll_entry_to_fuse(entry, &param);
	ll_file_to_fuse(file, info);
	reply = is_refused ? fuse_reply_err(call->fuse, EIO) : fuse_reply_create(call->fuse, &param, info);
	if (ll_is_undelivered(call, reply) || is_refused) {
		undo_open(call, entry->ino, file);
		ll_give_back(call, 1, &entry->ino);
	}
}

static void ll_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *info)
{
	struct llfuse_entry entry = {0};
	struct llfuse_file file;
	struct call call;
	int err;

	if (!ll_call_begin(&call, req, LLFUSE_OP_CREATE))
		return;
	err = ll_opens_reserve(call.worker);
	if (!err)
		err = call.session->ops.create(&call.req, parent, name, mode, ll_file_from_fuse(&file, info), &entry);
	if (!err)
		info->backing_id = opened(&call, entry.ino, &file);
	ll_call_end(&call, err);
	reply_create(&call, err, &entry, &file, info);
}

static void ll_tmpfile(fuse_req_t req, fuse_ino_t parent, mode_t mode, struct fuse_file_info *info)
{
	struct llfuse_entry entry = {0};
	struct llfuse_file file;
	struct call call;
	int err;

	if (!ll_call_begin(&call, req, LLFUSE_OP_TMPFILE))
		return;
	err = ll_opens_reserve(call.worker);
	if (!err)
		err = call.session->ops.tmpfile(&call.req, parent, mode, ll_file_from_fuse(&file, info), &entry);
	if (!err)
		info->backing_id = opened(&call, entry.ino, &file);
	ll_call_end(&call, err);
	reply_create(&call, err, &entry, &file, info);
}

static void ll_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *info)
{
	struct llfuse_data data;
	struct llfuse_file file;
	struct call call;
	int err;

	if (!ll_call_begin(&call, req, LLFUSE_OP_READ))
		return;
	ll_data_init(&data, req, call.worker, size);
	err = call.session->ops.read(&call.req, ino, ll_file_from_fuse(&file, info), off, &data);
	ll_reply_data(&call, err, &data);
}

static void ll_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
		     struct fuse_file_info *info)
{
	struct llfuse_file file;
	struct call call;
	ssize_t n;

	if (!ll_call_begin(&call, req, LLFUSE_OP_WRITE))
		return;
	if (info->writepage) {
		atomic_fetch_add(&call.session->n_written_back, 1);
		atomic_fetch_add(&call.session->n_writing_back, 1);
	}
	n = call.session->ops.write(&call.req, ino, ll_file_from_fuse(&file, info), buf, size, off);
	if (info->writepage)
		atomic_fetch_sub(&call.session->n_writing_back, 1);
	ll_call_end(&call, n < 0);
	ll_reply_count(&call, n);
}

static void ll_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
	struct llfuse_file file;
	struct call call;
	int err;

	if (!ll_call_begin(&call, req, LLFUSE_OP_FLUSH))
		return;
	err = call.session->ops.flush(&call.req, ino, ll_file_from_fuse(&file, info));
	ll_call_end(&call, err);
	ll_reply_status(&call, err);
}

static void ll_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
	struct llfuse_file file;
	struct call call;
	int err = 0;

	if (!ll_call_begin(&call, req, LLFUSE_OP_RELEASE))
		return;
	ll_io_mode_release(call.session, req, ino);
	ll_opens_remove(call.session, ino, ll_file_from_fuse(&file, info), false);
	if (call.session->ops.release)
		err = call.session->ops.release(&call.req, ino, &file);
	ll_close_backings(call.session, req);
	ll_call_end(&call, err);
	ll_reply_status(&call, err);
}

static void ll_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *info)
{
	struct llfuse_file file;
	struct call call;
	int err;

	if (!ll_call_begin(&call, req, LLFUSE_OP_FSYNC))
		return;
	err = call.session->ops.fsync(&call.req, ino, ll_file_from_fuse(&file, info), datasync);
	ll_call_end(&call, err);
	ll_reply_status(&call, err);
}

static void ll_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len, struct fuse_file_info *info)
{
	struct llfuse_file file;
	struct call call;
	int err;

	if (!ll_call_begin(&call, req, LLFUSE_OP_FALLOCATE))
		return;
	err = call.session->ops.fallocate(&call.req, ino, ll_file_from_fuse(&file, info), mode, off, len);
	ll_call_end(&call, err);
	ll_reply_status(&call, err);
}

static void ll_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *info)
{
	struct llfuse_file file;
	struct call call;
	off_t found;

	if (!ll_call_begin(&call, req, LLFUSE_OP_LSEEK))
		return;
	found = call.session->ops.lseek(&call.req, ino, ll_file_from_fuse(&file, info), off, whence);
	ll_call_end(&call, found < 0);
	if (found < 0)
		ll_reply_status(&call, found);
	else
		(void)fuse_reply_lseek(req, found);
}

static void ll_copy_file_range(fuse_req_t req, fuse_ino_t ino_in, off_t off_in, struct fuse_file_info *info_in,
			       fuse_ino_t ino_out, off_t off_out, struct fuse_file_info *info_out, size_t len,
			       int flags)
{
	struct llfuse_file in, out;
	struct call call;
	ssize_t n;

	if (!ll_call_begin(&call, req, LLFUSE_OP_COPY_FILE_RANGE))
		return;
	n = call.session->ops.copy_file_range(&call.req, ino_in, ll_file_from_fuse(&in, info_in), off_in, ino_out,
					      ll_file_from_fuse(&out, info_out), off_out, len, (unsigned)flags);
	ll_call_end(&call, n < 0);
	ll_reply_count(&call, n);
}

static void ll_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned cmd, void *arg, struct fuse_file_info *info,
		     unsigned flags, const void *in, size_t in_size, size_t out_size)
{
	struct llfuse_file file;
	struct call call;
	int result = -ENOMEM;
	void *out;

	(void)arg; /* the caller's pointer: meaningless to a restricted ioctl */
	(void)flags;
	if (!ll_call_begin(&call, req, LLFUSE_OP_IOCTL))
		return;
	out = ll_worker_scratch(call.worker, out_size ? out_size : 1);
	if (out) {
		memset(out, 0, out_size);
		result = call.session->ops.ioctl(&call.req, ino, ll_file_from_fuse(&file, info), cmd, in, in_size, out,
						 out_size);
	}
	ll_call_end(&call, result < 0);
	if (result < 0)
		ll_reply_status(&call, result);
	else
		(void)fuse_reply_ioctl(req, result, out, out_size);
}

static void ll_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info, struct fuse_pollhandle *handle)
{
	struct llfuse_poll *poll = NULL;
	struct llfuse_file file;
	unsigned revents = 0;
	struct call call;
	int err = 0;

	if (!ll_call_begin(&call, req, LLFUSE_OP_POLL)) {
		fuse_pollhandle_destroy(handle);
		return;
	}
	if (handle && !(poll = ll_poll_new(call.session, handle))) {
		fuse_pollhandle_destroy(handle);
		err = -ENOMEM;
	}
	if (!err)
		err = call.session->ops.poll(&call.req, ino, ll_file_from_fuse(&file, info), info->poll_events,
					     &revents, poll);
	ll_call_end(&call, err);
	if (err)
		ll_reply_status(&call, err);
	else
		(void)fuse_reply_poll(req, revents);
}

/* With EINTR the kernel restarts the caller's system call by its signal.  Who got none, as the handler gave up because the
 * session ends, would see the kernel's own ERESTARTSYS, which is no errno of any manual page. */
static int lock_result(const struct call *call, int err)
{
	return err == -EINTR && !fuse_req_interrupted(call->fuse) ? -ENOTCONN : err;
}

static void ll_getlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info, struct flock *lock)
{
	struct llfuse_file file;
	struct call call;
	int err;

	if (!ll_call_begin(&call, req, LLFUSE_OP_GETLK))
		return;
	err = call.session->ops.getlk(&call.req, ino, ll_file_from_fuse(&file, info), lock);
	ll_call_end(&call, err);
	if (err)
		ll_reply_status(&call, err);
	else
		(void)fuse_reply_lock(req, lock);
}

static void ll_setlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info, struct flock *lock, int sleep)
{
	struct llfuse_file file;
	struct call call;
	int err;

	if (!ll_call_begin(&call, req, LLFUSE_OP_SETLK))
		return;
	err = call.session->ops.setlk(&call.req, ino, ll_file_from_fuse(&file, info), lock, sleep);
	ll_call_end(&call, err);
	ll_reply_status(&call, lock_result(&call, err));
}

static void ll_flock(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info, int op)
{
	struct llfuse_file file;
	struct call call;
	int err;

	if (!ll_call_begin(&call, req, LLFUSE_OP_FLOCK))
		return;
	err = call.session->ops.flock(&call.req, ino, ll_file_from_fuse(&file, info), op);
	ll_call_end(&call, err);
	ll_reply_status(&call, lock_result(&call, err));
}

void ll_data_table(const struct llfuse_ops *ops, struct fuse_lowlevel_ops *table)
{
	PASS_ON(create);
	PASS_ON(open);
	PASS_ON(tmpfile);
	PASS_ON(read);
	PASS_ON(write);
	PASS_ON(flush);
	PASS_ON(fsync);
	PASS_ON(fallocate);
	PASS_ON(lseek);
	PASS_ON(copy_file_range);
	PASS_ON(ioctl);
	PASS_ON(poll);
	PASS_ON(getlk);
	PASS_ON(setlk);
	PASS_ON(flock);
	/* Backing files are counted here even if the file system needs no release. */
	if (ops->open || ops->create || ops->tmpfile)
		table->release = ll_release;
}
