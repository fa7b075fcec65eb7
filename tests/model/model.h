/* SPDX-License-Identifier: MIT */
/*
 * model: does the same random operations on the file system under test (A) and on the kernel's
 * tmpfs (B), and compares everything that can be seen of both after each.
 *
 * Where A shows another directory (--outside), some steps are done in that instead, and A must show it at once.
 *
 * A step is chosen (model_choose, model_ops_*) from the seed, the step's number and what B looks
 * like, then done on A and on B (model_step), then both trees are looked at (model_tree and what
 * it calls).  The first difference is reported and ends the program (model_report).
 *
 * Knows what all parts share: the two sides, the settings, the open descriptors.
 */
#ifndef MODEL_H
#define MODEL_H

#include "model_random.h"
#include "model_tree.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

/* How many descriptors the steps may have open. */
#define SLOTS 8
/* What a step reads or writes at most. */
#define BYTES_MAX ((size_t)64 << 10)

/* What the command line says. */
struct settings {
	uint64_t seed;
	uint64_t steps;
	const char *dir[SIDES];
	const char *source; /* what A shows, where some steps change it, or NULL */
	const char *only; /* a list of the steps to do, or NULL for all */
	bool is_verbose;
	bool is_thorough; /* look past the kernel's caches in each step */
	bool compares_blocks;
	bool seeks_holes;
};

/* What both sides can do: found by trying (model_probe). */
struct features {
	bool xattr_user, xattr_trusted, xattr_security, acl;
	bool whiteout;
	bool direct_io;
	bool seek_hole;
	/* What Linux's own file systems do, and what FUSE may keep from those behind it: */
	bool same_size_stamps; /* truncate(2) to the size that a file has changes its times if it has blocks */
	bool fallocate_drops; /* fallocate(2) takes set-user-id away, as write(2) does */
	bool empty_chown; /* chown(2) to nobody does too, and changes ctime */
	bool group_drops; /* write(2) looks at the writer's groups before it leaves set-group-id */
	bool map_keeps_capability; /* a store to a mapping leaves security.capability alone */
	bool late_setid; /* a privileged writer keeps set-user-id that a file got while he had it open */
	bool append_ends; /* F_SETFL without O_APPEND on a file opened with it lets pwrite(2) choose the place */
	bool evict; /* A's caches in the kernel can be emptied */
	bool zero_range[SIDES]; /* what B lacks is put together from what it has */
};

/* A descriptor on each side, opened by the same step. */
struct slot {
	int fd[SIDES]; /* -1: the slot is free */
	int flags; /* of the open(2) */
	mode_t type; /* S_IFREG ... */
};

struct model {
	struct settings settings;
	struct features features;
	int root[SIDES];
	int source_root; /* -1 without a source */
	bool is_outside; /* the step under way changes the source itself, not by way of A */
	dev_t dev[SIDES]; /* the file systems that the roots are on */
	struct slot slots[SLOTS];
	struct tree tree;
	uint64_t step; /* that is under way */
	int pattern_fd; /* a file with the pattern's bytes, for who needs a descriptor */
	unsigned char *pattern; /* BYTES_MAX random bytes twice, aligned to pages: what is written */
};

/* Finds out what both sides can do, and prints what is left out. */
void model_probe(struct model *model);

/* Drops what the kernel keeps of A and nobody uses: names, attributes, pages.  Returns 0 or -errno. */
int model_evict(struct model *model);

static inline bool slot_is_open(const struct slot *slot)
{
	return slot->fd[A] >= 0;
}

#endif
