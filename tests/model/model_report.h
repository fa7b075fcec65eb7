/* SPDX-License-Identifier: MIT */
/*
 * The history of the last steps, and the ends of the program: a difference, with what is needed to
 * see it again, or something that has nothing to do with it.
 */
#ifndef MODEL_REPORT_H
#define MODEL_REPORT_H

#include <stddef.h>

enum exit_status {
	EXIT_SAME = 0,
	EXIT_DIFFERENT = 1,
	EXIT_BROKEN = 2, /* the comparison could not be made */
};

struct model;

/* The step that is under way, as a call with its arguments. */
void report_step(const struct model *model, const char *text);

/* What came of it on both sides. */
void report_results(const struct model *model, const char *on_a, const char *on_b);

/* Prints what differs between A and B and all about the step, and ends the program. */
_Noreturn void differ(const struct model *model, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Says why the comparison cannot go on, with the text of @err unless that is 0, and ends the program. */
_Noreturn void broken(int err, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
