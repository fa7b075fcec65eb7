/* SPDX-License-Identifier: MIT */
/* The tmpfs program: command line to configuration to llfuse_run(). */
#include "limits.h"
#include "ops.h"

#include <stddef.h>
#include <string.h>
#include <unistd.h>

#define PROGRAM "tmpfs"

struct options {
	mode_t mode;
	uint64_t uid;
	uint64_t gid;
	char *size;
	char *nr_blocks;
	char *nr_inodes;
	bool no_writeback;
};

static const struct llfuse_option option_table[] = {
	{"size", LLFUSE_OPTION_STRING, offsetof(struct options, size), "SIZE",
	 "bytes for everything: 64m, 1g, 25% of the memory (50%); 0: no limit"},
	{"nr_blocks", LLFUSE_OPTION_STRING, offsetof(struct options, nr_blocks), "N", "the same, in pages of 4 KiB"},
	{"nr_inodes", LLFUSE_OPTION_STRING, offsetof(struct options, nr_inodes), "N",
	 "files of all types (one for each page of half the memory); 0: no limit"},
	{"no_writeback", LLFUSE_OPTION_FLAG, offsetof(struct options, no_writeback), NULL,
	 "each write comes here at once: slower, and exact"},
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

/* What the options come to. */
struct settings {
	mode_t mode;
	struct owner owner;
	struct tree_limits limits;
	bool writeback;
};

static bool refuse(const char *what, const char *value, const char *why)
{
	llfuse_complain(PROGRAM, "%s=%s: %s", what, value, why);
	return false;
}

/* The last number means "leave it" to chown(2), and is nobody's. */
static bool is_id(const char *what, uint64_t id)
{
	if (id < UINT32_MAX)
		return true;
	llfuse_complain(PROGRAM, "%s=%llu: not a valid number", what, (unsigned long long)id);
	return false;
}

static bool settle_size(const struct options *options, uint64_t *size)
{
	uint64_t blocks;

	*size = limits_default_size();
	if (options->size && options->nr_blocks)
		return refuse("nr_blocks", options->nr_blocks, "size is given as well");
	if (options->size && !limits_parse_size(options->size, limits_ram(), size))
		return refuse("size", options->size, "not a size (such as 64m, 1g or 50%)");
	if (!options->nr_blocks)
		return true;
	if (!limits_parse_count(options->nr_blocks, &blocks) ||
	    (blocks != LIMITS_NONE && blocks > INT64_MAX / DATA_PAGE_SIZE))
		return refuse("nr_blocks", options->nr_blocks, "not a number (such as 1000 or 64k)");
	*size = blocks == LIMITS_NONE ? LIMITS_NONE : blocks * DATA_PAGE_SIZE;
	return true;
}

static bool settle_inodes(const struct options *options, uint64_t *inodes)
{
	*inodes = limits_default_inodes();
	if (options->nr_inodes && !limits_parse_count(options->nr_inodes, inodes))
		return refuse("nr_inodes", options->nr_inodes, "not a number (such as 1000 or 64k)");
	return true;
}

/* Returns false, with the reason told, if the options make no sense. */
static bool settle(const struct options *options, struct settings *settings)
{
	if (!is_id("uid", options->uid) || !is_id("gid", options->gid))
		return false;
	settings->mode = options->mode;
	settings->writeback = !options->no_writeback;
	settings->owner = (struct owner){.uid = (uid_t)options->uid, .gid = (gid_t)options->gid};
	return settle_size(options, &settings->limits.size) && settle_inodes(options, &settings->limits.inodes);
}

/* Returns the exit status. */
static int mount_and_run(struct llfuse_config *config, const struct settings *settings)
{
	struct tmpfs fs = {.writeback = settings->writeback};
	int err, status;

	if (!config->fsname)
		config->fsname = PROGRAM;
	err = tree_new(settings->mode, settings->owner, &settings->limits, &fs.tree);
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
	struct settings settings;
	int status;

	status = llfuse_command_parse(&command, &program, argc, argv, &options);
	if (status < 0)
		status = settle(&options, &settings) ? mount_and_run(&command.config, &settings) : 2;
	llfuse_command_free(&command);
	return status;
}
