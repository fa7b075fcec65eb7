/* SPDX-License-Identifier: MIT */
/*
 * Small blocks in great numbers: a block costs what it holds, rounded to 8 bytes, where
 * malloc(3) takes a header and rounds to 16.  Knows only sizes; hides where the blocks
 * lie.  Blocks of one size share pieces of 64 KiB, and a piece that
 * gets empty goes back to the system at once.
 *
 * Any thread: each size has a lock of its own, taken last.
 */
#ifndef TMPFS_SLAB_H
#define TMPFS_SLAB_H

#include <pthread.h>
#include <stddef.h>

/* Largest block, in bytes. */
#define SLAB_BLOCK_MAX 512
#define SLAB_STEP 8

struct slab_piece;
struct slab_region;

/* The pieces for blocks of one size. */
struct slab_class {
	pthread_mutex_t lock;
	struct slab_piece *open; /* those that have room */
} __attribute__((aligned(64)));

struct slab {
	struct slab_class classes[SLAB_BLOCK_MAX / SLAB_STEP];
	pthread_mutex_t lock; /* taken after that of a class */
	/* guarded by lock */
	struct slab_region *roomy; /* regions with a piece to give */
	struct slab_region *full; /* the others */
};

void slab_init(struct slab *slab);

/* All blocks must have been freed. */
void slab_done(struct slab *slab);

/* @size is 1 to SLAB_BLOCK_MAX.  Returns NULL with errno ENOMEM if there is no memory. */
void *slab_alloc(struct slab *slab, size_t size);

/* @size is what the block was allocated with. */
void slab_free(struct slab *slab, void *block, size_t size);

/* What a block of @size takes. */
static inline size_t slab_cost(size_t size)
{
	return (size + SLAB_STEP - 1) / SLAB_STEP * SLAB_STEP;
}

#endif
