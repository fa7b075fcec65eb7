/* SPDX-License-Identifier: MIT */
/* Extended attributes and ACLs. */
#include "acl.h"
#include "inode_xattr.h"
#include "tree.h"

#include <endian.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include <cmocka.h>

#define ROOT TREE_ROOT_NUMBER
static const struct owner nobody = {.uid = 65534, .gid = 65533, .umask = 022};

static int make(void **state)
{
	const struct tree_limits limits = {.size = 1u << 20, .inodes = 1000};
	struct tree *tree;

	assert_int_equal(tree_new(0755, (struct owner){0}, &limits, &tree), 0);
	*state = tree;
	return 0;
}

static int unmake(void **state)
{
	tree_free(*state);
	return 0;
}

static struct inode *make_in(struct tree *tree, uint64_t parent, const char *name, mode_t mode)
{
	struct inode *made;

	if (S_ISDIR(mode))
		assert_int_equal(tree_mkdir(tree, parent, name, mode, nobody, &made), 0);
	else
		assert_int_equal(tree_mknod(tree, parent, name, mode, 0, nobody, &made), 0);
	return made;
}

static int set(struct tree *tree, struct inode *inode, const char *name, const char *value, int flags)
{
	return inode_set_xattr(inode, tree->plane, name, value, strlen(value), flags, true);
}

static void assert_value(struct inode *inode, const char *name, const char *value)
{
	char buf[100];

	assert_int_equal(inode_get_xattr(inode, name, buf, sizeof(buf)), strlen(value));
	assert_memory_equal(buf, value, strlen(value));
}

static struct stat stat_of(struct tree *tree, struct inode *inode)
{
	struct stat st;

	(void)inode_stat(inode, tree->plane, &st, NULL);
	return st;
}

/* ------------------------------------------------------------------------ */

static void attributes_are_set_replaced_and_removed(void **state)
{
	struct tree *tree = *state;
	struct inode *inode = make_in(tree, ROOT, "f", S_IFREG | 0644);
	char buf[4];

	assert_int_equal(set(tree, inode, "user.a", "one", 0), 0);
	assert_int_equal(set(tree, inode, "trusted.a", "two", XATTR_CREATE), 0);
	assert_int_equal(set(tree, inode, "user.a", "three", XATTR_CREATE), -EEXIST);
	assert_value(inode, "user.a", "one");
	assert_int_equal(set(tree, inode, "user.a", "three", XATTR_REPLACE), 0);
	assert_value(inode, "user.a", "three");
	assert_int_equal(set(tree, inode, "user.b", "", XATTR_REPLACE), -ENODATA);
	assert_int_equal(set(tree, inode, "user.b", "", 0), 0);
	assert_int_equal(inode_get_xattr(inode, "user.b", buf, sizeof(buf)), 0);
	/* A short buffer gets what fits, and the length of all. */
	assert_int_equal(inode_get_xattr(inode, "user.a", buf, 2), 5);
	assert_int_equal(inode_list_xattrs(inode, true, NULL, 0),
			 strlen("user.a") + strlen("trusted.a") + strlen("user.b") + 3);
	assert_int_equal(inode_list_xattrs(inode, false, NULL, 0), strlen("user.a") + strlen("user.b") + 2);
	assert_int_equal(inode_remove_xattr(inode, tree->plane, "user.a", true), 0);
	assert_int_equal(inode_remove_xattr(inode, tree->plane, "user.a", true), -ENODATA);
	assert_int_equal(inode_get_xattr(inode, "user.a", buf, sizeof(buf)), -ENODATA);
	assert_value(inode, "trusted.a", "two");
	tree_put(tree, inode);
}

static void names_without_a_namespace_are_refused(void **state)
{
	struct tree *tree = *state;
	struct inode *inode = make_in(tree, ROOT, "f", S_IFREG | 0644);
	char buf[4];

	assert_int_equal(set(tree, inode, "system.foo", "x", 0), -EOPNOTSUPP);
	assert_int_equal(set(tree, inode, "foo", "x", 0), -EOPNOTSUPP);
	assert_int_equal(set(tree, inode, "user.", "x", 0), -EINVAL);
	assert_int_equal(set(tree, inode, "", "x", 0), -EOPNOTSUPP);
	assert_int_equal(inode_get_xattr(inode, "os2.x", buf, sizeof(buf)), -EOPNOTSUPP);
	assert_int_equal(inode_remove_xattr(inode, tree->plane, "os2.x", true), -EOPNOTSUPP);
	assert_int_equal(inode_list_xattrs(inode, true, NULL, 0), 0);
	tree_put(tree, inode);
}

static void T7_attributes_count_and_are_given_back(void **state)
{
	struct tree *tree = *state;
	struct inode *inode = make_in(tree, ROOT, "f", S_IFREG | 0644);
	struct tree_limits limits, before, after;
	static char big[60000];
	char name[16];
	int n;

	tree_usage(tree, &limits, &before);
	for (n = 0;; n++) {
		int err;

		snprintf(name, sizeof(name), "user.%d", n);
		err = inode_set_xattr(inode, tree->plane, name, big, sizeof(big), 0, true);
		if (err) {
			assert_int_equal(err, -ENOSPC);
			break;
		}
	}
	assert_in_range(n, 16, 17);
	/* Replacing needs room for both, and keeps the old one without. */
	assert_int_equal(inode_set_xattr(inode, tree->plane, "user.0", big, sizeof(big), 0, true), -ENOSPC);
	assert_int_equal(inode_get_xattr(inode, "user.0", NULL, 0), sizeof(big));
	assert_int_equal(tree_unlink(tree, ROOT, "f"), 0);
	tree_put(tree, inode);
	tree_usage(tree, &limits, &after);
	assert_true(after.size <= before.size);
}

static void all_names_can_be_listed(void **state)
{
	struct tree *tree = *state;
	struct inode *inode = make_in(tree, ROOT, "f", S_IFREG | 0644);
	char name[256];
	int n, err = 0;

	for (n = 0; !err; n++) {
		snprintf(name, sizeof(name), "user.%0*d", 240, n);
		err = set(tree, inode, name, "", 0);
	}
	assert_int_equal(err, -ENOSPC);
	assert_in_range(inode_list_xattrs(inode, true, NULL, 0), 65536 - 250, 65536);
	memset(name, 'n', sizeof(name));
	memcpy(name, "user.", 5);
	name[255] = '\0';
	assert_int_equal(inode_remove_xattr(inode, tree->plane, "user.none", true), -ENODATA);
	assert_int_equal(set(tree, inode, name, "", XATTR_REPLACE), -ENODATA);
	tree_put(tree, inode);
}

static void attributes_stamp_ctime_only(void **state)
{
	struct tree *tree = *state;
	struct inode *inode = make_in(tree, ROOT, "f", S_IFREG | 0644);
	struct stat before = stat_of(tree, inode), after;

	assert_int_equal(set(tree, inode, "user.a", "x", 0), 0);
	after = stat_of(tree, inode);
	assert_memory_equal(&before.st_mtim, &after.st_mtim, sizeof(after.st_mtim));
	assert_true(after.st_ctim.tv_sec > before.st_ctim.tv_sec || after.st_ctim.tv_nsec > before.st_ctim.tv_nsec);
	tree_put(tree, inode);
}

static void capability_of_a_file_goes_with_a_write(void **state)
{
	struct tree *tree = *state;
	struct inode *inode = make_in(tree, ROOT, "f", S_IFREG | 0644);
	const struct inode_change owner = {.set = INODE_SET_UID, .uid = 5}, size = {.set = INODE_SET_SIZE, .size = 9};
	struct stat st;

	for (int round = 0; round < 3; round++) {
		assert_int_equal(set(tree, inode, "security.capability", "caps", 0), 0);
		assert_int_equal(set(tree, inode, "security.other", "stays", 0), 0);
		if (round == 0)
			assert_int_equal(inode_change(inode, tree->plane, &owner, &st), 0);
		else if (round == 1)
			assert_int_equal(inode_change(inode, tree->plane, &size, &st), 0);
		else
			assert_int_equal(inode_remove_xattr(inode, tree->plane, "security.capability", true), 0);
		assert_int_equal(inode_get_xattr(inode, "security.capability", NULL, 0), -ENODATA);
		assert_value(inode, "security.other", "stays");
	}
	tree_put(tree, inode);
}

/* ------------------------------------------------------------------------ */
/* ACLs                                                                      */

enum { USER_OBJ = 1, USER = 2, GROUP_OBJ = 4, GROUP = 8, MASK = 16, OTHER = 32 };

struct acl {
	size_t size;
	unsigned char bytes[200];
};

static void add_entry(struct acl *acl, unsigned tag, unsigned permissions, uint32_t id)
{
	struct {
		uint16_t tag, permissions;
		uint32_t id;
	} entry = {htole16((uint16_t)tag), htole16((uint16_t)permissions), htole32(id)};

	memcpy(acl->bytes + acl->size, &entry, sizeof(entry));
	acl->size += sizeof(entry);
}

static struct acl new_acl(void)
{
	const uint32_t version = htole32(2);
	struct acl acl = {.size = sizeof(version)};

	memcpy(acl.bytes, &version, sizeof(version));
	return acl;
}

/* user::@user user:7:rwx group::@group mask::@mask other::@other */
static struct acl extended(unsigned user, unsigned group, unsigned mask, unsigned other)
{
	struct acl acl = new_acl();

	add_entry(&acl, USER_OBJ, user, 0);
	add_entry(&acl, USER, 7, 7);
	add_entry(&acl, GROUP_OBJ, group, 0);
	add_entry(&acl, MASK, mask, 0);
	add_entry(&acl, OTHER, other, 0);
	return acl;
}

static struct acl minimal(unsigned user, unsigned group, unsigned other)
{
	struct acl acl = new_acl();

	add_entry(&acl, USER_OBJ, user, 0);
	add_entry(&acl, GROUP_OBJ, group, 0);
	add_entry(&acl, OTHER, other, 0);
	return acl;
}

static int set_acl(struct tree *tree, struct inode *inode, const char *name, const struct acl *acl)
{
	return inode_set_xattr(inode, tree->plane, name, acl->bytes, acl->size, 0, true);
}

static void assert_acl(struct inode *inode, const char *name, const struct acl *expected)
{
	unsigned char buf[sizeof(expected->bytes)];

	assert_int_equal(inode_get_xattr(inode, name, buf, sizeof(buf)), expected->size);
	assert_memory_equal(buf, expected->bytes, expected->size);
}

static void access_acl_and_mode_follow_from_each_other(void **state)
{
	struct tree *tree = *state;
	struct inode *inode = make_in(tree, ROOT, "f", S_IFREG | 0644);
	struct acl acl = extended(6, 4, 5, 1), changed = extended(7, 4, 2, 3), plain = minimal(5, 0, 4);
	const struct inode_change mode = {.set = INODE_SET_MODE, .mode = 0723};
	struct stat st;

	assert_int_equal(set_acl(tree, inode, ACL_ACCESS, &acl), 0);
	assert_int_equal(stat_of(tree, inode).st_mode & 07777, 0651);
	assert_acl(inode, ACL_ACCESS, &acl);
	assert_int_equal(inode_change(inode, tree->plane, &mode, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0723);
	assert_acl(inode, ACL_ACCESS, &changed);
	/* What the bits say as well is not kept. */
	assert_int_equal(set_acl(tree, inode, ACL_ACCESS, &plain), 0);
	assert_int_equal(stat_of(tree, inode).st_mode & 07777, 0504);
	assert_int_equal(inode_get_xattr(inode, ACL_ACCESS, NULL, 0), -ENODATA);
	assert_int_equal(inode_remove_xattr(inode, tree->plane, ACL_ACCESS, true), 0);
	tree_put(tree, inode);
}

static void default_acl_is_handed_down(void **state)
{
	struct tree *tree = *state;
	struct inode *dir = make_in(tree, ROOT, "d", S_IFDIR | 0755), *file, *sub;
	struct acl acl = extended(7, 5, 7, 5), of_file = extended(6, 5, 6, 4), of_sub = extended(7, 5, 5, 5);

	assert_int_equal(set_acl(tree, dir, ACL_DEFAULT, &acl), 0);
	assert_int_equal(stat_of(tree, dir).st_mode & 07777, 0755);
	/* The umask does not count: 0666 with group write, from the mask. */
	file = make_in(tree, dir->number, "f", S_IFREG | 0666);
	assert_int_equal(stat_of(tree, file).st_mode & 07777, 0664);
	assert_acl(file, ACL_ACCESS, &of_file);
	assert_int_equal(inode_get_xattr(file, ACL_DEFAULT, NULL, 0), -ENODATA);
	sub = make_in(tree, dir->number, "s", S_IFDIR | 0755);
	assert_int_equal(stat_of(tree, sub).st_mode & 07777, 0755);
	assert_acl(sub, ACL_ACCESS, &of_sub);
	assert_acl(sub, ACL_DEFAULT, &acl);
	tree_put(tree, file);
	tree_put(tree, sub);
	/* One that says no more than bits do leaves only those. */
	acl = minimal(7, 0, 4);
	assert_int_equal(set_acl(tree, dir, ACL_DEFAULT, &acl), 0);
	file = make_in(tree, dir->number, "g", S_IFREG | 0666);
	assert_int_equal(stat_of(tree, file).st_mode & 07777, 0604);
	assert_int_equal(inode_get_xattr(file, ACL_ACCESS, NULL, 0), -ENODATA);
	tree_put(tree, file);
	/* Without one the umask counts. */
	assert_int_equal(inode_remove_xattr(dir, tree->plane, ACL_DEFAULT, true), 0);
	file = make_in(tree, dir->number, "h", S_IFREG | 0666);
	assert_int_equal(stat_of(tree, file).st_mode & 07777, 0644);
	tree_put(tree, file);
	tree_put(tree, dir);
}

static void acl_that_is_none_is_refused(void **state)
{
	struct tree *tree = *state;
	struct inode *inode = make_in(tree, ROOT, "d", S_IFDIR | 0755),
		     *file = make_in(tree, ROOT, "f", S_IFREG | 0644);
	struct acl bad[9];
	size_t n = 0;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		bad[i] = minimal(7, 5, 5);
	bad[n++].size = 3;
	bad[n++].size -= 1;
	bad[n++].size -= 8; /* without "other" */
	bad[n++].bytes[0] = 3; /* of another version */
	bad[n++].bytes[6] = 8; /* a permission that there is not */
	add_entry(&bad[n++], OTHER, 5, 0);
	add_entry(&bad[n++], 0, 5, 0);
	add_entry(&bad[n++], 64, 5, 0);
	add_entry(&bad[n++], USER, 5, 7); /* without a mask */
	assert_int_equal(n, sizeof(bad) / sizeof(bad[0]));
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(set_acl(tree, inode, ACL_ACCESS, &bad[i]), -EINVAL);
		assert_int_equal(set_acl(tree, inode, ACL_DEFAULT, &bad[i]), -EINVAL);
	}
	assert_int_equal(inode_set_xattr(inode, tree->plane, ACL_ACCESS, "", 0, 0, true), -EINVAL);
	bad[0] = minimal(7, 5, 5);
	assert_int_equal(set_acl(tree, file, ACL_DEFAULT, &bad[0]), -EACCES);
	assert_int_equal(stat_of(tree, inode).st_mode & 07777, 0755);
	tree_put(tree, inode);
	tree_put(tree, file);
}

static void setgid_goes_with_an_acl_that_a_stranger_sets(void **state)
{
	struct tree *tree = *state;
	struct inode *inode = make_in(tree, ROOT, "d", S_IFDIR | 02755);
	struct acl acl = minimal(7, 5, 0);

	assert_int_equal(set_acl(tree, inode, ACL_ACCESS, &acl), 0);
	assert_int_equal(stat_of(tree, inode).st_mode & 07777, 02750);
	assert_int_equal(inode_set_xattr(inode, tree->plane, ACL_ACCESS, acl.bytes, acl.size, 0, false), 0);
	assert_int_equal(stat_of(tree, inode).st_mode & 07777, 0750);
	tree_put(tree, inode);
}

static void T5_failed_inheritance_makes_nothing(void **state)
{
	struct tree *tree = *state;
	struct inode *dir = make_in(tree, ROOT, "d", S_IFDIR | 0755), *made;
	struct acl acl = extended(7, 5, 7, 5);
	struct tree_limits limits, before, after;
	bool fired = true;

	assert_int_equal(set_acl(tree, dir, ACL_DEFAULT, &acl), 0);
	for (long nth = 1; fired; nth++) {
		int err;

		tree_usage(tree, &limits, &before);
		mem_fail_nth(&tree->mem, nth);
		err = tree_mkdir(tree, dir->number, "s", 0755, nobody, &made);
		fired = !mem_fail_pending(&tree->mem);
		mem_fail_nth(&tree->mem, 0);
		assert_int_equal(err, fired ? -ENOMEM : 0);
		tree_usage(tree, &limits, &after);
		if (err) {
			assert_int_equal(after.size, before.size);
			assert_int_equal(after.inodes, before.inodes);
		} else {
			tree_put(tree, made);
		}
	}
	tree_put(tree, dir);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, make, unmake)
	const struct CMUnitTest tests[] = {
		TEST(attributes_are_set_replaced_and_removed),
		TEST(names_without_a_namespace_are_refused),
		TEST(T7_attributes_count_and_are_given_back),
		TEST(all_names_can_be_listed),
		TEST(attributes_stamp_ctime_only),
		TEST(capability_of_a_file_goes_with_a_write),
		TEST(access_acl_and_mode_follow_from_each_other),
		TEST(default_acl_is_handed_down),
		TEST(acl_that_is_none_is_refused),
		TEST(setgid_goes_with_an_acl_that_a_stranger_sets),
		TEST(T5_failed_inheritance_makes_nothing),
	};

	return cmocka_run_group_tests_name("tmpfs_xattr", tests, NULL, NULL);
}
