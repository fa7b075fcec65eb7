/* SPDX-License-Identifier: MIT */
/* When a tree is stored.  See saver.h. */
#include "saver_internal.h"

#include "deadline.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Notes that take more are committed before their time. */
#define HEAVY ((uint64_t)64 << 20)
/* How often, within the interval, it is looked how much the notes weigh, and which files were closed; and how often while files are. */
#define LOOK_MS 1000
#define LOOK_BUSY_MS 100

/* ------------------------------------------------------------------------ */
/* Bytes that are still in the store                                         */

/* Reads a file for the tree, and on the way learns what its pieces are. */
struct learning {
	struct saver *saver;
	uint64_t number;
	bool is_worthwhile;
	int (*put)(void *to, uint64_t off, const void *bytes, size_t n);
	void *to;
};

static int learn_and_put(void *arg, uint64_t off, const void *bytes, size_t n)
{
	const struct learning *learning = arg;
	struct hashes *hashes = learning->saver->hashes;
	uint64_t hash;

	if (learning->is_worthwhile) {
		hash = hashes_of(hashes, bytes, n);
		/* A piece of zeros that somebody else stored is a row all the same. */
		hashes_set(hashes, learning->number, off / STORE_CHUNK_SIZE, hash ? hash : 1);
	}
	return learning->put(learning->to, off, bytes, n);
}

static int read_stored(void *arg, uint64_t number, uint64_t size,
		       int (*put)(void *to, uint64_t off, const void *bytes, size_t n), void *to)
{
	struct saver *saver = arg;
	struct learning learning = {.saver = saver, .number = number, .put = put, .to = to};
	int err;

	/* Only what the kernel may write without us has to be compared; a file of one piece is as soon written. */
	learning.is_worthwhile = saver->store && saver->tree->plane->ops->is_exposed && size > STORE_CHUNK_SIZE;
	if (learning.is_worthwhile)
		hashes_begin(saver->hashes, number);
	err = store_read_data(saver->source, number, size, learn_and_put, &learning);
	if (err && learning.is_worthwhile)
		hashes_forget(saver->hashes, number);
	return err;
}

/* ------------------------------------------------------------------------ */
/* Commits                                                                   */

/* Says so once when it begins to fail, and once when it does not any more. */
static void tell(struct saver *saver, int err)
{
	char text[200];

	if (err == saver->told_err)
		return;
	if (err)
		snprintf(text, sizeof(text), "cannot commit: %s (%s); the changes wait in memory", strerror(-err),
			 store_reason());
	else
		snprintf(text, sizeof(text), "commits again");
	saver->told_err = err;
	saver->options.tell(text, err != 0);
}

static int commit_changes(struct saver *saver, bool is_last_try)
{
	struct capture *capture;
	int err;

	if (is_last_try)
		err = capture_take_and_hold_back(saver->tree, CAPTURE_CHANGES, &capture);
	else
		err = capture_take(saver->tree, CAPTURE_CHANGES, &capture);
	if (err)
		return err;
	if (!capture_is_empty(capture))
		err = capture_write(capture, saver->store, saver->source, saver->hashes, NULL);
	capture_end(capture, err == 0);
	return err;
}

/* One that fails may not have got as far as the store, which would take the commit before for the last. */
static int commit(struct saver *saver)
{
	int err = -EAGAIN, tries;

	for (tries = 0; err == -EAGAIN && tries < SAVER_TRIES; tries++)
		err = commit_changes(saver, tries == SAVER_TRIES - 1);
	if (err)
		store_unsettle(saver->store);
	return err;
}

/* So that a commit finds it done.  Returns whether there was something to do. */
static bool settle_unlocked(struct saver *saver)
{
	bool is_busy;

	pthread_mutex_unlock(&saver->lock);
	is_busy = journal_has_closed(saver->tree->journal);
	if (is_busy)
		capture_settle(saver->tree);
	pthread_mutex_lock(&saver->lock);
	return is_busy;
}

/* When the next commit is to begin if nobody waits for it. */
static struct timespec due_locked(const struct saver *saver)
{
	struct timespec due = saver->last_begin;

	due.tv_sec += saver->options.interval_s;
	return saver->is_hurried && deadline_is_before(&saver->hurried, &due) ? saver->hurried : due;
}

/* Until somebody waits for a commit, or it is time for one. */
static void wait_locked(struct saver *saver)
{
	struct timespec due, look;

	while (saver->wanted == saver->begun && !saver->is_stopping) {
		look = deadline_after_ms(settle_unlocked(saver) ? LOOK_BUSY_MS : LOOK_MS);
		if (saver->wanted > saver->begun || saver->is_stopping)
			return; /* while it was not locked */
		due = due_locked(saver);
		if (saver->options.interval_s > 0 && deadline_is_before(&due, &look))
			look = due;
		(void)pthread_cond_clockwait(&saver->to_do, &saver->lock, CLOCK_MONOTONIC, &look);
		if (journal_weight(saver->tree->journal) > HEAVY)
			return;
		due = due_locked(saver);
		if (saver->options.interval_s > 0 && deadline_has_passed(&due))
			return;
	}
}

/* One commit is for all who wait when it begins. */
static void commit_once_locked(struct saver *saver)
{
	const uint64_t number = saver->begun = saver->wanted > saver->begun ? saver->wanted : saver->begun + 1;
	int err;

	if (saver->wanted < number)
		saver->wanted = number;
	saver->last_begin = deadline_after_ms(0);
	saver->is_hurried = false;
	pthread_mutex_unlock(&saver->lock);
	err = commit(saver);
	tell(saver, err);
	pthread_mutex_lock(&saver->lock);
	saver->ended = number;
	saver->err = err;
	pthread_cond_broadcast(&saver->done);
	if (saver->wanted > saver->begun || saver->is_stopping)
		return;
	/* Nobody waits: time to tidy up. */
	pthread_mutex_unlock(&saver->lock);
	store_settle(saver->store);
	pthread_mutex_lock(&saver->lock);
}

static void *run(void *arg)
{
	struct saver *saver = arg;

	pthread_mutex_lock(&saver->lock);
	while (!saver->is_stopping) {
		wait_locked(saver);
		if (!saver->is_stopping || saver->wanted > saver->begun)
			commit_once_locked(saver);
	}
	pthread_mutex_unlock(&saver->lock);
	return NULL;
}

bool saver_keeps(const struct saver *saver)
{
	return saver && saver->store;
}

void saver_hurry(struct saver *saver)
{
	if (!saver_keeps(saver))
		return;
	pthread_mutex_lock(&saver->lock);
	if (!saver->is_hurried) {
		saver->is_hurried = true;
		saver->hurried = deadline_after_ms(saver->options.interval_s * 1000 / 2);
		pthread_cond_signal(&saver->to_do);
	}
	pthread_mutex_unlock(&saver->lock);
}

int saver_sync(struct saver *saver)
{
	uint64_t number;
	int err;

	if (!saver->store)
		return 0;
	pthread_mutex_lock(&saver->lock);
	if (!saver->is_running) {
		pthread_mutex_unlock(&saver->lock);
		return commit(saver); /* nobody else uses the tree yet */
	}
	/* A commit that is under way may have begun too early. */
	if (saver->begun == saver->ended && saver->err == 0 && journal_is_empty(saver->tree->journal)) {
		pthread_mutex_unlock(&saver->lock);
		return 0;
	}
	number = saver->begun + 1;
	if (saver->wanted < number)
		saver->wanted = number;
	pthread_cond_signal(&saver->to_do);
	while (saver->ended < number && saver->is_running)
		pthread_cond_wait(&saver->done, &saver->lock);
	err = saver->ended < number ? -EIO : saver->err;
	pthread_mutex_unlock(&saver->lock);
	return err;
}

/* ------------------------------------------------------------------------ */
/* Life                                                                      */

/* None of these fails for the default kind. */
static void init_locks(struct saver *saver)
{
	(void)pthread_cond_init(&saver->to_do, NULL);
	(void)pthread_cond_init(&saver->done, NULL);
	(void)pthread_mutex_init(&saver->lock, NULL);
}

int saver_new(struct tree *tree, struct store *store, struct store *source, const struct saver_options *options,
	      struct saver **made)
{
	struct saver *saver = calloc(1, sizeof(*saver));
	int err;

	if (!saver)
		return -ENOMEM;
	err = hashes_new(&saver->hashes);
	if (err) {
		free(saver);
		return err;
	}
	init_locks(saver);
	saver->tree = tree;
	saver->store = store;
	saver->source = source;
	saver->options = *options;
	tree->journal->source = (struct journal_source){.read = read_stored, .arg = saver};
	tree->journal->is_kept = store != NULL;
	*made = saver;
	return 0;
}

int saver_start(struct saver *saver)
{
	int err;

	if (!saver_keeps(saver))
		return 0;
	saver->last_begin = deadline_after_ms(0);
	err = pthread_create(&saver->thread, NULL, run, saver);
	saver->is_running = err == 0;
	return -err;
}

int saver_stop(struct saver *saver)
{
	int err;

	if (!saver_keeps(saver)) {
		saver_end_copy(saver);
		return 0;
	}
	/* The last one who waits; first, as a copy may hang where it is saved. */
	err = saver_sync(saver);
	saver_end_copy(saver);
	if (!saver->is_running)
		return err;
	pthread_mutex_lock(&saver->lock);
	saver->is_stopping = true;
	pthread_cond_signal(&saver->to_do);
	pthread_mutex_unlock(&saver->lock);
	(void)pthread_join(saver->thread, NULL);
	pthread_mutex_lock(&saver->lock);
	saver->is_running = false;
	pthread_cond_broadcast(&saver->done);
	pthread_mutex_unlock(&saver->lock);
	return err;
}

void saver_free(struct saver *saver)
{
	if (!saver)
		return;
	(void)store_close(saver->store); /* what was committed is on the disk */
	if (saver->source != saver->store)
		(void)store_close(saver->source); /* which was only read */
	hashes_free(saver->hashes);
	(void)pthread_cond_destroy(&saver->to_do);
	(void)pthread_cond_destroy(&saver->done);
	(void)pthread_mutex_destroy(&saver->lock);
	free(saver);
}
