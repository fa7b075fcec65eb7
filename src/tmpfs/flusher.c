/* SPDX-License-Identifier: MIT */
/* The thread that lets the kernel write back.  See flusher.h. */
#include "flusher.h"

#include "deadline.h"
#include "thread.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct flusher {
	struct tree *tree;
	struct llfuse_session *session;
	pthread_t thread;
	/* The thread's. */
	unsigned period_ms; /* fixed once it runs; 0: only who asks */
	struct timespec due;
	int told_err;

	pthread_mutex_t lock;
	pthread_cond_t to_do;
	/* guarded by lock */
	bool is_running, is_stopping;
	uint64_t wanted, done; /* numbers that were given out */
	int err; /* of the last */
};

/* ------------------------------------------------------------------------ */
/* The thread                                                                */

/* In the kernel's plane files that come to us are of interest; while some are open, the mount is busy in any case. */
static bool may_have_something(const struct tree *tree)
{
	return !tree->plane->ops->has_ours || tree->plane->ops->has_ours(tree->plane);
}

/* Returns whether a period is over. */
static bool wait_locked(struct flusher *flusher)
{
	int err = 0;

	while (!err && !flusher->is_stopping && flusher->wanted == flusher->done)
		if (flusher->period_ms)
			err = pthread_cond_clockwait(&flusher->to_do, &flusher->lock, CLOCK_MONOTONIC, &flusher->due);
		else
			err = pthread_cond_wait(&flusher->to_do, &flusher->lock);
	return err == ETIMEDOUT;
}

/* Once for each reason. */
static void tell(struct flusher *flusher, int err)
{
	if (err && err != -ENODEV && err != flusher->told_err) /* -ENODEV: the end */
		llfuse_log(LLFUSE_LOG_WARNING, "tmpfs",
			   "cannot ask the kernel to write back (%s): stores to mappings are committed when it does so",
			   strerror(-err));
	flusher->told_err = err;
}

static void sync_unlocked(struct flusher *flusher)
{
	pthread_mutex_unlock(&flusher->lock);
	if (may_have_something(flusher->tree))
		tell(flusher, llfuse_syncfs(flusher->session));
	flusher->due = deadline_after_ms(flusher->period_ms);
	pthread_mutex_lock(&flusher->lock);
}

static void flush_unlocked(struct flusher *flusher)
{
	const uint64_t number = flusher->wanted;
	int err;

	pthread_mutex_unlock(&flusher->lock);
	err = llfuse_syncfs(flusher->session);
	pthread_mutex_lock(&flusher->lock);
	flusher->done = number;
	flusher->err = err;
}

static void *run(void *arg)
{
	struct flusher *flusher = arg;

	flusher->due = deadline_after_ms(flusher->period_ms);
	pthread_mutex_lock(&flusher->lock);
	while (!flusher->is_stopping) {
		if (wait_locked(flusher))
			sync_unlocked(flusher);
		if (flusher->wanted > flusher->done)
			flush_unlocked(flusher);
	}
	pthread_mutex_unlock(&flusher->lock);
	return NULL;
}

static int start_locked(struct flusher *flusher, unsigned period_ms)
{
	int err;

	flusher->period_ms = period_ms;
	err = thread_start(&flusher->thread, run, flusher);
	flusher->is_running = err == 0;
	if (!err)
		(void)pthread_setname_np(flusher->thread, "flusher");
	return err;
}

/* ------------------------------------------------------------------------ */
/* For others                                                                */

int flusher_start(struct flusher *flusher, unsigned period_ms)
{
	int err;

	pthread_mutex_lock(&flusher->lock);
	err = start_locked(flusher, period_ms);
	pthread_mutex_unlock(&flusher->lock);
	return err;
}

int flusher_begin(struct flusher *flusher, uint64_t *number)
{
	int err = 0;

	*number = 0;
	if (!may_have_something(flusher->tree))
		return 0;
	pthread_mutex_lock(&flusher->lock);
	if (!flusher->is_running)
		err = start_locked(flusher, 0);
	if (!err) {
		*number = ++flusher->wanted;
		pthread_cond_signal(&flusher->to_do);
	}
	pthread_mutex_unlock(&flusher->lock);
	return err;
}

int flusher_look(struct flusher *flusher, uint64_t number)
{
	int err = 0;

	pthread_mutex_lock(&flusher->lock);
	if (number == 0 || number > flusher->wanted)
		err = -EINVAL;
	else if (number > flusher->done)
		err = -EINPROGRESS;
	else
		err = flusher->err;
	pthread_mutex_unlock(&flusher->lock);
	return err;
}

int flusher_new(struct tree *tree, struct llfuse_session *session, struct flusher **made)
{
	struct flusher *flusher = calloc(1, sizeof(*flusher));

	if (!flusher)
		return -ENOMEM;
	flusher->tree = tree;
	flusher->session = session;
	(void)pthread_cond_init(&flusher->to_do, NULL); /* never fails for the default kind, nor does the other */
	(void)pthread_mutex_init(&flusher->lock, NULL);
	*made = flusher;
	return 0;
}

void flusher_free(struct flusher *flusher)
{
	if (!flusher)
		return;
	pthread_mutex_lock(&flusher->lock);
	flusher->is_stopping = true;
	pthread_cond_signal(&flusher->to_do);
	pthread_mutex_unlock(&flusher->lock);
	if (flusher->is_running)
		(void)pthread_join(flusher->thread, NULL);
	(void)pthread_cond_destroy(&flusher->to_do);
	(void)pthread_mutex_destroy(&flusher->lock);
	free(flusher);
}
