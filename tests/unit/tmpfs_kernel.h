/* SPDX-License-Identifier: MIT */
/*
 * What the tests of the kernel's plane share: a tree whose registry is of our own, in the place of FUSE's, and what
 * programs do by way of it.  This needs root: without, the tests are skipped.
 */
#ifndef TEST_TMPFS_KERNEL_H
#define TEST_TMPFS_KERNEL_H

#include "backing.h"
#include "file.h"
#include "tree.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#define ROOT TREE_ROOT_NUMBER
#define MIB ((uint64_t)1 << 20)
static const struct owner nobody = {.uid = 65534, .gid = 65533};

/* Keeps a copy of each descriptor, as the kernel does: writes through it are not seen by us. */
enum { REGISTERED_MAX = 1000 };

struct registry {
	int fds[REGISTERED_MAX]; /* by handle; -1: none */
	int n, most;
	bool refuses;
};

struct fixture {
	struct tree *tree; /* NULL: the kernel does not let us */
	struct registry registry;
};

static inline int add(void *request, int fd)
{
	struct registry *registry = request;
	int handle;

	if (registry->refuses)
		return -EOPNOTSUPP;
	for (handle = 1; registry->fds[handle] >= 0; handle++)
		assert_true(handle + 1 < REGISTERED_MAX);
	registry->fds[handle] = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	assert_true(registry->fds[handle] >= 0);
	registry->n++;
	if (registry->n > registry->most)
		registry->most = registry->n;
	return handle;
}

static inline void take_away(void *arg, int handle)
{
	struct registry *registry = arg;

	assert_true(registry->fds[handle] >= 0);
	close(registry->fds[handle]);
	registry->fds[handle] = -1;
	registry->n--;
}

static inline int make(void **state)
{
	const struct tree_limits limits = {.size = 64 * MIB, .inodes = 10000};
	struct fixture *f = calloc(1, sizeof(*f));
	const struct data_kernel_options options = {.registry = {.add = add, .remove = take_away, .arg = &f->registry}};

	for (int i = 0; i < REGISTERED_MAX; i++)
		f->registry.fds[i] = -1;
	assert_int_equal(tree_new(0755, nobody, &limits, &f->tree), 0);
	if (tree_use_kernel(f->tree, &options)) {
		tree_free(f->tree);
		f->tree = NULL;
	}
	*state = f;
	return 0;
}

static inline int unmake(void **state)
{
	struct fixture *f = *state;

	tree_free(f->tree);
	for (int i = 0; i < REGISTERED_MAX; i++)
		if (f->registry.fds[i] >= 0)
			close(f->registry.fds[i]);
	free(f);
	return 0;
}

static inline struct fixture *fixture_of(void **state)
{
	struct fixture *f = *state;

	if (!f->tree)
		skip();
	return f;
}

static inline struct inode *new_file(struct fixture *f, const char *name)
{
	struct inode *inode;

	assert_int_equal(tree_mknod(f->tree, ROOT, name, S_IFREG | 0644, 0, nobody, &inode), 0);
	return inode;
}

static inline struct file_opening open_file(struct fixture *f, struct inode *inode, unsigned flags)
{
	struct file_opening opening = {0};

	assert_int_equal(file_open(inode, f->tree->plane, flags, &f->registry, &opening), 0);
	return opening;
}

static inline void close_file(struct fixture *f, struct inode *inode, unsigned flags)
{
	file_close(inode, f->tree->plane, flags);
}

/* As a program does whose file the kernel has. */
static inline void write_behind_our_back(struct fixture *f, int handle, const char *text, off_t off)
{
	assert_int_equal(pwrite(f->registry.fds[handle], text, strlen(text), off), strlen(text));
}

/* By an open file of its own, as the kernel has one for each that it hands out: what is read by ours is no access. */
static inline void read_behind_our_back(struct fixture *f, int handle)
{
	char path[64], byte;
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", f->registry.fds[handle]);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &byte, 1, 0), 1);
	close(fd);
}

static inline struct stat stat_of(struct fixture *f, struct inode *inode)
{
	struct stat st;

	(void)inode_stat(inode, f->tree->plane, &st, NULL);
	return st;
}

static inline void remove_file(struct fixture *f, const char *name, struct inode *inode)
{
	assert_int_equal(tree_unlink(f->tree, ROOT, name), 0);
	tree_put(f->tree, inode);
}

static inline struct backing_store *store_of(struct fixture *f)
{
	return (struct backing_store *)((char *)f->tree->plane + sizeof(struct data_plane));
}

/* ------------------------------------------------------------------------ */

/* open(2) with O_TRUNC, and close(2) */
static inline void empty(struct fixture *f, struct inode *inode)
{
	const struct inode_change nothing = {.set = INODE_SET_SIZE};
	struct stat st;

	open_file(f, inode, FILE_OPEN_WRITER);
	assert_int_equal(inode_change(inode, f->tree->plane, &nothing, &st), 0);
	close_file(f, inode, FILE_OPEN_WRITER);
}

static inline void set_times(struct fixture *f, struct inode *inode, time_t atime, time_t mtime)
{
	const struct inode_change change = {
		.set = INODE_SET_ATIME | INODE_SET_MTIME, .atime = {.tv_sec = atime}, .mtime = {.tv_sec = mtime}};
	struct stat st;

	assert_int_equal(inode_change(inode, f->tree->plane, &change, &st), 0);
	assert_int_equal(st.st_atim.tv_sec, atime);
	assert_int_equal(st.st_mtim.tv_sec, mtime);
}

/* As the kernel does for each open that it was granted. */
static inline int open_behind_our_back(struct fixture *f, int handle)
{
	char path[40];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", f->registry.fds[handle]);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

/* As a program does that opens the file, maps it and closes it: the kernel tells nobody. */
static inline char *map_behind_our_back(struct fixture *f, int handle, size_t size)
{
	int fd = open_behind_our_back(f, handle);
	char *map;

	map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(map, MAP_FAILED);
	close(fd);
	return map;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make, unmake)

#endif
