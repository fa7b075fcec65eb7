/* SPDX-License-Identifier: MIT */
/*
 * The tree that is shown: see source.h.
 *
 * A descriptor of the covered directory is taken before the mount.  Afterwards our
 * mount is recognised by its device number, which the kernel tells without asking
 * the file system (AT_STATX_DONT_SYNC).
 */
#include "source.h"

#include "beneath.h"
#include "fd.h"
#include "number_list.h"
#include "watch.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct device {
	uint32_t major;
	uint32_t minor;
};

struct source {
	int root_fd;
	struct inode_table *inodes;
	enum source_cache cache;
	bool one_file_system;
	/* Devices but the root's, in the order in which they were met. */
	pthread_mutex_t devices_lock;
	dev_t *devices; /* guarded by devices_lock */
	size_t n_devices; /* the same */
	dev_t root_device;
	struct watch *watch;
	int watch_err;
	void *attached;
	/* The mount point, absolute, and the directory there before the mount; NULL and
	 * -1 if there was none. */
	char *mountpoint;
	int covered_fd;
	/* Written before the first request that could need it. */
	bool own_device_known;
	struct device own_device;
};

static bool same_device(const struct device *a, const struct statx *stx)
{
	return a->major == stx->stx_dev_major && a->minor == stx->stx_dev_minor;
}

/* What the kernel knows by itself. */
static int statx_unasked(int dir_fd, const char *path, struct statx *stx)
{
	int flags = AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH;

	return statx(dir_fd, path, flags, STATX_INO, stx) < 0 ? -errno : 0;
}

static int open_root(const char *path)
{
	/* Opened to be read, so that an unreadable directory is found out now. */
	scoped_fd readable = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (readable < 0)
		return -errno;
	return fd_reopen(readable, O_PATH);
}

/* What differs between machines, stays the same, and is told to nobody on the network; machine-id(5) says so.  Without
 * it the table makes one up. */
static void set_secret(struct inode_table *inodes)
{
	scoped_fd fd = open("/etc/machine-id", O_RDONLY | O_CLOEXEC);
	char id[32];

	if (fd >= 0 && read(fd, id, sizeof(id)) == sizeof(id))
		inode_table_set_secret(inodes, id, sizeof(id));
}

/* Fails only if the root cannot be looked at. */
static int open_inodes(struct source *source)
{
	struct hold root = HOLD_NONE;
	struct stat st;
	int err;

	if (source->cache == SOURCE_CACHE_AUTO)
		source->watch_err = watch_new(&source->watch);
	err = inode_table_new(source->root_fd, true, source->watch, &source->inodes);
	if (err)
		return err;
	set_secret(source->inodes);
	if (fstat(source->root_fd, &st) < 0)
		return -errno;
	source->root_device = st.st_dev;
	err = inode_hold(source->inodes, INODE_ROOT, &root);
	if (err)
		return err;
	if (!source->watch_err)
		source->watch_err = hold_watch_error(&root);
	hold_drop(&root);
	return 0;
}

int source_open(const char *path, const struct source_options *options, struct source **source)
{
	scoped_fd root_fd = open_root(path);
	struct source *made;
	int err;

	if (root_fd < 0)
		return root_fd;
	made = calloc(1, sizeof(*made));
	if (!made)
		return -ENOMEM;
	made->root_fd = take_fd(&root_fd);
	made->cache = options->cache;
	made->one_file_system = options->one_file_system;
	(void)pthread_mutex_init(&made->devices_lock, NULL); /* without attributes it cannot fail */
	made->covered_fd = open(options->mountpoint, O_PATH | O_DIRECTORY | O_CLOEXEC);
	made->mountpoint = realpath(options->mountpoint, NULL);
	err = open_inodes(made);
	if (err) {
		source_close(made);
		return err;
	}
	if (options->descriptors > 0)
		inode_table_limit(made->inodes, options->descriptors);
	*source = made;
	return 0;
}

void source_close(struct source *source)
{
	if (!source)
		return;
	inode_table_free(source->inodes);
	watch_free(source->watch);
	(void)pthread_mutex_destroy(&source->devices_lock);
	free(source->devices);
	fd_close(&source->covered_fd);
	fd_close(&source->root_fd);
	free(source->mountpoint);
	free(source);
}

void source_mounted(struct source *source)
{
	struct statx covered;
	struct statx now;

	if (!source->mountpoint || source->covered_fd < 0)
		return;
	if (statx_unasked(source->covered_fd, "", &covered) < 0 ||
	    statx_unasked(AT_FDCWD, source->mountpoint, &now) < 0)
		return;
	source->own_device = (struct device){now.stx_dev_major, now.stx_dev_minor};
	/* The same device: we see another mount namespace's view, or were unmounted again. */
	source->own_device_known = !same_device(&source->own_device, &covered);
}

void source_take_covered(struct source *source, int covered_fd)
{
	fd_close(&source->covered_fd);
	source->covered_fd = covered_fd;
}

struct inode_table *source_inodes(const struct source *source)
{
	return source->inodes;
}

enum source_cache source_cache(const struct source *source)
{
	return source->cache;
}

struct watch *source_watch(const struct source *source)
{
	return source->watch;
}

int source_watch_error(const struct source *source)
{
	return source->watch_err;
}

/* Without memory for it, it is the last one's. */
static size_t device_index_locked(struct source *source, dev_t dev)
{
	dev_t *grown;

	for (size_t i = 0; i < source->n_devices; i++) {
		if (source->devices[i] == dev)
			return i;
	}
	grown = reallocarray(source->devices, source->n_devices + 1, sizeof(*grown));
	if (grown) {
		source->devices = grown;
		source->devices[source->n_devices] = dev;
	}
	return grown ? source->n_devices++ : source->n_devices;
}

uint64_t source_shown_ino(struct source *source, dev_t dev, uint64_t ino)
{
	size_t index;

	if (dev == source->root_device)
		return ino;
	pthread_mutex_lock(&source->devices_lock);
	index = device_index_locked(source, dev);
	pthread_mutex_unlock(&source->devices_lock);
	return ino ^ (uint64_t)(index + 1) << 48;
}

/* What @path is below the root, without a slash at its beginning, or NULL. */
static const char *below_root(const struct source *source, const char *path)
{
	char root[PATH_MAX];
	ssize_t n = beneath_path(source->root_fd, root);

	if (n == 1) /* all that we see */
		n = 0;
	if (n < 0 || strncmp(path, root, (size_t)n) != 0 || path[n] != '/')
		return NULL;
	return path + n + 1;
}

/* One step; through a mount only where names are remembered behind it: there nothing has to be asked that may not answer. */
static int step_down(const struct source *source, int dir_fd, const char *name)
{
	scoped_fd fd = beneath_open_at(dir_fd, name, false);
	struct number_list known = {.numbers = NULL};

	if (fd != -EXDEV)
		return fd < 0 ? fd : take_fd(&fd);
	fd = beneath_open_at(dir_fd, name, true);
	if (fd < 0)
		return fd;
	(void)inode_find(source->inodes, fd, &known); /* one is enough */
	free(known.numbers);
	return known.n ? take_fd(&fd) : -ENOENT;
}

int source_open_above(const struct source *source, const char *path, const char **name)
{
	const char *rest = below_root(source, path);
	const char *slash;
	scoped_fd at = -1;

	if (!rest || !*rest)
		return -ENOENT;
	at = fcntl(source->root_fd, F_DUPFD_CLOEXEC, 0);
	if (at < 0)
		return -errno;
	while ((slash = strchr(rest, '/'))) {
		char step[NAME_MAX + 1];
		int next;

		if (slash - rest > NAME_MAX)
			return -ENAMETOOLONG;
		(void)snprintf(step, sizeof(step), "%.*s", (int)(slash - rest), rest);
		next = step_down(source, at, step);
		if (next < 0)
			return next;
		fd_close(&at);
		at = next;
		rest = slash + 1;
	}
	*name = rest;
	return take_fd(&at);
}

void source_attach(struct source *source, void *own)
{
	source->attached = own;
}

void *source_attached(const struct source *source)
{
	return source->attached;
}

/* The directory that our mount covers, if it is @name in @dir_fd.  Elsewhere (a bind
 * mount of ours) we cannot tell what is below. */
static int open_covered(const struct source *source, int dir_fd, const char *name)
{
	struct statx above;
	struct statx dir;
	scoped_fd up = -1;
	int copy;

	if (source->covered_fd < 0 || strcmp(name, strrchr(source->mountpoint, '/') + 1) != 0)
		return -ELOOP;
	up = openat(source->covered_fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (up < 0 || statx_unasked(up, "", &above) < 0 || statx_unasked(dir_fd, "", &dir) < 0)
		return -ELOOP;
	if (above.stx_ino != dir.stx_ino || above.stx_dev_major != dir.stx_dev_major ||
	    above.stx_dev_minor != dir.stx_dev_minor)
		return -ELOOP;
	copy = fcntl(source->covered_fd, F_DUPFD_CLOEXEC, 0);
	return copy < 0 ? -errno : copy;
}

/* Something is mounted on @name. */
static int open_mounted(const struct source *source, int dir_fd, const char *name)
{
	scoped_fd fd = beneath_open_at(dir_fd, name, true);
	struct statx stx;
	int err;

	if (fd < 0)
		return fd;
	err = statx_unasked(fd, "", &stx);
	if (err)
		return err;
	if (source->own_device_known && same_device(&source->own_device, &stx))
		return open_covered(source, dir_fd, name);
	return take_fd(&fd);
}

int source_child(const struct source *source, int dir_fd, const char *name, int *fd, struct statx *stx,
		 bool *over_mount)
{
	scoped_fd child = beneath_open_at(dir_fd, name, false);

	*over_mount = child == -EXDEV;
	if (*over_mount && !source->one_file_system)
		child = open_mounted(source, dir_fd, name);
	if (child < 0)
		return child;
	if (statx(child, "", AT_EMPTY_PATH, INODE_STATX_MASK, stx) < 0)
		return -errno;
	*fd = take_fd(&child);
	return 0;
}
