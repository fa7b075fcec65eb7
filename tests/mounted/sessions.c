/* SPDX-License-Identifier: MIT */
/*
 * sessions [OPTION...] MOUNTPOINT: a program in which the library is not alone.  It has a thread, made before the mount, that
 * takes any signal, and with
 *   --own        a handler for SIGHUP and SIGUSR1, and SIGINT ignored
 *   --own-late   the same, but only once there is a session
 *   --dawdle     an answer to statfs only once it is stopped
 *   --fork       a child that waits for signals
 *   --other DIR  a second session on DIR
 *   --race       nothing but both mounted at once, again and again
 *   --raw-options LIST  mount options that none but llfuse_init() has seen.
 * On stdout it tells which session has been closed, and what its signals do then.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "llfuse.h"

struct options {
	bool has_own_signals, has_them_late, dawdles, forks, races;
	char *other, *raw_options;
};

static const struct llfuse_option option_table[] = {
	{"--own", LLFUSE_OPTION_FLAG, offsetof(struct options, has_own_signals), NULL, "handle signals itself"},
	{"--own-late", LLFUSE_OPTION_FLAG, offsetof(struct options, has_them_late), NULL, "do so from the mount on"},
	{"--dawdle", LLFUSE_OPTION_FLAG, offsetof(struct options, dawdles), NULL, "answer statfs at the end"},
	{"--fork", LLFUSE_OPTION_FLAG, offsetof(struct options, forks), NULL, "have a child"},
	{"--race", LLFUSE_OPTION_FLAG, offsetof(struct options, races), NULL, "only mount both at once, many times"},
	{"--other", LLFUSE_OPTION_STRING, offsetof(struct options, other), "DIR", "a second session on DIR"},
	{"--raw-options", LLFUSE_OPTION_STRING, offsetof(struct options, raw_options), "LIST", "mount options"},
	{NULL, LLFUSE_OPTION_FLAG, 0, NULL, NULL},
};

static int op_getattr(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, struct llfuse_entry *entry)
{
	(void)req, (void)file;
	entry->ino = entry->attr.st_ino = ino;
	entry->attr.st_mode = S_IFDIR | 0755;
	entry->attr.st_nlink = 2;
	return 0;
}

/* Until the session ends.  @st is all zero. */
static int op_statfs(struct llfuse_request *req, uint64_t ino, struct statvfs *st)
{
	const struct timespec moment = {.tv_nsec = 1000000};

	(void)ino, (void)st;
	(void)!write(STDOUT_FILENO, "asked\n", 6);
	while (!llfuse_interrupted(req))
		(void)nanosleep(&moment, NULL);
	return 0;
}

/* There is no file, but the library goes by the handler. */
static ssize_t op_write(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, const void *buf,
			size_t size, off_t off)
{
	(void)req, (void)ino, (void)file, (void)buf, (void)size, (void)off;
	return -EBADF;
}

static const struct llfuse_ops ops = {.getattr = op_getattr};
static const struct llfuse_ops dawdling_ops = {.getattr = op_getattr, .statfs = op_statfs, .write = op_write};

static const char *does(int number)
{
	struct sigaction action;
	sigset_t blocked;

	pthread_sigmask(SIG_BLOCK, NULL, &blocked);
	if (sigismember(&blocked, number))
		return "blocked";
	sigaction(number, NULL, &action);
	return action.sa_handler == SIG_DFL ? "default" : action.sa_handler == SIG_IGN ? "ignored" : "handled";
}

static void tell(const char *what, const char *which)
{
	char line[1024];
	int n = snprintf(line, sizeof(line), "%s %s: INT %s, TERM %s, HUP %s, USR1 %s, USR2 %s, PIPE %s, XFSZ %s\n",
			 what, which, does(SIGINT), does(SIGTERM), does(SIGHUP), does(SIGUSR1), does(SIGUSR2),
			 does(SIGPIPE), does(SIGXFSZ));

	(void)!write(STDOUT_FILENO, line, (size_t)n); /* the reader misses it */
}

static void own_handler(int number)
{
	static const char said[] = "own handler\n";

	(void)number;
	(void)!write(STDOUT_FILENO, said, sizeof(said) - 1);
}

static void set_own_signals(void)
{
	(void)signal(SIGHUP, own_handler);
	(void)signal(SIGUSR1, own_handler);
	(void)signal(SIGINT, SIG_IGN);
}

static void *stand_by(void *arg)
{
	while (pause() < 0) /* always */
		;
	return arg;
}

/* Once there is a session.  It ends with us. */
static void fork_child(void)
{
	pid_t pid = fork();
	char line[40];

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	snprintf(line, sizeof(line), "child %d\n", (int)pid);
	(void)!write(STDOUT_FILENO, line, strlen(line)); /* the reader misses it */
}

struct serving {
	pthread_t thread;
	struct llfuse_config config;
	struct llfuse_session *session;
	const char *which;
	int err;
};

static void *serve(void *arg)
{
	struct serving *serving = arg;

	serving->err = llfuse_main(serving->session);
	llfuse_close(serving->session, true);
	tell("closed", serving->which);
	return NULL;
}

enum { RACES = 50 };

struct racer {
	pthread_t thread;
	pthread_barrier_t *start;
	struct llfuse_config config;
	int err;
};

static void *mount_and_unmount(void *arg)
{
	struct racer *racer = arg;
	struct llfuse_session *session = NULL;

	(void)pthread_barrier_wait(racer->start);
	racer->err = llfuse_init(&ops, &racer->config, NULL, &session);
	llfuse_close(session, true);
	return NULL;
}

/* Returns whether all went well.  What stderr is then shows by the line there. */
static bool race(const struct llfuse_config *config, char *other)
{
	pthread_barrier_t start;
	struct racer racers[2] = {{.start = &start, .config = *config}, {.start = &start, .config = *config}};
	bool is_well = true;

	racers[1].config.mountpoint = other;
	pthread_barrier_init(&start, NULL, 2);
	for (int round = 0; round < RACES; round++) {
		for (int i = 0; i < 2; i++)
			pthread_create(&racers[i].thread, NULL, mount_and_unmount, &racers[i]);
		for (int i = 0; i < 2; i++) {
			pthread_join(racers[i].thread, NULL);
			is_well = is_well && !racers[i].err;
		}
	}
	pthread_barrier_destroy(&start);
	fprintf(stderr, "ready\n");
	return is_well;
}

static int run(const struct llfuse_config *config, const struct options *options)
{
	struct serving all[2] = {{.config = *config, .which = "first"}, {.config = *config, .which = "other"}};
	int n = options->other ? 2 : 1, err = 0;

	all[1].config.mountpoint = options->other;
	for (int i = 0; i < n; i++)
		if (llfuse_init(options->dawdles ? &dawdling_ops : &ops, &all[i].config, NULL, &all[i].session))
			return 1;
	if (options->has_them_late) {
		set_own_signals();
		(void)!write(STDOUT_FILENO, "taken\n", 6);
	}
	if (options->forks)
		fork_child();
	for (int i = 0; i < n; i++)
		pthread_create(&all[i].thread, NULL, serve, &all[i]);
	for (int i = 0; i < n; i++) {
		pthread_join(all[i].thread, NULL);
		err = all[i].err ? all[i].err : err;
	}
	tell("closed", "all");
	return err ? 1 : 0;
}

int main(int argc, char **argv)
{
	const struct llfuse_program program = {
		.name = "sessions", .summary = "Uses the library beside other things.", .options = option_table};
	struct options options = {0};
	struct llfuse_command command;
	int status = llfuse_command_parse(&command, &program, argc, argv, &options);
	pthread_t bystander;

	if (status < 0) {
		pthread_create(&bystander, NULL, stand_by, NULL);
		if (options.has_own_signals)
			set_own_signals();
		if (options.raw_options)
			command.config.mount_options = options.raw_options;
		if (options.races)
			status = race(&command.config, options.other) ? 0 : 1;
		else
			status = run(&command.config, &options);
		pthread_cancel(bystander);
		pthread_join(bystander, NULL);
	}
	llfuse_command_free(&command);
	return status;
}
