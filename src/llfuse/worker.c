/* SPDX-License-Identifier: MIT */
/*
 * The threads that answer requests.  libfuse makes them; this file gives each one a
 * struct worker when it answers its first request, and keeps it until the session ends.
 */
#include <stdlib.h>

#include "internal.h"

static _Thread_local struct {
	uint64_t session_id; /* 0: none yet */
	struct worker *worker;
} current;

/* libfuse ends its ring threads with pthread_cancel().  A handler that is cut off in the
 * middle would keep its locks for ever, so a thread that answers requests cannot be
 * cancelled; a ring thread also ends by the event that libfuse sends it, and the others
 * are made cancellable again by libfuse while they wait for the next request. */
static struct worker *enlist(struct llfuse_session *session)
{
	struct worker *worker = calloc(1, sizeof(*worker));

	if (!worker)
		return NULL;
	(void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	pthread_mutex_lock(&session->workers_lock);
	worker->next = session->workers;
	session->workers = worker;
	pthread_mutex_unlock(&session->workers_lock);
	current.session_id = session->id;
	current.worker = worker;
	return worker;
}

/* NULL if there is no memory for it. */
struct worker *ll_worker_current(struct llfuse_session *session)
{
	if (current.session_id == session->id)
		return current.worker;
	return enlist(session);
}

void *ll_worker_scratch(struct worker *worker, size_t size)
{
	if (size > worker->scratch_size) {
		free(worker->scratch);
		worker->scratch_size = 0;
		worker->scratch = malloc(size);
		if (!worker->scratch)
			return NULL;
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
		free(worker->scratch);
		free(worker->counted);
		free(worker);
	}
}
