/* SPDX-License-Identifier: MIT */
/*
 * The two hashes of the inode table: see inode_table.h.
 */
#include "inode_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_BUCKETS = 1024 };

int inode_hash_init(struct inode_table *table)
{
	table->buckets = FIRST_BUCKETS;
	table->by_ino = calloc(table->buckets, sizeof(struct inode *));
	table->by_identity = calloc(table->buckets, sizeof(struct inode *));
	return table->by_ino && table->by_identity ? 0 : -ENOMEM;
}

void inode_hash_done(struct inode_table *table)
{
	free(table->by_ino);
	free(table->by_identity);
}

static size_t bucket_of(const struct inode_table *table, uint64_t number)
{
	return (size_t)((number * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & (table->buckets - 1);
}

static uint64_t hash_of_file(uint64_t dev, uint64_t source_ino)
{
	return source_ino + dev * UINT64_C(0x2545f4914f6cdd1d);
}

static uint64_t hash_of_handle(const unsigned char *bytes, unsigned size)
{
	uint64_t hash = size;
	uint64_t word;

	for (; size; bytes += word, size -= (unsigned)word) {
		uint32_t part = 0;

		word = size < sizeof(part) ? size : sizeof(part);
		memcpy(&part, bytes, word);
		hash = (hash ^ part) * UINT64_C(0x2545f4914f6cdd1d);
		hash ^= hash >> 29;
	}
	return hash;
}

static size_t identity_bucket(const struct inode_table *table, const struct inode *inode)
{
	return bucket_of(table, inode->handle_size ? hash_of_handle(inode->handle, inode->handle_size)
						   : hash_of_file(inode->dev, inode->source_ino));
}

static void link_by_ino(struct inode_table *table, struct inode *inode)
{
	struct inode **bucket = &table->by_ino[bucket_of(table, inode->ino)];

	inode->next_by_ino = *bucket;
	*bucket = inode;
}

static void link_by_identity(struct inode_table *table, struct inode *inode)
{
	struct inode **bucket = &table->by_identity[identity_bucket(table, inode)];

	inode->next_by_identity = *bucket;
	*bucket = inode;
}

static void unlink_by_ino(struct inode_table *table, const struct inode *inode)
{
	struct inode **at = &table->by_ino[bucket_of(table, inode->ino)];

	while (*at != inode)
		at = &(*at)->next_by_ino;
	*at = inode->next_by_ino;
}

static void unlink_by_identity(struct inode_table *table, const struct inode *inode)
{
	struct inode **at = &table->by_identity[identity_bucket(table, inode)];

	while (*at != inode)
		at = &(*at)->next_by_identity;
	*at = inode->next_by_identity;
}

/* Doubles the buckets.  Without memory for it the chains get longer, no more. */
static void grow_locked(struct inode_table *table)
{
	size_t old_buckets = table->buckets;
	struct inode **old = table->by_ino;
	struct inode **by_ino = calloc(old_buckets * 2, sizeof(struct inode *));
	struct inode **by_identity = calloc(old_buckets * 2, sizeof(struct inode *));

	if (!by_ino || !by_identity) {
		free(by_ino);
		free(by_identity);
		return;
	}
	free(table->by_identity);
	table->by_ino = by_ino;
	table->by_identity = by_identity;
	table->buckets = old_buckets * 2;
	for (size_t i = 0; i < old_buckets; i++) {
		struct inode *next;

		for (struct inode *inode = old[i]; inode; inode = next) {
			next = inode->next_by_ino;
			link_by_ino(table, inode);
			if (!inode->replaced)
				link_by_identity(table, inode);
		}
	}
	free(old);
}

struct inode *inode_hash_find_locked(const struct inode_table *table, uint64_t ino)
{
	struct inode *inode = table->by_ino[bucket_of(table, ino)];

	while (inode && inode->ino != ino)
		inode = inode->next_by_ino;
	return inode;
}

static bool has_handle(const struct inode *inode, const struct handle *handle)
{
	return inode->handle_size == handle->size && inode->handle_type == handle->type &&
	       memcmp(inode->handle, handle->bytes, handle->size) == 0;
}

struct inode *inode_hash_next_handle_locked(const struct inode_table *table, const struct inode *inode,
					    const struct handle *handle)
{
	struct inode *next = inode ? inode->next_by_identity
				   : table->by_identity[bucket_of(table, hash_of_handle(handle->bytes, handle->size))];

	while (next && !has_handle(next, handle))
		next = next->next_by_identity;
	return next;
}

/* The next one without a handle. */
static struct inode *next_number(const struct inode_table *table, const struct inode *inode, const struct statx *stx)
{
	uint64_t dev = inode_device(stx);
	struct inode *next =
		inode ? inode->next_by_identity : table->by_identity[bucket_of(table, hash_of_file(dev, stx->stx_ino))];

	while (next && (next->handle_size || next->source_ino != stx->stx_ino || next->dev != dev))
		next = next->next_by_identity;
	return next;
}

struct inode *inode_hash_next_source_locked(const struct inode_table *table, const struct inode *inode,
					    const struct mount *mount, const struct statx *stx,
					    const struct handle *handle)
{
	struct inode *next = NULL;

	do {
		next = handle->size ? inode_hash_next_handle_locked(table, next ? next : inode, handle)
				    : next_number(table, next ? next : inode, stx);
	} while (next && (next->mount != mount || (!mount->handles_last && next->source_ino != stx->stx_ino)));
	return next;
}

void inode_hash_add_locked(struct inode_table *table, struct inode *inode)
{
	if (table->count >= table->buckets)
		grow_locked(table);
	if (!inode->ino)
		inode->ino = NUMBERS_COUNTED | ++table->last_counted;
	link_by_ino(table, inode);
	link_by_identity(table, inode);
	table->count++;
}

void inode_hash_replace_locked(struct inode_table *table, struct inode *inode)
{
	unlink_by_identity(table, inode);
	inode->replaced = true;
}

void inode_hash_remove_locked(struct inode_table *table, struct inode *inode)
{
	unlink_by_ino(table, inode);
	if (!inode->replaced)
		unlink_by_identity(table, inode);
	table->count--;
}
