/* SPDX-License-Identifier: MIT */
/* Operations on attributes: modes, owners, times; and on what is kept of a file.  See model_step.h. */
#include "model_choose.h"

#include "model_report.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ------------------------------------------------------------------------ */
/* Modes and owners                                                          */

static bool choose_chmod(const struct model *model, struct step *step)
{
	choose_place(model, step, &step->from, TYPES_ANY);
	step->permissions = choose_permissions(model, step, is_open(model, &step->from));
	step_say(step, "fchmodat(%s, %#o)", step->from.text, step->permissions);
	return true;
}

static void run_chmod(struct model *model, const struct step *step, enum side side, struct result *result)
{
	result_take(result, fchmodat(place_fd(model, &step->from, side), step->from.path, step->permissions, 0));
}

static bool choose_fchmod(const struct model *model, struct step *step)
{
	step->slot = choose_slot(model, step, TYPES_ANY);
	if (step->slot == NO_SLOT)
		return false;
	step->permissions = choose_permissions(model, step, true);
	step_say(step, "fchmod(fd%d, %#o)", step->slot, step->permissions);
	return true;
}

static void run_fchmod(struct model *model, const struct step *step, enum side side, struct result *result)
{
	result_take(result, fchmod(model->slots[step->slot].fd[side], step->permissions));
}

/* Nobody gets it. */
static bool is_empty_chown(const struct step *step)
{
	return step->uid == (uid_t)-1 && step->gid == (gid_t)-1;
}

static bool choose_chown(const struct model *model, struct step *step)
{
	choose_place(model, step, &step->from, TYPES_ANY);
	step->uid = user_any_uid(&step->random);
	step->gid = user_any_gid(&step->random);
	if (is_empty_chown(step) && !model->features.empty_chown)
		return false;
	step->flags = random_one_in(&step->random, 2) ? AT_SYMLINK_NOFOLLOW : 0;
	step_say(step, "fchownat(%s, %d, %d, %s)", step->from.text, (int)step->uid, (int)step->gid,
		 step->flags ? "AT_SYMLINK_NOFOLLOW" : "0");
	return true;
}

static void run_chown(struct model *model, const struct step *step, enum side side, struct result *result)
{
	result_take(result,
		    fchownat(place_fd(model, &step->from, side), step->from.path, step->uid, step->gid, step->flags));
}

static bool choose_fchown(const struct model *model, struct step *step)
{
	step->slot = choose_slot(model, step, TYPES_ANY);
	if (step->slot == NO_SLOT)
		return false;
	step->uid = user_any_uid(&step->random);
	step->gid = user_any_gid(&step->random);
	if (is_empty_chown(step) && !model->features.empty_chown)
		return false;
	step_say(step, "fchown(fd%d, %d, %d)", step->slot, (int)step->uid, (int)step->gid);
	return true;
}

static void run_fchown(struct model *model, const struct step *step, enum side side, struct result *result)
{
	result_take(result, fchown(model->slots[step->slot].fd[side], step->uid, step->gid));
}

/* ------------------------------------------------------------------------ */
/* Times                                                                     */

static struct timespec choose_time(struct step *step)
{
	static const struct timespec times[] = {
		{.tv_nsec = UTIME_NOW},
		{.tv_nsec = UTIME_OMIT},
		{.tv_sec = 0},
		{.tv_sec = 1000000000, .tv_nsec = 123456789},
		{.tv_sec = 1234567890, .tv_nsec = 999999999},
		{.tv_sec = INT32_MAX},
		{.tv_sec = (time_t)UINT32_MAX + 1, .tv_nsec = 1},
		{.tv_sec = (time_t)1 << 33, .tv_nsec = 500},
		{.tv_sec = -1, .tv_nsec = 1},
		{.tv_nsec = 1000000000},
	};

	return RANDOM_OF(&step->random, times);
}

static void choose_times(struct step *step)
{
	step->times[0] = choose_time(step);
	step->times[1] = choose_time(step);
}

static void say_time(struct step *step, const struct timespec *time)
{
	if (time->tv_nsec == UTIME_NOW)
		step_say(step, ", UTIME_NOW");
	else if (time->tv_nsec == UTIME_OMIT)
		step_say(step, ", UTIME_OMIT");
	else
		step_say(step, ", %" PRId64 ".%09ld", (int64_t)time->tv_sec, time->tv_nsec);
}

/* The access time at once, before somebody reads: if it was set, it is part of the result. */
static void take_atime(const struct step *step, const struct stat *st, struct result *result)
{
	const struct timespec *set = &step->times[0];

	if (result->err || set->tv_nsec == UTIME_NOW || set->tv_nsec == UTIME_OMIT)
		return;
	memcpy(result->bytes, &st->st_atim, sizeof(st->st_atim));
	result->n = sizeof(st->st_atim);
}

static bool choose_utimens(const struct model *model, struct step *step)
{
	choose_place(model, step, &step->from, TYPES_ANY);
	choose_times(step);
	step->flags = random_one_in(&step->random, 2) ? AT_SYMLINK_NOFOLLOW : 0;
	step_say(step, "utimensat(%s", step->from.text);
	say_time(step, &step->times[0]);
	say_time(step, &step->times[1]);
	step_say(step, ", %s)", step->flags ? "AT_SYMLINK_NOFOLLOW" : "0");
	return true;
}

static void run_utimens(struct model *model, const struct step *step, enum side side, struct result *result)
{
	const int fd = place_fd(model, &step->from, side);
	struct stat st;

	result_take(result, utimensat(fd, step->from.path, step->times, step->flags));
	if (fstatat(fd, step->from.path, &st, step->flags) == 0)
		take_atime(step, &st, result);
}

static bool choose_futimens(const struct model *model, struct step *step)
{
	step->slot = choose_slot(model, step, TYPES_ANY);
	if (step->slot == NO_SLOT)
		return false;
	choose_times(step);
	step_say(step, "futimens(fd%d", step->slot);
	say_time(step, &step->times[0]);
	say_time(step, &step->times[1]);
	step_say(step, ")");
	return true;
}

static void run_futimens(struct model *model, const struct step *step, enum side side, struct result *result)
{
	struct stat st;

	result_take(result, futimens(model->slots[step->slot].fd[side], step->times));
	if (fstat(model->slots[step->slot].fd[side], &st) == 0)
		take_atime(step, &st, result);
}

const struct operation attribute_operations[] = {
	{8, choose_chmod, run_chmod},
	{4, choose_fchmod, run_fchmod},
	{8, choose_chown, run_chown},
	{3, choose_fchown, run_fchown},
	{6, choose_utimens, run_utimens},
	{3, choose_futimens, run_futimens},
	{0, NULL, NULL},
};
