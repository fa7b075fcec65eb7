/* SPDX-License-Identifier: MIT */
/* Operations that open and close descriptors, and the umask.  See model_step.h. */
#include "model_choose.h"

#include "model_report.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* Always: nothing waits for the other end of a pipe. */
#define OPEN_ALWAYS (O_NONBLOCK | O_CLOEXEC)

static const struct flag open_flags[] = {
	{O_WRONLY, "O_WRONLY"},   {O_RDWR, "O_RDWR"},           {O_CREAT, "O_CREAT"},
	{O_EXCL, "O_EXCL"},       {O_TRUNC, "O_TRUNC"},         {O_APPEND, "O_APPEND"},
	{O_TMPFILE, "O_TMPFILE"}, {O_DIRECTORY, "O_DIRECTORY"}, {O_NOFOLLOW, "O_NOFOLLOW"},
	{O_PATH, "O_PATH"},       {O_DIRECT, "O_DIRECT"},       {O_SYNC, "O_SYNC"},
	{O_DSYNC, "O_DSYNC"},     {O_NOATIME, "O_NOATIME"},     {0, NULL},
};

static int choose_access_mode(struct step *step)
{
	static const int modes[] = {O_RDONLY, O_WRONLY, O_RDWR, O_RDWR, O_RDWR, O_RDWR};

	return RANDOM_OF(&step->random, modes);
}

/* Such a descriptor, or one of a FIFO, keeps no file of the source that others remove there: the program is not told of it. */
static bool may_open_path(const struct model *model)
{
	return model->source_root < 0;
}

static bool leads_to_fifo(const struct model *model, const struct place *place)
{
	struct stat st;

	return fstatat(place_fd(model, place, B), place->path, &st, 0) == 0 && S_ISFIFO(st.st_mode);
}

static int choose_flags(const struct model *model, struct step *step, int flags)
{
	static const struct {
		int flag;
		unsigned one_in;
	} table[] = {
		{O_TRUNC, 5}, {O_APPEND, 5}, {O_DIRECTORY, 15}, {O_NOFOLLOW, 3},
		{O_PATH, 20}, {O_DIRECT, 8}, {O_SYNC, 30},      {O_NOATIME, 20},
	};
	size_t i;

	for (i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (random_one_in(&step->random, table[i].one_in) &&
		    (table[i].flag != O_DIRECT || model->features.direct_io) &&
		    (table[i].flag != O_PATH || may_open_path(model)))
			flags |= table[i].flag;
	return flags;
}

static void say_open(struct step *step, const struct place *place)
{
	step_say(step, "fd%d = openat(%s, %s, %#o)", step->slot, place->text, flags_text(open_flags, step->flags),
		 step->permissions);
}

static bool choose_open(const struct model *model, struct step *step)
{
	int flags = choose_flags(model, step, choose_access_mode(step));

	if (may_grow(model, step) && random_one_in(&step->random, 2))
		flags |= O_CREAT | (random_one_in(&step->random, 4) ? O_EXCL : 0);
	step->slot = choose_slot_to_fill(model, step);
	step->flags = flags;
	step->permissions = flags & O_CREAT ? choose_permissions(model, step, false) : 0;
	choose_place(model, step, &step->to,
		     random_one_in(&step->random, 4) && may_open_path(model) ? TYPES_ANY : TYPES(DT_REG));
	if (!may_open_path(model) && leads_to_fifo(model, &step->to))
		return false;
	say_open(step, &step->to);
	return true;
}

static bool choose_open_directory(const struct model *model, struct step *step)
{
	step->slot = choose_slot_to_fill(model, step);
	step->flags = O_DIRECTORY | (random_one_in(&step->random, 3) && may_open_path(model) ? O_PATH : O_RDONLY);
	step->permissions = 0;
	choose_place(model, step, &step->to, TYPES(DT_DIR));
	say_open(step, &step->to);
	return true;
}

static bool choose_tmpfile(const struct model *model, struct step *step)
{
	step->slot = choose_slot_to_fill(model, step);
	step->flags = O_TMPFILE | (random_one_in(&step->random, 8) ? O_RDONLY : O_RDWR);
	step->flags |= random_one_in(&step->random, 4) ? O_EXCL : 0;
	step->permissions = choose_permissions(model, step, false);
	choose_place(model, step, &step->to, TYPES(DT_DIR));
	say_open(step, &step->to);
	return true;
}

static void close_side(struct slot *slot, enum side side)
{
	if (close(slot->fd[side]) < 0)
		broken(errno, "close");
	slot->fd[side] = -1;
}

static void run_open(struct model *model, const struct step *step, enum side side, struct result *result)
{
	struct slot *slot = &model->slots[step->slot];
	int fd = openat(place_fd(model, &step->to, side), step->to.path, step->flags | OPEN_ALWAYS, step->permissions);
	struct stat st;

	result_take(result, fd);
	if (fd < 0)
		return;
	result->value = 0;
	if (slot->fd[side] >= 0)
		close_side(slot, side);
	if (fstat(fd, &st) < 0)
		broken(errno, "fstat of what was just opened");
	slot->fd[side] = fd;
	slot->flags = step->flags;
	slot->type = st.st_mode & S_IFMT;
}

static bool choose_close(const struct model *model, struct step *step)
{
	step->slot = choose_slot(model, step, TYPES_ANY);
	if (step->slot == NO_SLOT)
		return false;
	step_say(step, "close(fd%d)", step->slot);
	return true;
}

static void run_close(struct model *model, const struct step *step, enum side side, struct result *result)
{
	struct slot *slot = &model->slots[step->slot];

	result_take(result, close(slot->fd[side]));
	slot->fd[side] = -1;
}

static bool choose_append_flag(const struct model *model, struct step *step)
{
	step->slot = choose_slot(model, step, TYPES(DT_REG));
	if (step->slot == NO_SLOT || (model->slots[step->slot].flags & O_PATH))
		return false;
	step->flags = model->slots[step->slot].flags ^ O_APPEND;
	if (!(step->flags & O_APPEND) && !model->features.append_ends)
		return false;
	step_say(step, "fcntl(fd%d, F_SETFL, %s)", step->slot, step->flags & O_APPEND ? "O_APPEND" : "0");
	return true;
}

static void run_append_flag(struct model *model, const struct step *step, enum side side, struct result *result)
{
	struct slot *slot = &model->slots[step->slot];

	result_take(result, fcntl(slot->fd[side], F_SETFL, O_NONBLOCK | (step->flags & (O_APPEND | O_DIRECT))));
	if (result->err == 0)
		slot->flags = step->flags;
}

static bool choose_umask(const struct model *model, struct step *step)
{
	static const mode_t masks[] = {0, 0, 0, 022, 027, 077, 0777};

	step->permissions = RANDOM_OF(&step->random, masks);
	if (!model->features.group_drops)
		step->permissions &= ~(mode_t)S_IXGRP; /* see choose_permissions() */
	step_say(step, "umask(%#o)", step->permissions);
	return true;
}

/* Both sides have the same one, so what it was is of interest to nobody. */
static void run_umask(struct model *model, const struct step *step, enum side side, struct result *result)
{
	(void)model, (void)side;
	(void)umask(step->permissions);
	result_take(result, 0);
}

const struct operation open_operations[] = {
	{26, choose_open, run_open},
	{5, choose_open_directory, run_open},
	{5, choose_tmpfile, run_open},
	{10, choose_close, run_close},
	{2, choose_append_flag, run_append_flag},
	{2, choose_umask, run_umask},
	{0, NULL, NULL},
};
