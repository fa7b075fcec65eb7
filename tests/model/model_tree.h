/* SPDX-License-Identifier: MIT */
/*
 * What both sides look like, and whether it is the same.
 *
 * tree_compare() looks at all of it after each step: every directory is listed, every name's
 * attributes are read, every regular file's bytes are read, every symbolic link's target, and what
 * is open but has no name any more is looked at through its descriptor.  So a wrong change on A,
 * also of what the step had nothing to do with, is found by the step that made it.  Four things are
 * not looked at as a whole in each step, as each costs a request that the kernel would not make for
 * an application either:
 *  - attributes as A itself knows them, where the kernel remembers them: A is asked about what the step changed (on
 *    either side), and about one node in turn;
 *  - bytes as A itself has them, where the kernel has their page: those of one node in turn;
 *  - extended attributes: of what the step changed, and of one node in turn;
 *  - bytes of a very long file: those near to where steps write (model_contents).
 * A wrong answer to one of these is found when the node has its turn, every 32 looks, or by the step that makes the
 * kernel forget everything (model_ops_cache), one of some 60.  The setting is_thorough looks at all but the last each
 * time.
 *
 * A node is an inode on A and an inode on B that the same names lead to.  Hard links, and
 * descriptors of what was renamed or removed, are compared by that: an inode of one side must
 * always go with the same inode of the other.
 */
#ifndef MODEL_TREE_H
#define MODEL_TREE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>

enum side { A, B, SIDES };

/* More than the steps make. */
#define NODES_MAX 256
#define NAMES_MAX 256
#define PATH_ROOM 1024

/* One file or directory.  An entry of the table is free while serial is 0. */
struct node {
	unsigned serial; /* in the order in which they were first seen */
	struct stat seen[SIDES]; /* as last looked at, before the step under way */
	struct timespec born; /* A's birth time, all zero while it was not asked for */
	uint64_t looked; /* which look saw it last */
	int held[SIDES]; /* descriptors kept from look to look, or -1 */
	char path[PATH_ROOM]; /* one of its names, for choices and reports; "" of what has none */
};

/* One name.  Names of one directory stand together, in the order of strcmp(). */
struct name {
	char path[PATH_ROOM]; /* from the root */
	struct node *node;
};

struct tree {
	struct node nodes[NODES_MAX];
	size_t n_nodes; /* none is in use behind these */
	struct name names[NAMES_MAX]; /* as of the last look; the root is not among them */
	size_t n_names;
	unsigned last_serial;
	uint64_t look; /* the number of the last look */
	struct timespec before; /* the time when the step began, by the coarse clock */
	bool everything; /* the next look is thorough */
	bool was_evicted; /* before the look under way, the kernel forgot all of A */
};

struct model;

void tree_init(struct tree *tree);

/* To be called before each step: whatever is changed from here on gets a time from here on. */
void tree_begin_step(struct tree *tree);

/* Looks at both sides; the first difference ends the program (model_report.h). */
void tree_compare(struct model *model);

/* Closes what is kept open between the looks. */
void tree_release(struct tree *tree);

#endif
