/* SPDX-License-Identifier: MIT */
/*
 * The files and directories that are open.  The kernel says nothing about them when the
 * connection ends; what the handlers opened is then released from this list, so that they
 * see a release for each open, whatever happens (L11).
 *
 * Sharded by inode, so that opens of different files seldom meet.
 */
#include <stdlib.h>

#include "internal.h"

struct open_file {
	struct open_file *next;
	uint64_t ino, fh;
	uint64_t count; /* opens that cannot be told apart */
	int flags;
	bool is_dir;
};

static uint64_t mix(uint64_t ino, uint64_t fh)
{
	return (ino ^ (fh << 32 | fh >> 32)) * UINT64_C(0x9E3779B97F4A7C15);
}

void ll_opens_init(struct open_table *table)
{
	for (size_t i = 0; i < ARRAY_SIZE(table->shards); i++) {
		struct open_shard *shard = &table->shards[i];

		pthread_mutex_init(&shard->lock, NULL);
		shard->buckets = shard->first_buckets;
		shard->n_buckets = ARRAY_SIZE(shard->first_buckets);
	}
}

static void free_buckets(struct open_shard *shard)
{
	if (shard->buckets != shard->first_buckets)
		free(shard->buckets);
}

void ll_opens_done(struct open_table *table)
{
	for (size_t i = 0; i < ARRAY_SIZE(table->shards); i++) {
		struct open_shard *shard = &table->shards[i];

		for (size_t k = 0; k < shard->n_buckets; k++)
			while (shard->buckets[k]) {
				struct open_file *open = shard->buckets[k];

				shard->buckets[k] = open->next;
				free(open);
			}
		free_buckets(shard);
		pthread_mutex_destroy(&shard->lock);
	}
}

static struct open_shard *shard_of(struct open_table *table, uint64_t mixed)
{
	return &table->shards[mixed >> 60];
}

static struct open_file **bucket_of(const struct open_shard *shard, uint64_t mixed)
{
	return &shard->buckets[(mixed >> 28) & (shard->n_buckets - 1)];
}

static struct open_file **find_locked(const struct open_shard *shard, uint64_t mixed, uint64_t ino, uint64_t fh,
				      bool is_dir)
{
	struct open_file **open = bucket_of(shard, mixed);

	while (*open && ((*open)->ino != ino || (*open)->fh != fh || (*open)->is_dir != is_dir))
		open = &(*open)->next;
	return open;
}

/* Keeps chains short, if there is memory for it. */
static void grow_locked(struct open_shard *shard)
{
	struct open_shard larger = {.n_buckets = shard->n_buckets * 2};

	if (shard->n_opens < shard->n_buckets)
		return;
	larger.buckets = calloc(larger.n_buckets, sizeof(struct open_file *));
	if (!larger.buckets)
		return;
	for (size_t i = 0; i < shard->n_buckets; i++)
		while (shard->buckets[i]) {
			struct open_file *open = shard->buckets[i];
			struct open_file **to = bucket_of(&larger, mix(open->ino, open->fh));

			shard->buckets[i] = open->next;
			open->next = *to;
			*to = open;
		}
	free_buckets(shard);
	shard->buckets = larger.buckets;
	shard->n_buckets = larger.n_buckets;
}

int ll_opens_reserve(struct worker *worker)
{
	if (!worker->spare_open)
		worker->spare_open = malloc(sizeof(*worker->spare_open));
	return worker->spare_open ? 0 : -ENOMEM;
}

void ll_opens_add(struct llfuse_session *session, struct worker *worker, uint64_t ino, const struct llfuse_file *file,
		  bool is_dir)
{
	uint64_t mixed = mix(ino, file->fh);
	struct open_shard *shard = shard_of(&session->opens, mixed);
	struct open_file **at;

	if (is_dir ? !session->ops.releasedir : !session->ops.release)
		return;
	/* Where open is not set, the kernel soon sends no release for created files either. */
	if (!is_dir && !session->ops.open)
		return;
	pthread_mutex_lock(&shard->lock);
	grow_locked(shard);
	at = find_locked(shard, mixed, ino, file->fh, is_dir);
	if (!*at) {
		*at = worker->spare_open;
		worker->spare_open = NULL;
		**at = (struct open_file){.ino = ino, .fh = file->fh, .flags = file->flags, .is_dir = is_dir};
		shard->n_opens++;
	}
	(*at)->count++;
	pthread_mutex_unlock(&shard->lock);
}

void ll_opens_remove(struct llfuse_session *session, uint64_t ino, const struct llfuse_file *file, bool is_dir)
{
	uint64_t mixed = mix(ino, file->fh);
	struct open_shard *shard = shard_of(&session->opens, mixed);
	struct open_file **at, *open = NULL;

	pthread_mutex_lock(&shard->lock);
	at = find_locked(shard, mixed, ino, file->fh, is_dir);
	if (*at && --(*at)->count == 0) {
		open = *at;
		*at = open->next;
		shard->n_opens--;
	}
	pthread_mutex_unlock(&shard->lock);
	free(open);
}

static void release(struct llfuse_session *session, const struct open_file *open)
{
	struct llfuse_request req = {.userdata = session->userdata};

	for (uint64_t i = 0; i < open->count; i++) {
		struct llfuse_file file = {.flags = open->flags, .fh = open->fh, .backing_fd = -1};

		/* Nobody is left to be told of an error. */
		if (open->is_dir)
			(void)session->ops.releasedir(&req, open->ino, &file);
		else
			(void)session->ops.release(&req, open->ino, &file);
	}
}

void ll_opens_release_all(struct llfuse_session *session)
{
	for (size_t i = 0; i < ARRAY_SIZE(session->opens.shards); i++) {
		struct open_shard *shard = &session->opens.shards[i];

		for (size_t k = 0; k < shard->n_buckets; k++)
			while (shard->buckets[k]) {
				struct open_file *open = shard->buckets[k];

				shard->buckets[k] = open->next;
				release(session, open);
				free(open);
			}
		shard->n_opens = 0;
	}
}
