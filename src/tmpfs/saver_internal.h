/* SPDX-License-Identifier: MIT */
/* What saver.c and saver_copy.c share. */
#ifndef TMPFS_SAVER_INTERNAL_H
#define TMPFS_SAVER_INTERNAL_H

#include "saver.h"

#include <limits.h>

/* How often a commit or a copy is begun anew because too much changed meanwhile. */
#define SAVER_TRIES 5

struct saver {
	struct tree *tree;
	/* Fixed: where it is kept, or NULL, and where bytes are that the tree does not have yet, or NULL. */
	struct store *store, *source;
	struct saver_options options;
	struct hashes *hashes; /* of store */
	pthread_t thread;
	/* The thread's. */
	int told_err;
	struct timespec last_begin; /* of a commit */

	pthread_mutex_t lock;
	pthread_cond_t to_do, done;
	/* guarded by lock: commits are numbered */
	uint64_t wanted, begun, ended;
	int err; /* of the last */
	bool is_running, is_stopping;
	bool is_hurried; /* the next one is due at hurried, whenever the last was */
	struct timespec hurried;

	/* guarded by lock, but for the progress */
	bool has_copier; /* copier is to be joined */
	pthread_t copier;
	uint64_t copy_number; /* of the last, which is the one that runs, if any does; 0: none was begun */
	struct saver_copy copies[SAVER_COPIES]; /* each at its number, modulo SAVER_COPIES */
	struct capture_progress progress;
	char path[PATH_MAX]; /* the copier's */
};

/* Gives up a copy that is being saved. */
void saver_end_copy(struct saver *saver);

#endif
