/* SPDX-License-Identifier: MIT */
/* What changed in a tree.  See journal.h. */
#include "journal.h"

#include "capture.h"
#include "data.h"
#include "inode.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* No more are waited for: 8 MiB. */
#define CLOSED_MAX ((size_t)1 << 20)

/* No note is larger. */
#define NOTE_MAX (sizeof(struct journal_name) + UINT8_MAX)

_Static_assert(sizeof(struct journal_inode) <= NOTE_MAX, "of either kind");

/* ------------------------------------------------------------------------ */
/* Notes                                                                     */

static uint64_t hash_of_inode(const struct table_link *link)
{
	return table_hash_number(((const struct journal_inode *)link)->number);
}

static uint64_t hash_of_name(const struct table_link *link)
{
	return ((const struct journal_name *)link)->hash;
}

/* Names that were chosen to collide would hold up everybody who changes something: the key is not that of directories, of whose
 * hashes cookies tell. */
static uint64_t hash_name(const struct journal *journal, uint64_t dir, const char *name, size_t len)
{
	const uint64_t both[] = {dir, siphash13(&journal->name_key, name, len)};

	return siphash13(&journal->name_key, both, sizeof(both));
}

static struct changes *changes_new(void)
{
	struct changes *changes = aligned_alloc(_Alignof(struct changes), sizeof(*changes));

	if (!changes)
		return NULL;
	memset(changes, 0, sizeof(*changes));
	mem_init(&changes->mem, MEM_UNLIMITED, MEM_UNLIMITED);
	return changes;
}

static void drop_inode(struct table_link *link, void *arg)
{
	mem_free(arg, link, sizeof(struct journal_inode));
}

static size_t name_size(const struct journal_name *name)
{
	return sizeof(*name) + name->len;
}

static void drop_name(struct table_link *link, void *arg)
{
	mem_free(arg, link, name_size((struct journal_name *)link));
}

void changes_free(struct changes *changes)
{
	if (!changes)
		return;
	if (mem_takes_along(NOTE_MAX)) {
		table_forget(&changes->inodes, &changes->mem);
		table_forget(&changes->names, &changes->mem);
	} else {
		table_drain(&changes->inodes, &changes->mem, drop_inode, &changes->mem);
		table_drain(&changes->names, &changes->mem, drop_name, &changes->mem);
	}
	mem_done(&changes->mem);
	free(changes);
}

/* NULL: there is none. */
static struct journal_inode *find_note(const struct changes *changes, uint64_t number)
{
	struct table_link **at = table_chain(&changes->inodes, table_hash_number(number));

	for (; at && *at; at = &(*at)->next)
		if (((struct journal_inode *)*at)->number == number)
			return (struct journal_inode *)*at;
	return NULL;
}

/* The note of the inode, made if it is not there.  NULL if there is no memory. */
static struct journal_inode *inode_note(struct changes *changes, uint64_t number)
{
	struct journal_inode *note = find_note(changes, number);

	if (note)
		return note;
	if (table_reserve(&changes->inodes, &changes->mem))
		return NULL;
	note = mem_zalloc(&changes->mem, sizeof(*note));
	if (!note) {
		table_unreserve(&changes->inodes, &changes->mem);
		return NULL;
	}
	note->number = number;
	table_insert(&changes->inodes, &changes->mem, &note->link, hash_of_inode);
	if (changes->last)
		changes->last->next = note;
	else
		changes->first = note;
	changes->last = note;
	return note;
}

/* Makes room for one range more: the two that are the closest become one. */
static void join_closest(struct journal_inode *note)
{
	uint64_t gap, best = UINT64_MAX;
	unsigned i, at = 0;

	for (i = 0; i + 1u < note->n_ranges; i++) {
		gap = note->ranges[i + 1].from - note->ranges[i].to;
		if (gap < best) {
			best = gap;
			at = i;
		}
	}
	note->ranges[at].to = note->ranges[at + 1].to;
	note->n_ranges--;
	memmove(&note->ranges[at + 1], &note->ranges[at + 2], (note->n_ranges - at - 1u) * sizeof(note->ranges[0]));
}

static void add_range(struct journal_inode *note, uint64_t from, uint64_t to)
{
	unsigned i = 0, n;

	while (i < note->n_ranges && note->ranges[i].to < from)
		i++;
	/* Those from i to n touch the new one, and become part of it. */
	for (n = i; n < note->n_ranges && note->ranges[n].from <= to; n++) {
		from = note->ranges[n].from < from ? note->ranges[n].from : from;
		to = note->ranges[n].to > to ? note->ranges[n].to : to;
	}
	if (n == i && note->n_ranges == JOURNAL_RANGES) {
		join_closest(note);
		add_range(note, from, to);
		return;
	}
	memmove(&note->ranges[i + 1], &note->ranges[n], (note->n_ranges - n) * sizeof(note->ranges[0]));
	note->n_ranges = (uint8_t)(note->n_ranges - n + i + 1);
	note->ranges[i] = (struct journal_range){.from = from, .to = to};
}

static void note_in(struct changes *changes, uint64_t number, unsigned what, uint64_t from, uint64_t to)
{
	struct journal_inode *note = inode_note(changes, number);

	if (!note) {
		changes->is_incomplete = true;
		return;
	}
	note->what = (uint8_t)(note->what | what);
	if (from < to)
		add_range(note, from, to);
}

/* NULL: there is none. */
static struct journal_name *find_name(const struct changes *changes, uint64_t dir, const char *name, size_t len,
				      uint64_t hash)
{
	struct table_link **at = table_chain(&changes->names, hash);
	struct journal_name *note;

	for (; at && *at; at = &(*at)->next) {
		note = (struct journal_name *)*at;
		if (note->hash == hash && note->dir == dir && note->len == len && memcmp(note->bytes, name, len) == 0)
			return note;
	}
	return NULL;
}

static void note_name_in(struct changes *changes, uint64_t dir, const char *name, size_t len, uint64_t hash,
			 uint64_t number)
{
	struct journal_name *note;

	if (changes->lacks_names)
		return;
	note = find_name(changes, dir, name, len, hash);
	if (note) {
		note->number = number;
		return;
	}
	if (table_reserve(&changes->names, &changes->mem)) {
		changes->is_incomplete = true;
		return;
	}
	note = mem_alloc(&changes->mem, sizeof(*note) + len);
	if (!note) {
		table_unreserve(&changes->names, &changes->mem);
		changes->is_incomplete = true;
		return;
	}
	note->dir = dir;
	note->hash = hash;
	note->number = number;
	note->len = (uint8_t)len;
	memcpy(note->bytes, name, len);
	table_insert(&changes->names, &changes->mem, &note->link, hash_of_name);
}

/* ------------------------------------------------------------------------ */
/* The journal                                                               */

int journal_new(const struct siphash_key *name_key, struct journal **made)
{
	struct journal *journal = calloc(1, sizeof(*journal));
	int err = -ENOMEM;

	if (!journal)
		return -ENOMEM;
	journal->changes = changes_new();
	if (!journal->changes)
		goto free_journal;
	err = fair_rwlock_init(&journal->gate); /* a capture is not to wait until nobody changes anything any more */
	if (err)
		goto free_changes;
	(void)pthread_mutex_init(&journal->lock, NULL); /* never fails for the default kind */
	(void)pthread_cond_init(&journal->moved, NULL); /* the same */
	journal->name_key = *name_key;
	journal->surplus_max = JOURNAL_SURPLUS_MAX;
	journal->patience_ms = JOURNAL_PATIENCE_MS;
	*made = journal;
	return 0;
free_changes:
	changes_free(journal->changes);
free_journal:
	free(journal);
	return err;
}

void journal_free(struct journal *journal)
{
	if (!journal)
		return;
	changes_free(journal->changes);
	free(journal->closed);
	(void)pthread_cond_destroy(&journal->moved);
	(void)pthread_mutex_destroy(&journal->lock);
	(void)pthread_rwlock_destroy(&journal->gate); /* fails only while it is held */
	free(journal);
}

struct journal *journal_begin_change(struct journal *journal)
{
	if (journal)
		pthread_rwlock_rdlock(&journal->gate);
	return journal;
}

struct journal *journal_begin_bytes(struct journal *journal, uint64_t number, uint64_t from, uint64_t to)
{
	do
		(void)journal_begin_change(journal);
	while (journal_is_captured(journal) && !capture_lets_change(journal, number, from, to));
	return journal;
}

void journal_end_change(struct journal *journal)
{
	if (journal)
		pthread_rwlock_unlock(&journal->gate);
}

bool journal_is_captured(const struct journal *journal)
{
	return journal && atomic_load(&journal->n_captures) > 0;
}

void journal_close_gate(struct journal *journal)
{
	pthread_rwlock_wrlock(&journal->gate);
}

void journal_open_gate(struct journal *journal)
{
	pthread_rwlock_unlock(&journal->gate);
}

void journal_note_range(struct journal *journal, uint64_t number, unsigned what, uint64_t from, uint64_t to)
{
	if (!journal || !journal->is_kept)
		return;
	pthread_mutex_lock(&journal->lock);
	note_in(journal->changes, number, what, from, to);
	pthread_mutex_unlock(&journal->lock);
}

void journal_note(struct journal *journal, uint64_t number, unsigned what)
{
	journal_note_range(journal, number, what, 0, 0);
}

bool journal_has_bytes(struct journal *journal, uint64_t number)
{
	const struct journal_inode *note;
	bool has;

	pthread_mutex_lock(&journal->lock);
	note = find_note(journal->changes, number);
	has = note && (note->what & JOURNAL_BYTES);
	pthread_mutex_unlock(&journal->lock);
	return has;
}

void journal_note_name(struct journal *journal, uint64_t dir, const char *name, size_t len, uint64_t number)
{
	uint64_t hash;

	if (!journal || !journal->is_kept)
		return;
	hash = hash_name(journal, dir, name, len);
	pthread_mutex_lock(&journal->lock);
	note_name_in(journal->changes, dir, name, len, hash, number);
	pthread_mutex_unlock(&journal->lock);
}

void journal_before_bytes(struct data_plane *plane, struct inode *inode, uint64_t from, uint64_t to)
{
	struct journal *journal = plane->journal;

	if (!journal)
		return;
	journal_note_range(journal, inode->number, JOURNAL_NODE | JOURNAL_BYTES, from, to);
	if (journal_is_captured(journal))
		capture_rescue(journal, plane, inode, from, to);
}

/* ------------------------------------------------------------------------ */
/* What was closed                                                           */

static bool has_room_for_closed_locked(struct journal *journal)
{
	size_t max = journal->closed_max ? 2 * journal->closed_max : 256;
	uint64_t *grown;

	if (journal->n_closed < journal->closed_max)
		return true;
	grown = max <= CLOSED_MAX ? realloc(journal->closed, max * sizeof(grown[0])) : NULL;
	if (!grown)
		return false;
	journal->closed = grown;
	journal->closed_max = max;
	return true;
}

void journal_note_closed(struct journal *journal, uint64_t number)
{
	if (!journal_keeps(journal))
		return;
	pthread_mutex_lock(&journal->lock);
	if (has_room_for_closed_locked(journal))
		journal->closed[journal->n_closed++] = number;
	pthread_mutex_unlock(&journal->lock);
}

void journal_take_closed(struct journal *journal, uint64_t **numbers, size_t *n)
{
	pthread_mutex_lock(&journal->lock);
	*numbers = journal->closed;
	*n = journal->n_closed;
	journal->closed = NULL;
	journal->n_closed = journal->closed_max = 0;
	pthread_mutex_unlock(&journal->lock);
}

bool journal_has_closed(struct journal *journal)
{
	bool has;

	pthread_mutex_lock(&journal->lock);
	has = journal->n_closed > 0;
	pthread_mutex_unlock(&journal->lock);
	return has;
}

/* ------------------------------------------------------------------------ */
/* Taking                                                                    */

int journal_take(struct journal *journal, struct changes **taken)
{
	struct changes *fresh = changes_new();

	if (!fresh)
		return -ENOMEM;
	pthread_mutex_lock(&journal->lock);
	*taken = journal->changes;
	journal->changes = fresh;
	pthread_mutex_unlock(&journal->lock);
	return 0;
}

static void give_inode_back(struct table_link *link, void *arg)
{
	const struct journal_inode *note = (struct journal_inode *)link;
	struct changes *changes = arg;
	/* Whether nothing of it was stored is not certain after a failure. */
	const unsigned what = note->what & ~(unsigned)JOURNAL_NEW;
	struct journal_inode *now;
	unsigned i;

	if (!note->what)
		return; /* it was forgotten */
	note_in(changes, note->number, what, 0, 0);
	for (i = 0; i < note->n_ranges; i++)
		note_in(changes, note->number, what, note->ranges[i].from, note->ranges[i].to);
	now = inode_note(changes, note->number);
	if (now)
		now->what &= (uint8_t)~JOURNAL_NEW;
}

static void give_name_back(struct table_link *link, void *arg)
{
	const struct journal_name *note = (struct journal_name *)link;

	/* What was noted since is what holds. */
	if (!find_name(arg, note->dir, note->bytes, note->len, note->hash))
		note_name_in(arg, note->dir, note->bytes, note->len, note->hash, note->number);
}

void journal_give_back(struct journal *journal, struct changes *changes)
{
	pthread_mutex_lock(&journal->lock);
	table_each(&changes->inodes, give_inode_back, journal->changes);
	journal->changes->is_incomplete = journal->changes->is_incomplete || changes->is_incomplete;
	journal->changes->lacks_names = journal->changes->lacks_names || changes->lacks_names;
	table_each(&changes->names, give_name_back, journal->changes);
	pthread_mutex_unlock(&journal->lock);
	changes_free(changes);
}

void changes_forget_names(struct changes *changes)
{
	changes->lacks_names = true;
}

void changes_forget_inode(struct changes *changes, uint64_t number)
{
	struct journal_inode *note = find_note(changes, number);

	if (note)
		note->what = 0;
}

void journal_note_all_names(struct journal *journal)
{
	pthread_mutex_lock(&journal->lock);
	journal->changes->lacks_names = true;
	pthread_mutex_unlock(&journal->lock);
}

bool changes_is_empty(const struct changes *changes)
{
	return changes->inodes.count == 0 && changes->names.count == 0 && !changes->is_incomplete &&
	       !changes->lacks_names;
}

bool journal_is_empty(struct journal *journal)
{
	bool is_empty;

	pthread_mutex_lock(&journal->lock);
	is_empty = changes_is_empty(journal->changes);
	pthread_mutex_unlock(&journal->lock);
	return is_empty;
}

uint64_t journal_weight(struct journal *journal)
{
	uint64_t weight;

	pthread_mutex_lock(&journal->lock);
	weight = mem_used(&journal->changes->mem);
	pthread_mutex_unlock(&journal->lock);
	return weight;
}
