/* SPDX-License-Identifier: MIT */
/* The history and the reports.  See model_report.h. */
#include "model_report.h"

#include "model.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HISTORY 30
#define TEXT_ROOM 700
#define RESULT_ROOM 64

/* One step of the past. */
struct past {
	uint64_t number;
	char text[TEXT_ROOM];
	char result[SIDES][RESULT_ROOM];
};

static struct past history[HISTORY];

static struct past *past_of(uint64_t number)
{
	return &history[number % HISTORY];
}

void report_step(const struct model *model, const char *text)
{
	struct past *past = past_of(model->step);

	*past = (struct past){.number = model->step};
	snprintf(past->text, sizeof(past->text), "%s", text);
}

void report_results(const struct model *model, const char *on_a, const char *on_b)
{
	struct past *past = past_of(model->step);

	snprintf(past->result[A], sizeof(past->result[A]), "%s", on_a);
	snprintf(past->result[B], sizeof(past->result[B]), "%s", on_b);
	if (model->settings.is_verbose)
		printf("%7" PRIu64 "  %s = %s\n", past->number, past->text, past->result[A]);
}

static void print_past(const struct past *past)
{
	printf("  %7" PRIu64 "  %s = %s\n", past->number, past->text, past->result[B]);
}

/* Oldest first.  What --only left out is not there. */
static void print_history(const struct model *model)
{
	uint64_t number = model->step >= HISTORY ? model->step - HISTORY + 1 : 1;

	printf("last operations (results on B):\n");
	for (; number <= model->step; number++)
		if (past_of(number)->number == number)
			print_past(past_of(number));
}

void differ(const struct model *model, const char *format, ...)
{
	const struct past *past = past_of(model->step);
	va_list args;

	printf("model: A (%s) differs from B (%s): seed %" PRIu64 ", step %" PRIu64 "\n", model->settings.dir[A],
	       model->settings.dir[B], model->settings.seed, model->step);
	printf("operation: %s\n   A: %s\n   B: %s\n", past->text, past->result[A], past->result[B]);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	print_history(model);
	printf("again: model --until %" PRIu64 " --verbose %" PRIu64 " %" PRIu64 " A B, with empty A and B\n",
	       model->step, model->settings.seed, model->step);
	fflush(stdout);
	exit(EXIT_DIFFERENT);
}

void broken(int err, const char *format, ...)
{
	va_list args;

	fflush(stdout);
	fprintf(stderr, "model: ");
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	if (err)
		fprintf(stderr, ": %s", strerror(err));
	fprintf(stderr, "\n");
	exit(EXIT_BROKEN);
}
