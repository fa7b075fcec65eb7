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

extern const struct data_ops data_heap_ops;

#endif
