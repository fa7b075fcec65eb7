/* SPDX-License-Identifier: MIT */
/* The tree: rename(2) and renameat2(2).  See tree.h. */
#include "tree.h"

#include "journal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* One end of a rename. */
struct place {
	struct inode *dir;
	struct dir_name name;
	struct dir_entry *entry; /* NULL: the name is not there */
};

/* Whether @dir is @above or lies below it. */
static bool is_below(const struct inode *dir, const struct inode *above)
{
	for (;;) {
		if (dir == above)
			return true;
		if (!dir->dir.parent || dir->dir.parent == dir)
			return false;
		dir = dir->dir.parent;
	}
}

static bool leads_to_dir(const struct place *place)
{
	return place->entry && inode_is_dir(place->entry->inode);
}

/* A directory cannot be put below itself: nothing would lead to it any more. */
static int check_into_itself(const struct place *from, const struct place *to)
{
	if (leads_to_dir(from) && is_below(to->dir, from->entry->inode))
		return -EINVAL;
	return 0;
}

/* Whether @to may be replaced with @from. */
static int check_replace(const struct place *from, const struct place *to)
{
	if (!to->entry)
		return 0;
	if (!leads_to_dir(from))
		return leads_to_dir(to) ? -EISDIR : 0;
	if (!leads_to_dir(to))
		return -ENOTDIR;
	return dir_count(&to->entry->inode->dir) > 0 ? -ENOTEMPTY : 0;
}

/* Swaps what the two names lead to. */
static int exchange_locked(const struct place *a, const struct place *b)
{
	struct inode *first = a->entry->inode, *second = b->entry->inode;
	int subdirs = leads_to_dir(b) - leads_to_dir(a);
	int err;

	err = check_into_itself(a, b);
	if (!err)
		err = check_into_itself(b, a);
	if (err)
		return err;
	a->entry->inode = second;
	b->entry->inode = first;
	if (inode_is_dir(first))
		first->dir.parent = b->dir;
	if (inode_is_dir(second))
		second->dir.parent = a->dir;
	inode_links_changed(first, 0);
	inode_links_changed(second, 0);
	if (a->dir == b->dir)
		subdirs = 0;
	inode_dir_changed(a->dir, 0, subdirs);
	if (a->dir != b->dir)
		inode_dir_changed(b->dir, 0, -subdirs);
	return 0;
}

/* Takes the old name away, or lets it lead to @whiteout, which takes a reference. */
static void leave_locked(struct tree *tree, const struct place *from, struct inode *whiteout)
{
	int is_dir = inode_is_dir(from->entry->inode);

	if (whiteout) {
		tree_ref(whiteout);
		from->entry->inode = whiteout;
	} else {
		dir_remove(&from->dir->dir, &tree->mem, from->entry);
	}
	inode_dir_changed(from->dir, whiteout ? 0 : -1, -is_dir);
}

/* Moves @from to @to, and leaves @whiteout unless that is NULL.  If @to was there, the name's reference to it is the
 * caller's to put (@replaced). */
static int move_locked(struct tree *tree, const struct place *from, const struct place *to, struct inode *whiteout,
		       struct inode **replaced)
{
	struct inode *moved = from->entry->inode;
	struct inode *old = to->entry ? to->entry->inode : NULL;
	int is_dir = inode_is_dir(moved);
	struct dir_entry *entry;
	int err;

	err = check_into_itself(from, to);
	if (!err)
		err = check_replace(from, to);
	if (err)
		return err;
	if (old) {
		to->entry->inode = moved;
	} else {
		err = dir_add(&to->dir->dir, &tree->mem, &to->name, moved, &entry);
		if (err)
			return err;
	}
	/* From here nothing fails. */
	leave_locked(tree, from, whiteout);
	if (is_dir)
		moved->dir.parent = to->dir;
	inode_links_changed(moved, 0);
	inode_dir_changed(to->dir, old ? 0 : 1, old ? 0 : is_dir);
	if (old) {
		if (is_dir)
			old->dir.parent = NULL;
		inode_links_changed(old, -1);
		*replaced = old;
	}
	return 0;
}

static int rename_locked(struct tree *tree, struct place *from, struct place *to, unsigned flags,
			 struct inode *whiteout, struct inode **replaced)
{
	struct inode *moved, *old;
	int err;

	from->entry = dir_find(&from->dir->dir, &from->name);
	to->entry = dir_find(&to->dir->dir, &to->name);
	if (!from->entry || !to->dir->dir.parent)
		return -ENOENT;
	if (to->entry && (flags & RENAME_NOREPLACE))
		return -EEXIST;
	if (!to->entry && (flags & RENAME_EXCHANGE))
		return -ENOENT;
	if (to->entry && to->entry->inode == from->entry->inode)
		return 0; /* two names of one file both stay: rename(2) */
	moved = from->entry->inode;
	old = to->entry ? to->entry->inode : NULL;
	err = flags & RENAME_EXCHANGE ? exchange_locked(from, to) : move_locked(tree, from, to, whiteout, replaced);
	if (err)
		return err;
	tree_note_name(tree, from->dir, &from->name, flags & RENAME_EXCHANGE ? old : whiteout);
	tree_note_name(tree, to->dir, &to->name, moved);
	tree_note(tree, moved, JOURNAL_NODE);
	if (old)
		tree_note(tree, old, JOURNAL_NODE);
	if (whiteout)
		tree_note(tree, whiteout, JOURNAL_NODE | JOURNAL_XATTRS);
	return 0;
}

/* A character device 0:0 without permissions: what overlay file systems take for "not here".
 * Source: Linux Documentation/filesystems/overlayfs.rst. */
static int make_whiteout(struct tree *tree, struct inode *dir, struct owner owner, struct inode **whiteout)
{
	return tree_make_in(tree, dir, S_IFCHR, owner, whiteout);
}

static int rename_between(struct tree *tree, struct place *from, struct place *to, unsigned flags, struct owner owner)
{
	scoped_change gate = journal_begin_change(tree->journal);
	struct inode *replaced = NULL, *whiteout = NULL;
	int err;

	if (flags & RENAME_WHITEOUT) {
		err = make_whiteout(tree, from->dir, owner, &whiteout);
		if (err)
			return err;
	}
	tree_change_begins(tree, from->dir);
	tree_change_begins(tree, to->dir);
	pthread_rwlock_wrlock(&tree->lock);
	err = rename_locked(tree, from, to, flags, whiteout, &replaced);
	pthread_rwlock_unlock(&tree->lock);
	if (replaced) {
		tree_lost_name(tree, to->dir, replaced);
		inode_leave(replaced, tree->plane);
		tree_put(tree, replaced);
	}
	if (whiteout)
		tree_put(tree, whiteout);
	return err;
}

static bool is_dots(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static bool flags_make_sense(unsigned flags)
{
	return (flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_WHITEOUT)) == 0 || flags == RENAME_EXCHANGE;
}

int tree_rename(struct tree *tree, uint64_t parent, const char *name, uint64_t new_parent, const char *new_name,
		unsigned flags, struct owner owner)
{
	struct place from, to;
	int err;

	if (!flags_make_sense(flags))
		return -EINVAL;
	if (is_dots(name) || is_dots(new_name))
		return -EBUSY;
	err = tree_name(tree, name, &from.name);
	if (!err)
		err = tree_name(tree, new_name, &to.name);
	if (!err)
		err = tree_get_dir(tree, parent, &from.dir);
	if (err)
		return err;
	err = tree_get_dir(tree, new_parent, &to.dir);
	if (!err) {
		err = rename_between(tree, &from, &to, flags, owner);
		tree_put(tree, to.dir);
	}
	tree_put(tree, from.dir);
	return err;
}
