/* SPDX-License-Identifier: MIT */
/* Operations that change nothing that can be seen: what is in memory goes to the file system, or is
 * asked for again.  See model_step.h. */
#include "model_choose.h"

#include "model_report.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static bool choose_any_file(const struct model *model, struct step *step, const char *call)
{
	step->slot = choose_slot(model, step, TYPES(DT_REG) | TYPES(DT_DIR));
	if (step->slot == NO_SLOT)
		return false;
	step_say(step, "%s(fd%d)", call, step->slot);
	return true;
}

static bool choose_fsync(const struct model *model, struct step *step)
{
	return choose_any_file(model, step, "fsync");
}

static void run_fsync(struct model *model, const struct step *step, enum side side, struct result *result)
{
	result_take(result, fsync(model->slots[step->slot].fd[side]));
}

static bool choose_fdatasync(const struct model *model, struct step *step)
{
	return choose_any_file(model, step, "fdatasync");
}

static void run_fdatasync(struct model *model, const struct step *step, enum side side, struct result *result)
{
	result_take(result, fdatasync(model->slots[step->slot].fd[side]));
}

static bool choose_drop_pages(const struct model *model, struct step *step)
{
	step->slot = choose_slot(model, step, TYPES(DT_REG));
	if (step->slot == NO_SLOT)
		return false;
	step_say(step, "fdatasync(fd%d), posix_fadvise(POSIX_FADV_DONTNEED)", step->slot);
	return true;
}

/* What is read next comes from the file system. */
static void run_drop_pages(struct model *model, const struct step *step, enum side side, struct result *result)
{
	const int fd = model->slots[step->slot].fd[side];

	result_take(result, fdatasync(fd));
	if (result->err)
		return;
	errno = posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	result_take(result, errno ? -1 : 0);
}

static bool choose_evict(const struct model *model, struct step *step)
{
	if (!model->features.evict)
		return false;
	step->user = user_self();
	step_say(step, "(the kernel forgets what it can)");
	return true;
}

/* The look that follows sees what A has, and nothing else. */
static void run_evict(struct model *model, const struct step *step, enum side side, struct result *result)
{
	int err;

	(void)step;
	result_take(result, 0);
	if (side == B)
		return;
	tree_release(&model->tree);
	model->tree.everything = model->tree.was_evicted = true;
	err = model_evict(model);
	if (err)
		broken(-err, "emptying the kernel's caches");
}

const struct operation cache_operations[] = {
	{2, choose_fsync, run_fsync},
	{1, choose_fdatasync, run_fdatasync},
	{3, choose_drop_pages, run_drop_pages},
	{4, choose_evict, run_evict},
	{0, NULL, NULL},
};
