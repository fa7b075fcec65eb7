/* SPDX-License-Identifier: MIT */
/*
 * What one mount may take: every byte that the tree costs is taken and given back
 * here, counted, and kept within the size of the mount; and so are inodes, within their number.  Knows nothing of
 * what the memory is for; hides how much a block really takes, and when memory goes back to the system.
 *
 * The bytes of files may lie elsewhere (the share), in a place that keeps a limit of its own.
 * The size is then divided: so much is granted to the memory counted here, in steps, and the
 * share has the rest.
 *
 * Any thread.
 */
#ifndef TMPFS_MEM_H
#define TMPFS_MEM_H

#include "leaving.h"
#include "pages.h"
#include "slab.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A size that nothing reaches. */
#define MEM_UNLIMITED UINT64_MAX

struct mem_share {
	/* Lets the share have @max bytes and no more.  Returns 0, or -ENOSPC if it has more already. */
	int (*resize)(void *arg, uint64_t max);
	uint64_t (*used)(void *arg);
	void *arg;
};

struct mem {
	struct slab slab;
	struct pages pages;
	_Atomic uint64_t used; /* bytes, overhead included, without those that are leaving */
	_Atomic uint64_t granted; /* used stays at or below */
	_Atomic uint64_t heap; /* of used, what malloc(3) has */
	_Atomic uint64_t heap_high; /* most of it since the heap was last trimmed */
	_Atomic long fail_in; /* tests: so many allocations until one fails; 0: none does */
	_Atomic uint64_t max; /* the size of the mount */
	_Atomic uint64_t inodes, inodes_max; /* those that are leaving do not count */
	_Atomic uint32_t leaving_since; /* the second in which the last began to leave; 0: none is */
	pthread_mutex_t lock; /* guards what follows, and changes of granted and max; taken after all others */
	struct leaving leaving;
	uint64_t lent; /* what the share may have beyond its part, for what is leaving it */
	struct mem_share share; /* resize NULL: there is none, and granted is max */
};

/* @max is in bytes; MEM_UNLIMITED is no limit, for both. */
void mem_init(struct mem *mem, uint64_t max, uint64_t inodes_max);

/* All must have been freed, but for blocks that go with it. */
void mem_done(struct mem *mem);

/* Whether blocks of @size go with mem_done(), which is much less work than to free many of them. */
bool mem_takes_along(size_t size);

/* Divides the size with @share.  Returns 0, or -ENOSPC. */
int mem_set_share(struct mem *mem, const struct mem_share *share);

/* Changes both limits, or nothing.  Returns 0, or -EBUSY if more is in use. */
int mem_set_max(struct mem *mem, uint64_t max, uint64_t inodes_max);

/* Both return NULL if there is no memory, with errno ENOSPC if the size forbids it and ENOMEM
 * if the system has none.  @size is not 0. */
void *mem_alloc(struct mem *mem, size_t size);
void *mem_zalloc(struct mem *mem, size_t size);

/* @size is what the block was allocated with.  NULL is nothing. */
void mem_free(struct mem *mem, void *block, size_t size);

/* Counts @n bytes that lie elsewhere.  Returns 0 or -ENOSPC. */
int mem_charge(struct mem *mem, uint64_t n);
void mem_uncharge(struct mem *mem, uint64_t n);

/* Also if the size forbids it: for the little that what must not fail takes. */
void mem_charge_anyway(struct mem *mem, uint64_t n);

/* What the calling thread charges in between may exceed the size, and takes nothing from the share before the end: for what
 * is counted already, and takes a little more than was known. */
void mem_exceed_begin(void);
void mem_exceed_end(struct mem *mem);

/* What @n bytes, whole pages, were charged for goes to the share, if there is one, which has room for it at once. */
void mem_move_to_share(struct mem *mem, uint64_t n);

/* One inode more.  Returns 0 or -ENOSPC. */
int mem_take_inode(struct mem *mem);
void mem_give_inode(struct mem *mem);

/* What one inode costs. */
struct mem_cost {
	uint64_t memory; /* bytes that are charged here */
	uint64_t share; /* bytes in the share */
};

/*
 * An inode is about to be freed: it does not count any more, unless it is still there in two seconds.  Returns the
 * second in which it left, for what follows, or 0 if it goes on to count.
 * mem_stay(): it is not freed after all.  mem_gone_begin() and mem_gone_end() stand around what frees it in this
 * thread.  @cost is the same each time.
 */
uint32_t mem_leave(struct mem *mem, const struct mem_cost *cost);
void mem_stay(struct mem *mem, uint32_t left, const struct mem_cost *cost);
void mem_gone_begin(struct mem *mem, uint32_t left, const struct mem_cost *cost);
void mem_gone_end(struct mem *mem);

/* Whether a charge of @n bytes would succeed now. */
bool mem_has_room(const struct mem *mem, uint64_t n);

/* What follows in this thread may take @n bytes that are charged here and now, so that it does not run
 * into the size half-way.  Returns 0 or -ENOSPC.  mem_prepay_end() gives back what was not taken. */
int mem_prepay(struct mem *mem, uint64_t n);
void mem_prepay_end(struct mem *mem);

/* What a block of @size is charged with. */
uint64_t mem_block_cost(size_t size);

uint64_t mem_used(const struct mem *mem);
uint64_t mem_max(const struct mem *mem);

/* How much of the size is taken, the share's part included. */
uint64_t mem_taken(struct mem *mem);

/* Gives what is free to the system, and to the share, if that is worth the time it
 * takes.  Called with no lock held, after something was freed. */
void mem_settle(struct mem *mem);

/* For tests: the @nth allocation from now fails, and only that one; 0: none.
 * mem_fail_pending() tells whether it is still to come. */
void mem_fail_nth(struct mem *mem, long nth);
int mem_fail_pending(const struct mem *mem);

#endif
