/* SPDX-License-Identifier: MIT */
/*
 * The inode table: see inode.h.  Here: the table, learning and forgetting.
 */
#include "inode.h"

#include "beneath.h"
#include "fd.h"
#include "inode_table.h"
#include "number_list.h"
#include "watch.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* Directories in use that keep a descriptor, though their handle could be opened for each request. */
enum { MAX_SPARE = 64 };

/* A file that was looked up. */
struct found {
	const struct hold *dir;
	char *name; /* NULL: no place; taken when it is used */
	int fd;
	const struct statx *stx;
	struct mount *mount;
	bool is_in_dir; /* by a name */
	bool has_ref; /* to the mount, of its own; else @dir keeps it */
	bool is_by_place; /* as in struct inode */
	struct handle handle;
};

static struct mount *ref_mount(struct inode_table *table, uint64_t id)
{
	struct mount *mount;

	pthread_mutex_lock(&table->lock);
	mount = mounts_ref(&table->mounts, id);
	pthread_mutex_unlock(&table->lock);
	return mount;
}

/* Puts *@made, which is then taken, on the list, unless another thread was faster.  Returns the mount with a reference. */
static struct mount *add_mount(struct inode_table *table, struct mount **made)
{
	struct mount *mount;

	pthread_mutex_lock(&table->lock);
	mount = mounts_ref(&table->mounts, (*made)->id);
	if (!mount) {
		mount = *made;
		*made = NULL;
		table->ignores_unknown = table->root_mount != NULL; /* a file may be known on both mounts */
		if (mounts_add(&table->mounts, mount))
			watch_tell_own(table->mounts.watch);
	}
	pthread_mutex_unlock(&table->lock);
	return mount;
}

/* What is found in a directory is mostly on its mount. */
static int find_mount(struct inode_table *table, struct found *found)
{
	struct mount *made = NULL;
	int err;

	if (found->dir && found->dir->inode->mount->id == found->stx->stx_mnt_id) {
		found->mount = found->dir->inode->mount;
		return 0;
	}
	found->mount = ref_mount(table, found->stx->stx_mnt_id);
	if (!found->mount) {
		err = mount_new(&table->mounts, found->fd, found->stx, &made);
		if (err)
			return err;
		found->mount = add_mount(table, &made);
		mount_free(made);
	}
	found->has_ref = true;
	return 0;
}

static void found_drop(struct inode_table *table, struct found *found)
{
	if (found->has_ref) {
		pthread_mutex_lock(&table->lock);
		mounts_unref(&table->mounts, found->mount);
		pthread_mutex_unlock(&table->lock);
	}
	free(found->name);
}

/* Whether @inode, which has the number of what was found, may be that. */
static bool is_in_place(const struct inode *inode, const struct found *found)
{
	if (!inode->is_by_place)
		return true;
	if (!found->name) /* it is looked at by the descriptor that we gave out */
		return inode->fd == found->fd;
	return inode->parent == found->dir->inode && strcmp(inode->name, found->name) == 0;
}

/* The known inode of a file; one that only has its number makes way. */
static struct inode *find_found_locked(struct inode_table *table, const struct found *found)
{
	struct inode *inode = NULL;

	do
		inode = inode_hash_next_source_locked(table, inode, found->mount, found->stx, &found->handle);
	while (inode && !is_in_place(inode, found));
	/* No other file is given its handle, or on this machine its number, while a descriptor keeps the file. */
	if (!inode || inode->fd >= 0 || inode_matches(inode, found->stx, &found->handle))
		return inode;
	inode_hash_replace_locked(table, inode);
	return NULL;
}

/* What is found where its directory was below the root is below it too, for as long as nothing is moved. */
static void take_check(const struct found *found, struct inode *inode)
{
	if (found->is_in_dir && found->mount == found->dir->inode->mount && found->dir->checked)
		atomic_store(&inode->checked, found->dir->checked);
}

/* Counts a lookup of what was found, as the inode that is known, or as *@fresh, if there is one, which is then taken.
 * Returns its number, or 0. */
static uint64_t count_found(struct inode_table *table, struct found *found, struct inode **fresh)
{
	struct inode *unused = NULL;
	struct inode *inode;
	scoped_fd spare = -1;
	uint64_t ino = 0;

	pthread_mutex_lock(&table->lock);
	inode = find_found_locked(table, found);
	if (inode) {
		inode->lookups++;
	} else if (*fresh) {
		inode = *fresh;
		*fresh = NULL;
		inode_hash_add_locked(table, inode);
		if (!found->has_ref)
			inode->mount->refs++;
		found->has_ref = false;
	}
	if (inode) {
		ino = inode->ino;
		take_check(found, inode);
		if (found->name)
			unused = inode_place_locked(table, inode, found->dir->inode, &found->name);
		spare = inode_become_idle_locked(table, inode);
	}
	pthread_mutex_unlock(&table->lock);
	inode_free_all(unused);
	return ino;
}

/* Returns 0 and the number, or -errno. */
static int learn_found(struct inode_table *table, struct found *found, uint64_t *ino)
{
	struct inode *fresh = NULL;
	int err;

	*ino = count_found(table, found, &fresh);
	if (*ino)
		return 0;
	err = inode_new(found->mount, found->fd, found->stx, &found->handle, &fresh);
	if (err)
		return err;
	if (inode_opens_by_handle(fresh) && fresh->mount == table->root_mount)
		fresh->ino = numbers_pack(&table->numbers, &found->handle);
	if (!table->root_mount)
		fresh->ino = INODE_ROOT;
	fresh->is_by_place = found->is_by_place;
	/* The root, and what is mounted somewhere. */
	fresh->keeps_fd = !found->name && !inode_opens_by_handle(fresh);
	*ino = count_found(table, found, &fresh);
	/* Another thread may have been faster. */
	if (fresh)
		inode_free(fresh);
	return 0;
}

int inode_learn(struct inode_table *table, const struct hold *dir, const char *name, int fd, const struct statx *stx,
		uint64_t *ino)
{
	struct found found = {.dir = dir, .fd = fd, .stx = stx, .is_in_dir = dir && name};
	int err;

	err = find_mount(table, &found);
	if (err)
		return err;
	mount_handle(found.mount, fd, &found.handle);
	if (!found.handle.size || found.mount->fd < 0) {
		found.name = name ? strdup(name) : NULL; /* without memory: without a place */
		found.is_by_place = name && mount_shares_number(found.mount, fd, stx);
		atomic_store_explicit(&table->needs_names, true, memory_order_relaxed);
	}
	err = learn_found(table, &found, ino);
	found_drop(table, &found);
	return err;
}

/*
 * The handle was asked for before the rest.  While the file lives that it leads to, no other one has the file's number;
 * once it does not, the handle leads nowhere, and the number may be another file's, which the rest is then of.  So the
 * number never leads to something else than what the rest says, above all not to another type of file.
 */
static bool is_of_one_file(const struct inode_table *table, const struct handle *handle, const struct statx *stx)
{
	uint64_t number = numbers_pack(&table->numbers, handle);

	return number && numbers_source_ino(number) == stx->stx_ino && inode_device(stx) == table->root_dev;
}

int inode_learn_name(struct inode_table *table, const struct hold *dir, const char *name, struct statx *stx,
		     uint64_t *ino)
{
	struct found found = {.dir = dir, .fd = -1, .stx = stx, .mount = dir->inode->mount, .is_in_dir = true};
	int err;

	if (!table->numbers.work || found.mount != table->root_mount)
		return -EOPNOTSUPP;
	err = beneath_look_at(dir->fd, name, found.mount->id, INODE_STATX_MASK, &found.handle, stx);
	if (err)
		return err == -ENOENT ? err : -EOPNOTSUPP;
	return is_of_one_file(table, &found.handle, stx) ? learn_found(table, &found, ino) : -EOPNOTSUPP;
}

void inode_forget(struct inode_table *table, uint64_t ino, uint64_t n)
{
	struct inode *unused = NULL;
	struct inode *inode;

	if (ino == INODE_ROOT)
		return;
	pthread_mutex_lock(&table->lock);
	inode = inode_hash_find_locked(table, ino);
	if (inode) {
		inode->lookups -= n < inode->lookups ? n : inode->lookups;
		unused = inode_take_unused_locked(table, inode);
	}
	pthread_mutex_unlock(&table->lock);
	inode_free_all(unused);
}

/* Lets @inode be found without a name: by @fd, which is taken if it is needed.  It is not for
 * ever: what nobody has open or held is lost to those that came after it. */
static struct inode *unnamed_locked(struct inode_table *table, struct inode *inode, bool is_last, int *fd)
{
	struct inode *unused;

	if (inode_opens_by_handle(inode) && !is_last)
		return NULL;
	unused = inode_unplace_locked(table, inode);
	if (inode->fd < 0)
		inode->fd = take_fd(fd);
	inode->keeps_fd = false;
	inode->has_spare_fd = false;
	return unused;
}

void inode_unnamed(struct inode_table *table, const struct hold *dir, int *fd, const struct statx *stx, bool is_last)
{
	struct found found = {.dir = dir, .fd = *fd, .stx = stx};
	struct inode *unused = NULL;
	scoped_fd spare = -1;
	struct inode *inode;

	if ((!is_last && !inode_table_needs_names(table)) || find_mount(table, &found) < 0)
		return;
	mount_handle(found.mount, *fd, &found.handle);
	pthread_mutex_lock(&table->lock);
	inode = find_found_locked(table, &found);
	if (inode) {
		unused = unnamed_locked(table, inode, is_last, fd);
		spare = inode_become_idle_locked(table, inode);
	}
	pthread_mutex_unlock(&table->lock);
	inode_free_all(unused);
	found_drop(table, &found);
}

void inode_moved(struct inode_table *table, struct inode_place from, struct inode_place to, int fd,
		 const struct statx *stx)
{
	struct found found = {.dir = from.dir, .fd = fd, .stx = stx};
	struct inode *unused = NULL;
	scoped_fd spare = -1;
	struct inode *inode;
	char *new_name;

	if (find_mount(table, &found) < 0)
		return;
	found.name = strdup(from.name);
	new_name = strdup(to.name);
	mount_handle(found.mount, fd, &found.handle);
	pthread_mutex_lock(&table->lock);
	/* Without memory its old place leads nowhere. */
	inode = found.name && new_name ? find_found_locked(table, &found) : NULL;
	if (inode) {
		unused = inode_place_locked(table, inode, to.dir->inode, &new_name);
		spare = inode_become_idle_locked(table, inode);
	}
	pthread_mutex_unlock(&table->lock);
	inode_free_all(unused);
	found_drop(table, &found);
	free(new_name);
}

bool inode_table_needs_names(const struct inode_table *table)
{
	return atomic_load_explicit(&table->needs_names, memory_order_relaxed);
}

static uint64_t new_generation(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail for this clock */
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static size_t preset_limit(void)
{
	struct rlimit limit = {.rlim_cur = 1024};

	(void)getrlimit(RLIMIT_NOFILE, &limit); /* if not, a cautious guess */
	return (size_t)limit.rlim_cur / 2;
}

void inode_table_limit(struct inode_table *table, size_t descriptors)
{
	table->idle.max = descriptors;
	table->spare.max = descriptors < MAX_SPARE ? descriptors : MAX_SPARE;
}

void inode_table_set_secret(struct inode_table *table, const void *secret, size_t size)
{
	static const struct siphash_key first = {{1, 0}};
	static const struct siphash_key second = {{2, 0}};

	table->secret.word[0] = siphash13(&first, secret, size);
	table->secret.word[1] = siphash13(&second, secret, size);
}

/* Another handle of the same file system leads to the same number.  So it is made unlikely that a number that was
 * made up, and may stand for a file that is not below the root, comes with its generation. */
uint64_t inode_generation(const struct inode_table *table, uint64_t ino)
{
	struct {
		uint64_t ino;
		unsigned char root[sizeof(table->numbers.form.bytes)];
	} file = {.ino = ino};
	uint32_t generation;

	if (ino >= NUMBERS_COUNTED)
		return table->generation;
	memcpy(file.root, table->numbers.form.bytes, table->numbers.form.size);
	generation = (uint32_t)siphash13(&table->secret, &file, sizeof(ino) + table->numbers.form.size);
	return generation ? generation : 1;
}

/* What is made at random is good for one life of the program. */
static void init_secret(struct inode_table *table)
{
	uint64_t random[2] = {table->generation, (uint64_t)getpid()};

	(void)!getrandom(random, sizeof(random), GRND_NONBLOCK); /* if not, it is only easier to guess */
	inode_table_set_secret(table, random, sizeof(random));
}

static void init_numbers(struct inode_table *table, const struct statx *stx)
{
	const struct inode *root = inode_hash_find_locked(table, INODE_ROOT);
	struct handle handle = {.type = root->handle_type, .size = root->handle_size};

	table->root_mount = root->mount;
	table->root_dev = root->dev;
	memcpy(handle.bytes, root->handle, root->handle_size);
	if (inode_opens_by_handle(root))
		numbers_init(&table->numbers, root->mount->fs_type, &handle, stx->stx_ino);
}

/* It is held for less time than it takes to go to sleep and be woken. */
static void init_locks(struct inode_table *table)
{
	pthread_mutexattr_t kind;

	(void)pthread_mutexattr_init(&kind); /* none of these can fail */
	(void)pthread_mutexattr_settype(&kind, PTHREAD_MUTEX_ADAPTIVE_NP);
	(void)pthread_mutex_init(&table->lock, &kind);
	(void)pthread_mutex_init(&table->ignoring, NULL);
	(void)pthread_mutexattr_destroy(&kind);
}

int inode_table_new(int root_fd, bool use_handles, struct watch *watch, struct inode_table **table)
{
	struct inode_table *made;
	struct statx stx;
	uint64_t ino;
	int err;

	if (statx(root_fd, "", AT_EMPTY_PATH, INODE_STATX_MASK, &stx) < 0)
		return -errno;
	made = calloc(1, sizeof(*made));
	if (!made)
		return -ENOMEM;
	init_locks(made);
	TAILQ_INIT(&made->idle.list);
	TAILQ_INIT(&made->spare.list);
	inode_table_limit(made, preset_limit());
	made->root_fd = root_fd;
	made->generation = new_generation();
	init_secret(made);
	made->mounts.without_handles = !use_handles;
	made->mounts.watch = watch;
	err = inode_hash_init(made);
	if (!err)
		err = inode_learn(made, NULL, NULL, root_fd, &stx, &ino);
	if (err) {
		inode_table_free(made);
		return err;
	}
	assert(ino == INODE_ROOT);
	init_numbers(made, &stx);
	*table = made;
	return 0;
}

void inode_table_free(struct inode_table *table)
{
	if (!table)
		return;
	for (size_t i = 0; table->by_ino && i < table->buckets; i++) {
		struct inode *next;

		for (struct inode *inode = table->by_ino[i]; inode; inode = next) {
			next = inode->next_by_ino;
			mounts_unref(&table->mounts, inode->mount);
			inode_free(inode);
		}
	}
	inode_hash_done(table);
	(void)pthread_mutex_destroy(&table->ignoring);
	(void)pthread_mutex_destroy(&table->lock);
	free(table);
}

size_t inode_table_count(struct inode_table *table)
{
	size_t count;

	pthread_mutex_lock(&table->lock);
	count = table->count;
	pthread_mutex_unlock(&table->lock);
	return count;
}

bool inode_is_looked_up(struct inode_table *table, uint64_t ino)
{
	const struct inode *inode;
	bool is_looked_up;

	pthread_mutex_lock(&table->lock);
	inode = inode_hash_find_locked(table, ino);
	is_looked_up = inode && (inode->lookups || ino == INODE_ROOT);
	pthread_mutex_unlock(&table->lock);
	return is_looked_up;
}

bool inode_find_handle(struct inode_table *table, uint64_t fsid, const struct handle *handle,
		       struct number_list *numbers)
{
	const struct inode *inode = NULL;
	bool is_complete = true;

	numbers->n = 0;
	pthread_mutex_lock(&table->lock);
	while (is_complete && (inode = inode_hash_next_handle_locked(table, inode, handle))) {
		if (inode->mount->fsid == fsid)
			is_complete = number_list_add(numbers, inode->ino);
	}
	pthread_mutex_unlock(&table->lock);
	return is_complete;
}

bool inode_find(struct inode_table *table, int fd, struct number_list *numbers)
{
	struct mount *mount = NULL;
	bool is_complete = true;
	struct handle handle;
	struct statx stx;

	numbers->n = 0;
	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_MNT_ID, &stx) == 0)
		mount = ref_mount(table, stx.stx_mnt_id);
	if (!mount)
		return true;
	mount_handle(mount, fd, &handle);
	if (handle.size && !mount->watch_err)
		is_complete = inode_find_handle(table, mount->fsid, &handle, numbers);
	pthread_mutex_lock(&table->lock);
	mounts_unref(&table->mounts, mount);
	pthread_mutex_unlock(&table->lock);
	return is_complete;
}

size_t inode_table_walk(struct inode_table *table, struct inode_walk *walk, uint64_t *numbers, size_t max)
{
	size_t n = 0;

	pthread_mutex_lock(&table->lock);
	for (; !n && walk->bucket < table->buckets; walk->bucket++) {
		for (const struct inode *inode = table->by_ino[walk->bucket]; inode; inode = inode->next_by_ino) {
			if (n < max)
				numbers[n++] = inode->ino;
		}
	}
	pthread_mutex_unlock(&table->lock);
	return n;
}
