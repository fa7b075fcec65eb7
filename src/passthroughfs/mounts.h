/* SPDX-License-Identifier: MIT */
/*
 * The mounts that the source consists of, and file handles on them.
 *
 * Knows which file systems' handles can be trusted to find a file again, and that
 * a handle needs a descriptor on its mount to be opened.  Knows nothing of inodes.
 */
#ifndef PASSTHROUGHFS_MOUNTS_H
#define PASSTHROUGHFS_MOUNTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

struct watch;

/** One mount; it stays mounted for as long as somebody refers to it. */
struct mount {
	uint64_t id; /* fixed */
	/* Whether the handle of a file names it for ever.  Fixed. */
	bool handles_last;
	/* Of any file on it that is open for more than O_PATH; -1: handles cannot be
	 * opened.  Fixed. */
	int fd;
	/* Fixed: statfs.f_type and f_fsid. */
	unsigned long fs_type;
	uint64_t fsid;
	int watch_err; /* 0: changes of its files by others are told of; else -errno, why not.  Fixed. */
	unsigned refs; /* guarded by whoever owns the list */
	struct mount *next; /* the same */
};

/** A list of them.  No lock of its own: the owner's guards it. */
struct mounts {
	struct mount *first;
	bool without_handles; /* do not open any, even if it would work */
	struct watch *watch; /* NULL: none is watched */
};

/** A file handle as the kernel gives it out. */
struct handle {
	int type;
	unsigned size;
	unsigned char bytes[128]; /* MAX_HANDLE_SZ */
};

/** The mount @id (stx_mnt_id) with one more reference, or NULL if it is not on the list. */
struct mount *mounts_ref(struct mounts *mounts, uint64_t id);

/**
 * The mount that @fd is on, as @stx of it says, on no list yet.  Asks its file system, which may take long, or for ever:
 * not with a lock held that others need.  Looks at nothing of @mounts that changes.  Returns 0, or -ENOMEM.
 */
int mount_new(const struct mounts *mounts, int fd, const struct statx *stx, struct mount **made);

/** One that is on no list; NULL is nothing. */
void mount_free(struct mount *mount);

/** Puts @mount on the list, with one reference.  Returns whether another mount there may show the same file system. */
bool mounts_add(struct mounts *mounts, struct mount *mount);

/** Gives back one reference; closes the mount after the last. */
void mounts_unref(struct mounts *mounts, struct mount *mount);

/**
 * Whether @fd, on @mount, is below the directory that handles on @mount are opened with, wherever its names are: 0, -ESTALE
 * if not, -EOPNOTSUPP where the kernel (before Linux 6.13) or the file system cannot tell, or -errno.  Any thread.
 */
int mount_check_below(const struct mount *mount, int fd);

/** Whether the kernel always knows the name of each file there. */
bool mount_keeps_names(const struct mount *mount);

/** Whether close(2) never fails for a file there: what was written is known not to arrive before that, or after. */
bool mount_closes_silently(const struct mount *mount);

/** The handle of what @name in @dir_fd is, and of its mount what statx(2) calls stx_mnt_id; @flags are those of
 * name_to_handle_at(2), which says what can go wrong.  Returns 0 or -errno.  Any thread. */
int handle_at(int dir_fd, const char *name, int flags, struct handle *handle, uint64_t *mount_id);

/** Whether other files may have the number, and all that can be told of @fd, which @stx describes: then its name says which
 * it is.  Any thread. */
bool mount_shares_number(const struct mount *mount, int fd, const struct statx *stx);

/** The handle of @fd, of size 0 if there is none.  Where handles do not last it is not for opening, and another file may get
 * it once nothing keeps this one.  Any thread. */
void mount_handle(const struct mount *mount, int fd, struct handle *handle);

/** Opens what a handle of @size @bytes stands for.  Returns a descriptor, -ESTALE if it
 * is no more, or -errno.  Any thread. */
int mount_open(const struct mount *mount, int type, const void *bytes, unsigned size, int flags);

#endif
