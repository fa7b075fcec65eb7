/* SPDX-License-Identifier: MIT */
/*
 * Whole pages.  See pages.h.
 *
 * They come from regions of 512 KiB, each at a multiple of that size, so that the address of a page leads to the head of its
 * region, which is in the first one.  A region of which nothing is in use goes back to the system, but for the last one; what is
 * free in others does when there is much of it.
 */
#include "pages.h"

#include "aligned.h"

#include <errno.h>
#include <sys/mman.h>

#define REGION_PAGES 128u
#define REGION_SIZE (REGION_PAGES * PAGES_SIZE)
#define WORD_BITS 64u
#define WORDS (REGION_PAGES / WORD_BITS)
/* So many at most are asked of the system at once, and no more than the region has in use. */
#define RUN_MAX 64u

/* Linux 5.14; headers may be older. */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* A bit for each page of a region. */
struct page_set {
	uint64_t words[WORDS];
};

/* The head of a region; the other pages follow. */
struct pages_region {
	LIST_ENTRY(pages_region) link; /* among the roomy or the full */
	unsigned used;
	struct page_set free;
	struct page_set zero; /* of the free ones, those that nobody had since they came from the system */
	struct page_set there; /* those that did come; another one does when it is touched */
};

_Static_assert(sizeof(struct pages_region) <= PAGES_SIZE, "the head is in the first page");

static bool has(const struct page_set *set, unsigned i)
{
	return set->words[i / WORD_BITS] >> i % WORD_BITS & 1;
}

static void add(struct page_set *set, unsigned i)
{
	set->words[i / WORD_BITS] |= UINT64_C(1) << i % WORD_BITS;
}

static void drop(struct page_set *set, unsigned i)
{
	set->words[i / WORD_BITS] &= ~(UINT64_C(1) << i % WORD_BITS);
}

/* There is one. */
static unsigned first_of(const struct page_set *set)
{
	unsigned word = 0;

	while (!set->words[word])
		word++;
	return word * WORD_BITS + (unsigned)__builtin_ctzll(set->words[word]);
}

static struct pages_region *region_of(void *page)
{
	return (struct pages_region *)((uintptr_t)page & ~(uintptr_t)(REGION_SIZE - 1));
}

static char *page_at(struct pages_region *region, unsigned i)
{
	return (char *)region + i * PAGES_SIZE;
}

/* ------------------------------------------------------------------------ */
/* Regions                                                                   */

static struct pages_region *new_region(void)
{
	struct pages_region *region = aligned_map(REGION_SIZE, REGION_SIZE);
	unsigned i;

	if (!region)
		return NULL;
	for (i = 1; i < REGION_PAGES; i++) {
		add(&region->free, i);
		add(&region->zero, i);
	}
	return region;
}

static void free_region(struct pages_region *region)
{
	(void)munmap(region, REGION_SIZE); /* what stays mapped by a failure is lost address space only */
}

static void free_regions(struct pages_regions *regions)
{
	struct pages_region *region;

	while ((region = LIST_FIRST(regions))) {
		LIST_REMOVE(region, link);
		free_region(region);
	}
}

/* Free pages that the system does not have back. */
static size_t count_idle(const struct pages_region *region)
{
	size_t n = 0;
	unsigned i;

	for (i = 0; i < WORDS; i++)
		n += (size_t)__builtin_popcountll(region->free.words[i] & region->there.words[i]);
	return n;
}

/* How many pages from @i on are free, and there or not, as @i is; at most @max. */
static unsigned run_from(const struct pages_region *region, unsigned i, unsigned max)
{
	unsigned n = 1;

	while (n < max && i + n < REGION_PAGES && has(&region->free, i + n) &&
	       has(&region->there, i + n) == has(&region->there, i))
		n++;
	return n;
}

/* ------------------------------------------------------------------------ */
/* Taking                                                                    */

/* Notes that @i, which is free and not there, and what follows it come from the system.  Returns how many. */
static unsigned begin_run(struct pages *pages, struct pages_region *region, unsigned i)
{
	const unsigned max = region->used < RUN_MAX ? region->used + 1 : RUN_MAX;
	const unsigned n = run_from(region, i, max);
	unsigned k;

	for (k = i; k < i + n; k++)
		add(&region->there, k);
	atomic_fetch_add_explicit(&pages->idle, n, memory_order_relaxed);
	return n;
}

static void *take_page(struct pages *pages, struct pages_region *region, unsigned i, bool *is_zero)
{
	*is_zero = has(&region->zero, i);
	drop(&region->free, i);
	drop(&region->zero, i);
	atomic_fetch_sub_explicit(&pages->idle, 1, memory_order_relaxed);
	if (++region->used == REGION_PAGES - 1) {
		LIST_REMOVE(region, link);
		LIST_INSERT_HEAD(&pages->full, region, link);
	}
	return page_at(region, i);
}

static struct pages_region *roomy_region_locked(struct pages *pages)
{
	struct pages_region *region = LIST_FIRST(&pages->roomy);

	if (region)
		return region;
	region = new_region();
	if (region)
		LIST_INSERT_HEAD(&pages->roomy, region, link);
	return region;
}

void *pages_alloc(struct pages *pages, bool *is_zero)
{
	struct pages_region *region;
	void *page = NULL;
	unsigned i, run = 0;

	pthread_mutex_lock(&pages->lock);
	region = roomy_region_locked(pages);
	if (region) {
		i = first_of(&region->free);
		if (!has(&region->there, i))
			run = begin_run(pages, region, i);
		page = take_page(pages, region, i, is_zero);
	}
	pthread_mutex_unlock(&pages->lock);
	if (!page)
		errno = ENOMEM;
	if (run > 1) /* whoever gets one of them sooner touches it first; so it is where this fails */
		(void)madvise(page, run * PAGES_SIZE, MADV_POPULATE_WRITE);
	return page;
}

/* ------------------------------------------------------------------------ */
/* Giving back                                                               */

void pages_free(struct pages *pages, void *page)
{
	struct pages_region *region = region_of(page), *unused = NULL;

	pthread_mutex_lock(&pages->lock);
	if (region->used-- == REGION_PAGES - 1) {
		LIST_REMOVE(region, link);
		LIST_INSERT_HEAD(&pages->roomy, region, link);
	}
	add(&region->free, (unsigned)((size_t)((char *)page - (char *)region) / PAGES_SIZE));
	atomic_fetch_add_explicit(&pages->idle, 1, memory_order_relaxed);
	/* The last roomy one stays: it would be asked for again at once. */
	if (region->used == 0 && (LIST_FIRST(&pages->roomy) != region || LIST_NEXT(region, link))) {
		LIST_REMOVE(region, link);
		atomic_fetch_sub_explicit(&pages->idle, count_idle(region), memory_order_relaxed);
		unused = region;
	}
	pthread_mutex_unlock(&pages->lock);
	if (unused)
		free_region(unused);
}

static void trim_run(struct pages *pages, struct pages_region *region, unsigned i, unsigned n)
{
	if (madvise(page_at(region, i), n * PAGES_SIZE, MADV_DONTNEED) < 0)
		return; /* they stay */
	atomic_fetch_sub_explicit(&pages->idle, n, memory_order_relaxed);
	for (; n > 0; i++, n--) {
		drop(&region->there, i);
		add(&region->zero, i);
	}
}

static void trim_region(struct pages *pages, struct pages_region *region)
{
	unsigned i, n;

	for (i = 1; i < REGION_PAGES; i += n) {
		n = 1;
		if (!has(&region->free, i) || !has(&region->there, i))
			continue;
		n = run_from(region, i, REGION_PAGES);
		trim_run(pages, region, i, n);
	}
}

void pages_trim(struct pages *pages)
{
	struct pages_region *region;

	pthread_mutex_lock(&pages->lock);
	LIST_FOREACH(region, &pages->roomy, link)
	trim_region(pages, region);
	pthread_mutex_unlock(&pages->lock);
}

uint64_t pages_idle(const struct pages *pages)
{
	return (uint64_t)atomic_load_explicit(&pages->idle, memory_order_relaxed) * PAGES_SIZE;
}

/* ------------------------------------------------------------------------ */
/* Life                                                                      */

void pages_init(struct pages *pages)
{
	(void)pthread_mutex_init(&pages->lock, NULL); /* never fails for the default kind */
	LIST_INIT(&pages->roomy);
	LIST_INIT(&pages->full);
	atomic_init(&pages->idle, 0);
}

void pages_done(struct pages *pages)
{
	free_regions(&pages->roomy);
	free_regions(&pages->full);
	(void)pthread_mutex_destroy(&pages->lock);
}
