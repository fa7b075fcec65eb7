/* SPDX-License-Identifier: MIT */
/* The names in one directory, and the table that they lie in. */
#include "dir.h"
#include "mem.h"
#include "siphash.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
	struct mem mem;
	struct dir dir;
};

static const struct siphash_key key = {{1, 2}};

static int make(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	*state = f;
	mem_init(&f->mem, MEM_UNLIMITED, MEM_UNLIMITED);
	return 0;
}

static int unmake(void **state)
{
	struct fixture *f = *state;

	dir_done(&f->dir, &f->mem);
	assert_int_equal(mem_used(&f->mem), 0);
	mem_done(&f->mem);
	free(f);
	return 0;
}

/* Inodes are only pointers here. */
static struct inode *inode_no(size_t i)
{
	return (struct inode *)(i + 1);
}

static const char *name_no(size_t i, struct dir_name *name)
{
	static char bytes[32];

	name->len = (size_t)snprintf(bytes, sizeof(bytes), "name-%zu", i);
	name->bytes = bytes;
	name->hash = siphash13(&key, bytes, name->len);
	return bytes;
}

static uint64_t add_no(struct fixture *f, size_t i)
{
	struct dir_entry *entry;
	struct dir_name name;

	name_no(i, &name);
	assert_int_equal(dir_add(&f->dir, &f->mem, &name, inode_no(i), &entry), 0);
	assert_ptr_equal(dir_find(&f->dir, &name), entry);
	return entry->cookie;
}

static void remove_no(struct fixture *f, size_t i)
{
	struct dir_name name;

	name_no(i, &name);
	dir_remove(&f->dir, &f->mem, dir_find(&f->dir, &name));
	assert_null(dir_find(&f->dir, &name));
}

static size_t number_of(const struct dir_entry *entry)
{
	return (size_t)entry->inode - 1;
}

static void names_are_found_while_the_table_grows_and_shrinks(void **state)
{
	struct fixture *f = *state;
	enum { N = 5000 };
	struct dir_name name;
	size_t i, j;

	for (i = 0; i < N; i++) {
		add_no(f, i);
		assert_int_equal(dir_count(&f->dir), i + 1);
	}
	for (i = 0; i < N; i++) {
		name_no(i, &name);
		assert_ptr_equal(dir_find(&f->dir, &name)->inode, inode_no(i));
	}
	for (i = 0; i < N; i++) {
		remove_no(f, i);
		for (j = i + 1; j < N && j < i + 20; j++) {
			name_no(j, &name);
			assert_non_null(dir_find(&f->dir, &name));
		}
	}
	assert_int_equal(dir_count(&f->dir), 0);
}

static void removing_gives_memory_back(void **state)
{
	struct fixture *f = *state;
	size_t i, used;

	for (i = 0; i < 100; i++)
		add_no(f, i);
	used = mem_used(&f->mem);
	for (; i < 20000; i++)
		add_no(f, i);
	for (i = 100; i < 20000; i++)
		remove_no(f, i);
	assert_true(mem_used(&f->mem) <= 2 * used);
	for (i = 0; i < 100; i++)
		remove_no(f, i);
	assert_int_equal(mem_used(&f->mem), 0);
}

static void a_listing_shows_each_entry_once(void **state)
{
	struct fixture *f = *state;
	enum { N = 3000 };
	static unsigned char seen[N];
	struct dir_entry *entry;
	uint64_t cookie = 2;
	size_t i, n = 0;

	memset(seen, 0, sizeof(seen));
	for (i = 0; i < N; i++)
		assert_true(add_no(f, i) > 2);
	for (; (entry = dir_next(&f->dir, cookie)); cookie = entry->cookie, n++) {
		assert_true(entry->cookie > cookie && entry->cookie <= INT64_MAX);
		assert_int_equal(seen[number_of(entry)]++, 0);
	}
	assert_int_equal(n, N);
	assert_null(dir_next(&f->dir, INT64_MAX));
	assert_null(dir_next(&f->dir, UINT64_MAX));
}

/* Others come and go between any two steps, also the entry that the listing stands at. */
static void entries_that_stay_are_listed_once_while_others_change(void **state)
{
	struct fixture *f = *state;
	enum { STAY = 1000, OTHERS = 20000 };
	static unsigned char seen[STAY + OTHERS];
	struct dir_entry *entry;
	struct dir_name name;
	unsigned seed = 7;
	uint64_t cookie = 2;
	size_t i, n;

	memset(seen, 0, sizeof(seen));
	for (i = 0; i < STAY; i++)
		add_no(f, i);
	while ((entry = dir_next(&f->dir, cookie))) {
		cookie = entry->cookie;
		i = number_of(entry);
		assert_int_equal(seen[i]++ && i < STAY, 0);
		if (i >= STAY)
			remove_no(f, i);
		for (n = 0; n < 20; n++) {
			i = STAY + (size_t)rand_r(&seed) % OTHERS;
			name_no(i, &name);
			entry = dir_find(&f->dir, &name);
			if (!entry)
				add_no(f, i);
			else if (rand_r(&seed) % 2)
				remove_no(f, i);
		}
	}
	for (i = 0; i < STAY; i++)
		assert_int_equal(seen[i], 1);
}

static void names_with_the_same_hash_have_their_own_cookies(void **state)
{
	struct fixture *f = *state;
	struct dir_entry *entry;
	struct dir_name name;
	uint64_t cookie = 2;
	size_t i, n;
	int err = 0;

	for (n = 0; n < 200 && !err; n++) {
		name_no(n, &name);
		name.hash = 12345;
		err = dir_add(&f->dir, &f->mem, &name, inode_no(n), &entry);
	}
	assert_int_equal(err, -ENOSPC);
	n--;
	assert_true(n > 100);
	for (i = 0; i < n; i++) {
		name_no(i, &name);
		name.hash = 12345;
		assert_ptr_equal(dir_find(&f->dir, &name)->inode, inode_no(i));
	}
	for (i = 0; (entry = dir_next(&f->dir, cookie)); i++)
		cookie = entry->cookie;
	assert_int_equal(i, n);
	/* A place that became free is used again. */
	name_no(50, &name);
	name.hash = 12345;
	dir_remove(&f->dir, &f->mem, dir_find(&f->dir, &name));
	assert_int_equal(dir_add(&f->dir, &f->mem, &name, inode_no(50), &entry), 0);
}

static void hashes_at_the_ends_have_valid_cookies(void **state)
{
	struct fixture *f = *state;
	const uint64_t hashes[] = {0, UINT64_MAX, 1, UINT64_C(1) << 63, UINT64_C(1) << 55, UINT64_MAX >> 1};
	struct dir_entry *entry;
	struct dir_name name;
	uint64_t cookie = 2;
	size_t i;

	for (i = 0; i < sizeof(hashes) / sizeof(hashes[0]); i++) {
		name_no(i, &name);
		name.hash = hashes[i];
		assert_int_equal(dir_add(&f->dir, &f->mem, &name, inode_no(i), &entry), 0);
		assert_true(entry->cookie > 2 && entry->cookie <= INT64_MAX);
	}
	for (i = 0; (entry = dir_next(&f->dir, cookie)); i++)
		cookie = entry->cookie;
	assert_int_equal(i, sizeof(hashes) / sizeof(hashes[0]));
}

static void failed_allocation_adds_nothing(void **state)
{
	struct fixture *f = *state;
	struct dir_entry *entry;
	struct dir_name name;
	bool fired = true;
	size_t used;
	int err;

	for (long nth = 1; fired; nth++) {
		name_no(0, &name);
		mem_fail_nth(&f->mem, nth);
		err = dir_add(&f->dir, &f->mem, &name, inode_no(0), &entry);
		fired = !mem_fail_pending(&f->mem);
		mem_fail_nth(&f->mem, 0);
		if (err) {
			assert_int_equal(err, -ENOMEM);
			assert_int_equal(mem_used(&f->mem), 0);
			assert_null(dir_find(&f->dir, &name));
		}
	}
	assert_int_equal(err, 0);
	/* Without memory to grow the table still takes names. */
	for (size_t i = 1; i < 1000; i++) {
		used = mem_used(&f->mem);
		mem_fail_nth(&f->mem, 2);
		add_no(f, i);
		mem_fail_nth(&f->mem, 0);
		assert_true(mem_used(&f->mem) > used);
	}
	for (size_t i = 0; i < 1000; i++)
		remove_no(f, i);
}

static void siphash_gives_the_published_values(void **state)
{
	/* Of SipHash-1-3, key 00 01 .. 0f, input 00 01 .. n - 1, as in the reference
	 * implementation's use by other projects (Rust, Python). */
	const struct siphash_key k = {{UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908)}};
	unsigned char input[8] = {0, 1, 2, 3, 4, 5, 6, 7};

	(void)state;
	assert_true(siphash13(&k, input, 0) == UINT64_C(0xabac0158050fc4dc));
	assert_true(siphash13(&k, input, 1) == UINT64_C(0xc9f49bf37d57ca93));
	assert_true(siphash13(&k, input, 2) == UINT64_C(0x82cb9b024dc7d44d));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, make, unmake)
	const struct CMUnitTest tests[] = {
		TEST(names_are_found_while_the_table_grows_and_shrinks),
		TEST(removing_gives_memory_back),
		TEST(a_listing_shows_each_entry_once),
		TEST(entries_that_stay_are_listed_once_while_others_change),
		TEST(names_with_the_same_hash_have_their_own_cookies),
		TEST(hashes_at_the_ends_have_valid_cookies),
		TEST(failed_allocation_adds_nothing),
		TEST(siphash_gives_the_published_values),
	};

	return cmocka_run_group_tests_name("tmpfs_dir", tests, NULL, NULL);
}
