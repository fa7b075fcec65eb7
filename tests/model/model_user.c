/* SPDX-License-Identifier: MIT */
/* Acting as somebody else.  See model_user.h. */
#include "model_user.h"

#include "model_report.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static const struct user root;

/* The last is root's id without root's rights. */
static const struct user others[] = {
	{.name = "1000", .uid = 1000, .gid = 1000},
	{.name = "1001 (group 1000)", .uid = 1001, .gid = 1001, .n_groups = 1, .groups = {1000}},
	{.name = "1001 (gid 1000)", .uid = 1001, .gid = 1000},
	{.name = "root without capabilities"},
};

const struct user *user_self(void)
{
	return &root;
}

const struct user *user_ordinary(void)
{
	return &others[0];
}

const struct user *user_choose(struct random *random)
{
	return random_below(random, 10) < 8 ? &root : &RANDOM_OF(random, others);
}

/* setfsuid() and setfsgid() do not tell whether they did it. */
static void set_fs_id(long call, unsigned id)
{
	(void)syscall(call, id);
	if ((unsigned)syscall(call, -1) != id)
		broken(0, "cannot act as %u", id);
}

static void set_groups(size_t n, const gid_t *groups)
{
	if (syscall(SYS_setgroups, n, groups) < 0)
		broken(errno, "setgroups");
}

/* The effective capabilities: none, or all that are permitted. */
static void set_capabilities(bool all)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct caps[_LINUX_CAPABILITY_U32S_3];
	size_t i;

	if (syscall(SYS_capget, &header, caps) < 0)
		broken(errno, "capget");
	for (i = 0; i < _LINUX_CAPABILITY_U32S_3; i++)
		caps[i].effective = all ? caps[i].permitted : 0;
	if (syscall(SYS_capset, &header, caps) < 0)
		broken(errno, "capset");
}

/* The capabilities last: the rest needs them. */
void user_enter(const struct user *user)
{
	if (user == &root)
		return;
	set_groups(user->n_groups, user->groups);
	set_fs_id(SYS_setfsgid, user->gid);
	set_fs_id(SYS_setfsuid, user->uid);
	set_capabilities(false);
}

void user_leave(const struct user *user)
{
	if (user == &root)
		return;
	set_capabilities(true);
	set_fs_id(SYS_setfsuid, root.uid);
	set_fs_id(SYS_setfsgid, root.gid);
	set_groups(root.n_groups, root.groups);
	/* Lost with the change of the user.  The leak check of sanitizers needs it. */
	if (prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0)
		broken(errno, "PR_SET_DUMPABLE");
}

void user_init(void)
{
	if (geteuid() != root.uid)
		broken(EPERM, "must be root");
	set_groups(root.n_groups, root.groups);
}

uid_t user_any_uid(struct random *random)
{
	static const uid_t ids[] = {0, 1000, 1000, 1001, 1001, 70000, (uid_t)-1, (uid_t)-1};

	return RANDOM_OF(random, ids);
}

gid_t user_any_gid(struct random *random)
{
	static const gid_t ids[] = {0, 1000, 1000, 1001, 1001, 70000, (gid_t)-1, (gid_t)-1};

	return RANDOM_OF(random, ids);
}
