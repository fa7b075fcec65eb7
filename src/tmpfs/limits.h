/* SPDX-License-Identifier: MIT */
/*
 * Limits as people write them, in options and commands.  Knows the forms of tmpfs(5) and how much memory
 * the machine has.
 */
#ifndef TMPFS_LIMITS_H
#define TMPFS_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

/* No limit, which people write as 0. */
#define LIMITS_NONE UINT64_MAX

/* The machine's memory, in bytes. */
uint64_t limits_ram(void);

/* "1048576", "64m" or "50%" (of @ram) as bytes, rounded up to whole pages.  Suffixes are powers
 * of 1024 from k to e.  Returns false for anything else. */
bool limits_parse_size(const char *text, uint64_t ram, uint64_t *size);

/* "1000" or "64k". */
bool limits_parse_count(const char *text, uint64_t *count);

/* What the kernel's tmpfs has where nothing is said: half of the memory, and an inode for each
 * page of that. */
uint64_t limits_default_size(void);
uint64_t limits_default_inodes(void);

#endif
