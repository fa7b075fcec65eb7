/* SPDX-License-Identifier: MIT */
/*
 * The system calls that the daemon needs: see sandbox_filter.h.
 *
 * Not among them: whatever runs a program or makes a process, mounts, changes roots or namespaces, opens a
 * socket, looks into other processes or signals them, or loads code into the kernel.  Who needs one more, in a handler or in
 * the library, adds it here; the tests run with the filter.
 */
#include "sandbox_filter.h"

#include <errno.h>
#include <linux/fuse.h>
#include <sched.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <unistd.h>

/* Linux 6.9, <linux/fuse.h>; headers may be older. */
#ifndef FUSE_DEV_IOC_BACKING_OPEN
struct fuse_backing_map {
	int32_t fd;
	uint32_t flags;
	uint64_t padding;
};
#define FUSE_DEV_IOC_BACKING_OPEN _IOW(229, 1, struct fuse_backing_map)
#define FUSE_DEV_IOC_BACKING_CLOSE _IOW(229, 2, uint32_t)
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define IS_SANITIZED 1
#endif
#endif

static const char *const plain_calls[] = {
	/* Bytes. */
	"close",
	"copy_file_range",
	"dup",
	"dup2",
	"dup3",
	"eventfd2",
	"fadvise64",
	"fallocate",
	"fcntl",
	"fdatasync",
	"fsync",
	"ftruncate",
	"lseek",
	"pipe2",
	"poll",
	"ppoll",
	"pread64",
	"preadv",
	"preadv2",
	"pwrite64",
	"pwritev",
	"pwritev2",
	"read",
	"readv",
	"sync_file_range",
	"syncfs",
	"truncate",
	"write",
	"writev",

	/* Names and attributes. */
	"chmod",
	"faccessat",
	"faccessat2",
	"fchmod",
	"fchmodat",
	"fchmodat2",
	"fchown",
	"fchownat",
	"fgetxattr",
	"flistxattr",
	"fremovexattr",
	"fsetxattr",
	"fstat",
	"fstatfs",
	"getdents64",
	"getxattr",
	"linkat",
	"listxattr",
	"mkdirat",
	"mknodat",
	"name_to_handle_at",
	"newfstatat",
	"open_by_handle_at",
	"openat",
	"openat2",
	"readlink",
	"readlinkat",
	"removexattr",
	"renameat",
	"renameat2",
	"setxattr",
	"statfs",
	"statx",
	"symlinkat",
	"umask",
	"unlinkat",
	"utimensat",

	/* What changes in the source. */
	"fanotify_mark",
	"inotify_add_watch",
	"inotify_init1",
	"inotify_rm_watch",

	/* Acting as the caller. */
	"capget",
	"capset",
	"getegid",
	"geteuid",
	"getgid",
	"getgroups",
	"getuid",
	"setfsgid",
	"setfsuid",
	"setgroups",

	/* Threads, and the one child, which is waited for. */
	"exit",
	"exit_group",
	"futex",
	"get_robust_list",
	"getcpu",
	"getpid",
	"getppid",
	"getrusage",
	"gettid",
	"membarrier",
	"restart_syscall",
	"rseq",
	"rt_sigaction",
	"rt_sigprocmask",
	"rt_sigreturn",
	"sched_getaffinity",
	"sched_getparam",
	"sched_getscheduler",
	"sched_setaffinity",
	"sched_yield",
	"set_robust_list",
	"sigaltstack",
	"wait4",
	"waitid",

	/* Memory and time. */
	"brk",
	"clock_getres",
	"clock_gettime",
	"clock_nanosleep",
	"get_mempolicy",
	"getrandom",
	"getrlimit",
	"gettimeofday",
	"madvise",
	"mbind",
	"mmap",
	"mprotect",
	"mremap",
	"munmap",
	"nanosleep",
	"sysinfo",
	"time",
	"uname",
};

static const char *const io_uring_calls[] = {"io_uring_enter", "io_uring_register", "io_uring_setup"};

/* Calls of which only some are needed: those whose argument number @argument has @value in the bits of @mask. */
struct partial_call {
	const char *name;
	unsigned argument;
	scmp_datum_t mask, value;
};

#define ALL_BITS UINT64_MAX
#define INT_BITS UINT64_C(0xffffffff) /* the kernel takes no more of an int */

static const struct partial_call partial_calls[] = {
	{"clone", 0, CLONE_THREAD, CLONE_THREAD}, /* clone3's flags cannot be seen: without it, this one is used */
	{"unshare", 0, ALL_BITS, CLONE_FS}, /* a umask of one's own */
	{"ioctl", 1, INT_BITS, FUSE_DEV_IOC_BACKING_OPEN},
	{"ioctl", 1, INT_BITS, FUSE_DEV_IOC_BACKING_CLOSE},
	{"ioctl", 1, INT_BITS, FIONREAD},
	{"prctl", 0, INT_BITS, PR_SET_NAME},
	{"prctl", 0, INT_BITS, PR_GET_NAME},
	{"prlimit64", 0, INT_BITS, 0}, /* of ourselves */
	{"sched_setscheduler", 1, INT_BITS, SCHED_IDLE},
	{"sched_setscheduler", 1, INT_BITS, SCHED_OTHER},
	{"sendto", 4, ALL_BITS, 0}, /* to syslog, by the socket that there is */
};

#ifdef IS_SANITIZED
/* What the sanitizers' runtimes do beside. */
static const char *const sanitizer_calls[] = {
	"clone",     "fork",   "kill",  "pipe", "prctl", "process_vm_readv", "ptrace", "sched_setscheduler",
	"setrlimit", "tgkill", "vfork",
};
#endif

/* A call that libseccomp or the machine does not know cannot be made, and needs no rule. */
static int allow(scmp_filter_ctx filter, const char *name, unsigned n, const struct scmp_arg_cmp *condition)
{
	int number = seccomp_syscall_resolve_name(name);
	int err;

	if (number == __NR_SCMP_ERROR)
		return 0;
	err = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, number, n, condition);
	return err == -EDOM ? 0 : err;
}

static int allow_all(scmp_filter_ctx filter, const char *const *names, size_t n)
{
	int err = 0;

	for (size_t i = 0; i < n && !err; i++)
		err = allow(filter, names[i], 0, NULL);
	return err;
}

#define ALLOW_ALL(filter, names) allow_all(filter, names, sizeof(names) / sizeof((names)[0]))

static int allow_partial(scmp_filter_ctx filter, const struct partial_call *call)
{
	struct scmp_arg_cmp condition = SCMP_CMP64(call->argument, SCMP_CMP_MASKED_EQ, call->mask, call->value);

	return allow(filter, call->name, 1, &condition);
}

static int allow_needed(scmp_filter_ctx filter, bool io_uring)
{
	const struct partial_call signal_ourselves = {"tgkill", 0, INT_BITS, (scmp_datum_t)getpid()};
	int err;

	err = ALLOW_ALL(filter, plain_calls);
	if (!err && io_uring)
		err = ALLOW_ALL(filter, io_uring_calls);
	for (size_t i = 0; i < sizeof(partial_calls) / sizeof(partial_calls[0]) && !err; i++)
		err = allow_partial(filter, &partial_calls[i]);
	if (!err)
		err = allow_partial(filter, &signal_ourselves);
#ifdef IS_SANITIZED
	if (!err)
		err = ALLOW_ALL(filter, sanitizer_calls);
#endif
	return err;
}

int sandbox_filter_load(bool io_uring)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
	int err;

	if (!filter)
		return -ENOMEM;
	err = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (!err)
		err = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
	if (!err)
		err = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a tree: it costs each call something */
	if (!err)
		err = allow_needed(filter, io_uring);
	if (!err)
		err = seccomp_load(filter);
	seccomp_release(filter);
	return err;
}
