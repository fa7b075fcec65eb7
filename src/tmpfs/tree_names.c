/* SPDX-License-Identifier: MIT */
/* The tree: making and removing names.  See tree.h. */
#include "tree.h"

#include "journal.h"

#include <errno.h>
#include <string.h>

/* Whether @name may be given in @parent: 0, -ENOENT or -EEXIST. */
static int check_free_locked(struct inode *parent, const struct dir_name *name)
{
	if (!parent->dir.parent)
		return -ENOENT;
	if (strcmp(name->bytes, ".") == 0 || strcmp(name->bytes, "..") == 0)
		return -EEXIST;
	return dir_find(&parent->dir, name) ? -EEXIST : 0;
}

/* Gives @inode, which is new, its name; it takes a reference. */
static int name_new_inode(struct tree *tree, struct inode *parent, const struct dir_name *name, struct inode *inode)
{
	struct dir_entry *entry;
	int err;

	pthread_rwlock_wrlock(&tree->lock);
	err = check_free_locked(parent, name);
	if (!err)
		err = dir_add(&parent->dir, &tree->mem, name, inode, &entry);
	if (!err) {
		tree_ref(inode);
		if (inode_is_dir(inode))
			inode->dir.parent = parent;
		inode_dir_changed(parent, 1, inode_is_dir(inode));
		tree_note_name(tree, parent, name, inode);
		tree_note(tree, inode, JOURNAL_NODE | JOURNAL_XATTRS | JOURNAL_NEW);
	}
	pthread_rwlock_unlock(&tree->lock);
	return err;
}

/* What is in the inode besides its mode. */
struct contents {
	dev_t rdev;
	const char *target; /* of a symbolic link, else NULL */
	const struct tree_preparation *preparation; /* of a regular file; may be NULL */
};

static int fill_contents(struct tree *tree, struct inode *inode, const struct contents *contents)
{
	size_t len;

	switch (inode->type) {
	case DT_REG:
		return contents->preparation ? contents->preparation->make(inode, contents->preparation->arg) : 0;
	case DT_CHR:
	case DT_BLK:
		inode->rdev = contents->rdev;
		return 0;
	case DT_LNK:
		len = strlen(contents->target);
		inode->symlink.target = mem_alloc(&tree->mem, len + 1);
		if (!inode->symlink.target)
			return -errno;
		memcpy(inode->symlink.target, contents->target, len + 1);
		inode->symlink.len = len;
		return 0;
	default:
		return 0;
	}
}

static int make_node(struct tree *tree, uint64_t parent, const char *bytes, mode_t mode, struct owner owner,
		     const struct contents *contents, struct inode **made)
{
	scoped_change gate = journal_begin_change(tree->journal);
	struct dir_name name;
	struct inode *dir, *inode;
	int err;

	err = tree_get_place(tree, parent, bytes, &dir, &name);
	if (err)
		return err;
	tree_change_begins(tree, dir);
	err = tree_make_in(tree, dir, mode, owner, &inode);
	if (err)
		goto put_dir;
	err = fill_contents(tree, inode, contents);
	if (err)
		goto put_inode;
	err = name_new_inode(tree, dir, &name, inode);
	if (err)
		goto undo;
	*made = inode;
	goto put_dir;
undo:
	if (contents->preparation)
		contents->preparation->undo(inode, contents->preparation->arg);
put_inode:
	tree_put(tree, inode);
put_dir:
	tree_put(tree, dir);
	return err;
}

int tree_mknod(struct tree *tree, uint64_t parent, const char *name, mode_t mode, dev_t rdev, struct owner owner,
	       struct inode **made)
{
	const struct contents contents = {.rdev = rdev};

	switch (mode & S_IFMT) {
	case S_IFREG:
	case S_IFIFO:
	case S_IFSOCK:
	case S_IFCHR:
	case S_IFBLK:
		return make_node(tree, parent, name, mode, owner, &contents, made);
	default:
		return -EINVAL;
	}
}

int tree_create(struct tree *tree, uint64_t parent, const char *name, mode_t mode, struct owner owner,
		const struct tree_preparation *preparation, struct inode **made)
{
	const struct contents contents = {.preparation = preparation};

	return make_node(tree, parent, name, S_IFREG | (mode & 07777), owner, &contents, made);
}

int tree_mkdir(struct tree *tree, uint64_t parent, const char *name, mode_t mode, struct owner owner,
	       struct inode **made)
{
	return make_node(tree, parent, name, S_IFDIR | (mode & 07777), owner, &(struct contents){0}, made);
}

int tree_symlink(struct tree *tree, uint64_t parent, const char *name, const char *target, struct owner owner,
		 struct inode **made)
{
	const struct contents contents = {.target = target};

	if (strlen(target) > TREE_TARGET_MAX)
		return -ENAMETOOLONG;
	return make_node(tree, parent, name, S_IFLNK | 0777, owner, &contents, made);
}

int tree_tmpfile(struct tree *tree, uint64_t parent, mode_t mode, struct owner owner, struct inode **made)
{
	scoped_change gate = journal_begin_change(tree->journal);
	struct inode *dir;
	int err;

	err = tree_get_dir(tree, parent, &dir);
	if (err)
		return err;
	err = tree_make_in(tree, dir, S_IFREG | (mode & 07777), owner, made);
	if (!err) {
		inode_unname(*made);
		/* Its number is given out, and is not to be again. */
		tree_note(tree, *made, JOURNAL_NODE);
	}
	tree_put(tree, dir);
	return err;
}

static int link_locked(struct tree *tree, struct inode *inode, struct inode *dir, const struct dir_name *name)
{
	const bool was_unnamed = !inode_has_name(inode);
	struct dir_entry *entry;
	int err;

	err = check_free_locked(dir, name);
	if (err)
		return err;
	err = dir_add(&dir->dir, &tree->mem, name, inode, &entry);
	if (err)
		return err;
	err = inode_add_link(inode);
	if (err) {
		dir_remove(&dir->dir, &tree->mem, entry);
		return err;
	}
	tree_ref(inode);
	inode_dir_changed(dir, 1, 0);
	tree_note_name(tree, dir, name, inode);
	/* If this is its first name, nothing of it was ever captured. */
	journal_note_range(tree->journal, inode->number, JOURNAL_NODE | JOURNAL_XATTRS | JOURNAL_BYTES, 0,
			   was_unnamed ? JOURNAL_END : 0);
	return 0;
}

int tree_link(struct tree *tree, uint64_t number, uint64_t parent, const char *bytes, struct inode **linked)
{
	scoped_change gate = journal_begin_change(tree->journal);
	struct dir_name name;
	struct inode *dir, *inode;
	int err;

	err = tree_get_place(tree, parent, bytes, &dir, &name);
	if (err)
		return err;
	tree_change_begins(tree, dir);
	inode = tree_get(tree, number);
	if (!inode) {
		err = -ESTALE;
		goto put_dir;
	}
	if (inode_is_dir(inode)) {
		err = -EPERM;
	} else {
		pthread_rwlock_wrlock(&tree->lock);
		err = link_locked(tree, inode, dir, &name);
		pthread_rwlock_unlock(&tree->lock);
	}
	if (err)
		tree_put(tree, inode);
	else
		*linked = inode;
put_dir:
	tree_put(tree, dir);
	return err;
}

static int check_remove(struct inode *inode, bool want_dir)
{
	if (!want_dir)
		return inode_is_dir(inode) ? -EISDIR : 0;
	if (!inode_is_dir(inode))
		return -ENOTDIR;
	return dir_count(&inode->dir) > 0 ? -ENOTEMPTY : 0;
}

/* Takes @name out of @dir.  The name's reference to @victim is the caller's to put. */
static int remove_locked(struct tree *tree, struct inode *dir, const struct dir_name *name, bool want_dir,
			 struct inode **victim)
{
	struct dir_entry *entry = dir_find(&dir->dir, name);
	struct inode *inode;
	int err;

	if (!entry)
		return -ENOENT;
	inode = entry->inode;
	err = check_remove(inode, want_dir);
	if (err)
		return err;
	dir_remove(&dir->dir, &tree->mem, entry);
	if (want_dir)
		inode->dir.parent = NULL;
	inode_links_changed(inode, -1);
	inode_dir_changed(dir, -1, want_dir ? -1 : 0);
	tree_note_name(tree, dir, name, NULL);
	tree_note(tree, inode, JOURNAL_NODE);
	*victim = inode;
	return 0;
}

static int remove_name(struct tree *tree, uint64_t parent, const char *bytes, bool want_dir)
{
	scoped_change gate = journal_begin_change(tree->journal);
	struct dir_name name;
	struct inode *dir, *victim;
	int err;

	err = tree_get_place(tree, parent, bytes, &dir, &name);
	if (err)
		return err;
	tree_change_begins(tree, dir);
	pthread_rwlock_wrlock(&tree->lock);
	err = remove_locked(tree, dir, &name, want_dir, &victim);
	pthread_rwlock_unlock(&tree->lock);
	if (!err) {
		tree_lost_name(tree, dir, victim);
		inode_leave(victim, tree->plane);
		tree_put(tree, victim);
	}
	tree_put(tree, dir);
	return err;
}

int tree_unlink(struct tree *tree, uint64_t parent, const char *name)
{
	return remove_name(tree, parent, name, false);
}

int tree_rmdir(struct tree *tree, uint64_t parent, const char *name)
{
	return remove_name(tree, parent, name, true);
}
