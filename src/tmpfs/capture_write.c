/* SPDX-License-Identifier: MIT */
/* Writing a capture to a store.  See capture.h. */
#include "capture_internal.h"

#include "inode_store.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What an inode or a name counts for beside bytes. */
#define ROW_WORTH 200
/* From so many on, reading them takes another thread while rows are written: files of the kernel's plane, above all, have to be opened. */
#define FILES_FOR_A_THREAD 256
#define BYTES_FOR_A_THREAD ((uint64_t)4 << 20)

struct writer {
	struct capture *capture;
	struct store *to;
	struct hashes *hashes; /* NULL: nothing is known, and nothing is to be */
	struct capture_progress *progress;
	bool has_begun;
	bool keeps_gone; /* of something that no name leads to any more */
};

/* So that nothing is written where nothing turns out to have changed. */
static int begin(struct writer *writer)
{
	int err;

	if (writer->has_begun)
		return 0;
	err = store_begin(writer->to);
	writer->has_begun = !err;
	return err;
}

/* ------------------------------------------------------------------------ */
/* Inodes and names                                                          */

/* In the order of their keys rows are written one behind the other, and not here and there.  The nodes themselves stay: files
 * tell their places. */
struct place {
	uint64_t number;
	const struct captured_node *node;
};

static int by_number(const void *a, const void *b)
{
	const struct place *one = a, *other = b;

	return one->number < other->number ? -1 : one->number > other->number;
}

/* Nodes on their way. */
struct node_source {
	struct writer *writer;
	struct place *places;
	size_t n, at;
};

static int put_xattrs(struct writer *writer, const struct captured_node *node)
{
	if (!(node->what & JOURNAL_XATTRS) || (!node->xattrs && (node->what & JOURNAL_NEW)))
		return 0;
	return store_put_xattrs(writer->to, node->node.number, node->xattrs);
}

/* Who has a removed file open goes on to read it: if there is no room for its bytes yet, they stay in the store. */
static int write_gone(struct writer *writer, const struct captured_node *node)
{
	struct tree *tree = writer->capture->tree;
	int err = begin(writer);

	if (err)
		return err;
	if (node->in_use && inode_load(node->in_use, tree->plane)) {
		tree_note(tree, node->in_use, JOURNAL_NODE);
		writer->keeps_gone = true;
		return 0;
	}
	return store_remove_node(writer->to, node->node.number);
}

static int next_node(void *arg, struct node *node)
{
	struct node_source *source = arg;
	int err;

	if (source->at == source->n)
		return 0;
	*node = source->places[source->at++].node->node;
	err = capture_advance(source->writer->progress, ROW_WORTH);
	return err ? err : 1;
}

static int find_places(struct node_source *source)
{
	const struct capture *capture = source->writer->capture;
	const struct captured_node *node;

	source->places = malloc((capture->n_nodes + 1) * sizeof(source->places[0]));
	if (!source->places)
		return -ENOMEM;
	/* Of one that only may have changed its bytes will tell. */
	for (node = capture->nodes; node < capture->nodes + capture->n_nodes; node++)
		if (!node->is_gone && (node->what & (JOURNAL_NODE | JOURNAL_XATTRS)))
			source->places[source->n++] = (struct place){.number = node->node.number, .node = node};
	capture_sort(source->places, source->n, sizeof(source->places[0]), by_number);
	return 0;
}

static int write_rows_of_nodes(struct writer *writer)
{
	struct node_source source = {.writer = writer};
	int err = find_places(&source);

	if (!err && source.n > 0)
		err = begin(writer);
	if (!err && source.n > 0)
		err = store_put_nodes(writer->to, next_node, &source);
	free(source.places);
	return err;
}

static int write_nodes(struct writer *writer)
{
	const struct captured_node *node;
	int err = write_rows_of_nodes(writer);
	size_t i;

	for (i = 0; !err && i < writer->capture->n_nodes; i++) {
		node = &writer->capture->nodes[i];
		if (!node->is_gone) {
			err = put_xattrs(writer, node);
			continue;
		}
		err = write_gone(writer, node);
		if (!err)
			err = capture_advance(writer->progress, ROW_WORTH);
	}
	return err;
}

/* Names on their way. */
struct name_source {
	struct writer *writer;
	size_t at;
};

/* The next one that leads anywhere, or NULL. */
static const struct captured_name *next_of_names(struct name_source *source)
{
	const struct capture *capture = source->writer->capture;

	while (source->at < capture->n_names && !capture->names[source->at].number)
		source->at++;
	return source->at < capture->n_names ? &capture->names[source->at++] : NULL;
}

static int next_name(void *arg, struct store_name *name)
{
	struct name_source *source = arg;
	const struct captured_name *captured = next_of_names(source);
	int err;

	if (!captured)
		return 0;
	*name = (struct store_name){
		.parent = captured->dir,
		.bytes = captured->bytes,
		.len = strlen(captured->bytes),
		.number = captured->number,
	};
	err = capture_advance(source->writer->progress, ROW_WORTH);
	return err ? err : 1;
}

static int put_names(struct writer *writer)
{
	struct name_source source = {.writer = writer};

	if (!next_of_names(&source))
		return 0;
	source.at = 0;
	return store_put_names(writer->to, next_name, &source);
}

static int remove_names(struct writer *writer)
{
	const struct captured_name *name;
	int err = 0;
	size_t i;

	for (i = 0; !err && i < writer->capture->n_names; i++) {
		name = &writer->capture->names[i];
		if (name->number)
			continue;
		err = store_remove_name(writer->to, name->dir, name->bytes, strlen(name->bytes));
		if (!err)
			err = capture_advance(writer->progress, ROW_WORTH);
	}
	return err;
}

static int write_names(struct writer *writer)
{
	int err;

	if (writer->capture->n_names == 0)
		return 0;
	capture_sort_names(writer->capture);
	err = begin(writer);
	if (!err)
		err = remove_names(writer);
	return err ? err : put_names(writer);
}

/* ------------------------------------------------------------------------ */
/* Bytes                                                                     */

/* The items of one batch that are of a kind. */
struct item_source {
	struct batch *batch;
	struct batch_item *item; /* the last one, or NULL */
};

static struct batch_item *next_item(struct item_source *source, enum batch_kind kind)
{
	source->item = batch_next(source->batch, source->item, kind);
	return source->item;
}

static int next_chunk(void *arg, struct store_chunk *chunk)
{
	const struct batch_item *item = next_item(arg, BATCH_CHUNK);

	if (!item)
		return 0;
	*chunk = (struct store_chunk){.number = item->number, .off = item->off, .bytes = item->bytes, .n = item->n};
	return 1;
}

static int next_suspect(void *arg, struct node *node)
{
	const struct batch_item *item = next_item(arg, BATCH_NODE);

	if (!item)
		return 0;
	*node = item->node->node;
	return 1;
}

static int write_holes(struct writer *writer, struct batch *batch)
{
	const struct batch_item *item = NULL;
	int err = 0;

	while (!err && (item = batch_next(batch, item, BATCH_HOLE)))
		err = store_remove_chunks(writer->to, item->number, item->off, item->end);
	return err;
}

static int write_batch(void *arg, struct batch *batch)
{
	struct writer *writer = arg;
	int err = batch->used > 0 ? begin(writer) : 0;

	if (!err && batch->counts[BATCH_HOLE] > 0)
		err = write_holes(writer, batch);
	if (!err && batch->counts[BATCH_NODE] > 0)
		err = store_put_nodes(writer->to, next_suspect, &(struct item_source){.batch = batch});
	if (!err && batch->counts[BATCH_CHUNK] > 0)
		err = store_put_chunks(writer->to, next_chunk, &(struct item_source){.batch = batch});
	return err;
}

/* ------------------------------------------------------------------------ */
/* The whole                                                                 */

static void begin_progress(struct writer *writer)
{
	const struct capture *capture = writer->capture;
	uint64_t total = (capture->n_nodes + capture->n_names) * ROW_WORTH;
	size_t i;

	if (!writer->progress)
		return;
	for (i = 0; i < capture->n_files; i++)
		total += capture->files[i].size;
	atomic_store(&writer->progress->total, total);
}

/* Not all that went is noted: all that the store has and the tree does not goes. */
static int clear_names(struct writer *writer)
{
	int err;

	if (!capture_replaces_names(writer->capture))
		return 0;
	err = begin(writer);
	return err ? err : store_remove_all_names(writer->to);
}

/* Where something is kept that no name leads to, the next one tries. */
static int clear_nameless(struct writer *writer)
{
	if (!capture_replaces_names(writer->capture))
		return 0;
	if (!writer->keeps_gone)
		return store_remove_nameless(writer->to);
	journal_note_all_names(writer->capture->tree->journal);
	return 0;
}

static int write_rows(struct writer *writer)
{
	int err = clear_names(writer);

	if (!err)
		err = write_nodes(writer);
	return err ? err : write_names(writer);
}

/* By one thread, in turn. */
static int write_in_turn(struct writer *writer, struct capture_reading *reading)
{
	int err = write_rows(writer);

	return err ? err : capture_read_files(reading);
}

static void *read_aside(void *arg)
{
	struct capture_reading *reading = arg;
	int err = capture_read_files(reading);

	if (err)
		(void)snprintf(reading->reason, sizeof(reading->reason), "%s", store_reason()); /* as long */
	return (void *)(intptr_t)err;
}

static int write_batches(struct writer *writer, struct batches *batches)
{
	struct batch *batch;
	int err = 0;

	while (!err && (batch = batches_take(batches))) {
		err = write_batch(writer, batch);
		batches_return(batches, batch);
	}
	return err;
}

static int write_side_by_side(struct writer *writer, struct capture_reading *reading, pthread_t reader)
{
	void *told;
	int err, read_err;

	err = write_rows(writer);
	if (!err)
		err = write_batches(writer, &reading->batches);
	if (err)
		batches_refuse(&reading->batches, err);
	(void)pthread_join(reader, &told); /* it is there */
	read_err = (int)(intptr_t)told;
	if (err || !read_err)
		return err;
	store_take_reason(reading->reason);
	return read_err;
}

static uint64_t bytes_to_read(const struct captured_file *file)
{
	const struct journal_range *range;
	uint64_t bytes = 0;
	unsigned i;

	for (i = 0; i < file->n_ranges; i++) {
		range = &file->ranges[i];
		if (range->from < file->size)
			bytes += (range->to < file->size ? range->to : file->size) - range->from;
	}
	return bytes;
}

static bool is_worth_a_thread(const struct capture *capture)
{
	uint64_t bytes = 0;
	size_t i;

	for (i = 0; i < capture->n_files && i < FILES_FOR_A_THREAD; i++)
		bytes += bytes_to_read(&capture->files[i]);
	return i == FILES_FOR_A_THREAD || bytes >= BYTES_FOR_A_THREAD;
}

static int write_rows_and_files(struct writer *writer, struct capture_reading *reading)
{
	pthread_t reader;
	int err;

	batches_init(&reading->batches, NULL, writer);
	if (is_worth_a_thread(writer->capture) && pthread_create(&reader, NULL, read_aside, reading) == 0) {
		err = write_side_by_side(writer, reading, reader);
	} else {
		reading->batches.write = write_batch;
		err = write_in_turn(writer, reading);
	}
	batches_done(&reading->batches);
	return err;
}

static int write_all(struct writer *writer, struct store *stored)
{
	struct capture_reading reading = {
		.capture = writer->capture,
		.stored = stored,
		.is_copy = writer->to != stored,
		.hashes = writer->hashes,
		.progress = writer->progress,
	};
	int err = write_rows_and_files(writer, &reading);

	if (stored && reading.is_copy)
		store_end_pieces(stored); /* it may have ended in the middle of a file */
	if (!err)
		err = clear_nameless(writer);
	if (!err)
		err = capture_check(writer->capture);
	return err;
}

/* What the hashes say of the store is as uncertain as what it has. */
static void forget_hashes(struct writer *writer)
{
	size_t i;

	if (!writer->hashes)
		return;
	for (i = 0; i < writer->capture->n_files; i++)
		hashes_forget(writer->hashes, writer->capture->files[i].number);
}

static void forget_gone(struct writer *writer)
{
	size_t i;

	if (!writer->hashes)
		return;
	for (i = 0; i < writer->capture->n_nodes; i++)
		if (writer->capture->nodes[i].is_gone)
			hashes_forget(writer->hashes, writer->capture->nodes[i].node.number);
}

int capture_write(struct capture *capture, struct store *to, struct store *stored, struct hashes *hashes,
		  struct capture_progress *progress)
{
	struct writer writer = {.capture = capture, .to = to, .hashes = hashes, .progress = progress};
	int err;

	begin_progress(&writer);
	err = write_all(&writer, stored);
	if (err && writer.has_begun)
		store_rollback(to);
	else if (writer.has_begun)
		err = store_commit(to, &capture->counters);
	if (err)
		forget_hashes(&writer);
	forget_gone(&writer); /* also after a failure: it may be the last that hears of them */
	return err;
}
