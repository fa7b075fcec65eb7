/* SPDX-License-Identifier: MIT */
/*
 * Acting as the caller: see creds.h.
 *
 * Raw system calls where glibc's would change every thread of the process.
 */
#include "creds.h"

#include "caps.h"

#include <errno.h>
#include <grp.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The process's own identity.  Written by creds_init() only. */
static struct {
	bool can_switch;
	uid_t uid;
	gid_t gid;
} own;

/* Whether this thread's umask is its own: until then it is the process's. */
static _Thread_local bool has_own_umask;
static _Thread_local mode_t own_umask;

/* Whether CAP_FSETID, if it is ours, counts. */
static int use_setid(bool counts)
{
	struct caps caps;
	int err;

	err = caps_get(&caps);
	if (err)
		return err;
	caps_put(&caps, CAP_FSETID, counts);
	return caps_set(&caps);
}

void creds_init(void)
{
	own.uid = geteuid();
	own.gid = getegid();
	/* setgroups() also fails in a user namespace that knows nobody but us. */
	own.can_switch = caps_thread_has(CAP_SETUID) && caps_thread_has(CAP_SETGID) && setgroups(0, NULL) == 0;
}

bool creds_can_switch(void)
{
	return own.can_switch;
}

/* setfsuid() and setfsgid() never fail, they only do not change it; an id that
 * cannot be asks which one it is. */
static int set_fs_id(long call, unsigned id)
{
	(void)syscall(call, id);
	return (unsigned)syscall(call, -1) == id ? 0 : -EPERM;
}

static int set_groups(const gid_t *groups, size_t n)
{
	return syscall(SYS_setgroups, n, groups) < 0 ? -errno : 0;
}

/* Nobody else sets the thread's. */
static int enter_umask(mode_t mask)
{
	if (has_own_umask && mask == own_umask)
		return 0;
	if (!has_own_umask && unshare(CLONE_FS) < 0)
		return -errno;
	has_own_umask = true;
	(void)umask(mask);
	own_umask = mask;
	return 0;
}

/* The user last: giving up uid 0 gives up the right to change the others. */
static int enter_identity(const struct caller *caller, struct creds *saved)
{
	int err;

	if (caller->groups) {
		err = set_groups(caller->groups, caller->n_groups);
		if (err)
			return err;
		saved->groups_changed = true;
	}
	if (caller->gid != own.gid) {
		saved->gid_changed = true;
		err = set_fs_id(SYS_setfsgid, caller->gid);
		if (err)
			return err;
	}
	if (caller->uid != own.uid) {
		saved->uid_changed = true;
		err = set_fs_id(SYS_setfsuid, caller->uid);
		if (err)
			return err;
	}
	return 0;
}

int creds_enter(const struct caller *caller, struct creds *saved)
{
	int err;

	*saved = (struct creds){0};
	err = enter_umask(caller->umask);
	if (!err && own.can_switch)
		err = enter_identity(caller, saved);
	if (err)
		creds_leave(saved);
	return err;
}

int creds_enter_without_setid(const struct caller *caller, struct creds *saved)
{
	struct caller ours = *caller;
	int err;

	ours.uid = own.uid;
	err = creds_enter(&ours, saved);
	if (err)
		return err;
	err = use_setid(false);
	if (err)
		creds_leave(saved);
	else
		saved->setid_given_up = true;
	return err;
}

/* The results do not matter: what was ours can be had again. */
void creds_leave(struct creds *saved)
{
	int kept_errno = errno;

	if (saved->setid_given_up)
		(void)use_setid(true);
	if (saved->uid_changed)
		(void)syscall(SYS_setfsuid, own.uid);
	if (saved->gid_changed)
		(void)syscall(SYS_setfsgid, own.gid);
	if (saved->groups_changed)
		(void)set_groups(NULL, 0);
	*saved = (struct creds){0};
	errno = kept_errno;
}
