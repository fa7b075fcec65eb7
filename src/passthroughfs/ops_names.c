/* SPDX-License-Identifier: MIT */
/*
 * Handlers for names: finding, removing, renaming and linking.
 */
#include "ops.h"

#include "beneath.h"
#include "fd.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int entry_of(struct source *source, int fd, struct llfuse_entry *entry)
{
	struct ops_look look = ops_look(source, NULL);
	struct statx stx;

	if (statx(fd, "", AT_EMPTY_PATH, INODE_STATX_MASK, &stx) < 0)
		return -errno;
	return ops_entry(&look, NULL, fd, &stx, entry);
}

/* The kernel has a handle of @ino, and nothing else. */
static int lookup_itself(struct source *source, uint64_t ino, struct llfuse_entry *entry)
{
	scoped_hold hold = HOLD_NONE;
	scoped_fd fd = -1;
	int err;

	err = inode_hold(source_inodes(source), ino, &hold);
	if (!err)
		return entry_of(source, hold.fd, entry);
	fd = inode_open_forgotten(source_inodes(source), ino);
	return fd < 0 ? fd : entry_of(source, fd, entry);
}

static int lookup_parent(struct source *source, const struct hold *dir, uint64_t ino, struct llfuse_entry *entry)
{
	scoped_fd fd = -1;

	if (ino == INODE_ROOT)
		return -ENOENT; /* what is above is nobody's business */
	fd = beneath_open_parent(dir->fd);
	return fd < 0 ? fd : entry_of(source, fd, entry);
}

int op_lookup(struct llfuse_request *req, uint64_t parent, const char *name, struct llfuse_entry *entry)
{
	struct source *source = llfuse_userdata(req);
	scoped_hold dir = HOLD_NONE;
	int err;

	if (strcmp(name, ".") == 0)
		return lookup_itself(source, parent, entry);
	err = inode_hold(source_inodes(source), parent, &dir);
	if (err)
		return err;
	if (strcmp(name, "..") == 0)
		return lookup_parent(source, &dir, parent, entry);
	err = ops_child(source, &dir, name, entry);
	if (err != -ENOENT)
		return err;
	ops_no_entry(source, &dir, entry);
	return 0;
}

void op_forget(struct llfuse_request *req, size_t n, const struct llfuse_forget *forgets)
{
	struct source *source = llfuse_userdata(req);

	for (size_t i = 0; i < n; i++)
		inode_forget(source_inodes(source), forgets[i].ino, forgets[i].nlookup);
}

int op_readlink(struct llfuse_request *req, uint64_t ino, struct llfuse_data *data)
{
	struct source *source = llfuse_userdata(req);
	scoped_hold link = HOLD_NONE;
	void *room = llfuse_data_room(data);
	ssize_t n;
	int err;

	if (!room)
		return -ENOMEM;
	err = inode_hold(source_inodes(source), ino, &link);
	if (err)
		return err;
	n = readlinkat(link.fd, "", room, llfuse_data_size(data));
	if (n < 0)
		return -errno;
	llfuse_data_filled(data, (size_t)n);
	return 0;
}

/* A name that is about to go, and the file that may go with it. */
struct victim {
	int fd; /* -1: there is none */
	struct statx stx;
};

static void victim_drop(const struct victim *victim)
{
	fd_close(&victim->fd);
}

#define scoped_victim __attribute__((cleanup(victim_drop))) struct victim

static void victim_find(struct source *source, int dir_fd, const char *name, struct victim *victim)
{
	bool over_mount;

	/* Whatever is wrong, the removal itself will say so. */
	if (source_child(source, dir_fd, name, &victim->fd, &victim->stx, &over_mount) < 0)
		victim->fd = -1;
}

/* The name is gone.  Who uses the file still finds it, also if this was its last name. */
static void victim_unnamed(struct source *source, const struct hold *dir, struct victim *victim)
{
	bool is_last = S_ISDIR(victim->stx.stx_mode) || victim->stx.stx_nlink == 1;

	if (victim->fd >= 0)
		inode_unnamed(source_inodes(source), dir, &victim->fd, &victim->stx, is_last);
}

static int remove_name(struct source *source, uint64_t parent, const char *name, bool is_dir)
{
	scoped_victim victim = {.fd = -1};
	scoped_hold dir = HOLD_NONE;
	int err;

	err = inode_hold(source_inodes(source), parent, &dir);
	if (err)
		return err;
	victim_find(source, dir.fd, name, &victim);
	err = beneath_unlink_at(dir.fd, name, is_dir);
	if (err)
		return err;
	victim_unnamed(source, &dir, &victim);
	return 0;
}

int op_unlink(struct llfuse_request *req, uint64_t parent, const char *name)
{
	return remove_name(llfuse_userdata(req), parent, name, false);
}

int op_rmdir(struct llfuse_request *req, uint64_t parent, const char *name)
{
	return remove_name(llfuse_userdata(req), parent, name, true);
}

/* What is now at @to is found there from here on, where it has no handle. */
static void follow_move(struct source *source, struct inode_place from, struct inode_place to)
{
	scoped_victim moved = {.fd = -1};

	if (!inode_table_needs_names(source_inodes(source)))
		return;
	victim_find(source, to.dir->fd, to.name, &moved);
	if (moved.fd >= 0)
		inode_moved(source_inodes(source), from, to, moved.fd, &moved.stx);
}

/* A name to change. */
struct renaming {
	int dir_fd;
	const char *name;
	int new_dir_fd;
	const char *new_name;
	unsigned flags;
};

static int rename_name(const void *arg)
{
	const struct renaming *what = arg;

	return beneath_rename_at(what->dir_fd, what->name, what->new_dir_fd, what->new_name, what->flags);
}

/* What is left in the place of the name belongs to the caller. */
static int carry_out(const struct llfuse_request *req, const struct renaming *what)
{
	return what->flags & RENAME_WHITEOUT ? ops_as_caller(req, false, rename_name, what) : rename_name(what);
}

/* Mostly the new name is free, so that no file loses it.  Returns -EEXIST if it is not, -EINVAL where the source does not
 * look, or what renameat2(2) says. */
static int rename_to_free_name(const struct renaming *what)
{
	return beneath_rename_at(what->dir_fd, what->name, what->new_dir_fd, what->new_name, RENAME_NOREPLACE);
}

static int rename_as_asked(const struct llfuse_request *req, const struct renaming *what, const struct hold *new_dir)
{
	struct source *source = llfuse_userdata(req);
	scoped_victim victim = {.fd = -1};
	int err;

	if (what->flags & (RENAME_EXCHANGE | RENAME_NOREPLACE))
		return carry_out(req, what);
	if (what->flags == 0) {
		err = rename_to_free_name(what);
		if (err != -EEXIST && err != -EINVAL)
			return err;
	}
	victim_find(source, what->new_dir_fd, what->new_name, &victim);
	err = carry_out(req, what);
	if (!err)
		victim_unnamed(source, new_dir, &victim);
	return err;
}

int op_rename(struct llfuse_request *req, uint64_t parent, const char *name, uint64_t new_parent, const char *new_name,
	      unsigned flags)
{
	struct renaming what = {.name = name, .new_name = new_name, .flags = flags};
	struct source *source = llfuse_userdata(req);
	scoped_hold dir = HOLD_NONE;
	scoped_hold other_dir = HOLD_NONE;
	const struct hold *new_dir = parent == new_parent ? &dir : &other_dir;
	const struct inode_place old = {&dir, name};
	const struct inode_place new = {new_dir, new_name};
	int err;

	err = inode_hold(source_inodes(source), parent, &dir);
	if (!err && new_dir == &other_dir)
		err = inode_hold(source_inodes(source), new_parent, &other_dir);
	if (err)
		return err;
	what.dir_fd = dir.fd;
	what.new_dir_fd = new_dir->fd;
	err = rename_as_asked(req, &what, new_dir);
	if (err)
		return err;
	follow_move(source, old, new);
	if (flags & RENAME_EXCHANGE)
		follow_move(source, new, old);
	return 0;
}

int op_link(struct llfuse_request *req, uint64_t ino, uint64_t new_parent, const char *new_name,
	    struct llfuse_entry *entry)
{
	struct source *source = llfuse_userdata(req);
	scoped_hold file = HOLD_NONE;
	scoped_hold dir = HOLD_NONE;
	struct ops_look look = ops_look(source, &dir);
	struct statx stx;
	int err;

	err = inode_hold(source_inodes(source), ino, &file);
	if (!err)
		err = inode_hold(source_inodes(source), new_parent, &dir);
	if (!err)
		err = beneath_link_at(file.fd, dir.fd, new_name);
	if (err)
		return err;
	/* By the file itself: the kernel takes no other inode for an answer. */
	if (statx(file.fd, "", AT_EMPTY_PATH, INODE_STATX_MASK, &stx) < 0)
		return -errno;
	err = ops_entry(&look, new_name, file.fd, &stx, entry);
	/* The kernel knows the inode, and takes these for new though others may have changed the file since. */
	if (source_cache(source) == SOURCE_CACHE_AUTO)
		entry->attr_timeout_s = OPS_UNSURE_S;
	return err;
}
