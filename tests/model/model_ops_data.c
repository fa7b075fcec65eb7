/* SPDX-License-Identifier: MIT */
/* Operations that move bytes: reading, writing, mapping, copying.  See model_step.h. */
#include "model_choose.h"

#include "model_contents.h"
#include "model_report.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#define PAGE 4096

/* ------------------------------------------------------------------------ */
/* What and where                                                            */

/* Pipes are left out: they are the kernel's own. */
static bool choose_file(const struct model *model, struct step *step)
{
	step->slot = choose_slot(model, step, random_one_in(&step->random, 20) ? TYPES(DT_DIR) : TYPES(DT_REG));
	return step->slot != NO_SLOT;
}

static size_t round_down(size_t n)
{
	return n - n % PAGE;
}

/* Direct I/O is done in whole pages, as some file systems want it. */
static void align_if_direct(const struct model *model, struct step *step)
{
	if (!(model->slots[step->slot].flags & O_DIRECT))
		return;
	step->off -= step->off % PAGE;
	step->size = round_down(step->size);
	step->pattern_off = round_down(step->pattern_off);
}

/* Where a write that names @off really goes. */
static off_t write_offset(const struct model *model, int slot, off_t off)
{
	return model->slots[slot].flags & O_APPEND ? slot_size(model, slot) : off;
}

static void choose_bytes(const struct model *model, struct step *step)
{
	step->size = choose_size(step, write_offset(model, step->slot, step->off));
	step->pattern_off = random_below(&step->random, BYTES_MAX);
	align_if_direct(model, step);
}

static bool choose_at_offset(const struct model *model, struct step *step, const char *what)
{
	if (!choose_file(model, step))
		return false;
	step->off = choose_offset(step);
	choose_bytes(model, step);
	step_say(step, "%s(fd%d, %zu, %" PRId64 ")", what, step->slot, step->size, (int64_t)step->off);
	return true;
}

static bool choose_at_position(const struct model *model, struct step *step, const char *what)
{
	if (!choose_file(model, step))
		return false;
	step->off = lseek(model->slots[step->slot].fd[B], 0, SEEK_CUR);
	if (step->off < 0 || S_ISDIR(model->slots[step->slot].type))
		step->off = 0; /* it will fail */
	choose_bytes(model, step);
	step_say(step, "%s(fd%d, %zu)", what, step->slot, step->size);
	return true;
}

static void take_read(struct result *result, ssize_t n)
{
	result_take(result, n);
	if (n > 0)
		result->n = (size_t)n;
}

static const unsigned char *bytes_of(const struct model *model, const struct step *step)
{
	return model->pattern + step->pattern_off;
}

/* ------------------------------------------------------------------------ */
/* Reading and writing                                                       */

static bool choose_read(const struct model *model, struct step *step)
{
	return choose_at_position(model, step, "read");
}

static void run_read(struct model *model, const struct step *step, enum side side, struct result *result)
{
	take_read(result, read(model->slots[step->slot].fd[side], result->bytes, step->size));
}

static bool choose_pread(const struct model *model, struct step *step)
{
	return choose_at_offset(model, step, "pread");
}

static void run_pread(struct model *model, const struct step *step, enum side side, struct result *result)
{
	take_read(result, pread(model->slots[step->slot].fd[side], result->bytes, step->size, step->off));
}

static bool choose_write(const struct model *model, struct step *step)
{
	return choose_at_position(model, step, "write");
}

static void run_write(struct model *model, const struct step *step, enum side side, struct result *result)
{
	result_take(result, write(model->slots[step->slot].fd[side], bytes_of(model, step), step->size));
}

static bool choose_pwrite(const struct model *model, struct step *step)
{
	return choose_at_offset(model, step, "pwrite");
}

static void run_pwrite(struct model *model, const struct step *step, enum side side, struct result *result)
{
	result_take(result, pwrite(model->slots[step->slot].fd[side], bytes_of(model, step), step->size, step->off));
}

static bool choose_writev(const struct model *model, struct step *step)
{
	return choose_at_position(model, step, "writev");
}

static void run_writev(struct model *model, const struct step *step, enum side side, struct result *result)
{
	const size_t third = round_down(step->size / 3);
	const struct iovec pieces[] = {
		{model->pattern + step->pattern_off, third},
		{model->pattern, third},
		{model->pattern + PAGE, step->size - 2 * third},
	};

	result_take(result, writev(model->slots[step->slot].fd[side], pieces, sizeof(pieces) / sizeof(pieces[0])));
}

/* ------------------------------------------------------------------------ */
/* Mapping                                                                   */

enum { MAP_WRITE = 1, MAP_SYNC_ALL = 2 };

/* A page of the kernel's tmpfs that was read through a mapping is no hole any more: who has none there goes a
 * way of his own. */
static bool has_hole(int fd, off_t off, off_t end)
{
	const off_t position = lseek(fd, 0, SEEK_CUR), hole = lseek(fd, off, SEEK_HOLE);

	if (position >= 0 && lseek(fd, position, SEEK_SET) < 0)
		broken(errno, "lseek");
	return hole >= 0 && hole < end;
}

/* Within the file: what lies behind its end belongs to nobody. */
static bool choose_mapped(const struct model *model, struct step *step)
{
	off_t size;

	step->slot = choose_slot(model, step, TYPES(DT_REG));
	if (step->slot == NO_SLOT)
		return false;
	size = slot_size(model, step->slot);
	step->off = choose_offset(step);
	if (size == 0)
		return false;
	if (step->off < 0 || step->off >= size)
		step->off = size - 1 - (off_t)random_below(&step->random, size < 100 ? (size_t)size : 100);
	step->size = choose_size(step, step->off);
	if ((off_t)step->size > size - step->off)
		step->size = (size_t)(size - step->off);
	step->flags = (int)random_below(&step->random, 4);
	step->pattern_off = random_below(&step->random, BYTES_MAX);
	if (!(step->flags & MAP_WRITE) && model->features.seek_hole &&
	    has_hole(model->slots[step->slot].fd[B], step->off, step->off + (off_t)step->size))
		return false;
	step_say(step, "mmap(fd%d), %s %zu at %" PRId64 "%s", step->slot, step->flags & MAP_WRITE ? "write" : "read",
		 step->size, (int64_t)step->off, step->flags & MAP_SYNC_ALL ? ", msync" : "");
	return true;
}

/* By system calls on the pattern's file, so that a page that cannot be had is an error and no signal. */
static ssize_t touch_mapped(const struct model *model, const struct step *step, unsigned char *at,
			    struct result *result)
{
	ssize_t n;

	if (step->flags & MAP_WRITE)
		return pread(model->pattern_fd, at, step->size, (off_t)step->pattern_off);
	n = pwrite(model->pattern_fd, at, step->size, 2 * (off_t)BYTES_MAX);
	if (n <= 0)
		return n;
	return pread(model->pattern_fd, result->bytes, (size_t)n, 2 * (off_t)BYTES_MAX);
}

static void run_mapped(struct model *model, const struct step *step, enum side side, struct result *result)
{
	const size_t lead = (size_t)(step->off % PAGE), length = lead + step->size;
	const int protection = PROT_READ | (step->flags & MAP_WRITE ? PROT_WRITE : 0);
	unsigned char *map;
	ssize_t n;

	if (length == 0) {
		result_take(result, 0);
		return;
	}
	map = mmap(NULL, length, protection, MAP_SHARED, model->slots[step->slot].fd[side], step->off - (off_t)lead);
	if (map == MAP_FAILED) {
		result_take(result, -1);
		return;
	}
	n = touch_mapped(model, step, map + lead, result);
	take_read(result, n);
	if (step->flags & MAP_WRITE)
		result->n = 0;
	if ((step->flags & MAP_SYNC_ALL) && msync(map, length, MS_SYNC) < 0)
		result_take(result, -1);
	if (munmap(map, length) < 0)
		broken(errno, "munmap");
}

/* ------------------------------------------------------------------------ */
/* Copying                                                                   */

static bool choose_copy(const struct model *model, struct step *step)
{
	size_t room;

	step->slot = choose_slot(model, step, TYPES(DT_REG));
	step->slot2 = choose_slot(model, step, TYPES(DT_REG));
	if (step->slot == NO_SLOT || (model->slots[step->slot2].flags & O_DIRECT) ||
	    (model->slots[step->slot].flags & O_DIRECT))
		return false;
	step->off = choose_offset(step);
	step->off2 = choose_offset(step);
	step->size = choose_size(step, step->off);
	room = step->off2 < 0 ? step->size : contents_room(step->off2);
	if (step->size > room)
		step->size = room;
	step_say(step, "copy_file_range(fd%d, %" PRId64 ", fd%d, %" PRId64 ", %zu)", step->slot, (int64_t)step->off,
		 step->slot2, (int64_t)step->off2, step->size);
	return true;
}

/* All of it, as each call may stop early for reasons of its own. */
static void run_copy(struct model *model, const struct step *step, enum side side, struct result *result)
{
	off_t from = step->off, to = step->off2;
	size_t done = 0;
	ssize_t n;

	do {
		n = copy_file_range(model->slots[step->slot].fd[side], &from, model->slots[step->slot2].fd[side], &to,
				    step->size - done, 0);
		done += n > 0 ? (size_t)n : 0;
	} while (n > 0 && done < step->size);
	result_take(result, n < 0 ? n : (ssize_t)done);
}

const struct operation data_operations[] = {
	{4, choose_read, run_read},     {5, choose_pread, run_pread},
	{10, choose_write, run_write},  {16, choose_pwrite, run_pwrite},
	{3, choose_writev, run_writev}, {7, choose_mapped, run_mapped},
	{5, choose_copy, run_copy},     {0, NULL, NULL},
};
