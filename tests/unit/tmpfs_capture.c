/* SPDX-License-Identifier: MIT */
/*
 * What changes in a tree reaches its store, and nothing else does: after each commit the store that was brought up to date
 * has what a new one has into which all of the tree is saved.  Operations are random, of seeds that are printed.
 */
#include "capture_internal.h"
#include "file.h"
#include "inode_xattr.h"
#include "store_dump.h"
#include "tree.h"
#include "tree_restore.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <sqlite3.h>
#include <sys/stat.h>

#define ROOT TREE_ROOT_NUMBER
#define CHUNK STORE_CHUNK_SIZE
#define SIZE_MAX_TRIED (5 * CHUNK)

static const struct owner owner = {.uid = 1, .gid = 2};
static const struct tree_limits limits = {.size = (uint64_t)1 << 30, .inodes = 10000};

struct setting {
	struct tree *tree;
	struct store *store;
	struct hashes *hashes;
	uint64_t seed;
	bool is_writing; /* a capture is under way; there is one at a time */
};

static uint64_t next_random(struct setting *setting)
{
	setting->seed ^= setting->seed << 13;
	setting->seed ^= setting->seed >> 7;
	setting->seed ^= setting->seed << 17;
	return setting->seed >> 11;
}

static uint64_t below(struct setting *setting, uint64_t n)
{
	return next_random(setting) % n;
}

/* ------------------------------------------------------------------------ */
/* A tree and its store                                                      */

static int set_up(void **state)
{
	static struct setting setting;
	struct store_error error;

	(void)make_place(state);
	assert_int_equal(tree_new(0755, owner, &limits, &setting.tree), 0);
	assert_int_equal(store_open(at("kept"), STORE_KEEP, &setting.store, &error), 0);
	assert_int_equal(hashes_new(&setting.hashes), 0);
	setting.tree->journal->is_kept = true;
	tree_note(setting.tree, setting.tree->root, JOURNAL_NODE | JOURNAL_XATTRS);
	setting.seed = 88172645463325252;
	*state = &setting;
	return 0;
}

static int tear_down(void **state)
{
	struct setting *setting = *state;

	hashes_free(setting->hashes);
	assert_int_equal(store_close(setting->store), 0);
	tree_free(setting->tree);
	return remove_place(state);
}

static void write_capture(struct setting *setting, struct capture *capture)
{
	int err = capture_write(capture, setting->store, setting->store, setting->hashes, NULL);

	if (err)
		print_error("%s: %s\n", strerror(-err), store_reason());
	assert_int_equal(err, 0);
	capture_end(capture, true);
}

static struct capture *taken(struct setting *setting, enum capture_kind kind)
{
	struct capture *capture;

	assert_int_equal(capture_take(setting->tree, kind, &capture), 0);
	return capture;
}

static void commit(struct setting *setting)
{
	write_capture(setting, taken(setting, CAPTURE_CHANGES));
}

/* All of the tree, as a new store has it. */
static char *whole(struct setting *setting)
{
	struct capture *capture = taken(setting, CAPTURE_ALL);
	struct store_error error = {""};
	struct store *store;
	char *text;

	(void)unlink(at("copy"));
	assert_int_equal(store_open(at("copy"), STORE_SAVE, &store, &error), 0);
	assert_int_equal(capture_write(capture, store, NULL, NULL, NULL), 0);
	capture_end(capture, true);
	assert_int_equal(store_close(store), 0);
	text = dump_file(at("copy"), &error);
	if (!text)
		print_error("%s\n", error.text);
	assert_non_null(text);
	return text;
}

static char *kept(struct setting *setting)
{
	struct store_error error = {""};
	char *text = dump_store(setting->store, &error);

	if (!text)
		print_error("%s\n", error.text);
	assert_non_null(text);
	return text;
}

/* The counters of a store in use are those that a crash would leave. */
static void cut_counters(char *text)
{
	char *counters = strstr(text, "\nnext=");

	assert_non_null(counters);
	counters[1] = '\0';
}

static int compare_lines(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The lines of @text, which are cut apart, in an order of their own: rows have that in which they were made. */
static size_t sorted_lines(char *text, char **lines, size_t max)
{
	size_t n = 0;
	char *line;

	for (line = strtok(text, "\n"); line && n < max; line = strtok(NULL, "\n"))
		lines[n++] = line;
	qsort(lines, n, sizeof(lines[0]), compare_lines);
	return n;
}

static void assert_same_lines(char *found, char *expected)
{
	enum { MANY = 10000 };
	static char *found_lines[MANY], *expected_lines[MANY];
	size_t n = sorted_lines(found, found_lines, MANY), m = sorted_lines(expected, expected_lines, MANY), i;

	for (i = 0; i < n || i < m; i++) {
		const char *one = i < n ? found_lines[i] : "nothing", *other = i < m ? expected_lines[i] : "nothing";

		if (strcmp(one, other) != 0) {
			print_error("found    %.500s\nexpected %.500s\n", one, other);
			fail();
		}
	}
}

static void assert_no_row(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *statement;

	assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(statement), SQLITE_DONE);
	assert_int_equal(sqlite3_finalize(statement), SQLITE_OK);
}

/* The schema's keys and checks, which nobody looks at while it is written. */
static void assert_sound(const char *path)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
	assert_no_row(db, "SELECT * FROM pragma_integrity_check WHERE integrity_check <> 'ok'");
	assert_no_row(db, "SELECT * FROM pragma_foreign_key_check");
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void assert_kept(struct setting *setting, char *expected)
{
	char *found = kept(setting);

	assert_sound(at("kept"));
	cut_counters(found);
	cut_counters(expected);
	assert_same_lines(found, expected);
	free(found);
	free(expected);
}

/* ------------------------------------------------------------------------ */
/* Operations                                                                */

static const char *const names[] = {"a", "b", "c", "d", "e", "f"};

static const char *some_name(struct setting *setting)
{
	return names[below(setting, sizeof(names) / sizeof(names[0]))];
}

/* Some directory, by a walk from the root; the number of its inode. */
static uint64_t some_dir(struct setting *setting)
{
	uint64_t number = ROOT;
	struct inode *inode;
	unsigned depth;

	for (depth = 0; depth < 3 && below(setting, 2); depth++) {
		if (tree_lookup(setting->tree, number, some_name(setting), &inode))
			break;
		if (inode_is_dir(inode))
			number = inode->number;
		tree_put(setting->tree, inode);
	}
	return number;
}

static struct inode *some_inode(struct setting *setting)
{
	struct inode *inode;

	return tree_lookup(setting->tree, some_dir(setting), some_name(setting), &inode) ? NULL : inode;
}

static void make_something(struct setting *setting)
{
	const uint64_t dir = some_dir(setting);
	const char *name = some_name(setting);
	struct inode *inode;
	int err;

	switch (below(setting, 5)) {
	case 0:
		err = tree_mkdir(setting->tree, dir, name, 0755, owner, &inode);
		break;
	case 1:
		err = tree_symlink(setting->tree, dir, name, "target", owner, &inode);
		break;
	case 2:
		err = tree_mknod(setting->tree, dir, name, S_IFCHR | 0600, 7, owner, &inode);
		break;
	default:
		err = tree_create(setting->tree, dir, name, 0644, owner, NULL, &inode);
		break;
	}
	if (!err)
		tree_put(setting->tree, inode);
}

static void name_a_tmpfile(struct setting *setting)
{
	struct inode *inode, *linked;

	assert_int_equal(tree_tmpfile(setting->tree, ROOT, 0600, owner, &inode), 0);
	(void)file_write(inode, setting->tree->plane, "nameless", 8, below(setting, SIZE_MAX_TRIED), 0);
	if (below(setting, 2) && !setting->is_writing)
		commit(setting);
	if (!tree_link(setting->tree, inode->number, some_dir(setting), some_name(setting), &linked))
		tree_put(setting->tree, linked);
	tree_put(setting->tree, inode);
}

static void change_bytes(struct setting *setting, struct inode *inode)
{
	static char bytes[2 * CHUNK];
	struct data_plane *plane = setting->tree->plane;
	const uint64_t off = below(setting, SIZE_MAX_TRIED), n = 1 + below(setting, sizeof(bytes));
	const struct inode_change change = {.set = INODE_SET_SIZE, .size = below(setting, 2) * off};
	struct stat st;

	memset(bytes, 'A' + (int)below(setting, 26), n);
	switch (below(setting, 6)) {
	case 0:
		(void)inode_change(inode, plane, &change, &st); /* refused for what is no file */
		break;
	case 1:
		(void)file_allocate(inode, plane, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off, n, 0);
		break;
	case 2:
		(void)file_allocate(inode, plane, FALLOC_FL_ZERO_RANGE, off, n, 0);
		break;
	case 3:
		(void)file_copy(inode, off, inode, below(setting, SIZE_MAX_TRIED), n, plane, 0);
		break;
	default:
		(void)file_write(inode, plane, bytes, n, off, 0);
		break;
	}
}

static void change_attributes(struct setting *setting, struct inode *inode)
{
	struct data_plane *plane = setting->tree->plane;
	const struct inode_change change = {.set = INODE_SET_MODE | INODE_SET_UID,
					    .mode = (mode_t)below(setting, 01000),
					    .uid = (uid_t)below(setting, 9)};
	struct stat st;

	if (below(setting, 2))
		assert_int_equal(inode_change(inode, plane, &change, &st), 0);
	else if (below(setting, 3))
		(void)inode_set_xattr(inode, plane, "user.x", names, below(setting, 20), 0, true);
	else
		(void)inode_remove_xattr(inode, plane, "user.x", true);
}

static void change_something(struct setting *setting)
{
	struct inode *inode = some_inode(setting);

	if (!inode)
		return;
	if (below(setting, 3))
		change_bytes(setting, inode);
	else
		change_attributes(setting, inode);
	tree_put(setting->tree, inode);
}

static void link_something(struct setting *setting)
{
	struct inode *inode = some_inode(setting), *linked;

	if (!inode)
		return;
	if (!tree_link(setting->tree, inode->number, some_dir(setting), some_name(setting), &linked))
		tree_put(setting->tree, linked);
	tree_put(setting->tree, inode);
}

static void rename_something(struct setting *setting)
{
	static const unsigned flags[] = {0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT};

	(void)tree_rename(setting->tree, some_dir(setting), some_name(setting), some_dir(setting), some_name(setting),
			  flags[below(setting, 5)], owner);
}

static void do_something(struct setting *setting)
{
	switch (below(setting, 12)) {
	case 0:
	case 1:
	case 2:
		make_something(setting);
		break;
	case 3:
		link_something(setting);
		break;
	case 4:
		(void)tree_unlink(setting->tree, some_dir(setting), some_name(setting));
		break;
	case 5:
		(void)tree_rmdir(setting->tree, some_dir(setting), some_name(setting));
		break;
	case 6:
		rename_something(setting);
		break;
	case 7:
		name_a_tmpfile(setting);
		break;
	default:
		change_something(setting);
		break;
	}
}

static void do_some(struct setting *setting)
{
	uint64_t n = below(setting, 12);

	while (n--)
		do_something(setting);
}

/* ------------------------------------------------------------------------ */
/* Tests                                                                     */

static void commits_have_all_that_changed(void **state)
{
	struct setting *setting = *state;
	unsigned round;

	for (round = 0; round < 150; round++) {
		print_message("seed %llu\n", (unsigned long long)setting->seed);
		do_some(setting);
		commit(setting);
		assert_kept(setting, whole(setting));
	}
}

static void j2_what_changes_after_the_taking_is_not_in_it(void **state)
{
	struct setting *setting = *state;
	struct capture *capture;
	char *expected;
	unsigned round;

	for (round = 0; round < 150; round++) {
		print_message("seed %llu\n", (unsigned long long)setting->seed);
		do_some(setting);
		expected = whole(setting);
		capture = taken(setting, CAPTURE_CHANGES);
		setting->is_writing = true;
		do_some(setting);
		write_capture(setting, capture);
		setting->is_writing = false;
		assert_kept(setting, expected);
	}
	commit(setting);
	assert_kept(setting, whole(setting));
}

static void what_could_not_be_noted_is_found(void **state)
{
	struct setting *setting = *state;
	unsigned round, failed = 0;

	for (round = 0; round < 100; round++) {
		print_message("seed %llu\n", (unsigned long long)setting->seed);
		mem_fail_nth(&setting->tree->journal->changes->mem, 1 + (long)below(setting, 8));
		do_some(setting);
		mem_fail_nth(&setting->tree->journal->changes->mem, 0);
		failed += setting->tree->journal->changes->is_incomplete;
		commit(setting);
		assert_kept(setting, whole(setting));
	}
	assert_true(failed > 10);
}

static void what_was_given_back_is_committed_later(void **state)
{
	struct setting *setting = *state;
	struct capture *capture;
	unsigned round;

	for (round = 0; round < 100; round++) {
		print_message("seed %llu\n", (unsigned long long)setting->seed);
		do_some(setting);
		capture = taken(setting, CAPTURE_CHANGES);
		setting->is_writing = true;
		do_some(setting); /* of names that changed again the last change counts */
		setting->is_writing = false;
		capture_end(capture, false);
		do_some(setting);
		commit(setting);
		assert_kept(setting, whole(setting));
	}
}

static void come_and_go(struct setting *setting, unsigned n)
{
	struct inode *inode;
	char name[16];
	unsigned i;

	for (i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "gone %u", i);
		assert_int_equal(tree_create(setting->tree, ROOT, name, 0644, owner, NULL, &inode), 0);
		tree_put(setting->tree, inode);
		assert_int_equal(tree_unlink(setting->tree, ROOT, name), 0);
	}
}

static void what_went_while_nothing_could_be_stored_is_found(void **state)
{
	struct setting *setting = *state;
	struct capture *capture;
	unsigned round, forgotten = 0;

	setting->tree->journal->surplus_max = 0;
	for (round = 0; round < 100; round++) {
		print_message("seed %llu\n", (unsigned long long)setting->seed);
		do_some(setting);
		if (below(setting, 2))
			come_and_go(setting, 100);
		capture = taken(setting, CAPTURE_CHANGES);
		setting->is_writing = true;
		do_some(setting);
		setting->is_writing = false;
		capture_end(capture, false);
		forgotten += setting->tree->journal->changes->lacks_names;
		do_some(setting);
		commit(setting);
		assert_kept(setting, whole(setting));
	}
	assert_true(forgotten > 10);
}

static void notes_do_not_add_up_while_nothing_can_be_stored(void **state)
{
	enum { EACH = 500, ROUNDS = 40 };
	struct setting *setting = *state;
	struct journal *journal = setting->tree->journal;
	uint64_t most = 0, weight;
	unsigned round;

	journal->surplus_max = EACH;
	commit(setting);
	for (round = 0; round < ROUNDS; round++) {
		come_and_go(setting, EACH);
		capture_end(taken(setting, CAPTURE_CHANGES), false);
		weight = journal_weight(journal);
		if (round < 3 && weight > most)
			most = weight;
	}
	assert_true(journal_weight(journal) <= most);
	commit(setting);
	assert_true(journal_is_empty(journal));
	assert_kept(setting, whole(setting));
}

static void take_hash(struct table_link *link, void *hash)
{
	*(uint64_t *)hash = ((struct journal_name *)link)->hash;
}

static void nobody_can_tell_the_hashes_of_noted_names(void **state)
{
	struct setting *setting = *state;
	uint64_t hash = 0, other_hash = 0;
	struct tree *other;

	assert_int_equal(tree_new(0755, owner, &limits, &other), 0);
	other->journal->is_kept = true;
	journal_note_name(setting->tree->journal, ROOT, "name", 4, 2);
	journal_note_name(other->journal, ROOT, "name", 4, 2);
	table_each(&setting->tree->journal->changes->names, take_hash, &hash);
	table_each(&other->journal->changes->names, take_hash, &other_hash);
	assert_int_not_equal(hash, 0);
	assert_int_not_equal(hash, other_hash);
	tree_free(other);
}

static void an_empty_journal_writes_nothing(void **state)
{
	struct setting *setting = *state;
	struct capture *capture;

	do_some(setting);
	commit(setting);
	assert_true(journal_is_empty(setting->tree->journal));
	capture = taken(setting, CAPTURE_CHANGES);
	assert_true(capture_is_empty(capture));
	capture_end(capture, true);
}

static void a_copy_can_be_given_up(void **state)
{
	struct setting *setting = *state;
	struct capture_progress progress = {.gives_up = true};
	struct capture *capture = taken(setting, CAPTURE_ALL);
	struct store_error error;
	struct store *store;

	assert_int_equal(store_open(at("copy"), STORE_SAVE, &store, &error), 0);
	assert_int_equal(capture_write(capture, store, NULL, NULL, &progress), -ECANCELED);
	capture_end(capture, true);
	assert_int_equal(store_close(store), 0);
}

/* So many that another thread takes their names, and reads them. */
#define MANY 1200

static void make_many(struct setting *setting)
{
	static char bytes[2 * CHUNK];
	struct inode *inode;
	char name[16];
	unsigned i;

	for (i = 0; i < MANY; i++) {
		(void)snprintf(name, sizeof(name), "many-%u", i);
		memset(bytes, (int)(i % 256), sizeof(bytes));
		assert_int_equal(tree_create(setting->tree, ROOT, name, 0644, owner, NULL, &inode), 0);
		assert_int_equal(file_write(inode, setting->tree->plane, bytes, i * 100, i % 3 * CHUNK, 0), i * 100);
		tree_put(setting->tree, inode);
	}
}

static void change_many(struct setting *setting)
{
	const struct inode_change cut = {.set = INODE_SET_SIZE, .size = 10};
	struct inode *inode;
	struct stat st;
	char name[16];
	unsigned i;

	for (i = 0; i < MANY; i++) {
		(void)snprintf(name, sizeof(name), "many-%u", i);
		assert_int_equal(tree_lookup(setting->tree, ROOT, name, &inode), 0);
		if (i % 3)
			assert_int_equal(inode_change(inode, setting->tree->plane, &cut, &st), 0);
		else
			assert_int_equal(file_write(inode, setting->tree->plane, "new", 3, CHUNK, 0), 3);
		tree_put(setting->tree, inode);
	}
}

static void many_files_are_read_while_others_are_written(void **state)
{
	struct setting *setting = *state;

	make_many(setting);
	commit(setting);
	assert_kept(setting, whole(setting));
	change_many(setting);
	commit(setting);
	assert_kept(setting, whole(setting));
}

static void many_files_of_which_reading_fails_are_committed_later(void **state)
{
	struct setting *setting = *state;
	struct capture *capture;

	commit(setting);
	make_many(setting);
	capture = taken(setting, CAPTURE_CHANGES);
	atomic_store(&capture->is_spoilt, true); /* as if there had been no memory to set something aside */
	assert_int_equal(capture_write(capture, setting->store, setting->store, setting->hashes, NULL), -EAGAIN);
	capture_end(capture, false);
	commit(setting);
	assert_kept(setting, whole(setting));
}

static void a_copy_of_many_files_can_be_given_up(void **state)
{
	struct setting *setting = *state;
	struct capture_progress progress = {.gives_up = true};
	struct capture *capture;

	make_many(setting);
	capture = taken(setting, CAPTURE_ALL);
	assert_int_equal(capture_write(capture, setting->store, setting->store, setting->hashes, &progress),
			 -ECANCELED);
	capture_end(capture, false);
	commit(setting);
	assert_kept(setting, whole(setting));
}

static void *fill_batches(void *arg)
{
	struct batches *batches = arg;
	struct batch_item *item;
	int err;

	do {
		err = batches_room(batches, &item);
		if (!err) {
			*item = (struct batch_item){.kind = BATCH_CHUNK, .n = STORE_CHUNK_SIZE};
			batches_add(batches, item);
		}
	} while (!err);
	return (void *)(intptr_t)batches_end(batches, err);
}

/* Else it would wait for ever for a batch that comes back. */
static void who_reads_hears_that_no_more_is_wanted(void **state)
{
	struct batches batches;
	struct batch *batch;
	pthread_t reader;
	void *told;

	(void)state;
	batches_init(&batches, NULL, NULL);
	assert_int_equal(pthread_create(&reader, NULL, fill_batches, &batches), 0);
	batch = batches_take(&batches);
	assert_non_null(batch);
	assert_true(batch->counts[BATCH_CHUNK] > 1);
	batches_return(&batches, batch);
	batches_refuse(&batches, -EIO);
	assert_int_equal(pthread_join(reader, &told), 0);
	assert_int_equal((int)(intptr_t)told, -EIO);
	batches_done(&batches);
}

static void a_hole_of_a_terabyte_costs_nothing(void **state)
{
	struct setting *setting = *state;
	const struct inode_change longer = {.set = INODE_SET_SIZE, .size = (uint64_t)1 << 40};
	const struct inode_change shorter = {.set = INODE_SET_SIZE};
	struct capture *capture;
	struct inode *inode;
	char *expected;
	struct stat st;

	assert_int_equal(tree_create(setting->tree, ROOT, "f", 0644, owner, NULL, &inode), 0);
	assert_int_equal(file_write(inode, setting->tree->plane, "x", 1, (uint64_t)1 << 39, 0), 1);
	assert_int_equal(inode_change(inode, setting->tree->plane, &longer, &st), 0);
	expected = whole(setting);
	capture = taken(setting, CAPTURE_CHANGES);
	/* All of it is set aside. */
	assert_int_equal(inode_change(inode, setting->tree->plane, &shorter, &st), 0);
	write_capture(setting, capture);
	assert_kept(setting, expected);
	tree_put(setting->tree, inode);
}

/* Bytes in the middle of which only a part was noted: what happens to the rest later is of the next capture. */
static void j2_a_hole_ends_where_the_capture_does(void **state)
{
	static char bytes[4 * CHUNK];
	struct setting *setting = *state;
	struct data_plane *plane = setting->tree->plane;
	const int punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	struct capture *capture;
	struct inode *inode;
	char *expected;

	memset(bytes, 'x', sizeof(bytes));
	assert_int_equal(tree_create(setting->tree, ROOT, "f", 0644, owner, NULL, &inode), 0);
	assert_int_equal(file_write(inode, plane, bytes, sizeof(bytes), 0, 0), sizeof(bytes));
	commit(setting);
	assert_int_equal(file_allocate(inode, plane, punch, 0, CHUNK, 0), 0);
	expected = whole(setting);
	capture = taken(setting, CAPTURE_CHANGES);
	assert_int_equal(file_allocate(inode, plane, punch, CHUNK, 3 * CHUNK, 0), 0);
	write_capture(setting, capture);
	assert_kept(setting, expected);
	tree_put(setting->tree, inode);
}

static int read_from(void *arg, uint64_t number, uint64_t size,
		     int (*put)(void *to, uint64_t off, const void *bytes, size_t n), void *to)
{
	return store_read_data(arg, number, size, put, to);
}

/* A tree of what was saved in "copy". */
static struct tree *restored_tree(struct store **store)
{
	struct tree_restored restored;
	struct store_error error = {""};
	struct tree *tree;

	assert_int_equal(tree_new(0755, owner, &limits, &tree), 0);
	assert_int_equal(store_open(at("copy"), STORE_LOAD, store, &error), 0);
	assert_int_equal(tree_restore(tree, *store, &restored, &error), 0);
	tree->journal->source = (struct journal_source){.read = read_from, .arg = *store};
	return tree;
}

static void save_to(struct capture *capture, const char *path, struct store *stored)
{
	struct store_error error;
	struct store *store;

	assert_int_equal(store_open(path, STORE_SAVE, &store, &error), 0);
	assert_int_equal(capture_write(capture, store, stored, NULL, NULL), 0);
	capture_end(capture, true);
	assert_int_equal(store_close(store), 0);
}

static void j2_bytes_that_were_never_read_are_in_a_copy_though_they_go(void **state)
{
	static const uint64_t sizes[] = {0, CHUNK};
	struct setting *setting = *state;
	struct capture *capture;
	struct inode *inode;
	struct store *stored;
	struct stat st;
	char *expected, *found;
	struct tree *tree;
	unsigned i;

	assert_int_equal(tree_create(setting->tree, ROOT, "f", 0644, owner, NULL, &inode), 0);
	assert_int_equal(file_write(inode, setting->tree->plane, "old bytes", 9, 2 * CHUNK, 0), 9);
	tree_put(setting->tree, inode);
	expected = whole(setting);
	cut_counters(expected);
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		const struct inode_change change = {.set = INODE_SET_SIZE, .size = sizes[i]};
		struct store_error error = {""};

		tree = restored_tree(&stored);
		assert_int_equal(tree_lookup(tree, ROOT, "f", &inode), 0);
		assert_int_equal(capture_take(tree, CAPTURE_ALL, &capture), 0);
		assert_int_equal(inode_change(inode, tree->plane, &change, &st), 0);
		assert_int_equal(file_write(inode, tree->plane, "new", 3, 0, 0), 3);
		save_to(capture, at("second"), stored);
		found = dump_file(at("second"), &error);
		assert_non_null(found);
		cut_counters(found);
		assert_string_equal(found, expected);
		free(found);
		tree_put(tree, inode);
		tree_free(tree);
		assert_int_equal(store_close(stored), 0);
		(void)unlink(at("second"));
	}
	free(expected);
}

static void commit_to(struct tree *tree, struct store *store)
{
	struct capture *capture;

	assert_int_equal(capture_take(tree, CAPTURE_CHANGES, &capture), 0);
	assert_int_equal(capture_write(capture, store, store, NULL, NULL), 0);
	capture_end(capture, true);
}

/* Also where all that no name leads to goes. */
static void what_is_open_stays_in_the_store_until_there_is_room_for_it(void **state)
{
	struct setting *setting = *state;
	struct tree_restored restored;
	struct store_error error = {""};
	struct store *store;
	struct inode *inode;
	struct tree *tree;
	char bytes[10] = "";

	assert_int_equal(tree_create(setting->tree, ROOT, "f", 0644, owner, NULL, &inode), 0);
	assert_int_equal(file_write(inode, setting->tree->plane, "old bytes", 9, 0, 0), 9);
	tree_put(setting->tree, inode);
	free(whole(setting));
	assert_int_equal(tree_new(0755, owner, &limits, &tree), 0);
	assert_int_equal(store_open(at("copy"), STORE_KEEP, &store, &error), 0);
	assert_int_equal(tree_restore(tree, store, &restored, &error), 0);
	tree->journal->source = (struct journal_source){.read = read_from, .arg = store};
	tree->journal->is_kept = true;
	assert_int_equal(tree_lookup(tree, ROOT, "f", &inode), 0);
	assert_int_equal(tree_unlink(tree, ROOT, "f"), 0);
	journal_note_all_names(tree->journal);
	mem_fail_nth(&tree->mem, 1);
	commit_to(tree, store);
	assert_int_equal(mem_fail_pending(&tree->mem), 0);
	assert_true(inode->is_stored);
	assert_false(journal_is_empty(tree->journal));
	commit_to(tree, store);
	assert_false(inode->is_stored);
	assert_true(journal_is_empty(tree->journal));
	assert_int_equal(file_read(inode, tree->plane, bytes, sizeof(bytes), 0), 9);
	assert_string_equal(bytes, "old bytes");
	tree_put(tree, inode);
	tree_free(tree);
	assert_int_equal(store_close(store), 0);
}

/* Of what is still in the store a copy reads a piece at a time: in between the file can be changed, and what was not read yet
 * is set aside. */
static void j2_a_file_can_be_changed_between_two_pieces_that_a_copy_reads(void **state)
{
	static char bytes[4 * CHUNK], piece[CHUNK];
	struct setting *setting = *state;
	struct captured_step step;
	struct capture *capture;
	struct inode *inode;
	struct store *stored;
	struct tree *tree;
	uint64_t off;

	for (off = 0; off < sizeof(bytes); off++)
		bytes[off] = (char)('a' + off / CHUNK);
	assert_int_equal(tree_create(setting->tree, ROOT, "f", 0644, owner, NULL, &inode), 0);
	assert_int_equal(file_write(inode, setting->tree->plane, bytes, 3 * CHUNK, CHUNK, 0), 3 * CHUNK);
	tree_put(setting->tree, inode);
	free(whole(setting));
	tree = restored_tree(&stored);
	assert_int_equal(tree_lookup(tree, ROOT, "f", &inode), 0);
	assert_int_equal(capture_take(tree, CAPTURE_ALL, &capture), 0);
	assert_int_equal(capture->n_files, 1);
	for (off = 0; off < sizeof(bytes); off = step.end) {
		assert_int_equal(capture_step(capture, capture->files, stored, off, JOURNAL_END, piece, &step), 0);
		assert_int_equal(step.end, off + CHUNK);
		assert_int_equal(step.n, off > 0 ? CHUNK : 0);
		if (off > 0)
			assert_memory_equal(piece, bytes + off - CHUNK, CHUNK);
		assert_int_equal(inode->is_stored, off <= CHUNK);
		/* After the hole and the first piece: over all of it. */
		if (off == CHUNK)
			assert_int_equal(file_write(inode, tree->plane, bytes, sizeof(bytes), 0, 0), sizeof(bytes));
	}
	capture_end(capture, true);
	tree_put(tree, inode);
	tree_free(tree);
	assert_int_equal(store_close(stored), 0);
}

/* ------------------------------------------------------------------------ */
/* Holding back                                                              */

enum { HELD_PIECES = 5 };

/* A file of so many pieces, and a capture that may set aside @aside_max bytes of it. */
static struct capture *capture_that_holds_back(struct setting *setting, uint64_t aside_max, struct inode **inode)
{
	static const char bytes[HELD_PIECES * CHUNK] = "not only zeros";
	struct capture *capture;

	assert_int_equal(tree_create(setting->tree, ROOT, "f", 0644, owner, NULL, inode), 0);
	assert_int_equal(file_write(*inode, setting->tree->plane, bytes, sizeof(bytes), 0, 0), sizeof(bytes));
	assert_int_equal(capture_take_and_hold_back(setting->tree, CAPTURE_CHANGES, &capture), 0);
	capture->aside_max = aside_max;
	return capture;
}

struct truncation {
	struct inode *inode;
	struct data_plane *plane;
	_Atomic bool is_done;
};

static void *truncate_to_nothing(void *arg)
{
	struct truncation *truncation = arg;
	struct stat st;

	assert_int_equal(
		inode_change(truncation->inode, truncation->plane, &(struct inode_change){.set = INODE_SET_SIZE}, &st),
		0);
	atomic_store(&truncation->is_done, true);
	return NULL;
}

static void j2_who_would_spoil_the_last_try_waits(void **state)
{
	struct setting *setting = *state;
	struct truncation truncation = {.plane = setting->tree->plane};
	struct capture *capture;
	pthread_t thread;
	char *expected;

	capture = capture_that_holds_back(setting, CHUNK, &truncation.inode);
	expected = whole(setting);
	assert_int_equal(pthread_create(&thread, NULL, truncate_to_nothing, &truncation), 0);
	(void)usleep(20000); /* there is time to spoil it, if it could */
	write_capture(setting, capture);
	assert_kept(setting, expected);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true(truncation.is_done);
	tree_put(setting->tree, truncation.inode);
	commit(setting);
	assert_kept(setting, whole(setting));
}

static void j2_who_changes_little_does_not_wait_for_the_last_try(void **state)
{
	struct setting *setting = *state;
	struct capture *capture;
	struct inode *inode;
	char *expected;
	unsigned i;

	capture = capture_that_holds_back(setting, 2 * CHUNK, &inode);
	expected = whole(setting);
	for (i = 0; i < 100; i++)
		assert_int_equal(file_write(inode, setting->tree->plane, "new", 3, CHUNK - 1, 0), 3);
	/* What the capture does not have is nothing to wait for. */
	assert_int_equal(file_write(inode, setting->tree->plane, "new", 3, HELD_PIECES * CHUNK, 0), 3);
	assert_int_equal(capture->promised, 2 * CHUNK);
	assert_int_equal(capture->aside, 2 * CHUNK);
	write_capture(setting, capture);
	assert_kept(setting, expected);
	tree_put(setting->tree, inode);
	commit(setting);
	assert_kept(setting, whole(setting));
}

static void nobody_waits_for_ever_for_a_capture(void **state)
{
	struct setting *setting = *state;
	struct capture *capture;
	struct inode *inode;

	capture = capture_that_holds_back(setting, CHUNK, &inode);
	setting->tree->journal->patience_ms = 1;
	truncate_to_nothing(&(struct truncation){.inode = inode, .plane = setting->tree->plane});
	assert_int_equal(capture_write(capture, setting->store, setting->store, setting->hashes, NULL), -EAGAIN);
	capture_end(capture, false);
	tree_put(setting->tree, inode);
	commit(setting);
	assert_kept(setting, whole(setting));
}

static void hashes_know_what_they_were_told(void **state)
{
	struct hashes *hashes;
	uint64_t hash, count;

	(void)state;
	assert_int_equal(hashes_new(&hashes), 0);
	assert_false(hashes_get(hashes, 1, 0, &hash));
	hashes_set(hashes, 1, 0, 5);
	assert_false(hashes_count(hashes, 1, &count));
	hashes_begin(hashes, 1);
	hashes_set(hashes, 1, 9, 5);
	assert_true(hashes_get(hashes, 1, 9, &hash) && hash == 5);
	assert_true(hashes_get(hashes, 1, 8, &hash) && hash == 0);
	assert_true(hashes_get(hashes, 1, 1000, &hash) && hash == 0);
	assert_true(hashes_count(hashes, 1, &count) && count == 10);
	hashes_cut(hashes, 1, 3);
	hashes_set(hashes, 1, 5, 6);
	assert_true(hashes_get(hashes, 1, 4, &hash) && hash == 0);
	assert_true(hashes_stamp(hashes, 1, 77));
	assert_false(hashes_stamp(hashes, 1, 77));
	/* Without memory for it nothing is known. */
	mem_fail_nth(&hashes->mem, 1);
	hashes_set(hashes, 1, 1500, 1);
	assert_false(hashes_count(hashes, 1, &count));
	assert_int_equal(hashes_of(hashes, "\0\0\0", 3), 0);
	assert_int_not_equal(hashes_of(hashes, "\0\0x", 3), hashes_of(hashes, "\0\0y", 3));
	hashes_free(hashes);
}

/* A byte far out does not cost memory for all that is not there. */
static void hashes_know_nothing_of_files_that_are_nearly_all_holes(void **state)
{
	enum { FAR = 1 << 25 };
	struct hashes *hashes;
	uint64_t hash, count, i;

	(void)state;
	assert_int_equal(hashes_new(&hashes), 0);
	hashes_begin(hashes, 1);
	hashes_set(hashes, 1, FAR, 5);
	assert_false(hashes_count(hashes, 1, &count));
	hashes_begin(hashes, 1);
	for (i = 0; i < 100; i++)
		hashes_set(hashes, 1, i, 5);
	hashes_set(hashes, 1, 50000, 6);
	assert_true(hashes_get(hashes, 1, 50000, &hash) && hash == 6);
	assert_true(hashes_count(hashes, 1, &count) && count == 50001);
	hashes_cut(hashes, 1, 0);
	hashes_set(hashes, 1, FAR, 5);
	assert_false(hashes_count(hashes, 1, &count));
	hashes_free(hashes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(commits_have_all_that_changed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(j2_what_changes_after_the_taking_is_not_in_it, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_could_not_be_noted_is_found, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_was_given_back_is_committed_later, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_went_while_nothing_could_be_stored_is_found, set_up, tear_down),
		cmocka_unit_test_setup_teardown(notes_do_not_add_up_while_nothing_can_be_stored, set_up, tear_down),
		cmocka_unit_test_setup_teardown(nobody_can_tell_the_hashes_of_noted_names, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_empty_journal_writes_nothing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_copy_can_be_given_up, set_up, tear_down),
		cmocka_unit_test_setup_teardown(many_files_are_read_while_others_are_written, set_up, tear_down),
		cmocka_unit_test_setup_teardown(many_files_of_which_reading_fails_are_committed_later, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_copy_of_many_files_can_be_given_up, set_up, tear_down),
		cmocka_unit_test(who_reads_hears_that_no_more_is_wanted),
		cmocka_unit_test_setup_teardown(a_hole_of_a_terabyte_costs_nothing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(j2_a_hole_ends_where_the_capture_does, set_up, tear_down),
		cmocka_unit_test_setup_teardown(j2_bytes_that_were_never_read_are_in_a_copy_though_they_go, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(what_is_open_stays_in_the_store_until_there_is_room_for_it, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(j2_a_file_can_be_changed_between_two_pieces_that_a_copy_reads, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(j2_who_would_spoil_the_last_try_waits, set_up, tear_down),
		cmocka_unit_test_setup_teardown(j2_who_changes_little_does_not_wait_for_the_last_try, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(nobody_waits_for_ever_for_a_capture, set_up, tear_down),
		cmocka_unit_test(hashes_know_what_they_were_told),
		cmocka_unit_test(hashes_know_nothing_of_files_that_are_nearly_all_holes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
