/* SPDX-License-Identifier: MIT */
/*
 * The tree: the operations on names that POSIX describes, on inodes called by
 * their numbers.  Knows which inode has which names and when one may be freed;
 * nothing of who asks from outside, or over what protocol.
 *
 * Invariants
 *  T1  An inode lives while it has a name, a lookup of the kernel's or a request
 *      under way: each is one reference, and the last one given back frees it.
 *  T2  A number is used once.
 *  T3  A directory has at most one name; dir.parent is where, or NULL.
 *  T4  A directory's links are 2 + the directories in it while it has its name, else 0.
 *  T5  An operation that fails leaves everything as it was.
 *  T7  What the tree costs stays within its size, and its inodes within their number.
 *
 *  J1  What was changed and is not noted in the journal is as it was when it was last captured.
 *
 * Locks, in this order: the gate of the journal; tree.lock; one inode.lock; a shard of the itable, or the journal's lock.
 * tree.lock guards all names (struct dir).  tree_put() may free a whole file, and is
 * never called with a lock held.
 */
#ifndef TMPFS_TREE_H
#define TMPFS_TREE_H

#include "data_kernel.h"
#include "inode.h"
#include "itable.h"
#include "mem.h"
#include "siphash.h"

#include <pthread.h>

#define TREE_ROOT_NUMBER UINT64_C(1)
/* Longest target of a symbolic link, in bytes. */
#define TREE_TARGET_MAX 4095

/*
 * Which file lost a name in which directory last.  The kernel holds a directory locked while it changes names in it, until
 * it is done with our answer: the next change there shows that it counted the links of that file.  Of directories that
 * share a place only one is remembered; the other's file stays in doubt, which only takes time.
 */
enum { TREE_LOSSES = 64 };

struct tree_losses {
	pthread_mutex_t lock;
	struct {
		uint64_t dir, inode; /* 0: none */
	} places[TREE_LOSSES]; /* guarded by lock */
};

struct tree {
	struct mem mem;
	struct tree_losses losses;
	struct itable inodes;
	pthread_rwlock_t lock;
	_Atomic uint64_t next_number;
	/* fixed */
	struct siphash_key name_key;
	uint32_t generation; /* of all inodes of this tree; not 0.  Kept by a store, and set by tree_restore() then */
	struct data_plane *plane; /* where the bytes of files are */
	struct journal *journal; /* the plane's, too */
	struct inode *root;
};

/* What a tree may take. */
struct tree_limits {
	uint64_t size; /* bytes for everything, or MEM_UNLIMITED */
	uint64_t inodes; /* or UINT64_MAX */
};

/* @mode is of the root, its type ignored.  The bytes of files lie in memory of our own.
 * Returns 0, -ENOMEM, or -ENOSPC if not even the root fits. */
int tree_new(mode_t mode, struct owner owner, const struct tree_limits *limits, struct tree **tree);

/* Lets the bytes of files lie in the kernel's plane, while there is no file yet.  Returns 0 or what data_kernel_new()
 * says; then all stays as it was. */
int tree_use_kernel(struct tree *tree, const struct data_kernel_options *options);

/* Frees everything, referred to or not.  NULL is nothing. */
void tree_free(struct tree *tree);

/* What may be taken, and what is. */
void tree_usage(struct tree *tree, struct tree_limits *limits, struct tree_limits *used);

/* Changes the limits.  Returns 0, or -EBUSY with nothing changed if more is in use. */
int tree_set_limits(struct tree *tree, const struct tree_limits *limits);

/* ------------------------------------------------------------------------ */
/* References                                                                */

/* The inode with @number for the time of a request: tree_put() gives it back.  NULL if there
 * is none. */
struct inode *tree_get(struct tree *tree, uint64_t number);

/* A further reference to what the caller has one of. */
void tree_ref(struct inode *inode);

void tree_put(struct tree *tree, struct inode *inode);

/* Calls @visit for each inode, which holds on to those that it wants for longer; what is made meanwhile may be left out.
 * Returns 0, or -ENOMEM, some not having been visited. */
int tree_each_inode(struct tree *tree, void (*visit)(struct inode *inode, void *arg), void *arg);

/* Gives back @n references that lookups of @number handed out. */
void tree_forget(struct tree *tree, uint64_t number, uint64_t n);

/* ------------------------------------------------------------------------ */
/* Names                                                                     */

/*
 * What follows returns 0 or: -ESTALE if there is no inode with a given number,
 * -ENOTDIR if that of a parent is none, -ENAMETOOLONG, -ENOENT if a parent was
 * removed, -ENOMEM, -ENOSPC, and what is said of each.
 * An inode that is returned carries a reference for the kernel: tree_forget() or tree_put().
 */

/* -ENOENT: not there.  "." and ".." are, the first also for what is no directory; -ESTALE if that lost its last name. */
int tree_lookup(struct tree *tree, uint64_t parent, const char *name, struct inode **inode);

/* -EEXIST.  @mode has type and permissions. */
int tree_mknod(struct tree *tree, uint64_t parent, const char *name, mode_t mode, dev_t rdev, struct owner owner,
	       struct inode **made);
/* What is done to a new inode before anybody can find it.  What make() returns but 0 is the result of all; undo()
 * follows if the inode does not get its name after all. */
struct tree_preparation {
	int (*make)(struct inode *inode, void *arg);
	void (*undo)(struct inode *inode, void *arg);
	void *arg;
};

/* As mknod for a regular file. */
int tree_create(struct tree *tree, uint64_t parent, const char *name, mode_t mode, struct owner owner,
		const struct tree_preparation *preparation, struct inode **made);
int tree_mkdir(struct tree *tree, uint64_t parent, const char *name, mode_t mode, struct owner owner,
	       struct inode **made);
int tree_symlink(struct tree *tree, uint64_t parent, const char *name, const char *target, struct owner owner,
		 struct inode **made);

/* A regular file without a name, to which tree_link() may give one. */
int tree_tmpfile(struct tree *tree, uint64_t parent, mode_t mode, struct owner owner, struct inode **made);

/* -EEXIST, -EPERM for a directory, -ENOENT for a removed file, -EMLINK. */
int tree_link(struct tree *tree, uint64_t number, uint64_t parent, const char *name, struct inode **inode);

/* -ENOENT, -EISDIR. */
int tree_unlink(struct tree *tree, uint64_t parent, const char *name);

/* -ENOENT, -ENOTDIR, -ENOTEMPTY. */
int tree_rmdir(struct tree *tree, uint64_t parent, const char *name);

/* @flags: RENAME_NOREPLACE (-EEXIST), RENAME_WHITEOUT (leaves a whiteout of @owner's), both, or RENAME_EXCHANGE.
 * -ENOENT, -EISDIR, -ENOTDIR, -ENOTEMPTY, -EINVAL for a directory into itself and for other flags. */
int tree_rename(struct tree *tree, uint64_t parent, const char *name, uint64_t new_parent, const char *new_name,
		unsigned flags, struct owner owner);

/* ------------------------------------------------------------------------ */
/* Listing                                                                   */

/* A listing under way; it holds tree.lock for reading. */
struct tree_list {
	struct tree *tree;
	struct inode *dir;
	uint64_t off;
};

struct tree_item {
	const char *name;
	struct inode *inode;
	uint64_t next_off; /* to go on behind it, however long after */
};

/* Starts behind @off; 0: at the beginning.  Nothing may be called until tree_list_end() but
 * tree_list_next(), tree_ref(), and what takes an inode's lock. */
int tree_list_begin(struct tree *tree, uint64_t number, uint64_t off, struct tree_list *list);

/* Returns false at the end.  @item is valid until tree_list_end(). */
bool tree_list_next(struct tree_list *list, struct tree_item *item);
void tree_list_end(struct tree_list *list);

/* ------------------------------------------------------------------------ */
/* Between the files of the tree                                             */

/* A new inode with one reference, in the table but without a name; the second as it is made in @dir, the third with a
 * number that no inode has had but this one.  Return 0, -ENOMEM or -ENOSPC. */
int tree_make_inode(struct tree *tree, mode_t mode, struct owner owner, struct inode **made);
int tree_make_in(struct tree *tree, struct inode *dir, mode_t mode, struct owner owner, struct inode **made);
int tree_make_numbered(struct tree *tree, uint64_t number, mode_t mode, struct owner owner, struct inode **made);

/* Turns @bytes into a name of an entry.  -ENAMETOOLONG, -ENOENT for an empty one. */
int tree_name(const struct tree *tree, const char *bytes, struct dir_name *name);

/* A change of names in @dir begins; @inode lost a name in it, and may have others. */
void tree_change_begins(struct tree *tree, const struct inode *dir);
void tree_lost_name(struct tree *tree, const struct inode *dir, struct inode *inode);

/* @name was given in @dir, taken away there, or leads to something else. */
void tree_note_name(struct tree *tree, const struct inode *dir, const struct dir_name *name, const struct inode *to);

/* Something of @inode changed: enum journal_what. */
void tree_note(struct tree *tree, const struct inode *inode, unsigned what);

/* As tree_get(), for a directory.  Returns 0, -ESTALE or -ENOTDIR. */
int tree_get_dir(struct tree *tree, uint64_t number, struct inode **dir);

/* Both of the above: where an operation on a name takes place.  tree_put() gives @dir back. */
int tree_get_place(struct tree *tree, uint64_t number, const char *bytes, struct inode **dir, struct dir_name *name);

#endif
