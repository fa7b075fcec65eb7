/* SPDX-License-Identifier: MIT */
/*
 * When a tree is stored: the one thread that commits to the database of a mount, and the one that saves a copy.  Knows
 * time and who waits; what is written is capture.h's.
 *
 * The contract, which man/tmpfs.1 states: saver_sync() returns when all that was done before it is committed; what nobody
 * waits for is committed within the interval; a commit that fails changes nothing, and the next one has what it was to
 * have.
 */
#ifndef TMPFS_SAVER_H
#define TMPFS_SAVER_H

#include "capture.h"

struct saver;

struct saver_options {
	unsigned interval_s; /* between commits, at the most; 0: only who waits makes one */
	/* Tells of a commit that failed, and of the first that succeeds after it.  Any thread of the saver's. */
	void (*tell)(const char *text, bool is_failure);
};

/*
 * Keeps @tree in @store from here on: all that is changed in it is noted.  @store may be NULL: then it only saves copies;
 * @source is where its bytes are still to be had, or NULL.  Nobody uses the tree yet.  Both stores are the saver's from
 * here on.  Returns 0 or -ENOMEM.
 */
int saver_new(struct tree *tree, struct store *store, struct store *source, const struct saver_options *options,
	      struct saver **saver);

/* Starts its thread.  Returns 0 or -errno. */
int saver_start(struct saver *saver);

/* Whether there is a database to commit to.  @saver may be NULL, here and in saver_start(): then there is none. */
bool saver_keeps(const struct saver *saver);

/* Something is noted now that was done up to half the interval ago. */
void saver_hurry(struct saver *saver);

/* Returns 0 once all is committed that was done before, or why it is not; what saver_new() was given no store for needs
 * no commit.  Before saver_start() the caller commits by himself; after it any thread may. */
int saver_sync(struct saver *saver);

/* A last commit, and the end of its threads; a copy that is being saved is given up.  Returns 0 or why not all is
 * committed.  The tree is still there. */
int saver_stop(struct saver *saver);
void saver_free(struct saver *saver);

/* ------------------------------------------------------------------------ */
/* Copies                                                                    */

enum saver_copy_state {
	SAVER_COPY_NONE,
	SAVER_COPY_RUNS,
	SAVER_COPY_DONE,
	SAVER_COPY_FAILED,
};

struct saver_copy {
	uint64_t number; /* from 1 on */
	enum saver_copy_state state;
	int err; /* why it failed */
	char reason[128]; /* in words, or empty */
	uint64_t done, total; /* bytes, roughly */
	uint64_t stop_ns; /* for so long nobody could change anything */
};

/* Begins to save a copy of the tree as it is now to @path, which is absolute: in the end there is what was there before,
 * or the whole copy.  Returns 0 and its number, -EBUSY if one is being saved, or -ENOMEM and what pthread_create(3) gives. */
int saver_begin_copy(struct saver *saver, const char *path, uint64_t *number);

/* How many of the last ones are remembered: somebody may begin another before who began one has looked again. */
#define SAVER_COPIES 16

/* How the one of that number goes, or went; 0: the last.  Returns 0, -EINVAL if there was none, or -ESTALE if it is not
 * remembered any more. */
int saver_look_at_copy(struct saver *saver, uint64_t number, struct saver_copy *copy);

#endif
