/* SPDX-License-Identifier: MIT */
/* Walks over both sides at once.  See model_tree.h; what is compared of one node is in model_look.h. */
#include "model_tree.h"

#include "model_look.h"
#include "model_report.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ------------------------------------------------------------------------ */
/* Nodes                                                                     */

static const int nothing_held[SIDES] = {-1, -1};

void tree_init(struct tree *tree)
{
	size_t i;

	memset(tree, 0, sizeof(*tree));
	for (i = 0; i < NODES_MAX; i++)
		memcpy(tree->nodes[i].held, nothing_held, sizeof(nothing_held));
}

void tree_begin_step(struct tree *tree)
{
	clock_gettime(CLOCK_REALTIME_COARSE, &tree->before);
}

static void close_both(const int fd[SIDES])
{
	if (close(fd[A]) < 0 || close(fd[B]) < 0)
		broken(errno, "close");
}

static void node_release(struct node *node)
{
	if (node->held[A] >= 0)
		close_both(node->held);
	memcpy(node->held, nothing_held, sizeof(nothing_held));
}

void tree_release(struct tree *tree)
{
	size_t i;

	for (i = 0; i < tree->n_nodes; i++)
		node_release(&tree->nodes[i]);
}

static struct node *node_find(struct tree *tree, enum side side, ino_t ino)
{
	size_t i;

	for (i = 0; i < tree->n_nodes; i++)
		if (tree->nodes[i].serial && tree->nodes[i].seen[side].st_ino == ino)
			return &tree->nodes[i];
	return NULL;
}

static struct node *node_new(struct model *model, const struct stat st[SIDES])
{
	struct tree *tree = &model->tree;
	size_t i;

	for (i = 0; i < NODES_MAX && tree->nodes[i].serial;)
		i++;
	if (i == NODES_MAX)
		broken(0, "more than %d nodes", NODES_MAX);
	if (i == tree->n_nodes)
		tree->n_nodes++;
	tree->nodes[i].serial = ++tree->last_serial;
	tree->nodes[i].born = (struct timespec){0};
	tree->nodes[i].looked = 0;
	tree->nodes[i].path[0] = '\0';
	memset(tree->nodes[i].seen, 0, sizeof(tree->nodes[i].seen));
	/* What was there before the first step was not made by it. */
	if (model->step == 0)
		memcpy(tree->nodes[i].seen, st, sizeof(tree->nodes[i].seen));
	return &tree->nodes[i];
}

/* The node that @st is of on each side: a new one if it is seen for the first time. */
static struct node *node_of(struct model *model, const struct stat st[SIDES], const char *path)
{
	struct node *on_a = node_find(&model->tree, A, st[A].st_ino);
	struct node *on_b = node_find(&model->tree, B, st[B].st_ino);

	if (on_a != on_b) {
		differ(model, "%s: another file on A than on B: node %u there, node %u here (0: a new one)",
		       path[0] ? path : "an open file", on_a ? on_a->serial : 0, on_b ? on_b->serial : 0);
	}
	return on_b ? on_b : node_new(model, st);
}

/* ------------------------------------------------------------------------ */
/* Opening for a look                                                        */

/*
 * Descriptors of some nodes are kept for some steps, which saves A requests, and shows what
 * differs while a file stays open; the others are opened and closed again in each look.
 */
static bool is_to_be_held(const struct model *model, const struct node *node)
{
	return random_hash(model->settings.seed, node->serial, model->step / 64) % 8 < 6;
}

static void open_both(const struct model *model, const struct node *node, const int at[SIDES],
		      const char *const name[SIDES], int flags, int fd[SIDES])
{
	enum side side;

	for (side = A; side < SIDES; side++) {
		fd[side] = openat(at[side], name[side], O_RDONLY | O_NOATIME | O_NONBLOCK | O_CLOEXEC | flags);
		if (fd[side] < 0)
			differ(model, "%s: cannot be opened on %c: %s", node_name(node), "AB"[side], strerror(errno));
	}
}

/* Where the walk found a node. */
struct found {
	struct node *node;
	int at[SIDES]; /* descriptors that the names are relative to; -1: the names are absolute */
	const char *name[SIDES];
	bool is_name; /* not a link to a descriptor, which is to be followed */
};

/* Opens it, unless it is open.  close_node() is to be called. */
static void open_node(const struct model *model, const struct found *found, int fd[SIDES])
{
	struct node *node = found->node;

	if (node->held[A] < 0)
		open_both(model, node, found->at, found->name, found->is_name ? O_NOFOLLOW : 0, node->held);
	memcpy(fd, node->held, sizeof(node->held));
}

static void close_node(const struct model *model, struct node *node)
{
	if (!is_to_be_held(model, node))
		node_release(node);
}

/* ------------------------------------------------------------------------ */
/* One node                                                                  */

static void compare_targets(const struct model *model, const struct found *found)
{
	char target[SIDES][PATH_MAX];
	ssize_t n[SIDES];
	enum side side;

	for (side = A; side < SIDES; side++) {
		n[side] = readlinkat(found->at[side], found->name[side], target[side], sizeof(target[side]));
		if (n[side] < 0)
			differ(model, "%s: readlink on %c: %s", node_name(found->node), "AB"[side], strerror(errno));
	}
	if (n[A] != n[B] || memcmp(target[A], target[B], (size_t)n[B]) != 0)
		differ(model, "%s: its target is %.*s on A, %.*s on B", node_name(found->node), (int)n[A], target[A],
		       (int)n[B], target[B]);
}

/* An absolute name for calls that know no directory descriptors. */
static const char *absolute(const struct found *found, enum side side, char *buf, size_t room)
{
	if (found->at[side] < 0)
		return found->name[side];
	snprintf(buf, room, "/proc/self/fd/%d/%s", found->at[side], found->name[side]);
	return buf;
}

static void look_at_xattrs(const struct model *model, const struct found *found)
{
	char buf[SIDES][PATH_ROOM + 32];
	const char *const path[SIDES] = {
		absolute(found, A, buf[A], sizeof(buf[A])),
		absolute(found, B, buf[B], sizeof(buf[B])),
	};

	compare_xattrs(model, found->node, path, !found->is_name);
}

/* One node of all has its turn in each look. */
static bool has_its_turn(const struct tree *tree, const struct node *node)
{
	return tree->look % 32 == node->serial % 32;
}

/* The kernel forgets what it has of the file at @fd, except what was not written back yet: the
 * bytes come from A then. */
static void drop_pages(const struct node *node, int fd)
{
	int err = posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);

	if (err)
		broken(err, "posix_fadvise of %s", node_name(node));
}

static void look_into(struct model *model, struct node *dir, const int fd[SIDES]);

/* The attributes, each time that a name or descriptor leads to the node; the rest once in a look.
 * Its path is that of the first name, if it has one. */
static void look_at_node(struct model *model, const struct found *found, const struct stat st[SIDES], const char *path)
{
	struct tree *tree = &model->tree;
	struct node *node = found->node;
	const bool changed = attributes_changed(node, st);
	const bool is_first = node->looked != tree->look;
	const bool follows = found->at[A] < 0;
	int fd[SIDES];

	if (is_first)
		snprintf(node->path, sizeof(node->path), "%s", path);
	node->looked = tree->look;
	compare_attributes(model, node, st);
	if (changed || (is_first && (tree->everything || has_its_turn(tree, node)))) {
		compare_with_daemon(model, node, follows ? AT_FDCWD : found->at[A], found->name[A], follows, &st[A]);
		look_at_xattrs(model, found);
	}
	if (!is_first)
		return;
	if (S_ISLNK(st[B].st_mode) && found->is_name)
		compare_targets(model, found);
	if (!S_ISREG(st[B].st_mode) && !S_ISDIR(st[B].st_mode))
		return;
	open_node(model, found, fd);
	if (tree->everything || has_its_turn(tree, node))
		drop_pages(node, fd[A]);
	if (S_ISREG(st[B].st_mode))
		compare_contents(model, node, fd, st[B].st_size);
	else
		look_into(model, node, fd);
	close_node(model, node);
}

/* ------------------------------------------------------------------------ */
/* Directories                                                               */

static void add_name(struct model *model, const char *path, struct node *node)
{
	struct tree *tree = &model->tree;

	if (tree->n_names == NAMES_MAX)
		broken(0, "more than %d names", NAMES_MAX);
	snprintf(tree->names[tree->n_names].path, PATH_ROOM, "%s", path);
	tree->names[tree->n_names++].node = node;
}

static void look_at_name(struct model *model, const struct node *dir, const int fd[SIDES],
			 const struct listed *const item[SIDES])
{
	struct found found = {.at = {fd[A], fd[B]}, .name = {item[A]->name, item[B]->name}, .is_name = true};
	struct stat st[SIDES];
	char path[PATH_ROOM];
	enum side side;
	int n;

	n = snprintf(path, sizeof(path), "%s%s%s", dir->path, dir->path[0] ? "/" : "", item[B]->name);
	if (n < 0 || (size_t)n >= sizeof(path))
		broken(0, "too deep a tree");
	for (side = A; side < SIDES; side++)
		if (fstatat(fd[side], item[side]->name, &st[side], AT_SYMLINK_NOFOLLOW) < 0)
			differ(model, "%s: listed on %c, but: %s", path, "AB"[side], strerror(errno));
	if (item[A]->ino != st[A].st_ino || item[A]->type != IFTODT(st[A].st_mode))
		differ(model, "%s: listed on A as inode %" PRIu64 ", type %u, but it is %" PRIu64 ", %u", path,
		       (uint64_t)item[A]->ino, item[A]->type, (uint64_t)st[A].st_ino, IFTODT(st[A].st_mode));
	found.node = node_of(model, st, path);
	add_name(model, path, found.node);
	look_at_node(model, &found, st, path);
}

static void look_into(struct model *model, struct node *dir, const int fd[SIDES])
{
	struct listing listing[SIDES];
	size_t i;

	compare_listings(model, dir, fd, listing);
	for (i = 0; i < listing[B].n; i++)
		look_at_name(model, dir, fd,
			     (const struct listed *const[SIDES]){&listing[A].items[i], &listing[B].items[i]});
}

/* ------------------------------------------------------------------------ */
/* Both sides                                                                */

/* What is open must be where the root is: no step leads out. */
static void stat_open(const struct model *model, const int fd[SIDES], struct stat st[SIDES])
{
	enum side side;

	for (side = A; side < SIDES; side++) {
		if (fstat(fd[side], &st[side]) < 0)
			differ(model, "fstat on %c: %s", "AB"[side], strerror(errno));
		if (st[side].st_dev != model->dev[side])
			broken(0, "step %" PRIu64 " opened something outside of %s", model->step,
			       model->settings.dir[side]);
	}
}

static void look_at_open(struct model *model, const int fd[SIDES])
{
	char name[SIDES][32];
	struct found found = {.at = {-1, -1}, .name = {name[A], name[B]}};
	struct stat st[SIDES];

	snprintf(name[A], sizeof(name[A]), "/proc/self/fd/%d", fd[A]);
	snprintf(name[B], sizeof(name[B]), "/proc/self/fd/%d", fd[B]);
	stat_open(model, fd, st);
	found.node = node_of(model, st, "");
	look_at_node(model, &found, st, "");
}

static void compare_positions(const struct model *model, const struct slot *slot)
{
	off_t pos[SIDES];

	if (!S_ISREG(slot->type) || (slot->flags & O_PATH))
		return;
	pos[A] = lseek(slot->fd[A], 0, SEEK_CUR);
	pos[B] = lseek(slot->fd[B], 0, SEEK_CUR);
	if (pos[A] != pos[B])
		differ(model, "fd%td: its position is %" PRId64 " on A, %" PRId64 " on B", slot - model->slots,
		       (int64_t)pos[A], (int64_t)pos[B]);
}

static void forget_unseen(struct tree *tree)
{
	size_t i;

	for (i = 0; i < tree->n_nodes; i++) {
		if (tree->nodes[i].serial && tree->nodes[i].looked != tree->look) {
			node_release(&tree->nodes[i]);
			tree->nodes[i].serial = 0;
		}
	}
}

void tree_compare(struct model *model)
{
	struct tree *tree = &model->tree;
	size_t i;

	tree->look++;
	tree->n_names = 0;
	tree->everything |= model->settings.is_thorough;
	look_at_open(model, model->root);
	for (i = 0; i < SLOTS; i++) {
		if (slot_is_open(&model->slots[i])) {
			look_at_open(model, model->slots[i].fd);
			compare_positions(model, &model->slots[i]);
		}
	}
	forget_unseen(tree);
	tree->everything = tree->was_evicted = false;
}
