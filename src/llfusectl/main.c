/* SPDX-License-Identifier: MIT */
/*
 * llfusectl: asks mounted file systems for what no system call of the kernel's reaches.  Each command is one
 * function in a table; it speaks to the mount by ioctl(2) on the root directory.
 */
#include "control.h"
#include "limits.h"
#include "path.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PROGRAM "llfusectl"

enum { EXIT_REFUSED = 1, EXIT_USAGE = 2 };

static int usage_error(const char *what, const char *which)
{
	fprintf(stderr, PROGRAM ": %s%s (see --help)\n", what, which);
	return EXIT_USAGE;
}

static int failure(const char *mountpoint, const char *what)
{
	fprintf(stderr, PROGRAM ": %s: %s\n", mountpoint, what);
	return EXIT_REFUSED;
}

/* Where standard output goes may be full.  Returns the exit status. */
static int end_output(void)
{
	if (!fflush(stdout) && !ferror(stdout))
		return 0;
	fprintf(stderr, PROGRAM ": cannot write to standard output\n");
	return EXIT_REFUSED;
}

/* ------------------------------------------------------------------------ */
/* limits                                                                    */

/* "size=64m" and "nr_inodes=1000"; returns 0 or the exit status. */
static int parse_limit(const char *word, struct control_limits *limits)
{
	if (strncmp(word, "size=", 5) == 0) {
		limits->set |= CONTROL_SET_SIZE;
		if (limits_parse_size(word + 5, limits_ram(), &limits->size))
			return 0;
		return usage_error("not a size (such as 64m, 1g or 50%): ", word);
	}
	if (strncmp(word, "nr_inodes=", 10) == 0) {
		limits->set |= CONTROL_SET_INODES;
		if (limits_parse_count(word + 10, &limits->inodes))
			return 0;
		return usage_error("not a number (such as 1000 or 64k): ", word);
	}
	return usage_error("not a limit (size=, nr_inodes=): ", word);
}

static const char *explain(int err)
{
	switch (err) {
	case ENOTTY:
	case EOPNOTSUPP:
	case ENOSYS:
	case EINVAL:
		return "no tmpfs of llfuse is mounted here, or not at its root";
	case EPERM:
		return "only root and who mounted may do that";
	case ESTALE:
		return "many more copies were saved meanwhile, and how this one ended is not known any more";
	default:
		return strerror(err);
	}
}

/* As in the options of tmpfs: 0 is no limit. */
static void print_limits(const struct control_limits *limits)
{
	printf("size=%" PRIu64 "\nsize_used=%" PRIu64 "\n", limits->size == LIMITS_NONE ? 0 : limits->size,
	       limits->size_used);
	printf("nr_inodes=%" PRIu64 "\nnr_inodes_used=%" PRIu64 "\n",
	       limits->inodes == LIMITS_NONE ? 0 : limits->inodes, limits->inodes_used);
	printf("data=%.*s\n", (int)sizeof(limits->data), limits->data);
}

/* Returns the descriptor, or -1 with the reason told. */
static int open_root(const char *mountpoint)
{
	int fd = open(mountpoint, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		(void)failure(mountpoint, strerror(errno));
	return fd;
}

static int run_limits(const char *mountpoint, char **words)
{
	struct control_limits limits = {0};
	int fd, err = 0;

	for (; *words; words++) {
		int status = parse_limit(*words, &limits);

		if (status)
			return status;
	}
	fd = open_root(mountpoint);
	if (fd < 0)
		return EXIT_REFUSED;
	if (ioctl(fd, CONTROL_LIMITS, &limits) < 0)
		err = errno;
	close(fd);
	if (err)
		return failure(mountpoint,
			       err == EBUSY ? "more than that is in use; nothing was changed" : explain(err));
	print_limits(&limits);
	return end_output();
}

/* ------------------------------------------------------------------------ */
/* save, sync                                                                */

/* How often the progress is looked at. */
#define LOOK_NS 50000000
#define LOOK_FIRST_NS 100000
#define BAR_WIDTH 40

static void draw_bar(const struct control_copy *copy)
{
	unsigned percent = copy->total ? (unsigned)(100.0 * (double)copy->done / (double)copy->total) : 0;
	unsigned i;

	percent = percent < 100 ? percent : 100;
	fprintf(stderr, "\r[");
	for (i = 0; i < BAR_WIDTH; i++)
		fputc(i * 100 < percent * BAR_WIDTH ? '#' : ' ', stderr);
	fprintf(stderr, "] %3u%%", percent);
}

/* Returns 0 or the errno of the request that failed. */
static int wait_for_copy(int fd, struct control_copy *copy)
{
	const struct timespec look = {.tv_nsec = LOOK_NS};
	const bool has_terminal = isatty(STDERR_FILENO);
	int err = 0;

	while (!(err = ioctl(fd, CONTROL_COPY, copy) < 0 ? errno : 0) && copy->state == CONTROL_COPY_RUNS) {
		if (has_terminal)
			draw_bar(copy);
		(void)nanosleep(&look, NULL); /* a signal only makes us look sooner */
	}
	if (has_terminal) {
		draw_bar(copy);
		fputc('\n', stderr);
	}
	return err;
}

/* What the kernel has collected and not yet handed on is of the tree, too.  Returns 0 or an errno. */
static int flush(int fd)
{
	struct timespec look = {.tv_nsec = LOOK_FIRST_NS};
	uint64_t number = 0;

	for (;;) {
		if (ioctl(fd, CONTROL_FLUSH, &number) < 0)
			return errno;
		if (!number)
			return 0;
		(void)nanosleep(&look, NULL); /* a signal only makes us look sooner */
		if (look.tv_nsec < LOOK_NS)
			look.tv_nsec *= 2;
	}
}

/* Returns 0 or the errno of why it could not be begun, or looked at. */
static int save(int fd, const char *path, struct control_copy *copy)
{
	struct control_save request = {0};
	int err;

	snprintf(request.path, sizeof(request.path), "%s", path);
	err = flush(fd);
	if (err)
		return err;
	if (ioctl(fd, CONTROL_SAVE, &request) < 0)
		return errno;
	*copy = (struct control_copy){.number = request.number};
	return wait_for_copy(fd, copy);
}

/* The mount would wait for itself. */
static bool lies_in(int fd, const char *path)
{
	char *copy = strdup(path);
	struct stat root, dir;
	bool lies;

	lies = copy && fstat(fd, &root) == 0 && stat(dirname(copy), &dir) == 0 && root.st_dev == dir.st_dev;
	free(copy);
	return lies;
}

static int run_save(const char *mountpoint, char **words)
{
	struct control_copy copy = {0};
	char *path;
	int fd, err;

	if (!words[0])
		return usage_error("missing operand: ", "FILE");
	if (words[1])
		return usage_error("one operand too many: ", words[1]);
	path = path_absolute(words[0]);
	if (!path || strlen(path) >= CONTROL_PATH_SIZE)
		err = failure(words[0], path ? strerror(ENAMETOOLONG) : strerror(errno));
	else
		err = (fd = open_root(mountpoint)) < 0 ? EXIT_REFUSED : 0;
	if (err) {
		free(path);
		return err;
	}
	err = ioctl(fd, CONTROL_COPY, &copy) < 0 ? errno : 0;
	if (!err && lies_in(fd, path)) {
		close(fd);
		free(path);
		return failure(words[0], "lies in the mount that is to be saved");
	}
	if (!err)
		err = save(fd, path, &copy);
	close(fd);
	free(path);
	if (err)
		return failure(mountpoint, err == EBUSY ? "a copy is being saved already" : explain(err));
	if (copy.state == CONTROL_COPY_DONE)
		return 0;
	return failure(words[0], copy.reason[0] ? copy.reason : strerror(copy.error));
}

static int run_sync(const char *mountpoint, char **words)
{
	int fd, err;

	if (words[0])
		return usage_error("one operand too many: ", words[0]);
	fd = open_root(mountpoint);
	if (fd < 0)
		return EXIT_REFUSED;
	err = flush(fd);
	if (!err && ioctl(fd, CONTROL_SYNC) < 0)
		err = errno;
	close(fd);
	return err ? failure(mountpoint, err == ENODATA ? "has no database (db=FILE)" : explain(err)) : 0;
}

/* ------------------------------------------------------------------------ */
/* Command line                                                              */

static const struct command {
	const char *name;
	const char *arguments;
	const char *help;
	/* @words are those behind the mount point.  Returns the exit status. */
	int (*run)(const char *mountpoint, char **words);
} commands[] = {
	{"limits", "MOUNTPOINT [size=SIZE] [nr_inodes=N]",
	 "shows the limits of a mounted tmpfs and what is in use, after changing what is given", run_limits},
	{"save", "MOUNTPOINT FILE",
	 "saves a mounted tmpfs, as it is now and while it is used, in an SQLite database; FILE is replaced when all "
	 "is there",
	 run_save},
	{"sync", "MOUNTPOINT", "commits all changes to the database of the mount (tmpfs -o db=FILE)", run_sync},
};

#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

static int print_version(void)
{
	printf(PROGRAM " %s\n", LLFUSE_VERSION_STRING);
	return end_output();
}

static int print_help(void)
{
	size_t i;

	printf("usage: " PROGRAM " COMMAND MOUNTPOINT [...]\nAsks a mounted file system of llfuse.\n\n");
	for (i = 0; i < N_COMMANDS; i++)
		printf("  %s %s\n      %s\n", commands[i].name, commands[i].arguments, commands[i].help);
	return end_output();
}

int main(int argc, char **argv)
{
	size_t i;

	if (argc < 2)
		return usage_error("missing operand: ", "COMMAND");
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
		return print_help();
	if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0)
		return print_version();
	for (i = 0; i < N_COMMANDS; i++)
		if (strcmp(argv[1], commands[i].name) == 0)
			break;
	if (i == N_COMMANDS)
		return usage_error("unknown command: ", argv[1]);
	if (argc < 3)
		return usage_error("missing operand: ", "MOUNTPOINT");
	return commands[i].run(argv[2], argv + 3);
}
