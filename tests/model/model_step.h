/* SPDX-License-Identifier: MIT */
/*
 * One step: an operation with its arguments, chosen once, done on each side, its results compared.
 * The operations are in tables, one for each family (model_ops_*.c).
 */
#ifndef MODEL_STEP_H
#define MODEL_STEP_H

#include "model.h"
#include "model_user.h"

#include <sys/types.h>

#define TEXT_ROOM 640
#define PLACE_TEXT_ROOM 160
#define NO_SLOT (-1)

/* A path and what it is relative to. */
struct place {
	int slot; /* a directory that a step opened, or NO_SLOT: the root */
	char path[PATH_ROOM];
	char text[PLACE_TEXT_ROOM]; /* for the report: as two arguments of a call */
};

/* What is chosen; an operation uses what it needs. */
struct step {
	struct random random;
	const struct user *user;
	struct place from, to;
	int slot, slot2;
	int flags;
	int mode; /* of fallocate() */
	mode_t permissions; /* with a type for mknod() */
	dev_t rdev;
	uid_t uid;
	gid_t gid;
	off_t off, off2;
	size_t size;
	size_t pattern_off; /* which bytes are written */
	struct timespec times[2];
	const char *name; /* of an attribute, or a link's target */
	unsigned char value[4096]; /* of an attribute */
	char text[TEXT_ROOM]; /* the call, for the report */
};

/* What came of it on one side; all of it must be the same on the other. */
struct result {
	int64_t value; /* what the call returned; a descriptor as 0 */
	int err; /* errno if value is -1, else 0 */
	size_t n; /* of bytes */
	unsigned char bytes[BYTES_MAX] __attribute__((aligned(4096))); /* what was read */
};

struct operation {
	unsigned weight;
	/* Returns false where there is nothing to do it with: something else is chosen then. */
	bool (*choose)(const struct model *model, struct step *step);
	void (*run)(struct model *model, const struct step *step, enum side side, struct result *result);
};

extern const struct operation name_operations[], open_operations[], data_operations[], space_operations[],
	attribute_operations[], xattr_operations[], cache_operations[];

/* Chooses and does the step model->step; the first difference of the results ends the program. */
void step_do(struct model *model);

/* Sets @step's text. */
void step_say(struct step *step, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Takes what a system call has just returned, and errno. */
void result_take(struct result *result, int64_t value);

#endif
