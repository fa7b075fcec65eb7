/* SPDX-License-Identifier: MIT */
/* The inode table, and the way from a directory to a child: src/passthroughfs/inode.h, source.h. */
#include "beneath.h"
#include "fd.h"
#include "inode.h"
#include "number_list.h"
#include "numbers.h"
#include "source.h"
#include "watch.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>

#include <cmocka.h>

static const struct source_options options = {.mountpoint = "/nowhere/at/all", .cache = SOURCE_CACHE_NEVER};

struct fixture {
	char path[64];
	int dir_fd;
	struct inode_table *table;
};

enum { FEW = 3 };

static int setup_table(void **state, bool use_handles)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	strcpy(f->path, "/tmp/passthroughfs-inode-XXXXXX");
	assert_non_null(mkdtemp(f->path));
	f->dir_fd = open(f->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_true(f->dir_fd >= 0);
	assert_int_equal(inode_table_new(f->dir_fd, use_handles, NULL, &f->table), 0);
	/* Next to no descriptors to keep, where there are no handles. */
	inode_table_limit(f->table, FEW);
	*state = f;
	return 0;
}

static int setup(void **state)
{
	return setup_table(state, true);
}

/* As for an ordinary user. */
static int setup_names(void **state)
{
	return setup_table(state, false);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	inode_table_free(f->table);
	(void)close(f->dir_fd);
	(void)nftw(f->path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

static void make_file(const struct fixture *f, const char *name)
{
	scoped_fd fd = beneath_create_at(f->dir_fd, name, O_WRONLY, 0644);

	assert_true(fd >= 0);
}

static uint64_t learn(const struct fixture *f, const char *name)
{
	scoped_fd fd = beneath_open_at(f->dir_fd, name, false);
	scoped_hold dir = HOLD_NONE;
	struct statx stx;
	uint64_t ino = 0;

	assert_true(fd >= 0);
	assert_int_equal(statx(fd, "", AT_EMPTY_PATH, INODE_STATX_MASK, &stx), 0);
	assert_int_equal(inode_hold(f->table, INODE_ROOT, &dir), 0);
	assert_int_equal(inode_learn(f->table, &dir, name, fd, &stx, &ino), 0);
	return ino;
}

/* Returns what inode_learn_name() does. */
static int learn_name(const struct fixture *f, const char *name, struct statx *stx, uint64_t *ino)
{
	scoped_hold dir = HOLD_NONE;

	assert_int_equal(inode_hold(f->table, INODE_ROOT, &dir), 0);
	return inode_learn_name(f->table, &dir, name, stx, ino);
}

/* As the unlink handler does it. */
static void unlink_pinned(const struct fixture *f, const char *name)
{
	scoped_fd fd = beneath_open_at(f->dir_fd, name, false);
	struct statx stx;

	assert_int_equal(statx(fd, "", AT_EMPTY_PATH, INODE_STATX_MASK, &stx), 0);
	assert_int_equal(beneath_unlink_at(f->dir_fd, name, false), 0);
	inode_unnamed(f->table, NULL, &fd, &stx, true);
}

static struct stat held_stat(const struct fixture *f, uint64_t ino)
{
	scoped_hold hold = HOLD_NONE;
	struct stat st;

	assert_int_equal(inode_hold(f->table, ino, &hold), 0);
	assert_int_equal(fstat(hold.fd, &st), 0);
	return st;
}

static size_t open_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	size_t n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	(void)closedir(dir);
	return n;
}

static void the_root_is_always_known(void **state)
{
	struct fixture *f = *state;
	struct stat root;

	inode_forget(f->table, INODE_ROOT, 1000);
	assert_int_equal(inode_table_count(f->table), 1);
	assert_int_equal(fstat(f->dir_fd, &root), 0);
	assert_int_equal(held_stat(f, INODE_ROOT).st_ino, root.st_ino);
}

static void an_unknown_number_is_stale(void **state)
{
	struct fixture *f = *state;
	struct hold hold = HOLD_NONE;

	assert_int_equal(inode_hold(f->table, 4711, &hold), -ESTALE);
	assert_int_equal(inode_open(f->table, 4711, O_RDONLY), -ESTALE);
	inode_forget(f->table, 4711, 1);
}

static void hard_links_are_one_inode(void **state)
{
	struct fixture *f = *state;
	uint64_t ino;

	make_file(f, "a");
	assert_int_equal(linkat(f->dir_fd, "a", f->dir_fd, "b", 0), 0);
	ino = learn(f, "a");
	assert_int_equal(learn(f, "b"), ino);
	assert_int_equal(inode_table_count(f->table), 2);
	inode_forget(f->table, ino, 1);
	assert_int_equal(held_stat(f, ino).st_nlink, 2);
	inode_forget(f->table, ino, 1);
	assert_int_equal(inode_table_count(f->table), 1);
}

static void counted_numbers_are_never_used_twice(void **state)
{
	struct fixture *f = *state;
	uint64_t last = INODE_ROOT;

	make_file(f, "a");
	for (int i = 0; i < 100; i++) {
		uint64_t ino = learn(f, "a");

		assert_true(ino > last);
		inode_forget(f->table, ino, 1);
		last = ino;
	}
}

static void a_number_made_of_a_handle_stays_the_files(void **state)
{
	struct fixture *f = *state;
	uint64_t first;

	make_file(f, "a");
	first = learn(f, "a");
	assert_true(first < NUMBERS_COUNTED);
	inode_forget(f->table, first, 1);
	assert_int_equal(learn(f, "a"), first);
}

static void a_rename_changes_nothing(void **state)
{
	struct fixture *f = *state;
	uint64_t ino;

	make_file(f, "a");
	ino = learn(f, "a");
	assert_int_equal(beneath_rename_at(f->dir_fd, "a", f->dir_fd, "b", 0), 0);
	assert_int_equal(learn(f, "b"), ino);
}

/* ext4 and tmpfs give a freed inode number to the next file. */
static void a_reused_source_number_is_another_inode(void **state)
{
	struct fixture *f = *state;
	uint64_t first;
	uint64_t second;
	struct stat old;
	struct stat now;

	make_file(f, "a");
	first = learn(f, "a");
	old = held_stat(f, first);
	for (int tries = 0; tries < 1000; tries++) {
		assert_int_equal(beneath_unlink_at(f->dir_fd, "a", false), 0);
		make_file(f, "a");
		assert_int_equal(fstatat(f->dir_fd, "a", &now, 0), 0);
		if (now.st_ino == old.st_ino)
			break;
	}
	second = learn(f, "a");
	assert_int_not_equal(first, second);
	if (now.st_ino == old.st_ino) {
		struct hold hold = HOLD_NONE;

		assert_int_equal(inode_hold(f->table, first, &hold), -ESTALE);
	}
	inode_forget(f->table, first, 1);
	assert_int_equal(held_stat(f, second).st_ino, now.st_ino);
	inode_forget(f->table, second, 1);
	assert_int_equal(inode_table_count(f->table), 1);
}

static void a_removed_file_stays_until_it_is_forgotten(void **state)
{
	struct fixture *f = *state;
	scoped_fd fd = -1;
	uint64_t ino;

	make_file(f, "a");
	ino = learn(f, "a");
	unlink_pinned(f, "a");
	assert_int_equal(held_stat(f, ino).st_nlink, 0);
	fd = inode_open(f->table, ino, O_RDWR);
	assert_true(fd >= 0);
	assert_int_equal(inode_opened(f->table, ino, NULL), 0);
	assert_int_equal(write(fd, "x", 1), 1);
	assert_int_equal(held_stat(f, ino).st_size, 1);
	inode_forget(f->table, ino, 1);
	assert_int_equal(held_stat(f, ino).st_size, 1); /* still open */
	inode_closed(f->table, ino);
	assert_int_equal(inode_table_count(f->table), 1);
}

static void known_inodes_cost_few_descriptors(void **state)
{
	enum { FILES = 2000 };
	struct fixture *f = *state;
	uint64_t inos[FILES];
	char name[16];
	size_t before;

	(void)held_stat(f, INODE_ROOT); /* may keep one */
	before = open_descriptors();
	for (int i = 0; i < FILES; i++) {
		(void)snprintf(name, sizeof(name), "f%d", i);
		make_file(f, name);
		inos[i] = learn(f, name);
	}
	assert_true(open_descriptors() <= before + FEW);
	assert_int_equal(inode_table_count(f->table), FILES + 1);
	for (int i = 0; i < FILES; i++) {
		struct stat st;

		(void)snprintf(name, sizeof(name), "f%d", i);
		assert_int_equal(fstatat(f->dir_fd, name, &st, 0), 0);
		assert_int_equal(held_stat(f, inos[i]).st_ino, st.st_ino);
	}
	assert_true(open_descriptors() <= before + FEW);
	for (int i = 0; i < FILES; i++)
		inode_forget(f->table, inos[i], 1);
	assert_int_equal(inode_table_count(f->table), 1);
	assert_int_equal(open_descriptors(), before);
}

/* A directory that was held keeps its descriptor, but not all of them do. */
static void directories_in_use_cost_few_descriptors(void **state)
{
	enum { DIRS = 200 };
	struct fixture *f = *state;
	uint64_t inos[DIRS];
	char name[16];
	size_t before;

	(void)held_stat(f, INODE_ROOT); /* may keep one */
	before = open_descriptors();
	for (int i = 0; i < DIRS; i++) {
		(void)snprintf(name, sizeof(name), "d%d", i);
		assert_int_equal(mkdirat(f->dir_fd, name, 0755), 0);
		inos[i] = learn(f, name);
	}
	for (int i = 0; i < 2 * DIRS; i++)
		assert_true(S_ISDIR(held_stat(f, inos[i % DIRS]).st_mode));
	assert_true(open_descriptors() <= before + FEW);
	for (int i = 0; i < DIRS; i++)
		inode_forget(f->table, inos[i], 1);
	assert_int_equal(inode_table_count(f->table), 1);
	assert_true(open_descriptors() <= before);
}

/* Lets the descriptors of all but the last few inodes go. */
static void use_others(const struct fixture *f)
{
	char name[16];

	for (int i = 0; i < 2 * FEW; i++) {
		(void)snprintf(name, sizeof(name), "other%d", i);
		if (faccessat(f->dir_fd, name, F_OK, 0) < 0)
			make_file(f, name);
		(void)learn(f, name);
	}
}

static uint64_t learn_in(const struct fixture *f, uint64_t dir_ino, const char *name)
{
	scoped_hold dir = HOLD_NONE;
	scoped_fd fd = -1;
	struct statx stx;
	uint64_t ino = 0;

	assert_int_equal(inode_hold(f->table, dir_ino, &dir), 0);
	fd = beneath_open_at(dir.fd, name, false);
	assert_true(fd >= 0);
	assert_int_equal(statx(fd, "", AT_EMPTY_PATH, INODE_STATX_MASK, &stx), 0);
	assert_int_equal(inode_learn(f->table, &dir, name, fd, &stx, &ino), 0);
	return ino;
}

static void a_deep_file_is_found_again(void **state)
{
	enum { DEPTH = 300 };
	struct fixture *f = *state;
	uint64_t inos[DEPTH];
	uint64_t dir = INODE_ROOT;

	for (int i = 0; i < DEPTH; i++) {
		scoped_hold hold = HOLD_NONE;

		assert_int_equal(inode_hold(f->table, dir, &hold), 0);
		assert_int_equal(beneath_mkdir_at(hold.fd, "d", 0755), 0);
		hold_drop(&hold);
		inos[i] = dir = learn_in(f, dir, "d");
	}
	use_others(f);
	assert_true(S_ISDIR(held_stat(f, dir).st_mode));
	/* A parent may be forgotten first: its number goes, the way to the child stays. */
	for (int i = 0; i < DEPTH - 1; i++)
		inode_forget(f->table, inos[i], 1);
	use_others(f);
	assert_true(S_ISDIR(held_stat(f, dir).st_mode));
	inode_forget(f->table, dir, 1);
	assert_true(inode_table_count(f->table) <= 1 + 2 * FEW);
}

/* As the rename handler does it. */
static void a_moved_file_is_found_again(void **state)
{
	struct fixture *f = *state;
	scoped_hold root = HOLD_NONE;
	scoped_fd fd = -1;
	struct statx stx;
	struct stat st;
	uint64_t ino;

	make_file(f, "a");
	ino = learn(f, "a");
	assert_int_equal(beneath_rename_at(f->dir_fd, "a", f->dir_fd, "b", 0), 0);
	make_file(f, "a");
	fd = beneath_open_at(f->dir_fd, "b", false);
	assert_int_equal(statx(fd, "", AT_EMPTY_PATH, INODE_STATX_MASK, &stx), 0);
	assert_int_equal(inode_hold(f->table, INODE_ROOT, &root), 0);
	inode_moved(f->table, (struct inode_place){&root, "a"}, (struct inode_place){&root, "b"}, fd, &stx);
	use_others(f);
	assert_int_equal(fstatat(f->dir_fd, "b", &st, 0), 0);
	assert_int_equal(held_stat(f, ino).st_ino, st.st_ino);
}

static void an_open_file_is_found_wherever_its_name_went(void **state)
{
	struct fixture *f = *state;
	uint64_t ino;

	make_file(f, "a");
	ino = learn(f, "a");
	assert_int_equal(inode_opened(f->table, ino, NULL), 0);
	use_others(f);
	assert_int_equal(beneath_rename_at(f->dir_fd, "a", f->dir_fd, "b", 0), 0);
	use_others(f);
	assert_int_equal(held_stat(f, ino).st_nlink, 1);
	inode_closed(f->table, ino);
	assert_int_equal(learn(f, "b"), ino);
}

/* Whatever it is, and a symbolic link itself. */
static void a_name_is_learnt_without_a_descriptor(void **state)
{
	static const char *const names[] = {"file", "dir", "link", "fifo"};
	struct fixture *f = *state;
	struct statx stx;
	struct stat st;
	uint64_t ino;

	make_file(f, "file");
	assert_int_equal(beneath_mkdir_at(f->dir_fd, "dir", 0755), 0);
	assert_int_equal(beneath_symlink_at(f->dir_fd, "link", "file"), 0);
	assert_int_equal(beneath_mknod_at(f->dir_fd, "fifo", S_IFIFO | 0644, 0), 0);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		assert_int_equal(learn_name(f, names[i], &stx, &ino), 0);
		assert_int_equal(fstatat(f->dir_fd, names[i], &st, AT_SYMLINK_NOFOLLOW), 0);
		assert_int_equal(stx.stx_ino, st.st_ino);
		assert_int_equal(stx.stx_mode, st.st_mode);
		assert_int_equal(learn(f, names[i]), ino);
		inode_forget(f->table, ino, 2);
		assert_int_equal(inode_table_count(f->table), 1);
	}
	assert_int_equal(learn_name(f, "missing", &stx, &ino), -ENOENT);
}

static void without_a_handle_a_name_has_to_be_opened(void **state)
{
	struct fixture *f = *state;
	struct statx stx;
	uint64_t ino;

	make_file(f, "a");
	assert_int_equal(learn_name(f, "a", &stx, &ino), -EOPNOTSUPP);
}

/* Here is none above, and /proc is a mount of its own on every machine. */
static void what_is_mounted_on_a_name_has_to_be_opened(void **state)
{
	scoped_fd root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct inode_table *table;
	struct hold dir = HOLD_NONE;
	struct statx stx;
	uint64_t ino;

	(void)state;
	assert_int_equal(inode_table_new(root, true, NULL, &table), 0);
	assert_int_equal(inode_hold(table, INODE_ROOT, &dir), 0);
	assert_int_equal(inode_learn_name(table, &dir, "proc", &stx, &ino), -EOPNOTSUPP);
	assert_int_equal(inode_learn_name(table, &dir, "..", &stx, &ino), -EOPNOTSUPP);
	hold_drop(&dir);
	inode_table_free(table);
}

/* A name that goes from one file to another, with the number of the one before where the file system gives that again. */
struct swapping {
	const struct fixture *f;
	atomic_bool is_over;
};

static void *swap_files(void *arg)
{
	struct swapping *swapping = arg;
	int dir_fd = swapping->f->dir_fd;

	while (!atomic_load(&swapping->is_over)) {
		(void)beneath_mknod_at(dir_fd, "a", S_IFREG | 0644, 0);
		(void)beneath_unlink_at(dir_fd, "a", false);
		(void)beneath_mknod_at(dir_fd, "a", S_IFIFO | 0644, 0);
		(void)beneath_unlink_at(dir_fd, "a", false);
	}
	return NULL;
}

static void a_number_is_never_of_another_type_than_was_seen(void **state)
{
	enum { LOOKS = 300000 };
	struct swapping swapping = {.f = *state};
	struct hold hold = HOLD_NONE;
	pthread_t thread;
	struct statx stx;
	struct stat st;
	uint64_t ino;

	assert_int_equal(pthread_create(&thread, NULL, swap_files, &swapping), 0);
	for (int i = 0; i < LOOKS; i++) {
		if (learn_name(swapping.f, "a", &stx, &ino) < 0)
			continue;
		if (inode_hold(swapping.f->table, ino, &hold) == 0) {
			assert_int_equal(fstat(hold.fd, &st), 0);
			assert_int_equal(st.st_mode & S_IFMT, stx.stx_mode & S_IFMT);
		}
		hold_drop(&hold);
		inode_forget(swapping.f->table, ino, 1);
	}
	atomic_store(&swapping.is_over, true);
	assert_int_equal(pthread_join(thread, NULL), 0);
}

/* What took the name is not taken for the file. */
static void another_file_under_the_name_is_stale(void **state)
{
	struct fixture *f = *state;
	struct hold hold = HOLD_NONE;
	uint64_t ino;
	int err;

	make_file(f, "a");
	ino = learn(f, "a");
	use_others(f);
	make_file(f, "b");
	assert_int_equal(beneath_rename_at(f->dir_fd, "b", f->dir_fd, "a", 0), 0);
	err = inode_hold(f->table, ino, &hold);
	assert_int_equal(err, -ESTALE);
	assert_int_not_equal(learn(f, "a"), ino);
}

/* Directories that changed places outside are not each other's parents. */
static void directories_turned_inside_out_are_forgotten(void **state)
{
	struct fixture *f = *state;
	scoped_hold hold = HOLD_NONE;
	uint64_t a;
	uint64_t b;

	assert_int_equal(beneath_mkdir_at(f->dir_fd, "a", 0755), 0);
	a = learn(f, "a");
	assert_int_equal(inode_hold(f->table, a, &hold), 0);
	assert_int_equal(beneath_mkdir_at(hold.fd, "b", 0755), 0);
	hold_drop(&hold);
	b = learn_in(f, a, "b");
	assert_int_equal(inode_hold(f->table, a, &hold), 0);
	assert_int_equal(beneath_rename_at(hold.fd, "b", f->dir_fd, "b", 0), 0);
	hold_drop(&hold);
	assert_int_equal(renameat(f->dir_fd, "a", f->dir_fd, "b/a"), 0);
	assert_int_equal(learn_in(f, b, "a"), a);
	inode_forget(f->table, a, 2);
	inode_forget(f->table, b, 1);
	assert_int_equal(inode_table_count(f->table), 1);
}

/* A file of a mount without usable handles is kept by a descriptor, and let go. */
static void without_handles_a_descriptor_keeps_the_file(void **state)
{
	scoped_fd proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct inode_table *table;
	scoped_hold hold = HOLD_NONE;
	scoped_fd fd = -1;
	struct statx stx;
	size_t before;
	uint64_t ino;

	(void)state;
	before = open_descriptors();
	assert_int_equal(inode_table_new(proc, true, NULL, &table), 0);
	fd = beneath_open_at(proc, "version", false);
	assert_int_equal(statx(fd, "", AT_EMPTY_PATH, INODE_STATX_MASK, &stx), 0);
	assert_int_equal(inode_learn(table, NULL, NULL, fd, &stx, &ino), 0);
	assert_int_equal(open_descriptors(), before + 3);
	assert_int_equal(inode_hold(table, ino, &hold), 0);
	inode_forget(table, ino, 1);
	hold_drop(&hold);
	assert_int_equal(open_descriptors(), before + 2);
	inode_table_free(table);
	assert_int_equal(open_descriptors(), before + 1);
}

static void what_is_held_outlives_its_forget(void **state)
{
	struct fixture *f = *state;
	struct hold hold = HOLD_NONE;
	struct stat st;
	uint64_t ino;

	make_file(f, "a");
	ino = learn(f, "a");
	assert_int_equal(inode_hold(f->table, ino, &hold), 0);
	inode_forget(f->table, ino, 1);
	assert_int_equal(fstat(hold.fd, &st), 0);
	assert_int_equal(inode_table_count(f->table), 2);
	hold_drop(&hold);
	hold_drop(&hold);
	assert_int_equal(inode_table_count(f->table), 1);
}

/* An open would wait for ever. */
static void a_fifo_is_never_opened(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(beneath_mknod_at(f->dir_fd, "fifo", S_IFIFO | 0644, 0), 0);
	assert_int_equal(inode_open(f->table, learn(f, "fifo"), O_RDONLY), -ENXIO);
}

static void a_symbolic_link_is_held_itself(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(beneath_symlink_at(f->dir_fd, "link", "/etc"), 0);
	assert_true(S_ISLNK(held_stat(f, learn(f, "link")).st_mode));
	assert_int_equal(inode_open(f->table, learn(f, "link"), O_RDONLY), -ENXIO);
}

static void a_number_means_the_same_in_the_next_table(void **state)
{
	struct fixture *f = *state;
	struct inode_table *second;
	scoped_fd fd = -1;
	struct stat found;
	struct stat made;
	uint64_t ino;

	make_file(f, "a");
	ino = learn(f, "a");
	inode_table_set_secret(f->table, "secret", 6);
	assert_int_equal(inode_table_new(f->dir_fd, true, NULL, &second), 0);
	inode_table_set_secret(second, "secret", 6);
	assert_int_equal(inode_generation(f->table, ino), inode_generation(second, ino));
	fd = inode_open_forgotten(second, ino);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &found), 0);
	assert_int_equal(fstatat(f->dir_fd, "a", &made, 0), 0);
	assert_int_equal(found.st_ino, made.st_ino);
	fd_close(&fd);
	fd = -1;
	inode_table_set_secret(second, "another", 7);
	assert_int_not_equal(inode_generation(f->table, ino), inode_generation(second, ino));
	assert_int_equal(unlinkat(f->dir_fd, "a", 0), 0);
	inode_forget(f->table, ino, 1);
	assert_int_equal(inode_open_forgotten(second, ino), -ESTALE);
	assert_int_equal(inode_open_forgotten(second, 4711), -ESTALE);
	inode_table_free(second);
}

static void numbers_that_are_counted_have_another_generation_each_time(void **state)
{
	struct fixture *f = *state;
	struct inode_table *second;
	uint64_t ino;

	make_file(f, "a");
	ino = learn(f, "a");
	assert_int_equal(inode_table_new(f->dir_fd, false, NULL, &second), 0);
	assert_true(ino >= NUMBERS_COUNTED);
	assert_int_not_equal(inode_generation(f->table, ino), inode_generation(second, ino));
	assert_int_equal(inode_open_forgotten(f->table, ino), -ESTALE);
	inode_table_free(second);
}

static void an_inode_is_found_by_what_fanotify_tells(void **state)
{
	struct fixture *f = *state;
	struct mount mount = {.handles_last = true};
	scoped_fd fd = -1;
	struct handle handle;
	struct number_list found = {.numbers = NULL};
	struct statfs st;
	uint64_t fsid;
	uint64_t ino;

	make_file(f, "a");
	ino = learn(f, "a");
	fd = beneath_open_at(f->dir_fd, "a", false);
	mount_handle(&mount, fd, &handle);
	assert_true(handle.size > 0);
	assert_int_equal(fstatfs(fd, &st), 0);
	memcpy(&fsid, &st.f_fsid, sizeof(fsid));
	assert_true(inode_find_handle(f->table, fsid, &handle, &found));
	assert_int_equal(found.n, 1);
	assert_int_equal(found.numbers[0], ino);
	assert_true(inode_find_handle(f->table, fsid + 1, &handle, &found));
	assert_int_equal(found.n, 0);
	handle.bytes[0] ^= 1;
	assert_true(inode_find_handle(f->table, fsid, &handle, &found));
	assert_int_equal(found.n, 0);
	free(found.numbers);
}

/* A table with a watch, and a file in it that is open. */
struct watched {
	struct watch *watch;
	struct inode_table *table;
	uint64_t ino;
	int fd;
};

static void watched_open(const struct fixture *f, struct watched *watched)
{
	scoped_hold dir = HOLD_NONE;
	struct statx stx;

	if (watch_new(&watched->watch) < 0)
		skip(); /* not root */
	make_file(f, "a");
	assert_int_equal(inode_table_new(f->dir_fd, true, watched->watch, &watched->table), 0);
	assert_int_equal(inode_hold(watched->table, INODE_ROOT, &dir), 0);
	assert_int_equal(inode_learn_name(watched->table, &dir, "a", &stx, &watched->ino), 0);
	watched->fd = inode_open(watched->table, watched->ino, O_WRONLY);
	assert_true(watched->fd >= 0);
	assert_int_equal(inode_opened(watched->table, watched->ino, NULL), 0);
}

static void watched_close(const struct watched *watched)
{
	(void)close(watched->fd);
	inode_table_free(watched->table);
	watch_free(watched->watch);
}

static bool is_written(const struct watched *watched, const struct watch_change *change)
{
	struct number_list found = {.numbers = NULL};
	bool is_it;

	if (!change->is_data)
		return false;
	assert_true(inode_find_handle(watched->table, change->fsid, &change->file, &found));
	is_it = found.n == 1 && found.numbers[0] == watched->ino;
	free(found.numbers);
	return is_it;
}

/* Writes, and says whether that is told of; others may be at work in the same file system. */
static bool write_is_told(const struct watched *watched)
{
	struct watch_change change;
	bool is_told = false;

	assert_int_equal(write(watched->fd, "x", 1), 1);
	while (watch_read(watched->watch) > 0) {
		while (watch_next(watched->watch, &change)) {
			assert_false(change.is_lost);
			is_told = is_told || is_written(watched, &change);
		}
	}
	return is_told;
}

static void writes_are_ignored_while_the_file_is_open(void **state)
{
	struct watched watched;
	unsigned serial;

	watched_open(*state, &watched);
	assert_true(write_is_told(&watched));
	assert_false(inode_ignores_writes(watched.table, watched.ino));
	inode_ignore_writes(watched.table, watched.ino);
	assert_true(inode_ignores_writes(watched.table, watched.ino));
	assert_false(write_is_told(&watched));
	assert_int_equal(inode_opened(watched.table, watched.ino, NULL), 0);
	inode_closed(watched.table, watched.ino);
	assert_true(inode_ignores_writes(watched.table, watched.ino)); /* it is open still */
	assert_false(write_is_told(&watched));
	serial = watch_serial(watched.watch);
	inode_closed(watched.table, watched.ino);
	assert_false(inode_ignores_writes(watched.table, watched.ino));
	assert_int_not_equal(watch_serial(watched.watch), serial);
	assert_true(write_is_told(&watched));
	inode_ignore_writes(watched.table, watched.ino); /* not open: nothing */
	assert_false(inode_ignores_writes(watched.table, watched.ino));
	watched_close(&watched);
}

static void writes_to_what_may_be_two_inodes_are_not_ignored(void **state)
{
	scoped_fd elsewhere = open("/proc/version", O_PATH | O_CLOEXEC);
	struct watched watched;
	struct statx stx;
	uint64_t other;

	watched_open(*state, &watched);
	inode_ignore_writes(watched.table, watched.ino);
	assert_int_equal(statx(elsewhere, "", AT_EMPTY_PATH, INODE_STATX_MASK, &stx), 0);
	assert_int_equal(inode_learn(watched.table, NULL, NULL, elsewhere, &stx, &other), 0);
	assert_true(inode_ignores_writes(watched.table, other));
	inode_closed(watched.table, watched.ino);
	assert_false(inode_ignores_writes(watched.table, other));
	assert_int_equal(inode_opened(watched.table, watched.ino, NULL), 0);
	inode_ignore_writes(watched.table, watched.ino);
	assert_false(inode_ignores_writes(watched.table, watched.ino));
	inode_closed(watched.table, watched.ino);
	watched_close(&watched);
}

static void a_walk_meets_every_inode(void **state)
{
	enum { FILES = 3000 };
	struct fixture *f = *state;
	struct inode_walk walk = {0};
	uint64_t numbers[64];
	size_t n_met = 0;
	char name[16];
	size_t n;

	for (int i = 0; i < FILES; i++) {
		(void)snprintf(name, sizeof(name), "f%d", i);
		make_file(f, name);
		(void)learn(f, name);
	}
	while ((n = inode_table_walk(f->table, &walk, numbers, 64)) > 0)
		n_met += n;
	assert_int_equal(n_met, FILES + 1);
}

static void a_directory_that_was_moved_away_is_stale(void **state)
{
	struct fixture *f = *state;
	char outside[] = "/tmp/passthroughfs-outside-XXXXXX";
	struct hold hold = HOLD_NONE;
	char moved[64];
	uint64_t inner;
	uint64_t ino;

	assert_non_null(mkdtemp(outside));
	(void)snprintf(moved, sizeof(moved), "%s/d", outside);
	assert_int_equal(mkdirat(f->dir_fd, "d", 0755), 0);
	ino = learn(f, "d");
	assert_int_equal(inode_hold(f->table, ino, &hold), 0);
	assert_int_equal(mkdirat(hold.fd, "inner", 0755), 0);
	hold_drop(&hold);
	inner = learn_in(f, ino, "inner");
	assert_int_equal(renameat(f->dir_fd, "d", AT_FDCWD, moved), 0);
	assert_int_equal(inode_hold(f->table, ino, &hold), -ESTALE);
	assert_int_equal(inode_hold(f->table, inner, &hold), -ESTALE);
	assert_int_equal(inode_open(f->table, ino, O_RDONLY), -ESTALE);
	assert_int_equal(renameat(AT_FDCWD, moved, f->dir_fd, "e"), 0);
	(void)learn(f, "e");
	assert_int_equal(inode_hold(f->table, inner, &hold), 0);
	hold_drop(&hold);
	assert_int_equal(rmdir(outside), 0);
}

/* Threads that learn and forget the same few files. */
static void *storm(void *arg)
{
	const struct fixture *f = arg;

	for (int i = 0; i < 2000; i++) {
		const char *name = i & 1 ? "a" : "b";
		uint64_t ino = learn(f, name);

		(void)held_stat(f, ino);
		inode_forget(f->table, ino, 1);
	}
	return NULL;
}

static void many_threads_agree(void **state)
{
	struct fixture *f = *state;
	pthread_t threads[4];

	make_file(f, "a");
	make_file(f, "b");
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, storm, f), 0);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(inode_table_count(f->table), 1);
}

static void a_source_that_is_no_directory_is_refused(void **state)
{
	struct fixture *f = *state;
	struct source *source;
	char path[96];

	make_file(f, "a");
	(void)snprintf(path, sizeof(path), "%s/a", f->path);
	assert_int_equal(source_open(path, &options, &source), -ENOTDIR);
	(void)snprintf(path, sizeof(path), "%s/missing", f->path);
	assert_int_equal(source_open(path, &options, &source), -ENOENT);
}

static void a_child_comes_with_its_attributes(void **state)
{
	struct fixture *f = *state;
	struct source *source;
	scoped_fd fd = -1;
	bool over_mount;
	struct statx stx;

	assert_int_equal(source_open(f->path, &options, &source), 0);
	source_mounted(source);
	make_file(f, "a");
	assert_int_equal(source_child(source, f->dir_fd, "a", &fd, &stx, &over_mount), 0);
	assert_true(S_ISREG(stx.stx_mode));
	assert_false(over_mount);
	assert_int_equal(source_child(source, f->dir_fd, "b", &fd, &stx, &over_mount), -ENOENT);
	source_close(source);
}

/* With handles, and without. */
#define BOTH(test)                                                                                                     \
	cmocka_unit_test_setup_teardown(test, setup, teardown),                                                        \
	{                                                                                                              \
#test "_without_handles", test, setup_names, teardown, NULL                                            \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(the_root_is_always_known),
		BOTH(an_unknown_number_is_stale),
		BOTH(hard_links_are_one_inode),
		BOTH(a_rename_changes_nothing),
		BOTH(a_reused_source_number_is_another_inode),
		BOTH(a_removed_file_stays_until_it_is_forgotten),
		BOTH(known_inodes_cost_few_descriptors),
		BOTH(directories_in_use_cost_few_descriptors),
		BOTH(a_deep_file_is_found_again),
		BOTH(a_moved_file_is_found_again),
		BOTH(an_open_file_is_found_wherever_its_name_went),
		BOTH(another_file_under_the_name_is_stale),
		BOTH(directories_turned_inside_out_are_forgotten),
		BOTH(what_is_held_outlives_its_forget),
		BOTH(a_fifo_is_never_opened),
		BOTH(a_symbolic_link_is_held_itself),
		BOTH(many_threads_agree),
		BOTH(a_walk_meets_every_inode),
		BOTH(an_inode_is_found_by_what_fanotify_tells),
		BOTH(a_directory_that_was_moved_away_is_stale),
		cmocka_unit_test_setup_teardown(a_name_is_learnt_without_a_descriptor, setup, teardown),
		cmocka_unit_test_setup_teardown(without_a_handle_a_name_has_to_be_opened, setup_names, teardown),
		cmocka_unit_test(what_is_mounted_on_a_name_has_to_be_opened),
		cmocka_unit_test_setup_teardown(a_number_is_never_of_another_type_than_was_seen, setup, teardown),
		cmocka_unit_test_setup_teardown(writes_are_ignored_while_the_file_is_open, setup, teardown),
		cmocka_unit_test_setup_teardown(writes_to_what_may_be_two_inodes_are_not_ignored, setup, teardown),
		cmocka_unit_test(without_handles_a_descriptor_keeps_the_file),
		cmocka_unit_test_setup_teardown(counted_numbers_are_never_used_twice, setup_names, teardown),
		cmocka_unit_test_setup_teardown(numbers_that_are_counted_have_another_generation_each_time, setup_names,
						teardown),
		cmocka_unit_test_setup_teardown(a_number_made_of_a_handle_stays_the_files, setup, teardown),
		cmocka_unit_test_setup_teardown(a_number_means_the_same_in_the_next_table, setup, teardown),
		cmocka_unit_test_setup_teardown(a_source_that_is_no_directory_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(a_child_comes_with_its_attributes, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
