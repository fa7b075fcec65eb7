/* SPDX-License-Identifier: MIT */
/*
 * Bytes of files in memory of our own; a range that was never written takes none.  It needs no
 * privilege.  Counted by mem to the last byte.
 *
 * D1: what is allocated at and past the end of a file is zero, so that it
 *     grows without a look at its last page (resize sees to it).
 */
#ifndef TMPFS_DATA_HEAP_H
#define TMPFS_DATA_HEAP_H

#include "data.h"

/* Returns 0 or -ENOMEM.  @mem is not charged for the plane itself. */
int data_heap_new(struct mem *mem, struct data_plane **plane);

#endif
