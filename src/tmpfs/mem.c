/* SPDX-License-Identifier: MIT */
/* What one mount may take, counted and limited.  See mem.h. */
#include "mem.h"

#include <assert.h>
#include <errno.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* How much must be free before the heap is searched for whole free pages, and pages of ours go back. */
#define TRIM_WORTH ((uint64_t)64 << 20)

#define PAGE ((uint64_t)4096)
/* A grant grows and shrinks in steps of a thousandth of the size, within these bounds: a step asks
 * the kernel, and what is granted and not used is lost to the share. */
#define STEPS 1024
#define STEP_MAX ((uint64_t)1 << 20)

/* AddressSanitizer knows malloc's blocks, and not ours. */
#if defined(__SANITIZE_ADDRESS__)
#define USE_OURS false
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define USE_OURS false
#endif
#endif
#ifndef USE_OURS
#define USE_OURS true
#endif

/* ------------------------------------------------------------------------ */
/* Grants                                                                    */

static uint64_t round_up(uint64_t n, uint64_t step)
{
	return n > UINT64_MAX - step ? n : (n + step - 1) / step * step;
}

static uint64_t step_of(uint64_t max)
{
	uint64_t step = round_up(max / STEPS, PAGE);

	if (step < PAGE)
		return PAGE;
	return step < STEP_MAX ? step : STEP_MAX;
}

/* Both sides of a race between a charge and a grant that shrinks look at what the other one
 * wrote, so that one of them sees it: sequentially consistent. */
static bool is_within_grant(const struct mem *mem)
{
	return atomic_load(&mem->used) <= atomic_load(&mem->granted);
}

/* A charge that cannot be had is not tried: others would see it in used for a moment, and fail. */
static bool fits(const struct mem *mem, uint64_t n)
{
	uint64_t used = atomic_load(&mem->used), granted = atomic_load(&mem->granted);

	return used <= granted && n <= granted - used;
}

/* Lets granted be @granted, unless more is in use. */
static bool shrink_grant_locked(struct mem *mem, uint64_t granted)
{
	uint64_t before = atomic_exchange(&mem->granted, granted);

	if (is_within_grant(mem))
		return true;
	atomic_store(&mem->granted, before);
	return false;
}

static uint64_t add_up(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static int resize_share_locked(struct mem *mem, uint64_t max, uint64_t granted)
{
	return mem->share.resize(mem->share.arg, add_up(max - granted, mem->lent));
}

/* Makes @granted the grant, at the cost of the share. */
static bool grow_grant_locked(struct mem *mem, uint64_t granted)
{
	if (granted > mem_max(mem) || resize_share_locked(mem, mem_max(mem), granted))
		return false;
	atomic_store(&mem->granted, granted);
	return true;
}

/* Makes room for @n bytes more.  Returns false if there is none. */
static bool grow_grant(struct mem *mem, uint64_t n)
{
	uint64_t need, used;
	bool is_enough;

	pthread_mutex_lock(&mem->lock);
	used = atomic_load(&mem->used);
	need = n > UINT64_MAX - used ? UINT64_MAX : used + n;
	is_enough = fits(mem, n);
	if (!is_enough && mem->share.resize)
		is_enough = grow_grant_locked(mem, round_up(need, step_of(mem_max(mem)))) ||
			    grow_grant_locked(mem, round_up(need, PAGE));
	pthread_mutex_unlock(&mem->lock);
	return is_enough;
}

/* Gives whole steps of the grant that are not used to the share; one is kept for what comes next. */
static void give_to_share(struct mem *mem)
{
	uint64_t step, keep;

	if (!mem->share.resize)
		return;
	pthread_mutex_lock(&mem->lock);
	step = step_of(mem_max(mem));
	keep = round_up(atomic_load(&mem->used), step);
	if (keep < mem_max(mem) && keep + step < atomic_load(&mem->granted) && shrink_grant_locked(mem, keep))
		(void)resize_share_locked(mem, mem_max(mem), keep); /* more than it had: cannot fail */
	pthread_mutex_unlock(&mem->lock);
}

/* Of the calling thread: charged already, and not yet taken; and not charged any more, and not yet freed. */
static _Thread_local uint64_t prepaid, refunded;
/* And whether it charges also what the size forbids. */
static _Thread_local bool exceeds;

static bool try_charge(struct mem *mem, uint64_t n)
{
	if (!fits(mem, n))
		return false;
	atomic_fetch_add(&mem->used, n);
	if (is_within_grant(mem))
		return true;
	atomic_fetch_sub(&mem->used, n);
	return false;
}

int mem_charge(struct mem *mem, uint64_t n)
{
	if (n <= prepaid) {
		prepaid -= n;
		return 0;
	}
	while (!try_charge(mem, n)) {
		if (exceeds) {
			/* The share is to keep its room for what follows. */
			atomic_fetch_add(&mem->used, n);
			return 0;
		}
		if (!grow_grant(mem, n))
			return -ENOSPC;
	}
	return 0;
}

void mem_exceed_begin(void)
{
	exceeds = true;
}

void mem_exceed_end(struct mem *mem)
{
	exceeds = false;
	if (!is_within_grant(mem))
		(void)grow_grant(mem, 0); /* else it exceeds the size, as it may */
}

void mem_move_to_share(struct mem *mem, uint64_t n)
{
	uint64_t granted, keep;

	if (!mem->share.resize) {
		mem_uncharge(mem, n);
		return;
	}
	pthread_mutex_lock(&mem->lock);
	/* The grant first, so that nobody can charge for the room; by all of @n also where more is in use than was granted. */
	granted = atomic_load(&mem->granted);
	granted = granted > n ? granted - n : 0;
	atomic_store(&mem->granted, granted);
	mem_uncharge(mem, n);
	keep = round_up(atomic_load(&mem->used), PAGE);
	if (keep < granted && shrink_grant_locked(mem, keep))
		granted = keep;
	(void)resize_share_locked(mem, mem_max(mem), granted); /* more than it had: cannot fail */
	pthread_mutex_unlock(&mem->lock);
}

void mem_charge_anyway(struct mem *mem, uint64_t n)
{
	if (mem_charge(mem, n))
		atomic_fetch_add(&mem->used, n);
}

void mem_uncharge(struct mem *mem, uint64_t n)
{
	uint64_t already = n < refunded ? n : refunded;

	refunded -= already;
	if (n > already)
		atomic_fetch_sub(&mem->used, n - already);
}

bool mem_has_room(const struct mem *mem, uint64_t n)
{
	return fits(mem, n);
}

int mem_prepay(struct mem *mem, uint64_t n)
{
	int err;

	assert(prepaid == 0); /* one at a time */
	err = mem_charge(mem, n);
	if (!err)
		prepaid = n;
	return err;
}

void mem_prepay_end(struct mem *mem)
{
	mem_uncharge(mem, prepaid);
	prepaid = 0;
}

/* ------------------------------------------------------------------------ */
/* Inodes                                                                    */

int mem_take_inode(struct mem *mem)
{
	uint64_t inodes = atomic_load(&mem->inodes);

	while (inodes < atomic_load(&mem->inodes_max))
		if (atomic_compare_exchange_weak(&mem->inodes, &inodes, inodes + 1))
			return 0;
	return -ENOSPC;
}

void mem_give_inode(struct mem *mem)
{
	atomic_fetch_sub(&mem->inodes, 1);
}

/* ------------------------------------------------------------------------ */
/* Leaving                                                                   */

/* Never 0. */
static uint32_t now_s(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now); /* fails only for an unknown clock */
	return (uint32_t)now.tv_sec + 1;
}

/* As much of @cost as may leave. */
static struct leaving_amount amount_of(const struct mem_cost *cost)
{
	struct leaving_amount amount = {.memory = cost->memory, .share = cost->share, .inodes = 1};

	if (amount.memory > LEAVING_INODE_MAX)
		amount.memory = LEAVING_INODE_MAX;
	if (amount.share > LEAVING_INODE_MAX)
		amount.share = LEAVING_INODE_MAX;
	return amount;
}

/* How much more than its @part the share has in use, at most @most. */
static uint64_t beyond_part(const struct mem *mem, uint64_t part, uint64_t most)
{
	uint64_t used = round_up(mem->share.used(mem->share.arg), PAGE);
	uint64_t beyond = used > part ? used - part : 0;

	return beyond < most ? beyond : most;
}

/*
 * The share keeps its limit itself, and does not know that something is leaving it: it gets as much more.
 * That takes time, and is done only where the room may be missed before it is really there.
 */
static void lend_locked(struct mem *mem)
{
	uint64_t part = mem_max(mem) - atomic_load(&mem->granted), before = mem->lent;
	bool is_short;

	if (!mem->share.resize || mem->leaving.all.share == before)
		return;
	is_short = before > 0 || add_up(mem->share.used(mem->share.arg), LEAVING_MAX) > part;
	mem->lent = is_short ? mem->leaving.all.share : 0;
	if (mem->lent == before || !resize_share_locked(mem, mem_max(mem), atomic_load(&mem->granted)))
		return;
	/* It is in use.  It becomes no more, and is to be tried again. */
	mem->lent = beyond_part(mem, part, before);
	if (resize_share_locked(mem, mem_max(mem), atomic_load(&mem->granted)))
		mem->lent = before;
}

static void count_again_locked(struct mem *mem, const struct leaving_amount *back)
{
	atomic_fetch_add(&mem->used, back->memory);
	atomic_fetch_add(&mem->inodes, back->inodes);
	lend_locked(mem);
}

static void expire_locked(struct mem *mem, uint32_t now)
{
	struct leaving_amount back;

	leaving_expire(&mem->leaving, now, &back);
	if (back.inodes > 0)
		count_again_locked(mem, &back);
}

uint32_t mem_leave(struct mem *mem, const struct mem_cost *cost)
{
	/* So much at most is then taken beyond the limits, for a moment: as much again. */
	const struct leaving_limit limit = {
		.bytes = mem_max(mem) < LEAVING_MAX ? mem_max(mem) : LEAVING_MAX,
		.inodes = atomic_load(&mem->inodes_max),
	};
	const struct leaving_amount amount = amount_of(cost);
	uint32_t now;

	pthread_mutex_lock(&mem->lock);
	now = now_s(); /* here, so that it does not run backwards */
	expire_locked(mem, now);
	if (leaving_add(&mem->leaving, now, &amount, &limit)) {
		atomic_fetch_sub(&mem->used, amount.memory);
		atomic_fetch_sub(&mem->inodes, 1);
		atomic_store_explicit(&mem->leaving_since, now, memory_order_relaxed);
		lend_locked(mem);
	} else {
		now = 0;
	}
	pthread_mutex_unlock(&mem->lock);
	return now;
}

void mem_stay(struct mem *mem, uint32_t left, const struct mem_cost *cost)
{
	const struct leaving_amount amount = amount_of(cost);

	pthread_mutex_lock(&mem->lock);
	if (leaving_remove(&mem->leaving, left, &amount))
		count_again_locked(mem, &amount);
	pthread_mutex_unlock(&mem->lock);
}

void mem_gone_begin(struct mem *mem, uint32_t left, const struct mem_cost *cost)
{
	const struct leaving_amount amount = amount_of(cost);
	bool is_left = false;

	if (left != 0) {
		pthread_mutex_lock(&mem->lock);
		is_left = leaving_remove(&mem->leaving, left, &amount);
		pthread_mutex_unlock(&mem->lock);
	}
	if (is_left)
		refunded = amount.memory;
	else
		mem_give_inode(mem);
}

void mem_gone_end(struct mem *mem)
{
	/* Less was freed than had left: it had been freed before. */
	atomic_fetch_add(&mem->used, refunded);
	refunded = 0;
	if (!mem->share.resize)
		return;
	pthread_mutex_lock(&mem->lock);
	lend_locked(mem);
	pthread_mutex_unlock(&mem->lock);
}

/* What left and is still there counts again. */
static void settle_leaving(struct mem *mem)
{
	uint32_t since = atomic_load_explicit(&mem->leaving_since, memory_order_relaxed), now;

	if (since == 0)
		return;
	now = now_s();
	if (now - since <= LEAVING_SECONDS)
		return;
	pthread_mutex_lock(&mem->lock);
	expire_locked(mem, now_s());
	atomic_compare_exchange_strong(&mem->leaving_since, &since, 0);
	pthread_mutex_unlock(&mem->lock);
}

/* ------------------------------------------------------------------------ */
/* Life and limits                                                           */

void mem_init(struct mem *mem, uint64_t max, uint64_t inodes_max)
{
	memset(mem, 0, sizeof(*mem));
	slab_init(&mem->slab);
	pages_init(&mem->pages);
	atomic_init(&mem->inodes_max, inodes_max);
	(void)pthread_mutex_init(&mem->lock, NULL); /* never fails for the default kind */
	atomic_init(&mem->max, max);
	atomic_init(&mem->granted, max);
}

void mem_done(struct mem *mem)
{
	slab_done(&mem->slab);
	pages_done(&mem->pages);
	(void)pthread_mutex_destroy(&mem->lock);
}

bool mem_takes_along(size_t size)
{
	return USE_OURS && (size <= SLAB_BLOCK_MAX || size == PAGES_SIZE);
}

/* What is in use, in steps if there is room for that. */
static uint64_t first_grant(const struct mem *mem)
{
	uint64_t used = atomic_load(&mem->used);
	uint64_t granted = round_up(used, step_of(mem_max(mem)));

	return granted <= mem_max(mem) ? granted : round_up(used, PAGE);
}

int mem_set_share(struct mem *mem, const struct mem_share *share)
{
	uint64_t granted;
	int err = -ENOSPC;

	pthread_mutex_lock(&mem->lock);
	granted = first_grant(mem);
	if (granted <= mem_max(mem))
		err = share->resize(share->arg, mem_max(mem) - granted);
	if (!err) {
		mem->share = *share;
		atomic_store(&mem->granted, granted);
	}
	pthread_mutex_unlock(&mem->lock);
	return err;
}

/* With a share, the grant is made as small as it can be, and the share gets the rest. */
static int divide_locked(struct mem *mem, uint64_t max)
{
	uint64_t before = atomic_load(&mem->granted);
	uint64_t granted = round_up(atomic_load(&mem->used), PAGE);

	if (granted > max || (granted < before && !shrink_grant_locked(mem, granted)))
		return -EBUSY;
	if (resize_share_locked(mem, max, atomic_load(&mem->granted))) {
		atomic_store(&mem->granted, before);
		return -EBUSY;
	}
	return 0;
}

static int set_size_locked(struct mem *mem, uint64_t max)
{
	int err = 0;

	if (mem->share.resize)
		err = divide_locked(mem, max);
	else if (!shrink_grant_locked(mem, max))
		err = -EBUSY;
	if (!err)
		atomic_store(&mem->max, max);
	return err;
}

int mem_set_max(struct mem *mem, uint64_t max, uint64_t inodes_max)
{
	uint64_t before;
	int err;

	pthread_mutex_lock(&mem->lock);
	before = atomic_exchange(&mem->inodes_max, inodes_max);
	err = atomic_load(&mem->inodes) > inodes_max ? -EBUSY : set_size_locked(mem, max);
	if (err)
		atomic_store(&mem->inodes_max, before);
	pthread_mutex_unlock(&mem->lock);
	return err;
}

uint64_t mem_used(const struct mem *mem)
{
	return atomic_load_explicit(&mem->used, memory_order_relaxed);
}

uint64_t mem_taken(struct mem *mem)
{
	uint64_t taken, leaving;

	if (!mem->share.resize)
		return mem_used(mem);
	pthread_mutex_lock(&mem->lock);
	/* What is granted here, the share cannot have. */
	taken = atomic_load(&mem->granted) + mem->share.used(mem->share.arg);
	leaving = mem->leaving.all.share;
	pthread_mutex_unlock(&mem->lock);
	return taken > leaving ? taken - leaving : 0;
}

uint64_t mem_max(const struct mem *mem)
{
	return atomic_load_explicit(&mem->max, memory_order_relaxed);
}

/* ------------------------------------------------------------------------ */
/* Blocks                                                                    */

/* What glibc takes for a block: a word before it, in steps of 16, at least 32. */
static uint64_t heap_cost(size_t size)
{
	size_t cost = (size + sizeof(size_t) + 15) & ~(size_t)15;

	return cost < 32 ? 32 : cost;
}

uint64_t mem_block_cost(size_t size)
{
	if (size == PAGES_SIZE)
		return PAGES_SIZE;
	return size <= SLAB_BLOCK_MAX ? slab_cost(size) : heap_cost(size);
}

static bool fails_now(struct mem *mem)
{
	if (atomic_load_explicit(&mem->fail_in, memory_order_relaxed) == 0)
		return false;
	return atomic_fetch_sub(&mem->fail_in, 1) == 1;
}

static void count_heap(struct mem *mem, size_t size)
{
	uint64_t heap = atomic_fetch_add_explicit(&mem->heap, heap_cost(size), memory_order_relaxed) + heap_cost(size);

	/* A lost race only makes a trim come a little later. */
	if (heap > atomic_load_explicit(&mem->heap_high, memory_order_relaxed))
		atomic_store_explicit(&mem->heap_high, heap, memory_order_relaxed);
}

static void *take_ours(struct mem *mem, size_t size, bool is_zeroed)
{
	bool is_zero = false;
	void *block;

	block = size == PAGES_SIZE ? pages_alloc(&mem->pages, &is_zero) : slab_alloc(&mem->slab, size);
	return block && is_zeroed && !is_zero ? memset(block, 0, size) : block;
}

static void *take(struct mem *mem, size_t size, bool is_zeroed)
{
	void *block;

	if (mem_takes_along(size))
		return take_ours(mem, size, is_zeroed);
	block = is_zeroed ? calloc(1, size) : malloc(size);
	if (block)
		count_heap(mem, size);
	return block;
}

static void *alloc(struct mem *mem, size_t size, bool is_zeroed)
{
	void *block;
	int err;

	if (fails_now(mem)) {
		errno = ENOMEM;
		return NULL;
	}
	err = mem_charge(mem, mem_block_cost(size));
	if (err) {
		errno = -err;
		return NULL;
	}
	block = take(mem, size, is_zeroed);
	if (!block)
		mem_uncharge(mem, mem_block_cost(size));
	return block;
}

void *mem_alloc(struct mem *mem, size_t size)
{
	return alloc(mem, size, false);
}

void *mem_zalloc(struct mem *mem, size_t size)
{
	return alloc(mem, size, true);
}

void mem_free(struct mem *mem, void *block, size_t size)
{
	if (!block)
		return;
	if (!mem_takes_along(size)) {
		free(block);
		atomic_fetch_sub_explicit(&mem->heap, heap_cost(size), memory_order_relaxed);
	} else if (size == PAGES_SIZE) {
		pages_free(&mem->pages, block);
	} else {
		slab_free(&mem->slab, block, size);
	}
	mem_uncharge(mem, mem_block_cost(size));
}

static void trim_heap(struct mem *mem)
{
	uint64_t heap = atomic_load_explicit(&mem->heap, memory_order_relaxed);
	uint64_t high = atomic_load_explicit(&mem->heap_high, memory_order_relaxed);

	if (high < heap || high - heap < TRIM_WORTH)
		return;
	/* One thread does it; the others find nothing left to do. */
	if (atomic_compare_exchange_strong(&mem->heap_high, &high, heap))
		(void)malloc_trim(0); /* 0 or 1: whether there was something to give */
}

/* Whether give_to_share() has something to do: looked at without the lock, for it is after each request. */
static bool has_much_to_give(const struct mem *mem)
{
	uint64_t used = mem_used(mem), granted = atomic_load_explicit(&mem->granted, memory_order_relaxed);

	return mem->share.resize && granted > used && granted - used > 2 * step_of(mem_max(mem));
}

void mem_settle(struct mem *mem)
{
	trim_heap(mem);
	if (pages_idle(&mem->pages) >= TRIM_WORTH)
		pages_trim(&mem->pages);
	settle_leaving(mem);
	if (has_much_to_give(mem))
		give_to_share(mem);
}

void mem_fail_nth(struct mem *mem, long nth)
{
	atomic_store(&mem->fail_in, nth);
}

int mem_fail_pending(const struct mem *mem)
{
	return atomic_load(&mem->fail_in) > 0;
}
