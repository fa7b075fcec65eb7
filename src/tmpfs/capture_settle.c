/* SPDX-License-Identifier: MIT */
/* Asking the kernel about files before a capture has to.  See capture.h. */
#include "capture_internal.h"

#include <stdlib.h>

/* From so many files on, it is worth a second thread. */
#define SETTLED_BY_TWO 1000

/* Files to look at. */
struct settling {
	struct tree *tree;
	const uint64_t *numbers;
	size_t n;
};

static void settle_inode(struct inode *inode, void *arg)
{
	struct tree *tree = arg;

	small_rwlock_wrlock(&inode->lock);
	inode_refresh_locked(inode, tree->plane);
	small_rwlock_wrunlock(&inode->lock);
}

/* Noted bytes the next capture takes, which forgets what was read ahead.  Others may have been captured already, and those
 * of a file without a name never are: nobody would forget them. */
static bool will_be_captured_locked(struct tree *tree, const struct inode *inode) REQUIRES(inode->lock)
{
	return inode_is_regular(inode) && !inode->is_stored && inode->links > 0 &&
	       journal_has_bytes(tree->journal, inode->number);
}

static void settle_closed(struct tree *tree, struct inode *inode)
{
	struct data_plane *plane = tree->plane;

	small_rwlock_wrlock(&inode->lock);
	inode_refresh_locked(inode, plane);
	if (plane->ops->read_ahead && !inode_is_suspect(inode, plane) && will_be_captured_locked(tree, inode))
		plane->ops->read_ahead(plane, &inode->data);
	small_rwlock_wrunlock(&inode->lock);
}

static void *settle_some(void *arg)
{
	const struct settling *settling = arg;
	struct inode *inode;
	size_t i;

	for (i = 0; i < settling->n; i++) {
		inode = tree_get(settling->tree, settling->numbers[i]);
		if (!inode)
			continue; /* it is gone */
		settle_closed(settling->tree, inode);
		tree_put(settling->tree, inode);
	}
	return NULL;
}

/* By two threads, if there are many. */
static void settle_numbers(struct tree *tree, const uint64_t *numbers, size_t n)
{
	const size_t half = n / 2;
	struct settling first = {.tree = tree, .numbers = numbers, .n = half};
	struct settling second = {.tree = tree, .numbers = numbers + half, .n = n - half};
	pthread_t helper;
	bool has_helper;

	has_helper = n >= SETTLED_BY_TWO && pthread_create(&helper, NULL, settle_some, &first) == 0;
	if (!has_helper)
		(void)settle_some(&first);
	(void)settle_some(&second);
	if (has_helper)
		(void)pthread_join(helper, NULL);
}

void capture_settle(struct tree *tree)
{
	uint64_t *numbers;
	size_t n;

	journal_take_closed(tree->journal, &numbers, &n);
	settle_numbers(tree, numbers, n);
	free(numbers);
}

void capture_settle_all(struct tree *tree)
{
	(void)tree_each_inode(tree, settle_inode, tree); /* who takes the rest asks */
}
