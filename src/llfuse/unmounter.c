/* SPDX-License-Identifier: MIT */
/*
 * A process that stays behind for a session, in the mount namespace and with the rights of the moment when it was forked.  It
 * unmounts for one whose own process may not be able to, as a program's mounted function took it to where its mount is out of
 * reach (L15); and it waits in the kernel where the session's process must not (L17, writeback.c).
 *
 * A byte in a pipe asks it for one of the two, by the mount point and the mount's id.  The answer is its exit status, or an errno
 * in another pipe.  A byte that asks for neither ends it.  The end of the pipe is the end of the session's process, after which
 * the mount stays as it does for every file system whose process was killed.  It holds no other descriptor: one of
 * /dev/fuse would keep a dead connection alive, and one of a pipe whoever reads it.
 */
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "internal.h"

enum { PIPE_FD = 3, REPLY_FD = 4 };

enum { UNMOUNT = 'u', WRITE_BACK = 'w', END = 'e' };

/* There may be threads: only what is allowed after a fork of such a process (signal-safety(7)). */

/* By way of numbers above both, as either may have the other's. */
static bool hold_nothing_but(int fd, int reply_fd)
{
	fd = fcntl(fd, F_DUPFD, REPLY_FD + 1);
	reply_fd = fcntl(reply_fd, F_DUPFD, REPLY_FD + 1);
	if (fd < 0 || reply_fd < 0 || dup2(fd, PIPE_FD) < 0 || dup2(reply_fd, REPLY_FD) < 0)
		return false;
	if (syscall(SYS_close_range, 0U, PIPE_FD - 1U, 0U) < 0 || syscall(SYS_close_range, REPLY_FD + 1U, ~0U, 0U) < 0)
		return false;
	/* For fusermount3, which an ordinary user unmounts with. */
	return open("/dev/null", O_RDWR) == 0 && dup(0) == 1 && dup(0) == 2;
}

/* Returns false at the end of the pipe. */
static bool read_byte(int fd, unsigned char *byte)
{
	ssize_t n;

	do
		n = read(fd, byte, 1);
	while (n < 0 && errno == EINTR);
	return n == 1;
}

static void write_byte(int fd, unsigned char byte)
{
	(void)!write(fd, &byte, 1); /* to nobody, or in vain */
}

static bool do_as_asked(const char *mountpoint, uint64_t mount_id)
{
	unsigned char asked = END;

	while (read_byte(PIPE_FD, &asked) && asked == WRITE_BACK)
		write_byte(REPLY_FD, (unsigned char)-ll_writeback_round(mountpoint, mount_id));
	return asked != UNMOUNT || ll_unmount_by_id(mountpoint, mount_id);
}

/* Not by way of prctl(3): a sanitizer stands in for that, and takes a lock which another thread may have held at the fork. */
static void set(int option, unsigned long value)
{
	(void)syscall(SYS_prctl, (unsigned long)option, value, 0UL, 0UL, 0UL);
}

static _Noreturn void run(int fd, int reply_fd, const char *mountpoint, uint64_t mount_id)
{
	set(PR_SET_NAME, (unsigned long)"unmounter");
	/* Nobody who has fewer rights may get at its root directory by way of /proc. */
	set(PR_SET_DUMPABLE, 0);
	(void)setsid(); /* a signal for the group of the session's process is not for this one */
	if (!hold_nothing_but(fd, reply_fd) || chdir("/") < 0)
		_exit(1);
	_exit(do_as_asked(mountpoint, mount_id) ? 0 : 1);
}

/* Its end of the pipe for questions is ours, too, so that no SIGPIPE comes if somebody has killed it. */
static int make_pipes(struct unmounter *unmounter, int *reply_fd)
{
	int reply[2];

	if (pipe2(reply, O_CLOEXEC) < 0)
		return -errno;
	if (pipe2(unmounter->fds, O_CLOEXEC) < 0) {
		int err = -errno;

		close(reply[0]);
		close(reply[1]);
		return err;
	}
	unmounter->reply_fd = reply[0];
	*reply_fd = reply[1];
	return 0;
}

static void close_pipes(const struct unmounter *unmounter)
{
	close(unmounter->fds[0]);
	close(unmounter->fds[1]);
	close(unmounter->reply_fd);
}

/* A mapping of a ring holds the ring, and that the connection: of this session, or of another one in this process. */
static void leave_rings_out_of_forks(void)
{
	FILE *maps = ll_proc_fopen("/proc/self/maps");
	unsigned long start, end;
	char line[256]; /* the rest of a longer one is none of a ring's */

	while (maps && fgets(line, sizeof(line), maps))
		if (strstr(line, "[io_uring]") && sscanf(line, "%lx-%lx", &start, &end) == 2)
			(void)madvise((void *)start, end - start, MADV_DONTFORK);
	if (maps)
		(void)fclose(maps);
}

int ll_unmounter_start(struct unmounter *unmounter, const struct llfuse_session *session)
{
	sigset_t all, before;
	int err, reply_fd = -1;

	if (!session->mount_id)
		return -ENOSYS; /* Linux before 5.8: it would not know our mount from another */
	err = make_pipes(unmounter, &reply_fd);
	if (err)
		return err;
	leave_rings_out_of_forks();
	/* It stays deaf to all signals, from its first moment. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	unmounter->pid = fork();
	if (unmounter->pid == 0)
		run(unmounter->fds[0], reply_fd, session->mountpoint, session->mount_id);
	if (unmounter->pid < 0)
		err = -errno;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	close(reply_fd);
	if (err)
		close_pipes(unmounter);
	else
		unmounter->is_started = true;
	return err;
}

int ll_unmounter_writeback_round(struct unmounter *unmounter)
{
	unsigned char err = 0;

	if (unmounter->is_lost)
		return -EPIPE;
	write_byte(unmounter->fds[1], WRITE_BACK);
	if (read_byte(unmounter->reply_fd, &err))
		return -(int)err;
	unmounter->is_lost = true;
	return -EPIPE;
}

bool ll_unmounter_end(struct unmounter *unmounter, bool unmount)
{
	pid_t waited;
	int status;

	if (!unmounter->is_started || unmounter->has_ended)
		return true;
	write_byte(unmounter->fds[1], unmount ? UNMOUNT : END);
	do
		waited = waitpid(unmounter->pid, &status, 0);
	while (waited < 0 && errno == EINTR);
	unmounter->has_ended = true;
	/* Where the program ignores SIGCHLD there is no status to be had. */
	return waited < 0 || (WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

void ll_unmounter_done(struct unmounter *unmounter)
{
	(void)ll_unmounter_end(unmounter, false);
	if (unmounter->is_started)
		close_pipes(unmounter);
}
