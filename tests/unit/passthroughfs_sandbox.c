/* SPDX-License-Identifier: MIT */
/* What the sandbox is made of, as far as it needs no mount: src/passthroughfs/sandbox.h, sandbox_filter.h, fd.h. */
#include "fd.h"
#include "sandbox.h"
#include "sandbox_filter.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cmocka.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED true
#endif
#endif
#ifndef SANITIZED
#define SANITIZED false
#endif

/* Runs @test in a process of its own, as what it does is for good.  It returns the line of what failed, or 0. */
static void in_child(int (*test)(void))
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(test());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

#define CHECK(condition)                                                                                               \
	do {                                                                                                           \
		if (!(condition))                                                                                      \
			return __LINE__ & 0xff;                                                                        \
	} while (0)

/* --- Levels --------------------------------------------------------------------------------- */

static void levels_have_names(void **state)
{
	enum sandbox_level level;

	(void)state;
	for (int each = SANDBOX_AUTO; each <= SANDBOX_FULL; each++) {
		level = SANDBOX_AUTO;
		assert_true(sandbox_level_parse(sandbox_level_name((enum sandbox_level)each), &level));
		assert_int_equal(level, each);
	}
	assert_false(sandbox_level_parse("", &level));
	assert_false(sandbox_level_parse("ful", &level));
	assert_false(sandbox_level_parse("fuller", &level));
}

static void no_sandbox_prepares_nothing(void **state)
{
	struct sandbox sandbox;
	const char *step;

	(void)state;
	assert_int_equal(sandbox_prepare(&sandbox, SANDBOX_NONE, "/nonexistent", false, "/nonexistent", &step), 0);
	assert_int_equal(sandbox.level, SANDBOX_NONE);
	assert_int_equal(sandbox.root_fd, -1);
	assert_int_equal(sandbox.covered_fd, -1);
	sandbox_done(&sandbox);
}

/* --- Names of descriptors ------------------------------------------------------------------- */

static int name_from_within_proc(void)
{
	scoped_fd proc_fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	scoped_fd file = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	scoped_fd path_fd = -1;
	scoped_fd again = -1;
	struct stat st;

	CHECK(proc_fd >= 0 && file >= 0);
	path_fd = fd_reopen(file, O_PATH);
	CHECK(path_fd >= 0);
	CHECK(fd_work_in_proc(proc_fd) == 0);
	CHECK(fd_name(path_fd).path[0] != '/');
	CHECK(chmod(fd_name(path_fd).path, 0640) == 0);
	/* As a thread of creds.c does. */
	CHECK(unshare(CLONE_FS) == 0);
	again = fd_reopen(path_fd, O_RDONLY);
	CHECK(again >= 0 && fstat(again, &st) == 0);
	CHECK((st.st_mode & 07777) == 0640);
	return 0;
}

static void descriptors_have_names_without_proc(void **state)
{
	(void)state;
	in_child(name_from_within_proc);
}

/* --- The filter ----------------------------------------------------------------------------- */

static bool is_denied(long result)
{
	return result < 0 && errno == ENOSYS;
}

static void *do_nothing(void *arg)
{
	return arg;
}

static int use_what_is_needed(void)
{
	scoped_fd fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	pthread_t thread;
	char byte;

	CHECK(sandbox_filter_load(true) == 0);
	CHECK(pwrite(fd, "x", 1, 0) == 1 && pread(fd, &byte, 1, 0) == 1 && byte == 'x');
	CHECK(ftruncate(fd, 100) == 0 && fsync(fd) == 0);
	CHECK(pthread_create(&thread, NULL, do_nothing, NULL) == 0);
	CHECK(pthread_join(thread, NULL) == 0);
	CHECK(unshare(CLONE_FS) == 0);
	(void)signal(SIGUSR1, SIG_IGN);
	CHECK(raise(SIGUSR1) == 0);
	/* Gets as far as the kernel's own check. */
	CHECK(syscall(SYS_io_uring_setup, 0, NULL) < 0 && errno != ENOSYS);
	return 0;
}

static void what_is_needed_can_be_done(void **state)
{
	(void)state;
	in_child(use_what_is_needed);
}

static int try_what_is_not(void)
{
	char *const arguments[] = {(char *)(uintptr_t) "/bin/true", NULL};

	CHECK(sandbox_filter_load(false) == 0);
	CHECK(is_denied(execve(arguments[0], arguments, arguments + 1)));
	CHECK(is_denied(syscall(SYS_execveat, AT_FDCWD, arguments[0], arguments, arguments + 1, 0)));
	CHECK(is_denied(syscall(SYS_socket, 1, 1, 0)));
	CHECK(is_denied(syscall(SYS_connect, 0, NULL, 0)));
	CHECK(is_denied(syscall(SYS_mount, NULL, "/", NULL, 0, NULL)));
	CHECK(is_denied(syscall(SYS_umount2, "/", 0)));
	CHECK(is_denied(syscall(SYS_pivot_root, ".", ".")));
	CHECK(is_denied(syscall(SYS_chroot, "/")));
	CHECK(is_denied(syscall(SYS_chdir, "/")));
	CHECK(is_denied(syscall(SYS_setns, 0, 0)));
	CHECK(is_denied(syscall(SYS_unshare, CLONE_NEWNS)));
	CHECK(is_denied(syscall(SYS_unshare, CLONE_FS | CLONE_NEWUSER)));
	CHECK(is_denied(syscall(SYS_open_tree, AT_FDCWD, "/", 0)));
	CHECK(is_denied(syscall(SYS_move_mount, 0, "", 0, "", 0)));
	CHECK(is_denied(syscall(SYS_fsopen, "tmpfs", 0)));
	CHECK(is_denied(syscall(SYS_bpf, 0, NULL, 0)));
	CHECK(is_denied(syscall(SYS_keyctl, 0, 0, 0, 0, 0)));
	CHECK(is_denied(syscall(SYS_process_vm_writev, getpid(), NULL, 0, NULL, 0, 0)));
	CHECK(is_denied(syscall(SYS_pidfd_send_signal, 0, 0, NULL, 0)));
	CHECK(is_denied(syscall(SYS_tgkill, getppid(), getppid(), 0)) || SANITIZED);
	CHECK(is_denied(kill(getppid(), 0)) || SANITIZED);
	CHECK(is_denied(syscall(SYS_ptrace, 0, 0, NULL, NULL)) || SANITIZED);
	CHECK(is_denied(ioctl(0, TIOCSTI, "x")));
	CHECK(is_denied(syscall(SYS_prlimit64, getppid(), 0, NULL, NULL)));
	CHECK(is_denied(syscall(SYS_io_uring_setup, 0, NULL)));
	return 0;
}

static void what_is_not_needed_is_not_there(void **state)
{
	(void)state;
	in_child(try_what_is_not);
}

static int make_a_process(void)
{
	CHECK(sandbox_filter_load(true) == 0);
	CHECK(is_denied(fork()));
	CHECK(is_denied(syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL)));
	return 0;
}

static void no_process_is_made(void **state)
{
	(void)state;
	if (SANITIZED)
		skip(); /* the search for leaks makes one */
	in_child(make_a_process);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(levels_have_names),
		cmocka_unit_test(no_sandbox_prepares_nothing),
		cmocka_unit_test(descriptors_have_names_without_proc),
		cmocka_unit_test(what_is_needed_can_be_done),
		cmocka_unit_test(what_is_not_needed_is_not_there),
		cmocka_unit_test(no_process_is_made),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
