/* SPDX-License-Identifier: MIT */
/*
 * Mounting: finds out what is wrong before libfuse tries, so that there is one
 * clear line about it; and catches what libfuse and fusermount3 say where they find it out.
 */
#include <assert.h>
#include <spawn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "internal.h"

static bool is_passed_descriptor(const char *mountpoint)
{
	return !strncmp(mountpoint, "/dev/fd/", 8);
}

static int check_mountpoint(const struct llfuse_session *session, const char *mountpoint)
{
	struct stat st;
	int err;

	if (stat(mountpoint, &st) < 0) {
		err = -errno;
		llfuse_complain(session->name, "%s: %s%s", mountpoint, strerror(-err),
				err == -ENOTCONN ? " (a dead mount lies there: unmount it first)" : "");
		return err;
	}
	if (!S_ISDIR(st.st_mode)) {
		llfuse_complain(session->name, "%s: %s", mountpoint, strerror(ENOTDIR));
		return -ENOTDIR;
	}
	return 0;
}

static int check_device(const struct llfuse_session *session)
{
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	int err;

	if (fd >= 0) {
		close(fd);
		return 0;
	}
	err = -errno;
	llfuse_complain(session->name, "/dev/fuse: %s%s", strerror(-err),
			err == -ENOENT || err == -ENODEV || err == -ENXIO ? " (is the kernel's fuse module loaded?)"
									  : "");
	return err == -ENOENT || err == -ENXIO ? -ENODEV : err;
}

static bool is_on_path(const char *program)
{
	const char *path = getenv("PATH");
	char *copy = strdup(path ? path : "/usr/bin:/bin"), *rest = copy;
	bool is_found = false;

	for (char *dir; rest && !is_found && (dir = strsep(&rest, ":"));) {
		char *file;

		if (asprintf(&file, "%s/%s", dir, program) < 0)
			continue;
		is_found = access(file, X_OK) == 0;
		free(file);
	}
	free(copy);
	return is_found;
}

/* fusermount3 writes its reason to stderr.  It is caught in memory while the mount is tried, by one thread at a time: the next
 * would take the first one's memory for stderr. */
static pthread_mutex_t stderr_lock = PTHREAD_MUTEX_INITIALIZER;

struct caught {
	int stderr_copy;
	int memory;
};

static void catch_stderr(struct caught *caught)
{
	caught->stderr_copy = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	caught->memory = memfd_create("stderr", MFD_CLOEXEC);
	if (caught->stderr_copy >= 0 && caught->memory >= 0)
		dup2(caught->memory, STDERR_FILENO);
}

/* Puts stderr back, and the text without its last newline into @text. */
static void release_stderr(struct caught *caught, char *text, size_t size)
{
	ssize_t n = -1;

	if (caught->stderr_copy >= 0 && caught->memory >= 0) {
		dup2(caught->stderr_copy, STDERR_FILENO);
		n = pread(caught->memory, text, size - 1, 0);
	}
	while (n > 0 && text[n - 1] == '\n')
		n--;
	text[n > 0 ? n : 0] = '\0';
	if (caught->stderr_copy >= 0)
		close(caught->stderr_copy);
	if (caught->memory >= 0)
		close(caught->memory);
}

static void explain_failure(const struct llfuse_session *session, const char *mountpoint, const char *said)
{
	const char *reason = ll_log_held_error();

	if (geteuid() != 0 && !is_on_path("fusermount3"))
		llfuse_complain(
			session->name,
			"%s: fusermount3: not found (ordinary users need it to mount: install the package fuse3)",
			mountpoint);
	else if (said[0])
		llfuse_complain(session->name, "%s: %s", mountpoint, said);
	else
		llfuse_complain(session->name, "%s: %s", mountpoint, reason[0] ? reason : "cannot mount");
}

static int try_mount(struct llfuse_session *session, const char *mountpoint)
{
	struct caught caught;
	char said[1024] = "";
	int failed, err;

	pthread_mutex_lock(&stderr_lock);
	ll_log_hold(true);
	catch_stderr(&caught);
	errno = 0;
	failed = fuse_session_mount(session->fuse, mountpoint);
	err = errno ? -errno : -EPERM;
	release_stderr(&caught, said, sizeof(said));
	ll_log_hold(false);
	pthread_mutex_unlock(&stderr_lock);
	if (failed) {
		explain_failure(session, mountpoint, said);
		return err;
	}
	if (said[0])
		llfuse_log(LLFUSE_LOG_WARNING, session->name, "%s", said);
	return 0;
}

#ifndef STATX_MNT_ID_UNIQUE
#define STATX_MNT_ID_UNIQUE 0x4000U /* Linux 6.8: an id that no later mount gets */
#endif

uint64_t ll_mount_id_of(const char *path)
{
	struct statx stx;

	if (statx(AT_FDCWD, path, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_MNT_ID | STATX_MNT_ID_UNIQUE, &stx) < 0)
		return 0;
	return stx.stx_mask & (STATX_MNT_ID | STATX_MNT_ID_UNIQUE) ? stx.stx_mnt_id : 0;
}

/* The mount point is made absolute: it must still be found to unmount, after a chdir(2). */
int ll_mount_session(struct llfuse_session *session, const struct llfuse_config *config)
{
	const char *given = config->mountpoint;
	int err;

	if (!given) {
		llfuse_complain(session->name, "no mount point");
		return -EINVAL;
	}
	if (is_passed_descriptor(given))
		return try_mount(session, given);
	err = check_mountpoint(session, given);
	if (err)
		return err;
	err = check_device(session);
	if (err)
		return err;
	session->mountpoint = realpath(given, NULL);
	if (!session->mountpoint) {
		err = -errno;
		llfuse_complain(session->name, "%s: %s", given, strerror(-err));
		return err;
	}
	err = try_mount(session, session->mountpoint);
	if (err)
		return err;
	session->mount_id = ll_mount_id_of(session->mountpoint);
	return 0;
}

static void detach(const char *mountpoint)
{
	const char *const argv[] = {"fusermount3", "--unmount", "--quiet", "--lazy", "--", mountpoint, NULL};
	pid_t pid;

	if (umount2(mountpoint, MNT_DETACH | UMOUNT_NOFOLLOW) == 0 || geteuid() == 0)
		return;
	if (posix_spawnp(&pid, argv[0], NULL, NULL, (char *const *)argv, environ) == 0)
		(void)waitpid(pid, NULL, 0); /* what it says is all that can be done */
}

/* statmount(2), Linux 6.8, where libc and the system's headers do not know it yet.  Source: include/uapi/linux/mount.h. */
#ifndef SYS_statmount
#define SYS_statmount 457
#endif
enum { MOUNT_POINT_ASKED = 0x10 }; /* STATMOUNT_MNT_POINT */

struct mount_asked {
	uint32_t size, spare;
	uint64_t id, mask;
};

struct mount_answer {
	uint32_t before[27];
	uint32_t point; /* offset in text */
	uint64_t after[50];
	char text[PATH_MAX];
};
static_assert(offsetof(struct mount_answer, text) == 512, "as the kernel has it");

int ll_find_mount(const char *mountpoint, uint64_t id, char path[PATH_MAX])
{
	const struct mount_asked asked = {.size = sizeof(asked), .id = id, .mask = MOUNT_POINT_ASKED};
	struct mount_answer answer;

	snprintf(path, PATH_MAX, "%s", mountpoint);
	if (ll_mount_id_of(path) == id)
		return 0;
	answer.text[0] = '\0'; /* as it stays where no path leads to it */
	if (syscall(SYS_statmount, &asked, &answer, sizeof(answer), 0) < 0)
		return -ENOENT;
	snprintf(path, PATH_MAX, "%s", answer.text + answer.point);
	return ll_mount_id_of(path) == id ? 0 : -EBUSY;
}

/* What lies over ours belongs to ours for the kernel, and would go, too. */
bool ll_unmount_by_id(const char *mountpoint, uint64_t id)
{
	char path[PATH_MAX];
	int err = id ? ll_find_mount(mountpoint, id, path) : -ENOENT;

	if (err)
		return err == -ENOENT;
	detach(path);
	return ll_mount_id_of(path) != id;
}

/* Gives up the connection, as libfuse does before it unmounts: a file system that still writes back would wait for us.
 * libfuse keeps the number and closes it in the end; what @fd stands for can neither be read nor written as it was. */
static void let_go_of_connection(const struct llfuse_session *session, int fd)
{
	(void)dup2(fd, fuse_session_fd(session->fuse));
}

/* libfuse goes by the path, whoever's mount is there. */
static bool may_libfuse_unmount(const struct llfuse_session *session)
{
	return !session->mount_id || ll_mount_id_of(session->mountpoint) == session->mount_id;
}

static bool unmount_from_outside(struct llfuse_session *session)
{
	let_go_of_connection(session, session->unmounter.fds[0]);
	return ll_unmounter_end(&session->unmounter, true);
}

static bool unmount(const struct llfuse_session *session)
{
	if (may_libfuse_unmount(session)) {
		fuse_session_unmount(session->fuse);
	} else {
		int fd = eventfd(0, EFD_CLOEXEC);

		if (fd < 0)
			return false;
		let_go_of_connection(session, fd);
		close(fd);
	}
	/* libfuse takes a connection that is severed for a mount that is gone, which is not so after an abort through
	 * /sys/fs/fuse or an `umount -f` of a busy mount: then our mount, dead, is still there. */
	return ll_unmount_by_id(session->mountpoint, session->mount_id);
}

void ll_unmount_session(struct llfuse_session *session)
{
	if (!session->mountpoint)
		return;
	if (!(session->unmounts_from_outside ? unmount_from_outside(session) : unmount(session)))
		llfuse_log(LLFUSE_LOG_ERROR, session->name, "cannot unmount %s", session->mountpoint);
}
