/* SPDX-License-Identifier: MIT */
/* Commits that there is no memory for, and copies one after the other. */
#include "no_memory.h"
#include "saver.h"
#include "store_dump.h"
#include "tree.h"

#include <errno.h>
#include <sched.h>
#include <sys/stat.h>

static const struct owner owner = {.uid = 1, .gid = 2};
static const struct tree_limits limits = {.size = (uint64_t)1 << 30, .inodes = 10000};

static void tell(const char *text, bool is_failure)
{
	(void)text, (void)is_failure;
}

static struct saver *saver_of(struct tree *tree)
{
	static const struct saver_options options = {.tell = tell};
	struct store_error error;
	struct saver *saver;
	struct store *store;

	assert_int_equal(store_open(at("kept"), STORE_KEEP, &store, &error), 0);
	assert_int_equal(saver_new(tree, store, store, &options, &saver), 0);
	tree_note(tree, tree->root, JOURNAL_NODE | JOURNAL_XATTRS);
	assert_int_equal(saver_sync(saver), 0);
	return saver;
}

static void make_file(struct tree *tree, const char *name)
{
	struct inode *inode;

	assert_int_equal(tree_mknod(tree, TREE_ROOT_NUMBER, name, S_IFREG | 0644, 0, owner, &inode), 0);
	tree_put(tree, inode);
}

static uint64_t next_number(void)
{
	struct store_error error = {""};
	char *text = dump_file(at("kept"), &error);
	const char *next;
	uint64_t number;

	assert_non_null(text);
	next = strstr(text, "next=");
	assert_non_null(next);
	number = strtoull(next + strlen("next="), NULL, 10);
	free(text);
	return number;
}

/* The number of /f is in no commit. */
static void s4_numbers_are_skipped_after_a_last_commit_without_memory(void **state)
{
	struct saver *saver;
	struct tree *tree;
	bool fails;

	(void)state;
	for (fails = false;; fails = true) {
		assert_int_equal(tree_new(0755, owner, &limits, &tree), 0);
		saver = saver_of(tree);
		make_file(tree, "f");
		has_no_memory = fails;
		assert_int_equal(saver_stop(saver), fails ? -ENOMEM : 0);
		has_no_memory = false;
		saver_free(saver);
		tree_free(tree);
		if (fails)
			break;
		assert_int_equal(next_number(), TREE_ROOT_NUMBER + 2);
		empty_place();
	}
	assert_true(next_number() > UINT32_MAX);
}

/* Saves one, and waits until it has ended. */
static uint64_t save(struct saver *saver, const char *path)
{
	struct saver_copy copy;
	uint64_t number;

	assert_int_equal(saver_begin_copy(saver, path, &number), 0);
	do {
		sched_yield();
		assert_int_equal(saver_look_at_copy(saver, number, &copy), 0);
	} while (copy.state == SAVER_COPY_RUNS);
	assert_int_equal(copy.number, number);
	return number;
}

static void assert_copy(struct saver *saver, uint64_t number, enum saver_copy_state state, int err)
{
	struct saver_copy copy;

	assert_int_equal(saver_look_at_copy(saver, number, &copy), 0);
	assert_int_equal(copy.state, state);
	assert_int_equal(copy.err, err);
}

static void who_saves_hears_of_his_own_copy(void **state)
{
	static const struct saver_options options = {.tell = tell};
	struct saver_copy copy;
	uint64_t first, second, i;
	struct saver *saver;
	struct tree *tree;

	(void)state;
	assert_int_equal(tree_new(0755, owner, &limits, &tree), 0);
	assert_int_equal(saver_new(tree, NULL, NULL, &options, &saver), 0);
	assert_copy(saver, 0, SAVER_COPY_NONE, 0);
	assert_int_equal(saver_look_at_copy(saver, 1, &copy), -EINVAL);
	first = save(saver, place);
	second = save(saver, at("copy"));
	assert_copy(saver, first, SAVER_COPY_FAILED, -EEXIST);
	assert_copy(saver, second, SAVER_COPY_DONE, 0);
	assert_copy(saver, 0, SAVER_COPY_DONE, 0);
	assert_int_equal(saver_look_at_copy(saver, second + 1, &copy), -EINVAL);
	for (i = second; i < first + SAVER_COPIES; i++)
		(void)save(saver, place);
	assert_int_equal(saver_look_at_copy(saver, first, &copy), -ESTALE);
	assert_copy(saver, second, SAVER_COPY_DONE, 0);
	assert_int_equal(saver_stop(saver), 0);
	saver_free(saver);
	tree_free(tree);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(s4_numbers_are_skipped_after_a_last_commit_without_memory, make_place,
						remove_place),
		cmocka_unit_test_setup_teardown(who_saves_hears_of_his_own_copy, make_place, remove_place),
	};

	return cmocka_run_group_tests_name("tmpfs_saver", tests, NULL, NULL);
}
