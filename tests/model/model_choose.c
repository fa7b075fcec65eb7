/* SPDX-License-Identifier: MIT */
/* Choosing arguments, see model_choose.h. */
#include "model_choose.h"

#include "model_contents.h"
#include "model_report.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

/* So many names, and a few more now and then. */
#define NAMES_WANTED 20
#define NAMES_LIMIT 30
#define DEPTH_LIMIT 4
/* Listing them is what a look costs most. */
#define DIRECTORIES_WANTED 5

#define KIB ((off_t)1 << 10)
#define PAGE ((off_t)4096)

static const char *const short_names[] = {"a", "b", "c", "d", "e", "f"};

/* ------------------------------------------------------------------------ */
/* Names                                                                     */

bool may_grow(const struct model *model, struct step *step)
{
	size_t n = model->tree.n_names;

	return n < NAMES_WANTED || (n < NAMES_LIMIT && random_one_in(&step->random, 8));
}

bool may_grow_by_directory(const struct model *model, struct step *step)
{
	size_t i, n = 0;

	for (i = 0; i < model->tree.n_names; i++)
		n += S_ISDIR(model->tree.names[i].node->seen[B].st_mode);
	return may_grow(model, step) && (n < DIRECTORIES_WANTED || random_one_in(&step->random, 10));
}

static unsigned depth_of(const char *path)
{
	unsigned depth = 1;

	for (; *path; path++)
		depth += *path == '/';
	return depth;
}

/* The names in a directory follow its own. */
static bool is_empty_directory(const struct tree *tree, size_t at)
{
	const char *path = tree->names[at].path;
	size_t n = strlen(path);

	if (!S_ISDIR(tree->names[at].node->seen[B].st_mode))
		return false;
	return at + 1 == tree->n_names || strncmp(tree->names[at + 1].path, path, n) != 0 ||
	       tree->names[at + 1].path[n] != '/';
}

/* One of @types, or NULL. */
static const struct name *choose_name(const struct model *model, struct step *step, unsigned types)
{
	const struct tree *tree = &model->tree;
	const struct name *found[NAMES_MAX];
	size_t i, n = 0;

	for (i = 0; i < tree->n_names; i++)
		if ((types & TYPES(IFTODT(tree->names[i].node->seen[B].st_mode))) ||
		    ((types & TYPES_EMPTY_DIRECTORY) && is_empty_directory(tree, i)))
			found[n++] = &tree->names[i];
	return n ? found[random_below(&step->random, n)] : NULL;
}

/* The longest name and one that is too long, while no path has such a name: none becomes too long so. */
static const char *choose_long_name(const struct model *model, struct step *step)
{
	static char name[NAME_MAX + 2];
	size_t i, n = NAME_MAX + random_below(&step->random, 2);

	for (i = 0; i < model->tree.n_names; i++)
		if (strlen(model->tree.names[i].path) >= NAME_MAX)
			return "a";
	memset(name, 'n', n);
	name[n] = '\0';
	return name;
}

/* The last component of a path. */
static const char *choose_component(const struct model *model, struct step *step)
{
	if (random_one_in(&step->random, 200))
		return choose_long_name(model, step);
	return RANDOM_OF(&step->random, short_names);
}

static void place_in_open_directory(const struct model *model, struct step *step, struct place *place, int slot)
{
	place->slot = slot;
	snprintf(place->path, sizeof(place->path), "%s",
		 random_one_in(&step->random, 10) ? "." : choose_component(model, step));
}

static bool is_there(const struct tree *tree, const char *path)
{
	size_t i;

	for (i = 0; i < tree->n_names; i++)
		if (strcmp(tree->names[i].path, path) == 0)
			return true;
	return false;
}

/* A name of which nothing is known, in a directory that exists. */
static void place_anywhere(const struct model *model, struct step *step, struct place *place)
{
	const struct name *dir = random_one_in(&step->random, 3) ? NULL : choose_name(model, step, TYPES(DT_DIR));
	const char *name = choose_component(model, step);

	if (dir && depth_of(dir->path) < DEPTH_LIMIT)
		snprintf(place->path, sizeof(place->path), "%.*s/%s", PATH_ROOM - NAME_MAX - 10, dir->path, name);
	else
		snprintf(place->path, sizeof(place->path), "%s", name);
}

/* To be called last: nothing may lead out of the roots. */
static void say_place(struct place *place)
{
	char base[16] = "root";
	size_t n = strlen(place->path);

	if (place->path[0] == '/' || strncmp(place->path, "..", 2) == 0)
		broken(0, "%s leads out", place->path);
	if (place->slot != NO_SLOT)
		snprintf(base, sizeof(base), "fd%d", place->slot);
	if (n <= 100)
		snprintf(place->text, sizeof(place->text), "%s, \"%.100s\"", base, place->path);
	else
		snprintf(place->text, sizeof(place->text), "%s, \"%.40s[%zu]%s\"", base, place->path, n - 60,
			 place->path + n - 20);
}

static void append(struct place *place, const char *what)
{
	size_t n = strlen(place->path);

	if (n == 0)
		return; /* it would be the machine's root */
	snprintf(place->path + n, sizeof(place->path) - n, "%s", what);
	say_place(place);
}

/* Of a directory that others removed from the source the kernel knows only that it is open: who wants to make something in it
 * may hear of something else that is wrong, which the kernel finds before A can say that the directory is gone. */
static bool may_use_directory(const struct model *model, int slot)
{
	struct stat st;

	if (slot == NO_SLOT || model->source_root < 0)
		return true;
	return fstat(model->slots[slot].fd[B], &st) == 0 && st.st_nlink > 0;
}

void choose_place(const struct model *model, struct step *step, struct place *place, unsigned types)
{
	const struct name *there = NULL;
	int slot = NO_SLOT;

	place->slot = NO_SLOT;
	if (random_one_in(&step->random, 8))
		slot = choose_slot(model, step, TYPES(DT_DIR));
	else if (types && !random_one_in(&step->random, 8))
		there = choose_name(model, step, types);
	if (!may_use_directory(model, slot))
		slot = NO_SLOT;
	if (slot != NO_SLOT)
		place_in_open_directory(model, step, place, slot);
	else if (there)
		snprintf(place->path, sizeof(place->path), "%s", there->path);
	else
		do
			place_anywhere(model, step, place);
		while (!types && is_there(&model->tree, place->path) && !random_one_in(&step->random, 3));
	if (random_one_in(&step->random, 300))
		place->path[0] = '\0';
	if (random_one_in(&step->random, 60))
		append(place, random_one_in(&step->random, 3) ? "/." : "/");
	say_place(place);
}

void choose_dots(struct step *step, struct place *place)
{
	if (random_one_in(&step->random, 60))
		append(place, random_one_in(&step->random, 2) ? "/.." : "/.");
}

int place_fd(const struct model *model, const struct place *place, enum side side)
{
	if (place->slot != NO_SLOT)
		return model->slots[place->slot].fd[side];
	return side == A && model->is_outside ? model->source_root : model->root[side];
}

const char *place_path(const struct model *model, const struct place *place, enum side side)
{
	static char buf[SIDES][PATH_ROOM + 32];

	snprintf(buf[side], sizeof(buf[side]), "/proc/self/fd/%d/%s", place_fd(model, place, side), place->path);
	return buf[side];
}

/* ------------------------------------------------------------------------ */
/* Descriptors                                                               */

int choose_slot(const struct model *model, struct step *step, unsigned types)
{
	int found[SLOTS], i;
	size_t n = 0;

	for (i = 0; i < SLOTS; i++)
		if (slot_is_open(&model->slots[i]) && (types & TYPES(IFTODT(model->slots[i].type))))
			found[n++] = i;
	return n ? found[random_below(&step->random, n)] : NO_SLOT;
}

int choose_slot_to_fill(const struct model *model, struct step *step)
{
	int i;

	for (i = 0; i < SLOTS; i++)
		if (!slot_is_open(&model->slots[i]))
			return i;
	return (int)random_below(&step->random, SLOTS);
}

off_t slot_size(const struct model *model, int slot)
{
	struct stat st;

	if (fstat(model->slots[slot].fd[B], &st) < 0)
		broken(errno, "fstat on B");
	return st.st_size;
}

bool is_open(const struct model *model, const struct place *place)
{
	struct stat sought, st;
	int slot;

	if (fstatat(place_fd(model, place, B), place->path, &sought, 0) < 0)
		return false;
	for (slot = 0; slot < SLOTS; slot++)
		if (model->slots[slot].fd[B] >= 0 && fstat(model->slots[slot].fd[B], &st) == 0 &&
		    st.st_ino == sought.st_ino)
			return true;
	return false;
}

/* ------------------------------------------------------------------------ */
/* Numbers                                                                   */

mode_t choose_permissions(const struct model *model, struct step *step, bool is_open)
{
	static const mode_t usual[] = {0644,  0666,  0666,  0777,  0777,  0755,  0600, 0,
				       04755, 02755, 06777, 02644, 01777, 02777, 04711};
	mode_t permissions = RANDOM_OF(&step->random, usual);

	if (random_one_in(&step->random, 5))
		permissions = (mode_t)random_below(&step->random, 010000);
	if (is_open && !model->features.late_setid)
		permissions &= ~(mode_t)(S_ISUID | S_ISGID);
	/* Without group execution it is not a matter of the bit alone. */
	if ((permissions & S_ISGID) && !model->features.group_drops)
		permissions |= S_IXGRP;
	return permissions;
}

/* Most files stay small; the borders are where pages, blocks of a kind or widths of numbers end. */
off_t choose_offset(struct step *step)
{
	static const off_t borders[] = {
		64 * KIB, 64 * KIB, 64 * KIB, 1024 * KIB, 1024 * KIB, 4 * 1024 * 1024 * KIB, 5 * 1024 * 1024 * KIB};
	struct random *random = &step->random;
	off_t off = (off_t)random_below(random, 20000);

	if (random_one_in(random, 6))
		off = (off_t)random_below(random, 3) * PAGE + (off_t)random_below(random, 5) - 2;
	if (random_one_in(random, 9))
		off = RANDOM_OF(random, borders) - (off_t)random_below(random, 10000) + 2000;
	if (random_one_in(random, 3))
		off -= off % PAGE;
	if (random_one_in(random, 4))
		off = 0;
	return off < 0 && !random_one_in(random, 10) ? 0 : off;
}

size_t choose_size(struct step *step, off_t off)
{
	struct random *random = &step->random;
	size_t room = off < 0 ? 100 : contents_room(off);
	size_t size = random_below(random, 300);

	if (random_one_in(random, 3))
		size = random_below(random, 10000);
	if (random_one_in(random, 10))
		size = random_below(random, 40000);
	if (random_one_in(random, 4))
		size = (size_t)PAGE * random_below(random, 6);
	return size < room ? size : room;
}

/* ------------------------------------------------------------------------ */
/* Texts                                                                     */

const char *flags_text(const struct flag *table, int value)
{
	static char text[256];
	size_t used = 0;

	text[0] = '\0';
	for (; table->name; table++) {
		if ((value & table->bit) != table->bit)
			continue;
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s", used ? "|" : "", table->name);
		value &= ~table->bit;
	}
	if (value || !used)
		snprintf(text + used, sizeof(text) - used, "%s%#x", used ? "|" : "", (unsigned)value);
	return text;
}
