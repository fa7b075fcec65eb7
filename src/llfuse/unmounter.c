/* SPDX-License-Identifier: MIT */
/*
 * The process that unmounts for a session whose own process may not be able to: one that a program's mounted function took
 * to where its mount is out of reach (L15).  It is forked before that function runs and stays in the mount namespace, and
 * with the rights, of that moment.
 *
 * It does one thing, and once: a byte in the pipe asks it to unmount, by the mount point and the mount's id, and its exit
 * status is the answer.  The end of the pipe without a byte is the end of the session's process, after which the mount stays
 * as it does for every file system whose process was killed.  It holds no other descriptor: one of /dev/fuse would keep a dead
 * connection alive, and one of a pipe whoever reads it.
 */
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "internal.h"

enum { PIPE_FD = 3 };

/* There may be threads: only what is allowed after a fork of such a process (signal-safety(7)). */

static bool hold_nothing_but(int fd)
{
	if (fd != PIPE_FD && dup2(fd, PIPE_FD) < 0)
		return false;
	if (syscall(SYS_close_range, 0U, PIPE_FD - 1U, 0U) < 0 || syscall(SYS_close_range, PIPE_FD + 1U, ~0U, 0U) < 0)
		return false;
	/* For fusermount3, which an ordinary user unmounts with. */
	return open("/dev/null", O_RDWR) == 0 && dup(0) == 1 && dup(0) == 2;
}

static bool is_asked(void)
{
	char asked;
	ssize_t n;

	do
		n = read(PIPE_FD, &asked, 1);
	while (n < 0 && errno == EINTR);
	return n == 1;
}

static _Noreturn void run(int fd, const char *mountpoint, uint64_t mount_id)
{
	(void)prctl(PR_SET_NAME, "unmounter");
	/* Nobody who has fewer rights may get at its root directory by way of /proc. */
	(void)prctl(PR_SET_DUMPABLE, 0);
	(void)setsid(); /* a signal for the group of the session's process is not for this one */
	if (!hold_nothing_but(fd) || chdir("/") < 0)
		_exit(1);
	_exit(!is_asked() || ll_unmount_by_id(mountpoint, mount_id) ? 0 : 1);
}

int ll_unmounter_start(struct llfuse_session *session)
{
	struct unmounter *unmounter = &session->unmounter;
	sigset_t all, before;
	int err = 0;

	if (!session->mountpoint)
		return 0;
	if (!session->mount_id)
		return -ENOSYS; /* Linux before 5.8: it would not know our mount from another */
	if (pipe2(unmounter->fds, O_CLOEXEC) < 0)
		return -errno;
	/* It stays deaf to all signals, from its first moment. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	unmounter->pid = fork();
	if (unmounter->pid == 0)
		run(unmounter->fds[0], session->mountpoint, session->mount_id);
	if (unmounter->pid < 0) {
		err = -errno;
		close(unmounter->fds[0]);
		close(unmounter->fds[1]);
		unmounter->pid = 0;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return err;
}

/* Gives up the connection, as libfuse does before it unmounts: a file system that still writes back would wait for us.
 * libfuse keeps the number and closes it in the end; what it stands for until then can neither be read nor written. */
static void let_go_of_connection(struct llfuse_session *session)
{
	(void)dup2(session->unmounter.fds[0], fuse_session_fd(session->fuse));
}

bool ll_unmounter_end(struct llfuse_session *session, bool unmount)
{
	struct unmounter *unmounter = &session->unmounter;
	pid_t waited;
	int status;

	if (!unmounter->pid)
		return true;
	if (unmount) {
		let_go_of_connection(session);
		/* We hold both ends, so that no SIGPIPE comes if somebody has killed it. */
		(void)!write(unmounter->fds[1], "u", 1);
	}
	close(unmounter->fds[1]);
	close(unmounter->fds[0]);
	do
		waited = waitpid(unmounter->pid, &status, 0);
	while (waited < 0 && errno == EINTR);
	unmounter->pid = 0;
	/* Where the program ignores SIGCHLD there is no status to be had. */
	return waited < 0 || (WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
