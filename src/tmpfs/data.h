/* SPDX-License-Identifier: MIT */
/*
 * The bytes of files: the seam between what a file is and where its bytes lie.  A tree
 * has one plane: memory of our own (data_heap.h), or files of the kernel's that it
 * reads and writes without us (data_kernel.h).  Above the seam nothing knows which.
 *
 * The bytes of one file are guarded by the lock of its inode: for reading around look(), read(), seek(),
 * hole_end(), is_stale(), is_exposed() and is_changing(), for writing around the rest.
 *
 * Results are 0 or -errno unless said otherwise: -EFBIG past DATA_SIZE_MAX, -ENOSPC past the size of the
 * mount, -ENOMEM, and in the kernel's plane what its system calls give.
 */
#ifndef TMPFS_DATA_H
#define TMPFS_DATA_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

/* A file is at most this long: the greatest off_t. */
#define DATA_SIZE_MAX INT64_MAX
#define DATA_PAGE_SIZE 4096

struct backing;
struct data_plane;
struct journal;
struct mem;

/* The bytes of one file.  All zero is an empty file. */
struct data {
	union {
		struct {
			uint64_t size;
			uint64_t allocated; /* bytes of pages */
			void *root; /* what it is, height and small say */
			uint32_t height; /* 0: root is page 0, or NULL; else a node of that height */
			uint32_t small; /* height 0: bytes that page 0 has, at most DATA_PAGE_SIZE */
		} heap;
		struct backing *backing; /* NULL: an empty file */
		struct {
			uint64_t size;
			uint64_t allocated;
		} stored; /* the bytes are in a store, and in no plane yet: see inode.is_stored */
	};
};

/* What stat(2) shows of the bytes. */
struct data_look {
	uint64_t size;
	uint64_t allocated; /* bytes that are taken */
	/* Whether the last refresh() found that the kernel had read or written them meanwhile, and when. */
	bool was_read, was_written;
	struct timespec atime, mtime, ctime;
	bool is_setid_lost; /* a write that we did not see drops the setuid and setgid bits: watch_setid() */
};

struct data_ops {
	const char *name; /* as in the option that asks for it */

	/* Frees the plane; no file has bytes any more. */
	void (*free)(struct data_plane *plane);

	/* Whether bytes of files are counted by mem's share, and not by mem itself. */
	bool is_share;

	/* Frees all. */
	void (*clear)(struct data_plane *plane, struct data *data);

	/* As it was when refresh() last asked, if there is one. */
	void (*look)(struct data_plane *plane, const struct data *data, struct data_look *look);

	/* Returns how many bytes there were, at most @n, 0 at or past the end. */
	ssize_t (*read)(struct data_plane *plane, const struct data *data, void *buf, size_t n, uint64_t off);

	/* Returns how many bytes were written, less than @n only if there is no room for more. */
	ssize_t (*write)(struct data_plane *plane, struct data *data, const void *buf, size_t n, uint64_t off);

	/* Growing takes no bytes. */
	int (*resize)(struct data_plane *plane, struct data *data, uint64_t size);

	/* Makes sure that a write to the range needs no room, or changes nothing.  The size stays. */
	int (*allocate)(struct data_plane *plane, struct data *data, uint64_t off, uint64_t len);

	/* Makes the range, which is allocated, zero.  The size stays. */
	int (*zero)(struct data_plane *plane, struct data *data, uint64_t off, uint64_t len);

	/* Makes the range zero and frees its whole pages.  The size stays. */
	int (*punch)(struct data_plane *plane, struct data *data, uint64_t off, uint64_t len);

	/* SEEK_DATA, SEEK_HOLE: the first offset not before @off that lies in a page, or in a hole; a hole
	 * begins at the end.  -ENXIO if there is none. */
	int64_t (*seek)(struct data_plane *plane, const struct data *data, uint64_t off, int whence);

	/* Up to where there is nothing but a hole from @off on, at most @end; @off if there is none.  Waits for nobody, also
	 * where somebody writes by himself; may take a hole for none. */
	uint64_t (*hole_end)(struct data_plane *plane, const struct data *data, uint64_t off, uint64_t end);

	/* Copies the @n bytes at @off, which @from has; returns how many.  @from may be @to, if the ranges do
	 * not overlap. */
	ssize_t (*copy)(struct data_plane *plane, const struct data *from, uint64_t off, struct data *to,
			uint64_t to_off, size_t n);

	/* What follows is for a plane whose bytes the kernel reads and writes by itself; else NULL. */

	/* One open; @flags are of enum data_open_flags.  Returns a handle, > 0, by which the kernel does the I/O, or 0
	 * where it goes through us; the first open decides that for all until the last close.  -EIO where it would
	 * have to go through us and somebody has the file mapped. */
	int (*open)(struct data_plane *plane, struct data *data, unsigned flags, void *request);
	void (*close)(struct data_plane *plane, struct data *data, unsigned flags);

	/* Whether there are open files whose I/O goes through us.  Any thread, without a lock. */
	bool (*has_ours)(const struct data_plane *plane);

	/* Whether somebody may write now without our seeing it. */
	bool (*is_changing)(const struct data *data);

	/* Whether somebody may write without our seeing it, now or until refresh() sees that he cannot any more: also to an
	 * empty file, of whose attributes the kernel would know. */
	bool (*is_exposed)(const struct data *data);

	/* Whether look() may not know of what the kernel did; refresh() asks it. */
	bool (*is_stale)(const struct data *data);
	void (*refresh)(struct data_plane *plane, struct data *data);

	/* Gives up what an empty file does not need, unless it is open. */
	void (*tidy)(struct data_plane *plane, struct data *data);

	/* The inode's times were set: what the kernel does follows from these; they may be UTIME_NOW, and are then told
	 * as in times[].  Returns false, with nothing done, if there is nothing that could have times. */
	bool (*set_times)(struct data_plane *plane, struct data *data, struct timespec times[2]);

	/* Whether a write that we do not see is to be told in is_setid_lost. */
	void (*watch_setid)(struct data_plane *plane, struct data *data, bool is_on);

	/* Keeps the bytes of a small file at hand for read(), as they will be wanted soon, until they change or nobody wants them
	 * any more; not if somebody may write without our seeing it. */
	void (*read_ahead)(struct data_plane *plane, struct data *data);
	void (*forget_ahead)(struct data_plane *plane, struct data *data);

	/* All files are freed next, and then the plane. */
	void (*abandon)(struct data_plane *plane);
};

enum data_open_flags {
	DATA_OPEN_WRITER = 1 << 0, /* may write */
	DATA_OPEN_NEW = 1 << 1, /* of a file that is just made: it may fail for want of room */
	DATA_OPEN_OURS = 1 << 2, /* the first one: the I/O is to go through us, if it can */
};

struct data_plane {
	const struct data_ops *ops;
	struct mem *mem;
	struct journal *journal; /* who is told of changes, or NULL */
};

static inline bool data_is_stale(const struct data_plane *plane, const struct data *data)
{
	return plane->ops->is_stale && plane->ops->is_stale(data);
}

static inline bool data_is_exposed(const struct data_plane *plane, const struct data *data)
{
	return plane->ops->is_exposed && plane->ops->is_exposed(data);
}

static inline bool data_is_changing(const struct data_plane *plane, const struct data *data)
{
	return plane->ops->is_changing && plane->ops->is_changing(data);
}

#endif
