/* SPDX-License-Identifier: MIT */
/* Finds out what the two sides can do.  What only one of them can is left out, and said once. */
#include "model.h"

#include "model_report.h"
#include "model_user.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/falloc.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#define PROBE "probe"
#define MAP_PROBE "probe-map"

/* A file on one side, open for reading and writing. */
static int make_probe(int root)
{
	int fd = openat(root, PROBE, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);

	if (fd < 0)
		broken(errno, "cannot create a file");
	return fd;
}

/* ------------------------------------------------------------------------ */
/* One thing on one side                                                     */

static bool has_xattr(int fd, const char *name)
{
	return fsetxattr(fd, name, "x", 1, 0) == 0 || (errno != EOPNOTSUPP && errno != ENOSYS);
}

static bool has_xattr_user(int root, int fd)
{
	(void)root;
	return has_xattr(fd, "user.probe");
}

static bool has_xattr_trusted(int root, int fd)
{
	(void)root;
	return has_xattr(fd, "trusted.probe");
}

static bool has_xattr_security(int root, int fd)
{
	(void)root;
	return has_xattr(fd, "security.probe");
}

/* A sound one, as the kernel looks at it before it asks whether there can be any. */
static bool has_acl(int root, int fd)
{
	static const struct {
		struct posix_acl_xattr_header header;
		struct posix_acl_xattr_entry entries[3];
	} acl = {
		{POSIX_ACL_XATTR_VERSION},
		{{ACL_USER_OBJ, 6, (unsigned)ACL_UNDEFINED_ID},
		 {ACL_GROUP_OBJ, 0, (unsigned)ACL_UNDEFINED_ID},
		 {ACL_OTHER, 0, (unsigned)ACL_UNDEFINED_ID}},
	};

	(void)root;
	return fsetxattr(fd, "system.posix_acl_access", &acl, sizeof(acl), 0) == 0;
}

static bool has_whiteout(int root, int fd)
{
	bool has = renameat2(root, PROBE, root, PROBE "2", RENAME_WHITEOUT) == 0;

	(void)fd;
	if (has && (unlinkat(root, PROBE, 0) < 0 || renameat(root, PROBE "2", root, PROBE) < 0))
		broken(errno, "taking back RENAME_WHITEOUT");
	return has;
}

static bool has_direct_io(int root, int fd)
{
	int direct_fd = openat(root, PROBE, O_RDWR | O_DIRECT | O_CLOEXEC);

	(void)fd;
	if (direct_fd < 0)
		return false;
	close(direct_fd);
	return true;
}

/* Whether it tells of a hole, where a file is being written and where it is only allocated, or calls
 * everything data. */
static bool has_seek_hole(int root, int fd)
{
	(void)root;
	return pwrite(fd, "x", 1, (off_t)1 << 20) == 1 && lseek(fd, 0, SEEK_HOLE) == 0 &&
	       fallocate(fd, 0, 0, 65536) == 0 && lseek(fd, 0, SEEK_HOLE) == 0;
}

static mode_t mode_of(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		broken(errno, "fstat");
	return st.st_mode;
}

static bool truncate_stamps(int root, int fd)
{
	const struct timespec long_ago[2] = {{0}, {0}};
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/self/fd/%d/" PROBE, root);
	if (futimens(fd, long_ago) < 0 || fstat(fd, &st) < 0 || truncate(path, st.st_size) < 0 || fstat(fd, &st) < 0)
		broken(errno, "truncating to the same size");
	return st.st_mtim.tv_sec != 0;
}

static bool has_same_size_stamps(int root, int fd)
{
	bool when_empty;

	if (ftruncate(fd, 0) < 0)
		broken(errno, "ftruncate");
	when_empty = truncate_stamps(root, fd);
	if (write(fd, "x", 1) != 1)
		broken(errno, "write");
	return !when_empty && truncate_stamps(root, fd);
}

static bool has_fallocate_drops(int root, int fd)
{
	(void)root;
	if (fchmod(fd, 04777) < 0)
		broken(errno, "fchmod");
	user_enter(user_ordinary());
	if (fallocate(fd, 0, 0, 1) < 0)
		broken(errno, "fallocate");
	user_leave(user_ordinary());
	return !(mode_of(fd) & S_ISUID);
}

static bool has_empty_chown(int root, int fd)
{
	(void)root;
	if (fchmod(fd, 04777) < 0 || fchown(fd, (uid_t)-1, (gid_t)-1) < 0)
		broken(errno, "fchown to nobody");
	return !(mode_of(fd) & S_ISUID);
}

static bool has_group_drops(int root, int fd)
{
	(void)root;
	if (fchmod(fd, 02666) < 0)
		broken(errno, "fchmod");
	user_enter(user_ordinary());
	if (pwrite(fd, "x", 1, 0) != 1)
		broken(errno, "pwrite");
	user_leave(user_ordinary());
	return !(mode_of(fd) & S_ISGID);
}

static bool has_late_setid(int root, int fd)
{
	(void)root;
	if (fchmod(fd, 04777) < 0)
		broken(errno, "fchmod");
	if (pwrite(fd, "x", 1, 0) != 1)
		broken(errno, "pwrite");
	return mode_of(fd) & S_ISUID;
}

/* On a file of its own: how the kernel goes on with one that had capabilities, or is mapped, differs. */
static bool has_map_keeps_capability(int root, int fd)
{
	const struct vfs_cap_data data = {.magic_etc = VFS_CAP_REVISION_2, .data = {{.permitted = 1 << 10}}};
	int map_fd = openat(root, MAP_PROBE, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	char *map;
	bool is_kept;

	(void)fd;
	if (map_fd < 0 || unlinkat(root, MAP_PROBE, 0) < 0 || ftruncate(map_fd, 4096) < 0)
		broken(errno, "making what is tried");
	if (fsetxattr(map_fd, "security.capability", &data, sizeof(data), 0) < 0) {
		close(map_fd);
		return false;
	}
	map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, map_fd, 0);
	if (map == MAP_FAILED)
		broken(errno, "mmap");
	map[0] = 'x';
	if (msync(map, 4096, MS_SYNC) < 0)
		broken(errno, "msync");
	is_kept = fgetxattr(map_fd, "security.capability", NULL, 0) >= 0;
	munmap(map, 4096);
	close(map_fd);
	return is_kept;
}

static bool has_append_ends(int root, int fd)
{
	int append_fd = openat(root, PROBE, O_WRONLY | O_APPEND | O_CLOEXEC);
	struct stat before, after;

	if (append_fd < 0 || pwrite(append_fd, "x", 1, 0) != 1 || fcntl(append_fd, F_SETFL, 0) < 0 ||
	    fstat(fd, &before) < 0 || pwrite(append_fd, "x", 1, 0) != 1 || fstat(fd, &after) < 0)
		broken(errno, "appending");
	close(append_fd);
	return before.st_size == after.st_size;
}

static bool has_zero_range(int fd)
{
	return fallocate(fd, FALLOC_FL_ZERO_RANGE, 0, 4096) == 0;
}

/* ------------------------------------------------------------------------ */
/* Both                                                                      */

struct trial {
	const char *what;
	size_t feature; /* offset of a bool in struct features */
	bool (*has)(int root, int fd);
};

static const struct trial trials[] = {
	{"extended attributes user.*", offsetof(struct features, xattr_user), has_xattr_user},
	{"extended attributes trusted.*", offsetof(struct features, xattr_trusted), has_xattr_trusted},
	{"extended attributes security.*", offsetof(struct features, xattr_security), has_xattr_security},
	{"POSIX ACLs", offsetof(struct features, acl), has_acl},
	{"RENAME_WHITEOUT", offsetof(struct features, whiteout), has_whiteout},
	{"O_DIRECT", offsetof(struct features, direct_io), has_direct_io},
	{"SEEK_HOLE and SEEK_DATA", offsetof(struct features, seek_hole), has_seek_hole},
	{"times after truncate(2) to the same size", offsetof(struct features, same_size_stamps), has_same_size_stamps},
	{"set-user-id after fallocate(2)", offsetof(struct features, fallocate_drops), has_fallocate_drops},
	{"chown(2) to nobody", offsetof(struct features, empty_chown), has_empty_chown},
	{"set-group-id without group execution", offsetof(struct features, group_drops), has_group_drops},
	{"set-id bits for a file that is open", offsetof(struct features, late_setid), has_late_setid},
	{"capabilities of files, which a map keeps", offsetof(struct features, map_keeps_capability),
	 has_map_keeps_capability},
	{"the end of O_APPEND", offsetof(struct features, append_ends), has_append_ends},
};

static void try_both(struct model *model, const struct trial *trial, const int fd[SIDES])
{
	bool *feature = (bool *)((char *)&model->features + trial->feature);
	const bool on_a = trial->has(model->root[A], fd[A]), on_b = trial->has(model->root[B], fd[B]);

	*feature = on_a && on_b;
	if (!*feature)
		printf("model: left out: %s (not on %s)\n", trial->what, on_a ? "B" : on_b ? "A" : "either");
}

int model_evict(struct model *model)
{
	int context = (int)syscall(SYS_fspick, model->root[A], "", FSPICK_EMPTY_PATH | FSPICK_CLOEXEC);
	int err = 0;

	if (context < 0)
		return -errno;
	/* A remount without any change: the kernel drops all names that nobody uses, and with a name the
	 * inode if it was the last. */
	if (syscall(SYS_fsconfig, context, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0) < 0)
		err = -errno;
	close(context);
	return err;
}

static void try_evict(struct model *model)
{
	int err = model_evict(model);

	model->features.evict = err == 0;
	if (err)
		printf("model: left out: emptying the kernel's caches (%s; A must be where it is mounted)\n",
		       strerror(-err));
}

/* A device that was made must not be a way to one of the machine's. */
static void refuse_devices(const struct model *model)
{
	struct statvfs st;
	enum side side;

	if (model->source_root >= 0 && (fstatvfs(model->source_root, &st) < 0 || !(st.f_flag & ST_NODEV)))
		broken(0, "%s is to be mounted with nodev", model->settings.source);
	for (side = A; side < SIDES; side++) {
		if (fstatvfs(model->root[side], &st) < 0)
			broken(errno, "%s", model->settings.dir[side]);
		if (!(st.f_flag & ST_NODEV))
			broken(0, "%s is to be mounted with nodev", model->settings.dir[side]);
	}
}

void model_probe(struct model *model)
{
	int fd[SIDES];
	enum side side;
	size_t i;

	refuse_devices(model);
	for (side = A; side < SIDES; side++)
		fd[side] = make_probe(model->root[side]);
	for (i = 0; i < sizeof(trials) / sizeof(trials[0]); i++)
		try_both(model, &trials[i], fd);
	for (side = A; side < SIDES; side++) {
		model->features.zero_range[side] = has_zero_range(fd[side]);
		close(fd[side]);
		if (unlinkat(model->root[side], PROBE, 0) < 0)
			broken(errno, "removing what was tried");
	}
	if (!model->features.zero_range[A])
		printf("model: left out: FALLOC_FL_ZERO_RANGE (not on A)\n");
	try_evict(model);
}
