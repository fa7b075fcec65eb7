/* SPDX-License-Identifier: MIT */
/* Writing a capture to a store.  See capture.h. */
#include "capture_internal.h"

#include "inode_store.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* What an inode or a name counts for beside bytes. */
#define ROW_WORTH 200

struct writer {
	struct capture *capture;
	struct store *to, *stored;
	struct hashes *hashes; /* NULL: nothing is known, and nothing is to be */
	struct capture_progress *progress;
	bool has_begun;
	unsigned char piece[STORE_CHUNK_SIZE];
};

/* A file on its way. */
struct file_writing {
	struct writer *writer;
	struct captured_file *file;
	bool is_known; /* the hashes say what the store has */
	bool is_kept; /* and are to say it of what it gets */
	bool is_changed;
	bool is_new; /* the store has nothing of it */
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

/* Returns 0, or -ECANCELED if it is not to go on. */
static int advance(struct writer *writer, uint64_t n)
{
	if (!writer->progress)
		return 0;
	atomic_fetch_add(&writer->progress->done, n);
	return atomic_load(&writer->progress->gives_up) ? -ECANCELED : 0;
}

/* ------------------------------------------------------------------------ */
/* Inodes and names                                                          */

/* In the order of their keys rows are written one behind the other, and not here and there. */
struct place {
	uint64_t major, minor;
	const void *row;
};

static int by_number(const void *a, const void *b)
{
	const struct place *one = a, *other = b;

	return one->major < other->major ? -1 : one->major > other->major;
}

static int by_name(const void *a, const void *b)
{
	const struct place *one = a, *other = b;
	const struct captured_name *name = one->row, *other_name = other->row;
	int order;

	if (one->major != other->major)
		return one->major < other->major ? -1 : 1;
	if (one->minor != other->minor) /* which settles it mostly, without a look at the name */
		return one->minor < other->minor ? -1 : 1;
	order = memcmp(name->bytes, other_name->bytes, name->len < other_name->len ? name->len : other_name->len);
	return order ? order : (int)name->len - (int)other_name->len;
}

/* Rows on their way: those of which @places tells. */
struct row_source {
	struct writer *writer;
	struct place *places;
	size_t n, at;
};

static int new_source(struct row_source *source, struct writer *writer, size_t n)
{
	*source = (struct row_source){.writer = writer, .places = malloc(n * sizeof(source->places[0]) + 1)};
	return source->places ? 0 : -ENOMEM;
}

static void add_place(struct row_source *source, uint64_t major, uint64_t minor, const void *row)
{
	source->places[source->n++] = (struct place){.major = major, .minor = minor, .row = row};
}

static void sort_places(struct row_source *source, int (*order)(const void *a, const void *b))
{
	if (source->n > 1)
		qsort(source->places, source->n, sizeof(source->places[0]), order);
}

/* The next one, or NULL. */
static const void *next_row(struct row_source *source)
{
	return source->at < source->n ? source->places[source->at++].row : NULL;
}

static int put_xattrs(struct writer *writer, const struct captured_node *node)
{
	if (!(node->what & JOURNAL_XATTRS) || (!node->xattrs && (node->what & JOURNAL_NEW)))
		return 0;
	return store_put_xattrs(writer->to, node->node.number, node->xattrs);
}

static int write_node(struct writer *writer, const struct captured_node *node)
{
	int err = begin(writer);

	if (!err)
		err = store_put_node(writer->to, &node->node);
	return err ? err : put_xattrs(writer, node);
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
		return 0;
	}
	return store_remove_node(writer->to, node->node.number);
}

static int next_node(void *arg, struct node *node)
{
	struct row_source *source = arg;
	const struct captured_node *captured = next_row(source);
	int err;

	if (!captured)
		return 0;
	*node = captured->node;
	err = advance(source->writer, ROW_WORTH);
	return err ? err : 1;
}

static int write_rows_of_nodes(struct writer *writer)
{
	const struct capture *capture = writer->capture;
	struct row_source source;
	int err;
	size_t i;

	err = new_source(&source, writer, capture->n_nodes);
	if (err)
		return err;
	/* Of one that only may have changed its bytes will tell. */
	for (i = 0; i < capture->n_nodes; i++)
		if (!capture->nodes[i].is_gone && (capture->nodes[i].what & (JOURNAL_NODE | JOURNAL_XATTRS)))
			add_place(&source, capture->nodes[i].node.number, 0, &capture->nodes[i]);
	sort_places(&source, by_number);
	if (source.n > 0)
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
			err = advance(writer, ROW_WORTH);
	}
	return err;
}

/* The first bytes of a name, as they sort. */
static uint64_t name_start(const struct captured_name *name)
{
	uint64_t start = 0;

	memcpy(&start, name->bytes, name->len < sizeof(start) ? name->len : sizeof(start));
	return be64toh(start);
}

static int next_name(void *arg, struct store_name *name)
{
	struct row_source *source = arg;
	const struct captured_name *captured = next_row(source);
	int err;

	if (!captured)
		return 0;
	*name = (struct store_name){
		.parent = captured->dir,
		.bytes = captured->bytes,
		.len = captured->len,
		.number = captured->number,
	};
	err = advance(source->writer, ROW_WORTH);
	return err ? err : 1;
}

static int put_names(struct writer *writer)
{
	const struct capture *capture = writer->capture;
	struct row_source source;
	int err;
	size_t i;

	err = new_source(&source, writer, capture->n_names);
	if (err)
		return err;
	for (i = 0; i < capture->n_names; i++)
		if (capture->names[i].number)
			add_place(&source, capture->names[i].dir, name_start(&capture->names[i]), &capture->names[i]);
	sort_places(&source, by_name);
	if (source.n > 0)
		err = store_put_names(writer->to, next_name, &source);
	free(source.places);
	return err;
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
		err = store_remove_name(writer->to, name->dir, name->bytes, name->len);
		if (!err)
			err = advance(writer, ROW_WORTH);
	}
	return err;
}

static int write_names(struct writer *writer)
{
	int err;

	if (writer->capture->n_names == 0)
		return 0;
	err = begin(writer);
	if (!err)
		err = remove_names(writer);
	return err ? err : put_names(writer);
}

/* ------------------------------------------------------------------------ */
/* Bytes                                                                     */

static int write_hole(struct file_writing *writing, uint64_t off, uint64_t end)
{
	struct writer *writer = writing->writer;
	const uint64_t number = writing->file->number;
	uint64_t index, count = 0, hash;
	bool was_hole = writing->is_known;
	int err;

	if (writing->is_known && !hashes_count(writer->hashes, number, &count))
		was_hole = false;
	for (index = off / STORE_CHUNK_SIZE; index < count && index < end / STORE_CHUNK_SIZE; index++) {
		was_hole = was_hole && hashes_get(writer->hashes, number, index, &hash) && hash == 0;
		hashes_set(writer->hashes, number, index, 0);
	}
	if (was_hole || writing->is_new)
		return 0;
	writing->is_changed = true;
	err = begin(writer);
	return err ? err : store_remove_chunks(writer->to, number, off, end);
}

/* Whether the store has something else at @off than @n bytes in the writer's piece. */
static bool is_changed(struct file_writing *writing, uint64_t off, size_t n, uint64_t *hash)
{
	struct writer *writer = writing->writer;
	uint64_t before;

	*hash = hashes_of(writer->hashes, writer->piece, n);
	return !writing->is_known ||
	       !hashes_get(writer->hashes, writing->file->number, off / STORE_CHUNK_SIZE, &before) || before != *hash;
}

/* Without the zeros at the end, as what is missing there reads as such. */
static size_t trimmed(const unsigned char *bytes, size_t n)
{
	while (n > 0 && bytes[n - 1] == 0)
		n--;
	return n;
}

static int write_piece(struct file_writing *writing, uint64_t off, size_t n)
{
	struct writer *writer = writing->writer;
	const uint64_t number = writing->file->number;
	uint64_t hash;
	int err;

	n = trimmed(writer->piece, n);
	if (writing->is_known || writing->is_kept) {
		if (!is_changed(writing, off, n, &hash))
			return 0;
		hashes_set(writer->hashes, number, off / STORE_CHUNK_SIZE, hash);
	}
	writing->is_changed = true;
	err = begin(writer);
	if (err)
		return err;
	if (n == 0 && writing->is_new)
		return 0;
	if (n == 0)
		return store_remove_chunks(writer->to, number, off, off + STORE_CHUNK_SIZE);
	return store_put_chunk(writer->to, number, off, writer->piece, n);
}

static int write_range(struct file_writing *writing, const struct journal_range *range)
{
	struct writer *writer = writing->writer;
	struct captured_file *file = writing->file;
	struct captured_step step;
	uint64_t off = range->from;
	int err;

	while (off < range->to && off < file->size) {
		err = capture_step(writer->capture, file, writer->stored, off, range->to, writer->piece, &step);
		if (!err)
			err = step.n > 0 ? write_piece(writing, off, step.n) : write_hole(writing, off, step.end);
		if (!err)
			err = advance(writer, step.end - off);
		if (err)
			return err;
		off = step.end;
	}
	return 0;
}

/* What the store may have behind the end. */
static int cut_behind(struct file_writing *writing)
{
	struct writer *writer = writing->writer;
	const struct captured_file *file = writing->file;
	const uint64_t end = piece_start(file->size + STORE_CHUNK_SIZE - 1);
	uint64_t count;
	int err;

	if (writing->is_new || file->n_ranges == 0 || file->ranges[file->n_ranges - 1].to <= end)
		return 0;
	if (writing->is_known && hashes_count(writer->hashes, file->number, &count) && count <= end / STORE_CHUNK_SIZE)
		return 0;
	if (writing->is_kept)
		hashes_cut(writer->hashes, file->number, end / STORE_CHUNK_SIZE);
	err = begin(writer);
	return err ? err : store_remove_chunks(writer->to, file->number, end, JOURNAL_END);
}

static int write_ranges(struct file_writing *writing)
{
	unsigned i;
	int err = 0;

	for (i = 0; !err && i < writing->file->n_ranges; i++)
		err = write_range(writing, &writing->file->ranges[i]);
	return err ? err : cut_behind(writing);
}

/* The node of a file that only may have changed: the kernel may have set its times, too. */
static int write_suspect_node(struct file_writing *writing)
{
	struct writer *writer = writing->writer;
	const struct captured_node *node = &writer->capture->nodes[writing->file->node];
	const int64_t stamp[] = {(int64_t)node->node.size, node->node.mtime.tv_sec,  node->node.mtime.tv_nsec,
				 node->node.ctime.tv_sec,  node->node.ctime.tv_nsec, node->node.atime.tv_sec,
				 node->node.atime.tv_nsec};
	bool is_new = true;

	if (writing->is_kept)
		is_new = hashes_stamp(writer->hashes, node->node.number,
				      hashes_of(writer->hashes, stamp, sizeof(stamp)));
	if (node->what & (JOURNAL_NODE | JOURNAL_XATTRS))
		return 0; /* it is written already */
	return is_new || writing->is_changed ? write_node(writer, node) : 0;
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
static bool is_in_place(const struct writer *writer, struct captured_file *file)
{
	struct inode *inode = file->inode;
	bool is;

	small_rwlock_rdlock(&inode->lock);
	is = inode->is_stored && (!writer->stored || writer->to == writer->stored);
	small_rwlock_rdunlock(&inode->lock);
	return is;
}

static int write_file(struct writer *writer, struct captured_file *file)
{
	const struct captured_node *node = &writer->capture->nodes[file->node];
	struct file_writing writing = {.writer = writer,
				       .file = file,
				       /* Of a copy's files nothing can be there. */
				       .is_new = (node->what & JOURNAL_NEW) || !writer->hashes};
	uint64_t count;
	int err;

	if (is_in_place(writer, file))
		return 0;
	if (writer->hashes) {
		writing.is_known = hashes_count(writer->hashes, file->number, &count);
		writing.is_kept = writing.is_known || (is_worth_knowing(file, node) && is_whole(file));
		if (!writing.is_known && writing.is_kept)
			hashes_begin(writer->hashes, file->number);
	}
	err = write_ranges(&writing);
	if (!err)
		err = write_suspect_node(&writing);
	if (!err && writing.is_kept && !is_worth_knowing(file, node) && file->size <= STORE_CHUNK_SIZE)
		hashes_forget(writer->hashes, file->number);
	return err;
}

static int write_files(struct writer *writer)
{
	int err = 0;
	size_t i;

	for (i = 0; !err && i < writer->capture->n_files; i++) {
		err = write_file(writer, &writer->capture->files[i]);
		if (!err && atomic_load(&writer->capture->is_spoilt))
			err = -ENOMEM;
	}
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

/* There was no memory to note what changed: all that the store has and the tree does not goes. */
static int clear_names(struct writer *writer)
{
	const struct capture *capture = writer->capture;
	int err;

	if (!capture->changes || !capture->changes->is_incomplete)
		return 0;
	err = begin(writer);
	return err ? err : store_remove_all_names(writer->to);
}

static int clear_nameless(struct writer *writer)
{
	const struct capture *capture = writer->capture;

	if (!capture->changes || !capture->changes->is_incomplete)
		return 0;
	return store_remove_nameless(writer->to);
}

static int write_all(struct writer *writer)
{
	int err = clear_names(writer);

	if (!err)
		err = write_nodes(writer);
	if (!err)
		err = write_names(writer);
	if (!err)
		err = write_files(writer);
	if (!err)
		err = clear_nameless(writer);
	if (!err && atomic_load(&writer->capture->is_spoilt))
		err = -ENOMEM;
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
	struct writer *writer = malloc(sizeof(*writer));
	int err;

	if (!writer)
		return -ENOMEM;
	*writer =
		(struct writer){.capture = capture, .to = to, .stored = stored, .hashes = hashes, .progress = progress};
	begin_progress(writer);
	err = write_all(writer);
	if (err && writer->has_begun)
		store_rollback(to);
	else if (writer->has_begun)
		err = store_commit(to, &capture->counters);
	if (err)
		forget_hashes(writer);
	else
		forget_gone(writer);
	free(writer);
	return err;
}
