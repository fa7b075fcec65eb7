/* SPDX-License-Identifier: MIT */
/* One step, see model_step.h. */
#include "model_step.h"

#include "model_report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct operation *const families[] = {
	name_operations,      open_operations,  data_operations,  space_operations,
	attribute_operations, xattr_operations, cache_operations,
};

#define FAMILIES (sizeof(families) / sizeof(families[0]))

void step_say(struct step *step, const char *format, ...)
{
	size_t used = strlen(step->text);
	va_list args;

	va_start(args, format);
	vsnprintf(step->text + used, sizeof(step->text) - used, format, args);
	va_end(args);
}

void result_take(struct result *result, int64_t value)
{
	result->err = value < 0 ? errno : 0;
	result->value = value < 0 ? -1 : value;
	result->n = 0;
}

/* ------------------------------------------------------------------------ */
/* Choosing                                                                  */

static size_t total_weight(void)
{
	const struct operation *operation;
	size_t i, total = 0;

	for (i = 0; i < FAMILIES; i++)
		for (operation = families[i]; operation->weight; operation++)
			total += operation->weight;
	return total;
}

static const struct operation *operation_at(size_t at)
{
	const struct operation *operation;
	size_t i;

	for (i = 0; i < FAMILIES; i++) {
		for (operation = families[i]; operation->weight; operation++) {
			if (at < operation->weight)
				return operation;
			at -= operation->weight;
		}
	}
	return NULL; /* at is less than the total */
}

static const struct operation *choose_operation(const struct model *model, struct step *step)
{
	const struct operation *operation;
	bool chosen;

	do {
		operation = operation_at(random_below(&step->random, total_weight()));
		step->text[0] = '\0';
		step->slot = step->slot2 = step->from.slot = step->to.slot = NO_SLOT;
		chosen = operation->choose(model, step);
	} while (!chosen);
	return operation;
}

/* ------------------------------------------------------------------------ */
/* Comparing                                                                 */

static const char *result_text(const struct result *result, char *buf, size_t room)
{
	if (result->value < 0)
		snprintf(buf, room, "-1 %s", strerrorname_np(result->err));
	else
		snprintf(buf, room, "%" PRId64, result->value);
	return buf;
}

static void compare_results(const struct model *model, const struct result result[SIDES])
{
	char text[SIDES][64];
	size_t i = 0;

	report_results(model, result_text(&result[A], text[A], sizeof(text[A])),
		       result_text(&result[B], text[B], sizeof(text[B])));
	if (result[A].err == EINTR || result[B].err == EINTR)
		differ(model, "a call was interrupted, though no signal is handled");
	if (result[A].value != result[B].value || result[A].err != result[B].err)
		differ(model, "the results differ");
	if (result[A].n != result[B].n)
		differ(model, "%zu bytes were read on A, %zu on B", result[A].n, result[B].n);
	if (memcmp(result[A].bytes, result[B].bytes, result[B].n) == 0)
		return;
	while (result[A].bytes[i] == result[B].bytes[i])
		i++;
	differ(model, "byte %zu of what was read is %#x on A, %#x on B", i, result[A].bytes[i], result[B].bytes[i]);
}

/* Only what paths lead to can be reached there: what is open is open by way of A. */
static bool choose_outside(const struct model *model, struct step *step)
{
	return model->source_root >= 0 && random_one_in(&step->random, 3) && step->slot == NO_SLOT &&
	       step->slot2 == NO_SLOT && step->from.slot == NO_SLOT && step->to.slot == NO_SLOT;
}

void step_do(struct model *model)
{
	static struct result result[SIDES];
	const struct operation *operation;
	static struct step step;
	enum side side;

	random_start(&step.random, model->settings.seed, model->step);
	step.user = user_choose(&step.random);
	operation = choose_operation(model, &step);
	if (step.user->name)
		step_say(&step, " as %s", step.user->name);
	model->is_outside = choose_outside(model, &step);
	if (model->is_outside)
		step_say(&step, " in the source");
	report_step(model, step.text);
	tree_begin_step(&model->tree);
	for (side = A; side < SIDES; side++) {
		user_enter(step.user);
		operation->run(model, &step, side, &result[side]);
		user_leave(step.user);
	}
	model->is_outside = false;
	compare_results(model, result);
}
