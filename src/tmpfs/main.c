/* SPDX-License-Identifier: MIT */
/* The tmpfs program: command line to configuration to llfuse_run(). */
#include "ops.h"

#include <stddef.h>
#include <string.h>
#include <unistd.h>

#define PROGRAM "tmpfs"
/* Where the machine does not say how much memory it has. */
#define SIZE_FALLBACK ((uint64_t)1 << 30)

struct options {
	mode_t mode;
	uint64_t uid;
	uint64_t gid;
};

static const struct llfuse_option option_table[] = {
	{"mode", LLFUSE_OPTION_MODE, offsetof(struct options, mode), "OCT", "permissions of the root (0755)"},
	{"uid", LLFUSE_OPTION_UINT, offsetof(struct options, uid), "N", "owner of the root (who mounts)"},
	{"gid", LLFUSE_OPTION_UINT, offsetof(struct options, gid), "N", "group of the root (who mounts)"},
	{.name = NULL},
};

static const struct llfuse_program program = {
	.name = PROGRAM,
	.summary = "Keeps files in memory until it is unmounted.",
	.options = option_table,
};

/* The last number means "leave it" to chown(2), and is nobody's. */
static bool is_id(const char *what, uint64_t id)
{
	if (id < UINT32_MAX)
		return true;
	llfuse_complain(PROGRAM, "%s=%llu: not a valid number", what, (unsigned long long)id);
	return false;
}

static bool options_are_valid(const struct options *options)
{
	return is_id("uid", options->uid) && is_id("gid", options->gid);
}

/* Half of the machine's memory, as the kernel's tmpfs. */
static uint64_t default_size(void)
{
	long pages = sysconf(_SC_PHYS_PAGES), page_size = sysconf(_SC_PAGESIZE);

	return pages > 0 && page_size > 0 ? (uint64_t)pages * (uint64_t)page_size / 2 : SIZE_FALLBACK;
}

/* Returns the exit status. */
static int mount_and_run(struct llfuse_config *config, const struct options *options)
{
	const struct owner owner = {.uid = (uid_t)options->uid, .gid = (gid_t)options->gid};
	struct tmpfs fs = {0};
	int err, status;

	if (!config->fsname)
		config->fsname = PROGRAM;
	err = tree_new(options->mode, owner, default_size(), &fs.tree);
	if (err) {
		llfuse_complain(PROGRAM, "%s", strerror(-err));
		return 1;
	}
	status = llfuse_run(&tmpfs_ops, config, &fs);
	tree_free(fs.tree); /* NULL if destroy was called */
	return status;
}

int main(int argc, char **argv)
{
	struct options options = {.mode = 0755, .uid = getuid(), .gid = getgid()};
	struct llfuse_command command;
	int status;

	status = llfuse_command_parse(&command, &program, argc, argv, &options);
	if (status < 0)
		status = options_are_valid(&options) ? mount_and_run(&command.config, &options) : 2;
	llfuse_command_free(&command);
	return status;
}
