/* SPDX-License-Identifier: MIT */
/*
 * Linear hashing.  See table.h.
 *
 * With 2^k <= chains < 2^(k+1), the chains below `chains - 2^k` and those from 2^k on
 * are told apart by k + 1 bits of the hash, the rest by k bits.  Growing splits the
 * next chain of the rest; shrinking undoes that.
 * Source: W. Litwin, Linear hashing (1980).
 */
#include "table.h"

#include "mem.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define FIRST_BITS 3
#define FIRST_CHAINS (1u << FIRST_BITS)
#define CHAINS_MAX (1u << 31)
/* The array of segments grows by so many. */
#define SEGMENTS_STEP 4

static unsigned log2_of(size_t n)
{
	return 63 - (unsigned)__builtin_clzll(n);
}

static unsigned segment_of(size_t chain)
{
	return chain < FIRST_CHAINS ? 0 : log2_of(chain) - FIRST_BITS + 1;
}

static size_t segment_start(unsigned segment)
{
	return segment == 0 ? 0 : (size_t)FIRST_CHAINS << (segment - 1);
}

static size_t segment_bytes(unsigned segment)
{
	return (segment == 0 ? FIRST_CHAINS : segment_start(segment)) * sizeof(struct table_link *);
}

static struct table_link **head(const struct table *table, size_t chain)
{
	unsigned segment = segment_of(chain);

	return &table->segments[segment][chain - segment_start(segment)];
}

/* The chain of @hash, and how many bits lead to it. */
static size_t chain_of(const struct table *table, uint64_t hash, unsigned *bits)
{
	unsigned k = log2_of(table->chains);
	size_t chain = (size_t)hash & (((size_t)2 << k) - 1);

	if (chain < table->chains) {
		*bits = k + 1;
		return chain;
	}
	*bits = k;
	return chain & (((size_t)1 << k) - 1);
}

/* Makes room in the array of segments.  Returns false if there is no memory. */
static bool extend_segments(struct table *table, struct mem *mem)
{
	size_t bytes = (size_t)table->segments_max * sizeof(*table->segments);
	struct table_link ***longer = mem_zalloc(mem, bytes + SEGMENTS_STEP * sizeof(*longer));

	if (!longer)
		return false;
	if (bytes > 0)
		memcpy(longer, table->segments, bytes);
	mem_free(mem, table->segments, bytes);
	table->segments = longer;
	table->segments_max += SEGMENTS_STEP;
	return true;
}

/* Makes @segment, the one behind the last.  Returns false if there is no memory. */
static bool add_segment(struct table *table, struct mem *mem, unsigned segment)
{
	struct table_link **chains;

	if (segment == table->segments_max && !extend_segments(table, mem))
		return false;
	chains = mem_zalloc(mem, segment_bytes(segment));
	table->segments[segment] = chains;
	return chains != NULL;
}

static void drop_segment(struct table *table, struct mem *mem, unsigned segment)
{
	mem_free(mem, table->segments[segment], segment_bytes(segment));
	table->segments[segment] = NULL;
}

static void grow(struct table *table, struct mem *mem, table_hash *hash_of)
{
	size_t made = table->chains;
	unsigned k = log2_of(made);
	struct table_link **at, **end, *link;

	if (made == CHAINS_MAX)
		return;
	if (made == segment_start(segment_of(made)) && !add_segment(table, mem, segment_of(made)))
		return;
	table->chains++;
	end = head(table, made);
	for (at = head(table, made - ((size_t)1 << k)); (link = *at);) {
		if (((size_t)hash_of(link) & (((size_t)2 << k) - 1)) != made) {
			at = &link->next;
			continue;
		}
		*at = link->next;
		link->next = NULL;
		*end = link;
		end = &link->next;
	}
}

static void shrink(struct table *table, struct mem *mem)
{
	size_t gone = table->chains - 1;
	unsigned k = log2_of(gone);
	struct table_link **end = head(table, gone - ((size_t)1 << k));

	while (*end)
		end = &(*end)->next;
	*end = *head(table, gone);
	*head(table, gone) = NULL;
	table->chains--;
	if (gone == segment_start(segment_of(gone)))
		drop_segment(table, mem, segment_of(gone));
}

void table_forget(struct table *table, struct mem *mem)
{
	uint32_t segment;

	for (segment = 0; segment < table->segments_max; segment++)
		drop_segment(table, mem, segment);
	mem_free(mem, table->segments, (size_t)table->segments_max * sizeof(*table->segments));
	*table = (struct table){0};
}

int table_reserve(struct table *table, struct mem *mem)
{
	if (table->count == UINT32_MAX)
		return -ENOSPC;
	if (table->chains > 0)
		return 0;
	if (!add_segment(table, mem, 0)) {
		int err = -errno;

		table_forget(table, mem);
		return err;
	}
	table->chains = FIRST_CHAINS;
	return 0;
}

void table_unreserve(struct table *table, struct mem *mem)
{
	if (table->count == 0)
		table_forget(table, mem);
}

struct table_link **table_chain(const struct table *table, uint64_t hash)
{
	unsigned bits;

	return table->chains == 0 ? NULL : head(table, chain_of(table, hash, &bits));
}

unsigned table_chain_bits(const struct table *table, uint64_t hash)
{
	unsigned bits = 0;

	if (table->chains > 0)
		(void)chain_of(table, hash, &bits); /* only the bits are asked for */
	return bits;
}

void table_insert(struct table *table, struct mem *mem, struct table_link *link, table_hash *hash_of)
{
	struct table_link **chain = table_chain(table, hash_of(link));

	link->next = *chain;
	*chain = link;
	if (++table->count > table->chains)
		grow(table, mem, hash_of);
}

void table_remove(struct table *table, struct mem *mem, struct table_link **at)
{
	int step;

	*at = (*at)->next;
	table->count--;
	if (table->count == 0) {
		table_forget(table, mem);
		return;
	}
	for (step = 0; step < 2 && table->chains > FIRST_CHAINS && table->count < table->chains / 2; step++)
		shrink(table, mem);
}

void table_each(const struct table *table, void (*visit)(struct table_link *link, void *arg), void *arg)
{
	size_t chain;
	struct table_link *link;

	for (chain = 0; chain < table->chains; chain++)
		for (link = *head(table, chain); link; link = link->next)
			visit(link, arg);
}

void table_drain(struct table *table, struct mem *mem, void (*drop)(struct table_link *link, void *arg), void *arg)
{
	size_t chain;
	struct table_link *link, *next;

	for (chain = 0; chain < table->chains; chain++)
		for (link = *head(table, chain); link; link = next) {
			next = link->next;
			drop(link, arg);
		}
	table_forget(table, mem);
}
