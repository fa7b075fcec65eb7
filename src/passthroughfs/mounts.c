/* SPDX-License-Identifier: MIT */
/*
 * Mounts and file handles: see mounts.h.
 *
 * Hides name_to_handle_at(2) and open_by_handle_at(2).
 */
#include "mounts.h"

#include "fd.h"
#include "watch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <time.h>

/* How often a handle is opened that might be one of a file that is just going, and how long between. */
enum { OPEN_TRIES = 20, OPEN_PAUSE_NS = 1000000 };

/* What the two system calls take, with room for any handle. */
union kernel_handle {
	struct file_handle head;
	unsigned char room[sizeof(struct file_handle) + sizeof(((struct handle *)0)->bytes)];
};

/*
 * The file systems whose handles name one file for ever: they hold a generation, and
 * also find a file that the kernel has in no cache.  Of others (vfat, FUSE,
 * overlayfs) some give out handles that do not last.
 */
static bool handles_last(unsigned long fs_type)
{
	static const unsigned long trusted[] = {
		0xef53, /* ext2, ext3, ext4 */
		0x58465342, /* xfs */
		0x9123683e, /* btrfs */
		0x01021994, /* tmpfs */
		0xf2f52010, /* f2fs */
		0xca451a4e, /* bcachefs */
	};

	for (size_t i = 0; i < sizeof(trusted) / sizeof(trusted[0]); i++) {
		if (fs_type == trusted[i])
			return true;
	}
	return false;
}

int handle_at(int dir_fd, const char *name, int flags, struct handle *handle, uint64_t *mount_id)
{
	union kernel_handle kernel = {.head = {.handle_bytes = sizeof(handle->bytes)}};
	int id;

	if (name_to_handle_at(dir_fd, name, &kernel.head, &id, flags) < 0)
		return -errno;
	handle->type = kernel.head.handle_type;
	handle->size = kernel.head.handle_bytes;
	memcpy(handle->bytes, kernel.head.f_handle, handle->size);
	*mount_id = (uint64_t)id;
	return 0;
}

#ifndef AT_HANDLE_FID
#define AT_HANDLE_FID 0x200 /* Linux 6.5: the handle need not be one that can be opened */
#endif

/* Names of one file of a lower layer have one handle there as they have one number: mount_shares_number(). */
static bool is_overlayfs(const struct mount *mount)
{
	return mount->fs_type == 0x794c7630;
}

void mount_handle(const struct mount *mount, int fd, struct handle *handle)
{
	int flags = mount->handles_last ? AT_EMPTY_PATH : AT_EMPTY_PATH | AT_HANDLE_FID;
	uint64_t mount_id;

	if (is_overlayfs(mount) || handle_at(fd, "", flags, handle, &mount_id) < 0)
		handle->size = 0;
}

/* A file of the upper layer that came from no other: its names are one inode there.  Source: Linux fs/overlayfs/overlayfs.h,
 * struct ovl_fh. */
static bool is_of_upper_layer(int fd)
{
	enum { TYPE = 0xf8, FLAGS_AT = 6, IS_UPPER = 0x04 };
	struct handle handle;
	uint64_t mount_id;

	return handle_at(fd, "", AT_EMPTY_PATH | AT_HANDLE_FID, &handle, &mount_id) == 0 && handle.type == TYPE &&
	       handle.size > FLAGS_AT && (handle.bytes[FLAGS_AT] & IS_UPPER);
}

/* Overlayfs shows the names of one file in a lower layer with the same number, and makes each another file when that is
 * written to (without index=on). */
bool mount_shares_number(const struct mount *mount, int fd, const struct statx *stx)
{
	return is_overlayfs(mount) && !S_ISDIR(stx->stx_mode) && stx->stx_nlink > 1 && !is_of_upper_layer(fd);
}

/* ENOMEM may mean that there is no such file any more: ext4 says it while the number of the file is being given to a new
 * one.  That takes a moment, and then it says ESTALE. */
static int open_handle(const struct mount *mount, union kernel_handle *handle, int flags)
{
	const struct timespec moment = {.tv_nsec = OPEN_PAUSE_NS};

	for (int tries = 1;; tries++) {
		int fd = open_by_handle_at(mount->fd, &handle->head, flags | O_CLOEXEC);

		if (fd >= 0)
			return fd;
		if (errno != ENOMEM || tries == OPEN_TRIES)
			return -errno;
		(void)nanosleep(&moment, NULL); /* if it is cut short, it is tried earlier */
	}
}

int mount_open(const struct mount *mount, int type, const void *bytes, unsigned size, int flags)
{
	union kernel_handle kernel = {.head = {.handle_bytes = size, .handle_type = type}};

	memcpy(kernel.head.f_handle, bytes, size);
	return open_handle(mount, &kernel, flags);
}

#ifndef AT_HANDLE_CONNECTABLE
#define AT_HANDLE_CONNECTABLE 0x002 /* Linux 6.13 */
#endif

/* The handle holds the directory too; the kernel opens it only if that leads to the file from where it is opened with. */
int mount_check_below(const struct mount *mount, int fd)
{
	int flags = AT_SYMLINK_FOLLOW | AT_HANDLE_CONNECTABLE;
	struct handle handle;
	scoped_fd found = -1;
	uint64_t mount_id;

	if (mount->fd < 0 || handle_at(AT_FDCWD, fd_name(fd).path, flags, &handle, &mount_id) < 0)
		return -EOPNOTSUPP;
	found = mount_open(mount, handle.type, handle.bytes, handle.size, O_PATH);
	return found < 0 ? found : 0;
}

bool mount_keeps_names(const struct mount *mount)
{
	return mount->fs_type == 0x01021994; /* tmpfs: they are in memory, and nowhere else */
}

/* Those with handles that last are kept on this machine, and none of them has anything to do at close(2). */
bool mount_closes_silently(const struct mount *mount)
{
	return mount->handles_last;
}

/* A descriptor to open handles with, or -1 if that does not work here.  @fd is
 * opened anew only if that has no effect on what it stands for. */
static int handle_base(int fd, mode_t type)
{
	struct mount trial = {.handles_last = true};
	struct handle handle;
	scoped_fd base = -1;
	scoped_fd found = -1;

	if (type != S_IFDIR && type != S_IFREG)
		return -1;
	base = fd_reopen(fd, O_RDONLY | O_NONBLOCK | O_NOCTTY);
	if (base < 0)
		return -1;
	trial.fd = base;
	mount_handle(&trial, fd, &handle);
	if (!handle.size)
		return -1;
	found = mount_open(&trial, handle.type, handle.bytes, handle.size, O_PATH);
	return found < 0 ? -1 : take_fd(&base);
}

int mount_new(const struct mounts *mounts, int fd, const struct statx *stx, struct mount **made)
{
	struct mount *mount = calloc(1, sizeof(*mount));
	struct statfs st = {.f_type = 0};

	if (!mount)
		return -ENOMEM;
	(void)fstatfs(fd, &st); /* if not, it is a file system that we know nothing of */
	mount->id = stx->stx_mnt_id;
	mount->fd = -1;
	mount->fs_type = (unsigned long)st.f_type;
	memcpy(&mount->fsid, &st.f_fsid, sizeof(mount->fsid));
	mount->handles_last = handles_last(mount->fs_type);
	if (mount->handles_last && !mounts->without_handles)
		mount->fd = handle_base(fd, stx->stx_mode & S_IFMT);
	/* What the others show may also change by another machine's doing, which nobody is told of. */
	mount->watch_err = mount->handles_last && mounts->watch ? watch_file_system(mounts->watch, fd) : -EOPNOTSUPP;
	*made = mount;
	return 0;
}

void mount_free(struct mount *mount)
{
	if (!mount)
		return;
	fd_close(&mount->fd);
	free(mount);
}

struct mount *mounts_ref(struct mounts *mounts, uint64_t id)
{
	struct mount *found = mounts->first;

	while (found && found->id != id)
		found = found->next;
	if (found)
		found->refs++;
	return found;
}

/* Each subvolume of a btrfs has an f_fsid of its own, and is also shown below the one above it: so two of them are taken to
 * be of one file system, which costs no more than to be told of what is known. */
static bool may_be_same_file_system(const struct mount *a, const struct mount *b)
{
	return a->fs_type == b->fs_type && (a->fsid == b->fsid || a->fs_type == 0x9123683e);
}

bool mounts_add(struct mounts *mounts, struct mount *mount)
{
	bool is_another = false;

	for (const struct mount *other = mounts->first; other; other = other->next)
		is_another = is_another || may_be_same_file_system(other, mount);
	mount->next = mounts->first;
	mount->refs = 1;
	mounts->first = mount;
	return is_another;
}

void mounts_unref(struct mounts *mounts, struct mount *mount)
{
	if (--mount->refs)
		return;
	for (struct mount **at = &mounts->first; *at; at = &(*at)->next) {
		if (*at == mount) {
			*at = mount->next;
			break;
		}
	}
	mount_free(mount);
}
