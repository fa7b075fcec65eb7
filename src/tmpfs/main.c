/* SPDX-License-Identifier: MIT */
/* The tmpfs program: command line to configuration to llfuse_run(). */
#include "caps.h"
#include "database.h"
#include "limits.h"
#include "ops.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define PROGRAM "tmpfs"

struct options {
	mode_t mode;
	uint64_t uid;
	uint64_t gid;
	char *size;
	char *nr_blocks;
	char *nr_inodes;
	char *data;
	char *huge;
	char *mempolicy;
	char *db;
	char *load;
	uint64_t commit_s;
	bool noswap;
	bool no_writeback;
};

static const struct llfuse_option option_table[] = {
	{"size", LLFUSE_OPTION_STRING, offsetof(struct options, size), "SIZE",
	 "bytes for everything: 64m, 1g, 25% of the memory (50%); 0: no limit"},
	{"nr_blocks", LLFUSE_OPTION_STRING, offsetof(struct options, nr_blocks), "N", "the same, in pages of 4 KiB"},
	{"nr_inodes", LLFUSE_OPTION_STRING, offsetof(struct options, nr_inodes), "N",
	 "files of all types (one for each page of half the memory); 0: no limit"},
	{"data", LLFUSE_OPTION_STRING, offsetof(struct options, data), "PLANE",
	 "where bytes of files lie: kernel, heap, or auto (kernel, if it may be)"},
	{"huge", LLFUSE_OPTION_STRING, offsetof(struct options, huge), "POLICY",
	 "huge pages, with data=kernel: never, always, within_size, advise"},
	{"mpol", LLFUSE_OPTION_STRING, offsetof(struct options, mempolicy), "POLICY",
	 "NUMA policy, with data=kernel, as in tmpfs(5)"},
	{"noswap", LLFUSE_OPTION_FLAG, offsetof(struct options, noswap), NULL,
	 "bytes of files are never swapped out, with data=kernel"},
	{"no_writeback", LLFUSE_OPTION_FLAG, offsetof(struct options, no_writeback), NULL,
	 "with data=heap, each write comes here at once: slower, and exact"},
	{"db", LLFUSE_OPTION_STRING, offsetof(struct options, db), "FILE",
	 "keep the tree in this SQLite database; made if it is not there"},
	{"load", LLFUSE_OPTION_STRING, offsetof(struct options, load), "FILE",
	 "start from this database, and leave it alone"},
	{"commit", LLFUSE_OPTION_UINT, offsetof(struct options, commit_s), "SECONDS",
	 "with db, how long changes may wait (5); 0: until somebody asks"},
	{"mode", LLFUSE_OPTION_MODE, offsetof(struct options, mode), "OCT", "permissions of the root (0755)"},
	{"uid", LLFUSE_OPTION_UINT, offsetof(struct options, uid), "N", "owner of the root (who mounts)"},
	{"gid", LLFUSE_OPTION_UINT, offsetof(struct options, gid), "N", "group of the root (who mounts)"},
	{.name = NULL},
};

static const struct llfuse_program program = {
	.name = PROGRAM,
	.summary = "Keeps files in memory until it is unmounted, or in a database.",
	.options = option_table,
};

/* What the options come to. */
struct settings {
	mode_t mode;
	struct owner owner;
	struct tree_limits limits;
	enum tmpfs_plane plane;
	struct data_kernel_options kernel;
	struct database_options database;
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

static const char *kernel_only_option(const struct options *options)
{
	if (options->huge)
		return "huge";
	if (options->mempolicy)
		return "mpol";
	return options->noswap ? "noswap" : NULL;
}

static bool settle_plane(const struct options *options, struct settings *settings)
{
	const char *data = options->data ? options->data : "auto", *option = kernel_only_option(options);

	settings->kernel = (struct data_kernel_options){
		.huge = options->huge, .mempolicy = options->mempolicy, .noswap = options->noswap};
	settings->writeback = !options->no_writeback;
	if (strcmp(data, "heap") == 0)
		settings->plane = TMPFS_PLANE_HEAP;
	else if (strcmp(data, "kernel") == 0 || (option && strcmp(data, "auto") == 0))
		settings->plane = TMPFS_PLANE_KERNEL;
	else if (strcmp(data, "auto") == 0)
		settings->plane = TMPFS_PLANE_AUTO;
	else
		return refuse("data", data, "not kernel, heap or auto");
	if (settings->plane == TMPFS_PLANE_HEAP && option) {
		llfuse_complain(PROGRAM, "%s: needs data=kernel", option);
		return false;
	}
	return true;
}

#define COMMIT_MAX_S 86400

static bool settle_database(const struct options *options, const char *mountpoint, struct database_options *database)
{
	if (options->commit_s > COMMIT_MAX_S) {
		llfuse_complain(PROGRAM, "commit=%llu: more than a day", (unsigned long long)options->commit_s);
		return false;
	}
	database->interval_s = (unsigned)options->commit_s;
	return database_settle(database, options->db, options->load, mountpoint);
}

/* Returns false, with the reason told, if the options make no sense. */
static bool settle(const struct options *options, const char *mountpoint, struct settings *settings)
{
	if (!is_id("uid", options->uid) || !is_id("gid", options->gid))
		return false;
	settings->mode = options->mode;
	settings->owner = (struct owner){.uid = (uid_t)options->uid, .gid = (gid_t)options->gid};
	return settle_plane(options, settings) && settle_size(options, &settings->limits.size) &&
	       settle_inodes(options, &settings->limits.inodes) &&
	       settle_database(options, mountpoint, &settings->database);
}

/* What can be known before the mount, so that the reason is told to who waits for it. */
static bool kernel_plane_can_be(const struct settings *settings)
{
	int err;

	if (settings->plane != TMPFS_PLANE_KERNEL)
		return true;
	err = llfuse_passthrough_is_permitted() ? data_kernel_probe(&settings->kernel) : -EPERM;
	if (err)
		llfuse_complain(PROGRAM, "data=kernel: %s", err == -EPERM ? "needs CAP_SYS_ADMIN" : strerror(-err));
	return err == 0;
}

/* A descriptor for each file that was used lately makes its next open faster. */
static void raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit); /* else there are fewer */
}

/* The kernel writes to backing files with our credentials, and is to drop their setuid bit: inherited by all threads,
 * this need not be done for each file.  We never use it. */
static void drop_fsetid(void)
{
	struct caps caps;

	if (caps_get(&caps))
		return;
	caps_put(&caps, CAP_FSETID, false);
	(void)caps_set(&caps); /* what one has one may give up */
}

/* In the process that keeps the mount: a database does not outlast a fork. */
static int mounted(void *userdata)
{
	struct tmpfs *fs = userdata;

	return database_open(fs, fs->database);
}

/* Returns the exit status. */
static int mount_and_run(struct llfuse_config *config, const struct settings *settings)
{
	struct tmpfs fs = {
		.plane = settings->plane,
		.kernel_options = settings->kernel,
		.writeback = settings->writeback,
		.database = &settings->database,
	};
	int err, status;

	if (!config->fsname)
		config->fsname = PROGRAM;
	if (!kernel_plane_can_be(settings))
		return 1;
	raise_file_limit();
	drop_fsetid();
	err = tree_new(settings->mode, settings->owner, &settings->limits, &fs.tree);
	if (err) {
		llfuse_complain(PROGRAM, "%s", strerror(-err));
		return 1;
	}
	config->mounted = mounted;
	config->syncs_often = settings->database.is_kept && settings->database.interval_s > 0;
	status = llfuse_run(&tmpfs_ops, config, &fs);
	(void)database_close(&fs); /* nothing if destroy was called, */
	tree_free(fs.tree); /* and NULL then */
	return fs.store_err ? 1 : status;
}

int main(int argc, char **argv)
{
	struct options options = {.mode = 0755, .uid = getuid(), .gid = getgid(), .commit_s = 5};
	struct llfuse_command command;
	struct settings settings = {0};
	int status;

	status = llfuse_command_parse(&command, &program, argc, argv, &options);
	if (status < 0)
		status = settle(&options, command.config.mountpoint, &settings)
				 ? mount_and_run(&command.config, &settings)
				 : 2;
	database_options_free(&settings.database);
	llfuse_command_free(&command);
	return status;
}
