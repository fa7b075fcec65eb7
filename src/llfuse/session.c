/* SPDX-License-Identifier: MIT */
/* The life of a mounted file system: init, main, close, and all of it for a program. */
#include <execinfo.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "internal.h"

enum {
	DEFAULT_WORKERS = 10,
	DEFAULT_RING_DEPTH = 8,
	DESCRIPTORS = 16384, /* to have room for, which takes 128 KiB */
};

static _Atomic uint64_t last_session_id;

const char *llfuse_version(void)
{
	return LLFUSE_VERSION_STRING;
}

/* Values may hold commas and backslashes, which separate options. */
static int add_value(char **options, const char *key, const char *value)
{
	char *option;
	int err;

	if (asprintf(&option, "%s=%s", key, value) < 0)
		return -ENOMEM;
	err = fuse_opt_add_opt_escaped(options, option) ? -ENOMEM : 0;
	free(option);
	return err;
}

/* A comma that a backslash stands before is part of a value. */
static const char *next_option(const char *at)
{
	while (*at && *at != ',')
		at += *at == '\\' && at[1] ? 2 : 1;
	return *at ? at + 1 : NULL;
}

static bool has_option(const char *options, const char *key)
{
	for (const char *at = options; at; at = next_option(at))
		if (!strncmp(at, key, strlen(key)))
			return true;
	return false;
}

/* The `-o` list for libfuse. */
static int mount_options(const struct llfuse_session *session, const struct llfuse_config *config, char **options)
{
	char depth[40];
	int err = 0;

	*options = NULL;
	if (!has_option(config->mount_options, "fsname="))
		err = add_value(options, "fsname", config->fsname ? config->fsname : session->name);
	if (!err && !has_option(config->mount_options, "subtype="))
		err = add_value(options, "subtype", session->name);
	if (err)
		return err;
	snprintf(depth, sizeof(depth), "io_uring_q_depth=%u", session->ring_depth);
	if (fuse_opt_add_opt(options, "default_permissions") ||
	    (session->wanted_transport != LLFUSE_TRANSPORT_DEV_FUSE &&
	     (fuse_opt_add_opt(options, "io_uring") || fuse_opt_add_opt(options, depth))) ||
	    (config->debug_fuse && fuse_opt_add_opt(options, "debug")) ||
	    (config->mount_options && config->mount_options[0] && fuse_opt_add_opt(options, config->mount_options)))
		return -ENOMEM;
	return 0;
}

static int drop_ignored(void *data, const char *option, int key, struct fuse_args *out)
{
	(void)data, (void)out;
	return key != FUSE_OPT_KEY_OPT || !ll_option_is_ignored(option); /* whether it stays */
}

/* Options that concern the session and not the mount, or nobody here; they leave @args. */
static int take_session_options(struct llfuse_session *session, struct fuse_args *args)
{
	struct {
		unsigned max_threads, max_idle_threads, max_read;
	} taken = {0, (unsigned)-1, 0};
	static const struct fuse_opt opts[] = {
		{"max_threads=%u", 0, 0},
		{"max_idle_threads=%u", sizeof(unsigned), 0},
		{"max_read=%u", 2 * sizeof(unsigned), 0},
		OPTION_KEY("max_read=", FUSE_OPT_KEY_KEEP),
		OPTION_KEY("clone_fd", FUSE_OPT_KEY_DISCARD), /* our readers share one descriptor */
		FUSE_OPT_END,
	};

	if (fuse_opt_parse(args, &taken, opts, drop_ignored))
		return -EINVAL;
	if (taken.max_threads && !session->is_serial)
		session->n_workers = taken.max_threads;
	session->max_idle_threads = taken.max_idle_threads;
	session->max_read = taken.max_read;
	return 0;
}

static int new_fuse_session(struct llfuse_session *session, const struct llfuse_config *config)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	struct fuse_lowlevel_ops table;
	char *options = NULL;
	int err;

	err = mount_options(session, config, &options);
	if (!err && (fuse_opt_add_arg(&args, session->name) || fuse_opt_add_arg(&args, "-o") ||
		     fuse_opt_add_arg(&args, options)))
		err = -ENOMEM;
	ll_log_hold(true);
	if (!err)
		err = take_session_options(session, &args);
	if (!err) {
		ll_dispatch_table(&session->ops, &table);
		session->fuse = fuse_session_new(&args, &table, sizeof(table), session);
		if (!session->fuse)
			err = -EINVAL;
	}
	ll_log_hold(false);
	if (err)
		llfuse_complain(session->name, "%s: %s", options ? options : "options",
				err == -EINVAL && ll_log_held_error()[0] ? ll_log_held_error() : strerror(-err));
	free(options);
	fuse_opt_free_args(&args);
	return err;
}

static struct llfuse_session *new_session(const struct llfuse_ops *ops, const struct llfuse_config *config,
					  void *userdata)
{
	struct llfuse_session *session = calloc(1, sizeof(*session));

	if (!session)
		return NULL;
	session->name = strdup(config->name ? config->name : "llfuse");
	if (!session->name) {
		free(session);
		return NULL;
	}
	session->ops = *ops;
	session->userdata = userdata;
	session->id = atomic_fetch_add(&last_session_id, 1) + 1;
	session->n_workers = config->workers ? config->workers : DEFAULT_WORKERS;
	session->is_serial = config->workers == 1;
	session->ring_depth = config->ring_depth ? config->ring_depth : DEFAULT_RING_DEPTH;
	session->wanted_transport = config->transport;
	session->may_yield = !config->no_yield && config->transport != LLFUSE_TRANSPORT_DEV_FUSE;
	session->handles_signals = !config->no_signals;
	pthread_mutex_init(&session->serial_lock, NULL);
	pthread_mutex_init(&session->workers_lock, NULL);
	ll_loop_init(&session->loop);
	ll_guard_init(&session->guard);
	ll_stopper_init(&session->stopper);
	pthread_mutex_init(&session->writeback_lock, NULL);
	ll_io_modes_init(&session->io_modes);
	ll_opens_init(&session->opens);
	return session;
}

static void free_session(struct llfuse_session *session)
{
	ll_workers_free(session);
	ll_opens_done(&session->opens);
	ll_io_modes_done(&session->io_modes);
	ll_loop_done(&session->loop);
	ll_unmounter_done(&session->unmounter);
	pthread_mutex_destroy(&session->writeback_lock);
	ll_stopper_done(&session->stopper);
	ll_guard_done(&session->guard);
	pthread_mutex_destroy(&session->workers_lock);
	pthread_mutex_destroy(&session->serial_lock);
	free(session->mountpoint);
	free(session->name);
	free(session);
}

/* While there is little memory that it would share. */
static int start_unmounter(struct llfuse_session *session, const struct llfuse_config *config)
{
	int err;

	if (!session->mountpoint || (!config->unmount_from_outside && !config->syncs_often))
		return 0;
	err = ll_unmounter_start(&session->unmounter, session);
	session->unmounts_from_outside = config->unmount_from_outside && !err;
	if (!err || !config->unmount_from_outside)
		return 0; /* else there will be one for each time */
	llfuse_complain(session->name, "cannot make a process to unmount with: %s", strerror(-err));
	return err;
}

/* Everything of this process's own that may be out of reach once the function was called is looked up before. */
static int call_mounted(struct llfuse_session *session, const struct llfuse_config *config)
{
	int err = start_unmounter(session, config);

	if (err || !config->mounted)
		return err;
	ll_log_prepare(session->name, false);
	ll_cpus_remember();
	return config->mounted(session->userdata);
}

static int init(const struct llfuse_ops *ops, const struct llfuse_config *config, void *userdata, bool is_daemon,
		struct llfuse_session **made)
{
	struct llfuse_session *session = new_session(ops, config, userdata);
	void *frame;
	int err;

	if (!session) {
		llfuse_complain(config->name ? config->name : "llfuse", "%s", strerror(ENOMEM));
		return -ENOMEM;
	}
	ll_log_capture_libfuse();
	/* Loads libgcc_s, without which pthread_cancel(3), by which threads are ended, aborts: at the end
	 * there may be no descriptor left to load it with. */
	(void)backtrace(&frame, 1);
	if (config->debug || config->debug_fuse)
		llfuse_log_set_level(LLFUSE_LOG_DEBUG);
	err = new_fuse_session(session, config);
	if (err)
		goto discard;
	/* From before the mount, so that a signal that comes right after it finds somebody to unmount. */
	if (session->handles_signals && (err = ll_signals_enter(session)))
		llfuse_complain(session->name, "cannot take signals: %s", strerror(-err));
	if (err)
		goto discard_fuse;
	err = ll_mount_session(session, config);
	if (err)
		goto leave_signals;
	if (is_daemon)
		(void)!chdir("/"); /* a daemon should not keep a mount busy; if "/" cannot be had, it does */
	err = call_mounted(session, config);
	if (err)
		goto unmount;
	*made = session;
	return 0;
unmount:
	ll_unmount_session(session);
leave_signals:
	ll_signals_leave(session);
discard_fuse:
	fuse_session_destroy(session->fuse);
discard:
	free_session(session);
	return err;
}

int llfuse_init(const struct llfuse_ops *ops, const struct llfuse_config *config, void *userdata,
		struct llfuse_session **session)
{
	return init(ops, config, userdata, false, session);
}

/* Where several threads share a table of descriptors, the kernel waits for all processors before a larger one takes its
 * place (fs/file.c, expand_fdtable()): 10 to 25 ms, each time that their number doubles, for whoever wants a descriptor
 * then.  It does not shrink again, and grows at once while there is one thread. */
static void make_room_for_descriptors(const struct llfuse_session *session)
{
	struct rlimit limit;
	int highest;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == 0)
		return;
	highest = limit.rlim_cur < DESCRIPTORS ? (int)limit.rlim_cur - 1 : DESCRIPTORS - 1;
	highest = fcntl(fuse_session_fd(session->fuse), F_DUPFD_CLOEXEC, highest);
	if (highest >= 0)
		close(highest);
}

int llfuse_main(struct llfuse_session *session)
{
	int err;

	make_room_for_descriptors(session);
	if (session->handles_signals) {
		err = ll_signals_start();
		if (err) {
			llfuse_log(LLFUSE_LOG_ERROR, session->name, "cannot make a thread for signals: %s",
				   strerror(-err));
			return err;
		}
	}
	llfuse_log(LLFUSE_LOG_DEBUG, session->name, "entering main loop");
	err = ll_loop_run(session);
	if (!err)
		err = atomic_load(&session->init_error);
	llfuse_log(LLFUSE_LOG_DEBUG, session->name, "left main loop: %s", err ? strerror(-err) : "done");
	if (session->handles_signals)
		ll_signals_stop();
	return err;
}

void llfuse_stop(struct llfuse_session *session)
{
	ll_loop_stop(session);
}

void llfuse_close(struct llfuse_session *session, bool unmount)
{
	if (!session)
		return;
	/* Signals are heard until it is unmounted, or a second Ctrl-C would leave the mount behind. */
	if (unmount)
		ll_unmount_session(session);
	fuse_session_destroy(session->fuse); /* calls destroy, if there was an init */
	/* Only now: destroy may have much to save, and an impatient second Ctrl-C is not to end that. */
	ll_signals_leave(session);
	ll_stopper_end(session); /* the connection is closed: it gets no answer any more */
	free_session(session);
}

enum llfuse_transport llfuse_session_transport(const struct llfuse_session *session)
{
	return (enum llfuse_transport)atomic_load(&session->transport);
}

uint32_t llfuse_session_caps(const struct llfuse_session *session)
{
	return atomic_load(&session->caps);
}

/* In the background: the parent waits for the verdict of the child and exits with it. */
struct background {
	int verdict_fd; /* in the child; -1: not in the background */
	int null_fd;
};

static void wait_for_verdict(int fd)
{
	char verdict;
	ssize_t n;

	do
		n = read(fd, &verdict, 1);
	while (n < 0 && errno == EINTR);
	_exit(n == 1 ? 0 : 1); /* the child has said why */
}

static int go_to_background(struct background *background, const char *name)
{
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0 || (pid = fork()) < 0) {
		int err = -errno;

		llfuse_complain(name, "cannot go to the background: %s", strerror(-err));
		return err;
	}
	if (pid) {
		close(fds[1]);
		wait_for_verdict(fds[0]);
	}
	close(fds[0]);
	(void)setsid(); /* fails only for a group leader, which a new child is not */
	background->verdict_fd = fds[1];
	/* Now: once it is mounted, the program may be where there is neither. */
	background->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	ll_log_prepare(name, true);
	return 0;
}

/* Mounted: nothing can go wrong any more that the user who waits should see. */
static void report_mounted(struct background *background)
{
	ll_log_to_syslog();
	if (background->null_fd >= 0) {
		for (int fd = 0; fd <= 2; fd++)
			dup2(background->null_fd, fd);
		if (background->null_fd > 2)
			close(background->null_fd);
	}
	(void)!write(background->verdict_fd, "", 1);
	close(background->verdict_fd);
	background->verdict_fd = -1;
}

/* So that nothing of ours gets a number that report_mounted() replaces. */
static void open_standard_streams(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

int llfuse_run(const struct llfuse_ops *ops, const struct llfuse_config *config, void *userdata)
{
	const char *name = config->name ? config->name : "llfuse";
	struct background background = {.verdict_fd = -1, .null_fd = -1};
	struct llfuse_session *session;
	int err;

	open_standard_streams();
	if (config->daemon && go_to_background(&background, name))
		return 1;
	if (init(ops, config, userdata, config->daemon, &session))
		return 1;
	if (config->daemon)
		report_mounted(&background);
	err = llfuse_main(session);
	llfuse_close(session, true);
	return err ? 1 : 0;
}
