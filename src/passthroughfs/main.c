/* SPDX-License-Identifier: MIT */
/*
 * passthroughfs: shows a directory tree at another place.
 */
#include "creds.h"
#include "ops.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>

static const char *const arguments[] = {"SOURCE", NULL};

static const struct llfuse_option options[] = {{.name = NULL}};

static const struct llfuse_program program = {
	.name = "passthroughfs",
	.summary = "Shows the directory tree SOURCE at MOUNTPOINT.",
	.arguments = arguments,
	.options = options,
};

/* Each open file costs a descriptor, and each known one where there are no file handles. */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit); /* if not, the old one must do */
	}
}

static int run(struct llfuse_command *command)
{
	const char *path = command->arguments[0];
	struct source *source;
	int status;
	int err;

	raise_descriptor_limit();
	creds_init();
	err = source_open(path, command->config.mountpoint, &source);
	if (err) {
		llfuse_complain(program.name, "%s: %s", path, strerror(-err));
		return 1;
	}
	command->config.fsname = path;
	status = llfuse_run(&passthroughfs_ops, &command->config, source);
	source_close(source);
	return status;
}

int main(int argc, char **argv)
{
	struct llfuse_command command = {0};
	int status;

	status = llfuse_command_parse(&command, &program, argc, argv, NULL);
	if (status < 0)
		status = run(&command);
	llfuse_command_free(&command);
	return status;
}
