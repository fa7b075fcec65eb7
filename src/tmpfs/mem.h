/* SPDX-License-Identifier: MIT */
/*
 * Memory of one mount: every byte that the tree costs is taken and given back
 * here, and counted.  Knows nothing of what the memory is for; hides how much a
 * heap block really takes, and when the heap is given back to the system.  A limit on the
 * size of the mount will stand here.
 */
#ifndef TMPFS_MEM_H
#define TMPFS_MEM_H

#include <stdatomic.h>
#include <stddef.h>

struct mem {
	_Atomic size_t used; /* bytes of the heap, overhead included */
	_Atomic size_t high; /* most that was used since the heap was last trimmed */
	_Atomic long fail_in; /* tests: so many allocations until one fails; 0: none does */
};

void mem_init(struct mem *mem);

/* Both return NULL if there is no memory.  @size is not 0. */
void *mem_alloc(struct mem *mem, size_t size);
void *mem_zalloc(struct mem *mem, size_t size);

/* @size is what the block was allocated with.  NULL is nothing. */
void mem_free(struct mem *mem, void *block, size_t size);

size_t mem_used(const struct mem *mem);

/* Gives freed pages of the heap back to the system if that is worth the time it
 * takes.  Called with no lock held. */
void mem_trim(struct mem *mem);

/* For tests: the @nth allocation from now fails, and only that one; 0: none.
 * mem_fail_pending() tells whether it is still to come. */
void mem_fail_nth(struct mem *mem, long nth);
int mem_fail_pending(const struct mem *mem);

#endif
