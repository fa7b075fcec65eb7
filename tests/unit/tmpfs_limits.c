/* SPDX-License-Identifier: MIT */
/* Limits as people write them. */
#include "limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define GIB (UINT64_C(1) << 30)

static uint64_t size_of(const char *text)
{
	uint64_t size = 1;

	assert_true(limits_parse_size(text, 10 * GIB, &size));
	return size;
}

static void sizes_have_suffixes_and_are_whole_pages(void **state)
{
	(void)state;
	assert_int_equal(size_of("1"), 4096);
	assert_int_equal(size_of("4096"), 4096);
	assert_int_equal(size_of("4097"), 8192);
	assert_int_equal(size_of("8k"), 8192);
	assert_int_equal(size_of("64M"), UINT64_C(64) << 20);
	assert_int_equal(size_of("3g"), 3 * GIB);
	assert_int_equal(size_of("2T"), UINT64_C(2) << 40);
	assert_int_equal(size_of("50%"), 5 * GIB);
	assert_int_equal(size_of("0"), LIMITS_NONE);
	assert_int_equal(size_of("0%"), LIMITS_NONE);
}

static void counts_have_suffixes(void **state)
{
	uint64_t count;

	(void)state;
	assert_true(limits_parse_count("1001", &count));
	assert_int_equal(count, 1001);
	assert_true(limits_parse_count("2k", &count));
	assert_int_equal(count, 2048);
	assert_true(limits_parse_count("0", &count));
	assert_int_equal(count, LIMITS_NONE);
}

static void nonsense_is_refused(void **state)
{
	static const char *const texts[] = {"",
					    "k",
					    "-1",
					    "+1",
					    " 1",
					    "1 ",
					    "1kb",
					    "1x",
					    "1.5g",
					    "0x",
					    "%",
					    "5%%",
					    "5%k",
					    "1k%",
					    "9e",
					    "16e",
					    "18446744073709551616",
					    "18446744073709551615",
					    "9223372036854775808",
					    "99999999999%",
					    "\xc3\xa4"};
	uint64_t value = 7;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_false(limits_parse_size(texts[i], 10 * GIB, &value));
	assert_false(limits_parse_count("50%", &value));
	assert_false(limits_parse_count("", &value));
	assert_false(limits_parse_count("1q", &value));
	assert_int_equal(value, 7);
}

static void defaults_follow_the_machine(void **state)
{
	(void)state;
	assert_true(limits_ram() > (UINT64_C(1) << 20));
	assert_in_range(limits_default_size(), limits_ram() / 2 - 4096, limits_ram() / 2);
	assert_int_equal(limits_default_inodes(), limits_ram() / 2 / 4096);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_have_suffixes_and_are_whole_pages),
		cmocka_unit_test(counts_have_suffixes),
		cmocka_unit_test(nonsense_is_refused),
		cmocka_unit_test(defaults_follow_the_machine),
	};

	return cmocka_run_group_tests_name("tmpfs_limits", tests, NULL, NULL);
}
