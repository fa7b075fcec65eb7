/* SPDX-License-Identifier: MIT */
/* One inode.  See inode.h. */
#include "inode.h"

#include "acl.h"
#include "inode_store.h"
#include "journal.h"
#include "mem.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define PERMISSIONS 07777u
#define DAY_S 86400
/* Of the coarse clock, at the most. */
#define TICK_NS 10000000
/* What a directory's size grows by with each entry, as in the kernel's tmpfs. */
#define ENTRY_SIZE 20

_Static_assert(sizeof(struct inode) <= 136, "a file's share of 200 bytes, see docs/design.md");

void inode_now(struct timespec *now)
{
	(void)clock_gettime(CLOCK_REALTIME_COARSE, now); /* fails only for an unknown clock */
}

static struct stamp stamp_of(const struct timespec *ts)
{
	return (struct stamp){.sec = ts->tv_sec, .nsec = (uint32_t)ts->tv_nsec};
}

static struct timespec timespec_of(struct stamp stamp)
{
	return (struct timespec){.tv_sec = stamp.sec, .tv_nsec = stamp.nsec};
}

static struct stamp stamp_now(void)
{
	struct timespec now;

	inode_now(&now);
	return stamp_of(&now);
}

static bool is_later(struct stamp a, struct stamp b)
{
	return a.sec != b.sec ? a.sec > b.sec : a.nsec > b.nsec;
}

/* The time of a change: later than that of the one before, which may have been stamped by a finer clock. */
static struct stamp change_stamp(const struct inode *inode) REQUIRES_SHARED(inode->lock)
{
	struct stamp stamp = stamp_now();
	struct timespec now;

	if (is_later(stamp, inode->ctime))
		return stamp;
	(void)clock_gettime(CLOCK_REALTIME, &now); /* fails only for an unknown clock */
	return stamp_of(&now);
}

void inode_init(struct inode *inode, uint64_t number, mode_t mode, struct owner owner)
{
	inode->number = number;
	atomic_init(&inode->refs, 1);
	small_rwlock_init(&inode->lock);
	inode->type = (uint8_t)IFTODT(mode);
	inode->permissions = mode & PERMISSIONS;
	inode->uid = owner.uid;
	inode->gid = owner.gid;
	inode->links = inode_is_dir(inode) ? 2 : 1;
	inode->btime = stamp_now();
	inode->atime = inode->mtime = inode->ctime = inode->btime;
}

/* ------------------------------------------------------------------------ */
/* Attributes                                                                */

/* What is to be said of the bytes, be they in the plane or in a store. */
static void look_at(const struct inode *inode, struct data_plane *plane, struct data_look *look)
	REQUIRES_SHARED(inode->lock)
{
	if (inode->is_stored)
		*look = (struct data_look){.size = inode->data.stored.size, .allocated = inode->data.stored.allocated};
	else
		plane->ops->look(plane, &inode->data, look);
}

static void stat_data(const struct inode *inode, struct data_plane *plane, struct stat *st) REQUIRES_SHARED(inode->lock)
{
	struct data_look look;

	look_at(inode, plane, &look);
	st->st_size = (off_t)look.size;
	st->st_blocks = (blkcnt_t)((look.allocated + 511) / 512);
}

void inode_stat_locked(const struct inode *inode, struct data_plane *plane, struct stat *st)
{
	memset(st, 0, sizeof(*st));
	st->st_ino = inode->number;
	st->st_mode = inode_type(inode) | inode->permissions;
	st->st_nlink = inode->links;
	st->st_uid = inode->uid;
	st->st_gid = inode->gid;
	st->st_blksize = DATA_PAGE_SIZE;
	st->st_atim = timespec_of(inode->atime);
	st->st_mtim = timespec_of(inode->mtime);
	st->st_ctim = timespec_of(inode->ctime);
	switch (inode->type) {
	case DT_REG:
		stat_data(inode, plane, st);
		break;
	case DT_DIR:
		st->st_size = (off_t)(((inode->is_leaving ? 0 : inode->entries) + 2) * ENTRY_SIZE);
		break;
	case DT_LNK:
		st->st_size = (off_t)inode->symlink.len;
		break;
	case DT_CHR:
	case DT_BLK:
		st->st_rdev = inode->rdev;
		break;
	default:
		break;
	}
}

static void take_later(struct stamp *mine, const struct timespec *seen)
{
	struct stamp stamp = stamp_of(seen);

	if (is_later(stamp, *mine))
		*mine = stamp;
}

/* What goes with @inode, its names aside. */
static struct mem_cost cost_of(const struct inode *inode, struct data_plane *plane) REQUIRES_SHARED(inode->lock)
{
	struct mem_cost cost = {.memory = mem_block_cost(sizeof(*inode))};
	struct data_look look = {0};

	if (inode_is_regular(inode))
		look_at(inode, plane, &look);
	if (inode->is_stored)
		look.allocated = inode_stored_cost(plane, look.allocated);
	*(plane->ops->is_share && !inode->is_stored ? &cost.share : &cost.memory) += look.allocated;
	cost.memory += xattr_cost(inode->xattrs);
	return cost;
}

/* It does not go after all; @cost is what left. */
static void stay_with(struct inode *inode, struct data_plane *plane, const struct mem_cost *cost) REQUIRES(inode->lock)
{
	if (!inode->is_leaving)
		return;
	mem_stay(plane->mem, inode->left, cost);
	inode->is_leaving = false;
	inode->left = 0;
}

/* Whether @a is later than @b by less than a tick: then we stamped it, by a finer clock than the one of @b. */
static bool is_just_after(struct stamp a, const struct timespec *b)
{
	int64_t seconds = a.sec - b->tv_sec, by;

	if (seconds < 0 || seconds > 1)
		return false;
	by = seconds * 1000000000 + a.nsec - b->tv_nsec;
	return by > 0 && by < TICK_NS;
}

static bool is_stale(const struct inode *inode, const struct data_plane *plane) REQUIRES_SHARED(inode->lock)
{
	return inode_is_regular(inode) && !inode->is_stored && data_is_stale(plane, &inode->data);
}

bool inode_is_suspect(const struct inode *inode, const struct data_plane *plane)
{
	return inode_is_regular(inode) && !inode->is_stored && data_is_exposed(plane, &inode->data);
}

void inode_refresh_locked(struct inode *inode, struct data_plane *plane)
{
	struct data_look look;
	struct mem_cost before;

	if (!is_stale(inode, plane))
		return;
	before = cost_of(inode, plane);
	plane->ops->refresh(plane, &inode->data);
	plane->ops->look(plane, &inode->data, &look);
	if (look.allocated != before.share) /* a plane that is ever stale is the share */
		stay_with(inode, plane, &before);
	if (look.was_read) {
		inode->atime = stamp_of(&look.atime);
		journal_note(plane->journal, inode->number, JOURNAL_NODE);
	}
	if (look.was_written) {
		if (!is_just_after(inode->mtime, &look.mtime))
			inode->mtime = stamp_of(&look.mtime);
		/* We may have changed the mode since. */
		take_later(&inode->ctime, &look.ctime);
	}
	/* Nobody knows who it was that wrote. */
	if (look.is_setid_lost) {
		inode_drop_setid_locked(inode, plane, false, true);
		journal_note(plane->journal, inode->number, JOURNAL_NODE | JOURNAL_XATTRS);
	}
}

/* Takes the lock for reading, with nothing stale. */
static void rdlock_fresh(struct inode *inode, struct data_plane *plane) ACQUIRE_SHARED(inode->lock)
{
	small_rwlock_rdlock(&inode->lock);
	if (!is_stale(inode, plane))
		return;
	small_rwlock_rdunlock(&inode->lock);
	small_rwlock_wrlock(&inode->lock);
	inode_refresh_locked(inode, plane);
	small_rwlock_downgrade(&inode->lock);
}

/* The same, or false if the lock is not to be had at once. */
static bool try_rdlock_fresh(struct inode *inode, struct data_plane *plane) NO_THREAD_SAFETY_ANALYSIS
{
	if (!small_rwlock_tryrdlock(&inode->lock))
		return false;
	if (!is_stale(inode, plane))
		return true;
	small_rwlock_rdunlock(&inode->lock);
	if (!small_rwlock_trywrlock(&inode->lock))
		return false;
	inode_refresh_locked(inode, plane);
	small_rwlock_downgrade(&inode->lock);
	return true;
}

/*
 * Whether the kernel cannot rely on the attributes that it is told.  When a file loses a name, the kernel counts one off
 * the links that it knows; if it was told the new number just before, that is one too many, and only
 * asking again mends it.
 */
static bool may_change(const struct inode *inode, const struct data_plane *plane) REQUIRES_SHARED(inode->lock)
{
	return inode->lost_names > 0 ||
	       (inode_is_regular(inode) && !inode->is_stored && data_is_changing(plane, &inode->data));
}

bool inode_stat(struct inode *inode, struct data_plane *plane, struct stat *st, struct timespec *btime)
{
	bool may;

	rdlock_fresh(inode, plane);
	inode_stat_locked(inode, plane, st);
	if (btime)
		*btime = timespec_of(inode->btime);
	may = may_change(inode, plane);
	small_rwlock_rdunlock(&inode->lock);
	return may;
}

bool inode_try_stat(struct inode *inode, struct data_plane *plane, struct stat *st, bool *may) NO_THREAD_SAFETY_ANALYSIS
{
	if (!try_rdlock_fresh(inode, plane))
		return false;
	inode_stat_locked(inode, plane, st);
	*may = may_change(inode, plane);
	small_rwlock_rdunlock(&inode->lock);
	return true;
}

bool inode_drops_setid(const struct inode *inode)
{
	return !inode_is_dir(inode) && (inode->has_capability || (inode->permissions & (S_ISUID | S_ISGID)));
}

bool inode_has_setid(struct inode *inode)
{
	bool has;

	small_rwlock_rdlock(&inode->lock);
	has = !inode_is_dir(inode) && (inode->permissions & (S_ISUID | S_ISGID));
	small_rwlock_rdunlock(&inode->lock);
	return has;
}

bool inode_has_setgid(struct inode *inode, gid_t *gid)
{
	bool has;

	small_rwlock_rdlock(&inode->lock);
	has = inode->permissions & S_ISGID;
	*gid = inode->gid;
	small_rwlock_rdunlock(&inode->lock);
	return has;
}

void inode_drop_setid_locked(struct inode *inode, struct data_plane *plane, bool is_privileged, bool is_stranger)
{
	unsigned drop = S_ISUID;

	if (inode_is_dir(inode))
		return;
	if (is_stranger || (inode->permissions & S_IXGRP))
		drop |= S_ISGID;
	if (!is_privileged)
		inode->permissions = inode->permissions & ~drop & PERMISSIONS;
	if (!inode->has_capability)
		return;
	inode_stay_locked(inode, plane);
	(void)xattr_remove(&inode->xattrs, plane->mem, INODE_CAPABILITY); /* it is there */
	inode->has_capability = false;
}

void inode_changed_locked(struct inode *inode)
{
	inode->ctime = change_stamp(inode);
}

void inode_modified_locked(struct inode *inode)
{
	inode->mtime = inode->ctime = change_stamp(inode);
}

/* Whether truncation to the size that a file has changes its times: as the kernel's tmpfs has it. */
static bool is_stamped(const struct inode_change *change, const struct data_look *before)
{
	return change->size != before->size || before->allocated > 0 || (change->set & INODE_SIZE_OF_OPEN);
}

/* Returns 0 or why the size cannot be changed. */
static int change_size(struct inode *inode, struct data_plane *plane, const struct inode_change *change)
	REQUIRES(inode->lock)
{
	struct data_look look;
	int err = 0;

	if (!inode_is_regular(inode))
		return inode_is_dir(inode) ? -EISDIR : -EINVAL;
	inode_stay_locked(inode, plane);
	look_at(inode, plane, &look);
	/* Bytes that nobody wants any more need not come from the store, unless a capture has yet to read them. */
	if (change->size > 0 || journal_is_captured(plane->journal))
		err = inode_load_locked(inode, plane);
	if (err)
		return err;
	inode_forget_stored_locked(inode, plane);
	journal_before_bytes(plane, inode, look.size < change->size ? look.size : change->size, JOURNAL_END);
	err = plane->ops->resize(plane, &inode->data, change->size);
	if (err)
		return err;
	if (is_stamped(change, &look))
		inode_modified_locked(inode);
	return 0;
}

static void change_mode(struct inode *inode, mode_t mode) REQUIRES(inode->lock)
{
	struct xattr *acl = xattr_find(inode->xattrs, ACL_ACCESS);

	inode->permissions = mode & PERMISSIONS;
	if (acl)
		acl_chmod((void *)xattr_value(acl), acl->size, mode);
}

static void change_owner(struct inode *inode, struct data_plane *plane, const struct inode_change *change)
	REQUIRES(inode->lock)
{
	if (change->set & INODE_SET_UID)
		inode->uid = change->uid;
	if (change->set & INODE_SET_GID)
		inode->gid = change->gid;
	/* Whoever asks, and for no file that nobody can run: chown(2). */
	inode_drop_setid_locked(inode, plane, false, change->set & INODE_DROP_AS_STRANGER);
}

/* The file in which the bytes lie follows, and says what now is: it stamps by its own clock what is written next. */
static void set_data_times(struct inode *inode, struct data_plane *plane, unsigned set) REQUIRES(inode->lock)
{
	static const struct timespec now = {.tv_nsec = UTIME_NOW};
	struct timespec times[2] = {
		set & INODE_ATIME_NOW ? now : timespec_of(inode->atime),
		set & INODE_MTIME_NOW ? now : timespec_of(inode->mtime),
	};

	if (!plane->ops->set_times(plane, &inode->data, times))
		return;
	inode->atime = stamp_of(&times[0]);
	inode->mtime = stamp_of(&times[1]);
	/* Its clock may lag behind the one that stamped the last change. */
	if ((set & INODE_MTIME_NOW) && !(set & INODE_SET_CTIME))
		take_later(&inode->ctime, &times[1]);
}

static void change_times(struct inode *inode, struct data_plane *plane, const struct inode_change *change)
	REQUIRES(inode->lock)
{
	const struct stamp now = change_stamp(inode);

	if (change->set & INODE_SET_ATIME)
		inode->atime = change->set & INODE_ATIME_NOW ? now : stamp_of(&change->atime);
	if (change->set & INODE_SET_MTIME)
		inode->mtime = change->set & INODE_MTIME_NOW ? now : stamp_of(&change->mtime);
	inode->ctime = change->set & INODE_SET_CTIME ? stamp_of(&change->ctime) : now;
	if ((change->set & (INODE_SET_ATIME | INODE_SET_MTIME)) && inode_is_regular(inode) && !inode->is_stored &&
	    plane->ops->set_times)
		set_data_times(inode, plane, change->set);
}

/* A change of the size alone has stamped what it stamps. */
static bool changes_times(const struct inode_change *change)
{
	return (change->set &
		~(unsigned)(INODE_SET_SIZE | INODE_SIZE_OF_OPEN | INODE_DROP_SETID | INODE_DROP_AS_STRANGER)) != 0;
}

void inode_watch_setid_locked(struct inode *inode, struct data_plane *plane)
{
	if (inode_is_regular(inode) && !inode->is_stored && plane->ops->watch_setid)
		plane->ops->watch_setid(plane, &inode->data, inode_drops_setid(inode));
}

int inode_change(struct inode *inode, struct data_plane *plane, const struct inode_change *change, struct stat *after)
{
	/* First, as it takes time and changes nothing. */
	int err = (change->set & INODE_SET_SIZE) && change->size > 0 ? inode_load(inode, plane) : 0;
	scoped_change gate = (change->set & INODE_SET_SIZE)
				     ? journal_begin_bytes(plane->journal, inode->number, change->size, JOURNAL_END)
				     : journal_begin_change(plane->journal);

	if (err)
		return err;
	small_rwlock_wrlock(&inode->lock);
	inode_refresh_locked(inode, plane);
	if (change->set & INODE_SET_SIZE)
		err = change_size(inode, plane, change);
	if (err)
		goto unlock;
	if (change->set & (INODE_SET_UID | INODE_SET_GID))
		change_owner(inode, plane, change);
	if (change->set & (INODE_DROP_SETID | INODE_SET_SIZE))
		inode_drop_setid_locked(inode, plane, !(change->set & INODE_DROP_SETID),
					change->set & INODE_DROP_AS_STRANGER);
	if (change->set & INODE_SET_MODE)
		change_mode(inode, change->mode);
	if (changes_times(change))
		change_times(inode, plane, change);
	inode_watch_setid_locked(inode, plane);
	inode_refresh_locked(inode, plane); /* the new size may only now be known */
	inode_stat_locked(inode, plane, after);
	/* A capability may have gone, or an ACL have changed. */
	journal_note(plane->journal, inode->number, JOURNAL_NODE | JOURNAL_XATTRS);
unlock:
	small_rwlock_wrunlock(&inode->lock);
	return err;
}

/* The ACLs of what is made below @dir's default ACL, and the permissions that follow. */
static int inherit_acl(const struct xattr *from, struct mem *mem, mode_t *mode, struct xattr **xattrs)
{
	unsigned char copy[ACL_SIZE_MAX];
	bool is_minimal;
	int err = 0;

	memcpy(copy, xattr_value(from), from->size);
	is_minimal = acl_create(copy, from->size, mode);
	if (!is_minimal)
		err = xattr_set(xattrs, mem, ACL_ACCESS, copy, from->size, 0);
	if (!err && S_ISDIR(*mode))
		err = xattr_set(xattrs, mem, ACL_DEFAULT, xattr_value(from), from->size, 0);
	if (err)
		xattr_clear(xattrs, mem);
	return err;
}

int inode_inherit(struct inode *dir, struct mem *mem, mode_t *mode, struct owner *owner, struct xattr **xattrs)
{
	const struct xattr *acl;
	int err = 0;

	*xattrs = NULL;
	small_rwlock_rdlock(&dir->lock);
	if (dir->permissions & S_ISGID) {
		owner->gid = dir->gid;
		if (S_ISDIR(*mode))
			*mode |= S_ISGID;
	}
	acl = S_ISLNK(*mode) ? NULL : xattr_find(dir->xattrs, ACL_DEFAULT);
	if (acl)
		err = inherit_acl(acl, mem, mode, xattrs);
	else if (!S_ISLNK(*mode))
		*mode &= ~owner->umask;
	small_rwlock_rdunlock(&dir->lock);
	return err;
}

/* ------------------------------------------------------------------------ */
/* Going                                                                     */

void inode_leave_locked(struct inode *inode, struct data_plane *plane)
{
	struct mem_cost cost;

	if (inode->has_left || inode->links > 0)
		return;
	inode_refresh_locked(inode, plane);
	cost = cost_of(inode, plane);
	inode->left = mem_leave(plane->mem, &cost);
	inode->is_leaving = inode->has_left = inode->left != 0;
}

void inode_leave(struct inode *inode, struct data_plane *plane)
{
	small_rwlock_wrlock(&inode->lock);
	inode_leave_locked(inode, plane);
	small_rwlock_wrunlock(&inode->lock);
}

void inode_stay_locked(struct inode *inode, struct data_plane *plane)
{
	struct mem_cost cost;

	if (!inode->is_leaving)
		return;
	cost = cost_of(inode, plane);
	stay_with(inode, plane, &cost);
}

static void free_contents(struct inode *inode, struct data_plane *plane) REQUIRES(inode->lock)
{
	xattr_clear(&inode->xattrs, plane->mem);
	switch (inode->type) {
	case DT_REG:
		if (inode->is_stored)
			mem_uncharge(plane->mem, inode_stored_cost(plane, inode->data.stored.allocated));
		else
			plane->ops->clear(plane, &inode->data);
		break;
	case DT_DIR:
		dir_done(&inode->dir, plane->mem);
		break;
	case DT_LNK:
		mem_free(plane->mem, inode->symlink.target, inode->symlink.len + 1);
		break;
	default:
		break;
	}
}

/* Nobody else has the inode any more.  The lock orders what they did last before this; it goes with the inode. */
void inode_free(struct inode *inode, struct data_plane *plane) NO_THREAD_SAFETY_ANALYSIS
{
	struct mem_cost cost;

	small_rwlock_wrlock(&inode->lock);
	cost = cost_of(inode, plane);
	mem_gone_begin(plane->mem, inode->is_leaving ? inode->left : 0, &cost);
	free_contents(inode, plane);
	mem_free(plane->mem, inode, sizeof(*inode));
	mem_gone_end(plane->mem);
}

/* ------------------------------------------------------------------------ */
/* Links                                                                     */

void inode_dir_changed(struct inode *dir, int entries, int subdirs)
{
	small_rwlock_wrlock(&dir->lock);
	dir->entries += (uint32_t)entries;
	dir->links += (uint32_t)subdirs;
	inode_modified_locked(dir);
	small_rwlock_wrunlock(&dir->lock);
}

void inode_links_changed(struct inode *inode, int by)
{
	small_rwlock_wrlock(&inode->lock);
	if (inode_is_dir(inode) && by < 0)
		inode->links = 0;
	else
		inode->links += (uint32_t)by;
	if (by < 0 && inode->links > 0 && inode->lost_names < LOST_MANY)
		inode->lost_names++;
	inode->ctime = change_stamp(inode);
	small_rwlock_wrunlock(&inode->lock);
}

void inode_loss_is_known(struct inode *inode)
{
	small_rwlock_wrlock(&inode->lock);
	if (inode->lost_names > 0 && inode->lost_names < LOST_MANY)
		inode->lost_names--;
	small_rwlock_wrunlock(&inode->lock);
}

bool inode_has_name(struct inode *inode)
{
	bool has;

	small_rwlock_rdlock(&inode->lock);
	has = inode->links > 0;
	small_rwlock_rdunlock(&inode->lock);
	return has;
}

int inode_add_link(struct inode *inode)
{
	int err = 0;

	small_rwlock_wrlock(&inode->lock);
	if (inode->links == UINT32_MAX) {
		err = -EMLINK;
	} else if (inode->links == 0 && !inode->unnamed) {
		err = -ENOENT;
	} else {
		inode->links++;
		inode->unnamed = false;
		inode->ctime = change_stamp(inode);
	}
	small_rwlock_wrunlock(&inode->lock);
	return err;
}

void inode_unname(struct inode *inode)
{
	small_rwlock_wrlock(&inode->lock);
	inode->links = 0;
	inode->unnamed = true;
	small_rwlock_wrunlock(&inode->lock);
}

/* ------------------------------------------------------------------------ */
/* Access                                                                    */

/* relatime: once after each change, and once a day. */
static bool atime_is_due(const struct inode *inode, struct stamp now) REQUIRES_SHARED(inode->lock)
{
	return !is_later(inode->atime, inode->mtime) || !is_later(inode->atime, inode->ctime) ||
	       now.sec - inode->atime.sec >= DAY_S;
}

void inode_begin_access(struct inode *inode, struct data_plane *plane)
{
	struct stamp now = stamp_now();

	small_rwlock_rdlock(&inode->lock);
	if (!atime_is_due(inode, now))
		return;
	small_rwlock_rdunlock(&inode->lock);
	small_rwlock_wrlock(&inode->lock);
	inode->atime = now;
	journal_note(plane->journal, inode->number, JOURNAL_NODE);
	small_rwlock_downgrade(&inode->lock);
}

void inode_end_access(struct inode *inode)
{
	small_rwlock_rdunlock(&inode->lock);
}
