/* SPDX-License-Identifier: MIT */
/* INIT: what the kernel offers, what the file system wants, and what both agree on. */
#include <sys/sysinfo.h>
#include <unistd.h>

#include "internal.h"

enum {
	WRITE_MIN = 8192,
	/* Requests under way that nobody waits for: the kernel's 12 are soon taken by reading ahead. */
	BACKGROUND = 512,
};

static const struct {
	enum llfuse_cap cap;
	uint64_t fuse;
} caps[] = {
	{LLFUSE_CAP_WRITEBACK_CACHE, FUSE_CAP_WRITEBACK_CACHE},
	{LLFUSE_CAP_PASSTHROUGH, FUSE_CAP_PASSTHROUGH},
	{LLFUSE_CAP_HANDLE_KILLPRIV_V2, FUSE_CAP_HANDLE_KILLPRIV_V2},
	{LLFUSE_CAP_POSIX_ACL, FUSE_CAP_POSIX_ACL},
	{LLFUSE_CAP_EXPORT_SUPPORT, FUSE_CAP_EXPORT_SUPPORT},
	{LLFUSE_CAP_DONT_MASK, FUSE_CAP_DONT_MASK},
	{LLFUSE_CAP_CACHE_SYMLINKS, FUSE_CAP_CACHE_SYMLINKS},
	{LLFUSE_CAP_PARALLEL_DIROPS, FUSE_CAP_PARALLEL_DIROPS},
	{LLFUSE_CAP_EXPLICIT_INVAL_DATA, FUSE_CAP_EXPLICIT_INVAL_DATA},
	{LLFUSE_CAP_DIRECT_IO_ALLOW_MMAP, FUSE_CAP_DIRECT_IO_ALLOW_MMAP},
	{LLFUSE_CAP_ATOMIC_O_TRUNC, FUSE_CAP_ATOMIC_O_TRUNC},
	{LLFUSE_CAP_EXPIRE_ONLY, FUSE_CAP_EXPIRE_ONLY},
};

static uint32_t capable_of(const struct fuse_conn_info *info)
{
	uint32_t capable = 0;

	for (size_t i = 0; i < ARRAY_SIZE(caps); i++)
		if (info->capable_ext & caps[i].fuse)
			capable |= (uint32_t)caps[i].cap;
	if (!llfuse_passthrough_is_permitted())
		capable &= ~(uint32_t)LLFUSE_CAP_PASSTHROUGH;
	return capable;
}

/* What suits every file system.  Without an open handler the kernel never sends open, so that
 * it must not leave the truncation to it. */
static uint32_t preset(const struct llfuse_session *session)
{
	uint32_t want = LLFUSE_CAP_PARALLEL_DIROPS;

	if (session->ops.open)
		want |= LLFUSE_CAP_ATOMIC_O_TRUNC;
	return want;
}

static void set_feature(struct fuse_conn_info *info, uint64_t feature, bool is_on)
{
	if (is_on)
		(void)fuse_set_feature_flag(info, feature); /* refused, rightly, where the kernel lacks it */
	else
		fuse_unset_feature_flag(info, feature);
}

static void choose_transport(struct llfuse_session *session, struct fuse_conn_info *info)
{
	bool is_offered = info->capable_ext & FUSE_CAP_OVER_IO_URING, is_used;

	if (session->wanted_transport == LLFUSE_TRANSPORT_IO_URING && !is_offered) {
		session->wanted_transport = LLFUSE_TRANSPORT_DEV_FUSE; /* said once is enough */
		llfuse_log(LLFUSE_LOG_WARNING, session->name,
			   "the kernel does not offer io_uring (see /sys/module/fuse/parameters/enable_uring), "
			   "using /dev/fuse");
	}
	is_used = is_offered && session->wanted_transport != LLFUSE_TRANSPORT_DEV_FUSE;
	/* libfuse starts a thread for each CPU.  Later there might be no memory for one that gets a request. */
	if (is_used && ll_workers_reserve(session, (size_t)get_nprocs_conf()))
		is_used = false;
	set_feature(info, FUSE_CAP_OVER_IO_URING, is_used);
	/* libfuse keeps each interrupt until its request comes, which never happens over a ring: it
	 * would pile them up. */
	info->no_interrupt = is_used;
}

/* The kernel refuses the ring, or libfuse's reads, where a request's memory is not a whole number of
 * pages or is below FUSE_MIN_READ_BUFFER. */
static uint32_t whole_pages(uint32_t size)
{
	uint32_t page = (uint32_t)sysconf(_SC_PAGESIZE);

	if (size < WRITE_MIN)
		size = WRITE_MIN;
	return size < UINT16_MAX * page ? (size + page - 1) / page * page : UINT16_MAX * page;
}

static void agree(struct llfuse_session *session, struct fuse_conn_info *info, struct llfuse_conn *conn)
{
	conn->want &= conn->capable;
	if ((conn->want & LLFUSE_CAP_WRITEBACK_CACHE) && (conn->want & LLFUSE_CAP_PASSTHROUGH)) {
		llfuse_log(LLFUSE_LOG_WARNING, session->name,
			   "the writeback cache excludes passthrough: without passthrough");
		conn->want &= ~(uint32_t)LLFUSE_CAP_PASSTHROUGH;
	}
	for (size_t i = 0; i < ARRAY_SIZE(caps); i++)
		set_feature(info, caps[i].fuse, conn->want & (uint32_t)caps[i].cap);
	/* Both say when cached data are to be dropped; the kernel wants one of them. */
	set_feature(info, FUSE_CAP_AUTO_INVAL_DATA, !(conn->want & LLFUSE_CAP_EXPLICIT_INVAL_DATA));
	set_feature(info, FUSE_CAP_NO_OPEN_SUPPORT, !session->ops.open);
	set_feature(info, FUSE_CAP_NO_OPENDIR_SUPPORT, !session->ops.opendir);
	set_feature(info, FUSE_CAP_SPLICE_READ, false); /* needs memory once the request is taken: see loop.c */
	info->max_write = whole_pages(conn->max_write);
	info->max_readahead = conn->max_readahead;
	/* What waits for its turn is not written back when it is asked for: see writeback.c. */
	session->max_background = conn->max_background ? conn->max_background : BACKGROUND;
	info->max_background = info->congestion_threshold = session->max_background;
	info->max_backing_stack_depth = conn->backing_stack_depth ? 1 : 0; /* more: no passthrough at all */
	info->max_read = session->max_read; /* libfuse insists on the mount option's value here too */
}

void ll_conn_init(void *userdata, struct fuse_conn_info *info)
{
	struct llfuse_session *session = userdata;
	struct llfuse_conn conn = {
		.session = session,
		.capable = capable_of(info),
		.max_write = info->max_write,
		.max_readahead = info->max_readahead,
	};

	(void)ll_worker_current(session); /* its side effect: this thread cannot be cancelled inside init */
	conn.want = preset(session) & conn.capable;
	if (session->ops.init)
		session->ops.init(session->userdata, &conn);
	if (conn.no_open) {
		session->ops.open = NULL;
		session->ops.release = NULL;
		conn.want &= ~(uint32_t)LLFUSE_CAP_ATOMIC_O_TRUNC;
	}
	session->no_enosys = conn.no_enosys;
	choose_transport(session, info);
	agree(session, info, &conn);
	llfuse_log(LLFUSE_LOG_DEBUG, session->name, "protocol %u.%u, passthrough %s", info->proto_major,
		   info->proto_minor,
		   conn.want & LLFUSE_CAP_PASSTHROUGH      ? "on"
		   : conn.capable & LLFUSE_CAP_PASSTHROUGH ? "not used"
							   : "not allowed");
	atomic_store(&session->caps, conn.want);
	atomic_store(&session->is_initialized, true);
	if (conn.error) {
		atomic_store(&session->init_error, conn.error);
		llfuse_stop(session);
	}
}

void ll_conn_destroy(void *userdata)
{
	struct llfuse_session *session = userdata;

	ll_opens_release_all(session);
	if (session->ops.destroy)
		session->ops.destroy(session->userdata);
}
