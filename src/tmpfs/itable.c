/* SPDX-License-Identifier: MIT */
/* From numbers to inodes.  See itable.h. */
#include "itable.h"

#include "inode.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

static uint64_t hash_of_link(const struct table_link *link)
{
	return table_hash_number(((const struct inode *)link)->number);
}

static struct itable_shard *shard_of(struct itable *itable, uint64_t number)
{
	return &itable->shards[number % ITABLE_SHARDS];
}

/* Where the link to the inode with @number is; NULL if there is none. */
static struct table_link **find(struct itable_shard *shard, uint64_t number) REQUIRES_SHARED(shard->lock)
{
	struct table_link **at = table_chain(&shard->table, table_hash_number(number));

	if (!at)
		return NULL;
	while (*at && ((struct inode *)*at)->number != number)
		at = &(*at)->next;
	return *at ? at : NULL;
}

/* A reference to an inode that has none left cannot be had: it is being freed. */
static bool ref_unless_zero(struct inode *inode)
{
	uint64_t refs = atomic_load_explicit(&inode->refs, memory_order_relaxed);

	while (refs > 0)
		if (atomic_compare_exchange_weak_explicit(&inode->refs, &refs, refs + 1, memory_order_relaxed,
							  memory_order_relaxed))
			return true;
	return false;
}

void itable_init(struct itable *itable)
{
	unsigned i;

	for (i = 0; i < ITABLE_SHARDS; i++) {
		small_rwlock_init(&itable->shards[i].lock);
		itable->shards[i].table = (struct table){0};
	}
}

void itable_drain(struct itable *itable, struct mem *mem, void (*drop)(struct table_link *link, void *arg), void *arg)
{
	unsigned i;

	for (i = 0; i < ITABLE_SHARDS; i++)
		table_drain(&itable->shards[i].table, mem, drop, arg);
}

int itable_add(struct itable *itable, struct mem *mem, struct inode *inode)
{
	struct itable_shard *shard = shard_of(itable, inode->number);
	int err;

	small_rwlock_wrlock(&shard->lock);
	err = table_reserve(&shard->table, mem);
	if (!err)
		table_insert(&shard->table, mem, &inode->link, hash_of_link);
	small_rwlock_wrunlock(&shard->lock);
	return err;
}

struct inode *itable_get(struct itable *itable, uint64_t number)
{
	struct itable_shard *shard = shard_of(itable, number);
	struct inode *inode = NULL;
	struct table_link **at;

	small_rwlock_rdlock(&shard->lock);
	at = find(shard, number);
	if (at && ref_unless_zero((struct inode *)*at))
		inode = (struct inode *)*at;
	small_rwlock_rdunlock(&shard->lock);
	return inode;
}

struct collection {
	struct inode **inodes;
	size_t n;
};

static void collect(struct table_link *link, void *arg)
{
	struct collection *collection = arg;

	if (ref_unless_zero((struct inode *)link))
		collection->inodes[collection->n++] = (struct inode *)link;
}

int itable_get_all(struct itable *itable, unsigned number, struct inode ***inodes, size_t *n)
{
	struct itable_shard *shard = &itable->shards[number];
	struct collection collection = {0};

	small_rwlock_rdlock(&shard->lock);
	collection.inodes = malloc((shard->table.count + (size_t)1) * sizeof(collection.inodes[0]));
	if (collection.inodes)
		table_each(&shard->table, collect, &collection);
	small_rwlock_rdunlock(&shard->lock);
	if (!collection.inodes)
		return -ENOMEM;
	*inodes = collection.inodes;
	*n = collection.n;
	return 0;
}

bool itable_unref(struct itable *itable, struct mem *mem, struct inode *inode, uint64_t n)
{
	struct itable_shard *shard;

	if (atomic_fetch_sub_explicit(&inode->refs, n, memory_order_acq_rel) != n)
		return false;
	shard = shard_of(itable, inode->number);
	small_rwlock_wrlock(&shard->lock);
	table_remove(&shard->table, mem, find(shard, inode->number));
	small_rwlock_wrunlock(&shard->lock);
	return true;
}
