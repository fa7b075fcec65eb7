/* SPDX-License-Identifier: MIT */
/* Memory of one mount: blocks, the size, and how it is divided with a share. */
#include "mem.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#define MIB ((uint64_t)1 << 20)

/* ------------------------------------------------------------------------ */
/* Blocks                                                                    */

enum { BLOCKS = 20000 };

static void slab_blocks_do_not_overlap(void **state)
{
	static unsigned char *blocks[BLOCKS];
	static size_t sizes[BLOCKS];
	struct slab slab;
	unsigned seed = 20261124;

	(void)state;
	slab_init(&slab);
	for (int step = 0; step < 10 * BLOCKS; step++) {
		size_t i = (size_t)rand_r(&seed) % BLOCKS;

		if (blocks[i]) {
			for (size_t k = 0; k < sizes[i]; k++)
				assert_int_equal(blocks[i][k], (unsigned char)i);
			slab_free(&slab, blocks[i], sizes[i]);
			blocks[i] = NULL;
		} else {
			sizes[i] = (size_t)rand_r(&seed) % SLAB_BLOCK_MAX + 1;
			blocks[i] = slab_alloc(&slab, sizes[i]);
			assert_non_null(blocks[i]);
			assert_int_equal((uintptr_t)blocks[i] % SLAB_STEP, 0);
			memset(blocks[i], (int)i, sizes[i]);
		}
	}
	for (size_t i = 0; i < BLOCKS; i++)
		if (blocks[i])
			slab_free(&slab, blocks[i], sizes[i]);
	slab_done(&slab);
}

static uint64_t resident_kib(void)
{
	unsigned long pages = 0, resident = 0;
	FILE *file = fopen("/proc/self/statm", "r");

	assert_non_null(file);
	assert_int_equal(fscanf(file, "%lu %lu", &pages, &resident), 2);
	fclose(file);
	return resident * 4;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { HAS_SHADOW_MEMORY = true };
#else
enum { HAS_SHADOW_MEMORY = false };
#endif

static void slab_gives_memory_back_to_the_system(void **state)
{
	enum { MANY = 200000 };
	static void *blocks[MANY];
	uint64_t before, full, after;
	struct slab slab;

	(void)state;
	if (HAS_SHADOW_MEMORY)
		skip(); /* the sanitizer's own memory would be measured with it */
	memset(blocks, 1, sizeof(blocks)); /* is not to count */
	slab_init(&slab);
	before = resident_kib();
	for (size_t i = 0; i < MANY; i++) {
		blocks[i] = slab_alloc(&slab, 136);
		assert_non_null(blocks[i]);
		memset(blocks[i], 1, 136);
	}
	full = resident_kib();
	assert_in_range(full - before, MANY * 136 / 1024, MANY * 138 / 1024 + 200);
	/* In an order in which each piece is emptied late. */
	for (size_t start = 0; start < 7; start++)
		for (size_t i = start; i < MANY; i += 7)
			slab_free(&slab, blocks[i], 136);
	after = resident_kib();
	assert_in_range(after, 0, before + 300);
	slab_done(&slab);
}

static bool is_all(const unsigned char *page, unsigned char byte)
{
	return page[0] == byte && memcmp(page, page + 1, PAGES_SIZE - 1) == 0;
}

/* Takes and frees pages at random, some of the time more of the one and then of the other.  Each page holds @id throughout. */
static void use_pages(struct pages *pages, unsigned seed, unsigned char id, size_t max)
{
	unsigned char **taken = calloc(max, sizeof(*taken));
	size_t n = 0;

	assert_non_null(taken);
	for (size_t step = 0; step < 8 * max; step++) {
		bool is_growing = step / max % 2 == 0;

		if (n == 0 || (n < max && (unsigned)rand_r(&seed) % 4 < (is_growing ? 3u : 1u))) {
			bool is_zero;

			taken[n] = pages_alloc(pages, &is_zero);
			assert_non_null(taken[n]);
			assert_int_equal((uintptr_t)taken[n] % PAGES_SIZE, 0);
			if (is_zero)
				assert_true(is_all(taken[n], 0));
			memset(taken[n++], id, PAGES_SIZE);
		} else {
			size_t i = (size_t)rand_r(&seed) % n;

			assert_true(is_all(taken[i], id));
			memset(taken[i], 0xff, PAGES_SIZE);
			pages_free(pages, taken[i]);
			taken[i] = taken[--n];
		}
		if (step % max == max - 1)
			pages_trim(pages);
	}
	for (; n > 0; n--) {
		assert_true(is_all(taken[n - 1], id));
		pages_free(pages, taken[n - 1]);
	}
	free(taken);
}

static void pages_do_not_overlap(void **state)
{
	struct pages pages;

	(void)state;
	pages_init(&pages);
	use_pages(&pages, 20261128, 1, 5000);
	pages_trim(&pages);
	assert_int_equal(pages_idle(&pages), 0);
	pages_done(&pages);
}

struct pages_user {
	struct pages *pages;
	unsigned char id;
	pthread_t thread;
};

static void *use_pages_in_thread(void *arg)
{
	const struct pages_user *user = arg;

	use_pages(user->pages, user->id, user->id, 2000);
	return NULL;
}

static void pages_of_several_threads_do_not_overlap(void **state)
{
	struct pages_user users[4];
	struct pages pages;

	(void)state;
	pages_init(&pages);
	for (size_t i = 0; i < 4; i++) {
		users[i] = (struct pages_user){.pages = &pages, .id = (unsigned char)(i + 1)};
		assert_int_equal(pthread_create(&users[i].thread, NULL, use_pages_in_thread, &users[i]), 0);
	}
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(pthread_join(users[i].thread, NULL), 0);
	pages_done(&pages);
}

static bool is_resident(void *page)
{
	unsigned char seen;

	assert_int_equal(mincore(page, PAGES_SIZE, &seen), 0);
	return seen & 1;
}

static void pages_that_are_free_go_back_to_the_system(void **state)
{
	enum { MANY = 5000 };
	static unsigned char *taken[MANY];
	struct pages pages;
	size_t n_left = 0;
	bool is_zero;

	(void)state;
	pages_init(&pages);
	for (size_t i = 0; i < MANY; i++) {
		taken[i] = pages_alloc(&pages, &is_zero);
		assert_non_null(taken[i]);
		memset(taken[i], 1, PAGES_SIZE);
	}
	/* What was taken in advance is no more than the pages of one region can be. */
	assert_in_range(pages_idle(&pages), 0, 64 * PAGES_SIZE);
	for (size_t i = 0; i < MANY; i += 2)
		pages_free(&pages, taken[i]);
	assert_in_range(pages_idle(&pages), MANY / 2 * PAGES_SIZE, (MANY / 2 + 64) * PAGES_SIZE);
	assert_true(is_resident(taken[0]));
	pages_trim(&pages);
	assert_int_equal(pages_idle(&pages), 0);
	for (size_t i = 0; i < MANY; i++) {
		assert_int_equal(is_resident(taken[i]), i % 2);
		assert_true(i % 2 == 0 || is_all(taken[i], 1));
	}
	for (size_t i = 1; i < MANY; i += 2)
		pages_free(&pages, taken[i]);
	/* Not even their addresses are left, but for those of one region. */
	for (size_t i = 0; i < MANY; i++)
		n_left += msync(taken[i], PAGES_SIZE, MS_ASYNC) == 0;
	assert_in_range(n_left, 0, 127);
	pages_trim(&pages);
	assert_int_equal(pages_idle(&pages), 0);
	pages_done(&pages);
}

static void a_page_that_was_used_is_zeroed_if_that_is_asked_for(void **state)
{
	unsigned char *page;
	struct mem mem;

	(void)state;
	mem_init(&mem, MIB, MEM_UNLIMITED);
	page = mem_alloc(&mem, PAGES_SIZE);
	assert_non_null(page);
	memset(page, 1, PAGES_SIZE);
	assert_int_equal(mem_used(&mem), PAGES_SIZE);
	mem_free(&mem, page, PAGES_SIZE);
	page = mem_zalloc(&mem, PAGES_SIZE);
	assert_non_null(page);
	assert_true(is_all(page, 0));
	mem_free(&mem, page, PAGES_SIZE);
	assert_int_equal(mem_used(&mem), 0);
	mem_done(&mem);
}

static void pages_fill_the_size_to_the_last_byte(void **state)
{
	unsigned char *pages[256];
	struct mem mem;

	(void)state;
	mem_init(&mem, MIB, MEM_UNLIMITED);
	for (size_t i = 0; i < MIB / PAGES_SIZE; i++) {
		pages[i] = mem_alloc(&mem, PAGES_SIZE);
		assert_non_null(pages[i]);
	}
	assert_null(mem_alloc(&mem, PAGES_SIZE));
	for (size_t i = 0; i < MIB / PAGES_SIZE; i++)
		mem_free(&mem, pages[i], PAGES_SIZE);
	mem_done(&mem);
}

/* ------------------------------------------------------------------------ */
/* Limits                                                                    */

static void size_is_kept(void **state)
{
	struct mem mem;
	void *block, *rest;

	(void)state;
	mem_init(&mem, 1000, MEM_UNLIMITED);
	block = mem_alloc(&mem, 600);
	assert_non_null(block);
	assert_int_equal(mem_used(&mem), mem_block_cost(600));
	errno = 0;
	assert_null(mem_alloc(&mem, 600));
	assert_int_equal(errno, ENOSPC);
	assert_int_equal(mem_charge(&mem, UINT64_MAX), -ENOSPC);
	assert_int_equal(mem_charge(&mem, UINT64_MAX - 10), -ENOSPC);
	rest = mem_alloc(&mem, 384);
	assert_non_null(rest);
	assert_int_equal(mem_used(&mem), mem_block_cost(600) + 384);
	assert_int_equal(mem_set_max(&mem, 991, MEM_UNLIMITED), -EBUSY);
	assert_int_equal(mem_set_max(&mem, 992, MEM_UNLIMITED), 0);
	mem_free(&mem, rest, 384);
	assert_int_equal(mem_set_max(&mem, 700, MEM_UNLIMITED), 0);
	mem_free(&mem, block, 600);
	assert_int_equal(mem_used(&mem), 0);
	assert_int_equal(mem_set_max(&mem, MEM_UNLIMITED, MEM_UNLIMITED), 0);
	assert_int_equal(mem_charge(&mem, (uint64_t)1 << 60), 0);
	mem_uncharge(&mem, (uint64_t)1 << 60);
	mem_done(&mem);
}

static void what_is_prepaid_cannot_fail_later(void **state)
{
	struct mem mem;
	void *block;

	(void)state;
	mem_init(&mem, 1000, MEM_UNLIMITED);
	assert_int_equal(mem_prepay(&mem, 1001), -ENOSPC);
	assert_int_equal(mem_prepay(&mem, 900), 0);
	assert_int_equal(mem_charge(&mem, 950), -ENOSPC);
	block = mem_alloc(&mem, 400);
	assert_non_null(block);
	assert_int_equal(mem_used(&mem), 900);
	mem_prepay_end(&mem);
	assert_int_equal(mem_used(&mem), 400);
	mem_free(&mem, block, 400);
	mem_done(&mem);
}

/* A place for the bytes of files that keeps a limit, and has something in it. */
struct place {
	uint64_t max, used;
};

static int resize_place(void *arg, uint64_t max)
{
	struct place *place = arg;

	if (max < place->used)
		return -ENOSPC;
	place->max = max;
	return 0;
}

static uint64_t used_of_place(void *arg)
{
	return ((const struct place *)arg)->used;
}

static void size_is_divided_with_the_share(void **state)
{
	struct place place = {0};
	struct mem mem;

	(void)state;
	mem_init(&mem, 64 * MIB, MEM_UNLIMITED);
	assert_int_equal(mem_charge(&mem, 1000), 0);
	assert_int_equal(mem_set_share(&mem, &(struct mem_share){resize_place, used_of_place, &place}), 0);
	assert_int_equal(atomic_load(&mem.granted) + place.max, 64 * MIB);
	assert_true(place.max >= 64 * MIB - 128 * 1024);
	/* Takes from the share what that does not use. */
	place.used = 10 * MIB;
	assert_int_equal(mem_charge(&mem, 50 * MIB), 0);
	assert_int_equal(atomic_load(&mem.granted) + place.max, 64 * MIB);
	assert_true(place.max >= place.used);
	assert_int_equal(mem_charge(&mem, 4 * MIB), -ENOSPC);
	/* To the last page. */
	assert_int_equal(mem_charge(&mem, 4 * MIB - 4096), 0);
	assert_int_equal(mem_charge(&mem, 4096), -ENOSPC);
	/* And gives back. */
	mem_uncharge(&mem, 54 * MIB - 4096);
	mem_settle(&mem);
	assert_true(place.max >= 64 * MIB - 256 * 1024);
	assert_int_equal(atomic_load(&mem.granted) + place.max, 64 * MIB);
	/* The size changes for both. */
	assert_int_equal(mem_set_max(&mem, 10 * MIB, MEM_UNLIMITED), -EBUSY);
	assert_int_equal(atomic_load(&mem.granted) + place.max, 64 * MIB);
	assert_int_equal(mem_set_max(&mem, 10 * MIB + 4096, MEM_UNLIMITED), 0);
	assert_int_equal(place.max, 10 * MIB);
	assert_int_equal(mem_set_max(&mem, MEM_UNLIMITED, MEM_UNLIMITED), 0);
	assert_true(place.max > (uint64_t)1 << 62);
	assert_int_equal(mem_charge(&mem, 100 * MIB), 0);
	mem_uncharge(&mem, 100 * MIB + 1000);
	mem_done(&mem);
}

/* ------------------------------------------------------------------------ */
/* What is about to be freed                                                 */

static void what_leaves_makes_room_at_once(void **state)
{
	void *block, *again;
	struct mem mem;
	const struct mem_cost cost = {.memory = 504};
	uint32_t left;

	(void)state;
	mem_init(&mem, 1000, 1);
	assert_int_equal(mem_take_inode(&mem), 0);
	assert_int_equal(mem_take_inode(&mem), -ENOSPC);
	block = mem_alloc(&mem, 504);
	left = mem_leave(&mem, &cost);
	assert_true(left != 0);
	assert_int_equal(mem_used(&mem), 0);
	assert_int_equal(mem_take_inode(&mem), 0);
	again = mem_alloc(&mem, 504);
	assert_non_null(again);
	assert_int_equal(mem_used(&mem), 504);
	/* Freed: nothing changes any more. */
	mem_gone_begin(&mem, left, &cost);
	mem_free(&mem, block, 504);
	mem_gone_end(&mem);
	assert_int_equal(mem_used(&mem), 504);
	assert_int_equal(atomic_load(&mem.inodes), 1);
	/* The other one stays after all. */
	left = mem_leave(&mem, &cost);
	assert_int_equal(mem_used(&mem), 0);
	mem_stay(&mem, left, &cost);
	assert_int_equal(mem_used(&mem), 504);
	assert_int_equal(atomic_load(&mem.inodes), 1);
	mem_gone_begin(&mem, 0, &cost);
	mem_free(&mem, again, 504);
	mem_gone_end(&mem);
	assert_int_equal(mem_used(&mem), 0);
	assert_int_equal(atomic_load(&mem.inodes), 0);
	mem_done(&mem);
}

static void what_leaves_the_share_makes_room_in_it(void **state)
{
	const struct mem_cost cost = {.share = 3 * MIB};
	struct place place = {0};
	struct mem mem;
	uint32_t left;

	(void)state;
	mem_init(&mem, 4 * MIB, MEM_UNLIMITED);
	assert_int_equal(mem_set_share(&mem, &(struct mem_share){resize_place, used_of_place, &place}), 0);
	place.used = 4 * MIB;
	assert_int_equal(mem_taken(&mem), 4 * MIB);
	left = mem_leave(&mem, &cost);
	assert_int_equal(place.max, 7 * MIB);
	assert_int_equal(mem_taken(&mem), MIB);
	place.used += 2 * MIB;
	mem_gone_begin(&mem, left, &cost);
	place.used -= 3 * MIB;
	mem_gone_end(&mem);
	assert_int_equal(place.max, 4 * MIB);
	assert_int_equal(mem_taken(&mem), 3 * MIB);
	/* What stays after all, while some of its room is used, becomes no more, and is lent until there is room. */
	left = mem_leave(&mem, &cost);
	place.used += 2 * MIB;
	mem_stay(&mem, left, &cost);
	assert_int_equal(place.max, 5 * MIB);
	place.used = MIB;
	mem_gone_begin(&mem, 0, &cost);
	mem_gone_end(&mem);
	assert_int_equal(place.max, 4 * MIB);
	mem_done(&mem);
}

static void all_of_the_size_can_go_back_to_the_share(void **state)
{
	struct place place = {0};
	struct mem mem;

	(void)state;
	mem_init(&mem, 4 * MIB, MEM_UNLIMITED);
	assert_int_equal(mem_set_share(&mem, &(struct mem_share){resize_place, used_of_place, &place}), 0);
	assert_int_equal(mem_charge(&mem, 4 * MIB), 0);
	assert_int_equal(place.max, 0);
	mem_uncharge(&mem, 4 * MIB);
	mem_settle(&mem);
	assert_int_equal(mem_taken(&mem), 0);
	assert_int_equal(place.max, 4 * MIB);
	mem_done(&mem);
}

static void what_is_full_can_still_be_divided(void **state)
{
	/* A step is three pages, which does not divide it. */
	const uint64_t max = 10 * MIB;
	struct place place = {0};
	struct mem mem;

	(void)state;
	mem_init(&mem, max, MEM_UNLIMITED);
	assert_int_equal(mem_charge(&mem, max - 4096), 0);
	assert_int_equal(mem_set_share(&mem, &(struct mem_share){resize_place, used_of_place, &place}), 0);
	assert_int_equal(place.max, 4096);
	assert_int_equal(mem_charge(&mem, 4096), 0);
	assert_int_equal(place.max, 0);
	mem_uncharge(&mem, max);
	mem_done(&mem);
}

static void what_moves_to_a_full_share_finds_room_in_it(void **state)
{
	enum { FILES = 100, MORE = 1200 };
	struct place place = {0};
	struct mem mem;

	(void)state;
	mem_init(&mem, 64 * MIB, MEM_UNLIMITED);
	assert_int_equal(mem_charge(&mem, 10 * MIB), 0);
	assert_int_equal(mem_set_share(&mem, &(struct mem_share){resize_place, used_of_place, &place}), 0);
	place.used = place.max;
	for (unsigned i = 0; i < FILES; i++) {
		mem_move_to_share(&mem, 4096);
		mem_exceed_begin();
		assert_int_equal(mem_charge(&mem, MORE), 0);
		assert_true(place.max - place.used >= 4096);
		place.used += 4096;
		mem_exceed_end(&mem);
	}
	assert_int_equal(mem_used(&mem), 10 * MIB - FILES * (4096 - MORE));
	assert_int_equal(mem_charge(&mem, 1), -ENOSPC);
	/* What exceeds the size is the first to get what becomes free. */
	place.used -= MIB;
	mem_exceed_begin();
	mem_exceed_end(&mem);
	assert_true(atomic_load(&mem.granted) >= mem_used(&mem));
	assert_int_equal(atomic_load(&mem.granted) + place.max, 64 * MIB);
	mem_uncharge(&mem, mem_used(&mem));
	mem_done(&mem);
}

static bool leave(struct leaving *leaving, uint32_t second, uint64_t memory)
{
	return leaving_add(leaving, second, &(struct leaving_amount){.memory = memory, .inodes = 1},
			   &(struct leaving_limit){.bytes = 10000, .inodes = 5});
}

static void what_does_not_go_counts_again(void **state)
{
	struct leaving leaving = {0};
	struct leaving_amount back;

	(void)state;
	assert_true(leave(&leaving, 100, 5000));
	assert_true(leave(&leaving, 100, 1000));
	assert_true(leave(&leaving, 101, 70));
	assert_true(leaving_remove(&leaving, 100, &(struct leaving_amount){.memory = 1000, .inodes = 1}));
	leaving_expire(&leaving, 102, &back);
	assert_int_equal(back.memory, 0);
	leaving_expire(&leaving, 103, &back);
	assert_int_equal(back.memory, 5000);
	assert_int_equal(back.inodes, 1);
	assert_false(leaving_remove(&leaving, 100, &(struct leaving_amount){.memory = 5000, .inodes = 1}));
	assert_true(leave(&leaving, 103, 9)); /* in the place of the one that was moved out */
	assert_false(leaving_remove(&leaving, 100, &(struct leaving_amount){.memory = 5000, .inodes = 1}));
	assert_true(leaving_remove(&leaving, 101, &(struct leaving_amount){.memory = 70, .inodes = 1}));
	assert_false(leaving_remove(&leaving, 101, &(struct leaving_amount){.memory = 70, .inodes = 1}));
	leaving_expire(&leaving, 1000, &back);
	assert_int_equal(back.memory, 9);
	assert_int_equal(leaving.all.memory, 0);
}

static void no_more_leaves_than_is_allowed(void **state)
{
	struct leaving leaving = {0};

	(void)state;
	assert_false(leave(&leaving, 5, 10001));
	assert_true(leave(&leaving, 5, 9990));
	assert_false(leave(&leaving, 6, 11));
	assert_true(leave(&leaving, 6, 10));
	assert_true(leaving_remove(&leaving, 5, &(struct leaving_amount){.memory = 9990, .inodes = 1}));
	assert_true(leave(&leaving, 6, 11));
	assert_true(leave(&leaving, 6, 0));
	assert_true(leave(&leaving, 6, 0));
	assert_true(leave(&leaving, 6, 0));
	assert_false(leave(&leaving, 6, 0));
}

/* ------------------------------------------------------------------------ */

enum { THREADS = 4, ROUNDS = 200000 };

static _Atomic uint64_t most;

static void *charge_and_give(void *arg)
{
	struct mem *mem = arg;
	uint64_t used;

	for (int i = 0; i < ROUNDS; i++) {
		if (mem_charge(mem, 3000))
			continue;
		used = mem_used(mem);
		if (used > atomic_load(&most))
			atomic_store(&most, used);
		mem_uncharge(mem, 3000);
	}
	return NULL;
}

static void T7_no_race_exceeds_the_size(void **state)
{
	pthread_t threads[THREADS];
	struct mem mem;

	(void)state;
	mem_init(&mem, 10000, MEM_UNLIMITED);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, charge_and_give, &mem), 0);
	/* Changes of the size never fall below what is used at that moment. */
	for (int i = 0; i < 2000; i++)
		(void)mem_set_max(&mem, i % 2 ? 10000 : 3000, MEM_UNLIMITED);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(mem_used(&mem), 0);
	/* A charge that is taken back at once may have shown for a moment. */
	assert_true(atomic_load(&most) <= 10000 + (THREADS - 1) * 3000);
	mem_done(&mem);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(slab_blocks_do_not_overlap),
		cmocka_unit_test(slab_gives_memory_back_to_the_system),
		cmocka_unit_test(pages_do_not_overlap),
		cmocka_unit_test(pages_of_several_threads_do_not_overlap),
		cmocka_unit_test(pages_that_are_free_go_back_to_the_system),
		cmocka_unit_test(a_page_that_was_used_is_zeroed_if_that_is_asked_for),
		cmocka_unit_test(pages_fill_the_size_to_the_last_byte),
		cmocka_unit_test(size_is_kept),
		cmocka_unit_test(what_is_prepaid_cannot_fail_later),
		cmocka_unit_test(size_is_divided_with_the_share),
		cmocka_unit_test(what_leaves_makes_room_at_once),
		cmocka_unit_test(what_leaves_the_share_makes_room_in_it),
		cmocka_unit_test(all_of_the_size_can_go_back_to_the_share),
		cmocka_unit_test(what_is_full_can_still_be_divided),
		cmocka_unit_test(what_moves_to_a_full_share_finds_room_in_it),
		cmocka_unit_test(what_does_not_go_counts_again),
		cmocka_unit_test(no_more_leaves_than_is_allowed),
		cmocka_unit_test(T7_no_race_exceeds_the_size),
	};

	return cmocka_run_group_tests_name("tmpfs_mem", tests, NULL, NULL);
}
