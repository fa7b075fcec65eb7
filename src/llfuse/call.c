/* SPDX-License-Identifier: MIT */
/* A request under way: see call.h. */
#include "call.h"

#include <stdlib.h>
#include <string.h>

static void note_transport(struct llfuse_session *session, fuse_req_t req, enum llfuse_op op)
{
	enum llfuse_transport transport =
		fuse_req_is_uring(req) ? LLFUSE_TRANSPORT_IO_URING : LLFUSE_TRANSPORT_DEV_FUSE;
	int unknown = LLFUSE_TRANSPORT_AUTO;

	/* Forgets come through /dev/fuse always. */
	if (op == LLFUSE_OP_FORGET || !atomic_compare_exchange_strong(&session->transport, &unknown, (int)transport))
		return;
	if (transport == LLFUSE_TRANSPORT_IO_URING)
		llfuse_log(LLFUSE_LOG_DEBUG, session->name, "transport: io_uring, %u requests at once on each CPU",
			   session->ring_depth);
	else
		llfuse_log(LLFUSE_LOG_DEBUG, session->name, "transport: /dev/fuse, up to %u threads",
			   session->n_workers);
	if (transport != LLFUSE_TRANSPORT_IO_URING && session->wanted_transport == LLFUSE_TRANSPORT_IO_URING)
		llfuse_log(LLFUSE_LOG_WARNING, session->name, "io_uring could not be started, using /dev/fuse");
}

void ll_turn_begin(struct llfuse_session *session)
{
	if (session->is_serial)
		pthread_mutex_lock(&session->serial_lock);
}

void ll_turn_end(struct llfuse_session *session)
{
	if (session->is_serial)
		pthread_mutex_unlock(&session->serial_lock);
}

/* Returns false, with the request answered, if memory is too short for it. */
bool ll_call_begin(struct call *call, fuse_req_t req, enum llfuse_op op)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	struct llfuse_session *session = fuse_req_userdata(req);

	call->session = session;
	call->fuse = req;
	call->op = op;
	call->worker = ll_worker_current(session);
	call->req = (struct llfuse_request){
		.userdata = session->userdata,
		.pid = ctx->pid,
		.uid = ctx->uid,
		.gid = ctx->gid,
		.umask = ctx->umask,
		.internal = call,
	};
	if (!call->worker || ll_reserve_refuses(session, op)) {
		if (op == LLFUSE_OP_FORGET)
			fuse_reply_none(req); /* takes no answer */
		else
			(void)fuse_reply_err(req, ENOMEM);
		return false;
	}
	if (atomic_load_explicit(&session->transport, memory_order_relaxed) == LLFUSE_TRANSPORT_AUTO)
		note_transport(session, req, op);
	ll_reserve_keep_rest(session, call->worker);
	ll_turn_begin(session);
	call->start_ns = ll_now_ns();
	if (fuse_req_is_uring(req))
		ll_yielding_request(session, call->worker, call->start_ns);
	return true;
}

void ll_call_end(struct call *call, bool is_error)
{
	ll_worker_count(call->worker, call->op, is_error, ll_now_ns() - call->start_ns);
	ll_turn_end(call->session);
}

/* Whether the kernel did not take the answer.  Either way the request is libfuse's again. */
bool ll_is_undelivered(struct call *call, int reply)
{
	call->fuse = NULL;
	return reply == -ENOENT;
}

/* What a handler counted and the kernel never got. */
void ll_give_back(struct call *call, size_t n, const uint64_t *inos)
{
	struct llfuse_session *session = call->session;

	if (!session->ops.forget)
		return;
	ll_turn_begin(session);
	for (size_t i = 0; i < n; i++) {
		struct llfuse_forget forget = {.ino = inos[i], .nlookup = 1};

		if (inos[i])
			session->ops.forget(&call->req, 1, &forget);
	}
	ll_turn_end(session);
}

enum { ERRNO_MAX = 4095 }; /* MAX_ERRNO of the kernel's include/linux/err.h */

/* What a handler's result is answered with.  libfuse and the kernel would each make something else of a number that is no
 * errno. */
static int checked(const struct call *call, ssize_t err)
{
	if (err == -ENOSYS && call->session->no_enosys)
		return -EOPNOTSUPP;
	if (err <= 0 && err >= -ERRNO_MAX && strerrordesc_np((int)-err))
		return (int)err;
	llfuse_log(LLFUSE_LOG_ERROR, call->session->name, "the handler of %s returned %zd, which is no -errno",
		   llfuse_op_name(call->op), err);
	return -EIO;
}

void ll_reply_status(struct call *call, ssize_t err)
{
	(void)fuse_reply_err(call->fuse, -checked(call, err)); /* nothing to take back if it does not arrive */
}

/* fuse_invalid_attr() of Linux fs/fuse/dir.c. */
static const char *wrong_attr(const struct stat *attr)
{
	switch (attr->st_mode & S_IFMT) {
	case S_IFREG:
	case S_IFDIR:
	case S_IFLNK:
	case S_IFCHR:
	case S_IFBLK:
	case S_IFIFO:
	case S_IFSOCK:
		return attr->st_size < 0 ? "a size below 0" : NULL;
	default:
		return "a mode without a type";
	}
}

static bool is_wrong(const struct call *call, const char *what)
{
	if (what)
		llfuse_log(LLFUSE_LOG_ERROR, call->session->name, "the handler of %s answered with %s",
			   llfuse_op_name(call->op), what);
	return what;
}

/* create_new_entry() and fuse_create_open() there. */
bool ll_is_wrong_entry(const struct call *call, const struct llfuse_entry *entry, mode_t type)
{
	const char *what = wrong_attr(&entry->attr);

	if (!entry->ino || entry->ino == LLFUSE_ROOT_INODE)
		what = entry->ino ? "the inode number of the root directory" : "the inode number 0";
	else if (!what && type && (entry->attr.st_mode & S_IFMT) != type)
		what = "another type than it was asked to make";
	return is_wrong(call, what);
}

static void reply_entry(struct call *call, const struct llfuse_entry *entry, bool is_refused)
{
	struct fuse_entry_param param;
	int reply;

	ll_entry_to_fuse(entry, &param);
	reply = is_refused ? fuse_reply_err(call->fuse, EIO) : fuse_reply_entry(call->fuse, &param);
	if (ll_is_undelivered(call, reply) || is_refused)
		ll_give_back(call, 1, &entry->ino);
}

void ll_reply_lookup(struct call *call, int err, const struct llfuse_entry *entry)
{
	if (err)
		ll_reply_status(call, err);
	else
		reply_entry(call, entry, entry->ino && is_wrong(call, wrong_attr(&entry->attr)));
}

void ll_reply_entry(struct call *call, int err, const struct llfuse_entry *entry, mode_t type)
{
	if (err)
		ll_reply_status(call, err);
	else
		reply_entry(call, entry, ll_is_wrong_entry(call, entry, type));
}

void ll_reply_attr(struct call *call, int err, uint64_t ino, const struct llfuse_entry *entry)
{
	struct stat attr = entry->attr;

	if (!attr.st_ino)
		attr.st_ino = ino;
	if (!err && is_wrong(call, wrong_attr(&attr)))
		err = -EIO; /* the kernel would never ask this inode again */
	if (err)
		ll_reply_status(call, err);
	else
		(void)fuse_reply_attr(call->fuse, &attr, entry->attr_timeout_s);
}

void ll_reply_count(struct call *call, ssize_t n)
{
	if (n < 0)
		ll_reply_status(call, n);
	else
		(void)fuse_reply_write(call->fuse, (size_t)n);
}

/*
 * The kernel sends requests on an open file when the open was answered, and the release
 * when all the others were.  Over io_uring that order passes through memory shared with
 * the kernel, where ThreadSanitizer cannot see it, so it is told.
 */
#ifdef __SANITIZE_THREAD__
void __tsan_acquire(void *addr);
void __tsan_release(void *addr);

static void *order_of(uint64_t fh)
{
	static char orders[4096];

	return &orders[(fh * UINT64_C(0x9E3779B97F4A7C15)) >> 52];
}

static void after_open(uint64_t fh)
{
	__tsan_acquire(order_of(fh));
}

static void before_use(uint64_t fh)
{
	__tsan_release(order_of(fh));
}
#else
static void after_open(uint64_t fh)
{
	(void)fh;
}

static void before_use(uint64_t fh)
{
	(void)fh;
}
#endif

/* @info NULL gives NULL back, as for a getattr without an open file. */
struct llfuse_file *ll_file_from_fuse(struct llfuse_file *file, const struct fuse_file_info *info)
{
	if (!info)
		return NULL;
	after_open(info->fh);
	*file = (struct llfuse_file){
		.flags = info->flags,
		.fh = info->fh,
		.lock_owner = info->lock_owner,
		.is_writepage = info->writepage,
		.kill_suidgid = info->kill_suidgid,
		.release_flock = info->flock_release,
		.backing_fd = -1,
	};
	return file;
}

void ll_file_to_fuse(const struct llfuse_file *file, struct fuse_file_info *info)
{
	before_use(file->fh);
	info->fh = file->fh;
	info->direct_io = file->direct_io;
	info->keep_cache = file->keep_cache;
	info->nonseekable = file->nonseekable;
	info->noflush = file->noflush;
	info->parallel_direct_writes = file->parallel_direct_writes;
	info->cache_readdir = file->cache_readdir;
	/* With a backing file the kernel takes direct_io, parallel_direct_writes and noflush only, and
	 * answers EIO to any other flag: Linux fs/fuse/passthrough.c, FOPEN_PASSTHROUGH_MASK. */
	if (info->backing_id > 0)
		info->keep_cache = info->nonseekable = info->cache_readdir = 0;
}

/* Replies with what the handler collected in @data, and ends the call.  With a release function the handler's
 * data are still in use while the reply is made: then one worker's turn lasts until they are let go. */
void ll_reply_data(struct call *call, int err, struct llfuse_data *data)
{
	bool is_held = data->release;

	if (!is_held)
		ll_call_end(call, err);
	if (err)
		ll_reply_status(call, err);
	else
		(void)ll_data_reply(data);
	ll_data_done(data);
	if (is_held)
		ll_call_end(call, err);
}

struct llfuse_session *llfuse_request_session(const struct llfuse_request *req)
{
	const struct call *call = req->internal;

	return call ? call->session : NULL;
}

bool llfuse_interrupted(const struct llfuse_request *req)
{
	const struct call *call = req->internal;

	if (!call)
		return false;
	return ll_loop_is_over(call->session) || (call->fuse && fuse_req_interrupted(call->fuse));
}
