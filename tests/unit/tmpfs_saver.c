/* SPDX-License-Identifier: MIT */
/* Commits that there is no memory for. */
#include "no_memory.h"
#include "saver.h"
#include "store_dump.h"
#include "tree.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(s4_numbers_are_skipped_after_a_last_commit_without_memory, make_place,
						remove_place),
	};

	return cmocka_run_group_tests_name("tmpfs_saver", tests, NULL, NULL);
}
