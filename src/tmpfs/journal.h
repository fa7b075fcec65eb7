/* SPDX-License-Identifier: MIT */
/*
 * What changed in a tree since it was last captured (capture.h), and what holds changes back while it is.  Knows numbers,
 * names and ranges; not what they hold, nor where a tree is stored.
 *
 * What one request changes it changes between journal_begin_change() and journal_end_change(), so that a capture
 * falls between two requests and never into one.  What it changes it notes: a name or an inode at any time in between, bytes
 * before they change, so that a capture under way can read them first.
 *
 * J1  What was changed and is not noted is as it was when it was last captured, unless it is noted that notes are missing.
 *
 * Any thread.  journal.lock is taken after the locks of a tree and its inodes; the gate before all of them.
 */
#ifndef TMPFS_JOURNAL_H
#define TMPFS_JOURNAL_H

#include "lock.h"
#include "mem.h"
#include "siphash.h"
#include "table.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct capture;
struct data_plane;
struct inode;

enum journal_what {
	JOURNAL_NODE = 1 << 0, /* attributes, links, the target of a symbolic link */
	JOURNAL_XATTRS = 1 << 1,
	JOURNAL_BYTES = 1 << 2, /* the noted ranges */
	/* The kernel may change the bytes by itself: whether it did is to be found out. */
	JOURNAL_SUSPECT = 1 << 3,
	/* Nothing of it can have been stored before: there is nothing to take away. */
	JOURNAL_NEW = 1 << 4,
};

/* The end of a range that has none. */
#define JOURNAL_END UINT64_MAX

struct journal_range {
	uint64_t from, to; /* bytes */
};

/* What is noted of one inode. */
enum { JOURNAL_RANGES = 4 };
struct journal_inode {
	struct table_link link;
	struct journal_inode *next; /* that was noted after it */
	uint64_t number;
	uint8_t what; /* of enum journal_what */
	uint8_t n_ranges;
	struct journal_range ranges[JOURNAL_RANGES]; /* in order, apart from each other */
};

/* A name that was given, taken away, or leads to something else. */
struct journal_name {
	struct table_link link;
	uint64_t dir;
	uint64_t hash;
	uint64_t number; /* of what it leads to now; 0: nothing */
	uint8_t len;
	char bytes[];
};

/* All that is noted.  All zero, after changes_init(), is nothing. */
struct changes {
	struct mem mem; /* without a limit: it lasts for seconds */
	struct table inodes; /* of struct journal_inode */
	struct journal_inode *first, *last; /* in the order in which they were noted: mostly that of their numbers */
	struct table names; /* of struct journal_name */
	bool is_incomplete; /* there was no memory to note something: all has to be looked at */
	/* Names, and inodes that nothing leads to any more, are not all noted: all names have to be looked at. */
	bool lacks_names;
};

/* What comes and goes is not to be noted for ever while nothing can be stored: so many notes may be given back beyond those of
 * what there is. */
#define JOURNAL_SURPLUS_MAX 100000

/* Who is held back by a capture goes on, and spoils it, if it does not get on for so long. */
#define JOURNAL_PATIENCE_MS 30000

/* How the bytes of a file that are still in a store are had: calls @put for each piece.  Returns 0 or -errno. */
struct journal_source {
	int (*read)(void *arg, uint64_t number, uint64_t size,
		    int (*put)(void *to, uint64_t off, const void *bytes, size_t n), void *to);
	void *arg;
};

struct journal {
	pthread_rwlock_t gate; /* for reading by requests that change something, for writing by a capture */
	/* fixed before the mount */
	bool is_kept; /* changes are noted */
	struct journal_source source;
	struct siphash_key name_key;
	uint64_t surplus_max; /* JOURNAL_SURPLUS_MAX, but in tests */
	unsigned patience_ms; /* JOURNAL_PATIENCE_MS, but in tests */

	pthread_mutex_t lock;
	/* guarded by lock */
	struct changes *changes;
	struct capture *captures; /* under way */
	uint64_t n_read; /* pieces by captures: shows whether they get on */
	pthread_cond_t moved; /* a capture has read a file, or ended: who was held back may go on */
	uint64_t *closed; /* numbers of files: journal_note_closed(), capture_settle() */
	size_t n_closed, closed_max;

	_Atomic unsigned n_captures; /* so that nobody asks in vain */
};

/* Returns 0 or -ENOMEM.  Nobody else knows @name_key. */
int journal_new(const struct siphash_key *name_key, struct journal **journal);
void journal_free(struct journal *journal);

/* Around what one request changes, by the same thread, which takes it once.  @journal may be NULL, here and below: nobody
 * wants to know. */
struct journal *journal_begin_change(struct journal *journal);
void journal_end_change(struct journal *journal);

/* The same, around what changes bytes of an inode between @from and @to: a capture may hold it back for a while.  The caller
 * has locked nothing. */
struct journal *journal_begin_bytes(struct journal *journal, uint64_t number, uint64_t from, uint64_t to);

/* From here to the end of the block: scoped_change gate = journal_begin_change(journal); */
static inline void journal_end_scoped(struct journal **journal)
{
	journal_end_change(*journal);
}
#define scoped_change __attribute__((cleanup(journal_end_scoped), unused)) struct journal *

/* Whether a capture is under way; within a change that stays so, or does not begin. */
bool journal_is_captured(const struct journal *journal);

/* Around the moment in which a capture is taken: no request is in the middle of a change. */
void journal_close_gate(struct journal *journal);
void journal_open_gate(struct journal *journal);

/* Whether what is noted is of use to anybody. */
static inline bool journal_keeps(const struct journal *journal)
{
	return journal && journal->is_kept;
}

void journal_note(struct journal *journal, uint64_t number, unsigned what);
void journal_note_range(struct journal *journal, uint64_t number, unsigned what, uint64_t from, uint64_t to);
/* Whether bytes of the inode are noted, so that the next capture takes it. */
bool journal_has_bytes(struct journal *journal, uint64_t number);

/* The name leads to @number now, 0: to nothing. */
void journal_note_name(struct journal *journal, uint64_t dir, const char *name, size_t len, uint64_t number);

/* The bytes of @inode, which is locked for writing, from @from to @to are about to change. */
void journal_before_bytes(struct data_plane *plane, struct inode *inode, uint64_t from, uint64_t to);

/* A file that is suspect or was written was closed: in a moment it will be seen that nobody can write to it any more.  It is
 * worth looking before a capture has to; where there is no memory for the note, that looks. */
void journal_note_closed(struct journal *journal, uint64_t number);

/* Those noted since the last time, for the caller to free(3). */
void journal_take_closed(struct journal *journal, uint64_t **numbers, size_t *n);
bool journal_has_closed(struct journal *journal);

/* Takes what is noted, for the caller to free or to give back; from here on all begins anew.  Returns -ENOMEM with nothing
 * taken. */
int journal_take(struct journal *journal, struct changes **changes);

/* What was taken could not be stored: it is noted again.  Frees @changes. */
void journal_give_back(struct journal *journal, struct changes *changes);
void changes_free(struct changes *changes);

/* What of @changes is not to be given back: all names, which have to be looked at then, and after that inodes that nothing leads
 * to any more. */
void changes_forget_names(struct changes *changes);
void changes_forget_inode(struct changes *changes, uint64_t number);

/* From now on, too, all names have to be looked at. */
void journal_note_all_names(struct journal *journal);

/* Whether nothing is noted, not even that something may have changed. */
bool changes_is_empty(const struct changes *changes);
bool journal_is_empty(struct journal *journal);

/* Bytes that the notes take. */
uint64_t journal_weight(struct journal *journal);

#endif
