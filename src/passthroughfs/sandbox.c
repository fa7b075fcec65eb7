/* SPDX-License-Identifier: MIT */
/*
 * The sandbox: see sandbox.h.
 *
 * Hides mount namespaces and libcap.
 */
#include "sandbox.h"

#include "fd.h"
#include "sandbox_filter.h"

#include <errno.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static const char *const level_names[] = {
	[SANDBOX_AUTO] = "auto",
	[SANDBOX_NONE] = "none",
	[SANDBOX_NAMESPACE] = "namespace",
	[SANDBOX_FULL] = "full",
};

bool sandbox_level_parse(const char *name, enum sandbox_level *level)
{
	for (size_t i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++) {
		if (strcmp(name, level_names[i]) == 0) {
			*level = (enum sandbox_level)i;
			return true;
		}
	}
	return false;
}

const char *sandbox_level_name(enum sandbox_level level)
{
	return level_names[level];
}

static bool is_root_with_sys_admin(void)
{
	cap_flag_value_t value = CAP_CLEAR;
	cap_t own = cap_get_proc();

	if (own)
		(void)cap_get_flag(own, CAP_SYS_ADMIN, CAP_EFFECTIVE, &value); /* if not, it stays clear */
	(void)cap_free(own);
	return geteuid() == 0 && value == CAP_SET;
}

/* --- Before the mount ----------------------------------------------------------------------- */

/*
 * The mounts of @source, as they are and, where they are shared with others, as they will be: what is mounted there later
 * comes, what is unmounted goes, and nothing of ours gets out.  Or the one mount that it is on, to which nothing comes.
 * A device in the source is never opened through it.
 */
static int copy_mounts(const char *source, bool one_file_system)
{
	struct mount_attr attr = {
		.attr_set = MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC,
		.propagation = one_file_system ? MS_PRIVATE : MS_SLAVE,
	};
	unsigned recursive = one_file_system ? 0 : AT_RECURSIVE;
	scoped_fd copy = open_tree(AT_FDCWD, source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | recursive);

	if (copy < 0 || mount_setattr(copy, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof(attr)) < 0)
		return -errno;
	return take_fd(&copy);
}

/* The part of @path that is below the directory @above; both are absolute.  NULL if it is not below. */
static const char *below(const char *above, const char *path)
{
	size_t length = strcmp(above, "/") == 0 ? 0 : strlen(above);

	if (strncmp(path, above, length) != 0 || path[length] != '/' || !path[length + 1])
		return NULL;
	return path + length + 1;
}

/* The directory @mountpoint, found by way of @root_fd; -1 if it is not there. */
static int find_beneath(int root_fd, const char *source, const char *mountpoint)
{
	struct open_how how = {
		.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	char *above = realpath(source, NULL);
	char *path = realpath(mountpoint, NULL);
	const char *name = above && path ? below(above, path) : NULL;
	long fd = name ? syscall(SYS_openat2, root_fd, name, &how, sizeof(how)) : -1;

	free(path);
	free(above);
	return (int)fd;
}

int sandbox_prepare(struct sandbox *sandbox, enum sandbox_level level, const char *source, bool one_file_system,
		    const char *mountpoint, const char **step)
{
	*sandbox = (struct sandbox){.level = level, .root_fd = -1, .covered_fd = -1, .proc_fd = -1};
	*step = NULL;
	if (level == SANDBOX_AUTO)
		sandbox->level = is_root_with_sys_admin() ? SANDBOX_FULL : SANDBOX_NONE;
	if (sandbox->level == SANDBOX_NONE)
		return 0;
	/* Only root has what it takes to serve anybody else's files afterwards. */
	if (!is_root_with_sys_admin()) {
		*step = "needs root and CAP_SYS_ADMIN";
		return -EPERM;
	}
	if (access(source, F_OK) < 0)
		return -errno;
	sandbox->root_fd = copy_mounts(source, one_file_system);
	if (sandbox->root_fd < 0) {
		*step = "cannot copy the mounts of the source";
		return sandbox->root_fd;
	}
	sandbox->covered_fd = find_beneath(sandbox->root_fd, source, mountpoint);
	return 0;
}

void sandbox_done(struct sandbox *sandbox)
{
	fd_close(&sandbox->root_fd);
	fd_close(&sandbox->covered_fd);
	fd_close(&sandbox->proc_fd);
}

/* --- The namespace -------------------------------------------------------------------------- */

/* Of a proc that is mounted nowhere, so that no ".." leads out of it.  A new one hides nobody's processes, whatever
 * options /proc has: the groups of callers are read there. */
static int new_proc(void)
{
	unsigned attributes = MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC;
	scoped_fd context = fsopen("proc", FSOPEN_CLOEXEC);

	if (context < 0 || fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -1;
	return fsmount(context, FSMOUNT_CLOEXEC, attributes);
}

static int open_proc(void)
{
	int fd = new_proc();

	if (fd < 0) /* not allowed in some containers */
		fd = open_tree(AT_FDCWD, "/proc", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* Ours alone, so that nothing that is done here is seen elsewhere. */
static int leave_namespace(void)
{
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		return -errno;
	return 0;
}

/* Everything else goes, our own mount with it: a copy of it would outlive its unmount. */
static int change_root(int root_fd)
{
	if (move_mount(root_fd, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0 || fchdir(root_fd) < 0 ||
	    syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return -errno;
	return 0;
}

/* --- Capabilities --------------------------------------------------------------------------- */

/*
 * What acting for root and for other users takes, so that the source gives the same results as without us:
 * security.capability is for SETFCAP.  SYS_NICE is the library's, for the scheduling of its own threads.  Not SYS_RESOURCE,
 * which overrides quotas: what users write is written with our rights.  CAP_LINUX_IMMUTABLE is for
 * an ioctl that we do not have; the labels that CAP_MAC_ADMIN is for are not to be set through us.
 */
static const cap_value_t kept[] = {
	CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER, CAP_FSETID,
	CAP_MKNOD, CAP_SETFCAP,      CAP_SETGID,          CAP_SETUID, CAP_SYS_NICE,
};

static bool is_kept(cap_value_t capability, const struct sandbox_needs *needs)
{
	if (capability == CAP_SYS_ADMIN)
		return needs->sys_admin;
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
		if (kept[i] == capability)
			return true;
	}
	return false;
}

static int drop_from_bounding_set(const struct sandbox_needs *needs)
{
	cap_value_t n = cap_max_bits();

	for (cap_value_t capability = 0; capability < n; capability++) {
		if (!is_kept(capability, needs) && cap_drop_bound(capability) < 0)
			return -errno;
	}
	return 0;
}

/* Of @own, all that is kept and was there; nothing for programs to inherit. */
static int drop_from(cap_t own, const struct sandbox_needs *needs)
{
	cap_value_t n = cap_max_bits();

	if (cap_clear_flag(own, CAP_INHERITABLE) < 0)
		return -errno;
	for (cap_value_t capability = 0; capability < n; capability++) {
		if (!is_kept(capability, needs) && (cap_set_flag(own, CAP_EFFECTIVE, 1, &capability, CAP_CLEAR) < 0 ||
						    cap_set_flag(own, CAP_PERMITTED, 1, &capability, CAP_CLEAR) < 0))
			return -errno;
	}
	return cap_set_proc(own) < 0 ? -errno : 0;
}

static int drop_capabilities(const struct sandbox_needs *needs)
{
	cap_t own;
	int err;

	err = drop_from_bounding_set(needs);
	if (err)
		return err;
	if (cap_reset_ambient() < 0)
		return -errno;
	own = cap_get_proc();
	if (!own)
		return -errno;
	err = drop_from(own, needs);
	(void)cap_free(own);
	return err;
}

/* The leak sanitizer asks, where it is linked in: it stops all threads by way of /proc, which is not there any more. */
static bool is_entered;
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
	return is_entered;
}

int sandbox_enter(struct sandbox *sandbox, const struct sandbox_needs *needs, const char **step)
{
	int err;

	is_entered = true;
	*step = "cannot make a mount namespace";
	err = leave_namespace();
	if (err)
		return err;
	*step = "cannot get a proc of its own";
	sandbox->proc_fd = open_proc();
	if (sandbox->proc_fd < 0)
		return sandbox->proc_fd;
	*step = "cannot make the source the root directory";
	err = change_root(sandbox->root_fd);
	if (!err)
		err = fd_work_in_proc(sandbox->proc_fd);
	if (err)
		return err;
	*step = "cannot drop capabilities";
	err = drop_capabilities(needs);
	if (!err && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		err = -errno;
	if (err || sandbox->level != SANDBOX_FULL)
		return err;
	*step = "cannot filter system calls";
	return sandbox_filter_load(needs->io_uring);
}
