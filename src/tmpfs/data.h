/* SPDX-License-Identifier: MIT */
/*
 * The bytes of one file, in heap pages; a range that was never written takes none.
 * Knows offsets and bytes, nothing of inodes.  Hides where the bytes are.  This
 * interface is what a second place for the bytes (files of the kernel's) is to offer.
 *
 * Guarded by the lock of the inode: for reading around data_segment() and the
 * two data_next_*(), for writing around the rest.
 *
 * D1: what is allocated at and past the end of the file is zero, so that a file
 *     grows without a look at its last page (data_resize() sees to it).
 */
#ifndef TMPFS_DATA_H
#define TMPFS_DATA_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* A file is at most this long: the greatest off_t. */
#define DATA_SIZE_MAX INT64_MAX
#define DATA_PAGE_SIZE 4096

struct mem;

/* All zero is an empty file. */
struct data {
	uint64_t size;
	uint64_t allocated; /* bytes of pages */
	void *root; /* what it is, height and small say */
	uint32_t height; /* 0: root is page 0, or NULL; else a node of that height */
	uint32_t small; /* height 0: bytes that page 0 has, at most DATA_PAGE_SIZE */
};

/* Frees all. */
void data_clear(struct data *data, struct mem *mem);

/*
 * Finds the bytes that lie in one piece at @off, at most @n: sets @bytes to them,
 * or to NULL for zeros, and returns how many (0 only at or past the end).
 * They stay where they are until the lock is given up.
 */
size_t data_segment(const struct data *data, uint64_t off, size_t n, const void **bytes);

/* Returns how many bytes were written, less than @n only if there is no memory for
 * more, or -EFBIG, -ENOMEM. */
ssize_t data_write(struct data *data, struct mem *mem, const void *buf, size_t n, uint64_t off);

/* Returns 0, or -EFBIG.  Growing allocates nothing. */
int data_resize(struct data *data, struct mem *mem, uint64_t size);

/* Makes sure that a write to the range needs no memory.  The size stays.
 * Returns 0, -EFBIG, or -ENOMEM with a part of it done. */
int data_allocate(struct data *data, struct mem *mem, uint64_t off, uint64_t len);

/* Makes the range zero and frees its whole pages.  The size stays. */
void data_punch(struct data *data, struct mem *mem, uint64_t off, uint64_t len);

/* The first offset not before @off that lies in a page, or in a hole; a hole begins at
 * the end.  Returns -ENXIO if there is none. */
int64_t data_next_data(const struct data *data, uint64_t off);
int64_t data_next_hole(const struct data *data, uint64_t off);

#endif
