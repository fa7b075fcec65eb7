/* SPDX-License-Identifier: MIT */
/*
 * One state of a tree on its way to a store: either what changed since the last one, or all of it.  While it is taken no
 * request is in the middle of a change; names and attributes are copied then.  The bytes of files are read later, while
 * the tree is in use: who is about to change bytes that were not read yet sets them aside first (capture_rescue()).
 *
 * What the kernel writes by itself nobody can hold back: of a file that is written like that at this moment each
 * piece is as it was at some time between the taking and the writing, and none lies behind the size that the file had.
 *
 * J2  What a capture stores is the tree as it was between two requests.
 *
 * One thread works with a capture, others with the tree.
 */
#ifndef TMPFS_CAPTURE_H
#define TMPFS_CAPTURE_H

#include "hashes.h"
#include "journal.h"
#include "store.h"
#include "tree.h"

struct capture;

/* How far capture_write() has got, for who looks from another thread. */
struct capture_progress {
	_Atomic uint64_t done, total; /* bytes, and so many for each inode and name */
	_Atomic bool gives_up; /* somebody does not want it any more: -ECANCELED */
};

enum capture_kind {
	CAPTURE_CHANGES, /* what the journal has noted, which it then has no more */
	CAPTURE_ALL,
};

/* Asks the kernel about files that were closed after it could write to them: what is asked now does not hold anybody up when a
 * capture is taken.  Any thread that may call capture_take(). */
void capture_settle(struct tree *tree);

/* Returns 0 or -ENOMEM, with nothing taken and the reason in store_reason(). */
int capture_take(struct tree *tree, enum capture_kind kind, struct capture **taken);

/* The same, where others were spoilt by what changed meanwhile: who would change more of it than can be set aside waits until it
 * has read that. */
int capture_take_and_hold_back(struct tree *tree, enum capture_kind kind, struct capture **taken);

/* Whether there is nothing to write. */
bool capture_is_empty(const struct capture *capture);

/* For how long nobody could change anything. */
uint64_t capture_stop_ns(const struct capture *capture);

/*
 * Writes it to @to, in one transaction, and none if nothing turns out to have changed.  @stored is where the bytes are that
 * the tree does not have yet, or NULL; for changes it is @to.  @hashes is of @to: what is known of the bytes that it has; NULL for a new
 * store.  @progress may be NULL.
 * Returns 0, or what the stores say, -ENOMEM, or -EAGAIN: more bytes changed than are set aside, or there was no memory for them,
 * so that it has to be taken anew.  Then nothing was written, and store_reason() says why.
 */
int capture_write(struct capture *capture, struct store *to, struct store *stored, struct hashes *hashes,
		  struct capture_progress *progress);

/* Ends it.  Changes that were not @written are the journal's again. */
void capture_end(struct capture *capture, bool written);

/* Whether a change may begin that journal_begin_bytes() was asked for, and the gate is held for.  If not, that change has ended when
 * this returns, a while later, and is to be tried again. */
bool capture_lets_change(struct journal *journal, uint64_t number, uint64_t from, uint64_t to);

/* The bytes of @inode, which is locked for writing, from @from to @to are about to change: every capture that has yet to
 * read them is given them. */
void capture_rescue(struct journal *journal, struct data_plane *plane, struct inode *inode, uint64_t from, uint64_t to);

#endif
