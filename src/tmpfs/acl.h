/* SPDX-License-Identifier: MIT */
/*
 * POSIX ACLs as the kernel hands them over: the values of system.posix_acl_access and system.posix_acl_default.  Knows
 * their form and how they and the permission bits follow from each other; nothing of inodes.
 * Source: acl(5); Linux include/uapi/linux/posix_acl_xattr.h for the form.
 */
#ifndef TMPFS_ACL_H
#define TMPFS_ACL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define ACL_ACCESS "system.posix_acl_access"
#define ACL_DEFAULT "system.posix_acl_default"
/* The kernel reads no longer value. */
#define ACL_SIZE_MAX 4096

/* All that follows is for a valid one. */
bool acl_is_valid(const void *value, size_t size);

/* The permission bits that show it.  Returns whether it says no more than they do. */
bool acl_to_mode(const void *value, size_t size, mode_t *permissions);

/* Lets it say what chmod(2) to @mode means: the mask, if there is one, is the group's bits. */
void acl_chmod(void *value, size_t size, mode_t mode);

/* Makes of a copy of a default ACL the access ACL of what is created with @mode, and of @mode the permission bits
 * of that.  Returns whether it says no more than they do. */
bool acl_create(void *value, size_t size, mode_t *mode);

#endif
