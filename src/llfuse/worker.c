/* SPDX-License-Identifier: MIT */
/*
 * The threads that answer requests.  Those that read /dev/fuse are loop.c's, those of the rings
 * libfuse's; this file gives each one a struct worker before it answers its first request, and
 * keeps it until the session ends.
 */
#include <stdlib.h>

#include "internal.h"

static _Thread_local struct {
	uint64_t session_id; /* 0: none yet */
	struct worker *worker;
} current;

static pthread_key_t at_exit_key;
static bool has_key; /* without one, nobody takes a worker over */
static pthread_once_t at_exit_once = PTHREAD_ONCE_INIT;

/* The last owner frees. */
static void drop(void *arg)
{
	struct worker *worker = arg;

	if (atomic_fetch_sub(&worker->owners, 1) > 1)
		return;
	pthread_mutex_destroy(&worker->yielding.lock);
	free(worker->scratch);
	free(worker->counted);
	free(worker->spare_open);
	ll_reserve_done(worker);
	free(worker);
}

/* By the thread itself. */
static void leave(void *arg)
{
	struct worker *worker = arg;

	ll_yielding_forget_thread(&worker->yielding);
	drop(worker);
}

static void make_key(void)
{
	has_key = !pthread_key_create(&at_exit_key, leave);
}

static struct worker *make_locked(struct llfuse_session *session, unsigned owners)
{
	struct worker *worker = calloc(1, sizeof(*worker));

	if (!worker)
		return NULL;
	atomic_init(&worker->owners, owners);
	ll_yielding_init(&worker->yielding);
	worker->next = session->workers;
	session->workers = worker;
	return worker;
}

/* Takes over from a thread that has ended, counters included, or makes one. */
static struct worker *find_or_make_locked(struct llfuse_session *session, bool is_reader)
{
	for (struct worker *worker = session->workers; worker; worker = worker->next) {
		unsigned one = 1;

		if (is_reader && worker->is_for_ring)
			continue;
		if (atomic_compare_exchange_strong(&worker->owners, &one, 2))
			return worker;
	}
	return make_locked(session, 2);
}

int ll_workers_reserve(struct llfuse_session *session, size_t n)
{
	int err = 0;

	pthread_mutex_lock(&session->workers_lock);
	for (size_t i = 0; i < n && !err; i++) {
		struct worker *worker = make_locked(session, 1);

		if (worker)
			worker->is_for_ring = true;
		if (!worker || ll_opens_reserve(worker) || ll_dir_reserve(worker))
			err = -ENOMEM;
	}
	pthread_mutex_unlock(&session->workers_lock);
	return err;
}

/* libfuse ends its ring threads with pthread_cancel().  A handler that is cut off in the
 * middle would keep its locks for ever, so a thread that answers requests cannot be
 * cancelled (L3); a ring thread also ends by the event that libfuse sends it, and loop.c lets its
 * own be cancelled while they wait for the next request. */
static struct worker *enlist(struct llfuse_session *session, bool is_reader)
{
	struct worker *worker;

	(void)pthread_once(&at_exit_once, make_key);
	(void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	if (session->handles_signals)
		ll_signals_block();
	pthread_mutex_lock(&session->workers_lock);
	worker = find_or_make_locked(session, is_reader);
	pthread_mutex_unlock(&session->workers_lock);
	if (!worker)
		return NULL;
	if (current.worker)
		leave(current.worker); /* of a session before this one */
	/* If it fails, nobody takes the worker over. */
	if (has_key && !pthread_setspecific(at_exit_key, worker))
		ll_yielding_follow_thread(&worker->yielding);
	current.session_id = session->id;
	current.worker = worker;
	return worker;
}

/* NULL if there is no memory for it. */
struct worker *ll_worker_current(struct llfuse_session *session)
{
	if (current.session_id == session->id)
		return current.worker;
	return enlist(session, false);
}

struct worker *ll_worker_of_reader(struct llfuse_session *session)
{
	return enlist(session, true);
}

void *ll_worker_scratch(struct worker *worker, size_t size)
{
	if (size > worker->scratch_size) {
		void *larger = malloc(size);

		if (!larger)
			return NULL;
		free(worker->scratch);
		worker->scratch = larger;
		worker->scratch_size = size;
	}
	return worker->scratch;
}

/* Only the owning thread writes: no read-modify-write instruction is needed. */
static void add_one(_Atomic uint64_t *counter)
{
	uint64_t value = atomic_load_explicit(counter, memory_order_relaxed);

	atomic_store_explicit(counter, value + 1, memory_order_relaxed);
}

static unsigned latency_bucket(uint64_t elapsed_ns)
{
	unsigned bucket = elapsed_ns ? 63u - (unsigned)__builtin_clzll(elapsed_ns) : 0;

	return bucket < LLFUSE_LATENCY_BUCKETS ? bucket : LLFUSE_LATENCY_BUCKETS - 1;
}

void ll_worker_count(struct worker *worker, enum llfuse_op op, bool is_error, uint64_t elapsed_ns)
{
	struct op_counters *counters = &worker->op[op];

	add_one(&counters->count);
	if (is_error)
		add_one(&counters->errors);
	add_one(&counters->latency[latency_bucket(elapsed_ns)]);
}

void ll_workers_free(struct llfuse_session *session)
{
	while (session->workers) {
		struct worker *worker = session->workers;

		session->workers = worker->next;
		drop(worker);
	}
}
