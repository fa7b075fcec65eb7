/* SPDX-License-Identifier: MIT */
/*
 * A hash table that grows and shrinks by one chain at a time (linear hashing), so
 * that no insertion ever waits for a rehash of the whole.  Knows links and hashes,
 * not what they are in.  Hides where the chains lie.
 *
 * An insertion cannot fail once table_reserve() has succeeded: where there is no
 * memory to grow, the chains only get longer.
 */
#ifndef TMPFS_TABLE_H
#define TMPFS_TABLE_H

#include <stddef.h>
#include <stdint.h>

struct mem;

/* The first member of what a table holds. */
struct table_link {
	struct table_link *next;
};

/* All zero is an empty table, which takes no further memory. */
struct table {
	struct table_link ***segments; /* [0]: the first chains, [i]: as many as all before */
	uint32_t segments_max; /* length of the array */
	uint32_t chains;
	uint32_t count; /* of links */
};

/* The hash under which @link was inserted. */
typedef uint64_t table_hash(const struct table_link *link);

/* The hash of a number: consecutive ones, and those with the same number of trailing zeros, go to different chains. */
static inline uint64_t table_hash_number(uint64_t number)
{
	return (number * UINT64_C(0x9e3779b97f4a7c15)) >> 24;
}

/* Makes sure that one link can be inserted.  Returns 0, -ENOMEM, or -ENOSPC, also if there are
 * 2^32 - 1.  To be taken back by table_unreserve() if nothing is inserted. */
int table_reserve(struct table *table, struct mem *mem);
void table_unreserve(struct table *table, struct mem *mem);

/* The head of the chain in which links of @hash are; NULL if the table is empty. */
struct table_link **table_chain(const struct table *table, uint64_t hash);

/* How many of the low bits of @hash chose its chain.  (Links whose hash has
 * the same low bits are all in that chain, perhaps with others.) */
unsigned table_chain_bits(const struct table *table, uint64_t hash);

void table_insert(struct table *table, struct mem *mem, struct table_link *link, table_hash *hash_of);

/* Takes out the link that @at points to, which table_chain() led to. */
void table_remove(struct table *table, struct mem *mem, struct table_link **at);

/* Calls @visit for each link.  It changes nothing of the table. */
void table_each(const struct table *table, void (*visit)(struct table_link *link, void *arg), void *arg);

/* Empties the table; what was in it is the caller's. */
void table_forget(struct table *table, struct mem *mem);

/* Calls @drop for each link, which may free it, and empties the table. */
void table_drain(struct table *table, struct mem *mem, void (*drop)(struct table_link *link, void *arg), void *arg);

#endif
