/* SPDX-License-Identifier: MIT */
/*
 * One inode: what stat(2) shows of it, who refers to it, and its contents.  Knows
 * POSIX's rules for modes and times; nothing of names (dir), of how an inode is
 * found (itable), or of who is allowed to change what (the kernel checks).
 */
#ifndef TMPFS_INODE_H
#define TMPFS_INODE_H

#include "data.h"
#include "dir.h"
#include "lock.h"
#include "xattr.h"

#include <dirent.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>

/* The attribute by which a file has capabilities of its own. */
#define INODE_CAPABILITY "security.capability"

/* Whom a new inode belongs to. */
struct owner {
	uid_t uid;
	gid_t gid;
	mode_t umask; /* bits that its mode does not get, unless the directory has a default ACL: acl(5) */
};

/* A struct timespec in 12 bytes: there are four in each inode. */
struct stamp {
	int64_t sec;
	uint32_t nsec;
} __attribute__((packed, aligned(4)));

#define LOST_MANY 7

struct symlink {
	char *target;
	size_t len;
};

struct inode {
	struct table_link link; /* the itable's */
	uint64_t number; /* fixed; never used twice */
	/* How often it is referred to: by names, opens, the kernel's lookups, and
	 * requests under way.  The last one frees it (tree_put()). */
	_Atomic uint64_t refs;
	union { /* guarded by lock */
		uint32_t entries; /* directory: as many as dir has, for who holds only this lock */
		uint32_t left; /* is_leaving: see mem_leave(); a directory has no entries then */
	};
	struct small_rwlock lock; /* taken after the tree's; where two are needed, the lower number's first */
	uint8_t type; /* fixed: the top bits of st_mode, DT_REG ... */

	/* guarded by lock */
	bool unnamed : 1; /* made without a name, and has none yet */
	bool starved : 1; /* what the kernel wrote back found no room: see file_lose() */
	bool is_leaving : 1;
	bool has_left : 1; /* once is enough: see inode_leave() */
	uint8_t lost_names : 3; /* of several, since the kernel was last seen to know how many are left; LOST_MANY: too many */
	bool has_capability : 1; /* security.capability is among xattrs */
	uint16_t permissions : 12; /* the low 12 bits of st_mode */
	uint16_t is_stored : 1; /* the bytes of the file are not here yet: inode_load() */
	uid_t uid;
	gid_t gid;
	uint32_t links; /* as st_nlink */
	struct stamp atime, mtime, ctime;
	struct stamp btime; /* fixed */
	struct xattr *xattrs;
	union {
		struct data data; /* regular file */
		struct dir dir; /* guarded by the lock of the tree */
		struct symlink symlink; /* fixed */
		dev_t rdev; /* fixed; devices */
	};
};

/* What to change, and to what.  Times that are not set follow from what is. */
enum inode_set {
	INODE_SET_MODE = 1 << 0,
	INODE_SET_UID = 1 << 1,
	INODE_SET_GID = 1 << 2,
	INODE_SET_SIZE = 1 << 3,
	INODE_SET_ATIME = 1 << 4,
	INODE_SET_MTIME = 1 << 5,
	INODE_SET_CTIME = 1 << 6,
	INODE_SIZE_OF_OPEN = 1 << 7, /* INODE_SET_SIZE is by way of a descriptor: ftruncate(2) */
	INODE_DROP_SETID = 1 << 8, /* the caller may not keep setuid and setgid */
	INODE_DROP_AS_STRANGER = 1 << 9, /* and is not of the file's group */
	INODE_ATIME_NOW = 1 << 10, /* INODE_SET_ATIME is to the time of the change */
	INODE_MTIME_NOW = 1 << 11,
};

struct inode_change {
	unsigned set;
	mode_t mode; /* permissions; the type is ignored */
	uid_t uid;
	gid_t gid;
	uint64_t size;
	struct timespec atime, mtime, ctime;
};

/* Fills in @inode, which is all zero.  links is 1, or 2 for a directory. */
void inode_init(struct inode *inode, uint64_t number, mode_t mode, struct owner owner);

/* Frees the contents, and the inode. */
void inode_free(struct inode *inode, struct data_plane *plane);

/* The time that all stamps are made of: the clock by which the kernel stamps what it writes
 * for us, as two clocks would let time run backwards. */
void inode_now(struct timespec *now);

static inline bool inode_is_dir(const struct inode *inode)
{
	return inode->type == DT_DIR;
}

static inline bool inode_is_regular(const struct inode *inode)
{
	return inode->type == DT_REG;
}

static inline mode_t inode_type(const struct inode *inode)
{
	return (mode_t)inode->type << 12; /* DTTOIF(), which gives an int */
}

/* The attributes; @btime may be NULL.  Returns whether they may change without our seeing it. */
bool inode_stat(struct inode *inode, struct data_plane *plane, struct stat *st, struct timespec *btime);

/* The same without waiting for anybody.  Returns false if somebody changes the inode just now. */
bool inode_try_stat(struct inode *inode, struct data_plane *plane, struct stat *st, bool *may_change);

/* The attributes as they were when somebody last looked at the bytes. */
void inode_stat_locked(const struct inode *inode, struct data_plane *plane, struct stat *st)
	REQUIRES_SHARED(inode->lock);

/* Takes over what happened to the bytes without us. */
void inode_refresh_locked(struct inode *inode, struct data_plane *plane) REQUIRES(inode->lock);

/* Makes all changes or none, and shows the attributes after them.
 * Returns 0, -EFBIG, or -EINVAL for the size of what is no regular file, -EISDIR of a directory. */
int inode_change(struct inode *inode, struct data_plane *plane, const struct inode_change *change, struct stat *after);

/* A name of the directory was added, removed or exchanged: @entries and @subdirs say by how much
 * their numbers change. */
void inode_dir_changed(struct inode *dir, int entries, int subdirs);

/* A name of @inode was removed (-1), moved (0), or given (1) where that cannot fail.
 * A directory without its name has no links. */
void inode_links_changed(struct inode *inode, int by);

bool inode_has_name(struct inode *inode);

/* The kernel is done with the loss of a name. */
void inode_loss_is_known(struct inode *inode);

/* If the last name was removed, it is about to go: what it costs does not count for a moment, even if it is open, as its
 * last release may be on its way.  It stays after all when its bytes change, and for good. */
void inode_leave(struct inode *inode, struct data_plane *plane);
void inode_leave_locked(struct inode *inode, struct data_plane *plane) REQUIRES(inode->lock);
void inode_stay_locked(struct inode *inode, struct data_plane *plane) REQUIRES(inode->lock);

/* Like inode_links_changed(inode, 1), unless there are too many (-EMLINK), or the
 * last name was removed (-ENOENT). */
int inode_add_link(struct inode *inode);

/* Makes of a new inode one that waits for its first name. */
void inode_unname(struct inode *inode);

/*
 * What is made in @dir has its group, if that is a set-group-id directory, and what its default ACL, or the umask, leaves
 * of @mode; @xattrs are its ACLs, for the caller to give it.  Returns 0, -ENOSPC or -ENOMEM.
 */
int inode_inherit(struct inode *dir, struct mem *mem, mode_t *mode, struct owner *owner, struct xattr **xattrs);

/* Somebody reads from @inode: relatime's rule decides whether atime follows.  Then
 * holds its lock for reading, until inode_end_access(). */
void inode_begin_access(struct inode *inode, struct data_plane *plane) ACQUIRE_SHARED(inode->lock);
void inode_end_access(struct inode *inode) RELEASE_SHARED(inode->lock);

/* Sets mtime and ctime to now, or ctime alone. */
void inode_modified_locked(struct inode *inode) REQUIRES(inode->lock);
void inode_changed_locked(struct inode *inode) REQUIRES(inode->lock);

/* Whether the kernel may change the bytes by itself, now or until it is seen to have closed them. */
bool inode_is_suspect(const struct inode *inode, const struct data_plane *plane) REQUIRES_SHARED(inode->lock);

/* After a change of what a write may have to drop: who has the file open may go on writing without our seeing it. */
void inode_watch_setid_locked(struct inode *inode, struct data_plane *plane) REQUIRES(inode->lock);

/* Whether a write may have to drop something. */
bool inode_drops_setid(const struct inode *inode) REQUIRES_SHARED(inode->lock);

/* The same with the lock taken: whether there are setuid or setgid bits; whether there is a setgid bit, and of which
 * group. */
bool inode_has_setid(struct inode *inode);
bool inode_has_setgid(struct inode *inode, gid_t *gid);

/* As chown(2), write(2) and truncate(2) do for those who may not keep them.  A setgid bit without group execution means
 * mandatory locking and not a group, and is dropped for strangers to the group only.  Who is @is_privileged keeps the
 * bits; capabilities of the file nobody keeps. */
void inode_drop_setid_locked(struct inode *inode, struct data_plane *plane, bool is_privileged, bool is_stranger)
	REQUIRES(inode->lock);

#endif
