/* SPDX-License-Identifier: MIT */
/* Memory at a multiple of a size.  See aligned.h. */
#include "aligned.h"

#include <stdint.h>
#include <sys/mman.h>

void *aligned_map(size_t size, size_t alignment)
{
	char *mapped = mmap(NULL, size + alignment, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t before;

	if (mapped == MAP_FAILED)
		return NULL;
	before = (alignment - ((uintptr_t)mapped & (alignment - 1))) & (alignment - 1);
	if (before > 0)
		(void)munmap(mapped, before); /* what stays mapped by a failure takes no memory */
	(void)munmap(mapped + before + size, alignment - before);
	return mapped + before;
}
