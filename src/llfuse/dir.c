/* SPDX-License-Identifier: MIT */
/*
 * Directory listings: packs what a handler adds for readdir and readdirplus, and remembers
 * which entries the kernel will count a lookup for.
 */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

/* The smallest entry of a readdirplus answer: 128 bytes of attributes and a dirent of 24 plus
 * a name of at least one byte, padded to 8.  Bounds how many entries fit. */
enum { SMALLEST_PLUS_ENTRY = 160 };

/* FUSE_NAME_MAX of Linux fs/fuse/fuse_i.h.  With a longer one the kernel refuses the whole answer, and what it counted. */
enum { LONGEST_NAME = 4095 };

/* An answer without an entry would be the end of the listing.  This has room for the longest name, with its 152 bytes of
 * attributes and dirent, padded to 8. */
enum { SHORTEST_ANSWER = 4248 };

/* A made-up listing keeps its entries in this form. */
struct dir_record {
	char *name;
	uint64_t ino;
	off_t next_off;
};

static int reserve_counted(struct worker *worker, size_t capacity)
{
	uint64_t *counted;

	if (capacity <= worker->counted_capacity)
		return 0;
	counted = realloc(worker->counted, capacity * sizeof(*counted));
	if (!counted)
		return -ENOMEM;
	worker->counted = counted;
	worker->counted_capacity = capacity;
	return 0;
}

/* Room for an answer of dir->size bytes. */
static int find_room(struct llfuse_dir *dir, struct worker *worker)
{
	size_t payload_size;
	char *payload;
	int err;

	if (fuse_req_is_uring(dir->req) && !fuse_req_get_payload(dir->req, &payload, &payload_size, NULL) &&
	    payload_size >= dir->size)
		dir->buf = payload;
	else
		dir->buf = ll_worker_scratch(worker, dir->size);
	if (!dir->buf)
		return -ENOMEM;
	if (!dir->wants_attr)
		return 0;
	err = reserve_counted(worker, dir->size / SMALLEST_PLUS_ENTRY + 1);
	if (!err)
		dir->counted = worker->counted;
	return err;
}

int ll_dir_reserve(struct worker *worker)
{
	if (!ll_worker_scratch(worker, SHORTEST_ANSWER))
		return -ENOMEM;
	return reserve_counted(worker, SHORTEST_ANSWER / SMALLEST_PLUS_ENTRY + 1);
}

/* Where memory is short, so is the answer. */
int ll_dir_init(struct llfuse_dir *dir, fuse_req_t req, struct worker *worker, size_t size, bool wants_attr)
{
	memset(dir, 0, sizeof(*dir));
	dir->req = req;
	dir->size = size;
	dir->wants_attr = wants_attr;
	while (find_room(dir, worker)) {
		if (dir->size <= SHORTEST_ANSWER)
			return -ENOMEM;
		dir->size = dir->size / 2 > SHORTEST_ANSWER ? dir->size / 2 : SHORTEST_ANSWER;
	}
	return 0;
}

bool llfuse_dir_wants_attr(const struct llfuse_dir *dir)
{
	return dir->wants_attr;
}

void ll_entry_to_fuse(const struct llfuse_entry *entry, struct fuse_entry_param *param)
{
	param->ino = entry->ino;
	param->generation = entry->generation;
	param->attr = entry->attr;
	if (!param->attr.st_ino)
		param->attr.st_ino = entry->ino; /* readdir(3) passes over an entry that has none */
	param->attr_timeout = entry->attr_timeout_s;
	param->entry_timeout = entry->entry_timeout_s;
}

static bool is_dot_or_dotdot(const char *name)
{
	return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

static size_t pack(struct llfuse_dir *dir, const char *name, const struct llfuse_entry *entry, bool is_counted,
		   off_t next_off)
{
	size_t room = dir->size - dir->used;
	struct fuse_entry_param param;
	char *at = dir->buf ? dir->buf + dir->used : NULL;

	ll_entry_to_fuse(entry, &param);
	if (!dir->wants_attr)
		return fuse_add_direntry(dir->req, at, room, name, &param.attr, next_off);
	if (!is_counted)
		param.ino = 0; /* the kernel neither counts it nor uses its attributes */
	return fuse_add_direntry_plus(dir->req, at, room, name, &param, next_off);
}

static int record(struct llfuse_dir *dir, const char *name, uint64_t ino, off_t next_off)
{
	struct dir_record *records = dir->records;
	char *copy;

	if (dir->n_records == dir->max_records) {
		size_t max = dir->max_records ? dir->max_records * 2 : 16;

		records = realloc(records, max * sizeof(*records));
		if (!records)
			return -ENOMEM;
		dir->records = records;
		dir->max_records = max;
	}
	copy = strdup(name);
	if (!copy)
		return -ENOMEM;
	records[dir->n_records++] = (struct dir_record){.name = copy, .ino = ino, .next_off = next_off};
	return 0;
}

int llfuse_dir_add(struct llfuse_dir *dir, const char *name, const struct llfuse_entry *entry, off_t next_off)
{
	bool is_counted = dir->wants_attr && entry->ino && !is_dot_or_dotdot(name);
	size_t size;

	if (!name[0] || strchr(name, '/') || strlen(name) > LONGEST_NAME)
		return -EINVAL;
	size = pack(dir, name, entry, is_counted, next_off);
	if (size > dir->size - dir->used) {
		dir->is_too_small = !dir->used;
		return LLFUSE_DIR_FULL;
	}
	if (!dir->req && record(dir, name, entry->ino, next_off))
		return LLFUSE_DIR_FULL;
	dir->used += size;
	if (!is_counted)
		return LLFUSE_DIR_ADDED;
	if (dir->counted)
		dir->counted[dir->n_counted++] = entry->ino;
	return LLFUSE_DIR_COUNTED;
}

struct llfuse_dir *llfuse_dir_new(size_t size, bool wants_attr)
{
	struct llfuse_dir *dir = calloc(1, sizeof(*dir));

	if (!dir)
		return NULL;
	dir->size = size;
	dir->wants_attr = wants_attr;
	return dir;
}

const char *llfuse_dir_get(const struct llfuse_dir *dir, size_t i, uint64_t *ino, off_t *next_off)
{
	if (i >= dir->n_records)
		return NULL;
	if (ino)
		*ino = dir->records[i].ino;
	if (next_off)
		*next_off = dir->records[i].next_off;
	return dir->records[i].name;
}

void llfuse_dir_free(struct llfuse_dir *dir)
{
	if (!dir)
		return;
	for (size_t i = 0; i < dir->n_records; i++)
		free(dir->records[i].name);
	free(dir->records);
	free(dir);
}
