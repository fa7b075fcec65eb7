/* SPDX-License-Identifier: MIT */
/* For tests that are linked with --wrap=malloc and --wrap=calloc: allocations fail while has_no_memory. */
#ifndef NO_MEMORY_H
#define NO_MEMORY_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

static _Atomic bool has_no_memory;

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);

void *__wrap_malloc(size_t size)
{
	errno = ENOMEM;
	return atomic_load(&has_no_memory) ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	errno = ENOMEM;
	return atomic_load(&has_no_memory) ? NULL : __real_calloc(n, size);
}

#endif
