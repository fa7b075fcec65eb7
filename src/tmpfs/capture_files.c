/* SPDX-License-Identifier: MIT */
/* Reading the files of a capture, and finding out what of them a store does not have yet.  See capture_internal.h. */
#include "capture_internal.h"

#include <errno.h>
#include <string.h>

/* A file on its way. */
struct file_reading {
	struct capture_reading *reading;
	struct captured_file *file;
	const struct captured_node *node;
	bool is_known; /* the hashes say what the store has */
	bool is_kept; /* and are to say it of what it gets */
	bool is_changed;
	bool is_new; /* the store has nothing of it */
};

int capture_check(const struct capture *capture)
{
	if (!atomic_load(&capture->is_spoilt))
		return 0;
	store_take_reason("too much changed meanwhile to keep what it was");
	return -EAGAIN;
}

int capture_advance(struct capture_progress *progress, uint64_t n)
{
	if (!progress)
		return 0;
	atomic_fetch_add(&progress->done, n);
	return atomic_load(&progress->gives_up) ? -ECANCELED : 0;
}

/* ------------------------------------------------------------------------ */
/* What is to be written                                                     */

static int add_item(struct capture_reading *reading, const struct batch_item *what)
{
	struct batch_item *item;
	int err;

	err = batches_room(&reading->batches, &item);
	if (err)
		return err;
	*item = *what;
	batches_add(&reading->batches, item);
	return 0;
}

static int add_hole(struct file_reading *file, uint64_t off, uint64_t end)
{
	file->is_changed = true;
	return add_item(file->reading,
			&(struct batch_item){.kind = BATCH_HOLE, .number = file->file->number, .off = off, .end = end});
}

static int note_hole(struct file_reading *file, uint64_t off, uint64_t end)
{
	struct hashes *hashes = file->reading->hashes;
	const uint64_t number = file->file->number;
	uint64_t index, count = 0, hash;
	bool was_hole = file->is_known;

	if (file->is_known && !hashes_count(hashes, number, &count))
		was_hole = false;
	for (index = off / STORE_CHUNK_SIZE; index < count && index < end / STORE_CHUNK_SIZE; index++) {
		was_hole = was_hole && hashes_get(hashes, number, index, &hash) && hash == 0;
		hashes_set(hashes, number, index, 0);
	}
	return was_hole || file->is_new ? 0 : add_hole(file, off, end);
}

/* Whether the store has something else than these bytes at @off, as far as is known. */
static bool is_news(struct file_reading *file, uint64_t off, const void *bytes, size_t n)
{
	struct hashes *hashes = file->reading->hashes;
	const uint64_t number = file->file->number, index = off / STORE_CHUNK_SIZE;
	uint64_t hash, before;

	if (!file->is_known && !file->is_kept)
		return true;
	hash = hashes_of(hashes, bytes, n);
	if (file->is_known && hashes_get(hashes, number, index, &before) && before == hash)
		return false;
	hashes_set(hashes, number, index, hash);
	return true;
}

/* Without the zeros at the end, as what is missing there reads as such. */
static size_t trimmed(const unsigned char *bytes, size_t n)
{
	while (n > 0 && bytes[n - 1] == 0)
		n--;
	return n;
}

/* The bytes are where @item has them. */
static int note_piece(struct file_reading *file, struct batch_item *item, uint64_t off, size_t n)
{
	n = trimmed(item->bytes, n);
	if (!is_news(file, off, item->bytes, n))
		return 0;
	file->is_changed = true;
	if (n == 0)
		return file->is_new ? 0 : add_hole(file, off, off + STORE_CHUNK_SIZE);
	item->kind = BATCH_CHUNK;
	item->number = file->file->number;
	item->off = off;
	item->n = n;
	batches_add(&file->reading->batches, item);
	return 0;
}

/* ------------------------------------------------------------------------ */
/* One file                                                                  */

static int read_range(struct file_reading *file, const struct journal_range *range)
{
	struct capture_reading *reading = file->reading;
	struct batch_item *item;
	struct captured_step step;
	uint64_t off = range->from;
	int err;

	while (off < range->to && off < file->file->size) {
		err = batches_room(&reading->batches, &item);
		if (!err)
			err = capture_step(reading->capture, file->file, reading->stored, off, range->to, item->bytes,
					   &step);
		if (!err)
			err = step.n > 0 ? note_piece(file, item, off, step.n) : note_hole(file, off, step.end);
		if (!err)
			err = capture_advance(reading->progress, step.end - off);
		if (err)
			return err;
		off = step.end;
	}
	return 0;
}

/* What the store may have behind the end. */
static int cut_behind(struct file_reading *reading)
{
	struct hashes *hashes = reading->reading->hashes;
	const struct captured_file *file = reading->file;
	const uint64_t end = piece_start(file->size + STORE_CHUNK_SIZE - 1);
	uint64_t count;

	if (reading->is_new || file->n_ranges == 0 || file->ranges[file->n_ranges - 1].to <= end)
		return 0;
	if (reading->is_known && hashes_count(hashes, file->number, &count) && count <= end / STORE_CHUNK_SIZE)
		return 0;
	if (reading->is_kept)
		hashes_cut(hashes, file->number, end / STORE_CHUNK_SIZE);
	return add_item(
		reading->reading,
		&(struct batch_item){.kind = BATCH_HOLE, .number = file->number, .off = end, .end = JOURNAL_END});
}

static int read_ranges(struct file_reading *file)
{
	unsigned i;
	int err = 0;

	for (i = 0; !err && i < file->file->n_ranges; i++)
		err = read_range(file, &file->file->ranges[i]);
	return err ? err : cut_behind(file);
}

/* The node of a file that only may have changed: the kernel may have set its times, too. */
static int note_suspect_node(struct file_reading *file)
{
	struct hashes *hashes = file->reading->hashes;
	const struct node *node = &file->node->node;
	const int64_t stamp[] = {(int64_t)node->size, node->mtime.tv_sec, node->mtime.tv_nsec, node->ctime.tv_sec,
				 node->ctime.tv_nsec, node->atime.tv_sec, node->atime.tv_nsec};
	bool is_new = true;

	if (file->is_kept)
		is_new = hashes_stamp(hashes, node->number, hashes_of(hashes, stamp, sizeof(stamp)));
	if (file->node->what & (JOURNAL_NODE | JOURNAL_XATTRS))
		return 0; /* it goes with the others */
	if (!is_new && !file->is_changed)
		return 0;
	return add_item(file->reading, &(struct batch_item){.kind = BATCH_NODE, .node = file->node});
}

/* Of a file of one piece that nobody writes behind our back there is nothing to know. */
static bool is_worth_knowing(const struct captured_file *file, const struct captured_node *node)
{
	return file->is_exposed || ((node->what & JOURNAL_SUSPECT) && file->size > STORE_CHUNK_SIZE);
}

static bool is_whole(const struct captured_file *file)
{
	return file->n_ranges == 1 && file->ranges[0].from == 0 && file->ranges[0].to == JOURNAL_END;
}

/* Whether the bytes are where they would go to: nobody got them from there, to change them. */
static bool is_in_place(const struct capture_reading *reading, struct captured_file *file)
{
	struct inode *inode = file->inode;
	bool is;

	small_rwlock_rdlock(&inode->lock);
	is = inode->is_stored && (!reading->is_copy || !reading->stored);
	small_rwlock_rdunlock(&inode->lock);
	return is;
}

static int read_file(struct capture_reading *reading, struct captured_file *captured)
{
	const struct captured_node *node = &reading->capture->nodes[captured->node];
	struct hashes *hashes = reading->hashes;
	struct file_reading file = {.reading = reading,
				    .file = captured,
				    .node = node,
				    /* Of a copy's files nothing can be there. */
				    .is_new = (node->what & JOURNAL_NEW) || !hashes};
	uint64_t count;
	int err;

	if (is_in_place(reading, captured))
		return 0;
	if (hashes) {
		file.is_known = hashes_count(hashes, captured->number, &count);
		file.is_kept = file.is_known || (is_worth_knowing(captured, node) && is_whole(captured));
		if (!file.is_known && file.is_kept)
			hashes_begin(hashes, captured->number);
	}
	err = read_ranges(&file);
	if (!err)
		err = note_suspect_node(&file);
	if (!err && file.is_kept && !is_worth_knowing(captured, node) && captured->size <= STORE_CHUNK_SIZE)
		hashes_forget(hashes, captured->number);
	return err;
}

int capture_read_files(struct capture_reading *reading)
{
	struct capture *capture = reading->capture;
	int err = 0;
	size_t i;

	for (i = 0; !err && i < capture->n_files; i++) {
		err = read_file(reading, &capture->files[i]);
		if (!err)
			capture_pass(capture, &capture->files[i]);
		if (!err)
			err = capture_check(capture);
	}
	return batches_end(&reading->batches, err);
}
