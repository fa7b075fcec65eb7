/* SPDX-License-Identifier: MIT */
/* Taking a capture.  See capture.h. */
#include "capture_internal.h"

#include "inode_store.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BLOCK_SIZE ((size_t)1 << 20)
/* From so many names on, it is worth a second thread to take them. */
#define TAKEN_BY_TWO 1000

/* ------------------------------------------------------------------------ */
/* Memory                                                                    */

static void *keep_room(struct capture *capture, struct captured_block **blocks, size_t n)
{
	struct captured_block *block = *blocks;
	size_t size = n > BLOCK_SIZE ? n : BLOCK_SIZE;
	void *room;

	n = (n + 7) & ~(size_t)7;
	if (!block || block->size - block->used < n) {
		block = malloc(sizeof(*block) + size + 8);
		if (!block) {
			capture->is_short = true;
			return NULL;
		}
		*block = (struct captured_block){.next = *blocks, .size = size + 8};
		*blocks = block;
	}
	room = block->bytes + block->used;
	block->used += n;
	return room;
}

static const char *keep_bytes(struct capture *capture, struct captured_block **blocks, const char *bytes, size_t n)
{
	char *copy = keep_room(capture, blocks, n + 1);

	if (!copy)
		return NULL;
	memcpy(copy, bytes, n);
	copy[n] = '\0';
	return copy;
}

static const struct xattr *keep_xattrs(struct capture *capture, const struct xattr *xattrs)
{
	struct xattr *first = NULL, **end = &first, *copy;
	size_t n;

	for (; xattrs; xattrs = xattrs->next) {
		n = sizeof(*xattrs) + xattrs->name_len + 1u + xattrs->size;
		copy = keep_room(capture, &capture->blocks, n);
		if (!copy)
			return NULL;
		memcpy(copy, xattrs, n);
		copy->next = NULL;
		*end = copy;
		end = &copy->next;
	}
	return first;
}

static void free_blocks(struct captured_block *block)
{
	struct captured_block *next;

	for (; block; block = next) {
		next = block->next;
		free(block);
	}
}

/* A further element of an array; NULL if there is no memory. */
static void *add_to(struct capture *capture, void **array, size_t *n, size_t *max, size_t size)
{
	size_t wanted = *max ? *max * 2 : 64;
	void *grown;

	if (*n == *max) {
		grown = wanted > SIZE_MAX / size ? NULL : realloc(*array, wanted * size);
		if (!grown) {
			capture->is_short = true;
			return NULL;
		}
		*array = grown;
		*max = wanted;
	}
	return (char *)*array + (*n)++ * size;
}

/* ------------------------------------------------------------------------ */
/* What is taken                                                             */

static struct captured_node *add_node(struct capture *capture)
{
	return add_to(capture, (void **)&capture->nodes, &capture->n_nodes, &capture->nodes_max,
		      sizeof(capture->nodes[0]));
}

/* @in_use: NULL if nobody can want its bytes. */
static void take_gone(struct capture *capture, uint64_t number, struct inode *in_use)
{
	struct captured_node *node = add_node(capture);

	if (!node)
		return;
	*node = (struct captured_node){.node.number = number, .is_gone = true, .in_use = in_use};
	if (in_use)
		tree_ref(in_use);
}

/* The ranges of whole pieces, which touch where two of them share one. */
static void take_ranges(struct captured_file *file, const struct journal_inode *note)
{
	unsigned i;

	for (i = 0; i < note->n_ranges; i++) {
		struct journal_range range = note->ranges[i];

		range.from = piece_start(range.from);
		if (range.to < JOURNAL_END - STORE_CHUNK_SIZE)
			range.to = piece_start(range.to + STORE_CHUNK_SIZE - 1);
		if (file->n_ranges > 0 && file->ranges[file->n_ranges - 1].to >= range.from)
			file->ranges[file->n_ranges - 1].to = range.to;
		else
			file->ranges[file->n_ranges++] = range;
	}
}

static void take_file(struct capture *capture, struct inode *inode, const struct journal_inode *note)
	REQUIRES(inode->lock)
{
	struct captured_file *file = add_to(capture, (void **)&capture->files, &capture->n_files, &capture->files_max,
					    sizeof(capture->files[0]));
	const size_t node = capture->n_nodes - 1;

	if (!file)
		return;
	*file = (struct captured_file){
		.inode = inode,
		.number = inode->number,
		.size = capture->nodes[node].node.size,
		.node = node,
		.is_exposed = inode_is_suspect(inode, capture->tree->plane),
	};
	take_ranges(file, note);
	tree_ref(inode);
}

static void take_inode_locked(struct capture *capture, struct inode *inode, const struct journal_inode *note)
	REQUIRES(inode->lock)
{
	struct data_plane *plane = capture->tree->plane;
	struct captured_node *taken;

	if (inode->links == 0) {
		take_gone(capture, inode->number, inode_is_regular(inode) && inode->is_stored ? inode : NULL);
		return;
	}
	inode_refresh_locked(inode, plane);
	taken = add_node(capture);
	if (!taken)
		return;
	*taken = (struct captured_node){.what = note->what};
	inode_to_node_locked(inode, plane, &taken->node);
	if (taken->node.target)
		taken->node.target = keep_bytes(capture, &capture->blocks, taken->node.target, taken->node.target_len);
	if (note->what & JOURNAL_XATTRS)
		taken->xattrs = keep_xattrs(capture, inode->xattrs);
	if (inode_is_regular(inode) && (note->what & JOURNAL_BYTES) && note->n_ranges > 0)
		take_file(capture, inode, note);
	/* It goes on: what is written next is of the next capture. */
	if (capture->kind == CAPTURE_CHANGES && inode_is_suspect(inode, plane))
		journal_note_range(capture->tree->journal, inode->number, JOURNAL_SUSPECT | JOURNAL_BYTES, 0,
				   JOURNAL_END);
}

static void take_inode(struct capture *capture, struct inode *inode, const struct journal_inode *note)
{
	small_rwlock_wrlock(&inode->lock);
	take_inode_locked(capture, inode, note);
	small_rwlock_wrunlock(&inode->lock);
}

static void take_noted_inode(struct capture *capture, const struct journal_inode *note)
{
	struct inode *inode = tree_get(capture->tree, note->number);

	if (!inode) {
		take_gone(capture, note->number, NULL);
		return;
	}
	take_inode(capture, inode, note);
	tree_put(capture->tree, inode);
}

static int by_noted_number(const void *a, const void *b)
{
	const struct journal_inode *const *one = a, *const *other = b;

	return (*one)->number < (*other)->number ? -1 : (*one)->number > (*other)->number;
}

/* In the order of their numbers: so, more or less, the inodes lie. */
static void take_noted_inodes(struct capture *capture)
{
	const struct changes *changes = capture->changes;
	const struct journal_inode *note, **notes = malloc(((size_t)changes->inodes.count + 1) * sizeof(*notes));
	size_t i, n = 0;

	if (!notes) {
		capture->is_short = true;
		return;
	}
	for (note = changes->first; note; note = note->next)
		notes[n++] = note;
	capture_sort(notes, n, sizeof(*notes), by_noted_number);
	for (i = 0; i < n; i++)
		take_noted_inode(capture, notes[i]);
	free(notes);
}

/* The first bytes of a name, as they sort. */
static uint64_t name_start(const char *bytes, size_t len)
{
	uint64_t start = 0;

	memcpy(&start, bytes, len < sizeof(start) ? len : sizeof(start));
	return be64toh(start);
}

static void take_name(struct capture *capture, uint64_t dir, const char *bytes, size_t len, uint64_t number)
{
	struct captured_name *name = add_to(capture, (void **)&capture->names, &capture->n_names, &capture->names_max,
					    sizeof(capture->names[0]));

	if (name)
		*name = (struct captured_name){.dir = dir,
					       .start = name_start(bytes, len),
					       .bytes = keep_bytes(capture, &capture->name_blocks, bytes, len),
					       .number = number};
}

static int by_name(const void *a, const void *b)
{
	const struct captured_name *one = a, *other = b;

	if (one->dir != other->dir)
		return one->dir < other->dir ? -1 : 1;
	if (one->start != other->start)
		return one->start < other->start ? -1 : 1;
	return strcmp(one->bytes, other->bytes);
}

static void sort_names(struct capture *capture)
{
	if (capture->n_names > 1)
		qsort(capture->names, capture->n_names, sizeof(capture->names[0]), by_name);
}

static void join_helper(struct capture *capture)
{
	if (capture->has_helper)
		(void)pthread_join(capture->helper, NULL);
	capture->has_helper = false;
}

void capture_sort_names(struct capture *capture)
{
	if (capture->has_helper)
		join_helper(capture);
	else
		sort_names(capture);
}

void capture_sort(void *items, size_t n, size_t size, int (*compare)(const void *a, const void *b))
{
	const char *at = items;
	size_t i;

	for (i = 1; i < n; i++)
		if (compare(at + (i - 1) * size, at + i * size) > 0) {
			qsort(items, n, size, compare);
			return;
		}
}

static void take_noted_name(struct table_link *link, void *arg)
{
	const struct journal_name *note = (struct journal_name *)link;

	take_name(arg, note->dir, note->bytes, note->len, note->number);
}

static void take_noted_names(struct capture *capture)
{
	table_each(&capture->changes->names, take_noted_name, capture);
}

struct whole_dir {
	struct capture *capture;
	uint64_t number;
};

static void take_entry(struct table_link *link, void *arg)
{
	const struct dir_entry *entry = (struct dir_entry *)link;
	const struct whole_dir *dir = arg;

	take_name(dir->capture, dir->number, entry->name, entry->name_len, entry->inode->number);
}

static void take_any_inode(struct inode *inode, void *arg)
{
	static const struct journal_inode all = {
		.what = JOURNAL_NODE | JOURNAL_XATTRS | JOURNAL_BYTES,
		.n_ranges = 1,
		.ranges = {{.from = 0, .to = JOURNAL_END}},
	};
	struct capture *capture = arg;

	/* Of a copy it is no part; but its bytes, if it is in use, are not to go from where it is kept. */
	if (inode_has_name(inode) || capture->kind != CAPTURE_ALL)
		take_inode(capture, inode, &all);
}

static void take_any_names(struct inode *inode, void *arg)
{
	struct whole_dir dir = {.capture = arg, .number = inode->number};

	if (inode_is_dir(inode) && inode->dir.parent && (inode_has_name(inode) || dir.capture->kind != CAPTURE_ALL))
		table_each(&inode->dir.names, take_entry, &dir);
}

static void take_all_inodes(struct capture *capture)
{
	if (tree_each_inode(capture->tree, take_any_inode, capture))
		capture->is_short = true;
}

static void take_all_names(struct capture *capture)
{
	if (tree_each_inode(capture->tree, take_any_names, capture))
		capture->is_short = true;
}

/* What is taken consists of two parts that have nothing in common that is written but is_short. */
static void *take_and_sort_names(void *arg)
{
	struct capture *capture = arg;

	capture->take_names(capture);
	(void)sem_post(&capture->has_names); /* once: it does not overflow */
	if (!capture->is_short)
		sort_names(capture);
	return NULL;
}

static void wait_for_names(struct capture *capture)
{
	while (sem_wait(&capture->has_names) < 0)
		continue; /* a signal */
}

/* Nobody changes anything: all wait.  So it is done by two threads, if there are so many @names. */
static void take_by_two(struct capture *capture, void (*take_inodes)(struct capture *capture), uint64_t names)
{
	capture->has_helper =
		names >= TAKEN_BY_TWO && pthread_create(&capture->helper, NULL, take_and_sort_names, capture) == 0;
	take_inodes(capture);
	if (capture->has_helper)
		wait_for_names(capture);
	else
		capture->take_names(capture);
}

static void take_locked(struct capture *capture)
{
	const bool has_all_inodes = !capture->changes || capture->changes->is_incomplete;
	const bool has_all_names = !capture->changes || capture_replaces_names(capture);

	capture->take_names = has_all_names ? take_all_names : take_noted_names;
	take_by_two(capture, has_all_inodes ? take_all_inodes : take_noted_inodes,
		    has_all_names ? atomic_load(&capture->tree->mem.inodes) : capture->changes->names.count);
}

static int by_number(const void *a, const void *b)
{
	const struct captured_file *one = a, *other = b;

	return one->number < other->number ? -1 : one->number > other->number;
}

struct captured_file *capture_find_file(struct capture *capture, uint64_t number)
{
	struct captured_file key = {.number = number};

	if (capture->n_files == 0)
		return NULL;
	return bsearch(&key, capture->files, capture->n_files, sizeof(capture->files[0]), by_number);
}

/* ------------------------------------------------------------------------ */
/* Life                                                                      */

static uint64_t now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now); /* fails only for an unknown clock */
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void register_capture(struct journal *journal, struct capture *capture)
{
	pthread_mutex_lock(&journal->lock);
	capture->next = journal->captures;
	journal->captures = capture;
	atomic_fetch_add(&journal->n_captures, 1);
	pthread_mutex_unlock(&journal->lock);
}

static void unregister_capture(struct journal *journal, struct capture *capture)
{
	struct capture **at;

	pthread_mutex_lock(&journal->lock);
	for (at = &journal->captures; *at; at = &(*at)->next)
		if (*at == capture) {
			*at = capture->next;
			atomic_fetch_sub(&journal->n_captures, 1);
			break;
		}
	pthread_cond_broadcast(&journal->moved);
	pthread_mutex_unlock(&journal->lock);
}

/* With the gate closed. */
static int take_closed(struct capture *capture)
{
	struct tree *tree = capture->tree;
	int err;

	if (capture->kind == CAPTURE_CHANGES) {
		err = journal_take(tree->journal, &capture->changes);
		if (err)
			return err;
	}
	capture->counters =
		(struct store_counters){.next_number = atomic_load(&tree->next_number), .generation = tree->generation};
	pthread_rwlock_rdlock(&tree->lock);
	take_locked(capture);
	pthread_rwlock_unlock(&tree->lock);
	if (capture->is_short)
		return -ENOMEM;
	capture_sort(capture->files, capture->n_files, sizeof(capture->files[0]), by_number);
	register_capture(tree->journal, capture);
	return 0;
}

static int take(struct tree *tree, enum capture_kind kind, bool holds_back, struct capture **taken)
{
	struct capture *capture = calloc(1, sizeof(*capture));
	uint64_t start;
	int err;

	if (!capture) {
		err = -ENOMEM;
		goto fail;
	}
	capture->tree = tree;
	capture->kind = kind;
	capture->holds_back = holds_back;
	capture->aside_max = CAPTURE_ASIDE_MAX;
	(void)sem_init(&capture->has_names, 0, 0); /* fails only for a number that is too large */
	if (journal_keeps(tree->journal))
		capture_settle(tree);
	else /* it is not noted what was closed */
		capture_settle_all(tree);
	journal_close_gate(tree->journal);
	start = now_ns();
	err = take_closed(capture);
	capture->stop_ns = now_ns() - start;
	journal_open_gate(tree->journal);
	if (err) {
		capture_end(capture, false);
		goto fail;
	}
	*taken = capture;
	return 0;
fail:
	store_take_reason("no memory for what is to be stored");
	return err;
}

int capture_take(struct tree *tree, enum capture_kind kind, struct capture **taken)
{
	return take(tree, kind, false, taken);
}

int capture_take_and_hold_back(struct tree *tree, enum capture_kind kind, struct capture **taken)
{
	return take(tree, kind, true, taken);
}

bool capture_is_empty(const struct capture *capture)
{
	return capture->n_nodes == 0 && capture->n_names == 0 && !capture_replaces_names(capture);
}

uint64_t capture_stop_ns(const struct capture *capture)
{
	return capture->stop_ns;
}

static void forget_ahead(struct data_plane *plane, struct inode *inode)
{
	if (!plane->ops->forget_ahead)
		return;
	small_rwlock_wrlock(&inode->lock);
	if (inode_is_regular(inode) && !inode->is_stored)
		plane->ops->forget_ahead(plane, &inode->data);
	small_rwlock_wrunlock(&inode->lock);
}

static void free_pieces(struct captured_file *file)
{
	struct captured_piece *piece, *next;

	for (piece = file->pieces; piece; piece = next) {
		next = piece->next;
		free(piece);
	}
}

/* All but what somebody has open and is still in the store: it has to be had from there before it goes. */
static void forget_what_went(struct capture *capture)
{
	const struct captured_node *node;

	changes_forget_names(capture->changes);
	for (node = capture->nodes; node < capture->nodes + capture->n_nodes; node++)
		if (node->is_gone && !node->in_use)
			changes_forget_inode(capture->changes, node->node.number);
}

static void give_changes_back(struct capture *capture)
{
	const struct tree *tree = capture->tree;
	const uint64_t noted = (uint64_t)capture->changes->inodes.count + capture->changes->names.count;

	/* An inode and a name each. */
	if (noted > 2 * atomic_load(&tree->mem.inodes) + tree->journal->surplus_max)
		forget_what_went(capture);
	journal_give_back(tree->journal, capture->changes);
}

void capture_end(struct capture *capture, bool written)
{
	size_t i;

	join_helper(capture);
	unregister_capture(capture->tree->journal, capture);
	if (capture->changes && written)
		changes_free(capture->changes);
	else if (capture->changes)
		give_changes_back(capture);
	for (i = 0; i < capture->n_files; i++) {
		free_pieces(&capture->files[i]);
		forget_ahead(capture->tree->plane, capture->files[i].inode);
		tree_put(capture->tree, capture->files[i].inode);
	}
	for (i = 0; i < capture->n_nodes; i++)
		if (capture->nodes[i].in_use)
			tree_put(capture->tree, capture->nodes[i].in_use);
	free_blocks(capture->blocks);
	free_blocks(capture->name_blocks);
	free(capture->nodes);
	free(capture->names);
	free(capture->files);
	(void)sem_destroy(&capture->has_names);
	free(capture);
}
