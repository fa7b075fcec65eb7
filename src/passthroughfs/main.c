/* SPDX-License-Identifier: MIT */
/*
 * passthroughfs: shows a directory tree at another place.
 */
#include "creds.h"
#include "fd.h"
#include "ops.h"
#include "sandbox.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/resource.h>

static const char *const arguments[] = {"SOURCE", NULL};

struct options {
	char *cache;
	char *data;
	char *sandbox;
	uint64_t descriptors; /* 0: preset */
	bool one_file_system;
};

static const struct llfuse_option options[] = {
	{"cache", LLFUSE_OPTION_STRING, offsetof(struct options, cache), "MODE",
	 "auto (until others change the source), always, never"},
	{"data", LLFUSE_OPTION_STRING, offsetof(struct options, data), "PLANE",
	 "who reads and writes files: kernel, daemon, or auto (kernel, if it may)"},
	{"descriptors", LLFUSE_OPTION_UINT, offsetof(struct options, descriptors), "N",
	 "known files that stay open where handles are not to be had"},
	{"one_file_system", LLFUSE_OPTION_FLAG, offsetof(struct options, one_file_system), NULL,
	 "do not show what is mounted in SOURCE"},
	{"--sandbox", LLFUSE_OPTION_STRING, offsetof(struct options, sandbox), "LEVEL",
	 "full, namespace or none (default: full for root, else none)"},
	{.name = NULL},
};

static const struct llfuse_program program = {
	.name = "passthroughfs",
	.summary = "Shows the directory tree SOURCE at MOUNTPOINT.",
	.arguments = arguments,
	.options = options,
};

/* Returns the exit status if the choice makes no sense or cannot be had, else -1. */
static int choose_plane(const char *data)
{
	if (!data || strcmp(data, "auto") == 0) {
		ops_choose_plane(OPS_PLANE_AUTO);
	} else if (strcmp(data, "daemon") == 0) {
		ops_choose_plane(OPS_PLANE_DAEMON);
	} else if (strcmp(data, "kernel") != 0) {
		llfuse_complain(program.name, "data=%s: not kernel, daemon or auto", data);
		return 2;
	} else if (!llfuse_passthrough_is_permitted()) {
		/* Known before the mount, so that the reason is told to who waits for it. */
		llfuse_complain(program.name, "data=kernel: needs CAP_SYS_ADMIN");
		return 1;
	} else {
		ops_choose_plane(OPS_PLANE_KERNEL);
	}
	return -1;
}

static void raise_limit(__rlimit_resource_t resource)
{
	struct rlimit limit;

	if (getrlimit(resource, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(resource, &limit); /* if not, the old one must do */
	}
}

/* Each open file costs a descriptor, and each known one where there are no file handles.  How long a file may be is said by the
 * limit of who writes to it, and not of who started us. */
static void raise_limits(void)
{
	raise_limit(RLIMIT_NOFILE);
	raise_limit(RLIMIT_FSIZE);
}

/* Open files need the other half.  Returns false, with the reason told. */
static bool check_descriptors(uint64_t descriptors)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || descriptors <= limit.rlim_max / 2)
		return true;
	llfuse_complain(program.name, "descriptors=%llu: at most half of the limit on open files, %llu",
			(unsigned long long)descriptors, (unsigned long long)limit.rlim_max / 2);
	return false;
}

/* What the options come to. */
struct settings {
	struct source_options source;
	enum sandbox_level sandbox;
};

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

/* Of the whole process, so that there is one. */
static struct sandbox sandbox;
static struct sandbox_needs sandbox_needs;

static int complain_of_sandbox(int err, const char *step)
{
	llfuse_complain(program.name, "--sandbox=%s: %s: %s", sandbox_level_name(sandbox.level), step, strerror(-err));
	return err;
}

/* There is one thread, and no request yet.  What leads out of the source goes. */
static int mounted(void *userdata)
{
	struct source *source = userdata;
	const char *step;
	int err;

	source_mounted(source);
	llfuse_log(LLFUSE_LOG_DEBUG, program.name, "sandbox: %s", sandbox_level_name(sandbox.level));
	if (sandbox.level == SANDBOX_NONE)
		return 0;
	source_take_covered(source, take_fd(&sandbox.covered_fd));
	err = sandbox_enter(&sandbox, &sandbox_needs, &step);
	if (err)
		return complain_of_sandbox(err, step);
	llfuse_use_proc(sandbox.proc_fd);
	return 0;
}

/* The source, by way of the copy that becomes the root directory if there is a sandbox. */
static int open_source(const char *path, const struct settings *settings, struct source **source)
{
	struct fd_name copy;
	const char *step;
	int err;

	err = sandbox_prepare(&sandbox, settings->sandbox, path, settings->source.one_file_system,
			      settings->source.mountpoint, &step);
	if (err && step)
		return complain_of_sandbox(err, step);
	copy = fd_name(sandbox.root_fd);
	if (!err)
		err = source_open(sandbox.root_fd < 0 ? path : copy.path, &settings->source, source);
	if (err)
		llfuse_complain(program.name, "%s: %s", path, strerror(-err));
	return err;
}

static int run(struct llfuse_command *command, const struct settings *settings)
{
	struct llfuse_config *config = &command->config;
	const char *path = command->arguments[0];
	struct source *source;
	int status = 1;

	raise_limits();
	creds_init();
	if (open_source(path, settings, &source) == 0) {
		config->fsname = path;
		config->mounted = mounted;
		config->unmount_from_outside = sandbox.level != SANDBOX_NONE;
		sandbox_needs.sys_admin = llfuse_passthrough_is_permitted();
		sandbox_needs.io_uring = config->transport != LLFUSE_TRANSPORT_DEV_FUSE;
		status = llfuse_run(&passthroughfs_ops, config, source);
		source_close(source);
	}
	sandbox_done(&sandbox);
	return status;
}

/* Returns the exit status. */
static int settle_and_run(struct llfuse_command *command, const struct options *chosen)
{
	struct settings settings = {
		.source = {.mountpoint = command->config.mountpoint,
			   .cache = SOURCE_CACHE_AUTO,
			   .one_file_system = chosen->one_file_system,
			   .descriptors = (size_t)chosen->descriptors},
		.sandbox = SANDBOX_AUTO,
	};
	int status;

	if (!check_descriptors(chosen->descriptors))
		return 2;

	if (chosen->cache && !parse_cache(chosen->cache, &settings.source.cache)) {
		llfuse_complain(program.name, "cache=%s: not auto, always or never", chosen->cache);
		return 2;
	}
	if (chosen->sandbox && !sandbox_level_parse(chosen->sandbox, &settings.sandbox)) {
		llfuse_complain(program.name, "--sandbox=%s: not auto, full, namespace or none", chosen->sandbox);
		return 2;
	}
	status = choose_plane(chosen->data);
	return status < 0 ? run(command, &settings) : status;
}

int main(int argc, char **argv)
{
	struct llfuse_command command = {0};
	struct options chosen = {0};
	int status;

	status = llfuse_command_parse(&command, &program, argc, argv, &chosen);
	if (status < 0)
		status = settle_and_run(&command, &chosen);
	llfuse_command_free(&command);
	return status;
}
