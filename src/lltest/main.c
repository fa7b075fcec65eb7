/* SPDX-License-Identifier: MIT */
/* lltest: a read-only file system with a single file. */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "ops.h"

static const char hello[] = "hello world\n";
static char default_name[] = "message";

struct options {
	char *file;
	char *name;
};

static const struct llfuse_option options[] = {
	{"--file", LLFUSE_OPTION_STRING, offsetof(struct options, file), "PATH", "serve the content of PATH"},
	{"--name", LLFUSE_OPTION_STRING, offsetof(struct options, name), "NAME", "call the file NAME, not \"message\""},
	{NULL, LLFUSE_OPTION_FLAG, 0, NULL, NULL},
};

static const struct llfuse_program program = {
	.name = "lltest",
	.summary = "Mounts a read-only file system with a single file.",
	.options = options,
};

static const char *name_problem(const char *name)
{
	if (!name[0])
		return "empty";
	if (strchr(name, '/'))
		return "a file name has no '/'";
	if (!strcmp(name, ".") || !strcmp(name, ".."))
		return "names a directory";
	return strlen(name) > NAME_MAX ? strerror(ENAMETOOLONG) : NULL;
}

/* Returns the descriptor, or -1 with the reason on stderr. */
static int open_given(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO is refused below, not waited for */
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0) {
		llfuse_complain(program.name, "%s: %s", path, strerror(errno));
	} else if (!S_ISREG(st.st_mode)) {
		llfuse_complain(program.name, "%s: not a regular file", path);
		close(fd);
		fd = -1;
	}
	return fd;
}

static int serve(const struct llfuse_config *config, const struct options *given)
{
	struct lltest fs = {
		.name = given->name,
		.uid = getuid(),
		.gid = getgid(),
		.fd = -1,
		.bytes = hello,
		.size = sizeof(hello) - 1,
	};
	const char *problem = name_problem(given->name);
	int status;

	if (problem) {
		llfuse_complain(program.name, "--name %s: %s", given->name, problem);
		return 1;
	}
	if (given->file && (fs.fd = open_given(given->file)) < 0)
		return 1;
	status = llfuse_run(&lltest_ops, config, &fs);
	if (fs.fd >= 0)
		close(fs.fd);
	return status;
}

int main(int argc, char **argv)
{
	struct options given = {.name = default_name};
	struct llfuse_command command;
	int status;

	status = llfuse_command_parse(&command, &program, argc, argv, &given);
	if (status < 0)
		status = serve(&command.config, &given);
	llfuse_command_free(&command);
	return status;
}
