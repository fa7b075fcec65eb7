/* SPDX-License-Identifier: MIT */
/* Filling a new tree from a store.  See tree_restore.h. */
#include "tree_restore.h"

#include "inode_store.h"
#include "inode_xattr.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum made_state { MADE_UNKNOWN, MADE_ON_WAY, MADE_REACHED };

/* What is known of an inode until the tree is whole. */
struct made {
	struct inode *inode; /* with the reference that tree_make_numbered() gave */
	enum made_state state; /* of a directory: whether it is below the root */
};

struct restoring {
	struct tree *tree;
	struct made *made; /* in the order of their numbers; [0] is the root */
	size_t n, room;
};

static int say(struct store_error *error, int err, const char *format, ...) __attribute__((format(printf, 3, 4)));

static int say(struct store_error *error, int err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(error->text, sizeof(error->text), format, args); /* cut to what there is room for */
	va_end(args);
	return err;
}

/* What it means that there is no room for something of @number. */
static int say_no_room(struct restoring *restoring, int err, uint64_t number, struct store_error *error)
{
	const struct mem *mem = &restoring->tree->mem;

	if (err != -ENOSPC)
		return say(error, err, "inode %" PRIu64 ": %s", number, strerror(-err));
	if (atomic_load(&mem->inodes) >= atomic_load(&mem->inodes_max))
		return say(error, err, "it has more than the %" PRIu64 " inodes that are allowed",
			   (uint64_t)atomic_load(&mem->inodes_max));
	return say(error, err, "it takes more than the %" PRIu64 " bytes that are allowed", mem_max(mem));
}

/* ------------------------------------------------------------------------ */
/* Inodes                                                                    */

static struct stamp stamp_of(struct timespec time)
{
	return (struct stamp){.sec = time.tv_sec, .nsec = (uint32_t)time.tv_nsec};
}

static int remember(struct restoring *restoring, struct inode *inode)
{
	size_t room = restoring->room ? 2 * restoring->room : 64;
	struct made *made = restoring->made;

	if (restoring->n == restoring->room) {
		made = reallocarray(made, room, sizeof(*made));
		if (!made)
			return -ENOMEM;
		restoring->made = made;
		restoring->room = room;
	}
	made[restoring->n++] = (struct made){.inode = inode};
	return 0;
}

static int compare_number(const void *key, const void *element)
{
	uint64_t number = *(const uint64_t *)key, other = ((const struct made *)element)->inode->number;

	return number < other ? -1 : number > other;
}

static struct made *find(const struct restoring *restoring, uint64_t number)
{
	return restoring->n == 0
		       ? NULL
		       : bsearch(&number, restoring->made, restoring->n, sizeof(*restoring->made), compare_number);
}

static int check_type(const struct node *node, struct store_error *error)
{
	switch (node->mode & S_IFMT) {
	case S_IFREG:
	case S_IFDIR:
	case S_IFLNK:
	case S_IFIFO:
	case S_IFSOCK:
	case S_IFCHR:
	case S_IFBLK:
		return 0;
	default:
		return say(error, -EUCLEAN, "inode %" PRIu64 ": mode 0%o is of no type", node->number,
			   (unsigned)node->mode);
	}
}

static int check_target(const struct node *node, struct store_error *error)
{
	if (!S_ISLNK(node->mode))
		return 0;
	if (!node->target || node->target_len == 0)
		return say(error, -EUCLEAN, "inode %" PRIu64 ": a symbolic link without a target", node->number);
	if (node->target_len > TREE_TARGET_MAX)
		return say(error, -EUCLEAN,
			   "inode %" PRIu64 ": the target of the symbolic link is longer than %d bytes", node->number,
			   TREE_TARGET_MAX);
	if (memchr(node->target, '\0', node->target_len))
		return say(error, -EUCLEAN, "inode %" PRIu64 ": the target of the symbolic link has a NUL in it",
			   node->number);
	return 0;
}

static int check_node(const struct restoring *restoring, const struct node *node, struct store_error *error)
{
	int err;

	if (restoring->n == 0 && node->number != TREE_ROOT_NUMBER)
		return say(error, -EUCLEAN, "there is no root directory, which is inode 1");
	if (restoring->n == 0 && !S_ISDIR(node->mode))
		return say(error, -EUCLEAN, "inode 1 is the root, and no directory");
	if (node->size > DATA_SIZE_MAX)
		return say(error, -EUCLEAN, "inode %" PRIu64 ": a size of %" PRIu64 " cannot be", node->number,
			   node->size);
	err = check_type(node, error);
	return err ? err : check_target(node, error);
}

static int set_target(struct tree *tree, struct inode *inode, const struct node *node)
{
	char *target = mem_alloc(&tree->mem, node->target_len + 1);

	if (!target)
		return -errno;
	memcpy(target, node->target, node->target_len);
	target[node->target_len] = '\0';
	inode->symlink = (struct symlink){.target = target, .len = node->target_len};
	return 0;
}

/* The bytes stay where they are until somebody wants them; the room for them is theirs already. */
static int set_stored(struct tree *tree, struct inode *inode, const struct node *node)
{
	int err;

	if (node->size == 0 && node->allocated == 0)
		return 0;
	err = mem_charge(&tree->mem, inode_stored_cost(tree->plane, node->allocated));
	if (err)
		return err;
	inode->data.stored.size = node->size;
	inode->data.stored.allocated = node->allocated;
	inode->is_stored = 1;
	return 0;
}

static int set_contents(struct tree *tree, struct inode *inode, const struct node *node)
{
	switch (inode->type) {
	case DT_REG:
		return set_stored(tree, inode, node);
	case DT_LNK:
		return set_target(tree, inode, node);
	case DT_CHR:
	case DT_BLK:
		inode->rdev = node->rdev;
		return 0;
	default:
		return 0;
	}
}

/* Nobody else has the inode yet: no lock is needed. */
static void set_attributes(struct inode *inode, const struct node *node) NO_THREAD_SAFETY_ANALYSIS
{
	inode->permissions = node->mode & 07777;
	inode->uid = node->uid;
	inode->gid = node->gid;
	inode->atime = stamp_of(node->atime);
	inode->mtime = stamp_of(node->mtime);
	inode->ctime = stamp_of(node->ctime);
	inode->btime = stamp_of(node->btime);
	inode->links = inode_is_dir(inode) ? 2 : 0; /* and what its names, or its directories, add */
}

static int take_root(struct restoring *restoring, const struct node *node, struct store_error *error)
{
	struct inode *root = restoring->tree->root;
	int err;

	set_attributes(root, node);
	err = remember(restoring, root);
	return err ? say_no_room(restoring, err, node->number, error) : 0;
}

static int take_node(void *arg, const struct node *node, struct store_error *error)
{
	struct restoring *restoring = arg;
	struct tree *tree = restoring->tree;
	struct inode *inode;
	int err;

	err = check_node(restoring, node, error);
	if (err)
		return err;
	if (node->number == TREE_ROOT_NUMBER)
		return take_root(restoring, node, error);
	err = tree_make_numbered(tree, node->number, node->mode, (struct owner){0}, &inode);
	if (err)
		return say_no_room(restoring, err, node->number, error);
	set_attributes(inode, node);
	err = remember(restoring, inode);
	if (!err)
		err = set_contents(tree, inode, node);
	return err ? say_no_room(restoring, err, node->number, error) : 0;
}

static int take_xattr(void *arg, uint64_t number, const char *name, const void *value, size_t size,
		      struct store_error *error)
{
	struct restoring *restoring = arg;
	struct made *made = find(restoring, number);
	int err;

	if (!made)
		return say(error, -EUCLEAN, "inode %" PRIu64 ": it is not there, and has an extended attribute",
			   number);
	err = inode_restore_xattr(made->inode, restoring->tree->plane, name, value, size);
	if (err == -ENOMEM || (err == -ENOSPC && !mem_has_room(&restoring->tree->mem, size)))
		return say_no_room(restoring, err, number, error);
	return err ? say(error, -EUCLEAN, "inode %" PRIu64 ": the extended attribute \"%.64s\" cannot be: %s", number,
			 name, strerror(-err))
		   : 0;
}

/* ------------------------------------------------------------------------ */
/* Names                                                                     */

/* Of the inode @number. */
static int check_name(const char *name, size_t len, uint64_t number, struct store_error *error)
{
	if (len == 0)
		return say(error, -EUCLEAN, "inode %" PRIu64 ": a name of it is empty", number);
	if (len > DIR_NAME_MAX)
		return say(error, -EUCLEAN, "inode %" PRIu64 ": a name of it is longer than %d bytes", number,
			   DIR_NAME_MAX);
	if (memchr(name, '/', len))
		return say(error, -EUCLEAN, "inode %" PRIu64 ": a name of it has a slash in it", number);
	if (memchr(name, '\0', len))
		return say(error, -EUCLEAN, "inode %" PRIu64 ": a name of it has a NUL in it", number);
	if (name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.')))
		return say(error, -EUCLEAN, "inode %" PRIu64 ": a name of it is \"%.*s\"", number, (int)len, name);
	return 0;
}

static int find_place(const struct restoring *restoring, uint64_t number, uint64_t parent, struct inode **inode,
		      struct inode **dir, struct store_error *error)
{
	struct made *child = find(restoring, number), *place = find(restoring, parent);

	if (!child)
		return say(error, -EUCLEAN, "inode %" PRIu64 ": it is not there, and has a name in inode %" PRIu64,
			   number, parent);
	if (!place)
		return say(error, -EUCLEAN,
			   "inode %" PRIu64 ": the directory that it is in, inode %" PRIu64 ", is not there", number,
			   parent);
	if (!inode_is_dir(place->inode))
		return say(error, -EUCLEAN, "inode %" PRIu64 ": what it is in, inode %" PRIu64 ", is no directory",
			   number, parent);
	if (number == TREE_ROOT_NUMBER)
		return say(error, -EUCLEAN, "inode 1: the root has a name, in inode %" PRIu64, parent);
	if (inode_is_dir(child->inode) && child->inode->dir.parent)
		return say(error, -EUCLEAN,
			   "inode %" PRIu64 ": a directory with two names, in the inodes %" PRIu64 " and %" PRIu64,
			   number, child->inode->dir.parent->number, parent);
	*inode = child->inode;
	*dir = place->inode;
	return 0;
}

/* As tree_names.c does it, without a time to set. */
static void count_name(struct inode *dir, struct inode *inode) NO_THREAD_SAFETY_ANALYSIS
{
	tree_ref(inode);
	dir->entries++;
	if (inode_is_dir(inode)) {
		inode->dir.parent = dir;
		dir->links++;
	} else {
		inode->links++;
	}
}

static int take_name(void *arg, uint64_t parent, const char *bytes, size_t len, uint64_t number,
		     struct store_error *error)
{
	struct restoring *restoring = arg;
	struct tree *tree = restoring->tree;
	struct dir_name name = {.bytes = bytes, .len = len};
	struct inode *inode = NULL, *dir = NULL;
	struct dir_entry *entry;
	int err;

	err = check_name(bytes, len, number, error);
	if (!err)
		err = find_place(restoring, number, parent, &inode, &dir, error);
	if (err)
		return err;
	name.hash = siphash13(&tree->name_key, bytes, len);
	if (dir_find(&dir->dir, &name))
		return say(error, -EUCLEAN, "inode %" PRIu64 ": another inode has its name in inode %" PRIu64, number,
			   parent);
	err = dir_add(&dir->dir, &tree->mem, &name, inode, &entry);
	if (err)
		return say_no_room(restoring, err, number, error);
	count_name(dir, inode);
	return 0;
}

/* ------------------------------------------------------------------------ */
/* What only all of it can tell                                              */

/* Marks the directories from @made upwards, as far as they are not marked, with @state.  Returns the first that was
 * marked before, or has no name. */
static struct made *mark_upwards(const struct restoring *restoring, struct made *made, enum made_state state)
{
	while (made->state != MADE_REACHED && made->state != state) {
		made->state = state;
		if (!made->inode->dir.parent)
			break;
		made = find(restoring, made->inode->dir.parent->number);
	}
	return made;
}

static int check_directory(const struct restoring *restoring, struct made *made, struct store_error *error)
{
	struct made *top = mark_upwards(restoring, made, MADE_ON_WAY);

	if (top->state == MADE_REACHED) {
		(void)mark_upwards(restoring, made, MADE_REACHED);
		return 0;
	}
	if (top == made && !made->inode->dir.parent && dir_count(&made->inode->dir) == 0)
		return 0; /* it is left out */
	if (!top->inode->dir.parent)
		return say(error, -EUCLEAN, "inode %" PRIu64 ": a directory that has no name, and is not empty",
			   top->inode->number);
	return say(error, -EUCLEAN, "inode %" PRIu64 ": a directory that is inside itself", top->inode->number);
}

static int check_directories(const struct restoring *restoring, struct store_error *error)
{
	size_t i;
	int err = 0;

	restoring->made[0].state = MADE_REACHED;
	for (i = 1; !err && i < restoring->n; i++)
		if (inode_is_dir(restoring->made[i].inode))
			err = check_directory(restoring, &restoring->made[i], error);
	return err;
}

/* Nobody will ask for its bytes. */
static void forget_stored(struct tree *tree, struct inode *inode) NO_THREAD_SAFETY_ANALYSIS
{
	if (!inode_is_regular(inode) || !inode->is_stored)
		return;
	mem_uncharge(&tree->mem, inode_stored_cost(tree->plane, inode->data.stored.allocated));
	inode->is_stored = 0;
	inode->data = (struct data){0};
}

static bool has_name(const struct inode *inode)
{
	return inode_is_dir(inode) ? inode->dir.parent != NULL : inode->links > 0;
}

/* Names have references of their own: what has none goes. */
static void put_all(struct restoring *restoring, struct tree_restored *restored)
{
	struct tree *tree = restoring->tree;
	struct inode *inode;
	size_t i;

	for (i = 1; i < restoring->n; i++) {
		inode = restoring->made[i].inode;
		if (!has_name(inode)) {
			forget_stored(tree, inode);
			restored->orphans++;
		}
		tree_put(tree, inode);
	}
}

static void set_counters(struct tree *tree, const struct store_counters *counters)
{
	if (atomic_load(&tree->next_number) < counters->next_number)
		atomic_store(&tree->next_number, counters->next_number);
	if (counters->generation != 0)
		tree->generation = counters->generation;
}

int tree_restore(struct tree *tree, struct store *store, struct tree_restored *restored, struct store_error *error)
{
	struct restoring restoring = {.tree = tree};
	const struct store_reader reader = {
		.node = take_node, .xattr = take_xattr, .name = take_name, .arg = &restoring};
	struct store_counters counters;
	int err;

	*restored = (struct tree_restored){0};
	err = store_read_tree(store, &reader, &counters, error);
	if (!err && restoring.n == 0)
		err = say(error, -EUCLEAN, "there is no root directory, which is inode 1");
	if (!err)
		err = check_directories(&restoring, error);
	if (!err) {
		put_all(&restoring, restored);
		set_counters(tree, &counters);
		if (restored->orphans > 0)
			store_drop_orphans(store);
	}
	free(restoring.made);
	return err;
}
