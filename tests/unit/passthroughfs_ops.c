/* SPDX-License-Identifier: MIT */
/* The handlers of passthroughfs, called without a mount. */
#include "creds.h"
#include "ops.h"

#include <errno.h>
#include <ftw.h>
#include <linux/magic.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

static const struct llfuse_ops *const ops = &passthroughfs_ops;

struct fixture {
	char path[64];
	int dir_fd;
	struct source *source;
	struct llfuse_request req;
};

static int setup(void **state)
{
	const struct source_options options = {.mountpoint = "/nowhere/at/all", .cache = SOURCE_CACHE_NEVER};
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	strcpy(f->path, "/tmp/passthroughfs-ops-XXXXXX");
	assert_non_null(mkdtemp(f->path));
	f->dir_fd = open(f->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_true(f->dir_fd >= 0);
	assert_int_equal(source_open(f->path, &options, &f->source), 0);
	f->req = (struct llfuse_request){.userdata = f->source, .uid = geteuid(), .gid = getegid(), .umask = 022};
	*state = f;
	return 0;
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

	source_close(f->source);
	(void)close(f->dir_fd);
	(void)nftw(f->path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

/* Makes and opens @name in the root; the caller releases. */
static uint64_t create(struct fixture *f, const char *name, struct llfuse_file *file)
{
	struct llfuse_entry entry;

	*file = (struct llfuse_file){.flags = O_RDWR, .backing_fd = -1};
	assert_int_equal(ops->create(&f->req, LLFUSE_ROOT_INODE, name, 0644, file, &entry), 0);
	return entry.ino;
}

static void release(struct fixture *f, uint64_t ino, struct llfuse_file *file)
{
	assert_int_equal(ops->release(&f->req, ino, file), 0);
}

static uint64_t lookup(struct fixture *f, const char *name)
{
	struct llfuse_entry entry;

	assert_int_equal(ops->lookup(&f->req, LLFUSE_ROOT_INODE, name, &entry), 0);
	return entry.ino;
}

static void attributes_are_the_sources(void **state)
{
	struct fixture *f = *state;
	struct llfuse_entry entry;
	struct llfuse_file file;
	struct stat st;
	uint64_t ino = create(f, "a", &file);

	assert_int_equal(ops->write(&f->req, ino, &file, "hello", 5, 0), 5);
	assert_int_equal(ops->fsync(&f->req, ino, &file, false), 0);
	assert_int_equal(ops->getattr(&f->req, ino, NULL, &entry), 0);
	assert_int_equal(fstatat(f->dir_fd, "a", &st, 0), 0);
	assert_memory_equal(&entry.attr, &st, sizeof(st));
	assert_int_equal(ops->lookup(&f->req, LLFUSE_ROOT_INODE, "a", &entry), 0);
	assert_memory_equal(&entry.attr, &st, sizeof(st));
	assert_int_equal(entry.ino, ino);
	release(f, ino, &file);
}

static void names_that_are_none_are_refused(void **state)
{
	struct fixture *f = *state;
	struct llfuse_file file = {.flags = O_RDWR};
	struct llfuse_entry entry;

	assert_int_equal(ops->lookup(&f->req, LLFUSE_ROOT_INODE, "..", &entry), -ENOENT);
	assert_int_equal(ops->lookup(&f->req, LLFUSE_ROOT_INODE, "a/b", &entry), -EINVAL);
	assert_int_equal(ops->mkdir(&f->req, LLFUSE_ROOT_INODE, "../x", 0755, &entry), -EINVAL);
	assert_int_equal(ops->create(&f->req, LLFUSE_ROOT_INODE, "/tmp/x", 0644, &file, &entry), -EINVAL);
	assert_int_equal(ops->rmdir(&f->req, LLFUSE_ROOT_INODE, ".."), -EINVAL);
}

static void an_unknown_inode_is_stale(void **state)
{
	struct fixture *f = *state;
	struct llfuse_entry entry;
	struct llfuse_file file = {.flags = O_RDONLY};

	assert_int_equal(ops->getattr(&f->req, 4711, NULL, &entry), -ESTALE);
	assert_int_equal(ops->open(&f->req, 4711, &file), -ESTALE);
	assert_int_equal(ops->unlink(&f->req, 4711, "a"), -ESTALE);
}

static void what_is_written_is_read(void **state)
{
	struct fixture *f = *state;
	struct llfuse_data *data = llfuse_data_new(4096);
	struct llfuse_file file;
	uint64_t ino = create(f, "a", &file);
	char buf[16];

	assert_int_equal(ops->write(&f->req, ino, &file, "hello", 5, 3), 5);
	assert_int_equal(ops->read(&f->req, ino, &file, 0, data), 0);
	assert_int_equal(llfuse_data_copy(data, buf, sizeof(buf)), 8);
	assert_memory_equal(buf, "\0\0\0hello", 8);
	llfuse_data_free(data);
	release(f, ino, &file);
}

/* Others may have made the file longer than the kernel knows. */
/* close(2) of a file on such a disk has nothing to say that write(2) has not said. */
static void only_who_may_map_a_file_to_write_tells_of_its_close(void **state)
{
	static const int flags[] = {O_RDONLY, O_WRONLY, O_RDWR};
	struct fixture *f = *state;
	struct llfuse_file file;
	struct statfs fs;
	uint64_t ino;

	ino = create(f, "a", &file);
	release(f, ino, &file);
	assert_int_equal(statfs(f->path, &fs), 0);
	if (fs.f_type != EXT4_SUPER_MAGIC && fs.f_type != TMPFS_MAGIC)
		skip();
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		file = (struct llfuse_file){.flags = flags[i], .backing_fd = -1};
		assert_int_equal(ops->open(&f->req, ino, &file), 0);
		assert_int_equal(file.noflush, flags[i] != O_RDWR);
		release(f, ino, &file);
	}
}

static void an_appending_write_goes_to_the_end(void **state)
{
	struct fixture *f = *state;
	struct llfuse_file file;
	struct stat st;
	uint64_t ino = create(f, "a", &file);

	assert_int_equal(ops->write(&f->req, ino, &file, "12345", 5, 0), 5);
	file.flags |= O_APPEND;
	assert_int_equal(ops->write(&f->req, ino, &file, "6", 1, 2), 1);
	assert_int_equal(fstatat(f->dir_fd, "a", &st, 0), 0);
	assert_int_equal(st.st_size, 6);
	/* A page written back belongs where it was mapped. */
	file.is_writepage = true;
	assert_int_equal(ops->write(&f->req, ino, &file, "1", 1, 0), 1);
	assert_int_equal(fstatat(f->dir_fd, "a", &st, 0), 0);
	assert_int_equal(st.st_size, 6);
	release(f, ino, &file);
}

static void a_removed_file_is_still_read_and_truncated(void **state)
{
	struct fixture *f = *state;
	struct llfuse_entry entry;
	struct llfuse_file file;
	uint64_t ino = create(f, "a", &file);
	struct stat attr = {.st_size = 2};

	assert_int_equal(ops->write(&f->req, ino, &file, "12345", 5, 0), 5);
	assert_int_equal(ops->unlink(&f->req, LLFUSE_ROOT_INODE, "a"), 0);
	assert_int_equal(ops->setattr(&f->req, ino, NULL, &attr, LLFUSE_SET_SIZE, &entry), 0);
	assert_int_equal(entry.attr.st_size, 2);
	assert_int_equal(entry.attr.st_nlink, 0);
	release(f, ino, &file);
	assert_int_equal(ops->getattr(&f->req, ino, NULL, &entry), 0);
	ops->forget(&f->req, 1, &(struct llfuse_forget){.ino = ino, .nlookup = 1});
	assert_int_equal(ops->getattr(&f->req, ino, NULL, &entry), -ESTALE);
}

static void setattr_sets_each_field(void **state)
{
	struct fixture *f = *state;
	struct stat attr = {.st_mode = 0640, .st_atim = {1, 2}, .st_mtim = {3, 4}, .st_size = 10};
	struct llfuse_entry entry;
	struct llfuse_file file;
	uint64_t ino = create(f, "a", &file);

	assert_int_equal(ops->setattr(&f->req, ino, NULL, &attr,
				      LLFUSE_SET_MODE | LLFUSE_SET_SIZE | LLFUSE_SET_ATIME | LLFUSE_SET_MTIME, &entry),
			 0);
	assert_int_equal(entry.attr.st_mode, S_IFREG | 0640);
	assert_int_equal(entry.attr.st_size, 10);
	assert_int_equal(entry.attr.st_atim.tv_sec, 1);
	assert_int_equal(entry.attr.st_atim.tv_nsec, 2);
	assert_int_equal(entry.attr.st_mtim.tv_sec, 3);
	assert_int_equal(entry.attr.st_mtim.tv_nsec, 4);
	attr.st_mtim.tv_sec = 5;
	assert_int_equal(ops->setattr(&f->req, ino, NULL, &attr, LLFUSE_SET_MTIME, &entry), 0);
	assert_int_equal(entry.attr.st_atim.tv_sec, 1);
	assert_int_equal(entry.attr.st_mtim.tv_sec, 5);
	assert_int_equal(ops->setattr(&f->req, ino, NULL, &attr, LLFUSE_SET_ATIME | LLFUSE_SET_ATIME_NOW, &entry), 0);
	assert_true(entry.attr.st_atim.tv_sec > 1000000000);
	assert_int_equal(entry.attr.st_mtim.tv_sec, 5);
	release(f, ino, &file);
}

static void told_to_a_write_drops_setuid(void **state)
{
	struct fixture *f = *state;
	struct stat attr = {.st_mode = 06755};
	struct llfuse_entry entry;
	struct llfuse_file file;
	uint64_t ino = create(f, "a", &file);

	assert_int_equal(ops->setattr(&f->req, ino, NULL, &attr, LLFUSE_SET_MODE, &entry), 0);
	assert_int_equal(entry.attr.st_mode & 07777, 06755);
	file.kill_suidgid = true;
	assert_int_equal(ops->write(&f->req, ino, &file, "1", 1, 0), 1);
	assert_int_equal(ops->getattr(&f->req, ino, NULL, &entry), 0);
	assert_int_equal(entry.attr.st_mode & 07777, 0755);
	release(f, ino, &file);
}

static void the_umask_counts_once(void **state)
{
	struct fixture *f = *state;
	struct llfuse_entry entry;

	f->req.umask = 027;
	assert_int_equal(ops->mkdir(&f->req, LLFUSE_ROOT_INODE, "d", 0777, &entry), 0);
	assert_int_equal(entry.attr.st_mode, S_IFDIR | 0750);
	assert_int_equal(ops->mknod(&f->req, LLFUSE_ROOT_INODE, "p", S_IFIFO | 0666, 0, &entry), 0);
	assert_int_equal(entry.attr.st_mode, S_IFIFO | 0640);
}

static void what_is_made_belongs_to_the_caller(void **state)
{
	struct fixture *f = *state;
	struct llfuse_entry entry;

	if (!creds_can_switch())
		skip();
	assert_int_equal(chmod(f->path, 0777), 0);
	f->req.uid = 12345;
	f->req.gid = 23456;
	assert_int_equal(ops->symlink(&f->req, LLFUSE_ROOT_INODE, "l", "target", &entry), 0);
	assert_int_equal(entry.attr.st_uid, 12345);
	assert_int_equal(entry.attr.st_gid, 23456);
	assert_int_equal(chmod(f->path, 0755), 0);
	assert_int_equal(ops->mkdir(&f->req, LLFUSE_ROOT_INODE, "d", 0755, &entry), -EACCES);
}

static void a_link_leads_to_the_same_inode(void **state)
{
	struct fixture *f = *state;
	struct llfuse_entry entry;
	struct llfuse_file file;
	uint64_t ino = create(f, "a", &file);

	release(f, ino, &file);
	assert_int_equal(ops->link(&f->req, ino, LLFUSE_ROOT_INODE, "b", &entry), 0);
	assert_int_equal(entry.ino, ino);
	assert_int_equal(entry.attr.st_nlink, 2);
	assert_int_equal(lookup(f, "b"), ino);
}

static void a_rename_over_a_file_keeps_both_inodes(void **state)
{
	struct fixture *f = *state;
	struct llfuse_entry entry;
	struct llfuse_file a_file;
	struct llfuse_file b_file;
	uint64_t a = create(f, "a", &a_file);
	uint64_t b = create(f, "b", &b_file);

	assert_int_equal(ops->rename(&f->req, LLFUSE_ROOT_INODE, "a", LLFUSE_ROOT_INODE, "b", 0), 0);
	assert_int_equal(lookup(f, "b"), a);
	release(f, a, &a_file);
	release(f, b, &b_file);
	assert_int_equal(ops->getattr(&f->req, b, NULL, &entry), 0);
	assert_int_equal(entry.attr.st_nlink, 0);
}

static void readlink_gives_the_target(void **state)
{
	struct fixture *f = *state;
	struct llfuse_data *data = llfuse_data_new(4096);
	struct llfuse_entry entry;
	char buf[32];

	assert_int_equal(ops->symlink(&f->req, LLFUSE_ROOT_INODE, "l", "/etc/passwd", &entry), 0);
	assert_int_equal(ops->readlink(&f->req, entry.ino, data), 0);
	assert_int_equal(llfuse_data_copy(data, buf, sizeof(buf)), 11);
	assert_memory_equal(buf, "/etc/passwd", 11);
	llfuse_data_free(data);
}

/* Lists the root in answers of @size bytes and counts how often each of f0 ... is named. */
static void list(struct fixture *f, size_t size, bool wants_attr, unsigned *seen, unsigned files)
{
	struct llfuse_file file = {.flags = O_RDONLY};
	const char *name;
	off_t off = 0;
	size_t n;

	assert_int_equal(ops->opendir(&f->req, LLFUSE_ROOT_INODE, &file), 0);
	do {
		struct llfuse_dir *dir = llfuse_dir_new(size, wants_attr);
		uint64_t ino;

		assert_int_equal(ops->readdir(&f->req, LLFUSE_ROOT_INODE, &file, off, dir), 0);
		for (n = 0; (name = llfuse_dir_get(dir, n, &ino, &off)); n++) {
			unsigned i;

			if (sscanf(name, "f%u", &i) == 1 && i < files) {
				seen[i]++;
				if (wants_attr)
					ops->forget(&f->req, 1, &(struct llfuse_forget){.ino = ino, .nlookup = 1});
			}
		}
		llfuse_dir_free(dir);
	} while (n);
	assert_int_equal(ops->releasedir(&f->req, LLFUSE_ROOT_INODE, &file), 0);
}

static void each_entry_is_listed_once(void **state)
{
	enum { FILES = 1000 };
	struct fixture *f = *state;
	char name[16];

	for (int i = 0; i < FILES; i++) {
		struct llfuse_entry entry;

		(void)snprintf(name, sizeof(name), "f%d", i);
		assert_int_equal(ops->mknod(&f->req, LLFUSE_ROOT_INODE, name, S_IFREG | 0644, 0, &entry), 0);
		ops->forget(&f->req, 1, &(struct llfuse_forget){.ino = entry.ino, .nlookup = 1});
	}
	for (int wants_attr = 0; wants_attr < 2; wants_attr++) {
		unsigned seen[FILES] = {0};

		list(f, 512, wants_attr, seen, FILES);
		for (int i = 0; i < FILES; i++)
			assert_int_equal(seen[i], 1);
	}
	/* And the lookups that were not counted are not held. */
	assert_int_equal(inode_table_count(source_inodes(f->source)), 1);
}

static void extended_attributes_are_the_sources(void **state)
{
	struct fixture *f = *state;
	struct llfuse_data *value = llfuse_data_new(65536);
	struct llfuse_data *names = llfuse_data_new(65536);
	struct llfuse_file file;
	uint64_t ino = create(f, "a", &file);
	char path[96];
	char buf[256];
	int err;

	release(f, ino, &file);
	err = ops->setxattr(&f->req, ino, "user.x", "value", 5, XATTR_CREATE);
	if (err == -EOPNOTSUPP) {
		llfuse_data_free(value);
		llfuse_data_free(names);
		skip();
	}
	assert_int_equal(err, 0);
	assert_int_equal(ops->setxattr(&f->req, ino, "user.x", "value", 5, XATTR_CREATE), -EEXIST);
	(void)snprintf(path, sizeof(path), "%s/a", f->path);
	assert_int_equal(getxattr(path, "user.x", buf, sizeof(buf)), 5);
	assert_int_equal(ops->getxattr(&f->req, ino, "user.x", value), 0);
	assert_int_equal(llfuse_data_copy(value, buf, sizeof(buf)), 5);
	assert_memory_equal(buf, "value", 5);
	if (geteuid() == 0) {
		assert_int_equal(setxattr(path, "trusted.secret", "v", 1, 0), 0);
		f->req.uid = 12345;
	}
	assert_int_equal(ops->listxattr(&f->req, ino, names), 0);
	assert_int_equal(llfuse_data_copy(names, buf, sizeof(buf)), 7);
	assert_string_equal(buf, "user.x");
	assert_int_equal(ops->removexattr(&f->req, ino, "user.x"), 0);
	assert_int_equal(ops->removexattr(&f->req, ino, "user.x"), -ENODATA);
	llfuse_data_free(value);
	llfuse_data_free(names);
}

/* Outside the mount somebody was faster. */
static void create_of_what_is_there_opens_it_or_not(void **state)
{
	struct fixture *f = *state;
	struct llfuse_file file = {.flags = O_RDWR, .backing_fd = -1};
	struct llfuse_entry entry;
	struct llfuse_file first;
	uint64_t ino = create(f, "a", &first);

	assert_int_equal(ops->create(&f->req, LLFUSE_ROOT_INODE, "a", 0644, &file, &entry), 0);
	assert_int_equal(entry.ino, ino);
	release(f, ino, &file);
	file.flags = O_RDWR | O_EXCL;
	assert_int_equal(ops->create(&f->req, LLFUSE_ROOT_INODE, "a", 0644, &file, &entry), -EEXIST);
	assert_int_equal(symlinkat("/etc/passwd", f->dir_fd, "l"), 0);
	assert_int_equal(mkfifoat(f->dir_fd, "p", 0644), 0);
	file.flags = O_RDWR;
	assert_int_equal(ops->create(&f->req, LLFUSE_ROOT_INODE, "l", 0644, &file, &entry), -ESTALE);
	assert_int_equal(ops->create(&f->req, LLFUSE_ROOT_INODE, "p", 0644, &file, &entry), -ESTALE);
	release(f, ino, &first);
}

/* The kernel checks no rights for a create: it thinks that there is nothing. */
static void create_of_what_is_there_asks_for_the_callers_rights(void **state)
{
	struct fixture *f = *state;
	struct llfuse_file file = {.flags = O_RDWR | O_TRUNC, .backing_fd = -1};
	struct llfuse_entry entry;
	struct llfuse_file first;
	uint64_t ino = create(f, "a", &first);
	struct stat st;

	if (geteuid() != 0)
		skip();
	assert_int_equal(ops->write(&f->req, ino, &first, "secret", 6, 0), 6);
	assert_int_equal(fchmodat(f->dir_fd, "a", 0600, 0), 0);
	assert_int_equal(chmod(f->path, 0777), 0); /* the directory is open to all */
	f->req.uid = f->req.gid = 4001;
	assert_int_equal(ops->create(&f->req, LLFUSE_ROOT_INODE, "a", 0644, &file, &entry), -EACCES);
	assert_int_equal(fstatat(f->dir_fd, "a", &st, 0), 0);
	assert_int_equal(st.st_size, 6);
	assert_int_equal(geteuid(), 0);
	release(f, ino, &first);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(attributes_are_the_sources, setup, teardown),
		cmocka_unit_test_setup_teardown(names_that_are_none_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(an_unknown_inode_is_stale, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_written_is_read, setup, teardown),
		cmocka_unit_test_setup_teardown(only_who_may_map_a_file_to_write_tells_of_its_close, setup, teardown),
		cmocka_unit_test_setup_teardown(an_appending_write_goes_to_the_end, setup, teardown),
		cmocka_unit_test_setup_teardown(a_removed_file_is_still_read_and_truncated, setup, teardown),
		cmocka_unit_test_setup_teardown(setattr_sets_each_field, setup, teardown),
		cmocka_unit_test_setup_teardown(told_to_a_write_drops_setuid, setup, teardown),
		cmocka_unit_test_setup_teardown(the_umask_counts_once, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_made_belongs_to_the_caller, setup, teardown),
		cmocka_unit_test_setup_teardown(a_link_leads_to_the_same_inode, setup, teardown),
		cmocka_unit_test_setup_teardown(a_rename_over_a_file_keeps_both_inodes, setup, teardown),
		cmocka_unit_test_setup_teardown(readlink_gives_the_target, setup, teardown),
		cmocka_unit_test_setup_teardown(each_entry_is_listed_once, setup, teardown),
		cmocka_unit_test_setup_teardown(extended_attributes_are_the_sources, setup, teardown),
		cmocka_unit_test_setup_teardown(create_of_what_is_there_opens_it_or_not, setup, teardown),
		cmocka_unit_test_setup_teardown(create_of_what_is_there_asks_for_the_callers_rights, setup, teardown),
	};

	creds_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
