/* SPDX-License-Identifier: MIT */
/*
 * Inside of the inode table: for inode*.c only.
 *
 * Two hashes over the same inodes, by number and by identity, under one lock that no
 * slow system call is made under.  A function that ends in _locked wants it held.
 */
#ifndef PASSTHROUGHFS_INODE_TABLE_H
#define PASSTHROUGHFS_INODE_TABLE_H

#include "inode.h"
#include "mounts.h"
#include "numbers.h"
#include "siphash.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

struct inode {
	/* fixed */
	uint64_t ino;
	struct mount *mount;
	uint64_t dev;
	uint64_t source_ino;
	struct statx_timestamp born;
	mode_t type;
	bool is_by_place; /* other files have its number: it is this one only at its place */

	/* guarded by table->lock */
	struct inode *next_by_ino;
	struct inode *next_by_identity;
	uint64_t lookups; /* that the kernel holds */
	unsigned holds; /* of this program */
	unsigned opens; /* of them, files that are open: what is open stays, wherever it is */
	unsigned children; /* whose parent this is */
	bool replaced; /* the number now belongs to another file: not in by_identity */
	bool is_idle; /* on the list of those whose descriptor may go */
	bool keeps_fd; /* never to be on it: nothing else leads to it, and it stays */
	bool has_spare_fd; /* the handle would do as well.  Does not change while is_idle */
	int fd; /* O_PATH, or -1; while somebody holds the inode it stays once it is there */
	struct inode *parent; /* where it was found last, or NULL */
	char *name;
	TAILQ_ENTRY(inode) idle;

	/* inode_ignore_writes(); changes under table->lock */
	atomic_bool ignores_writes;
	/* watch_moves() before it was found to be below the root, and 1; 0: it was not */
	atomic_uint checked;

	/* fixed; size 0: there is none.  See mount_handle() */
	int handle_type;
	unsigned handle_size;
	unsigned char handle[];
};

/* Inodes whose descriptor may go, the least recently used first. */
struct idle_inodes {
	TAILQ_HEAD(inode_list, inode) list;
	size_t n;
	size_t max;
};

struct inode_table {
	pthread_mutex_t lock;
	/* guarded by lock */
	struct mounts mounts;
	struct inode **by_ino;
	struct inode **by_identity;
	size_t buckets; /* of each; a power of two */
	size_t count;
	uint64_t last_counted;
	struct idle_inodes idle;
	struct idle_inodes spare; /* those that has_spare_fd is set for */
	pthread_mutex_t ignoring; /* who begins or ends to ignore writes; locked before lock */
	/* Change under lock, and may be read without. */
	atomic_size_t n_ignoring; /* inodes with ignores_writes */
	atomic_bool ignores_unknown; /* one may be another inode too, on another mount or after it was forgotten */
	/* set once there is an inode without a handle; stays so */
	atomic_bool needs_names;
	/* fixed */
	int root_fd;
	uint64_t generation;
	struct siphash_key secret;
	struct numbers numbers; /* for files on root_mount */
	const struct mount *root_mount;
	uint64_t root_dev;
};

/** Whether the handle leads to it: else a descriptor or its place has to. */
static inline bool inode_opens_by_handle(const struct inode *inode)
{
	return inode->handle_size && inode->mount->fd >= 0;
}

/* inode_hash.c: the two hashes, and nothing of what an inode means. */

/** Room for inodes; inode_hash_done() frees it, also after a failure. */
int inode_hash_init(struct inode_table *table);
void inode_hash_done(struct inode_table *table);

struct inode *inode_hash_find_locked(const struct inode_table *table, uint64_t ino);

/** The next one after @inode, from NULL on, with this handle on @mount, if it has one, and, unless that lasts, the number that
 * the source gives this file now: whether that is the same file is another question, inode_matches(). */
struct inode *inode_hash_next_source_locked(const struct inode_table *table, const struct inode *inode,
					    const struct mount *mount, const struct statx *stx,
					    const struct handle *handle);

/** The next one after @inode, from NULL on, with this handle, on any mount. */
struct inode *inode_hash_next_handle_locked(const struct inode_table *table, const struct inode *inode,
					    const struct handle *handle);

/** Adds @inode, under the next number if it has none. */
void inode_hash_add_locked(struct inode_table *table, struct inode *inode);

/** From here @inode is found by its number only. */
void inode_hash_replace_locked(struct inode_table *table, struct inode *inode);

void inode_hash_remove_locked(struct inode_table *table, struct inode *inode);

/* inode_hold.c */

/** Gets the held inode a descriptor.  Returns 0, -ESTALE or -errno. */
int inode_open_held(struct hold *hold);

/* inode_writes.c */

/** Ends inode_ignore_writes(), if that was begun and the held file is not open any more. */
void inode_notice_writes(struct inode_table *table, struct hold *hold);

/* inode_life.c: what an inode is, from its making to its end. */

uint64_t inode_device(const struct statx *stx);

/** An O_PATH descriptor of our own for what @fd stands for, which may be open to write. */
int inode_path_fd(int fd);

/** An inode that is in no table yet and has one lookup; @mount's reference is the caller's to give on. */
int inode_new(struct mount *mount, int fd, const struct statx *stx, const struct handle *handle, struct inode **made);
void inode_free(struct inode *inode);

/** Whether the file with @stx and @handle (size 0: none), which has @inode's number, is @inode.
 * Looks at nothing that changes: no lock needed. */
bool inode_matches(const struct inode *inode, const struct statx *stx, const struct handle *handle);

/** Puts @inode among those whose descriptor may go, if it may.  Returns a descriptor
 * that has to, for the caller to close without the lock, or -1. */
int inode_become_idle_locked(struct inode_table *table, struct inode *inode);
void inode_leave_idle_locked(struct inode_table *table, struct inode *inode);

/** Takes @inode's place away.  Returns what nobody refers to any more, for inode_free_all(). */
struct inode *inode_unplace_locked(struct inode_table *table, struct inode *inode);

/** Makes @dir, which somebody holds, and *@name, which is taken if it is used, the place of
 * @inode, if it needs one.  Returns as inode_unplace_locked(). */
struct inode *inode_place_locked(struct inode_table *table, struct inode *inode, struct inode *dir, char **name);

/** Takes @inode out of the table if nobody refers to it, and the parents that only it
 * referred to.  Returns as inode_unplace_locked(). */
struct inode *inode_take_unused_locked(struct inode_table *table, struct inode *inode);
void inode_free_all(struct inode *unused);

#endif
