/* SPDX-License-Identifier: MIT */
/* Reading and writing a regular file.  See file.h. */
#include "file.h"

#include "inode_store.h"
#include "journal.h"
#include "mem.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <unistd.h>

static int must_be_regular(const struct inode *inode)
{
	if (inode_is_regular(inode))
		return 0;
	return inode_is_dir(inode) ? -EISDIR : -EINVAL;
}

static unsigned data_flags(const struct inode *inode, unsigned flags) REQUIRES_SHARED(inode->lock)
{
	unsigned result = 0;

	if (flags & FILE_OPEN_WRITER)
		result |= DATA_OPEN_WRITER;
	if (flags & FILE_OPEN_NEW)
		result |= DATA_OPEN_NEW;
	/* Only we know who may not keep these bits by writing. */
	if (inode_drops_setid(inode) || (flags & FILE_OPEN_SYNC))
		result |= DATA_OPEN_OURS;
	return result;
}

/* Whoever may write without our seeing it may have done so. */
static void note_exposure(struct inode *inode, struct data_plane *plane) REQUIRES(inode->lock)
{
	if (inode_is_suspect(inode, plane))
		journal_note_range(plane->journal, inode->number, JOURNAL_SUSPECT | JOURNAL_BYTES, 0, JOURNAL_END);
}

static int open_locked(struct inode *inode, struct data_plane *plane, unsigned flags, void *request,
		       struct file_opening *opening) REQUIRES(inode->lock)
{
	bool was_changing;
	int handle;

	handle = inode_load_locked(inode, plane);
	if (handle < 0)
		return handle;
	inode_stay_locked(inode, plane);
	inode_refresh_locked(inode, plane);
	was_changing = data_is_changing(plane, &inode->data);
	handle = plane->ops->open(plane, &inode->data, data_flags(inode, flags), request);
	if (handle < 0)
		return handle;
	opening->handle = handle;
	note_exposure(inode, plane);
	inode_watch_setid_locked(inode, plane);
	opening->is_ours = inode_drops_setid(inode) || (flags & FILE_OPEN_SYNC);
	opening->is_first_writer = (flags & FILE_OPEN_WRITER) && !was_changing;
	return 0;
}

int file_open(struct inode *inode, struct data_plane *plane, unsigned flags, void *request,
	      struct file_opening *opening)
{
	int err = must_be_regular(inode);

	if (err)
		return err;
	small_rwlock_wrlock(&inode->lock);
	err = open_locked(inode, plane, flags, request, opening);
	small_rwlock_wrunlock(&inode->lock);
	return err;
}

void file_close(struct inode *inode, struct data_plane *plane, unsigned flags)
{
	if (must_be_regular(inode))
		return;
	small_rwlock_wrlock(&inode->lock);
	note_exposure(inode, plane);
	plane->ops->close(plane, &inode->data, flags & FILE_OPEN_WRITER ? DATA_OPEN_WRITER : 0);
	/* Of the last open this tells whether the file is empty now, whether somebody's bits are lost, and when it was read. */
	if ((flags & FILE_OPEN_WRITER) || inode_drops_setid(inode) || journal_keeps(plane->journal))
		inode_refresh_locked(inode, plane);
	/* The kernel may let go of it a moment later; and what was written may be read ahead. */
	if (inode_is_suspect(inode, plane) || (flags & FILE_OPEN_WRITER))
		journal_note_closed(plane->journal, inode->number);
	plane->ops->tidy(plane, &inode->data);
	inode_leave_locked(inode, plane);
	small_rwlock_wrunlock(&inode->lock);
}

ssize_t file_read(struct inode *inode, struct data_plane *plane, void *buf, size_t n, uint64_t off)
{
	ssize_t got = must_be_regular(inode);

	if (!got)
		got = inode_load(inode, plane);
	if (got < 0)
		return got;
	inode_begin_access(inode, plane);
	got = plane->ops->read(plane, &inode->data, buf, n, off);
	inode_end_access(inode);
	return got;
}

/* What follows from a change of the bytes. */
static void written_locked(struct inode *inode, struct data_plane *plane, unsigned flags) REQUIRES(inode->lock)
{
	if (!(flags & FILE_KEEP_TIMES))
		inode_modified_locked(inode);
	if (!(flags & FILE_KEEP_SETID))
		inode_drop_setid_locked(inode, plane, !(flags & FILE_DROP_SETID), flags & FILE_DROP_AS_STRANGER);
	journal_note(plane->journal, inode->number, JOURNAL_NODE | JOURNAL_XATTRS);
}

static uint64_t end_of(uint64_t off, uint64_t n)
{
	return n < JOURNAL_END - off ? off + n : JOURNAL_END;
}

/* The bytes are about to change: they are here, and are known to. */
static int prepare_bytes(struct inode *inode, struct data_plane *plane, uint64_t off, uint64_t n) REQUIRES(inode->lock)
{
	int err = inode_load_locked(inode, plane);

	if (err)
		return err;
	inode_stay_locked(inode, plane);
	journal_before_bytes(plane, inode, off, end_of(off, n));
	return 0;
}

ssize_t file_write(struct inode *inode, struct data_plane *plane, const void *buf, size_t n, uint64_t off,
		   unsigned flags)
{
	ssize_t written = must_be_regular(inode);

	/* First, as it takes time and changes nothing; here and below. */
	if (!written)
		written = inode_load(inode, plane);
	if (written < 0)
		return written;
	scoped_change gate = journal_begin_bytes(plane->journal, inode->number, off, end_of(off, n));
	small_rwlock_wrlock(&inode->lock);
	written = prepare_bytes(inode, plane, off, n);
	if (written == 0)
		written = plane->ops->write(plane, &inode->data, buf, n, off);
	if (written > 0)
		written_locked(inode, plane, flags);
	small_rwlock_wrunlock(&inode->lock);
	return written;
}

void file_lose(struct inode *inode, struct data_plane *plane, uint64_t end)
{
	scoped_change gate = journal_begin_change(plane->journal);
	struct data_look look;

	small_rwlock_wrlock(&inode->lock);
	inode_refresh_locked(inode, plane);
	if (inode->is_stored)
		goto starve; /* nothing of it has changed: there was no room even to load it */
	plane->ops->look(plane, &inode->data, &look);
	journal_before_bytes(plane, inode, look.size, end);
	if (end > look.size)
		(void)plane->ops->resize(plane, &inode->data, end); /* takes no room; it may only be too long */
starve:
	inode->starved = true;
	small_rwlock_wrunlock(&inode->lock);
}

bool file_is_starved(struct inode *inode, struct data_plane *plane)
{
	bool is_starved;

	small_rwlock_rdlock(&inode->lock);
	is_starved = inode->starved;
	small_rwlock_rdunlock(&inode->lock);
	if (!is_starved || !mem_has_room(plane->mem, mem_block_cost(DATA_PAGE_SIZE)))
		return is_starved;
	small_rwlock_wrlock(&inode->lock);
	inode->starved = false;
	small_rwlock_wrunlock(&inode->lock);
	return false;
}

/* What fallocate(2) is to do: only these make sense, and only together so. */
static int check_mode(int mode, uint64_t off, uint64_t len)
{
	if (mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		return -EOPNOTSUPP;
	if ((mode & FALLOC_FL_PUNCH_HOLE) && mode != (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE))
		return -EOPNOTSUPP;
	if (len == 0)
		return -EINVAL;
	if (off > DATA_SIZE_MAX || len > DATA_SIZE_MAX - off)
		return -EFBIG;
	return 0;
}

static int allocate_locked(struct data *data, struct data_plane *plane, int mode, uint64_t off, uint64_t len)
{
	struct data_look look;
	int err = 0;

	/* First what can fail: then nothing is half done. */
	if (!(mode & FALLOC_FL_PUNCH_HOLE))
		err = plane->ops->allocate(plane, data, off, len);
	if (!err && (mode & FALLOC_FL_PUNCH_HOLE))
		err = plane->ops->punch(plane, data, off, len);
	if (!err && (mode & FALLOC_FL_ZERO_RANGE))
		err = plane->ops->zero(plane, data, off, len);
	if (err || (mode & FALLOC_FL_KEEP_SIZE))
		return err;
	plane->ops->look(plane, data, &look);
	return off + len > look.size ? plane->ops->resize(plane, data, off + len) : 0;
}

int file_allocate(struct inode *inode, struct data_plane *plane, int mode, uint64_t off, uint64_t len, unsigned flags)
{
	int err = must_be_regular(inode);

	if (!err)
		err = check_mode(mode, off, len);
	if (!err)
		err = inode_load(inode, plane);
	if (err)
		return err;
	scoped_change gate = journal_begin_bytes(plane->journal, inode->number, off, end_of(off, len));
	small_rwlock_wrlock(&inode->lock);
	err = prepare_bytes(inode, plane, off, len);
	inode_refresh_locked(inode, plane);
	if (!err)
		err = allocate_locked(&inode->data, plane, mode, off, len);
	if (!err)
		written_locked(inode, plane, flags);
	small_rwlock_wrunlock(&inode->lock);
	return err;
}

int64_t file_seek(struct inode *inode, struct data_plane *plane, uint64_t off, int whence)
{
	int64_t found = must_be_regular(inode);

	if (found < 0 || (whence != SEEK_DATA && whence != SEEK_HOLE))
		return -EINVAL;
	found = inode_load(inode, plane);
	if (found < 0)
		return found;
	small_rwlock_rdlock(&inode->lock);
	found = plane->ops->seek(plane, &inode->data, off, whence);
	small_rwlock_rdunlock(&inode->lock);
	return found;
}

/* Both locks, the lower number's first: two copies in opposite directions would wait for each other. */
static void lock_both(struct inode *a, struct inode *b) NO_THREAD_SAFETY_ANALYSIS
{
	if (a->number > b->number) {
		lock_both(b, a);
		return;
	}
	small_rwlock_wrlock(&a->lock);
	if (b != a)
		small_rwlock_wrlock(&b->lock);
}

static void unlock_both(struct inode *a, struct inode *b) NO_THREAD_SAFETY_ANALYSIS
{
	small_rwlock_wrunlock(&a->lock);
	if (b != a)
		small_rwlock_wrunlock(&b->lock);
}

static bool overlap(uint64_t a, uint64_t b, size_t n)
{
	return a < b ? b - a < n : a - b < n;
}

/* Both locks are held. */
static ssize_t copy_locked(struct inode *from, uint64_t off, struct inode *to, uint64_t to_off, size_t n,
			   struct data_plane *plane, unsigned flags) NO_THREAD_SAFETY_ANALYSIS
{
	struct data_look look;
	ssize_t copied = inode_load_locked(from, plane);

	if (copied < 0)
		return copied;
	inode_refresh_locked(from, plane);
	plane->ops->look(plane, &from->data, &look);
	if (off >= look.size)
		return 0;
	if (n > look.size - off)
		n = (size_t)(look.size - off);
	if (from == to && overlap(off, to_off, n))
		return -EINVAL;
	copied = prepare_bytes(to, plane, to_off, n);
	if (copied < 0)
		return copied;
	copied = plane->ops->copy(plane, &from->data, off, &to->data, to_off, n);
	if (copied > 0)
		written_locked(to, plane, flags);
	return copied;
}

ssize_t file_copy(struct inode *from, uint64_t off, struct inode *to, uint64_t to_off, size_t n,
		  struct data_plane *plane, unsigned flags)
{
	ssize_t copied = must_be_regular(from);

	if (copied == 0)
		copied = must_be_regular(to);
	if (copied == 0)
		copied = inode_load(from, plane);
	if (copied == 0)
		copied = inode_load(to, plane);
	if (copied < 0)
		return copied;
	scoped_change gate = journal_begin_bytes(plane->journal, to->number, to_off, end_of(to_off, n));
	if (to_off > DATA_SIZE_MAX || n > DATA_SIZE_MAX - to_off)
		return -EFBIG;
	/* Reading stamps atime, by a lock of its own. */
	inode_begin_access(from, plane);
	inode_end_access(from);
	lock_both(from, to);
	copied = copy_locked(from, off, to, to_off, n, plane, flags);
	unlock_both(from, to);
	return copied;
}
