/* SPDX-License-Identifier: MIT */
/*
 * What is kept for when memory is exhausted (L13).  libfuse allocates each request that it reads from /dev/fuse, and
 * answers ENOMEM where it cannot: also to an unlink and a release, by which memory would come free.  A forget, which
 * nobody sends again, is lost.
 *
 * Each thread that reads there therefore keeps a few blocks, and lends libfuse one for a request where there is nothing
 * else.  A handler does not get what is left of the block.  As long as any is lent, requests that make something are
 * refused, for they would take in small pieces what is lent.  So what is there can be listed and removed.
 */
#include <stdlib.h>

#include "internal.h"

enum {
	/* Less than a page, which other threads may be after; and more than what the C library keeps, when it is freed,
	 * for the next malloc() of this thread. */
	BLOCK = 2048,
	REQUEST = 512, /* more than libfuse needs for one */
	REST = BLOCK - REQUEST,
};

static void fill(struct reserve *reserve)
{
	while (reserve->n_blocks < ARRAY_SIZE(reserve->blocks)) {
		void *block = malloc(BLOCK);

		if (!block)
			return;
		reserve->blocks[reserve->n_blocks++] = block;
	}
}

int ll_reserve_init(struct worker *worker)
{
	struct reserve *reserve = &worker->reserve;

	fill(reserve);
	if (reserve->n_blocks < ARRAY_SIZE(reserve->blocks) || ll_opens_reserve(worker))
		return -ENOMEM;
	return ll_dir_reserve(worker);
}

void ll_reserve_done(struct worker *worker)
{
	struct reserve *reserve = &worker->reserve;

	free(reserve->rest);
	while (reserve->n_blocks)
		free(reserve->blocks[--reserve->n_blocks]);
}

void ll_reserve_lend(struct llfuse_session *session, struct worker *worker)
{
	struct reserve *reserve = &worker->reserve;
	/* As libfuse will.  Volatile, or the compiler sees that nobody needs the memory. */
	void *volatile probe = calloc(1, REQUEST);

	free(probe);
	if (probe)
		return;
	reserve->is_lent = true;
	atomic_fetch_add(&session->n_lent, 1);
	if (reserve->n_blocks)
		free(reserve->blocks[--reserve->n_blocks]);
}

/* Not only when the request is done: that may take long, and by then there may be memory again. */
static void end_lending(struct llfuse_session *session, struct reserve *reserve)
{
	if (reserve->is_lent)
		atomic_fetch_sub(&session->n_lent, 1);
	reserve->is_lent = false;
}

void ll_reserve_keep_rest(struct llfuse_session *session, struct worker *worker)
{
	struct reserve *reserve = &worker->reserve;

	if (reserve->is_lent && !reserve->rest)
		reserve->rest = malloc(REST);
	end_lending(session, reserve);
}

void ll_reserve_take_back(struct llfuse_session *session, struct worker *worker)
{
	struct reserve *reserve = &worker->reserve;

	free(reserve->rest);
	reserve->rest = NULL;
	if (reserve->n_blocks < ARRAY_SIZE(reserve->blocks)) {
		(void)ll_opens_reserve(worker); /* else the next open is refused */
		fill(reserve);
	}
	end_lending(session, reserve);
}

static bool makes_something(enum llfuse_op op)
{
	switch (op) {
	case LLFUSE_OP_MKNOD:
	case LLFUSE_OP_MKDIR:
	case LLFUSE_OP_SYMLINK:
	case LLFUSE_OP_LINK:
	case LLFUSE_OP_WRITE:
	case LLFUSE_OP_SETXATTR:
	case LLFUSE_OP_CREATE:
	case LLFUSE_OP_FALLOCATE:
	case LLFUSE_OP_COPY_FILE_RANGE:
	case LLFUSE_OP_TMPFILE:
		return true;
	default:
		return false;
	}
}

bool ll_reserve_refuses(const struct llfuse_session *session, enum llfuse_op op)
{
	return atomic_load(&session->n_lent) && makes_something(op);
}
