/* SPDX-License-Identifier: MIT */
/*
 * Backing files: files in a private mount of the kernel's tmpfs, their descriptors and registrations.  Knows how few
 * descriptors there are; nothing of what the files are for.
 *
 * A backing file is used by one inode at a time, under that inode's lock.  The store has a lock of its own for
 * what it does to files that nobody uses at the moment.
 */
#ifndef TMPFS_BACKING_H
#define TMPFS_BACKING_H

#include "data_kernel.h"

#include <pthread.h>
#include <sys/stat.h>

struct backing {
	/* guarded by the lock of the store */
	struct backing *next, *previous; /* among the warm, or next among the spare */
	int fd; /* -1: closed */
	int handle; /* 0: not registered */
	uint32_t users; /* who needs the descriptor now */
	uint32_t opens;
	bool is_warm; /* on the list */

	/* guarded by the lock of the inode */
	bool is_handed_out; /* while it is open: how */
	bool is_stale; /* look may be behind */
	bool is_tripwire; /* has the setuid bit, which a write drops */
	uint32_t writers; /* of opens */
	/* The kernel opened it for somebody, or to write, and has not been seen to have closed all that since. */
	bool was_handed_out, was_writable;
	bool has_atime; /* look.atime is of a time since it was attached */
	struct timespec attached;
	struct data_look look;
	unsigned char *ahead; /* all bytes, or NULL: they were not read ahead, or may have changed since */
	size_t n_ahead;

	uint64_t id; /* fixed: its name */
};

static inline bool timespec_is_later(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec != b->tv_sec ? a->tv_sec > b->tv_sec : a->tv_nsec > b->tv_nsec;
}

struct backing_store {
	struct mem *mem;
	int mount_fd;
	int context_fd; /* to change the options of the mount, or -1 until the next time */
	struct data_registry registry;
	pthread_mutex_t lock; /* taken after that of an inode; mem's comes after it */
	/* guarded by lock */
	struct backing *spares;
	unsigned n_spares;
	struct backing *warm_first, *warm_last; /* the first was used last */
	unsigned n_warm, warm_max;
	uint64_t next_id;
	size_t ahead; /* bytes that were read ahead */
};

/* Both as data_kernel_new() says. */
int backing_store_init(struct backing_store *store, struct mem *mem, const struct data_kernel_options *options);
void backing_store_done(struct backing_store *store);

/* Lets the files have @max bytes.  Returns 0, or -ENOSPC if they have more.  One thread at a time. */
int backing_store_resize(struct backing_store *store, uint64_t max);
uint64_t backing_store_used(const struct backing_store *store);

/* An empty file, that nobody else has in use.  @may_exceed: also if the size forbids it, for what must not fail for want of room.
 * Returns 0, -ENOSPC, -ENOMEM, -ENFILE ... */
int backing_new(struct backing_store *store, bool may_exceed, struct backing **made);

/* Whether the kernel may have it in use for somebody though nobody has it open: a mapping lives on after the last
 * close.  The kernel has not opened it for anybody since then. */
bool backing_is_mapped(struct backing_store *store, struct backing *backing);

/* The same, or whether it is open. */
bool backing_is_in_use(struct backing_store *store, struct backing *backing);

/* Frees the bytes; keeps the file for another inode, or removes it. */
void backing_free(struct backing_store *store, struct backing *backing);

/* The same when the mount and the registry are about to go: without a trace in them. */
void backing_drop(struct backing_store *store, struct backing *backing);

/* The descriptor, open until backing_put().  Returns it or -errno. */
int backing_get(struct backing_store *store, struct backing *backing);
void backing_put(struct backing_store *store, struct backing *backing);

/* Makes sure that it is registered, while it is open.  Returns the handle, or -errno. */
int backing_register(struct backing_store *store, struct backing *backing, void *request);

/* Opens @by more, or less. */
void backing_count_opens(struct backing_store *store, struct backing *backing, int by);

/* Keeps the bytes of a small file, to which nobody can write, at hand.  If there is no room it does not. */
void backing_read_ahead(struct backing_store *store, struct backing *backing);
void backing_forget_ahead(struct backing_store *store, struct backing *backing);

/* fstat(2), without a descriptor if there is none. */
int backing_stat(struct backing_store *store, struct backing *backing, struct stat *st);

#endif
