/* SPDX-License-Identifier: MIT */
/* Extended attributes and ACLs of an inode.  See inode_xattr.h. */
#include "inode_xattr.h"

#include "acl.h"
#include "journal.h"

#include <errno.h>
#include <string.h>

#define TRUSTED "trusted."

static bool starts_with(const char *name, const char *prefix)
{
	return strncmp(name, prefix, strlen(prefix)) == 0;
}

static bool is_acl(const char *name)
{
	return strcmp(name, ACL_ACCESS) == 0 || strcmp(name, ACL_DEFAULT) == 0;
}

/* 0 for a name of a namespace that there is. */
static int check_name(const char *name)
{
	static const char *const prefixes[] = {"user.", TRUSTED, "security."};
	size_t i;

	if (is_acl(name))
		return 0;
	for (i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
		if (starts_with(name, prefixes[i]))
			return name[strlen(prefixes[i])] ? 0 : -EINVAL;
	return -EOPNOTSUPP;
}

ssize_t inode_get_xattr(struct inode *inode, const char *name, void *buf, size_t size)
{
	const struct xattr *xattr;
	ssize_t n = check_name(name);

	if (n < 0)
		return n;
	small_rwlock_rdlock(&inode->lock);
	xattr = xattr_find(inode->xattrs, name);
	n = xattr ? (ssize_t)xattr->size : -ENODATA;
	if (xattr && size > 0)
		memcpy(buf, xattr_value(xattr), xattr->size < size ? xattr->size : size);
	small_rwlock_rdunlock(&inode->lock);
	return n;
}

/* Source: Linux fs/posix_acl.c, posix_acl_update_mode(). */
static void acl_changed(struct inode *inode, bool keeps_setgid) REQUIRES(inode->lock)
{
	if (!keeps_setgid)
		inode->permissions = inode->permissions & (07777u & ~(unsigned)S_ISGID);
}

/* What an access ACL says beside the permission bits is kept, and nothing else. */
static int set_access_acl(struct inode *inode, struct mem *mem, const void *value, size_t size, bool keeps_setgid)
	REQUIRES(inode->lock)
{
	mode_t permissions;
	int err = 0;

	if (acl_to_mode(value, size, &permissions))
		(void)xattr_remove(&inode->xattrs, mem, ACL_ACCESS); /* if there is one */
	else
		err = xattr_set(&inode->xattrs, mem, ACL_ACCESS, value, size, 0);
	if (err)
		return err;
	inode->permissions = ((inode->permissions & ~0777u) | permissions) & 07777u;
	acl_changed(inode, keeps_setgid);
	return 0;
}

static int set_acl(struct inode *inode, struct mem *mem, const char *name, const void *value, size_t size,
		   bool keeps_setgid) REQUIRES(inode->lock)
{
	if (inode->type == DT_LNK)
		return -EOPNOTSUPP;
	if (!acl_is_valid(value, size))
		return -EINVAL;
	if (strcmp(name, ACL_ACCESS) == 0)
		return set_access_acl(inode, mem, value, size, keeps_setgid);
	return inode_is_dir(inode) ? xattr_set(&inode->xattrs, mem, name, value, size, 0) : -EACCES;
}

/* What follows for the times and for how a write is to go on. */
static void xattr_changed(struct inode *inode, struct data_plane *plane, const char *name, bool is_there)
	REQUIRES(inode->lock)
{
	if (strcmp(name, INODE_CAPABILITY) == 0)
		inode->has_capability = is_there;
	inode_watch_setid_locked(inode, plane);
	inode_changed_locked(inode);
	journal_note(plane->journal, inode->number, JOURNAL_NODE | JOURNAL_XATTRS);
}

int inode_set_xattr(struct inode *inode, struct data_plane *plane, const char *name, const void *value, size_t size,
		    int flags, bool keeps_setgid)
{
	scoped_change gate = journal_begin_change(plane->journal);
	int err = check_name(name);

	if (err)
		return err;
	small_rwlock_wrlock(&inode->lock);
	inode_refresh_locked(inode, plane);
	inode_stay_locked(inode, plane);
	if (is_acl(name))
		err = set_acl(inode, plane->mem, name, value, size, keeps_setgid);
	else
		err = xattr_set(&inode->xattrs, plane->mem, name, value, size, flags);
	if (!err)
		xattr_changed(inode, plane, name, true);
	small_rwlock_wrunlock(&inode->lock);
	return err;
}

int inode_restore_xattr(struct inode *inode, struct data_plane *plane, const char *name, const void *value,
			size_t size) NO_THREAD_SAFETY_ANALYSIS
{
	int err = check_name(name);

	if (err)
		return err;
	if (is_acl(name))
		return set_acl(inode, plane->mem, name, value, size, true);
	err = xattr_set(&inode->xattrs, plane->mem, name, value, size, 0);
	if (!err && strcmp(name, INODE_CAPABILITY) == 0)
		inode->has_capability = true;
	return err;
}

int inode_remove_xattr(struct inode *inode, struct data_plane *plane, const char *name, bool keeps_setgid)
{
	scoped_change gate = journal_begin_change(plane->journal);
	int err = check_name(name);

	if (err)
		return err;
	small_rwlock_wrlock(&inode->lock);
	inode_refresh_locked(inode, plane);
	inode_stay_locked(inode, plane);
	err = xattr_remove(&inode->xattrs, plane->mem, name);
	/* The bits say all that is left. */
	if (err && is_acl(name))
		err = 0;
	if (!err && strcmp(name, ACL_ACCESS) == 0)
		acl_changed(inode, keeps_setgid);
	if (!err)
		xattr_changed(inode, plane, name, false);
	small_rwlock_wrunlock(&inode->lock);
	return err;
}

size_t inode_list_xattrs(struct inode *inode, bool with_trusted, void *buf, size_t size)
{
	const struct xattr *xattr;
	char *to = buf;
	size_t total = 0, n;

	small_rwlock_rdlock(&inode->lock);
	for (xattr = inode->xattrs; xattr; xattr = xattr->next) {
		if (!with_trusted && starts_with(xattr->name, TRUSTED))
			continue;
		n = xattr->name_len + 1u;
		if (total + n <= size)
			memcpy(to + total, xattr->name, n);
		total += n;
	}
	small_rwlock_rdunlock(&inode->lock);
	return total;
}

bool inode_has_trusted(struct inode *inode)
{
	const struct xattr *xattr;

	small_rwlock_rdlock(&inode->lock);
	for (xattr = inode->xattrs; xattr && !starts_with(xattr->name, TRUSTED); xattr = xattr->next)
		;
	small_rwlock_rdunlock(&inode->lock);
	return xattr != NULL;
}
