/* SPDX-License-Identifier: MIT */
/*
 * Whole pages: what files consist of.  A page costs what it holds and lies at a multiple of its size; where many are
 * taken they are asked of the system by the dozen, which takes half the time of a fault for each.
 *
 * Any thread.
 */
#ifndef TMPFS_PAGES_H
#define TMPFS_PAGES_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#define PAGES_SIZE ((size_t)4096)

LIST_HEAD(pages_regions, pages_region);

struct pages {
	pthread_mutex_t lock; /* taken last */
	/* guarded by lock */
	struct pages_regions roomy; /* regions with a page to give */
	struct pages_regions full;
	_Atomic size_t idle; /* free pages that the system does not have back */
};

void pages_init(struct pages *pages);

/* Pages that were not freed go with it. */
void pages_done(struct pages *pages);

/* Tells in *@is_zero whether the page is known to be zeros.  Returns NULL with errno ENOMEM if there is no memory. */
void *pages_alloc(struct pages *pages, bool *is_zero);

void pages_free(struct pages *pages, void *page);

/* Bytes that pages_trim() would give back to the system. */
uint64_t pages_idle(const struct pages *pages);

void pages_trim(struct pages *pages);

#endif
