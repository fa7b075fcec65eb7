/* SPDX-License-Identifier: MIT */
/* Operations on a file's size, its holes and positions in it.  See model_step.h. */
#include "model_choose.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <unistd.h>

/* ------------------------------------------------------------------------ */
/* Size                                                                      */

static bool choose_ftruncate(const struct model *model, struct step *step)
{
	step->slot = choose_slot(model, step, random_one_in(&step->random, 20) ? TYPES_ANY : TYPES(DT_REG));
	if (step->slot == NO_SLOT)
		return false;
	step->off = choose_offset(step);
	step_say(step, "ftruncate(fd%d, %" PRId64 ")", step->slot, (int64_t)step->off);
	return true;
}

static void run_ftruncate(struct model *model, const struct step *step, enum side side, struct result *result)
{
	result_take(result, ftruncate(model->slots[step->slot].fd[side], step->off));
}

static bool has_size(const struct model *model, const struct place *place, off_t size)
{
	struct stat st;

	return fstatat(place_fd(model, place, B), place->path, &st, 0) == 0 && st.st_size == size;
}

static bool choose_truncate(const struct model *model, struct step *step)
{
	choose_place(model, step, &step->from, random_one_in(&step->random, 10) ? TYPES_ANY : TYPES(DT_REG));
	step->off = choose_offset(step);
	if (!model->features.same_size_stamps && has_size(model, &step->from, step->off))
		return false;
	step_say(step, "truncate(%s, %" PRId64 ")", step->from.text, (int64_t)step->off);
	return true;
}

static void run_truncate(struct model *model, const struct step *step, enum side side, struct result *result)
{
	result_take(result, truncate(place_path(model, &step->from, side), step->off));
}

/* ------------------------------------------------------------------------ */
/* Space                                                                     */

static const struct flag fallocate_modes[] = {
	{FALLOC_FL_KEEP_SIZE, "KEEP_SIZE"},
	{FALLOC_FL_PUNCH_HOLE, "PUNCH_HOLE"},
	{FALLOC_FL_ZERO_RANGE, "ZERO_RANGE"},
	{FALLOC_FL_COLLAPSE_RANGE, "COLLAPSE_RANGE"},
	{0, NULL},
};

static bool choose_fallocate(const struct model *model, struct step *step)
{
	static const int modes[] = {
		0,
		0,
		FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_ZERO_RANGE,
		FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_PUNCH_HOLE,
		FALLOC_FL_COLLAPSE_RANGE,
	};

	step->slot = choose_slot(model, step, TYPES(DT_REG));
	if (step->slot == NO_SLOT)
		return false;
	step->mode = RANDOM_OF(&step->random, modes);
	if ((step->mode & FALLOC_FL_ZERO_RANGE) && !model->features.zero_range[A])
		return false;
	/* Nothing in it but what is asked here depends on who does it. */
	if (!model->features.fallocate_drops)
		step->user = user_self();
	step->off = choose_offset(step);
	step->size = choose_size(step, step->off);
	step_say(step, "fallocate(fd%d, %s, %" PRId64 ", %zu)", step->slot, flags_text(fallocate_modes, step->mode),
		 (int64_t)step->off, step->size);
	return true;
}

static int write_zeros(int fd, off_t off, off_t end)
{
	static const char zeros[65536];
	ssize_t n;

	for (; off < end; off += n) {
		n = pwrite(fd, zeros, end - off < (off_t)sizeof(zeros) ? (size_t)(end - off) : sizeof(zeros), off);
		if (n <= 0)
			return -1;
	}
	return 0;
}

/* What ZERO_RANGE does, by what every file system can do.  What is behind the end is zero anyway. */
static int zero_range(int fd, int keep_size, off_t off, off_t len)
{
	int flags = fcntl(fd, F_GETFL), err;
	struct stat st;

	if (flags < 0 || fstat(fd, &st) < 0 || fallocate(fd, keep_size, off, len) < 0)
		return -1;
	if (flags & O_APPEND && fcntl(fd, F_SETFL, flags & ~O_APPEND) < 0)
		return -1;
	err = write_zeros(fd, off, off + len < st.st_size ? off + len : st.st_size);
	if (flags & O_APPEND && fcntl(fd, F_SETFL, flags) < 0)
		return -1;
	return err;
}

static void run_fallocate(struct model *model, const struct step *step, enum side side, struct result *result)
{
	const int fd = model->slots[step->slot].fd[side];
	const off_t len = (off_t)step->size;

	if ((step->mode & FALLOC_FL_ZERO_RANGE) && !model->features.zero_range[side])
		result_take(result, zero_range(fd, step->mode & FALLOC_FL_KEEP_SIZE, step->off, len));
	else
		result_take(result, fallocate(fd, step->mode, step->off, len));
}

/* ------------------------------------------------------------------------ */
/* Positions                                                                 */

static const char *whence_name(int whence)
{
	static const char *const names[] = {"SEEK_SET", "SEEK_CUR", "SEEK_END", "SEEK_DATA", "SEEK_HOLE"};

	return names[whence];
}

static bool choose_seek(const struct model *model, struct step *step)
{
	static const int whences[] = {SEEK_SET, SEEK_SET, SEEK_CUR, SEEK_END, SEEK_END, SEEK_DATA, SEEK_HOLE};

	step->slot = choose_slot(model, step, TYPES(DT_REG));
	if (step->slot == NO_SLOT)
		return false;
	step->flags = RANDOM_OF(&step->random, whences);
	if ((step->flags == SEEK_DATA || step->flags == SEEK_HOLE) &&
	    (!model->features.seek_hole || !model->settings.seeks_holes))
		return false;
	step->off = step->flags == SEEK_CUR || step->flags == SEEK_END ? 0 : choose_offset(step);
	step_say(step, "lseek(fd%d, %" PRId64 ", %s)", step->slot, (int64_t)step->off, whence_name(step->flags));
	return true;
}

static void run_seek(struct model *model, const struct step *step, enum side side, struct result *result)
{
	result_take(result, lseek(model->slots[step->slot].fd[side], step->off, step->flags));
}

const struct operation space_operations[] = {
	{7, choose_ftruncate, run_ftruncate},
	{6, choose_truncate, run_truncate},
	{10, choose_fallocate, run_fallocate},
	{6, choose_seek, run_seek},
	{0, NULL, NULL},
};
