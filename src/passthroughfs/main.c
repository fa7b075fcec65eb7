/* SPDX-License-Identifier: MIT */
/*
 * passthroughfs: shows a directory tree at another place.
 */
#include "creds.h"
#include "ops.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/resource.h>

static const char *const arguments[] = {"SOURCE", NULL};

struct options {
	char *cache;
};

static const struct llfuse_option options[] = {
	{"cache", LLFUSE_OPTION_STRING, offsetof(struct options, cache), "MODE",
	 "auto (until others change the source), always, never"},
	{.name = NULL},
};

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

/* Returns whether @name is one. */
static bool parse_cache(const char *name, enum source_cache *cache)
{
	static const struct {
		const char *name;
		enum source_cache cache;
	} modes[] = {
		{"auto", SOURCE_CACHE_AUTO},
		{"always", SOURCE_CACHE_ALWAYS},
		{"never", SOURCE_CACHE_NEVER},
	};

	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		if (strcmp(name, modes[i].name) == 0) {
			*cache = modes[i].cache;
			return true;
		}
	}
	return false;
}

static int run(struct llfuse_command *command, const struct options *given)
{
	struct source_options how = {.mountpoint = command->config.mountpoint, .cache = SOURCE_CACHE_AUTO};
	const char *path = command->arguments[0];
	struct source *source;
	int status;
	int err;

	if (given->cache && !parse_cache(given->cache, &how.cache)) {
		llfuse_complain(program.name, "cache=%s: not auto, always or never", given->cache);
		return 2;
	}
	raise_descriptor_limit();
	creds_init();
	err = source_open(path, &how, &source);
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
	struct options given = {.cache = NULL};
	int status;

	status = llfuse_command_parse(&command, &program, argc, argv, &given);
	if (status < 0)
		status = run(&command, &given);
	llfuse_command_free(&command);
	return status;
}
