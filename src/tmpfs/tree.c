/* SPDX-License-Identifier: MIT */
/* The tree: its life, references, looking up and listing.  See tree.h. */
#include "tree.h"

#include "data_heap.h"
#include "inode_store.h"
#include "journal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

/* ------------------------------------------------------------------------ */
/* Life                                                                      */

/* Fills @bytes with what cannot be guessed, or with the clock where there is nothing else. */
static void random_bytes(void *bytes, size_t n)
{
	struct timespec now;

	if (getrandom(bytes, n, GRND_NONBLOCK) == (ssize_t)n)
		return;
	memset(bytes, 0, n);
	(void)clock_gettime(CLOCK_REALTIME, &now); /* fails only for an unknown clock */
	memcpy(bytes, &now.tv_nsec, n < sizeof(now.tv_nsec) ? n : sizeof(now.tv_nsec));
}

static int make_root(struct tree *tree, mode_t mode, struct owner owner)
{
	int err = tree_make_inode(tree, S_IFDIR | (mode & 07777), owner, &tree->root);

	if (!err)
		tree->root->dir.parent = tree->root;
	return err;
}

int tree_new(mode_t mode, struct owner owner, const struct tree_limits *limits, struct tree **made)
{
	struct tree *tree = aligned_alloc(_Alignof(struct tree), sizeof(*tree));
	struct siphash_key journal_key;
	int err;

	if (!tree)
		return -ENOMEM;
	memset(tree, 0, sizeof(*tree));
	err = fair_rwlock_init(&tree->lock); /* a storm of lookups would keep names from ever changing */
	if (err) {
		free(tree);
		return err;
	}
	(void)pthread_mutex_init(&tree->losses.lock, NULL); /* never fails for the default kind */
	mem_init(&tree->mem, limits->size, limits->inodes);
	itable_init(&tree->inodes);
	atomic_init(&tree->next_number, TREE_ROOT_NUMBER);
	random_bytes(&tree->name_key, sizeof(tree->name_key));
	random_bytes(&tree->generation, sizeof(tree->generation));
	if (tree->generation == 0)
		tree->generation = 1;
	random_bytes(&journal_key, sizeof(journal_key));
	err = journal_new(&journal_key, &tree->journal);
	if (!err)
		err = data_heap_new(&tree->mem, &tree->plane);
	if (!err)
		tree->plane->journal = tree->journal;
	if (!err)
		err = make_root(tree, mode, owner);
	if (err) {
		tree_free(tree);
		return err;
	}
	*made = tree;
	return 0;
}

static void free_link(struct table_link *link, void *arg)
{
	struct tree *tree = arg;

	inode_free((struct inode *)link, tree->plane);
}

static int by_address(const void *a, const void *b)
{
	const uintptr_t one = (uintptr_t) * (struct inode *const *)a, other = (uintptr_t) * (struct inode *const *)b;

	return one < other ? -1 : one > other;
}

/* One behind the other in memory, which is much faster than in the order of a hash. */
int tree_each_inode(struct tree *tree, void (*visit)(struct inode *inode, void *arg), void *arg)
{
	struct inode **inodes;
	unsigned shard;
	size_t n, i;

	for (shard = 0; shard < ITABLE_SHARDS; shard++) {
		if (itable_get_all(&tree->inodes, shard, &inodes, &n))
			return -ENOMEM;
		if (n > 1)
			qsort(inodes, n, sizeof(inodes[0]), by_address);
		for (i = 0; i < n; i++) {
			visit(inodes[i], arg);
			tree_put(tree, inodes[i]);
		}
		free(inodes);
	}
	return 0;
}

/* Where bytes are to go to, and where they were to go to. */
struct planes {
	struct data_plane *from;
	const struct data_plane *to;
};

static void charge_stored_again(struct inode *inode, void *arg)
{
	const struct planes *planes = arg;

	inode_charge_stored_again(inode, planes->from, planes->to);
}

int tree_use_kernel(struct tree *tree, const struct data_kernel_options *options)
{
	struct data_plane *plane;
	int err;

	err = data_kernel_new(&tree->mem, options, &plane);
	if (err)
		return err;
	/* What is still in a store will take something else where it will go to now; else it counts for a little less. */
	(void)tree_each_inode(tree, charge_stored_again, &(struct planes){.from = tree->plane, .to = plane});
	tree->plane->ops->free(tree->plane);
	plane->journal = tree->journal;
	tree->plane = plane;
	return 0;
}

void tree_free(struct tree *tree)
{
	if (!tree)
		return;
	if (tree->plane && tree->plane->ops->abandon)
		tree->plane->ops->abandon(tree->plane);
	itable_drain(&tree->inodes, &tree->mem, free_link, tree);
	if (tree->plane)
		tree->plane->ops->free(tree->plane);
	journal_free(tree->journal);
	mem_done(&tree->mem);
	(void)pthread_mutex_destroy(&tree->losses.lock);
	(void)pthread_rwlock_destroy(&tree->lock); /* fails only while it is held */
	free(tree);
}

void tree_note(struct tree *tree, const struct inode *inode, unsigned what)
{
	journal_note(tree->journal, inode->number, what);
}

void tree_note_name(struct tree *tree, const struct inode *dir, const struct dir_name *name, const struct inode *to)
{
	journal_note_name(tree->journal, dir->number, name->bytes, name->len, to ? to->number : 0);
	journal_note(tree->journal, dir->number, JOURNAL_NODE);
}

void tree_usage(struct tree *tree, struct tree_limits *limits, struct tree_limits *used)
{
	mem_settle(&tree->mem);
	*limits = (struct tree_limits){.size = mem_max(&tree->mem), .inodes = atomic_load(&tree->mem.inodes_max)};
	*used = (struct tree_limits){.size = mem_taken(&tree->mem), .inodes = atomic_load(&tree->mem.inodes)};
}

int tree_set_limits(struct tree *tree, const struct tree_limits *limits)
{
	return mem_set_max(&tree->mem, limits->size, limits->inodes);
}

/* ------------------------------------------------------------------------ */
/* References                                                                */

int tree_make_numbered(struct tree *tree, uint64_t number, mode_t mode, struct owner owner, struct inode **made)
{
	struct inode *inode;
	int err;

	err = mem_take_inode(&tree->mem);
	if (err)
		return err;
	inode = mem_zalloc(&tree->mem, sizeof(*inode));
	if (!inode) {
		err = -errno;
		goto give;
	}
	inode_init(inode, number, mode, owner);
	err = itable_add(&tree->inodes, &tree->mem, inode);
	if (err)
		goto free_inode;
	*made = inode;
	return 0;
free_inode:
	mem_free(&tree->mem, inode, sizeof(*inode));
give:
	mem_give_inode(&tree->mem);
	return err;
}

/* Only a database that somebody made comes near the end of them. */
static bool take_number(struct tree *tree, uint64_t *number)
{
	*number = atomic_load_explicit(&tree->next_number, memory_order_relaxed);
	do
		if (*number > NODE_NUMBER_MAX)
			return false;
	while (!atomic_compare_exchange_weak_explicit(&tree->next_number, number, *number + 1, memory_order_relaxed,
						      memory_order_relaxed));
	return true;
}

int tree_make_inode(struct tree *tree, mode_t mode, struct owner owner, struct inode **made)
{
	uint64_t number;

	if (!take_number(tree, &number))
		return -ENOSPC;
	return tree_make_numbered(tree, number, mode, owner, made);
}

int tree_make_in(struct tree *tree, struct inode *dir, mode_t mode, struct owner owner, struct inode **made)
{
	struct xattr *xattrs;
	int err;

	err = inode_inherit(dir, &tree->mem, &mode, &owner, &xattrs);
	if (err)
		return err;
	err = tree_make_inode(tree, mode, owner, made);
	if (err)
		xattr_clear(&xattrs, &tree->mem);
	else
		(*made)->xattrs = xattrs; /* nobody else has it yet */
	return err;
}

struct inode *tree_get(struct tree *tree, uint64_t number)
{
	return itable_get(&tree->inodes, number);
}

void tree_ref(struct inode *inode)
{
	atomic_fetch_add_explicit(&inode->refs, 1, memory_order_relaxed);
}

static void unref(struct tree *tree, struct inode *inode, uint64_t n)
{
	if (itable_unref(&tree->inodes, &tree->mem, inode, n))
		inode_free(inode, tree->plane);
	/* Also when the request only made a file shorter. */
	mem_settle(&tree->mem);
}

void tree_put(struct tree *tree, struct inode *inode)
{
	unref(tree, inode, 1);
}

void tree_forget(struct tree *tree, uint64_t number, uint64_t n)
{
	struct inode *inode;

	/* The kernel never gives back the root's first lookup, which nothing counted. */
	if (number == TREE_ROOT_NUMBER)
		return;
	inode = tree_get(tree, number);
	if (inode)
		unref(tree, inode, n + 1);
}

/* ------------------------------------------------------------------------ */
/* Looking up                                                                */

int tree_name(const struct tree *tree, const char *bytes, struct dir_name *name)
{
	size_t len = strlen(bytes);

	if (len == 0)
		return -ENOENT;
	if (len > DIR_NAME_MAX)
		return -ENAMETOOLONG;
	name->bytes = bytes;
	name->len = len;
	name->hash = siphash13(&tree->name_key, bytes, len);
	return 0;
}

int tree_get_dir(struct tree *tree, uint64_t number, struct inode **dir)
{
	struct inode *inode = tree_get(tree, number);

	if (!inode)
		return -ESTALE;
	if (!inode_is_dir(inode)) {
		tree_put(tree, inode);
		return -ENOTDIR;
	}
	*dir = inode;
	return 0;
}

int tree_get_place(struct tree *tree, uint64_t number, const char *bytes, struct inode **dir, struct dir_name *name)
{
	int err = tree_name(tree, bytes, name);

	return err ? err : tree_get_dir(tree, number, dir);
}

static uint64_t take_loss(struct tree_losses *losses, const struct inode *dir)
{
	uint64_t *of = &losses->places[dir->number % TREE_LOSSES].dir, inode = 0;

	pthread_mutex_lock(&losses->lock);
	if (*of == dir->number) {
		inode = losses->places[dir->number % TREE_LOSSES].inode;
		*of = 0;
	}
	pthread_mutex_unlock(&losses->lock);
	return inode;
}

void tree_change_begins(struct tree *tree, const struct inode *dir)
{
	uint64_t number = take_loss(&tree->losses, dir);
	struct inode *inode = number ? tree_get(tree, number) : NULL;

	if (!inode)
		return;
	inode_loss_is_known(inode);
	tree_put(tree, inode);
}

void tree_lost_name(struct tree *tree, const struct inode *dir, struct inode *inode)
{
	struct tree_losses *losses = &tree->losses;

	if (!inode_has_name(inode))
		return;
	pthread_mutex_lock(&losses->lock);
	losses->places[dir->number % TREE_LOSSES].dir = dir->number;
	losses->places[dir->number % TREE_LOSSES].inode = inode->number;
	pthread_mutex_unlock(&losses->lock);
}

/* What @name leads to in @dir, or NULL. */
static struct inode *find_locked(struct inode *dir, const struct dir_name *name)
{
	struct dir_entry *entry;

	if (name->len == 2 && name->bytes[0] == '.' && name->bytes[1] == '.')
		return dir->dir.parent;
	entry = dir_find(&dir->dir, name);
	return entry ? entry->inode : NULL;
}

/* What a file handle names, whatever it is.  The kernel asks for what it does not have in use: without a name that is
 * gone, even if the kernel has yet to say that it forgot it. */
static int lookup_itself(struct tree *tree, uint64_t number, struct inode **found)
{
	struct inode *inode = tree_get(tree, number);

	if (!inode)
		return -ESTALE;
	if (!inode_has_name(inode)) {
		tree_put(tree, inode);
		return -ESTALE;
	}
	*found = inode;
	return 0;
}

int tree_lookup(struct tree *tree, uint64_t parent, const char *bytes, struct inode **found)
{
	struct dir_name name;
	struct inode *dir, *inode;
	int err;

	if (strcmp(bytes, ".") == 0)
		return lookup_itself(tree, parent, found);
	err = tree_get_place(tree, parent, bytes, &dir, &name);
	if (err)
		return err;
	pthread_rwlock_rdlock(&tree->lock);
	inode = find_locked(dir, &name);
	if (inode)
		tree_ref(inode);
	pthread_rwlock_unlock(&tree->lock);
	tree_put(tree, dir);
	if (!inode)
		return -ENOENT;
	*found = inode;
	return 0;
}

/* ------------------------------------------------------------------------ */
/* Listing                                                                   */

/* The offsets behind "." and "..". */
enum { BEHIND_DOT = 1, BEHIND_DOT_DOT = 2 };

int tree_list_begin(struct tree *tree, uint64_t number, uint64_t off, struct tree_list *list)
{
	int err = tree_get_dir(tree, number, &list->dir);

	if (err)
		return err;
	inode_begin_access(list->dir, tree->plane);
	inode_end_access(list->dir);
	list->tree = tree;
	list->off = off;
	pthread_rwlock_rdlock(&tree->lock);
	return 0;
}

static bool next_dot(struct tree_list *list, struct tree_item *item)
{
	struct inode *dir = list->dir;

	if (list->off < BEHIND_DOT)
		*item = (struct tree_item){.name = ".", .inode = dir, .next_off = BEHIND_DOT};
	else
		*item = (struct tree_item){
			.name = "..", .inode = dir->dir.parent ? dir->dir.parent : dir, .next_off = BEHIND_DOT_DOT};
	list->off = item->next_off;
	return true;
}

bool tree_list_next(struct tree_list *list, struct tree_item *item)
{
	struct dir_entry *entry;

	if (list->off < BEHIND_DOT_DOT)
		return next_dot(list, item);
	entry = dir_next(&list->dir->dir, list->off);
	if (!entry)
		return false;
	*item = (struct tree_item){.name = entry->name, .inode = entry->inode, .next_off = entry->cookie};
	list->off = entry->cookie;
	return true;
}

void tree_list_end(struct tree_list *list)
{
	pthread_rwlock_unlock(&list->tree->lock);
	tree_put(list->tree, list->dir);
}
