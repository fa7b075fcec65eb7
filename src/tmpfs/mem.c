/* SPDX-License-Identifier: MIT */
/* Memory of one mount, counted.  See mem.h. */
#include "mem.h"

#include <malloc.h>
#include <stdlib.h>

/* How much must have been freed before the heap is searched for whole free pages. */
#define TRIM_WORTH ((size_t)64 << 20)

/* What glibc takes for a block: a word before it, in steps of 16, at least 32. */
static size_t cost_of(size_t size)
{
	size_t cost = (size + sizeof(size_t) + 15) & ~(size_t)15;

	return cost < 32 ? 32 : cost;
}

static int fails_now(struct mem *mem)
{
	if (atomic_load_explicit(&mem->fail_in, memory_order_relaxed) == 0)
		return 0;
	return atomic_fetch_sub(&mem->fail_in, 1) == 1;
}

static void count_in(struct mem *mem, size_t size)
{
	size_t cost = cost_of(size);
	size_t used = atomic_fetch_add_explicit(&mem->used, cost, memory_order_relaxed) + cost;

	/* A lost race only makes a trim come a little later. */
	if (used > atomic_load_explicit(&mem->high, memory_order_relaxed))
		atomic_store_explicit(&mem->high, used, memory_order_relaxed);
}

void mem_init(struct mem *mem)
{
	atomic_init(&mem->used, 0);
	atomic_init(&mem->high, 0);
	atomic_init(&mem->fail_in, 0);
}

void *mem_alloc(struct mem *mem, size_t size)
{
	void *block = fails_now(mem) ? NULL : malloc(size);

	if (block)
		count_in(mem, size);
	return block;
}

void *mem_zalloc(struct mem *mem, size_t size)
{
	void *block = fails_now(mem) ? NULL : calloc(1, size);

	if (block)
		count_in(mem, size);
	return block;
}

void mem_free(struct mem *mem, void *block, size_t size)
{
	if (!block)
		return;
	atomic_fetch_sub_explicit(&mem->used, cost_of(size), memory_order_relaxed);
	free(block);
}

size_t mem_used(const struct mem *mem)
{
	return atomic_load_explicit(&mem->used, memory_order_relaxed);
}

void mem_trim(struct mem *mem)
{
	size_t used = mem_used(mem);
	size_t high = atomic_load_explicit(&mem->high, memory_order_relaxed);

	if (high < used || high - used < TRIM_WORTH)
		return;
	/* One thread does it; the others find nothing left to do. */
	if (atomic_compare_exchange_strong(&mem->high, &high, used))
		(void)malloc_trim(0); /* 0 or 1: whether there was something to give */
}

void mem_fail_nth(struct mem *mem, long nth)
{
	atomic_store(&mem->fail_in, nth);
}

int mem_fail_pending(const struct mem *mem)
{
	return atomic_load(&mem->fail_in) > 0;
}
