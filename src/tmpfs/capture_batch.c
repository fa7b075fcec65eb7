/* SPDX-License-Identifier: MIT */
/* Batches between who reads a capture and who writes it.  See capture_batch.h. */
#include "capture_batch.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* More are not on their way at a time: 16 MiB, with which a reader is ahead of a writer by 100,000 small files. */
#define BATCHES_MAX 32

static size_t item_size(const struct batch_item *item)
{
	return (sizeof(*item) + item->n + 7) & ~(size_t)7;
}

struct batch_item *batch_next(struct batch *batch, const struct batch_item *item, enum batch_kind kind)
{
	unsigned char *at = item ? (unsigned char *)item + item_size(item) : batch->items;

	for (; at < batch->items + batch->used; at += item_size((struct batch_item *)at))
		if (((struct batch_item *)at)->kind == kind)
			return (struct batch_item *)at;
	return NULL;
}

void batches_init(struct batches *batches, int (*write)(void *arg, struct batch *batch), void *arg)
{
	*batches = (struct batches){.write = write, .arg = arg};
	batches->full_end = &batches->full;
	(void)pthread_mutex_init(&batches->lock, NULL); /* never fail for the default kind */
	(void)pthread_cond_init(&batches->changed, NULL);
}

static void free_all(struct batch *batch)
{
	struct batch *next;

	for (; batch; batch = next) {
		next = batch->next;
		free(batch);
	}
}

void batches_done(struct batches *batches)
{
	free_all(batches->full);
	free_all(batches->empty);
	free(batches->filling);
	(void)pthread_cond_destroy(&batches->changed);
	(void)pthread_mutex_destroy(&batches->lock);
}

static void clear(struct batch *batch)
{
	batch->next = NULL;
	batch->used = 0;
	memset(batch->counts, 0, sizeof(batch->counts));
}

/* Whether the reader has to wait for one that comes back. */
static bool is_short_of_batches(const struct batches *batches)
{
	return !batches->empty && batches->made >= BATCHES_MAX && batches->err == 0;
}

static int get_empty(struct batches *batches)
{
	int err;

	pthread_mutex_lock(&batches->lock);
	while (is_short_of_batches(batches))
		pthread_cond_wait(&batches->changed, &batches->lock);
	err = batches->err;
	batches->filling = batches->empty;
	if (batches->empty)
		batches->empty = batches->empty->next;
	pthread_mutex_unlock(&batches->lock);
	if (err)
		return err;
	if (!batches->filling) {
		batches->filling = malloc(sizeof(*batches->filling));
		batches->made++;
	}
	if (!batches->filling)
		return -ENOMEM;
	clear(batches->filling);
	return 0;
}

/* Hands the one that is filled to the other thread. */
static int hand_on(struct batches *batches)
{
	int err;

	pthread_mutex_lock(&batches->lock);
	*batches->full_end = batches->filling;
	batches->full_end = &batches->filling->next;
	err = batches->err;
	pthread_cond_signal(&batches->changed);
	pthread_mutex_unlock(&batches->lock);
	batches->filling = NULL;
	return err;
}

static int pass_on(struct batches *batches)
{
	int err;

	if (!batches->filling || batches->filling->used == 0)
		return 0;
	if (!batches->write)
		return hand_on(batches);
	err = batches->write(batches->arg, batches->filling);
	clear(batches->filling);
	return err;
}

int batches_room(struct batches *batches, struct batch_item **item)
{
	const size_t wanted = sizeof(**item) + STORE_CHUNK_SIZE;
	int err = 0;

	if (batches->filling && BATCH_SIZE - batches->filling->used < wanted)
		err = pass_on(batches);
	if (!err && !batches->filling)
		err = get_empty(batches);
	if (!err)
		*item = (struct batch_item *)(batches->filling->items + batches->filling->used);
	return err;
}

void batches_add(struct batches *batches, struct batch_item *item)
{
	struct batch *batch = batches->filling;

	assert((unsigned char *)item == batch->items + batch->used && item->n <= STORE_CHUNK_SIZE);
	batch->used += item_size(item);
	batch->counts[item->kind]++;
}

int batches_end(struct batches *batches, int err)
{
	if (!err)
		err = pass_on(batches);
	pthread_mutex_lock(&batches->lock);
	batches->is_ended = true;
	pthread_cond_signal(&batches->changed);
	pthread_mutex_unlock(&batches->lock);
	return err;
}

struct batch *batches_take(struct batches *batches)
{
	struct batch *batch;

	pthread_mutex_lock(&batches->lock);
	while (!batches->full && !batches->is_ended)
		pthread_cond_wait(&batches->changed, &batches->lock);
	batch = batches->full;
	if (batch) {
		batches->full = batch->next;
		if (!batches->full)
			batches->full_end = &batches->full;
	}
	pthread_mutex_unlock(&batches->lock);
	return batch;
}

void batches_return(struct batches *batches, struct batch *batch)
{
	pthread_mutex_lock(&batches->lock);
	batch->next = batches->empty;
	batches->empty = batch;
	pthread_cond_signal(&batches->changed);
	pthread_mutex_unlock(&batches->lock);
}

void batches_refuse(struct batches *batches, int err)
{
	pthread_mutex_lock(&batches->lock);
	batches->err = err;
	pthread_cond_signal(&batches->changed);
	pthread_mutex_unlock(&batches->lock);
}
