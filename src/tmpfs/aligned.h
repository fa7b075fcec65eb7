/* SPDX-License-Identifier: MIT */
/* Memory from the system at a multiple of a size, so that an address leads to where that memory begins. */
#ifndef TMPFS_ALIGNED_H
#define TMPFS_ALIGNED_H

#include <stddef.h>

/* @size bytes of zeros at a multiple of @alignment, a power of two, both whole pages; or NULL.  munmap(2) gives it back. */
void *aligned_map(size_t size, size_t alignment);

#endif
