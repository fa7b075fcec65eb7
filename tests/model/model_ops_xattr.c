/* SPDX-License-Identifier: MIT */
/* Operations on extended attributes and ACLs.  See model_step.h. */
#include "model_choose.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <linux/xattr.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#define ACL_ACCESS "system.posix_acl_access"
#define ACL_DEFAULT "system.posix_acl_default"
/* Longer than any name may be. */
#define LONG_NAME_SIZE 300

static const struct flag set_flags[] = {
	{XATTR_CREATE, "XATTR_CREATE"},
	{XATTR_REPLACE, "XATTR_REPLACE"},
	{0, NULL},
};

static const struct flag no_follow[] = {{AT_SYMLINK_NOFOLLOW, "AT_SYMLINK_NOFOLLOW"}, {0, NULL}};

/* ------------------------------------------------------------------------ */
/* Names                                                                     */

/* Those of what both sides have, and some that nobody has.  Returns how many. */
static size_t names_wanted(const struct features *features, const char *names[])
{
	size_t n = 0;

	if (features->xattr_user)
		names[n++] = "user.a", names[n++] = "user.b", names[n++] = "user.", names[n++] = "user.c";
	if (features->xattr_trusted)
		names[n++] = "trusted.a", names[n++] = "trusted.b";
	if (features->xattr_security)
		names[n++] = "security.a", names[n++] = "security.b";
	return n;
}

static const char *long_name(void)
{
	static char name[LONG_NAME_SIZE + 1] = "user.";

	memset(name + 5, 'l', LONG_NAME_SIZE - 5);
	return name;
}

/* False if there is nothing that both sides have. */
static bool choose_attribute(const struct model *model, struct step *step)
{
	const char *names[10];
	size_t n = names_wanted(&model->features, names);

	if (n == 0)
		return false;
	step->name = names[random_below(&step->random, n)];
	if (random_one_in(&step->random, 60))
		step->name = random_one_in(&step->random, 2) ? "nonsense.a" : long_name();
	return true;
}

/* What it is done to: a name, or what is open. */
static void choose_object(const struct model *model, struct step *step, const char *call)
{
	step->slot = random_one_in(&step->random, 4) ? choose_slot(model, step, TYPES_ANY) : NO_SLOT;
	step->flags = 0;
	if (step->slot != NO_SLOT) {
		step_say(step, "f%s(fd%d, %.20s", call, step->slot, step->name);
		return;
	}
	choose_place(model, step, &step->from, TYPES_ANY);
	step->flags = random_one_in(&step->random, 2) ? AT_SYMLINK_NOFOLLOW : 0;
	step_say(step, "%s(%s, %s, %.30s", call, step->from.text, flags_text(no_follow, step->flags), step->name);
}

/* ------------------------------------------------------------------------ */
/* Setting                                                                   */

static void set_attribute(struct model *model, const struct step *step, enum side side, struct result *result)
{
	const char *path;
	int done;

	if (step->slot != NO_SLOT) {
		done = fsetxattr(model->slots[step->slot].fd[side], step->name, step->value, step->size, step->mode);
	} else {
		path = place_path(model, &step->from, side);
		done = (step->flags ? lsetxattr : setxattr)(path, step->name, step->value, step->size, step->mode);
	}
	result_take(result, done);
}

static bool choose_set(const struct model *model, struct step *step)
{
	static const size_t sizes[] = {0, 1, 10, 100, 100, 1000, 4000};
	static const int modes[] = {0, 0, 0, XATTR_CREATE, XATTR_REPLACE, XATTR_CREATE | XATTR_REPLACE};

	if (!choose_attribute(model, step))
		return false;
	choose_object(model, step, "setxattr");
	step->size = RANDOM_OF(&step->random, sizes);
	step->mode = RANDOM_OF(&step->random, modes);
	memcpy(step->value, model->pattern + random_below(&step->random, BYTES_MAX), step->size);
	step_say(step, ", %zu bytes, %s)", step->size, flags_text(set_flags, step->mode));
	return true;
}

/* What the kernel takes away when the file is written to. */
static bool choose_set_capability(const struct model *model, struct step *step)
{
	const struct vfs_cap_data data = {.magic_etc = VFS_CAP_REVISION_2, .data = {{.permitted = 1 << 10}}};

	if (!model->features.xattr_security || !model->features.map_keeps_capability)
		return false;
	step->name = "security.capability";
	choose_object(model, step, "setxattr");
	if (!model->features.late_setid && (step->slot != NO_SLOT || is_open(model, &step->from)))
		return false;
	step->mode = 0;
	step->size = sizeof(data);
	memcpy(step->value, &data, sizeof(data));
	step_say(step, ")");
	return true;
}

/* ------------------------------------------------------------------------ */
/* ACLs                                                                      */

struct acl {
	struct posix_acl_xattr_header header;
	struct posix_acl_xattr_entry entries[8];
	size_t n;
	unsigned group_always; /* what the file's group may in any case: see choose_permissions() */
};

static void add_entry(struct acl *acl, struct step *step, unsigned tag, unsigned id)
{
	const unsigned always = tag == ACL_GROUP_OBJ || tag == ACL_MASK ? acl->group_always : 0;

	acl->entries[acl->n++] = (struct posix_acl_xattr_entry){
		.e_tag = (uint16_t)tag,
		.e_perm = (uint16_t)(random_below(&step->random, 8) | always),
		.e_id = id,
	};
}

/* In the order that the kernel wants.  With entries for somebody it must have a mask: rarely it has none. */
static void choose_entries(struct acl *acl, struct step *step)
{
	const bool has_user = random_one_in(&step->random, 2), has_group = random_one_in(&step->random, 2);

	add_entry(acl, step, ACL_USER_OBJ, (unsigned)ACL_UNDEFINED_ID);
	if (has_user)
		add_entry(acl, step, ACL_USER, 1000);
	add_entry(acl, step, ACL_GROUP_OBJ, (unsigned)ACL_UNDEFINED_ID);
	if (has_group)
		add_entry(acl, step, ACL_GROUP, 1000);
	if ((has_user || has_group) && !random_one_in(&step->random, 20))
		add_entry(acl, step, ACL_MASK, (unsigned)ACL_UNDEFINED_ID);
	add_entry(acl, step, ACL_OTHER, (unsigned)ACL_UNDEFINED_ID);
}

static bool choose_set_acl(const struct model *model, struct step *step)
{
	struct acl acl = {.header = {.a_version = POSIX_ACL_XATTR_VERSION}};

	if (!model->features.acl)
		return false;
	step->name = random_one_in(&step->random, 2) ? ACL_ACCESS : ACL_DEFAULT;
	choose_object(model, step, "setxattr");
	acl.group_always = model->features.group_drops ? 0 : ACL_EXECUTE;
	choose_entries(&acl, step);
	step->mode = 0;
	memcpy(step->value, &acl.header, sizeof(acl.header));
	memcpy(step->value + sizeof(acl.header), acl.entries, acl.n * sizeof(acl.entries[0]));
	step->size = sizeof(acl.header) + acl.n * sizeof(acl.entries[0]);
	step_say(step, ", %zu entries)", acl.n);
	return true;
}

/* ------------------------------------------------------------------------ */
/* Getting and removing                                                      */

static bool choose_get(const struct model *model, struct step *step)
{
	static const size_t sizes[] = {0, 10, BYTES_MAX, BYTES_MAX};

	if (!choose_attribute(model, step))
		return false;
	if (model->features.acl && random_one_in(&step->random, 4))
		step->name = random_one_in(&step->random, 2) ? ACL_ACCESS : ACL_DEFAULT;
	choose_object(model, step, "getxattr");
	step->size = RANDOM_OF(&step->random, sizes);
	step_say(step, ", %zu)", step->size);
	return true;
}

static void run_get(struct model *model, const struct step *step, enum side side, struct result *result)
{
	const char *path;
	ssize_t n;

	if (step->slot != NO_SLOT) {
		n = fgetxattr(model->slots[step->slot].fd[side], step->name, result->bytes, step->size);
	} else {
		path = place_path(model, &step->from, side);
		n = (step->flags ? lgetxattr : getxattr)(path, step->name, result->bytes, step->size);
	}
	result_take(result, n);
	if (n > 0 && step->size)
		result->n = (size_t)n;
}

static bool choose_remove(const struct model *model, struct step *step)
{
	if (!choose_attribute(model, step))
		return false;
	if (model->features.acl && random_one_in(&step->random, 3))
		step->name = random_one_in(&step->random, 2) ? ACL_ACCESS : ACL_DEFAULT;
	choose_object(model, step, "removexattr");
	step_say(step, ")");
	return true;
}

static void run_remove(struct model *model, const struct step *step, enum side side, struct result *result)
{
	const char *path;
	int done;

	if (step->slot != NO_SLOT) {
		done = fremovexattr(model->slots[step->slot].fd[side], step->name);
	} else {
		path = place_path(model, &step->from, side);
		done = (step->flags ? lremovexattr : removexattr)(path, step->name);
	}
	result_take(result, done);
}

/* ------------------------------------------------------------------------ */
/* Listing                                                                   */

static bool choose_list(const struct model *model, struct step *step)
{
	static const size_t sizes[] = {0, 10, BYTES_MAX, BYTES_MAX};

	if (!choose_attribute(model, step))
		return false;
	/* The kernel's own file systems hide trusted.* from whoever lacks CAP_SYS_ADMIN, which no other is told. */
	if (step->user->uid == 0)
		step->user = user_self();
	step->name = "(all)";
	choose_object(model, step, "listxattr");
	step->size = RANDOM_OF(&step->random, sizes);
	step_say(step, ", %zu)", step->size);
	return true;
}

/* The order is each side's own, and the look after the step compares names: here it is how many
 * bytes they have, or why there are none. */
static void run_list(struct model *model, const struct step *step, enum side side, struct result *result)
{
	char *list = step->size ? (char *)result->bytes : NULL;
	const char *path;
	ssize_t n;

	if (step->slot != NO_SLOT) {
		n = flistxattr(model->slots[step->slot].fd[side], list, step->size);
	} else {
		path = place_path(model, &step->from, side);
		n = (step->flags ? llistxattr : listxattr)(path, list, step->size);
	}
	result_take(result, n);
}

const struct operation xattr_operations[] = {
	{9, choose_set, set_attribute},
	{2, choose_set_capability, set_attribute},
	{6, choose_set_acl, set_attribute},
	{4, choose_get, run_get},
	{4, choose_remove, run_remove},
	{2, choose_list, run_list},
	{0, NULL, NULL},
};
