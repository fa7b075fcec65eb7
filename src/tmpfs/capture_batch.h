/* SPDX-License-Identifier: MIT */
/*
 * What the files of a capture have for a store, on its way from who reads them to who writes it: in batches, of which the
 * items may be written in any order.  Either one thread does both in turn, or one reads while another writes.
 */
#ifndef TMPFS_CAPTURE_BATCH_H
#define TMPFS_CAPTURE_BATCH_H

#include "store.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct captured_node;

enum batch_kind {
	BATCH_CHUNK, /* the bytes at off */
	BATCH_HOLE, /* from off to end */
	BATCH_NODE,
	BATCH_KINDS
};

struct batch_item {
	uint64_t number, off, end;
	const struct captured_node *node;
	size_t n; /* BATCH_CHUNK, else 0 */
	enum batch_kind kind;
	unsigned char bytes[];
};

#define BATCH_SIZE ((size_t)512 << 10)

struct batch {
	struct batch *next;
	size_t used;
	unsigned counts[BATCH_KINDS];
	_Alignas(8) unsigned char items[BATCH_SIZE];
};

/* The first one of @kind behind @item, or of all if that is NULL; NULL if there is none. */
struct batch_item *batch_next(struct batch *batch, const struct batch_item *item, enum batch_kind kind);

struct batches {
	/* NULL: another thread takes them.  Returns 0 or -errno. */
	int (*write)(void *arg, struct batch *batch);
	void *arg;
	struct batch *filling; /* the reader's */
	unsigned made; /* the reader's */

	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* guarded by lock */
	struct batch *full, **full_end;
	struct batch *empty;
	bool is_ended; /* there are no more */
	int err; /* the writer's: no more are wanted */
};

void batches_init(struct batches *batches, int (*write)(void *arg, struct batch *batch), void *arg);
void batches_done(struct batches *batches);

/* The reader's: room for an item with a whole piece, which batches_add() then takes or the next call gives again.  Returns 0,
 * -ENOMEM, or why no more are wanted. */
int batches_room(struct batches *batches, struct batch_item **item);
void batches_add(struct batches *batches, struct batch_item *item);

/* The reader's last word: what is left goes as well, if @err is 0.  Returns @err, or as batches_room(). */
int batches_end(struct batches *batches, int err);

/* The writer's, where it is another thread: the next one, NULL at the end; and back, to be filled again. */
struct batch *batches_take(struct batches *batches);
void batches_return(struct batches *batches, struct batch *batch);

/* The writer's: it has had enough. */
void batches_refuse(struct batches *batches, int err);

#endif
