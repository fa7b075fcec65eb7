/* SPDX-License-Identifier: MIT */
/* Memory at a multiple of a size.  See aligned.h. */
#include "aligned.h"

#include <stdint.h>
#include <sys/mman.h>

#define MODE (PROT_READ | PROT_WRITE)
#define KIND (MAP_PRIVATE | MAP_ANONYMOUS)

static size_t excess(const char *address, size_t alignment)
{
	return (uintptr_t)address & (alignment - 1);
}

/* Takes more, and gives back what is around it.  NULL if there is not so much. */
static char *map_more(size_t size, size_t alignment)
{
	char *mapped = mmap(NULL, size + alignment, MODE, KIND, -1, 0);
	size_t before;

	if (mapped == MAP_FAILED)
		return NULL;
	before = (alignment - excess(mapped, alignment)) & (alignment - 1);
	if (before > 0)
		(void)munmap(mapped, before); /* what stays mapped by a failure takes no memory */
	(void)munmap(mapped + before + size, alignment - before);
	return mapped + before;
}

/* The kernel mostly goes downwards, so that there is room below what it offers; also where address space is short. */
static char *map_below(char *offered, size_t size, size_t alignment)
{
	char *wanted = offered - excess(offered, alignment);
	char *mapped = mmap(wanted, size, MODE, KIND | MAP_FIXED_NOREPLACE, -1, 0);

	if (mapped == MAP_FAILED || mapped == wanted)
		return mapped == wanted ? wanted : NULL;
	(void)munmap(mapped, size); /* a kernel before 4.17, which knows no better */
	return NULL;
}

void *aligned_map(size_t size, size_t alignment)
{
	char *offered = mmap(NULL, size, MODE, KIND, -1, 0), *mapped;

	if (offered == MAP_FAILED)
		return NULL;
	if (excess(offered, alignment) == 0)
		return offered;
	(void)munmap(offered, size);
	mapped = map_below(offered, size, alignment);
	return mapped ? mapped : map_more(size, alignment);
}
