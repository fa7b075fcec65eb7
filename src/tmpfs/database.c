/* SPDX-License-Identifier: MIT */
/* The database of a mount.  See database.h. */
#include "database.h"

#include "path.h"
#include "saver.h"
#include "tree_restore.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define PROGRAM "tmpfs"

/* ------------------------------------------------------------------------ */
/* Options                                                                   */

static bool refuse(const char *option, const char *path, const char *why)
{
	llfuse_complain(PROGRAM, "%s=%s: %s", option, path, why);
	return false;
}

static bool is_below(const char *path, const char *dir)
{
	const size_t n = strlen(dir);

	return strncmp(path, dir, n) == 0 && (path[n] == '/' || (n == 1 && path[1]));
}

/* Nobody would answer what we ask of our own mount before the tree is there. */
static bool lies_in_mount(const char *path, const char *mountpoint)
{
	char *dir = mountpoint ? realpath(mountpoint, NULL) : NULL;
	bool lies = dir && is_below(path, dir);

	free(dir);
	return lies;
}

static bool check_file(const char *option, const char *path, bool may_be_missing)
{
	struct stat st;

	if (stat(path, &st) < 0) {
		if (errno == ENOENT && may_be_missing)
			return true;
		return refuse(option, path, strerror(errno));
	}
	return S_ISREG(st.st_mode) || refuse(option, path, "not a regular file");
}

bool database_settle(struct database_options *options, const char *db, const char *load, const char *mountpoint)
{
	const char *option = db ? "db" : "load", *path = db ? db : load;

	if (db && load)
		return refuse("load", load, "db is given as well");
	if (!path)
		return true;
	if (!path[0])
		return refuse(option, path, "not a file");
	options->is_kept = db != NULL;
	options->path = path_absolute(path);
	if (!options->path)
		return refuse(option, path, strerror(errno));
	if (lies_in_mount(options->path, mountpoint))
		return refuse(option, path, "lies below the mount point");
	return check_file(option, options->path, db != NULL);
}

void database_options_free(struct database_options *options)
{
	free(options->path);
	options->path = NULL;
}

/* ------------------------------------------------------------------------ */
/* Life                                                                      */

static void tell(const char *text, bool is_failure)
{
	llfuse_log(is_failure ? LLFUSE_LOG_ERROR : LLFUSE_LOG_INFO, PROGRAM, "database: %s", text);
}

static int restore(struct tmpfs *fs, struct store *store, struct store_error *error)
{
	struct tree_restored restored = {0};
	int err;

	if (!store_has_tree(store))
		return 0;
	err = tree_restore(fs->tree, store, &restored, error);
	if (!err && restored.orphans > 0)
		llfuse_log(LLFUSE_LOG_WARNING, PROGRAM, "database: left out what no name leads to: %" PRIu64,
			   restored.orphans);
	return err;
}

/* What is read is a snapshot until the end, and what is committed after it stays in the log. */
static void warn_of_snapshot(const struct database_options *options, const struct store *store)
{
	if (!options->is_kept && store_is_kept(store))
		llfuse_log(LLFUSE_LOG_WARNING, PROGRAM,
			   "database: another mount keeps %s: its log grows by all that is committed until this mount "
			   "ends",
			   options->path);
}

/* Before a number of an inode is given out: after a crash none is given out twice.  What makes commits impossible shows
 * now. */
static int commit_first(struct tmpfs *fs, struct store_error *error)
{
	int err;

	if (!saver_keeps(fs->saver))
		return 0;
	tree_note(fs->tree, fs->tree->root, JOURNAL_NODE | JOURNAL_XATTRS);
	err = saver_sync(fs->saver);
	if (!err)
		return 0;
	snprintf(error->text, sizeof(error->text), "%s (%s)", strerror(-err), store_reason());
	saver_free(fs->saver); /* and the store */
	fs->saver = NULL;
	return err;
}

static int make_saver(struct tmpfs *fs, const struct database_options *options, struct store *store)
{
	return saver_new(fs->tree, options->is_kept ? store : NULL, store,
			 &(struct saver_options){.interval_s = options->interval_s, .tell = tell}, &fs->saver);
}

static int open_file(struct tmpfs *fs, const struct database_options *options)
{
	const char *option = options->is_kept ? "db" : "load";
	struct store_error error = {0};
	struct store *store;
	int err;

	err = store_open(options->path, options->is_kept ? STORE_KEEP : STORE_LOAD, &store, &error);
	if (!err) {
		err = restore(fs, store, &error);
		if (!err)
			err = make_saver(fs, options, store);
		if (err)
			(void)store_close(store); /* of which nothing was changed */
		else
			err = commit_first(fs, &error);
		if (!err)
			warn_of_snapshot(options, store);
	}
	if (err)
		llfuse_complain(PROGRAM, "%s=%s: %s", option, options->path,
				error.text[0] ? error.text : strerror(-err));
	return err;
}

int database_open(struct tmpfs *fs, const struct database_options *options)
{
	int err;

	if (options->path)
		return open_file(fs, options);
	err = make_saver(fs, options, NULL);
	if (err)
		llfuse_complain(PROGRAM, "%s", strerror(-err));
	return err;
}

int database_close(struct tmpfs *fs)
{
	int err;

	if (!fs->saver)
		return 0;
	err = saver_stop(fs->saver);
	if (err)
		llfuse_log(LLFUSE_LOG_ERROR, PROGRAM, "database: what changed since the last commit is lost: %s",
			   strerror(-err));
	saver_free(fs->saver);
	fs->saver = NULL;
	return err;
}
