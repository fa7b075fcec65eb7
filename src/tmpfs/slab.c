/* SPDX-License-Identifier: MIT */
/*
 * Small blocks in great numbers.  See slab.h.
 *
 * Memory comes in regions of 4 MiB, cut into pieces of 64 KiB.  A piece lies at a multiple
 * of its size, so that a block's address leads to the head of its piece.  An empty
 * piece gives its pages back and stays a part of its region, which is unmapped when none of
 * its pieces is in use: the number of mappings of a process is limited.
 */
#include "slab.h"

#include "aligned.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#define PIECE_SIZE ((size_t)64 << 10)
#define PIECES_PER_REGION 64
#define REGION_SIZE (PIECE_SIZE * PIECES_PER_REGION)
#define ALL_FREE UINT64_MAX

_Static_assert(PIECES_PER_REGION == 64, "a bit for each piece");

struct slab_region {
	struct slab_region *next, *previous; /* among the roomy or the full */
	char *pieces;
	uint64_t free; /* a bit for each piece */
};

/* The head of a piece; blocks follow. */
struct slab_piece {
	struct slab_piece *next, *previous; /* among the open ones of its class */
	struct slab_region *region;
	void *freed; /* the first of a list of blocks */
	uint32_t used; /* blocks */
	uint32_t fresh; /* blocks that were ever handed out: those behind were not touched */
};

static struct slab_class *class_of(struct slab *slab, size_t size)
{
	assert(size > 0 && size <= SLAB_BLOCK_MAX);
	return &slab->classes[(size - 1) / SLAB_STEP];
}

static uint32_t blocks_in_piece(size_t size)
{
	return (uint32_t)((PIECE_SIZE - sizeof(struct slab_piece)) / slab_cost(size));
}

static struct slab_piece *piece_of(void *block)
{
	return (struct slab_piece *)((uintptr_t)block & ~(PIECE_SIZE - 1));
}

/* ------------------------------------------------------------------------ */
/* Regions                                                                   */

static void enlist(struct slab_region **list, struct slab_region *region)
{
	region->previous = NULL;
	region->next = *list;
	if (region->next)
		region->next->previous = region;
	*list = region;
}

static void delist(struct slab_region **list, struct slab_region *region)
{
	if (region->next)
		region->next->previous = region->previous;
	if (region->previous)
		region->previous->next = region->next;
	else
		*list = region->next;
}

static struct slab_region *new_region(void)
{
	struct slab_region *region = malloc(sizeof(*region));

	if (!region)
		return NULL;
	region->pieces = aligned_map(REGION_SIZE, PIECE_SIZE);
	if (!region->pieces) {
		free(region);
		return NULL;
	}
	region->free = ALL_FREE;
	return region;
}

static void free_region(struct slab_region *region)
{
	(void)munmap(region->pieces, REGION_SIZE); /* what stays mapped by a failure is lost address space only */
	free(region);
}

/* A piece of @region, which has one. */
static struct slab_piece *cut_piece(struct slab_region *region)
{
	unsigned i = (unsigned)__builtin_ctzll(region->free);
	struct slab_piece *piece = (struct slab_piece *)(region->pieces + i * PIECE_SIZE);

	region->free &= ~(UINT64_C(1) << i);
	*piece = (struct slab_piece){.region = region};
	return piece;
}

static struct slab_piece *take_piece(struct slab *slab)
{
	struct slab_region *region;
	struct slab_piece *piece = NULL;

	pthread_mutex_lock(&slab->lock);
	region = slab->roomy;
	if (!region && (region = new_region()))
		enlist(&slab->roomy, region);
	if (region) {
		piece = cut_piece(region);
		if (region->free == 0) {
			delist(&slab->roomy, region);
			enlist(&slab->full, region);
		}
	}
	pthread_mutex_unlock(&slab->lock);
	return piece;
}

static void give_piece(struct slab *slab, struct slab_piece *piece)
{
	struct slab_region *region = piece->region;
	size_t i = (size_t)((char *)piece - region->pieces) / PIECE_SIZE;

	(void)madvise(piece, PIECE_SIZE, MADV_DONTNEED); /* fails only for what is not mapped so */
	pthread_mutex_lock(&slab->lock);
	if (region->free == 0) {
		delist(&slab->full, region);
		enlist(&slab->roomy, region);
	}
	region->free |= UINT64_C(1) << i;
	/* The last roomy one stays: it would be asked for again at once. */
	if (region->free == ALL_FREE && (region->next || region->previous)) {
		delist(&slab->roomy, region);
		free_region(region);
	}
	pthread_mutex_unlock(&slab->lock);
}

static void free_regions(struct slab_region *region)
{
	struct slab_region *next;

	for (; region; region = next) {
		next = region->next;
		free_region(region);
	}
}

/* ------------------------------------------------------------------------ */
/* Blocks                                                                    */

static void open_piece(struct slab_class *class, struct slab_piece *piece)
{
	piece->previous = NULL;
	piece->next = class->open;
	if (piece->next)
		piece->next->previous = piece;
	class->open = piece;
}

static void close_piece(struct slab_class *class, struct slab_piece *piece)
{
	if (piece->next)
		piece->next->previous = piece->previous;
	if (piece->previous)
		piece->previous->next = piece->next;
	else
		class->open = piece->next;
}

static void *take_block(struct slab_piece *piece, size_t size)
{
	void *block = piece->freed;

	if (block)
		piece->freed = *(void **)block;
	else
		block = (char *)(piece + 1) + piece->fresh++ * slab_cost(size);
	piece->used++;
	return block;
}

void slab_init(struct slab *slab)
{
	size_t i;

	for (i = 0; i < sizeof(slab->classes) / sizeof(slab->classes[0]); i++) {
		(void)pthread_mutex_init(&slab->classes[i].lock, NULL); /* never fails for the default kind */
		slab->classes[i].open = NULL;
	}
	(void)pthread_mutex_init(&slab->lock, NULL);
	slab->roomy = slab->full = NULL;
}

void slab_done(struct slab *slab)
{
	size_t i;

	for (i = 0; i < sizeof(slab->classes) / sizeof(slab->classes[0]); i++)
		(void)pthread_mutex_destroy(&slab->classes[i].lock);
	free_regions(slab->roomy);
	free_regions(slab->full);
	(void)pthread_mutex_destroy(&slab->lock);
}

void *slab_alloc(struct slab *slab, size_t size)
{
	struct slab_class *class = class_of(slab, size);
	struct slab_piece *piece;
	void *block = NULL;

	pthread_mutex_lock(&class->lock);
	piece = class->open;
	if (!piece) {
		piece = take_piece(slab);
		if (piece)
			open_piece(class, piece);
	}
	if (piece) {
		block = take_block(piece, size);
		if (piece->used == blocks_in_piece(size))
			close_piece(class, piece);
	}
	pthread_mutex_unlock(&class->lock);
	if (!block)
		errno = ENOMEM;
	return block;
}

void slab_free(struct slab *slab, void *block, size_t size)
{
	struct slab_class *class = class_of(slab, size);
	struct slab_piece *piece = piece_of(block);
	bool is_empty;

	pthread_mutex_lock(&class->lock);
	*(void **)block = piece->freed;
	piece->freed = block;
	if (piece->used == blocks_in_piece(size))
		open_piece(class, piece);
	piece->used--;
	/* The last open one stays: it would be asked for again at once. */
	is_empty = piece->used == 0 && (piece->next || piece->previous);
	if (is_empty)
		close_piece(class, piece);
	pthread_mutex_unlock(&class->lock);
	if (is_empty)
		give_piece(slab, piece);
}
