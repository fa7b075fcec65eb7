/* SPDX-License-Identifier: MIT */
/*
 * The numbers that the kernel knows files by, made of file handles, and handles of numbers.
 *
 * Most file systems' handles are an inode number and a generation.  Where both fit into 64 bits, the number that the
 * kernel knows is the handle itself: it needs no memory, and leads to the file also when it was forgotten, or in the
 * next life of the program.  Knows what the handles of some file systems look like, and nothing of files.
 *
 * Any thread, once numbers_init() has returned.
 */
#ifndef PASSTHROUGHFS_NUMBERS_H
#define PASSTHROUGHFS_NUMBERS_H

#include "mounts.h"

/** Numbers from here on are made of no handle. */
#define NUMBERS_COUNTED (UINT64_C(1) << 63)

/** How handles of one file system become numbers.  { 0 } makes none. */
struct numbers {
	bool work;
	struct handle form; /* one handle: what is neither inode number nor generation is the same in all */
	unsigned ino_at; /* where in it four bytes of the inode number are, and four of the generation */
	unsigned generation_at;
};

/** Learns from @handle, which is that of @source_ino on a file system of @fs_type (statfs.f_type), what to do. */
void numbers_init(struct numbers *numbers, unsigned long fs_type, const struct handle *handle, uint64_t source_ino);

/** The number of what @handle stands for, above 2^32 and below NUMBERS_COUNTED, or 0 if it has none. */
uint64_t numbers_pack(const struct numbers *numbers, const struct handle *handle);

/** The inode number, as st_ino says it, of the file that numbers_pack() gave @number to. */
uint64_t numbers_source_ino(uint64_t number);

/** Makes @handle that which @number was made of.  Returns false if it was made of none. */
bool numbers_unpack(const struct numbers *numbers, uint64_t number, struct handle *handle);

#endif
