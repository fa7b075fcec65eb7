/* SPDX-License-Identifier: MIT */
/*
 * Chooses the arguments of operations: few values, so that steps meet each other's, and near to
 * where something changes.  Looks at B alone (A is the same, or the program had ended), and at nothing
 * that depends on the time or on the machine.
 */
#ifndef MODEL_CHOOSE_H
#define MODEL_CHOOSE_H

#include "model_step.h"

/* Sets of types of files. */
#define TYPES(dt) (1U << (dt))
#define TYPES_EMPTY_DIRECTORY (1U << 16) /* behind all DT_* */
#define TYPES_ANY (~0U)
#define TYPES_FILES (TYPES_ANY & ~TYPES(DT_DIR) & ~TYPES_EMPTY_DIRECTORY)
#define TYPES_NONE 0U

/* A name of an existing file of @types, mostly; of none, mostly, if that is TYPES_NONE. */
void choose_place(const struct model *model, struct step *step, struct place *place, unsigned types);

/* Rarely puts "." or ".." at the end of @place: for calls that refuse them before they get there. */
void choose_dots(struct step *step, struct place *place);

/* The descriptor that @place is relative to. */
int place_fd(const struct model *model, const struct place *place, enum side side);

/* @place as an absolute path, in a buffer that the next call with the same @side uses. */
const char *place_path(const struct model *model, const struct place *place, enum side side);

/* Whether the tree may become larger. */
bool may_grow(const struct model *model, struct step *step);
bool may_grow_by_directory(const struct model *model, struct step *step);

/* An open slot of one of @types; NO_SLOT if there is none. */
int choose_slot(const struct model *model, struct step *step, unsigned types);

/* A slot that is free, or that is to be made free for what is opened. */
int choose_slot_to_fill(const struct model *model, struct step *step);

/* Whether B's file at @place is open in some slot. */
bool is_open(const struct model *model, const struct place *place);

/* @is_open: they are for a file that is. */
mode_t choose_permissions(const struct model *model, struct step *step, bool is_open);

/* An offset that can be written at; rarely a negative one. */
off_t choose_offset(struct step *step);

/* How much to read or write at @off: within the windows that are compared. */
size_t choose_size(struct step *step, off_t off);

/* The size of B's file at @slot. */
off_t slot_size(const struct model *model, int slot);

/* The names of the bits of @value, or "0"; until the next call. */
struct flag {
	int bit;
	const char *name; /* NULL at the table's end */
};
const char *flags_text(const struct flag *table, int value);

#endif
