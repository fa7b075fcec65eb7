/* SPDX-License-Identifier: MIT */
/*
 * What the pieces of files were when they were last stored, as one hash each: of a file that the kernel writes without us
 * nothing else tells which pieces changed.  A hash that is the same by chance would lose a change: there are 2^64 of them,
 * and nobody knows the seed.
 *
 * Any thread; its lock is taken last.
 */
#ifndef TMPFS_HASHES_H
#define TMPFS_HASHES_H

#include "mem.h"
#include "table.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hashes {
	pthread_mutex_t lock;
	/* guarded by lock */
	struct mem mem;
	struct table files;
	/* fixed */
	uint64_t seed;
};

/* Returns 0 or -ENOMEM. */
int hashes_new(struct hashes **hashes);
void hashes_free(struct hashes *hashes);

/* Of a piece of a file; 0 for one that is all zero, as a hole is. */
uint64_t hashes_of(const struct hashes *hashes, const void *bytes, size_t n);

/* From here on all of the file @number is known: as holes, until hashes_set() says more.  Nothing is known without memory
 * for it, here and below, and of files that are nearly all holes. */
void hashes_begin(struct hashes *hashes, uint64_t number);

/* What piece @index of the file was.  Returns false if nothing is known of the file. */
bool hashes_get(struct hashes *hashes, uint64_t number, uint64_t index, uint64_t *hash);

/* Only of a file that is known. */
void hashes_set(struct hashes *hashes, uint64_t number, uint64_t index, uint64_t hash);

/* The pieces from @index on are holes from here on. */
void hashes_cut(struct hashes *hashes, uint64_t number, uint64_t index);

/* So many pieces of the file may be something else than a hole.  Returns false if nothing is known of the file. */
bool hashes_count(struct hashes *hashes, uint64_t number, uint64_t *count);

/* Remembers @stamp, anything that says how the file is.  Returns whether another one was remembered, or none. */
bool hashes_stamp(struct hashes *hashes, uint64_t number, uint64_t stamp);

void hashes_forget(struct hashes *hashes, uint64_t number);

#endif
