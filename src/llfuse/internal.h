/* SPDX-License-Identifier: MIT */
/*
 * What the files of the library share.  Nothing here is seen by a file system;
 * this is the one header that includes libfuse.  Functions begin with ll_, so that
 * they meet no name of a program that has the library linked in.
 */
#ifndef LLFUSE_INTERNAL_H
#define LLFUSE_INTERNAL_H

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 18)
#include <fuse_lowlevel.h>
#include <fuse_opt.h>

#include "deadline.h"
#include "llfuse.h"

/* FUSE_OPT_KEY, in a form that clang does not take for a mistake. */
#define OPTION_KEY(template, key)                                                                                      \
	{                                                                                                              \
		(template), (unsigned long)-1U, (key)                                                                  \
	}

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

static inline uint64_t ll_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

/* Less than a second, and less than that if it is cut short. */
static inline void ll_sleep_ms(long ms)
{
	struct timespec time = {.tv_nsec = ms * 1000000};

	(void)nanosleep(&time, NULL);
}

/* Memory for when there is no other: see reserve.c. */
struct reserve {
	void *blocks[8];
	unsigned n_blocks;
	void *rest; /* what libfuse left of one that is lent to it */
	bool is_lent;
};

/* When the thread of a ring may yield: see yielding.c. */
struct pace {
	uint64_t last_ns; /* the last request */
	unsigned streak; /* how many came each soon after the one before */
	uint64_t begin_ns; /* since then it yields, or did last */
	uint64_t pause_ns, pause_end_ns; /* after it was starved */
};

struct yielding {
	_Atomic int state;
	_Atomic uint64_t n_requests;
	pthread_mutex_t lock; /* held by the guard while it acts on the thread */
	pid_t tid; /* guarded by lock; 0: there is no thread, or its end would not be noticed */
	long sleeps; /* the guard writes it while the thread yields, the thread uses it while it does not */
	/* of the guard */
	uint64_t seen, seen_ns;
	/* of the thread */
	struct pace pace;
};

/* The thread that decides who yields. */
struct guard {
	pthread_t thread;
	bool is_running;
	sem_t events; /* posted when somebody asks, or it shall stop */
	_Atomic bool is_stopping;
	_Atomic bool may_yield; /* it was tried, and there is a guard */
};

/* One thread that answers requests of one session: its counters, written by it alone and
 * read by anyone, and memory that it uses again for each request. */
struct worker {
	_Atomic unsigned owners; /* the session, and the thread while it lives: at 1 another may take it */
	struct worker *next; /* guarded by session.workers_lock; never removed before the session's end */
	bool is_for_ring; /* fixed: kept from the threads that read /dev/fuse */
	struct op_counters {
		_Atomic uint64_t count;
		_Atomic uint64_t errors;
		_Atomic uint64_t latency[LLFUSE_LATENCY_BUCKETS];
	} op[LLFUSE_OP_COUNT];

	void *scratch;
	size_t scratch_size;
	uint64_t *counted; /* inodes of a readdirplus answer, to be given back if it does not arrive */
	size_t counted_capacity;
	struct open_file *spare_open; /* for the next open: see opens.c */
	struct reserve reserve; /* of a thread that reads /dev/fuse */
	struct yielding yielding; /* of the thread of a ring */
};

/* How the open files of one inode do their I/O: see passthrough.c. */
struct io_mode;

struct io_mode_shard {
	pthread_mutex_t lock;
	struct io_mode **buckets;
	size_t n_buckets; /* a power of two, or 0 */
	size_t n_modes;
};

struct io_mode_table {
	struct io_mode_shard shards[16];
	pthread_mutex_t orphans_lock;
	int *orphans; /* backing ids that wait for a request to be closed with */
	_Atomic size_t n_orphans; /* may be read without the lock */
};

/* What is open now: see opens.c. */
struct open_file;

struct open_shard {
	pthread_mutex_t lock;
	struct open_file **buckets;
	size_t n_buckets; /* a power of two */
	size_t n_opens;
	struct open_file *first_buckets[16];
};

struct open_table {
	struct open_shard shards[16];
};

/* The threads that read /dev/fuse: see loop.c. */
struct reader;

struct loop {
	sem_t events; /* posted when the thread in llfuse_main() has something to do */
	_Atomic unsigned n_readers;
	_Atomic unsigned n_idle; /* of them: those without a request */
	_Atomic bool is_asked; /* for one more reader */
	struct reader *readers; /* belongs to the thread in llfuse_main() */
};

/* The process that unmounts, and waits, in our place: see unmounter.c.  All zero: there is none. */
struct unmounter {
	bool is_started; /* what follows is fixed from then on */
	pid_t pid;
	int fds[2]; /* a pipe to it */
	int reply_fd; /* from it */
	bool is_lost; /* of who asks it: it gave no answer.  Questions that nobody reads would fill the pipe. */
	bool has_ended; /* of who ends it */
};

/* The thread that stops a session that a signal is to stop: see writeback.c. */
struct stopper {
	pthread_mutex_t lock;
	/* guarded by lock */
	bool has_thread;
	uint64_t begun_ns; /* if it has */
	pthread_t thread;
};

struct llfuse_session {
	/* Fixed before the mount; need no lock. */
	struct llfuse_ops ops;
	void *userdata;
	char *name;
	uint64_t id; /* tells sessions of one process apart, also one after another */
	unsigned n_workers;
	unsigned max_idle_threads;
	bool is_serial;
	unsigned max_read;
	unsigned ring_depth;
	unsigned max_background; /* from init on */
	bool no_enosys; /* the same */
	enum llfuse_transport wanted_transport; /* DEV_FUSE from INIT on, if the kernel offers nothing else */
	bool may_yield;
	bool handles_signals;
	struct llfuse_session *next_for_signals; /* guarded by the lock in signals.c */

	struct fuse_session *fuse;
	char *mountpoint; /* absolute; NULL where somebody else has mounted */
	uint64_t mount_id; /* of our mount; 0: not known */
	struct unmounter unmounter;
	bool unmounts_from_outside; /* by that */
	pthread_mutex_t writeback_lock; /* held while the kernel writes back for us */

	pthread_mutex_t serial_lock; /* is_serial: held while a handler runs.  Innermost of nothing: no
				      * other lock of the library is held when it is taken. */

	_Atomic uint32_t caps;
	_Atomic int init_error; /* -errno: what the init handler ended the session with */
	_Atomic bool is_initialized;
	_Atomic bool is_stopping; /* told to: see ll_loop_stop() */
	_Atomic bool is_closed_for_notify;
	_Atomic unsigned n_notifying; /* calls under way */
	_Atomic uint64_t n_written_back; /* pages that the kernel wrote back: requests that have come */
	_Atomic unsigned n_writing_back; /* of them: under way */
	_Atomic int transport;

	pthread_mutex_t workers_lock;
	struct worker *workers; /* guarded by workers_lock for writing; readers start at the head */

	_Atomic unsigned n_lent; /* reserves that are lent now */
	struct loop loop;
	struct guard guard;
	struct stopper stopper;
	struct io_mode_table io_modes;
	struct open_table opens;
};

/* loop.c */
void ll_loop_init(struct loop *loop);
void ll_loop_done(struct loop *loop);
/* Answers requests until the session ends; the threads of the rings have ended then, too.  Returns 0 or -errno. */
int ll_loop_run(struct llfuse_session *session);
/* From any thread, also before ll_loop_run(). */
void ll_loop_stop(struct llfuse_session *session);
/* Told to stop, or unmounted.  Any thread. */
bool ll_loop_is_over(const struct llfuse_session *session);

/* yielding.c */
void ll_guard_init(struct guard *guard);
void ll_guard_done(struct guard *guard);
/* Around all that answers requests.  Without a guard no thread yields. */
void ll_guard_start(struct llfuse_session *session);
void ll_guard_stop(struct llfuse_session *session);
/* The calling thread, which is a ring's, has got a request. */
void ll_yielding_request(struct llfuse_session *session, struct worker *worker, uint64_t now_ns);
void ll_yielding_init(struct yielding *yielding);
/* By the thread, when it begins, if it will end as follows. */
void ll_yielding_follow_thread(struct yielding *yielding);
/* By the thread that ends: its id may be another's soon. */
void ll_yielding_forget_thread(struct yielding *yielding);
/* Returns whether the thread is to ask now. */
bool ll_pace_request(struct pace *pace, uint64_t now_ns);
/* While it yielded, a request had to wait for the thread. */
void ll_pace_starved(struct pace *pace, uint64_t now_ns);

/* worker.c */
struct worker *ll_worker_current(struct llfuse_session *session);
/* The same for a thread that reads /dev/fuse, in its first call. */
struct worker *ll_worker_of_reader(struct llfuse_session *session);
/* So that the next @n threads of rings need no memory for theirs, nor for a first listing.  Returns 0 or -ENOMEM. */
int ll_workers_reserve(struct llfuse_session *session, size_t n);
void *ll_worker_scratch(struct worker *worker, size_t size);
void ll_worker_count(struct worker *worker, enum llfuse_op op, bool is_error, uint64_t elapsed_ns);
void ll_workers_free(struct llfuse_session *session);

/* reserve.c: for the threads that read /dev/fuse. */
/* Also what a listing needs.  Returns 0 or -ENOMEM. */
int ll_reserve_init(struct worker *worker);
void ll_reserve_done(struct worker *worker);
/* Before libfuse takes up a request, once it has, and when it is done with it. */
void ll_reserve_lend(struct llfuse_session *session, struct worker *worker);
void ll_reserve_keep_rest(struct llfuse_session *session, struct worker *worker);
void ll_reserve_take_back(struct llfuse_session *session, struct worker *worker);
/* Whether memory is so short that a request of this type is answered ENOMEM.  Any thread. */
bool ll_reserve_refuses(const struct llfuse_session *session, enum llfuse_op op);

/* dispatch.c: the table for libfuse, with a function for each handler that is set. */
void ll_dispatch_table(const struct llfuse_ops *ops, struct fuse_lowlevel_ops *table);

/* conn.c: INIT. */
void ll_conn_init(void *userdata, struct fuse_conn_info *info);
void ll_conn_destroy(void *userdata);

/* data.c */
enum { DATA_INLINE_SEGMENTS = 8 };

struct data_segment {
	const void *bytes; /* NULL with fd -1: zeros */
	int fd;
	off_t off;
	size_t n;
};

struct llfuse_data {
	size_t size; /* what may be answered at most */
	void *room;
	size_t filled;
	fuse_req_t req; /* NULL when made up */
	struct worker *worker; /* NULL when made up */
	struct data_segment inline_segments[DATA_INLINE_SEGMENTS];
	struct data_segment *segments;
	size_t n_segments, max_segments;
	size_t total; /* sum of segments' n */
	void (*release)(void *arg);
	void *release_arg;
};

void ll_data_init(struct llfuse_data *data, fuse_req_t req, struct worker *worker, size_t size);
/* The length of the answer, at most data->size; a file shorter than said makes it shorter when sent. */
size_t ll_data_length(const struct llfuse_data *data);
/* Whether more was collected than may be answered. */
bool ll_data_is_cut(const struct llfuse_data *data);
/* Sends what was collected as the answer to data->req.  Returns what libfuse's reply gave. */
int ll_data_reply(struct llfuse_data *data);
void ll_data_done(struct llfuse_data *data);

/* dir.c */
struct llfuse_dir {
	fuse_req_t req; /* NULL when made up */
	char *buf;
	size_t size, used;
	bool wants_attr;
	bool is_too_small; /* for the first entry */
	uint64_t *counted;
	size_t n_counted;
	struct dir_record *records; /* when made up */
	size_t n_records, max_records;
};

/* So that a listing needs no memory.  Returns 0 or -ENOMEM. */
int ll_dir_reserve(struct worker *worker);
/* Room for @size bytes of answer to @req, or for fewer.  Returns 0 or -ENOMEM. */
int ll_dir_init(struct llfuse_dir *dir, fuse_req_t req, struct worker *worker, size_t size, bool wants_attr);
void ll_entry_to_fuse(const struct llfuse_entry *entry, struct fuse_entry_param *param);

/* passthrough.c */
void ll_io_modes_init(struct io_mode_table *table);
void ll_io_modes_done(struct io_mode_table *table);
/* Decides how an open of @ino that has just been answered by the handler does its I/O, and
 * registers its backing file if it is to.  Returns the backing id to answer with, or 0. */
int ll_io_mode_open(struct llfuse_session *session, fuse_req_t req, uint64_t ino, const struct llfuse_file *file);
/* @req NULL: it has been answered already, and libfuse cannot use it any more. */
void ll_io_mode_release(struct llfuse_session *session, fuse_req_t req, uint64_t ino);
/* Closes what llfuse_backing_close() could not, for want of a request.  After a handler that may have freed files. */
void ll_close_backings(struct llfuse_session *session, fuse_req_t req);

/* opens.c */
void ll_opens_init(struct open_table *table);
void ll_opens_done(struct open_table *table);
/* Before the handler opens, so that the open can be remembered.  Returns 0 or -ENOMEM. */
int ll_opens_reserve(struct worker *worker);
/* After a successful ll_opens_reserve() and before the reply: the release may come at once. */
void ll_opens_add(struct llfuse_session *session, struct worker *worker, uint64_t ino, const struct llfuse_file *file,
		  bool is_dir);
void ll_opens_remove(struct llfuse_session *session, uint64_t ino, const struct llfuse_file *file, bool is_dir);
/* Once no thread answers requests any more: releases what is still open. */
void ll_opens_release_all(struct llfuse_session *session);

/* options.c */
/* Of mount(8), fstab(5) or systemd, and without meaning to FUSE. */
bool ll_option_is_ignored(const char *option);

/* log.c */
/* So that ll_log_to_syslog() and the time in each line need no file any more. */
void ll_log_prepare(const char *ident, bool to_syslog);
void ll_log_to_syslog(void);
void ll_log_capture_libfuse(void);
/* While true, libfuse's messages of this thread are kept back; the first error is remembered. */
void ll_log_hold(bool is_held);
const char *ll_log_held_error(void);
/* While true, libfuse's errors of this thread are only worth a debug line. */
void ll_log_demote(bool is_demoted);

/* signals.c */
/* From here to ll_signals_leave() a signal stops @session, if only as soon as its main runs.
 * Returns 0 or -errno. */
int ll_signals_enter(struct llfuse_session *session);
/* Nothing for a session that did not enter. */
void ll_signals_leave(struct llfuse_session *session);
/* Around the loop of a session.  Returns 0 or -errno. */
int ll_signals_start(void);
void ll_signals_stop(void);
/* Of the calling thread. */
void ll_signals_block(void);
/* A thread that takes no signals, from its first moment on.  Returns 0 or -errno. */
int ll_thread_start(pthread_t *thread, void *(*run)(void *), void *arg);

/* notify.c */
/* The loop waits for the calls under way before its threads stop answering: L14.  Returns whether there may be a call,
 * which ll_notify_leave() then ends: it returns @result. */
bool ll_notify_enter(struct llfuse_session *session);
int ll_notify_leave(struct llfuse_session *session, int result);
/* From here on there are none, and those under way have returned.  While requests are still answered: a call may wait for
 * one. */
void ll_notify_end(struct llfuse_session *session);
/* With libfuse's @handle, which llfuse_poll_free() destroys.  NULL if there is no memory: then it is still the caller's. */
struct llfuse_poll *ll_poll_new(struct llfuse_session *session, struct fuse_pollhandle *handle);

/* cpus.c: before a program may have left /sys behind. */
void ll_cpus_remember(void);

/* proc.c: for a @path that begins with "/proc/". */
/* The directory that @path is to be looked up in; @path is then the name there. */
int ll_proc_at(const char **path);
int ll_proc_open(const char *path, int flags);
FILE *ll_proc_fopen(const char *path);

/* unmounter.c */
/* Once mounted, by ourselves.  Returns 0 or -errno. */
int ll_unmounter_start(struct unmounter *unmounter, const struct llfuse_session *session);
/* As ll_writeback_round(), by that process; -EPIPE if it has ended.  One caller at a time. */
int ll_unmounter_writeback_round(struct unmounter *unmounter);
/* Lets it unmount, or not, and waits for its end, which may take until the connection is closed.  Returns false if the mount is
 * still there though it should not. */
bool ll_unmounter_end(struct unmounter *unmounter, bool unmount);
/* Once nobody asks it anything any more. */
void ll_unmounter_done(struct unmounter *unmounter);

/* writeback.c */
void ll_stopper_init(struct stopper *stopper);
void ll_stopper_done(struct stopper *stopper);
/* Lets the kernel write back what it has of files, and then stops the session; at once if it has done so for a second already,
 * and the caller is not @is_patient.  Does not wait. */
void ll_stopper_begin(struct llfuse_session *session, bool is_patient);
/* Waits for the thread.  Once the connection has ended, so that it waits for no answer, and nobody can call
 * ll_stopper_begin() any more. */
void ll_stopper_end(struct llfuse_session *session);
/* What is done in one go, by a process that does not hold the connection's descriptor, nor our memory.  Allocates nothing.
 * Returns 0, -ENOENT if the mount is not to be found there, or -errno. */
int ll_writeback_round(const char *mountpoint, uint64_t mount_id);

/* mount.c */
int ll_mount_session(struct llfuse_session *session, const struct llfuse_config *config);
/* Unmounts what it mounted, also if the connection is severed already. */
void ll_unmount_session(struct llfuse_session *session);
/* What the kernel knows without a request to us; 0 if it does not. */
uint64_t ll_mount_id_of(const char *path);
/* Makes @path where the mount @id is: @mountpoint, where it was first, or where the rename of a directory above has taken it.
 * Returns 0, -ENOENT if it is nowhere, or the kernel does not tell (before Linux 6.8), or -EBUSY if another one lies over it, or
 * no path leads to it.  Allocates nothing. */
int ll_find_mount(const char *mountpoint, uint64_t id, char path[PATH_MAX]);
/* Detaches the mount @id, which was at @mountpoint first, and no other: one that lies below another stays.  Returns whether it is
 * gone.  Allocates nothing. */
bool ll_unmount_by_id(const char *mountpoint, uint64_t id);

#endif
