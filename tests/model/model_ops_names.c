/* SPDX-License-Identifier: MIT */
/* Operations on names: making, removing, linking, renaming.  See model_step.h. */
#include "model_choose.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* ------------------------------------------------------------------------ */
/* Making                                                                    */

static bool choose_mkdir(const struct model *model, struct step *step)
{
	if (!may_grow_by_directory(model, step))
		return false;
	choose_place(model, step, &step->to, TYPES_NONE);
	choose_dots(step, &step->to);
	step->permissions = choose_permissions(model, step, false) | (random_one_in(&step->random, 2) ? 0777 : 0);
	step_say(step, "mkdirat(%s, %#o)", step->to.text, step->permissions);
	return true;
}

static void run_mkdir(struct model *model, const struct step *step, enum side side, struct result *result)
{
	result_take(result, mkdirat(place_fd(model, &step->to, side), step->to.path, step->permissions));
}

/* Of devices only numbers that no driver has: nobody opens one (model_probe), but who knows. */
static bool choose_mknod(const struct model *model, struct step *step)
{
	static const mode_t types[] = {S_IFREG, S_IFREG, S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK};
	static const unsigned majors[] = {0, 241, 253, 4095}, minors[] = {0, 1, 255, 256, 1048575};

	if (!may_grow(model, step))
		return false;
	choose_place(model, step, &step->to, TYPES_NONE);
	step->permissions = RANDOM_OF(&step->random, types) | choose_permissions(model, step, false);
	step->rdev = makedev(RANDOM_OF(&step->random, majors), RANDOM_OF(&step->random, minors));
	step_say(step, "mknodat(%s, %#o, %u:%u)", step->to.text, step->permissions, major(step->rdev),
		 minor(step->rdev));
	return true;
}

static void run_mknod(struct model *model, const struct step *step, enum side side, struct result *result)
{
	result_take(result, mknodat(place_fd(model, &step->to, side), step->to.path, step->permissions, step->rdev));
}

/* Never with "..", which might lead out. */
static bool choose_symlink(const struct model *model, struct step *step)
{
	static const char *const targets[] = {"a", "b", "c/d", "a/b/c", "e/", "f", "./d", "a/.", ""};
	static char longest[4096];

	if (!may_grow(model, step))
		return false;
	choose_place(model, step, &step->to, TYPES_NONE);
	step->name = RANDOM_OF(&step->random, targets);
	if (random_one_in(&step->random, 12)) {
		memset(longest, 't', sizeof(longest) - 1);
		step->name = longest + random_below(&step->random, 5);
	}
	step_say(step, "symlinkat(\"%.20s\"[%zu], %s)", step->name, strlen(step->name), step->to.text);
	return true;
}

static void run_symlink(struct model *model, const struct step *step, enum side side, struct result *result)
{
	result_take(result, symlinkat(step->name, place_fd(model, &step->to, side), step->to.path));
}

static bool choose_link(const struct model *model, struct step *step)
{
	if (!may_grow(model, step))
		return false;
	choose_place(model, step, &step->from, TYPES_FILES);
	choose_place(model, step, &step->to, TYPES_NONE);
	step->flags = random_one_in(&step->random, 3) ? AT_SYMLINK_FOLLOW : 0;
	step_say(step, "linkat(%s, %s, %s)", step->from.text, step->to.text, step->flags ? "AT_SYMLINK_FOLLOW" : "0");
	return true;
}

static void run_link(struct model *model, const struct step *step, enum side side, struct result *result)
{
	result_take(result, linkat(place_fd(model, &step->from, side), step->from.path,
				   place_fd(model, &step->to, side), step->to.path, step->flags));
}

/* The first name of what was opened with O_TMPFILE, or one more of something else. */
static bool choose_link_open(const struct model *model, struct step *step)
{
	if (!may_grow(model, step))
		return false;
	step->slot = choose_slot(model, step, TYPES(DT_REG));
	if (step->slot == NO_SLOT)
		return false;
	choose_place(model, step, &step->to, TYPES_NONE);
	step->flags = random_one_in(&step->random, 2) ? AT_EMPTY_PATH : AT_SYMLINK_FOLLOW;
	step_say(step, "linkat(fd%d, %s, %s)", step->slot, step->to.text,
		 step->flags == AT_EMPTY_PATH ? "AT_EMPTY_PATH" : "AT_SYMLINK_FOLLOW of /proc/self/fd");
	return true;
}

static void run_link_open(struct model *model, const struct step *step, enum side side, struct result *result)
{
	const int fd = model->slots[step->slot].fd[side], to = place_fd(model, &step->to, side);
	char path[32] = "";

	if (step->flags == AT_SYMLINK_FOLLOW)
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	result_take(result, linkat(fd, path, to, step->to.path, step->flags));
}

/* ------------------------------------------------------------------------ */
/* Removing                                                                  */

static bool choose_unlink(const struct model *model, struct step *step)
{
	choose_place(model, step, &step->from, random_one_in(&step->random, 12) ? TYPES_ANY : TYPES_FILES);
	choose_dots(step, &step->from);
	step_say(step, "unlinkat(%s, 0)", step->from.text);
	return true;
}

static void run_unlink(struct model *model, const struct step *step, enum side side, struct result *result)
{
	result_take(result, unlinkat(place_fd(model, &step->from, side), step->from.path, 0));
}

static bool choose_rmdir(const struct model *model, struct step *step)
{
	static const unsigned types[] = {TYPES_EMPTY_DIRECTORY, TYPES_EMPTY_DIRECTORY, TYPES(DT_DIR), TYPES_ANY};

	choose_place(model, step, &step->from, RANDOM_OF(&step->random, types));
	choose_dots(step, &step->from);
	step_say(step, "unlinkat(%s, AT_REMOVEDIR)", step->from.text);
	return true;
}

static void run_rmdir(struct model *model, const struct step *step, enum side side, struct result *result)
{
	result_take(result, unlinkat(place_fd(model, &step->from, side), step->from.path, AT_REMOVEDIR));
}

/* ------------------------------------------------------------------------ */
/* Renaming                                                                  */

static const struct flag rename_flags[] = {
	{RENAME_NOREPLACE, "RENAME_NOREPLACE"},
	{RENAME_EXCHANGE, "RENAME_EXCHANGE"},
	{RENAME_WHITEOUT, "RENAME_WHITEOUT"},
	{0, NULL},
};

static bool is_left_out(const struct model *model, int flags)
{
	return (flags & RENAME_WHITEOUT) && !model->features.whiteout;
}

static void choose_ends(const struct model *model, struct step *step)
{
	static const struct {
		unsigned from, to;
	} types[] = {
		{TYPES_ANY, TYPES_NONE},
		{TYPES_ANY, TYPES_NONE},
		{TYPES_ANY, TYPES_ANY},
		{TYPES_FILES, TYPES_FILES},
		{TYPES(DT_DIR), TYPES_EMPTY_DIRECTORY},
	};
	size_t which = random_below(&step->random, sizeof(types) / sizeof(types[0]));

	choose_place(model, step, &step->from, types[which].from);
	choose_place(model, step, &step->to, types[which].to);
}

static bool choose_rename(const struct model *model, struct step *step)
{
	static const int flags[] = {
		0,
		0,
		0,
		0,
		0,
		0,
		RENAME_NOREPLACE,
		RENAME_NOREPLACE,
		RENAME_EXCHANGE,
		RENAME_EXCHANGE,
		RENAME_WHITEOUT,
		RENAME_WHITEOUT | RENAME_NOREPLACE,
		RENAME_EXCHANGE | RENAME_NOREPLACE,
	};

	step->flags = RANDOM_OF(&step->random, flags);
	if (is_left_out(model, step->flags) || ((step->flags & RENAME_WHITEOUT) && !may_grow(model, step)))
		return false;
	choose_ends(model, step);
	choose_dots(step, random_one_in(&step->random, 2) ? &step->from : &step->to);
	step_say(step, "renameat2(%s, %s, %s)", step->from.text, step->to.text, flags_text(rename_flags, step->flags));
	return true;
}

static void run_rename(struct model *model, const struct step *step, enum side side, struct result *result)
{
	result_take(result, renameat2(place_fd(model, &step->from, side), step->from.path,
				      place_fd(model, &step->to, side), step->to.path, (unsigned)step->flags));
}

/* ------------------------------------------------------------------------ */
/* Looking                                                                   */

static bool choose_readlink(const struct model *model, struct step *step)
{
	choose_place(model, step, &step->from, TYPES(DT_LNK));
	step->size = random_one_in(&step->random, 4) ? 1 : BYTES_MAX;
	step_say(step, "readlinkat(%s, %zu)", step->from.text, step->size);
	return true;
}

static void run_readlink(struct model *model, const struct step *step, enum side side, struct result *result)
{
	result_take(result,
		    readlinkat(place_fd(model, &step->from, side), step->from.path, (char *)result->bytes, step->size));
	if (result->value > 0)
		result->n = (size_t)result->value;
}

static bool choose_access(const struct model *model, struct step *step)
{
	choose_place(model, step, &step->from, TYPES_ANY);
	step->mode = (int)random_below(&step->random, 8);
	step->flags = AT_EACCESS | (random_one_in(&step->random, 3) ? AT_SYMLINK_NOFOLLOW : 0);
	step_say(step, "faccessat(%s, %d, %#x)", step->from.text, step->mode, (unsigned)step->flags);
	return true;
}

static void run_access(struct model *model, const struct step *step, enum side side, struct result *result)
{
	result_take(result, faccessat(place_fd(model, &step->from, side), step->from.path, step->mode, step->flags));
}

const struct operation name_operations[] = {
	{9, choose_mkdir, run_mkdir},
	{6, choose_mknod, run_mknod},
	{5, choose_symlink, run_symlink},
	{8, choose_link, run_link},
	{6, choose_link_open, run_link_open},
	{10, choose_unlink, run_unlink},
	{6, choose_rmdir, run_rmdir},
	{18, choose_rename, run_rename},
	{2, choose_readlink, run_readlink},
	{3, choose_access, run_access},
	{0, NULL, NULL},
};
