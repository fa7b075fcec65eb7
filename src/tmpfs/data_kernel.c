/* SPDX-License-Identifier: MIT */
/* Bytes of files in files of the kernel's.  See data_kernel.h. */
#include "data_kernel.h"

#include "backing.h"
#include "mem.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#define STAT_BLOCK 512
#define ZEROS 65536
/* The backing file's own mode, and with the bit that a write by somebody else takes away. */
#define PLAIN_MODE 0600
#define TRIPWIRE_MODE 04600

struct kernel_plane {
	struct data_plane plane;
	struct backing_store store;
	bool is_abandoned;
	_Atomic unsigned n_ours; /* files that are open and not handed out */
};

static struct kernel_plane *of(struct data_plane *plane)
{
	return (struct kernel_plane *)plane;
}

static struct backing_store *store_of(struct data_plane *plane)
{
	return &of(plane)->store;
}

/* ------------------------------------------------------------------------ */
/* What is there                                                             */

static int attach(struct data_plane *plane, struct data *data, bool may_exceed)
{
	return data->backing ? 0 : backing_new(store_of(plane), may_exceed, &data->backing);
}

static void kernel_forget_ahead(struct data_plane *plane, struct data *data)
{
	if (data->backing)
		backing_forget_ahead(store_of(plane), data->backing);
}

/* The descriptor of a file that is to be changed, and may be empty; backing_put() follows. */
static int get_attached(struct data_plane *plane, struct data *data)
{
	int err = attach(plane, data, false);

	kernel_forget_ahead(plane, data);
	return err ? err : backing_get(store_of(plane), data->backing);
}

/* We changed the file @fd, which is held.  That has taken the bit away as a write by somebody else would. */
static void changed(struct data *data, int fd)
{
	data->backing->is_stale = true;
	if (data->backing->is_tripwire)
		(void)fchmod(fd, TRIPWIRE_MODE); /* our own file */
}

static void kernel_look(struct data_plane *plane, const struct data *data, struct data_look *look)
{
	(void)plane;
	if (data->backing)
		*look = data->backing->look;
	else
		*look = (struct data_look){0};
}

static bool is_empty(const struct data_look *look)
{
	return look->size == 0 && look->allocated == 0;
}

static bool kernel_is_stale(const struct data *data)
{
	return data->backing && (data->backing->is_stale || data->backing->opens > 0 || data->backing->was_writable);
}

static bool is_same(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

/*
 * The times that the file had before it was this inode's are nobody's; it was empty then, and only a change makes
 * it more.  A write stamps the file before it puts anything into it, ctime first and mtime last: who looks meanwhile may
 * see any part of that, and has seen the write when he sees bytes and another mtime.  What we do to the file by fchmod()
 * changes ctime alone.
 */
static void take_times(struct backing *backing, const struct stat *st)
{
	struct data_look *look = &backing->look;

	look->was_read = backing->has_atime ? !is_same(&st->st_atim, &look->atime)
					    : timespec_is_later(&st->st_atim, &backing->attached);
	backing->has_atime = backing->has_atime || look->was_read;
	look->atime = st->st_atim;
	look->was_written = !is_empty(look) && !is_same(&st->st_mtim, &look->mtime);
	if (!look->was_written)
		return;
	look->mtime = st->st_mtim;
	look->ctime = st->st_ctim;
}

static void kernel_refresh(struct data_plane *plane, struct data *data)
{
	struct backing *backing = data->backing;
	struct stat st;

	if (!backing)
		return;
	(void)backing_is_in_use(store_of(plane), backing); /* before: what follows is then the last word */
	if (backing_stat(store_of(plane), backing, &st))
		return; /* as it was */
	backing->look.size = (uint64_t)st.st_size;
	backing->look.allocated = (uint64_t)st.st_blocks * STAT_BLOCK;
	take_times(backing, &st);
	backing->look.is_setid_lost = backing->is_tripwire && !(st.st_mode & S_ISUID);
	if (backing->look.is_setid_lost)
		backing->is_tripwire = false;
	backing->is_stale = false;
}

static void kernel_clear(struct data_plane *plane, struct data *data)
{
	if (!data->backing)
		return;
	if (of(plane)->is_abandoned)
		backing_drop(store_of(plane), data->backing);
	else
		backing_free(store_of(plane), data->backing);
	data->backing = NULL;
}

/* ------------------------------------------------------------------------ */
/* Bytes                                                                     */

static ssize_t read_from_ahead(const struct backing *backing, void *buf, size_t n, uint64_t off)
{
	if (off >= backing->n_ahead)
		return 0;
	n = n < backing->n_ahead - off ? n : backing->n_ahead - (size_t)off;
	memcpy(buf, backing->ahead + off, n);
	return (ssize_t)n;
}

static ssize_t kernel_read(struct data_plane *plane, const struct data *data, void *buf, size_t n, uint64_t off)
{
	ssize_t got;
	int fd;

	if (!data->backing || off > DATA_SIZE_MAX)
		return 0;
	if (data->backing->ahead)
		return read_from_ahead(data->backing, buf, n, off);
	fd = backing_get(store_of(plane), data->backing);
	if (fd < 0)
		return fd;
	got = pread(fd, buf, n, (off_t)off);
	got = got < 0 ? -errno : got;
	backing_put(store_of(plane), data->backing);
	return got;
}

static ssize_t kernel_write(struct data_plane *plane, struct data *data, const void *buf, size_t n, uint64_t off)
{
	ssize_t written;
	int fd;

	if (off > DATA_SIZE_MAX || n > DATA_SIZE_MAX - off)
		return -EFBIG;
	fd = get_attached(plane, data);
	if (fd < 0)
		return fd;
	written = pwrite(fd, buf, n, (off_t)off);
	written = written < 0 ? -errno : written;
	changed(data, fd);
	backing_put(store_of(plane), data->backing);
	return written;
}

static int kernel_resize(struct data_plane *plane, struct data *data, uint64_t size)
{
	int fd, err;

	if (size > DATA_SIZE_MAX)
		return -EFBIG;
	/* Of the same size, it would only stamp the times. */
	if (size == (data->backing ? data->backing->look.size : 0) &&
	    (size > 0 || !data->backing || is_empty(&data->backing->look)))
		return 0;
	fd = get_attached(plane, data);
	if (fd < 0)
		return fd;
	err = ftruncate(fd, (off_t)size) < 0 ? -errno : 0;
	changed(data, fd);
	backing_put(store_of(plane), data->backing);
	return err;
}

static int reserve(struct data_plane *plane, struct data *data, int mode, uint64_t off, uint64_t len)
{
	int fd, err;

	fd = get_attached(plane, data);
	if (fd < 0)
		return fd;
	do
		err = fallocate(fd, mode, (off_t)off, (off_t)len) < 0 ? -errno : 0;
	while (err == -EINTR);
	changed(data, fd);
	backing_put(store_of(plane), data->backing);
	return err;
}

static int kernel_allocate(struct data_plane *plane, struct data *data, uint64_t off, uint64_t len)
{
	if (len == 0)
		return 0;
	if (off > DATA_SIZE_MAX || len > DATA_SIZE_MAX - off)
		return -EFBIG;
	return reserve(plane, data, FALLOC_FL_KEEP_SIZE, off, len);
}

/* The kernel's tmpfs has no FALLOC_FL_ZERO_RANGE.  What is allocated behind the end is zero. */
static int kernel_zero(struct data_plane *plane, struct data *data, uint64_t off, uint64_t len)
{
	static const char zeros[ZEROS];
	uint64_t size = data->backing ? data->backing->look.size : 0;
	uint64_t end = off + len < size ? off + len : size;
	ssize_t n;

	for (; off < end; off += (uint64_t)n) {
		n = kernel_write(plane, data, zeros, end - off < ZEROS ? (size_t)(end - off) : ZEROS, off);
		if (n <= 0)
			return n < 0 ? (int)n : -EIO;
	}
	return 0;
}

static int kernel_punch(struct data_plane *plane, struct data *data, uint64_t off, uint64_t len)
{
	if (!data->backing || len == 0 || off > DATA_SIZE_MAX)
		return 0;
	if (len > DATA_SIZE_MAX - off)
		len = DATA_SIZE_MAX - off;
	return reserve(plane, data, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off, len);
}

static int64_t kernel_seek(struct data_plane *plane, const struct data *data, uint64_t off, int whence)
{
	int64_t found;
	int fd;

	if (!data->backing || off > DATA_SIZE_MAX)
		return -ENXIO;
	fd = backing_get(store_of(plane), data->backing);
	if (fd < 0)
		return fd;
	found = lseek(fd, (off_t)off, whence);
	found = found < 0 ? -errno : found;
	backing_put(store_of(plane), data->backing);
	return found;
}

struct range {
	uint64_t off, len;
};

struct page_counts {
	uint64_t cache, dirty, writeback, evicted, recently_evicted;
};

#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif

/* Whether there is a page, in memory or swapped out.  lseek(2) would wait for who writes, and he for his memory.
 * Source: cachestat(2), Linux 6.5; elsewhere there always is. */
static bool has_page(int fd, uint64_t off, uint64_t len)
{
	struct range range = {.off = off, .len = len};
	struct page_counts counts;

	if (syscall(SYS_cachestat, fd, &range, &counts, 0) < 0)
		return true;
	return counts.cache + counts.evicted > 0;
}

/* Steps that grow, and then shrink: what is dense is found at once, and a great hole soon. */
static uint64_t find_page(int fd, uint64_t off, uint64_t end)
{
	uint64_t step = DATA_PAGE_SIZE;

	while (off < end && !has_page(fd, off, step < end - off ? step : end - off)) {
		off += step < end - off ? step : end - off;
		step *= 2;
	}
	for (step /= 2; off < end && step >= DATA_PAGE_SIZE; step /= 2)
		if (step < end - off && !has_page(fd, off, step))
			off += step;
	return off;
}

static uint64_t kernel_hole_end(struct data_plane *plane, const struct data *data, uint64_t off, uint64_t end)
{
	int fd;

	if (!data->backing)
		return end;
	fd = backing_get(store_of(plane), data->backing);
	if (fd < 0)
		return off;
	off = find_page(fd, off, end);
	backing_put(store_of(plane), data->backing);
	return off;
}

/* Between two descriptors that are held. */
static ssize_t copy_bytes(int from_fd, uint64_t off, int to_fd, uint64_t to_off, size_t n)
{
	off_t in = (off_t)off, out = (off_t)to_off;
	size_t done = 0;
	ssize_t part;

	while (done < n) {
		part = copy_file_range(from_fd, &in, to_fd, &out, n - done, 0);
		if (part < 0 && done == 0)
			return -errno;
		if (part <= 0)
			break;
		done += (size_t)part;
	}
	return (ssize_t)done;
}

static ssize_t kernel_copy(struct data_plane *plane, const struct data *from, uint64_t off, struct data *to,
			   uint64_t to_off, size_t n)
{
	int from_fd, to_fd;
	ssize_t copied;

	if (!from->backing || off > DATA_SIZE_MAX)
		return 0;
	from_fd = backing_get(store_of(plane), from->backing);
	if (from_fd < 0)
		return from_fd;
	to_fd = get_attached(plane, to);
	copied = to_fd;
	if (to_fd >= 0) {
		copied = copy_bytes(from_fd, off, to_fd, to_off, n);
		changed(to, to_fd);
		backing_put(store_of(plane), to->backing);
	}
	backing_put(store_of(plane), from->backing);
	return copied;
}

/* ------------------------------------------------------------------------ */
/* Opens                                                                     */

/* How this open goes, and all until the last of them is closed: a handle, 0 if it comes to us, or -errno.  What somebody
 * has mapped cannot come to us: the pages that the kernel then keeps are not those of the mapping. */
static int decide(struct backing_store *store, struct backing *backing, bool is_ours, void *request)
{
	int handle = 0;

	if (!is_ours || backing_is_mapped(store, backing)) /* it takes time to ask */
		handle = backing_register(store, backing, request);
	if (handle <= 0 && backing_is_mapped(store, backing))
		return handle < 0 ? handle : -EIO;
	return handle > 0 ? handle : 0;
}

static int kernel_open(struct data_plane *plane, struct data *data, unsigned flags, void *request)
{
	struct backing_store *store = store_of(plane);
	struct backing *backing;
	int err, handle;

	err = attach(plane, data, !(flags & DATA_OPEN_NEW));
	if (err)
		return err;
	backing = data->backing;
	backing_count_opens(store, backing, 1);
	if (backing->opens == 1)
		handle = decide(store, backing, flags & DATA_OPEN_OURS, request);
	else
		handle = backing->is_handed_out ? backing_register(store, backing, request) : 0;
	if (handle < 0) {
		backing_count_opens(store, backing, -1);
		return handle;
	}
	backing->is_handed_out = handle > 0;
	if (backing->opens == 1 && handle == 0)
		atomic_fetch_add(&of(plane)->n_ours, 1);
	if (handle > 0)
		backing->was_handed_out = true;
	if (flags & DATA_OPEN_WRITER) {
		kernel_forget_ahead(plane, data);
		backing->writers++;
		backing->was_writable = backing->was_writable || handle > 0;
	}
	return handle;
}

static void kernel_watch_setid(struct data_plane *plane, struct data *data, bool is_on)
{
	struct backing *backing = data->backing;
	int fd;

	if (!backing || backing->is_tripwire == is_on || (is_on && !backing->is_handed_out))
		return;
	fd = backing_get(store_of(plane), backing);
	if (fd < 0)
		return; /* the bits then outlive a write that is going on: nothing more can be done */
	if (fchmod(fd, is_on ? TRIPWIRE_MODE : PLAIN_MODE) == 0)
		backing->is_tripwire = is_on;
	backing_put(store_of(plane), backing);
}

static void kernel_close(struct data_plane *plane, struct data *data, unsigned flags)
{
	struct backing *backing = data->backing;

	if (!backing || backing->opens == 0)
		return;
	backing_count_opens(store_of(plane), backing, -1);
	backing->is_stale = true;
	if (flags & DATA_OPEN_WRITER)
		backing->writers--;
	if (backing->opens > 0)
		return;
	if (!backing->is_handed_out)
		atomic_fetch_sub(&of(plane)->n_ours, 1);
	backing->is_handed_out = false;
}

static void kernel_read_ahead(struct data_plane *plane, struct data *data)
{
	if (data->backing && !kernel_is_stale(data))
		backing_read_ahead(store_of(plane), data->backing);
}

static void kernel_tidy(struct data_plane *plane, struct data *data)
{
	if (!data->backing || data->backing->opens > 0)
		return;
	kernel_watch_setid(plane, data, false);
	/* Who has mapped it would go on to see what is another file's then. */
	if (is_empty(&data->backing->look) && !backing_is_in_use(store_of(plane), data->backing))
		kernel_clear(plane, data);
}

static bool kernel_has_ours(const struct data_plane *plane)
{
	return atomic_load(&((const struct kernel_plane *)plane)->n_ours) > 0;
}

static bool kernel_is_changing(const struct data *data)
{
	const struct backing *backing = data->backing;

	/* Where there is no page, no mapping stores to one; of the rest the kernel knows. */
	return backing && !is_empty(&backing->look) && (backing->writers > 0 || backing->was_writable);
}

static bool kernel_is_exposed(const struct data *data)
{
	return data->backing && (data->backing->writers > 0 || data->backing->was_writable);
}

static bool kernel_set_times(struct data_plane *plane, struct data *data, struct timespec times[2])
{
	struct backing *backing = data->backing;
	struct stat st;
	int fd;

	if (!backing)
		return false;
	fd = backing_get(store_of(plane), backing);
	if (fd < 0)
		return false; /* only what the kernel makes of relatime suffers */
	(void)futimens(fd, times); /* our own file */
	(void)fstat(fd, &st);
	changed(data, fd);
	backing_put(store_of(plane), backing);
	times[0] = backing->look.atime = st.st_atim;
	times[1] = st.st_mtim;
	backing->has_atime = true;
	return true;
}

/* ------------------------------------------------------------------------ */
/* Life                                                                      */

static void kernel_abandon(struct data_plane *plane)
{
	of(plane)->is_abandoned = true;
}

static void kernel_free(struct data_plane *plane)
{
	backing_store_done(store_of(plane));
	free(plane);
}

static const struct data_ops data_kernel_ops = {
	.name = "kernel",
	.free = kernel_free,
	.is_share = true,
	.clear = kernel_clear,
	.look = kernel_look,
	.read = kernel_read,
	.write = kernel_write,
	.resize = kernel_resize,
	.allocate = kernel_allocate,
	.zero = kernel_zero,
	.punch = kernel_punch,
	.seek = kernel_seek,
	.hole_end = kernel_hole_end,
	.copy = kernel_copy,
	.open = kernel_open,
	.close = kernel_close,
	.has_ours = kernel_has_ours,
	.is_changing = kernel_is_changing,
	.is_exposed = kernel_is_exposed,
	.is_stale = kernel_is_stale,
	.refresh = kernel_refresh,
	.tidy = kernel_tidy,
	.set_times = kernel_set_times,
	.watch_setid = kernel_watch_setid,
	.read_ahead = kernel_read_ahead,
	.forget_ahead = kernel_forget_ahead,
	.abandon = kernel_abandon,
};

static int resize_share(void *arg, uint64_t max)
{
	return backing_store_resize(arg, max);
}

static uint64_t used_of_share(void *arg)
{
	return backing_store_used(arg);
}

int data_kernel_probe(const struct data_kernel_options *options)
{
	struct backing_store store;
	int err = backing_store_init(&store, NULL, options);

	if (!err)
		backing_store_done(&store);
	return err;
}

int data_kernel_new(struct mem *mem, const struct data_kernel_options *options, struct data_plane **made)
{
	struct kernel_plane *kernel = calloc(1, sizeof(*kernel));
	int err;

	if (!kernel)
		return -ENOMEM;
	kernel->plane = (struct data_plane){.ops = &data_kernel_ops, .mem = mem};
	err = backing_store_init(&kernel->store, mem, options);
	if (err)
		goto free_plane;
	err = mem_set_share(mem,
			    &(struct mem_share){.resize = resize_share, .used = used_of_share, .arg = &kernel->store});
	if (err)
		goto close_store;
	*made = &kernel->plane;
	return 0;
close_store:
	backing_store_done(&kernel->store);
free_plane:
	free(kernel);
	return err;
}

void data_kernel_set_warm_max(struct data_plane *plane, unsigned max)
{
	store_of(plane)->warm_max = max;
}
