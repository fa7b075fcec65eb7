/* SPDX-License-Identifier: MIT */
/*
 * What is about to be freed.  When a file loses its last name, unlink(2) returns before the kernel tells us that
 * nobody uses the file any more; who writes right after it is to find the room.  So what such a file
 * costs is taken off the count at once.  If it is still there two seconds later, then it is in
 * use after all and counts again; and there is a limit to what can be about to go, so that this
 * is no way round another limit.
 *
 * Knows amounts and seconds, nothing of inodes or counts.  Guarded by the lock of who has it.
 */
#ifndef TMPFS_LEAVING_H
#define TMPFS_LEAVING_H

#include <stdbool.h>
#include <stdint.h>

/* Bytes: in all, and for one inode, of which the rest goes on to count. */
#define LEAVING_MAX ((uint64_t)128 << 20)
#define LEAVING_INODE_MAX ((uint64_t)64 << 20)
/* What leaves in one second counts again when as many have begun after it. */
#define LEAVING_SECONDS 2

struct leaving_amount {
	uint64_t memory; /* bytes of our own memory */
	uint64_t share; /* bytes in another place: see mem.h */
	uint64_t inodes;
};

/* All zero: nothing. */
struct leaving {
	struct {
		uint32_t second;
		struct leaving_amount amount;
	} places[LEAVING_SECONDS + 1];
	struct leaving_amount all;
};

/* What may be about to go at most. */
struct leaving_limit {
	uint64_t bytes;
	uint64_t inodes;
};

/* Something is about to go in @second.  Returns false, and it is not, if that is too much.  leaving_expire()
 * has been called for this second. */
bool leaving_add(struct leaving *leaving, uint32_t second, const struct leaving_amount *amount,
		 const struct leaving_limit *limit);

/* What began to leave in @second has gone, or stays.  Returns false if it counts again already. */
bool leaving_remove(struct leaving *leaving, uint32_t second, const struct leaving_amount *amount);

/* It is @now: what has to count again, @back, is about to go no more. */
void leaving_expire(struct leaving *leaving, uint32_t now, struct leaving_amount *back);

#endif
