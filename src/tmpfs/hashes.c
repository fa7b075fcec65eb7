/* SPDX-License-Identifier: MIT */
/* What the pieces of files were.  See hashes.h. */
#include "hashes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <xxhash.h>

/* Of a file with more holes than this for each piece with bytes nothing is known: it is as soon written as compared, and the
 * memory would not be for what the file has, but for where it has it. */
#define HOLES_MAX 1024

struct hashed_file {
	struct table_link link;
	uint64_t number;
	uint64_t stamp;
	uint64_t count, capacity; /* pieces */
	uint64_t n_bytes; /* of them, those that are no holes */
	uint64_t *hashes; /* NULL: capacity is 0 */
};

static uint64_t hash_of_link(const struct table_link *link)
{
	return table_hash_number(((const struct hashed_file *)link)->number);
}

int hashes_new(struct hashes **made)
{
	struct hashes *hashes = aligned_alloc(_Alignof(struct hashes), sizeof(*hashes));
	struct timespec now;

	if (!hashes)
		return -ENOMEM;
	memset(hashes, 0, sizeof(*hashes));
	mem_init(&hashes->mem, MEM_UNLIMITED, MEM_UNLIMITED);
	(void)pthread_mutex_init(&hashes->lock, NULL); /* never fails for the default kind */
	if (getrandom(&hashes->seed, sizeof(hashes->seed), GRND_NONBLOCK) != sizeof(hashes->seed)) {
		(void)clock_gettime(CLOCK_REALTIME, &now); /* fails only for an unknown clock */
		hashes->seed = (uint64_t)now.tv_nsec;
	}
	*made = hashes;
	return 0;
}

static void free_file(struct table_link *link, void *arg)
{
	struct hashed_file *file = (struct hashed_file *)link;
	struct hashes *hashes = arg;

	if (file->hashes)
		mem_free(&hashes->mem, file->hashes, file->capacity * sizeof(file->hashes[0]));
	mem_free(&hashes->mem, file, sizeof(*file));
}

void hashes_free(struct hashes *hashes)
{
	if (!hashes)
		return;
	table_drain(&hashes->files, &hashes->mem, free_file, hashes);
	mem_done(&hashes->mem);
	(void)pthread_mutex_destroy(&hashes->lock);
	free(hashes);
}

static bool is_zero(const unsigned char *bytes, size_t n)
{
	return n == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, n - 1) == 0);
}

uint64_t hashes_of(const struct hashes *hashes, const void *bytes, size_t n)
{
	uint64_t hash;

	if (is_zero(bytes, n))
		return 0;
	hash = XXH3_64bits_withSeed(bytes, n, hashes->seed);
	return hash ? hash : 1;
}

/* Where the link to the file is, or NULL. */
static struct table_link **find(struct hashes *hashes, uint64_t number)
{
	struct table_link **at = table_chain(&hashes->files, table_hash_number(number));

	while (at && *at && ((struct hashed_file *)*at)->number != number)
		at = &(*at)->next;
	return at && *at ? at : NULL;
}

static void forget_locked(struct hashes *hashes, uint64_t number)
{
	struct table_link **at = find(hashes, number), *link;

	if (!at)
		return;
	link = *at;
	table_remove(&hashes->files, &hashes->mem, at);
	free_file(link, hashes);
}

void hashes_forget(struct hashes *hashes, uint64_t number)
{
	pthread_mutex_lock(&hashes->lock);
	forget_locked(hashes, number);
	pthread_mutex_unlock(&hashes->lock);
}

void hashes_begin(struct hashes *hashes, uint64_t number)
{
	struct hashed_file *file;

	pthread_mutex_lock(&hashes->lock);
	forget_locked(hashes, number);
	if (table_reserve(&hashes->files, &hashes->mem))
		goto unlock;
	file = mem_zalloc(&hashes->mem, sizeof(*file));
	if (file) {
		file->number = number;
		table_insert(&hashes->files, &hashes->mem, &file->link, hash_of_link);
	} else {
		table_unreserve(&hashes->files, &hashes->mem);
	}
unlock:
	pthread_mutex_unlock(&hashes->lock);
}

bool hashes_get(struct hashes *hashes, uint64_t number, uint64_t index, uint64_t *hash)
{
	struct table_link **at;
	const struct hashed_file *file;

	pthread_mutex_lock(&hashes->lock);
	at = find(hashes, number);
	if (at) {
		file = (struct hashed_file *)*at;
		*hash = index < file->count ? file->hashes[index] : 0;
	}
	pthread_mutex_unlock(&hashes->lock);
	return at != NULL;
}

/* Makes room for piece @index, if that is worth it. */
static bool reach(struct hashes *hashes, struct hashed_file *file, uint64_t index)
{
	uint64_t capacity = file->capacity ? file->capacity : 1;
	uint64_t *grown;

	while (capacity <= index)
		capacity *= 2;
	if (capacity == file->capacity)
		return true;
	if (capacity / HOLES_MAX > file->n_bytes + 1 || capacity > SIZE_MAX / sizeof(grown[0]))
		return false;
	grown = mem_zalloc(&hashes->mem, capacity * sizeof(grown[0]));
	if (!grown)
		return false;
	if (file->hashes) {
		memcpy(grown, file->hashes, file->count * sizeof(grown[0]));
		mem_free(&hashes->mem, file->hashes, file->capacity * sizeof(grown[0]));
	}
	file->hashes = grown;
	file->capacity = capacity;
	return true;
}

static void set_locked(struct hashes *hashes, struct hashed_file *file, uint64_t index, uint64_t hash)
{
	if (index >= file->count && hash == 0)
		return;
	if (!reach(hashes, file, index)) {
		forget_locked(hashes, file->number);
		return;
	}
	if (index >= file->count) {
		memset(file->hashes + file->count, 0, (index - file->count) * sizeof(file->hashes[0]));
		file->count = index + 1;
	}
	file->n_bytes += hash != 0;
	file->n_bytes -= file->hashes[index] != 0;
	file->hashes[index] = hash;
}

void hashes_set(struct hashes *hashes, uint64_t number, uint64_t index, uint64_t hash)
{
	struct table_link **at;

	pthread_mutex_lock(&hashes->lock);
	at = find(hashes, number);
	if (at)
		set_locked(hashes, (struct hashed_file *)*at, index, hash);
	pthread_mutex_unlock(&hashes->lock);
}

void hashes_cut(struct hashes *hashes, uint64_t number, uint64_t index)
{
	struct table_link **at;
	struct hashed_file *file;

	pthread_mutex_lock(&hashes->lock);
	at = find(hashes, number);
	file = at ? (struct hashed_file *)*at : NULL;
	while (file && file->count > index)
		file->n_bytes -= file->hashes[--file->count] != 0;
	pthread_mutex_unlock(&hashes->lock);
}

bool hashes_count(struct hashes *hashes, uint64_t number, uint64_t *count)
{
	struct table_link **at;

	pthread_mutex_lock(&hashes->lock);
	at = find(hashes, number);
	if (at)
		*count = ((struct hashed_file *)*at)->count;
	pthread_mutex_unlock(&hashes->lock);
	return at != NULL;
}

bool hashes_stamp(struct hashes *hashes, uint64_t number, uint64_t stamp)
{
	struct table_link **at;
	bool is_new = true;

	pthread_mutex_lock(&hashes->lock);
	at = find(hashes, number);
	if (at) {
		is_new = ((struct hashed_file *)*at)->stamp != stamp;
		((struct hashed_file *)*at)->stamp = stamp;
	}
	pthread_mutex_unlock(&hashes->lock);
	return is_new;
}
