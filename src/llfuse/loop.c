/* SPDX-License-Identifier: MIT */
/*
 * The threads that read /dev/fuse.  libfuse's own loop gives up the session when a thread finds no memory to read
 * into.  Here a thread that cannot be had is done without, and tried again later.
 *
 * The thread in llfuse_main() makes readers, one whenever the last idle one got a request, and takes away those that
 * have ended.  A reader has all that it needs before it takes its first request from the kernel.  How large its buffer
 * must be is known to libfuse alone, so that libfuse makes the buffer, in the first call; one that gets none ends.
 * The buffers fit for good: libfuse lets INIT raise the size of requests only for buffers that it can make anew.
 *
 * Once requests come over io_uring nothing but forgets comes here, for which nobody waits.  One reader takes them, and
 * lets some come together: the kernel gives out many at once, and is woken for each otherwise.
 */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "internal.h"

enum {
	RETRY_MS = 100, /* after a reader could not be made */
	NO_MEMORY_MS = 10, /* after the kernel had no memory for a read */
	FORGETS_MS = 1, /* between reads where nothing but forgets is read */
};

struct reader {
	struct reader *next;
	struct llfuse_session *session;
	pthread_t thread;
	struct worker *worker;
	struct fuse_buf buf; /* without memory until the first receive() */
	_Atomic bool has_ended;
	int err; /* once has_ended: 0, -ENOMEM if it found no memory, or what the read failed with */
};

void ll_loop_init(struct loop *loop)
{
	sem_init(&loop->events, 0, 0);
}

void ll_loop_done(struct loop *loop)
{
	sem_destroy(&loop->events);
}

void ll_loop_stop(struct llfuse_session *session)
{
	atomic_store(&session->is_stopping, true);
	sem_post(&session->loop.events);
}

bool ll_loop_is_over(const struct llfuse_session *session)
{
	return atomic_load(&session->is_stopping) || fuse_session_exited(session->fuse);
}

static bool has_rings(const struct llfuse_session *session)
{
	return atomic_load(&session->transport) == LLFUSE_TRANSPORT_IO_URING;
}

/* How many readers there may be.  Where handlers take turns (L2), a second one: while the first is in a handler it learns of
 * interrupts and of the end of the session. */
static unsigned readers_max(const struct llfuse_session *session)
{
	if (has_rings(session))
		return 1;
	return session->is_serial ? 2 : session->n_workers;
}

/* --- A reader ------------------------------------------------------------------------------- */

/* What stands in the way of a read for the moment; false if it is more than that. */
static bool wait_out(const struct reader *reader, int err)
{
	struct pollfd device = {.fd = fuse_session_fd(reader->session->fuse), .events = POLLIN};

	switch (err) {
	case -EINTR:
		return true;
	case -EAGAIN: /* a descriptor that was handed to us and does not block */
		(void)poll(&device, 1, -1);
		return true;
	case -ENOMEM:
		if (reader->buf.mem)
			ll_sleep_ms(NO_MEMORY_MS);
		return reader->buf.mem;
	}
	return false;
}

/* Waits for the next request.  Returns its size, 0 at the end of the session, or -errno; -ENOMEM means that there is
 * no buffer, and none can be had.  The thread can be cancelled only in here, where it has no request (L3). */
static int receive(struct reader *reader)
{
	struct fuse_session *fuse = reader->session->fuse;
	int n;

	(void)pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
	do
		n = fuse_session_receive_buf(fuse, &reader->buf);
	while (n < 0 && !fuse_session_exited(fuse) && wait_out(reader, n));
	(void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	/* An unmount that meets a read half-way gives it this in place of the ENODEV that libfuse waits for:
	 * Linux fs/fuse/dev.c, fuse_dev_do_read(). */
	if (n == -ECONNABORTED) {
		fuse_session_exit(fuse);
		return 0;
	}
	return n;
}

/* The last idle reader has a request: the next request needs another.  Not before INIT is answered, for until then
 * there is none. */
static void ask_for_another(struct llfuse_session *session)
{
	struct loop *loop = &session->loop;

	if (atomic_load(&session->is_initialized) && atomic_load(&loop->n_readers) < readers_max(session) &&
	    !atomic_exchange(&loop->is_asked, true))
		sem_post(&loop->events);
}

/* Whether as many as are wanted are idle without the calling reader.  One is wanted in any case. */
static bool is_surplus(const struct llfuse_session *session)
{
	unsigned idle = atomic_load(&session->loop.n_idle);

	return idle && (idle >= session->max_idle_threads || has_rings(session));
}

/* As receive(), with the memory for all requests that follow. */
static int receive_first(struct reader *reader)
{
	int n;

	reader->worker = ll_worker_of_reader(reader->session);
	if (!reader->worker || ll_reserve_init(reader->worker))
		return -ENOMEM;
	ll_log_demote(true); /* that there is no buffer is told by who misses the reader */
	n = receive(reader);
	ll_log_demote(false);
	return n;
}

/* Answers requests until the session ends, or one reader less will do.  Returns 0 or what reader.err says. */
static int answer(struct reader *reader)
{
	struct llfuse_session *session = reader->session;
	struct loop *loop = &session->loop;
	int n = receive_first(reader);

	while (n > 0) {
		if (atomic_fetch_sub(&loop->n_idle, 1) == 1)
			ask_for_another(session);
		ll_reserve_lend(session, reader->worker);
		fuse_session_process_buf(session->fuse, &reader->buf);
		ll_reserve_take_back(session, reader->worker);
		if (fuse_session_exited(session->fuse) || is_surplus(session))
			return 0;
		atomic_fetch_add(&loop->n_idle, 1);
		if (has_rings(session))
			ll_sleep_ms(FORGETS_MS);
		n = receive(reader);
	}
	atomic_fetch_sub(&loop->n_idle, 1);
	return n;
}

static void *run_reader(void *arg)
{
	struct reader *reader = arg;

	(void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	(void)pthread_setname_np(pthread_self(), "fuse-dev");
	reader->err = answer(reader);
	atomic_store(&reader->has_ended, true);
	sem_post(&reader->session->loop.events);
	return NULL;
}

/* --- The thread in llfuse_main(), to which the list of readers belongs ----------------------- */

static int make_reader(struct llfuse_session *session)
{
	struct loop *loop = &session->loop;
	struct reader *reader = calloc(1, sizeof(*reader));
	int err;

	if (!reader)
		return -ENOMEM;
	reader->session = session;
	atomic_fetch_add(&loop->n_readers, 1);
	atomic_fetch_add(&loop->n_idle, 1);
	err = ll_thread_start(&reader->thread, run_reader, reader);
	if (err) {
		atomic_fetch_sub(&loop->n_idle, 1);
		atomic_fetch_sub(&loop->n_readers, 1);
		free(reader);
		return err;
	}
	reader->next = loop->readers;
	loop->readers = reader;
	return 0;
}

static void join_reader(struct loop *loop, struct reader *reader)
{
	pthread_join(reader->thread, NULL);
	atomic_fetch_sub(&loop->n_readers, 1);
	free(reader->buf.mem);
	free(reader);
}

/* Takes away the readers that have ended.  Returns 0, or what one of them ended with. */
static int take_away_ended(struct loop *loop)
{
	struct reader **at = &loop->readers;
	int err = 0;

	while (*at) {
		struct reader *reader = *at;

		if (!atomic_load(&reader->has_ended)) {
			at = &reader->next;
			continue;
		}
		*at = reader->next;
		if (!err || err == -ENOMEM)
			err = reader->err ? reader->err : err;
		join_reader(loop, reader);
	}
	return err;
}

/* Also asks itself: who took a request just when another reader ended saw no need. */
static bool is_another_wanted(const struct llfuse_session *session)
{
	const struct loop *loop = &session->loop;

	return atomic_load(&loop->n_readers) < readers_max(session) &&
	       (atomic_load(&loop->is_asked) || !atomic_load(&loop->n_idle));
}

/* What was asked for in vain stays asked for, so that the readers do not ask again meanwhile. */
static int add_readers(struct llfuse_session *session)
{
	while (is_another_wanted(session)) {
		int err = make_reader(session);

		if (err)
			return err;
		atomic_store(&session->loop.is_asked, false);
	}
	return 0;
}

/* Until it is time to try again, whatever else happens; but not longer than the session. */
static void pause_or_end(struct llfuse_session *session)
{
	struct timespec until = deadline_after_ms(RETRY_MS);

	while (!ll_loop_is_over(session))
		if (sem_clockwait(&session->loop.events, CLOCK_MONOTONIC, &until) < 0 && errno != EINTR)
			return;
}

static void log_shortage(const struct llfuse_session *session, enum llfuse_log_level level, int err)
{
	llfuse_log(level, session->name, "cannot make thread %u for requests: %s",
		   atomic_load(&session->loop.n_readers) + 1, strerror(-err));
}

/* Until the session ends, or right at its start there can be no reader.  From INIT on, a reader that is missed, even if
 * it is the only one, is no reason to end.  Returns 0, or -errno, and has logged it. */
static int keep_readers(struct llfuse_session *session)
{
	struct loop *loop = &session->loop;
	bool has_told = false;
	int err;

	if (ll_loop_is_over(session))
		return 0;
	err = make_reader(session);
	while (loop->readers || atomic_load(&session->is_initialized)) {
		if (err)
			pause_or_end(session);
		else
			(void)sem_wait(&loop->events); /* if it is cut short, nothing is found to do */
		if (ll_loop_is_over(session))
			return 0;
		err = take_away_ended(loop);
		if (err == -ENOMEM) {
			atomic_store(&loop->is_asked, true); /* for the one that was made in vain */
		} else if (err) {
			llfuse_log(LLFUSE_LOG_ERROR, session->name, "cannot read requests: %s", strerror(-err));
			return err;
		} else {
			err = add_readers(session);
		}
		if (err && loop->readers && !has_told) {
			log_shortage(session, LLFUSE_LOG_WARNING, err);
			has_told = true;
		}
	}
	log_shortage(session, LLFUSE_LOG_ERROR, err);
	return err;
}

static void end_readers(struct loop *loop)
{
	for (struct reader *reader = loop->readers; reader; reader = reader->next)
		pthread_cancel(reader->thread);
	while (loop->readers) {
		struct reader *reader = loop->readers;

		loop->readers = reader->next;
		join_reader(loop, reader);
	}
}

/* The threads of the rings are ended by a loop of libfuse's own and by nothing else.  This one reads nothing, for the
 * session has exited.  Returns the error that libfuse came upon, or 0. */
static int end_rings(struct llfuse_session *session)
{
	int err = fuse_session_loop(session->fuse);

	if (err >= 0 || err == -ECONNABORTED)
		return 0;
	llfuse_log(LLFUSE_LOG_ERROR, session->name, "the connection to the kernel failed: %s", strerror(-err));
	return err;
}

int ll_loop_run(struct llfuse_session *session)
{
	int libfuse_err;
	int err;

	ll_guard_start(session);
	err = keep_readers(session);
	if (!err)
		ll_notify_end(session);
	ll_guard_stop(session);
	fuse_session_exit(session->fuse);
	end_readers(&session->loop);
	libfuse_err = end_rings(session);
	return err ? err : libfuse_err;
}
