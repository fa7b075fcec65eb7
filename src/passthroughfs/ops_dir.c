/* SPDX-License-Identifier: MIT */
/*
 * Handlers that list directories.
 */
#include "ops.h"

#include "attr.h"
#include "dir_stream.h"
#include "fd.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static struct dir_stream *stream_of(const struct llfuse_file *file)
{
	return (struct dir_stream *)(uintptr_t)file->fh;
}

/* Whether the kernel hears of what changes in the directory. */
static bool may_be_kept(const struct source *source, uint64_t ino)
{
	scoped_hold hold = HOLD_NONE;

	return inode_hold(source_inodes(source), ino, &hold) == 0 && ops_timeout_s(source, &hold) >= OPS_WATCHED_S;
}

int op_opendir(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file)
{
	struct source *source = llfuse_userdata(req);
	struct dir_stream *stream;
	scoped_fd fd = -1;
	int err;

	fd = inode_open(source_inodes(source), ino, O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		return fd;
	err = dir_stream_new(&fd, &stream);
	if (err)
		return err;
	err = inode_opened(source_inodes(source), ino, NULL);
	if (err) {
		dir_stream_free(stream);
		return err;
	}
	file->fh = (uintptr_t)stream;
	file->cache_readdir = file->keep_cache = may_be_kept(source, ino);
	return 0;
}

int op_releasedir(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file)
{
	struct source *source = llfuse_userdata(req);

	inode_closed(source_inodes(source), ino);
	dir_stream_free(stream_of(file));
	return 0;
}

int op_fsyncdir(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, bool datasync)
{
	int fd = dir_stream_fd(stream_of(file));

	(void)req;
	(void)ino;
	return (datasync ? fdatasync(fd) : fsync(fd)) < 0 ? -errno : 0;
}

/* One listing under way. */
struct listing {
	struct source *source;
	uint64_t ino; /* of the directory */
	struct hold hold; /* of the directory */
	struct stat self; /* the directory */
	struct llfuse_dir *dir;
};

static bool is_dot(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* What is above the root is nobody's business: ".." there is the root, as in any mount. */
static uint64_t shown_ino(const struct listing *listing, const struct dir_item *item)
{
	if (listing->ino == INODE_ROOT && strcmp(item->name, "..") == 0)
		return listing->self.st_ino;
	return source_shown_ino(listing->source, listing->self.st_dev, item->ino);
}

/* Fills @entry with as much as is wanted and can be had, and counts a lookup if its ino is not 0. */
static void fill_entry(const struct listing *listing, const struct dir_item *item, struct llfuse_entry *entry)
{
	bool wants_attr = llfuse_dir_wants_attr(listing->dir) && !is_dot(item->name);

	if (wants_attr && ops_child(listing->source, &listing->hold, item->name, entry) == 0)
		return;
	*entry = (struct llfuse_entry){0};
	entry->attr.st_ino = shown_ino(listing, item);
	entry->attr.st_mode = item->type;
}

/* Returns whether there is room for more, or -errno. */
static int add(const struct listing *listing, const struct dir_item *item)
{
	struct llfuse_entry entry;
	int added;

	fill_entry(listing, item, &entry);
	added = llfuse_dir_add(listing->dir, item->name, &entry, item->next_off);
	if (entry.ino && added != LLFUSE_DIR_COUNTED)
		inode_forget(source_inodes(listing->source), entry.ino, 1);
	if (added < 0)
		return added;
	return added != LLFUSE_DIR_FULL;
}

static int add_all_locked(const struct listing *listing, struct dir_stream *stream)
{
	struct dir_item item;
	int more;

	for (;;) {
		more = dir_stream_peek(stream, &item);
		if (more > 0)
			more = add(listing, &item);
		if (more <= 0)
			return more;
		dir_stream_skip(stream, &item);
	}
}

int op_readdir(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, off_t off, struct llfuse_dir *dir)
{
	struct listing listing = {.source = llfuse_userdata(req), .ino = ino, .hold = HOLD_NONE, .dir = dir};
	struct dir_stream *stream;
	int err;

	err = inode_hold(source_inodes(listing.source), ino, &listing.hold);
	if (!err)
		err = attr_get(listing.hold.fd, &listing.self);
	if (err) {
		hold_drop(&listing.hold);
		return err;
	}
	stream = stream_of(file);
	dir_stream_lock(stream);
	err = dir_stream_seek(stream, off);
	if (!err)
		err = add_all_locked(&listing, stream);
	dir_stream_unlock(stream);
	hold_drop(&listing.hold);
	return err;
}
