/* SPDX-License-Identifier: MIT */
/* Reading the bytes of a capture, and setting aside what changes before it was read.  See capture.h. */
#include "capture_internal.h"

#include "deadline.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------ */
/* Setting aside                                                             */

/* The first that does not end before @off or at it. */
static struct captured_piece **first_behind(struct captured_file *file, uint64_t off)
{
	struct captured_piece **at = &file->pieces;

	/* Who changes a file mostly does so from its beginning to its end. */
	if (file->last_piece && file->last_piece->end <= off)
		return &file->last_piece->next;
	while (*at && (*at)->end <= off)
		at = &(*at)->next;
	return at;
}

/* Up to where there is a hole from @off on, but at most @end, in whole pieces; @off: there is none. */
static uint64_t end_of_hole(struct data_plane *plane, const struct inode *inode, uint64_t off, uint64_t end)
	REQUIRES_SHARED(inode->lock)
{
	uint64_t found;

	/* One piece is as soon read as asked for: zeros are found out about then. */
	if (end - off <= STORE_CHUNK_SIZE)
		return off;
	found = plane->ops->hole_end(plane, &inode->data, off, end);
	return found < end ? piece_start(found) : end;
}

/* Puts the piece at @off, or the hole that is there up to @end, before *@at.  Returns false if there is no memory, or the bytes
 * cannot be read. */
static bool set_aside(struct capture *capture, struct captured_file *file, struct captured_piece **at,
		      struct data_plane *plane, const struct inode *inode, uint64_t off, uint64_t end)
	REQUIRES_SHARED(inode->lock)
{
	const uint64_t hole_end = end_of_hole(plane, inode, off, end);
	const size_t n = hole_end > off ? 0 : piece_length(off, file->size);
	struct captured_piece *piece;
	ssize_t got = 0;

	/* Where it holds back, there is room for who was let through. */
	if (!capture->holds_back && n > capture->aside_max - capture->aside)
		return false;
	piece = malloc(sizeof(*piece) + n);
	if (!piece)
		return false;
	if (n > 0)
		got = plane->ops->read(plane, &inode->data, piece->bytes, n, off);
	if (got < 0) {
		free(piece);
		return false;
	}
	memset(piece->bytes + got, 0, n - (size_t)got);
	piece->off = off;
	piece->end = n > 0 ? off + STORE_CHUNK_SIZE : hole_end;
	piece->n = n;
	piece->next = *at;
	*at = piece;
	if (!piece->next)
		file->last_piece = piece;
	capture->aside += n;
	return true;
}

static bool rescue_range(struct capture *capture, struct captured_file *file, struct data_plane *plane,
			 const struct inode *inode, uint64_t from, uint64_t to) REQUIRES_SHARED(inode->lock)
{
	struct captured_piece **at;
	uint64_t end;

	to = to < file->size ? to : file->size;
	from = piece_start(from > file->cursor ? from : file->cursor);
	for (; from < to; from = (*at)->end) {
		at = first_behind(file, from);
		if (*at && (*at)->off <= from)
			continue;
		end = piece_start(to + STORE_CHUNK_SIZE - 1);
		if (*at && (*at)->off < end)
			end = (*at)->off;
		if (!set_aside(capture, file, at, plane, inode, from, end))
			return false;
	}
	return true;
}

static bool rescue_file(struct capture *capture, struct captured_file *file, struct data_plane *plane,
			const struct inode *inode, uint64_t from, uint64_t to) REQUIRES_SHARED(inode->lock)
{
	unsigned i;

	for (i = 0; i < file->n_ranges; i++) {
		const struct journal_range *range = &file->ranges[i];

		if (from < range->to && range->from < to &&
		    !rescue_range(capture, file, plane, inode, from > range->from ? from : range->from,
				  to < range->to ? to : range->to))
			return false;
	}
	return true;
}

void capture_rescue(struct journal *journal, struct data_plane *plane, struct inode *inode, uint64_t from,
		    uint64_t to) NO_THREAD_SAFETY_ANALYSIS
{
	struct capture *capture;
	struct captured_file *file;

	assert(!inode->is_stored); /* they would be read from where they are not */
	pthread_mutex_lock(&journal->lock);
	for (capture = journal->captures; capture; capture = capture->next) {
		file = atomic_load(&capture->is_spoilt) ? NULL : capture_find_file(capture, inode->number);
		if (file && !rescue_file(capture, file, plane, inode, from, to))
			atomic_store(&capture->is_spoilt, true);
	}
	pthread_mutex_unlock(&journal->lock);
}

/* ------------------------------------------------------------------------ */
/* Holding back                                                              */

static uint64_t lesser(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t greater(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* In whole pieces, those of holes too, what is neither read nor set aside. */
static uint64_t unread_in(const struct captured_file *file, const struct journal_range *range, uint64_t from,
			  uint64_t to)
{
	const struct captured_piece *piece;
	uint64_t n;

	from = piece_start(greater(greater(from, range->from), file->cursor));
	to = lesser(lesser(to, range->to), file->size);
	if (from >= to)
		return 0;
	to = piece_start(to + STORE_CHUNK_SIZE - 1);
	n = to - from;
	for (piece = file->pieces; piece && piece->off < to; piece = piece->next)
		if (piece->end > from)
			n -= lesser(piece->end, to) - greater(piece->off, from);
	return n;
}

/* Also promises it the room. */
static bool lets_change_locked(struct capture *capture, uint64_t number, uint64_t from, uint64_t to)
{
	const struct captured_file *file = capture->holds_back ? capture_find_file(capture, number) : NULL;
	uint64_t n = 0;
	unsigned i;

	if (!file || atomic_load(&capture->is_spoilt))
		return true;
	for (i = 0; i < file->n_ranges; i++)
		n += unread_in(file, &file->ranges[i], from, to);
	if (n > capture->aside_max - capture->promised)
		return false;
	capture->promised += n;
	return true;
}

static void give_up_locked(struct journal *journal)
{
	struct capture *capture;

	for (capture = journal->captures; capture; capture = capture->next)
		if (capture->holds_back)
			atomic_store(&capture->is_spoilt, true);
	pthread_cond_broadcast(&journal->moved);
}

/* The store may hang, or wait for who is held back by ways that nobody thought of. */
static void wait_locked(struct journal *journal)
{
	struct timespec deadline;
	uint64_t before;
	int err;

	do {
		before = journal->n_read;
		deadline = deadline_after_ms(journal->patience_ms);
		err = pthread_cond_clockwait(&journal->moved, &journal->lock, CLOCK_MONOTONIC, &deadline);
	} while (err == ETIMEDOUT && journal->n_read != before);
	if (err == ETIMEDOUT)
		give_up_locked(journal);
}

bool capture_lets_change(struct journal *journal, uint64_t number, uint64_t from, uint64_t to)
{
	struct capture *capture;

	pthread_mutex_lock(&journal->lock);
	for (capture = journal->captures; capture; capture = capture->next)
		if (!lets_change_locked(capture, number, from, to))
			break;
	if (capture) {
		journal_end_change(journal);
		wait_locked(journal);
	}
	pthread_mutex_unlock(&journal->lock);
	return !capture;
}

void capture_pass(struct capture *capture, struct captured_file *file)
{
	struct journal *journal = capture->tree->journal;

	pthread_mutex_lock(&journal->lock);
	file->cursor = JOURNAL_END;
	pthread_cond_broadcast(&journal->moved);
	pthread_mutex_unlock(&journal->lock);
}

/* ------------------------------------------------------------------------ */
/* Reading                                                                   */

static void take_first_piece(struct captured_file *file, uint64_t limit, void *buf, struct captured_step *step)
{
	struct captured_piece *piece = file->pieces;

	if (piece->end > limit) {
		/* A hole, of which the rest is not asked for yet. */
		*step = (struct captured_step){.end = limit};
		piece->off = limit;
		return;
	}
	*step = (struct captured_step){.end = piece->end, .n = piece->n};
	memcpy(buf, piece->bytes, piece->n);
	file->pieces = piece->next;
	if (!file->pieces)
		file->last_piece = NULL;
	free(piece);
}

/* Decides what is at @off, and moves the cursor behind it.  Returns whether it is still to be read. */
static bool decide_locked(struct captured_file *file, struct data_plane *plane, const struct inode *inode, uint64_t off,
			  uint64_t limit, void *buf, struct captured_step *step) REQUIRES_SHARED(inode->lock)
{
	uint64_t end = piece_start(file->size + STORE_CHUNK_SIZE - 1);
	bool is_to_read = false;

	if (file->pieces && file->pieces->off == off) {
		take_first_piece(file, limit, buf, step);
	} else {
		if (limit < end)
			end = limit;
		if (file->pieces && file->pieces->off < end)
			end = file->pieces->off;
		end = end_of_hole(plane, inode, off, end);
		is_to_read = end == off;
		*step = (struct captured_step){.end = is_to_read ? off + STORE_CHUNK_SIZE : end,
					       .n = is_to_read ? piece_length(off, file->size) : 0};
	}
	file->cursor = step->end;
	return is_to_read;
}

static int step_in_plane_locked(struct capture *capture, struct captured_file *file, const struct inode *inode,
				uint64_t off, uint64_t limit, void *buf, struct captured_step *step)
	REQUIRES_SHARED(inode->lock)
{
	struct journal *journal = capture->tree->journal;
	struct data_plane *plane = capture->tree->plane;
	ssize_t got;
	bool is_to_read;

	pthread_mutex_lock(&journal->lock);
	is_to_read = decide_locked(file, plane, inode, off, limit, buf, step);
	journal->n_read++;
	pthread_mutex_unlock(&journal->lock);
	if (!is_to_read)
		return 0;
	got = plane->ops->read(plane, &inode->data, buf, step->n, off);
	if (got < 0)
		return (int)got;
	memset((char *)buf + got, 0, step->n - (size_t)got);
	return 0;
}

/* Who wants to change a file that is still in the store takes it from there first, and then finds what the cursor says. */
static int step_in_store_locked(struct capture *capture, struct captured_file *file, struct store *stored, uint64_t off,
				uint64_t limit, void *buf, struct captured_step *step)
{
	struct journal *journal = capture->tree->journal;
	uint64_t end = piece_start(file->size + STORE_CHUNK_SIZE - 1);
	struct store_piece piece;
	int err;

	err = store_read_piece(stored, file->number, file->size, off, buf, &piece);
	if (err)
		return err;
	if (limit < end)
		end = limit;
	*step = (struct captured_step){.end = piece.end < end ? piece.end : end, .n = piece.n};
	if (piece.n > 0) /* the last one ends behind the end of the file, too */
		step->end = piece.end;
	pthread_mutex_lock(&journal->lock);
	file->cursor = step->end;
	journal->n_read++;
	pthread_mutex_unlock(&journal->lock);
	return 0;
}

int capture_step(struct capture *capture, struct captured_file *file, struct store *stored, uint64_t off,
		 uint64_t limit, void *buf, struct captured_step *step)
{
	struct inode *inode = file->inode;
	int err;

	/* Who changes bytes holds the lock for writing while he sets them aside and changes them. */
	small_rwlock_rdlock(&inode->lock);
	if (inode->is_stored && stored)
		err = step_in_store_locked(capture, file, stored, off, limit, buf, step);
	else
		err = step_in_plane_locked(capture, file, inode, off, limit, buf, step);
	small_rwlock_rdunlock(&inode->lock);
	return err;
}
