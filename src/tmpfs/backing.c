/* SPDX-License-Identifier: MIT */
/* Backing files, their descriptors and registrations.  See backing.h. */
#include "backing.h"

#include "mem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/mount.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What a backing file costs beside its bytes: the kernel's inode, dentry and place in the directory, an open file
 * and a registration now and then, and our own part. */
#define BACKING_COST (1024 + sizeof(struct backing))
#define PAGE ((uint64_t)4096)
/* A size that nothing reaches: without one the kernel would not count. */
#define SIZE_UNREACHED (UINT64_C(1) << 62)

/* More does not make opening any faster, and takes memory. */
/* Of a file, and of all, so many bytes are read ahead. */
#define AHEAD_FILE_MAX 4096
#define AHEAD_MAX ((size_t)64 << 20)
#define WARM_MAX 8192
#define SPARES_MAX 256
#define NAME_SIZE 20

/* What is to be closed once no lock is held. */
struct cold {
	int fd;
	int handle;
};

static void name_of(const struct backing *backing, char name[NAME_SIZE])
{
	snprintf(name, NAME_SIZE, "%" PRIx64, backing->id);
}

static void close_cold(const struct backing_store *store, const struct cold *cold)
{
	if (cold->handle > 0)
		store->registry.remove(store->registry.arg, cold->handle);
	if (cold->fd >= 0)
		close(cold->fd);
}

/* ------------------------------------------------------------------------ */
/* The mount                                                                 */

static int set_option(int context_fd, const char *key, const char *value)
{
	return syscall(SYS_fsconfig, context_fd, FSCONFIG_SET_STRING, key, value, 0) < 0 ? -errno : 0;
}

static int set_size(int context_fd, uint64_t max)
{
	char text[24];

	/* The kernel takes 0 for no limit; and the last page is the least that it can be told. */
	if (max < PAGE)
		max = PAGE;
	if (max > SIZE_UNREACHED)
		max = SIZE_UNREACHED;
	snprintf(text, sizeof(text), "%" PRIu64, max / PAGE * PAGE);
	return set_option(context_fd, "size", text);
}

static int set_options(int context_fd, const struct data_kernel_options *options)
{
	int err;

	err = set_size(context_fd, SIZE_UNREACHED);
	if (!err)
		err = set_option(context_fd, "nr_inodes", "0"); /* we count them */
	if (!err)
		err = set_option(context_fd, "mode", "0700");
	if (!err && options->huge)
		err = set_option(context_fd, "huge", options->huge);
	if (!err && options->mempolicy)
		err = set_option(context_fd, "mpol", options->mempolicy);
	if (!err && options->noswap && syscall(SYS_fsconfig, context_fd, FSCONFIG_SET_FLAG, "noswap", NULL, 0) < 0)
		err = -errno;
	if (!err && syscall(SYS_fsconfig, context_fd, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		err = -errno;
	return err;
}

/* Returns a descriptor of the mount's root, or -errno. */
static int mount_privately(const struct data_kernel_options *options)
{
	int context_fd = (int)syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC);
	int mount_fd, err;

	if (context_fd < 0)
		return -errno;
	err = set_options(context_fd, options);
	mount_fd = err ? err
		       : (int)syscall(SYS_fsmount, context_fd, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
	err = mount_fd < 0 && !err ? -errno : err;
	close(context_fd);
	return err ? err : mount_fd;
}

static unsigned default_warm_max(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur / 2 > WARM_MAX)
		return WARM_MAX;
	return (unsigned)(limit.rlim_cur / 2);
}

/* What changes the options of the mount, or -1. */
static int pick(int mount_fd)
{
	return (int)syscall(SYS_fspick, mount_fd, "", FSPICK_EMPTY_PATH | FSPICK_CLOEXEC);
}

int backing_store_init(struct backing_store *store, struct mem *mem, const struct data_kernel_options *options)
{
	int err;

	memset(store, 0, sizeof(*store));
	store->mem = mem;
	store->registry = options->registry;
	store->warm_max = default_warm_max();
	store->mount_fd = mount_privately(options);
	if (store->mount_fd < 0)
		return store->mount_fd;
	store->context_fd = pick(store->mount_fd);
	if (store->context_fd < 0) {
		err = -errno;
		close(store->mount_fd);
		return err;
	}
	(void)pthread_mutex_init(&store->lock, NULL); /* never fails for the default kind */
	return 0;
}

static int reconfigure(int context_fd, uint64_t max)
{
	int err = set_size(context_fd, max);

	if (!err && syscall(SYS_fsconfig, context_fd, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0) < 0)
		err = errno == EINVAL ? -ENOSPC : -errno; /* what it calls too small a size for current use */
	return err;
}

int backing_store_resize(struct backing_store *store, uint64_t max)
{
	int err;

	if (store->context_fd < 0)
		store->context_fd = pick(store->mount_fd);
	if (store->context_fd < 0)
		return -errno;
	err = reconfigure(store->context_fd, max);
	if (!err)
		return 0;
	/* After a failure the kernel takes nothing more by this descriptor. */
	close(store->context_fd);
	store->context_fd = -1;
	return err;
}

uint64_t backing_store_used(const struct backing_store *store)
{
	struct statvfs st;

	if (fstatvfs(store->mount_fd, &st) < 0)
		return 0;
	return (st.f_blocks - st.f_bfree) * st.f_frsize;
}

/* ------------------------------------------------------------------------ */
/* Warm ones                                                                 */

static void unlink_warm_locked(struct backing_store *store, struct backing *backing)
{
	if (!backing->is_warm)
		return;
	if (backing->previous)
		backing->previous->next = backing->next;
	else
		store->warm_first = backing->next;
	if (backing->next)
		backing->next->previous = backing->previous;
	else
		store->warm_last = backing->previous;
	backing->is_warm = false;
	store->n_warm--;
}

static void link_warm_locked(struct backing_store *store, struct backing *backing)
{
	backing->previous = NULL;
	backing->next = store->warm_first;
	if (backing->next)
		backing->next->previous = backing;
	else
		store->warm_last = backing;
	store->warm_first = backing;
	backing->is_warm = true;
	store->n_warm++;
}

/* Takes away what the backing file can do without. */
static struct cold cool_locked(struct backing_store *store, struct backing *backing)
{
	struct cold cold = {.fd = backing->fd, .handle = backing->opens == 0 ? backing->handle : 0};

	unlink_warm_locked(store, backing);
	backing->fd = -1;
	if (backing->opens == 0)
		backing->handle = 0;
	return cold;
}

/* Whether it has something that it does not need at the moment. */
static bool is_idle_locked(const struct backing *backing)
{
	return backing->users == 0 && (backing->fd >= 0 || (backing->opens == 0 && backing->handle > 0));
}

/* Puts it on the list again, if that is where it belongs; at most one other falls off. */
static struct cold rewarm_locked(struct backing_store *store, struct backing *backing)
{
	unlink_warm_locked(store, backing);
	if (is_idle_locked(backing))
		link_warm_locked(store, backing);
	if (store->n_warm > store->warm_max)
		return cool_locked(store, store->warm_last);
	return (struct cold){.fd = -1};
}

static bool close_spare_locked(struct backing_store *store, struct cold *cold)
{
	struct backing *spare = store->spares;

	while (spare && spare->fd < 0)
		spare = spare->next;
	if (!spare)
		return false;
	cold->fd = spare->fd;
	spare->fd = -1;
	return true;
}

/* Returns false if there was nothing to close. */
static bool close_one(struct backing_store *store)
{
	struct cold cold = {.fd = -1};
	bool is_done = true;

	pthread_mutex_lock(&store->lock);
	if (store->warm_last) {
		cold = cool_locked(store, store->warm_last);
	} else {
		is_done = close_spare_locked(store, &cold);
	}
	pthread_mutex_unlock(&store->lock);
	close_cold(store, &cold);
	return is_done;
}

/* Opens a name in the mount; what is read by way of it is no access, as who reads for somebody tells the inode.  Where descriptors
 * have run out, some are closed for it. */
static int open_file(struct backing_store *store, const char *name, int flags)
{
	int fd;

	do
		fd = openat(store->mount_fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NOATIME | flags, 0600);
	while (fd < 0 && (errno == EMFILE || errno == ENFILE) && close_one(store));
	return fd < 0 ? -errno : fd;
}

/* ------------------------------------------------------------------------ */
/* Files                                                                     */

/* Spares are the store's own, and not charged to anybody: they are few. */
static struct backing *take_spare(struct backing_store *store)
{
	struct backing *spare;

	pthread_mutex_lock(&store->lock);
	spare = store->spares;
	if (spare) {
		store->spares = spare->next;
		store->n_spares--;
		spare->next = NULL;
	}
	pthread_mutex_unlock(&store->lock);
	return spare;
}

static int make_file(struct backing_store *store, struct backing *backing)
{
	char name[NAME_SIZE];

	pthread_mutex_lock(&store->lock);
	backing->id = store->next_id++;
	pthread_mutex_unlock(&store->lock);
	name_of(backing, name);
	backing->fd = open_file(store, name, O_CREAT | O_EXCL);
	return backing->fd < 0 ? backing->fd : 0;
}

static int make_backing(struct backing_store *store, struct backing **made)
{
	struct backing *backing;
	int err;

	backing = calloc(1, sizeof(*backing));
	if (!backing)
		return -ENOMEM;
	err = make_file(store, backing);
	if (err)
		free(backing);
	else
		*made = backing;
	return err;
}

int backing_new(struct backing_store *store, bool may_exceed, struct backing **made)
{
	struct backing *backing;
	int err;

	err = mem_charge(store->mem, BACKING_COST);
	if (err && !may_exceed)
		return err;
	if (err)
		mem_charge_anyway(store->mem, BACKING_COST);
	backing = take_spare(store);
	err = backing ? 0 : make_backing(store, &backing);
	if (err) {
		mem_uncharge(store->mem, BACKING_COST);
		return err;
	}
	/* The fine clock: what the kernel stamped before may be ahead of the coarse one. */
	(void)clock_gettime(CLOCK_REALTIME, &backing->attached); /* fails only for an unknown clock */
	*made = backing;
	return 0;
}

/* As new, but for the descriptor and the registration. */
static void reset(struct backing *backing)
{
	backing->opens = backing->writers = 0;
	backing->is_handed_out = backing->is_stale = backing->is_tripwire = backing->has_atime = false;
	backing->was_handed_out = backing->was_writable = false;
	memset(&backing->look, 0, sizeof(backing->look));
}

/* A time that lies ahead would be taken for an access by the next one's readers.  Returns 0 or -1. */
static int take_back_times(const struct backing *backing)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now); /* fails only for an unknown clock */
	return timespec_is_later(&backing->look.atime, &now) ? futimens(backing->fd, NULL) : 0;
}

static bool keep_as_spare(struct backing_store *store, struct backing *backing)
{
	bool is_kept;

	pthread_mutex_lock(&store->lock);
	is_kept = store->n_spares < SPARES_MAX;
	if (is_kept) {
		backing->next = store->spares;
		store->spares = backing;
		store->n_spares++;
	}
	pthread_mutex_unlock(&store->lock);
	return is_kept;
}

static void remove_file(struct backing_store *store, struct backing *backing)
{
	char name[NAME_SIZE];

	name_of(backing, name);
	(void)unlinkat(store->mount_fd, name, 0); /* it is ours alone: it is there */
	close_cold(store, &(struct cold){.fd = backing->fd, .handle = backing->handle});
	free(backing);
}

static bool charge_ahead(struct backing_store *store, size_t n)
{
	bool is_charged;

	pthread_mutex_lock(&store->lock);
	is_charged = n <= AHEAD_MAX - store->ahead;
	if (is_charged)
		store->ahead += n;
	pthread_mutex_unlock(&store->lock);
	return is_charged;
}

static void uncharge_ahead(struct backing_store *store, size_t n)
{
	pthread_mutex_lock(&store->lock);
	store->ahead -= n;
	pthread_mutex_unlock(&store->lock);
}

static bool read_all(struct backing_store *store, struct backing *backing, void *buf, size_t n)
{
	int fd = backing_get(store, backing);
	ssize_t got;

	if (fd < 0)
		return false;
	got = pread(fd, buf, n, 0);
	backing_put(store, backing);
	return got == (ssize_t)n;
}

void backing_read_ahead(struct backing_store *store, struct backing *backing)
{
	const size_t n = backing->look.size <= AHEAD_FILE_MAX ? (size_t)backing->look.size : 0;
	unsigned char *bytes;

	if (n == 0 || backing->ahead || !charge_ahead(store, n))
		return;
	bytes = malloc(n);
	if (bytes && read_all(store, backing, bytes, n)) {
		backing->ahead = bytes;
		backing->n_ahead = n;
		return;
	}
	free(bytes);
	uncharge_ahead(store, n);
}

void backing_forget_ahead(struct backing_store *store, struct backing *backing)
{
	if (!backing->ahead)
		return;
	free(backing->ahead);
	backing->ahead = NULL;
	uncharge_ahead(store, backing->n_ahead);
}

void backing_free(struct backing_store *store, struct backing *backing)
{
	bool is_empty = backing->look.size == 0 && backing->look.allocated == 0 && !backing->is_stale;
	bool is_in_use = backing_is_in_use(store, backing);

	backing_forget_ahead(store, backing);
	pthread_mutex_lock(&store->lock);
	unlink_warm_locked(store, backing);
	pthread_mutex_unlock(&store->lock);
	mem_uncharge(store->mem, BACKING_COST);
	if (is_in_use || backing->fd < 0 || (!is_empty && ftruncate(backing->fd, 0) < 0) ||
	    (backing->is_tripwire && fchmod(backing->fd, 0600) < 0) || take_back_times(backing) < 0) {
		remove_file(store, backing);
		return;
	}
	reset(backing);
	if (!keep_as_spare(store, backing))
		remove_file(store, backing);
}

static void drop(struct backing *backing)
{
	if (backing->fd >= 0)
		close(backing->fd);
	free(backing);
}

void backing_drop(struct backing_store *store, struct backing *backing)
{
	backing_forget_ahead(store, backing);
	pthread_mutex_lock(&store->lock);
	unlink_warm_locked(store, backing);
	pthread_mutex_unlock(&store->lock);
	mem_uncharge(store->mem, BACKING_COST);
	drop(backing);
}

void backing_store_done(struct backing_store *store)
{
	struct backing *spare;

	while ((spare = take_spare(store)))
		drop(spare);
	if (store->context_fd >= 0)
		close(store->context_fd);
	close(store->mount_fd);
	(void)pthread_mutex_destroy(&store->lock);
}

/* ------------------------------------------------------------------------ */
/* Use                                                                       */

/* The descriptor, or -1; it stays as it is until backing_put(). */
static int hold(struct backing_store *store, struct backing *backing)
{
	int fd;

	pthread_mutex_lock(&store->lock);
	backing->users++;
	unlink_warm_locked(store, backing);
	fd = backing->fd;
	pthread_mutex_unlock(&store->lock);
	return fd;
}

void backing_put(struct backing_store *store, struct backing *backing)
{
	struct cold cold;

	pthread_mutex_lock(&store->lock);
	backing->users--;
	cold = rewarm_locked(store, backing);
	pthread_mutex_unlock(&store->lock);
	close_cold(store, &cold);
}

/* Another thread that reads the same file may have opened it meanwhile. */
static int install(struct backing_store *store, struct backing *backing, int fd)
{
	int surplus = -1;

	pthread_mutex_lock(&store->lock);
	if (backing->fd < 0)
		backing->fd = fd;
	else
		surplus = fd;
	fd = backing->fd;
	pthread_mutex_unlock(&store->lock);
	if (surplus >= 0)
		close(surplus);
	return fd;
}

int backing_get(struct backing_store *store, struct backing *backing)
{
	int fd = hold(store, backing);
	char name[NAME_SIZE];

	if (fd >= 0)
		return fd;
	name_of(backing, name);
	fd = open_file(store, name, 0);
	if (fd < 0) {
		backing_put(store, backing);
		return fd;
	}
	return install(store, backing, fd);
}

int backing_register(struct backing_store *store, struct backing *backing, void *request)
{
	int fd, handle;

	/* It is open: nobody takes the handle away. */
	pthread_mutex_lock(&store->lock);
	handle = backing->handle;
	pthread_mutex_unlock(&store->lock);
	if (handle > 0)
		return handle;
	fd = backing_get(store, backing);
	if (fd < 0)
		return fd;
	handle = store->registry.add(request, fd);
	if (handle > 0) {
		pthread_mutex_lock(&store->lock);
		backing->handle = handle;
		pthread_mutex_unlock(&store->lock);
	}
	backing_put(store, backing);
	return handle;
}

void backing_count_opens(struct backing_store *store, struct backing *backing, int by)
{
	struct cold cold;

	pthread_mutex_lock(&store->lock);
	backing->opens += (uint32_t)by;
	cold = rewarm_locked(store, backing);
	pthread_mutex_unlock(&store->lock);
	close_cold(store, &cold);
}

/* Whether our descriptor, which is held, is the only one of the file: only then is there a lease.  It is given back at
 * once; nobody may have been granted an open that the kernel has yet to make, which would fail.
 * Source: F_SETLEASE in fcntl(2). */
static bool is_ours_alone(int fd)
{
	if (fcntl(fd, F_SETLEASE, F_WRLCK) < 0)
		return false;
	(void)fcntl(fd, F_SETLEASE, F_UNLCK); /* there is one */
	return true;
}

static bool is_held(struct backing_store *store, struct backing *backing)
{
	int fd = backing_get(store, backing);
	bool is_alone;

	if (fd < 0)
		return true; /* it may be */
	is_alone = is_ours_alone(fd);
	backing_put(store, backing);
	return !is_alone;
}

/* What is registered may be an earlier descriptor of ours. */
static void unregister(struct backing_store *store, struct backing *backing)
{
	struct cold cold = {.fd = -1};

	pthread_mutex_lock(&store->lock);
	cold.handle = backing->handle;
	backing->handle = 0;
	pthread_mutex_unlock(&store->lock);
	close_cold(store, &cold);
}

static bool is_held_by_others(struct backing_store *store, struct backing *backing)
{
	if (!is_held(store, backing))
		return false;
	unregister(store, backing);
	return is_held(store, backing);
}

bool backing_is_mapped(struct backing_store *store, struct backing *backing)
{
	if (backing->was_handed_out && !is_held_by_others(store, backing))
		backing->was_handed_out = backing->was_writable = false;
	return backing->was_handed_out;
}

bool backing_is_in_use(struct backing_store *store, struct backing *backing)
{
	return backing->opens > 0 || backing_is_mapped(store, backing);
}

int backing_stat(struct backing_store *store, struct backing *backing, struct stat *st)
{
	int fd = hold(store, backing);
	char name[NAME_SIZE];
	int err;

	name_of(backing, name);
	err = fd >= 0 ? fstat(fd, st) : fstatat(store->mount_fd, name, st, AT_SYMLINK_NOFOLLOW);
	err = err < 0 ? -errno : 0;
	backing_put(store, backing);
	return err;
}
