/* SPDX-License-Identifier: MIT */
/*
 * Every call of SQLite's to the system, and every allocation, fails in turn: what is in the file afterwards is the old state
 * or the new one, and after a commit that succeeded it is the new one.  Then the file itself is damaged.
 */
#include "mem.h"
#include "store_dump.h"
#include "tree_restore.h"
#include "xattr.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <time.h>

/* ------------------------------------------------------------------------ */
/* What fails                                                                */

static struct {
	long in; /* so many calls until one fails; 0: none does */
	bool goes_on; /* those after it fail as well */
	bool is_full; /* a write fails for want of room */
	bool has_fired;
} fault;

static bool fails_now(void)
{
	if (fault.in == 0)
		return false;
	if (fault.in > 1) {
		fault.in--;
		return false;
	}
	fault.has_fired = true;
	if (!fault.goes_on)
		fault.in = 0;
	return true;
}

static void fail_nth(long nth, bool goes_on, bool is_full)
{
	fault.in = nth;
	fault.goes_on = goes_on;
	fault.is_full = is_full;
	fault.has_fired = false;
}

/* ------------------------------------------------------------------------ */
/* A VFS that fails                                                          */

struct shim_file {
	sqlite3_file base;
	sqlite3_file *real; /* right behind */
};

static sqlite3_vfs shim, *real_vfs;

#define REAL(file) (((struct shim_file *)(file))->real)
#define CALL(file, method, ...) REAL(file)->pMethods->method(REAL(file), ##__VA_ARGS__)

static int shim_close(sqlite3_file *file)
{
	return REAL(file)->pMethods ? CALL(file, xClose) : SQLITE_OK;
}

static int shim_read(sqlite3_file *file, void *buf, int n, sqlite3_int64 off)
{
	return fails_now() ? SQLITE_IOERR_READ : CALL(file, xRead, buf, n, off);
}

/* Half of it is written before it fails. */
static int shim_write(sqlite3_file *file, const void *buf, int n, sqlite3_int64 off)
{
	if (!fails_now())
		return CALL(file, xWrite, buf, n, off);
	(void)CALL(file, xWrite, buf, n / 2, off);
	return fault.is_full ? SQLITE_FULL : SQLITE_IOERR_WRITE;
}

static int shim_truncate(sqlite3_file *file, sqlite3_int64 size)
{
	return fails_now() ? SQLITE_IOERR_TRUNCATE : CALL(file, xTruncate, size);
}

static int shim_sync(sqlite3_file *file, int flags)
{
	return fails_now() ? SQLITE_IOERR_FSYNC : CALL(file, xSync, flags);
}

static int shim_size(sqlite3_file *file, sqlite3_int64 *size)
{
	return fails_now() ? SQLITE_IOERR_FSTAT : CALL(file, xFileSize, size);
}

static int shim_lock(sqlite3_file *file, int lock)
{
	return fails_now() ? SQLITE_IOERR_LOCK : CALL(file, xLock, lock);
}

static int shim_unlock(sqlite3_file *file, int lock)
{
	return CALL(file, xUnlock, lock);
}

static int shim_check(sqlite3_file *file, int *result)
{
	return fails_now() ? SQLITE_IOERR_CHECKRESERVEDLOCK : CALL(file, xCheckReservedLock, result);
}

static int shim_control(sqlite3_file *file, int which, void *arg)
{
	return CALL(file, xFileControl, which, arg);
}

static int shim_sector(sqlite3_file *file)
{
	return CALL(file, xSectorSize);
}

static int shim_device(sqlite3_file *file)
{
	return CALL(file, xDeviceCharacteristics);
}

static int shim_shm_map(sqlite3_file *file, int page, int size, int extend, void volatile **at_address)
{
	return fails_now() ? SQLITE_IOERR_SHMMAP : CALL(file, xShmMap, page, size, extend, at_address);
}

static int shim_shm_lock(sqlite3_file *file, int off, int n, int flags)
{
	return !(flags & SQLITE_SHM_UNLOCK) && fails_now() ? SQLITE_IOERR_SHMLOCK : CALL(file, xShmLock, off, n, flags);
}

static void shim_shm_barrier(sqlite3_file *file)
{
	CALL(file, xShmBarrier);
}

static int shim_shm_unmap(sqlite3_file *file, int is_deleted)
{
	return CALL(file, xShmUnmap, is_deleted);
}

static const sqlite3_io_methods shim_methods = {
	.iVersion = 2,
	.xClose = shim_close,
	.xRead = shim_read,
	.xWrite = shim_write,
	.xTruncate = shim_truncate,
	.xSync = shim_sync,
	.xFileSize = shim_size,
	.xLock = shim_lock,
	.xUnlock = shim_unlock,
	.xCheckReservedLock = shim_check,
	.xFileControl = shim_control,
	.xSectorSize = shim_sector,
	.xDeviceCharacteristics = shim_device,
	.xShmMap = shim_shm_map,
	.xShmLock = shim_shm_lock,
	.xShmBarrier = shim_shm_barrier,
	.xShmUnmap = shim_shm_unmap,
};

static int shim_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out_flags)
{
	struct shim_file *mine = (struct shim_file *)file;
	int result;

	(void)vfs;
	mine->base.pMethods = NULL;
	if (fails_now())
		return SQLITE_CANTOPEN;
	mine->real = (sqlite3_file *)(mine + 1);
	result = real_vfs->xOpen(real_vfs, name, mine->real, flags, out_flags);
	if (result == SQLITE_OK)
		mine->base.pMethods = &shim_methods;
	return result;
}

static int shim_delete(sqlite3_vfs *vfs, const char *name, int sync_directory)
{
	(void)vfs;
	return fails_now() ? SQLITE_IOERR_DELETE : real_vfs->xDelete(real_vfs, name, sync_directory);
}

static int shim_access(sqlite3_vfs *vfs, const char *name, int flags, int *result)
{
	(void)vfs;
	return fails_now() ? SQLITE_IOERR_ACCESS : real_vfs->xAccess(real_vfs, name, flags, result);
}

/* ------------------------------------------------------------------------ */
/* Allocations that fail                                                     */

static sqlite3_mem_methods real_mem;
static bool is_memory_tested;

static void *shim_malloc(int n)
{
	return is_memory_tested && fails_now() ? NULL : real_mem.xMalloc(n);
}

static void *shim_realloc(void *block, int n)
{
	return is_memory_tested && fails_now() ? NULL : real_mem.xRealloc(block, n);
}

/* Before anything else of SQLite's. */
static int install_shims(void **state)
{
	sqlite3_mem_methods mem;

	(void)state;
	if (sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real_mem) != SQLITE_OK)
		return -1;
	mem = real_mem;
	mem.xMalloc = shim_malloc;
	mem.xRealloc = shim_realloc;
	if (sqlite3_config(SQLITE_CONFIG_MALLOC, &mem) != SQLITE_OK || sqlite3_initialize() != SQLITE_OK)
		return -1;
	real_vfs = sqlite3_vfs_find(NULL);
	shim = *real_vfs;
	shim.zName = "shim";
	shim.szOsFile = (int)sizeof(struct shim_file) + real_vfs->szOsFile;
	shim.xOpen = shim_open;
	shim.xDelete = shim_delete;
	shim.xAccess = shim_access;
	return sqlite3_vfs_register(&shim, 1) == SQLITE_OK ? 0 : -1;
}

/* ------------------------------------------------------------------------ */
/* What is done meanwhile                                                    */

static const struct store_counters counters = {.next_number = 100, .generation = 77};

static int put_node(struct store *store, uint64_t number, mode_t mode, uint64_t size)
{
	const struct node node = {.number = number, .mode = mode, .size = size, .allocated = size};

	return store_put_node(store, &node);
}

static int put_xattr(struct store *store, uint64_t number, const char *value)
{
	struct xattr *list = NULL;
	struct mem mem;
	int err;

	mem_init(&mem, MEM_UNLIMITED, 1);
	err = xattr_set(&list, &mem, "user.a", value, strlen(value), 0);
	if (!err)
		err = store_put_xattrs(store, number, list);
	xattr_clear(&list, &mem);
	mem_done(&mem);
	return err;
}

static int put_bytes(struct store *store, uint64_t number, int byte, size_t n)
{
	static char bytes[STORE_CHUNK_SIZE];

	memset(bytes, byte, n);
	return store_put_chunk(store, number, 0, bytes, n);
}

/* The old state: /a (2) and /b (3), each with bytes and an attribute. */
static int put_old(struct store *store)
{
	int err = put_node(store, 1, S_IFDIR | 0755, 0);

	err = err ? err : put_node(store, 2, S_IFREG | 0644, 60000);
	err = err ? err : put_node(store, 3, S_IFREG | 0644, 6);
	err = err ? err : store_put_name(store, 1, "a", 1, 2);
	err = err ? err : store_put_name(store, 1, "b", 1, 3);
	err = err ? err : put_bytes(store, 2, 'a', 60000);
	err = err ? err : put_bytes(store, 3, 'b', 6);
	return err ? err : put_xattr(store, 2, "old");
}

/* The new one: /a is shorter, /b is gone, /c (4) is new. */
static int put_new(struct store *store)
{
	int err = put_node(store, 1, S_IFDIR | 0700, 0);

	err = err ? err : put_node(store, 2, S_IFREG | 0600, 7);
	err = err ? err : put_bytes(store, 2, 'A', 7);
	err = err ? err : put_xattr(store, 2, "new");
	err = err ? err : store_remove_name(store, 1, "b", 1);
	err = err ? err : store_remove_node(store, 3);
	err = err ? err : put_node(store, 4, S_IFREG | 0644, 65000);
	err = err ? err : store_put_name(store, 1, "c", 1, 4);
	return err ? err : put_bytes(store, 4, 'c', 65000);
}

/* Returns whether @put was committed. */
static bool change(const char *path, enum store_mode mode, int (*put)(struct store *store))
{
	struct store_error error = {""};
	struct store *store = NULL;
	int err;

	err = store_open(path, mode, &store, &error);
	if (err) {
		assert_true(err < 0 && error.text[0] != '\0');
		return false;
	}
	free(dump_store(store, &error));
	err = store_begin(store);
	if (!err) {
		err = put(store);
		if (err)
			store_rollback(store);
		else
			err = store_commit(store, &counters);
	}
	if (err)
		assert_true(err < 0 && store_reason()[0] != '\0');
	else
		store_settle(store);
	if (store_close(store))
		return false;
	return !err;
}

/* ------------------------------------------------------------------------ */
/* What is there afterwards                                                  */

/* Without the counters: numbers are skipped after an unclean end. */
static char *state_of(const char *path)
{
	struct store_error error = {""};
	char *text, *next;

	/* Who may only read cannot undo what was cut off. */
	run(path, "SELECT count(*) FROM sqlite_master");
	text = dump_file(path, &error);
	if (!text)
		fail_msg("%s", error.text);
	next = strstr(text, "next=");
	if (next)
		*next = '\0';
	return text;
}

static void assert_answer(const char *path, const char *sql, const char *expected)
{
	sqlite3_stmt *statement;
	sqlite3 *db;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
	assert_string_equal((const char *)sqlite3_column_text(statement, 0), expected);
	sqlite3_finalize(statement);
	sqlite3_close(db);
}

static void assert_sound(const char *path)
{
	assert_answer(path, "PRAGMA integrity_check", "ok");
	assert_answer(path, "SELECT count(*) FROM pragma_foreign_key_check", "0");
}

static void copy_file(const char *from, const char *to)
{
	static char bytes[1 << 20];
	int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	ssize_t n = in < 0 ? 0 : read(in, bytes, sizeof(bytes));

	assert_true(n < (ssize_t)sizeof(bytes));
	assert_int_equal(write(out, bytes, (size_t)n), n);
	close(in);
	close(out);
}

static void remove_database(const char *path)
{
	static const char *const suffixes[] = {"", "-wal", "-shm", "-journal"};
	char name[PATH_MAX];
	size_t i;

	for (i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
		(void)snprintf(name, sizeof(name), "%s%s", path, suffixes[i]);
		(void)unlink(name); /* if it is there */
	}
}

/* What the test goes from, and to. */
struct story {
	int (*before)(struct store *store); /* NULL: from what sql makes, or nothing */
	const char *sql;
	int (*put)(struct store *store);
	char *old, *new;
};

static void begin_story(struct story *story)
{
	fail_nth(0, false, false);
	remove_database(at("old.db"));
	if (story->before)
		assert_true(change(at("old.db"), STORE_KEEP, story->before));
	else
		copy_file("/dev/null", at("old.db"));
	if (story->sql)
		run(at("old.db"), story->sql);
	copy_file(at("old.db"), at("new.db"));
	assert_true(change(at("new.db"), STORE_KEEP, story->put));
	story->old = state_of(at("old.db"));
	story->new = state_of(at("new.db"));
	assert_string_not_equal(story->old, story->new);
}

static void check_story(const struct story *story, bool is_committed, long nth)
{
	char *state = state_of(at("a.db"));
	bool is_new = strcmp(state, story->new) == 0;

	if (!is_new && (is_committed || strcmp(state, story->old) != 0))
		fail_msg("%ld: %s:\n%s", nth, is_committed ? "it is not what was committed" : "a mixture", state);
	free(state);
	assert_sound(at("a.db"));
}

static void end_story(struct story *story)
{
	free(story->old);
	free(story->new);
}

/* All of them take minutes; so many are enough to notice. */
static long next_after(long nth)
{
	return getenv("LLFUSE_ALL_FAULTS") ? nth + 1 : nth + 1 + nth / 12;
}

static void fail_in_turn(struct story *story, bool goes_on, bool is_full)
{
	bool is_committed, has_fired = true;
	long nth;

	begin_story(story);
	for (nth = 1; has_fired; nth = next_after(nth)) {
		remove_database(at("a.db"));
		copy_file(at("old.db"), at("a.db"));
		fail_nth(nth, goes_on, is_full);
		is_committed = change(at("a.db"), STORE_KEEP, story->put);
		has_fired = fault.has_fired;
		fail_nth(0, false, false);
		check_story(story, is_committed, nth);
	}
	assert_true(nth > 50);
	end_story(story);
}

static void a_call_that_fails_leaves_the_old_state_or_the_new(void **state)
{
	(void)state;
	fail_in_turn(&(struct story){.before = put_old, .put = put_new}, false, false);
}

static void a_disk_that_is_full_leaves_the_old_state_or_the_new(void **state)
{
	(void)state;
	fail_in_turn(&(struct story){.before = put_old, .put = put_new}, true, true);
}

static void a_disk_that_is_gone_leaves_the_old_state_or_the_new(void **state)
{
	(void)state;
	fail_in_turn(&(struct story){.before = put_old, .put = put_new}, true, false);
}

static void a_first_commit_that_fails_leaves_nothing_or_all(void **state)
{
	(void)state;
	fail_in_turn(&(struct story){.put = put_old}, false, true);
}

/* The same tree as the reference keeps it. */
static const char reference[] = REFERENCE_TABLES
	"INSERT INTO inodes (id, mode, uid, gid, mtime_ns, atime_ns, ctime_ns, size, data) VALUES"
	" (1, 16877, 0, 0, 0, 0, 0, 0, NULL), (2, 33188, 0, 0, 0, 0, 0, 100000, zeroblob(100000)),"
	" (3, 33188, 0, 0, 0, 0, 0, 6, 'bbbbbb');"
	"INSERT INTO contents (name, inode, parent_inode) VALUES (x'2e2e', 1, 1), ('a', 2, 1), (x'62', 3, 1)";

static int put_upgraded(struct store *store)
{
	int err = put_new(store);

	return err ? err : store_remove_chunks(store, 2, STORE_CHUNK_SIZE, UINT64_MAX);
}

static void an_upgrade_that_fails_leaves_the_old_database_or_the_new(void **state)
{
	(void)state;
	fail_in_turn(&(struct story){.sql = reference, .put = put_upgraded}, false, false);
	fail_in_turn(&(struct story){.sql = reference, .put = put_upgraded}, true, true);
}

static void memory_that_is_not_there_leaves_the_old_state_or_the_new(void **state)
{
	(void)state;
	is_memory_tested = true;
	fail_in_turn(&(struct story){.before = put_old, .put = put_new}, false, false);
	is_memory_tested = false;
}

static void a_copy_that_fails_says_so(void **state)
{
	bool is_saved, has_fired = true;
	char *expected, *found;
	long nth;

	(void)state;
	assert_true(change(at("good.db"), STORE_KEEP, put_old));
	expected = state_of(at("good.db"));
	for (nth = 1; has_fired; nth = next_after(nth)) {
		remove_database(at("a.db"));
		fail_nth(nth, false, true);
		is_saved = change(at("a.db"), STORE_SAVE, put_old);
		has_fired = fault.has_fired;
		fail_nth(0, false, false);
		if (!is_saved)
			continue;
		found = state_of(at("a.db"));
		assert_string_equal(expected, found);
		free(found);
	}
	free(expected);
	assert_true(nth > 10);
}

/* After a failure the same store goes on: the next commit has it all. */
static void a_store_goes_on_after_a_failure(void **state)
{
	struct store_error error = {""};
	struct store *store;
	bool has_fired = true;
	char *expected, *found;
	long nth;
	int err;

	(void)state;
	assert_true(change(at("good.db"), STORE_KEEP, put_old));
	assert_true(change(at("good.db"), STORE_KEEP, put_new));
	expected = state_of(at("good.db"));
	for (nth = 1; has_fired; nth = next_after(nth)) {
		remove_database(at("a.db"));
		assert_true(change(at("a.db"), STORE_KEEP, put_old));
		assert_int_equal(store_open(at("a.db"), STORE_KEEP, &store, &error), 0);
		fail_nth(nth, false, true);
		err = store_begin(store);
		err = err ? err : put_new(store);
		if (err)
			store_rollback(store);
		else
			err = store_commit(store, &counters);
		has_fired = fault.has_fired;
		fail_nth(0, false, false);
		if (err) {
			assert_int_equal(store_begin(store), 0);
			assert_int_equal(put_new(store), 0);
			assert_int_equal(store_commit(store, &counters), 0);
		}
		assert_int_equal(store_close(store), 0);
		found = state_of(at("a.db"));
		assert_string_equal(expected, found);
		free(found);
		assert_sound(at("a.db"));
	}
	free(expected);
	assert_true(nth > 20);
}

/* ------------------------------------------------------------------------ */
/* Damage                                                                    */

static uint64_t next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

/* Some bytes, a copy of a part to another, or the end cut off. */
static size_t damage(unsigned char *bytes, size_t n, uint64_t *seed)
{
	static const unsigned char telling[] = {0, 1, 0x7f, 0x80, 0xff};
	uint64_t times = 1 + next_random(seed) % 8, i;
	size_t from, to, len;

	for (i = 0; i < times; i++) {
		to = next_random(seed) % n;
		if (next_random(seed) % 2)
			bytes[to] = telling[next_random(seed) % sizeof(telling)];
		else
			bytes[to] = (unsigned char)next_random(seed);
	}
	if (next_random(seed) % 8 == 0) {
		from = next_random(seed) % n;
		to = next_random(seed) % n;
		len = next_random(seed) % 600;
		if (from + len < n && to + len < n)
			memmove(bytes + to, bytes + from, len);
	}
	return next_random(seed) % 16 == 0 ? next_random(seed) % n : n;
}

static int read_nothing(void *arg, uint64_t off, const void *bytes, size_t n)
{
	uint64_t *sum = arg;

	*sum += off + n + *(const unsigned char *)bytes;
	return 0;
}

/* As a mount would: whatever comes of it, it ends. */
static void try_to_mount(const char *path)
{
	const struct tree_limits limits = {.size = 1u << 24, .inodes = 1000};
	struct store_error error = {""};
	struct tree_restored restored;
	struct store *store = NULL;
	struct tree *tree = NULL;
	uint64_t number, sum = 0;
	int err;

	if (store_open(path, STORE_KEEP, &store, &error)) {
		assert_true(error.text[0] != '\0');
		return;
	}
	assert_int_equal(tree_new(0755, (struct owner){0}, &limits, &tree), 0);
	err = store_has_tree(store) ? tree_restore(tree, store, &restored, &error) : 0;
	if (err)
		assert_true(error.text[0] != '\0');
	for (number = 1; number < 8; number++)
		(void)store_read_data(store, number, 100000, read_nothing, &sum);
	if (!err && store_begin(store) == 0) {
		if (put_new(store))
			store_rollback(store);
		else
			(void)store_commit(store, &counters);
	}
	(void)store_close(store);
	tree_free(tree);
}

static void mount_damaged(const char *path, unsigned times, uint64_t seed, bool is_unbounded)
{
	const clock_t end = clock() + 2 * CLOCKS_PER_SEC;
	static unsigned char good[1 << 19], bad[1 << 19];
	int fd = open(path, O_RDONLY);
	ssize_t size = read(fd, good, sizeof(good));
	unsigned i;
	size_t n;

	close(fd);
	assert_true(size > 0 && size < (ssize_t)sizeof(good));
	print_message("seed %" PRIu64 ", %u times\n", seed, times);
	for (i = 0; i < times && (is_unbounded || clock() < end); i++) {
		memcpy(bad, good, (size_t)size);
		n = damage(bad, (size_t)size, &seed);
		remove_database(at("bad.db"));
		fd = open(at("bad.db"), O_WRONLY | O_CREAT, 0600);
		assert_int_equal(write(fd, bad, n), n);
		close(fd);
		try_to_mount(at("bad.db"));
	}
}

/* LLFUSE_FUZZ_TIMES and LLFUSE_FUZZ_SEED look longer, and elsewhere. */
static void a_damaged_database_is_an_error_and_no_crash(void **state)
{
	const char *times = getenv("LLFUSE_FUZZ_TIMES"), *seed = getenv("LLFUSE_FUZZ_SEED");

	(void)state;
	assert_true(change(at("good.db"), STORE_KEEP, put_old));
	/* Small pages: more of what is hit means something. */
	run(at("good.db"), "PRAGMA journal_mode = DELETE; UPDATE chunks SET data = substr(data, 1, 900);"
			   "UPDATE inodes SET size = 900; PRAGMA page_size = 512; VACUUM");
	mount_damaged(at("good.db"), times ? (unsigned)atoi(times) : 3000, seed ? strtoull(seed, NULL, 10) : 20260727,
		      times);
}

#define WITH_PLACE(test) cmocka_unit_test_setup_teardown(test, make_place, remove_place)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_PLACE(a_call_that_fails_leaves_the_old_state_or_the_new),
		WITH_PLACE(a_disk_that_is_full_leaves_the_old_state_or_the_new),
		WITH_PLACE(a_disk_that_is_gone_leaves_the_old_state_or_the_new),
		WITH_PLACE(a_first_commit_that_fails_leaves_nothing_or_all),
		WITH_PLACE(an_upgrade_that_fails_leaves_the_old_database_or_the_new),
		WITH_PLACE(memory_that_is_not_there_leaves_the_old_state_or_the_new),
		WITH_PLACE(a_copy_that_fails_says_so),
		WITH_PLACE(a_store_goes_on_after_a_failure),
		WITH_PLACE(a_damaged_database_is_an_error_and_no_crash),
	};

	return cmocka_run_group_tests(tests, install_shims, NULL);
}
