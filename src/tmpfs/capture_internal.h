/* SPDX-License-Identifier: MIT */
/* What capture.c takes, capture_aside.c and capture_files.c read, and capture_write.c writes. */
#ifndef TMPFS_CAPTURE_INTERNAL_H
#define TMPFS_CAPTURE_INTERNAL_H

#include "capture.h"
#include "capture_batch.h"
#include "xattr.h"

#include <pthread.h>
#include <semaphore.h>

/* An inode; of one that has no name any more only the number. */
struct captured_node {
	struct node node;
	const struct xattr *xattrs;
	uint8_t what; /* of enum journal_what, or */
	bool is_gone;
	struct inode *in_use; /* gone, and yet somebody may want its bytes, which are still in the store: a reference */
};

struct captured_name {
	uint64_t dir;
	uint64_t start; /* of the name, as it sorts: which settles it mostly, without a look at the name */
	const char *bytes; /* and a zero byte */
	uint64_t number; /* 0: it leads to nothing any more */
};

/* A piece of a file that was read before its time, or some of them that are a hole. */
struct captured_piece {
	struct captured_piece *next;
	uint64_t off, end; /* multiples of the size of a piece */
	size_t n; /* 0: a hole */
	unsigned char bytes[];
};

/* A file whose bytes are to be read. */
struct captured_file {
	struct inode *inode; /* a reference */
	uint64_t number, size;
	size_t node; /* its place among the nodes */
	bool is_exposed; /* the kernel goes on to write by itself */
	unsigned n_ranges;
	struct journal_range ranges[JOURNAL_RANGES]; /* of whole pieces */
	/* guarded by the journal's lock */
	uint64_t cursor; /* what lies before was read */
	struct captured_piece *pieces, *last_piece; /* in their order, none before the cursor */
};

/* Memory that is freed with the capture. */
struct captured_block {
	struct captured_block *next;
	size_t used, size;
	_Alignas(8) char bytes[];
};

struct capture {
	struct capture *next; /* of the journal's; guarded by its lock */
	struct tree *tree;
	enum capture_kind kind;
	struct changes *changes; /* what it was taken of, or NULL */
	struct store_counters counters;
	uint64_t stop_ns;

	struct captured_node *nodes;
	struct captured_name *names;
	struct captured_file *files; /* in the order of their numbers */
	size_t n_nodes, n_names, n_files;
	size_t nodes_max, names_max, files_max;
	struct captured_block *blocks, *name_blocks;
	_Atomic bool is_short; /* there was no memory for something */

	/* Takes the names, and then sorts them while everybody may change things again. */
	pthread_t helper;
	bool has_helper;
	sem_t has_names; /* it has taken them */
	void (*take_names)(struct capture *capture);

	uint64_t aside_max; /* bytes; fixed */
	bool holds_back; /* fixed: who would change more has to wait */
	uint64_t aside; /* bytes; guarded by the journal's lock */
	uint64_t promised; /* if it holds back: bytes that may be set aside, or are; guarded by the journal's lock */
	_Atomic bool is_spoilt; /* bytes changed that could not be set aside */
};

/* More is not set aside: a capture for which it would be fails, rather than the machine's memory. */
#define CAPTURE_ASIDE_MAX ((uint64_t)256 << 20)

/* As capture_settle(), for a tree in which it is not noted what was closed. */
void capture_settle_all(struct tree *tree);

/* NULL: nothing of its bytes is to be read. */
struct captured_file *capture_find_file(struct capture *capture, uint64_t number);

/* By directory and name, unless the helper does it: then waits for that.  One thread. */
void capture_sort_names(struct capture *capture);

/* qsort(3), for what mostly is in order already. */
void capture_sort(void *items, size_t n, size_t size, int (*compare)(const void *a, const void *b));

/* What follows from a place in a file, up to @end: @n bytes, or a hole. */
struct captured_step {
	uint64_t end;
	size_t n; /* 0: a hole */
};

/* Looks at what is at @off, a multiple of the size of a piece that lies within the file, and reads the piece into @buf if
 * it is no hole.  A hole ends at @limit: what comes then is not of the capture.  From there on nobody sets it aside any more.
 * What the tree does not have yet is read from @stored.  Returns 0 or what the plane or the store says. */
int capture_step(struct capture *capture, struct captured_file *file, struct store *stored, uint64_t off,
		 uint64_t limit, void *buf, struct captured_step *step);

/* The file is read: it may change as it likes. */
void capture_pass(struct capture *capture, struct captured_file *file);

/* What of its files goes to a store. */
struct capture_reading {
	struct capture *capture;
	struct store *stored; /* as capture_write() has it */
	bool is_copy; /* to another store than that */
	struct hashes *hashes; /* NULL: nothing is known, and nothing is to be */
	struct capture_progress *progress;
	struct batches batches; /* where it goes */
	char reason[STORE_REASON_SIZE]; /* why it failed, if another thread is to say so */
};

/* Reads all files.  Returns 0, or what the plane or the store says, -ENOMEM, -ECANCELED, or why batches are not wanted any more. */
int capture_read_files(struct capture_reading *reading);

/* Whether it still has all bytes as they were: 0, or -EAGAIN as capture_write() says. */
int capture_check(const struct capture *capture);

/* @n more are done.  Returns 0, or -ECANCELED if it is not to go on. */
int capture_advance(struct capture_progress *progress, uint64_t n);

/* Whether it has all names there are, and what the store has and no name leads to goes. */
static inline bool capture_replaces_names(const struct capture *capture)
{
	return capture->changes && (capture->changes->is_incomplete || capture->changes->lacks_names);
}

static inline uint64_t piece_start(uint64_t off)
{
	return off - off % STORE_CHUNK_SIZE;
}

/* Of the piece at @off in a file of @size. */
static inline size_t piece_length(uint64_t off, uint64_t size)
{
	return size - off < STORE_CHUNK_SIZE ? (size_t)(size - off) : STORE_CHUNK_SIZE;
}

#endif
