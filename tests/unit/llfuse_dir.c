/* SPDX-License-Identifier: MIT */
/* Listings made up for a test: how many entries fit, which ones count, what comes back. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "llfuse.h"

/* As linux/fuse.h has them: an entry's head, and the attributes before it in readdirplus. */
enum {
	DIRENT_HEAD = 24,
	ENTRY_OUT = 128,
};

static size_t plain_size(const char *name)
{
	return (DIRENT_HEAD + strlen(name) + 7) / 8 * 8;
}

static struct llfuse_entry file_entry(uint64_t ino)
{
	return (struct llfuse_entry){.ino = ino, .attr = {.st_ino = ino, .st_mode = S_IFREG | 0644}};
}

static void entries_come_back_in_order(void **state)
{
	struct llfuse_dir *dir = llfuse_dir_new(4096, false);
	struct llfuse_entry a = file_entry(10), b = file_entry(11);
	off_t next_off;
	uint64_t ino;

	(void)state;
	assert_non_null(dir);
	assert_false(llfuse_dir_wants_attr(dir));
	assert_null(llfuse_dir_get(dir, 0, &ino, &next_off));
	assert_int_equal(llfuse_dir_add(dir, "a", &a, 1), LLFUSE_DIR_ADDED);
	assert_int_equal(llfuse_dir_add(dir, "b", &b, INT64_MAX), LLFUSE_DIR_ADDED);
	assert_string_equal(llfuse_dir_get(dir, 0, &ino, &next_off), "a");
	assert_int_equal(ino, 10);
	assert_int_equal(next_off, 1);
	assert_string_equal(llfuse_dir_get(dir, 1, &ino, &next_off), "b");
	assert_int_equal(ino, 11);
	assert_true(next_off == INT64_MAX);
	assert_string_equal(llfuse_dir_get(dir, 1, NULL, NULL), "b");
	assert_null(llfuse_dir_get(dir, 2, NULL, NULL));
	llfuse_dir_free(dir);
}

/* Adds @name until it does not fit; returns how often it did. */
static int fill(struct llfuse_dir *dir, const char *name, int expected)
{
	struct llfuse_entry entry = file_entry(2);
	int n = 0, result;

	while ((result = llfuse_dir_add(dir, name, &entry, n + 1)) != LLFUSE_DIR_FULL) {
		assert_int_equal(result, expected);
		n++;
	}
	return n;
}

static void is_full_to_the_byte(void **state)
{
	static const char *const names[] = {"a", "12345678", "123456789", "a name of some length"};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		size_t one = plain_size(names[i]), one_plus = ENTRY_OUT + one;
		struct llfuse_dir *exact = llfuse_dir_new(10 * one, false);
		struct llfuse_dir *less = llfuse_dir_new(10 * one - 1, false);
		struct llfuse_dir *exact_plus = llfuse_dir_new(10 * one_plus, true);
		struct llfuse_dir *less_plus = llfuse_dir_new(10 * one_plus - 1, true);

		assert_int_equal(fill(exact, names[i], LLFUSE_DIR_ADDED), 10);
		assert_int_equal(fill(less, names[i], LLFUSE_DIR_ADDED), 9);
		assert_int_equal(fill(exact_plus, names[i], LLFUSE_DIR_COUNTED), 10);
		assert_int_equal(fill(less_plus, names[i], LLFUSE_DIR_COUNTED), 9);
		llfuse_dir_free(exact);
		llfuse_dir_free(less);
		llfuse_dir_free(exact_plus);
		llfuse_dir_free(less_plus);
	}
}

static void a_full_listing_took_nothing_of_what_did_not_fit(void **state)
{
	struct llfuse_dir *dir = llfuse_dir_new(plain_size("a") * 2, false);
	struct llfuse_entry entry = file_entry(2);

	(void)state;
	assert_int_equal(llfuse_dir_add(dir, "a", &entry, 1), LLFUSE_DIR_ADDED);
	assert_int_equal(llfuse_dir_add(dir, "longer than what is left", &entry, 2), LLFUSE_DIR_FULL);
	assert_null(llfuse_dir_get(dir, 1, NULL, NULL));
	assert_int_equal(llfuse_dir_add(dir, "b", &entry, 2), LLFUSE_DIR_ADDED); /* a shorter one still may */
	llfuse_dir_free(dir);
}

static void only_entries_with_attributes_count(void **state)
{
	struct llfuse_dir *dir = llfuse_dir_new(4096, true);
	struct llfuse_entry entry = file_entry(7), unknown = file_entry(0);

	(void)state;
	assert_true(llfuse_dir_wants_attr(dir));
	assert_int_equal(llfuse_dir_add(dir, ".", &entry, 1), LLFUSE_DIR_ADDED);
	assert_int_equal(llfuse_dir_add(dir, "..", &entry, 2), LLFUSE_DIR_ADDED);
	assert_int_equal(llfuse_dir_add(dir, "...", &entry, 3), LLFUSE_DIR_COUNTED);
	assert_int_equal(llfuse_dir_add(dir, ".a", &entry, 4), LLFUSE_DIR_COUNTED);
	assert_int_equal(llfuse_dir_add(dir, "..a", &entry, 5), LLFUSE_DIR_COUNTED);
	assert_int_equal(llfuse_dir_add(dir, "unknown", &unknown, 6), LLFUSE_DIR_ADDED);
	assert_string_equal(llfuse_dir_get(dir, 5, NULL, NULL), "unknown");
	llfuse_dir_free(dir);
}

static void impossible_names_are_refused(void **state)
{
	struct llfuse_dir *dir = llfuse_dir_new(4096, true);
	struct llfuse_entry entry = file_entry(7);

	(void)state;
	assert_int_equal(llfuse_dir_add(dir, "", &entry, 1), -EINVAL);
	assert_int_equal(llfuse_dir_add(dir, "/", &entry, 1), -EINVAL);
	assert_int_equal(llfuse_dir_add(dir, "a/b", &entry, 1), -EINVAL);
	assert_int_equal(llfuse_dir_add(dir, "a/", &entry, 1), -EINVAL);
	assert_null(llfuse_dir_get(dir, 0, NULL, NULL));
	llfuse_dir_free(dir);
}

static void the_longest_name_is_the_kernels(void **state)
{
	struct llfuse_dir *dir = llfuse_dir_new(65536, true);
	struct llfuse_entry entry = file_entry(7);
	char name[4097];

	(void)state;
	memset(name, 'n', 4096);
	name[4096] = '\0';
	assert_int_equal(llfuse_dir_add(dir, name, &entry, 1), -EINVAL);
	name[4095] = '\0';
	assert_int_equal(llfuse_dir_add(dir, name, &entry, 1), LLFUSE_DIR_COUNTED);
	assert_string_equal(llfuse_dir_get(dir, 0, NULL, NULL), name);
	llfuse_dir_free(dir);
}

static void ten_thousand_entries_are_kept(void **state)
{
	enum { N = 10000 };
	struct llfuse_dir *dir = llfuse_dir_new((size_t)N * 64, false);
	char name[16];

	(void)state;
	for (int i = 0; i < N; i++) {
		struct llfuse_entry entry = file_entry((uint64_t)i + 2);

		snprintf(name, sizeof(name), "e%d", i);
		assert_int_equal(llfuse_dir_add(dir, name, &entry, i + 1), LLFUSE_DIR_ADDED);
	}
	for (int i = 0; i < N; i++) {
		uint64_t ino;

		snprintf(name, sizeof(name), "e%d", i);
		assert_string_equal(llfuse_dir_get(dir, (size_t)i, &ino, NULL), name);
		assert_int_equal(ino, i + 2);
	}
	llfuse_dir_free(dir);
}

static void no_room_and_nothing_to_free(void **state)
{
	struct llfuse_dir *dir = llfuse_dir_new(0, false);
	struct llfuse_entry entry = file_entry(2);

	(void)state;
	assert_non_null(dir);
	assert_int_equal(llfuse_dir_add(dir, "a", &entry, 1), LLFUSE_DIR_FULL);
	llfuse_dir_free(dir);
	llfuse_dir_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(entries_come_back_in_order),
		cmocka_unit_test(is_full_to_the_byte),
		cmocka_unit_test(a_full_listing_took_nothing_of_what_did_not_fit),
		cmocka_unit_test(only_entries_with_attributes_count),
		cmocka_unit_test(impossible_names_are_refused),
		cmocka_unit_test(the_longest_name_is_the_kernels),
		cmocka_unit_test(ten_thousand_entries_are_kept),
		cmocka_unit_test(no_room_and_nothing_to_free),
	};

	return cmocka_run_group_tests_name("llfuse_dir", tests, NULL, NULL);
}
