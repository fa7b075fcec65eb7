/* SPDX-License-Identifier: MIT */
/* Bytes of files in both planes, against a plain array as the model. */
#include "data_heap.h"
#include "data_kernel.h"
#include "mem.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define PAGE DATA_PAGE_SIZE

struct fixture {
	struct mem mem;
	struct data_plane *plane; /* NULL: the kernel does not let us have it */
	struct data data;
};

static int make_within(void **state, uint64_t max)
{
	struct fixture *f = calloc(1, sizeof(*f));

	*state = f;
	mem_init(&f->mem, max, MEM_UNLIMITED);
	assert_int_equal(data_heap_new(&f->mem, &f->plane), 0);
	return 0;
}

static int make(void **state)
{
	return make_within(state, MEM_UNLIMITED);
}

static int make_kernel(void **state)
{
	const struct data_kernel_options options = {0};
	struct fixture *f = calloc(1, sizeof(*f));

	*state = f;
	mem_init(&f->mem, (uint64_t)1 << 30, MEM_UNLIMITED);
	if (data_kernel_new(&f->mem, &options, &f->plane))
		f->plane = NULL; /* each test then says that it was skipped */
	return 0;
}

/* At the start of a test that runs in both planes. */
static void need_plane(const struct fixture *f)
{
	if (!f->plane)
		skip();
}

static void refresh(const struct fixture *f)
{
	if (f->plane->ops->refresh)
		f->plane->ops->refresh(f->plane, (struct data *)&f->data);
}

static uint64_t size_of(const struct fixture *f)
{
	struct data_look look;

	refresh(f);
	f->plane->ops->look(f->plane, &f->data, &look);
	return look.size;
}

static uint64_t allocated(const struct fixture *f)
{
	struct data_look look;

	refresh(f);
	f->plane->ops->look(f->plane, &f->data, &look);
	return look.allocated;
}

static void clear(struct fixture *f)
{
	f->plane->ops->clear(f->plane, &f->data);
}

static int unmake(void **state)
{
	struct fixture *f = *state;

	if (!f->plane) {
		mem_done(&f->mem);
		free(f);
		return 0;
	}
	clear(f);
	assert_int_equal(allocated(f), 0);
	if (!f->plane->ops->is_share)
		assert_int_equal(mem_used(&f->mem), 0);
	f->plane->ops->free(f->plane);
	assert_int_equal(mem_used(&f->mem), 0);
	mem_done(&f->mem);
	free(f);
	return 0;
}

static size_t read_all(struct fixture *f, unsigned char *buf, size_t n, uint64_t off)
{
	ssize_t got = f->plane->ops->read(f->plane, &f->data, buf, n, off);

	assert_true(got >= 0);
	return (size_t)got;
}

static ssize_t write_at(struct fixture *f, const void *buf, size_t n, uint64_t off)
{
	return f->plane->ops->write(f->plane, &f->data, buf, n, off);
}

static void write_all(struct fixture *f, const void *buf, size_t n, uint64_t off)
{
	assert_int_equal(write_at(f, buf, n, off), n);
}

static int resize(struct fixture *f, uint64_t size)
{
	return f->plane->ops->resize(f->plane, &f->data, size);
}

static int allocate(struct fixture *f, uint64_t off, uint64_t len)
{
	return f->plane->ops->allocate(f->plane, &f->data, off, len);
}

static void punch(struct fixture *f, uint64_t off, uint64_t len)
{
	assert_int_equal(f->plane->ops->punch(f->plane, &f->data, off, len), 0);
}

static int64_t next_data(struct fixture *f, uint64_t off)
{
	return f->plane->ops->seek(f->plane, &f->data, off, SEEK_DATA);
}

static int64_t next_hole(struct fixture *f, uint64_t off)
{
	return f->plane->ops->seek(f->plane, &f->data, off, SEEK_HOLE);
}

static void what_was_written_is_read(void **state)
{
	struct fixture *f = *state;
	unsigned char buf[16];

	need_plane(f);
	write_all(f, "hello", 5, 0);
	assert_int_equal(size_of(f), 5);
	assert_int_equal(read_all(f, buf, sizeof(buf), 0), 5);
	assert_memory_equal(buf, "hello", 5);
	assert_int_equal(read_all(f, buf, sizeof(buf), 5), 0);
	assert_int_equal(read_all(f, buf, sizeof(buf), UINT64_MAX), 0);
}

static void small_file_takes_little(void **state)
{
	struct fixture *f = *state;

	write_all(f, "hello", 5, 0);
	assert_true(allocated(f) <= 64);
}

static void hole_costs_nothing(void **state)
{
	struct fixture *f = *state;
	const uint64_t petabyte = UINT64_C(1) << 50;
	unsigned char byte;

	need_plane(f);
	assert_int_equal(resize(f, petabyte), 0);
	assert_true(mem_used(&f->mem) < 4096);
	write_all(f, "x", 1, petabyte - 1);
	assert_int_equal(allocated(f), PAGE);
	assert_true(mem_used(&f->mem) < (64u << 10));
	assert_int_equal(read_all(f, &byte, 1, petabyte / 2), 1);
	assert_int_equal(byte, 0);
	assert_int_equal(next_data(f, 0), petabyte - PAGE);
	assert_int_equal(next_hole(f, petabyte - 1), petabyte);
}

static void size_past_the_greatest_offset_is_too_big(void **state)
{
	struct fixture *f = *state;

	need_plane(f);
	assert_int_equal(resize(f, (uint64_t)INT64_MAX + 1), -EFBIG);
	assert_int_equal(write_at(f, "xy", 2, INT64_MAX - 1), -EFBIG);
	assert_int_equal(allocate(f, INT64_MAX, 1), -EFBIG);
	assert_int_equal(size_of(f), 0);
	assert_int_equal(resize(f, INT64_MAX), 0);
	write_all(f, "x", 1, INT64_MAX - 1);
	assert_int_equal(size_of(f), INT64_MAX);
}

static void what_was_cut_off_does_not_come_back(void **state)
{
	struct fixture *f = *state;
	unsigned char buf[3 * PAGE];

	need_plane(f);
	memset(buf, 'x', sizeof(buf));
	write_all(f, buf, sizeof(buf), 0);
	assert_int_equal(resize(f, 100), 0);
	assert_int_equal(allocated(f), PAGE);
	assert_int_equal(resize(f, 2 * PAGE), 0);
	assert_int_equal(read_all(f, buf, sizeof(buf), 0), 2 * PAGE);
	assert_int_equal(buf[99], 'x');
	for (size_t i = 100; i < 2 * PAGE; i++)
		assert_int_equal(buf[i], 0);
}

static void data_and_holes_are_found(void **state)
{
	struct fixture *f = *state;

	need_plane(f);
	assert_int_equal(next_data(f, 0), -ENXIO);
	assert_int_equal(next_hole(f, 0), -ENXIO);
	assert_int_equal(resize(f, 1000 * PAGE), 0);
	assert_int_equal(next_data(f, 0), -ENXIO);
	assert_int_equal(next_hole(f, 7), 7);
	write_all(f, "x", 1, 500 * PAGE + 10);
	write_all(f, "x", 1, 501 * PAGE + 10);
	assert_int_equal(next_data(f, 3), 500 * PAGE);
	assert_int_equal(next_data(f, 500 * PAGE + 77), 500 * PAGE + 77);
	assert_int_equal(next_hole(f, 500 * PAGE), 502 * PAGE);
	assert_int_equal(next_data(f, 502 * PAGE), -ENXIO);
	assert_int_equal(next_hole(f, 1000 * PAGE - 1), 1000 * PAGE - 1);
	assert_int_equal(next_hole(f, 1000 * PAGE), -ENXIO);
}

static void punched_pages_are_given_back(void **state)
{
	struct fixture *f = *state;
	static unsigned char buf[100 * PAGE];

	need_plane(f);
	memset(buf, 'x', sizeof(buf));
	write_all(f, buf, sizeof(buf), 0);
	punch(f, PAGE + 1, 90 * PAGE);
	assert_int_equal(size_of(f), sizeof(buf));
	assert_int_equal(allocated(f), (100 - 89) * PAGE);
	assert_int_equal(read_all(f, buf, sizeof(buf), 0), sizeof(buf));
	for (size_t i = 0; i < sizeof(buf); i++)
		assert_int_equal(buf[i], i > PAGE && i <= 91 * PAGE ? 0 : 'x');
	punch(f, 0, UINT64_MAX);
	assert_int_equal(allocated(f), 0);
}

static void copy_within_a_file_that_it_makes_longer(void **state)
{
	struct fixture *f = *state;
	unsigned char buf[PAGE], expected[PAGE];

	need_plane(f);
	for (size_t i = 0; i < sizeof(expected); i++)
		expected[i] = (unsigned char)(i * 7);
	/* Sizes at which the first page is made anew, larger. */
	for (size_t n = 60; n <= 1000; n *= 2) {
		clear(f);
		write_all(f, expected, n, 0);
		assert_int_equal(f->plane->ops->copy(f->plane, &f->data, 0, &f->data, n + 100, n), n);
		assert_int_equal(read_all(f, buf, n, n + 100), n);
		assert_memory_equal(buf, expected, n);
	}
}

static void allocated_range_needs_no_memory_to_write(void **state)
{
	struct fixture *f = *state;
	static const unsigned char buf[10 * PAGE];

	assert_int_equal(allocate(f, 10, 10 * PAGE), 0);
	assert_int_equal(size_of(f), 0);
	mem_fail_nth(&f->mem, 1);
	write_all(f, buf, 10 * PAGE, 10);
	assert_true(mem_fail_pending(&f->mem));
	mem_fail_nth(&f->mem, 0);
}

static void failed_allocation_leaves_what_was_there(void **state)
{
	struct fixture *f = *state;
	unsigned char big[PAGE * 2], buf[PAGE * 2];
	bool fired = true;
	ssize_t n;

	memset(big, 'y', sizeof(big));
	for (long nth = 1; fired; nth++) {
		clear(f);
		write_all(f, "keep", 4, 0);
		mem_fail_nth(&f->mem, nth);
		n = write_at(f, big, sizeof(big), 70 * PAGE);
		fired = !mem_fail_pending(&f->mem);
		mem_fail_nth(&f->mem, 0);
		assert_true(n == -ENOMEM || n == PAGE || n == 2 * PAGE);
		assert_true(fired || n == 2 * PAGE);
		assert_int_equal(size_of(f), n < 0 ? 4 : 70 * PAGE + n);
		assert_int_equal(read_all(f, buf, 4, 0), 4);
		assert_memory_equal(buf, "keep", 4);
		if (n > 0) {
			assert_int_equal(read_all(f, buf, sizeof(buf), 70 * PAGE), n);
			assert_memory_equal(buf, big, (size_t)n);
		}
	}
}

/* ------------------------------------------------------------------------ */
/* Within a size                                                             */

static void T7_write_takes_what_there_is_and_no_more(void **state)
{
	static const unsigned char buf[64 * PAGE];
	struct fixture *f;
	ssize_t n;

	assert_int_equal(make_within(state, 20 * PAGE), 0);
	f = *state;
	n = write_at(f, buf, sizeof(buf), 0);
	assert_in_range(n, 17 * PAGE, 19 * PAGE);
	assert_int_equal(size_of(f), n);
	assert_int_equal(write_at(f, buf, 1, (uint64_t)n), -ENOSPC);
	assert_int_equal(write_at(f, buf, PAGE, UINT64_C(1) << 40), -ENOSPC);
	assert_int_equal(size_of(f), n);
	assert_true(mem_used(&f->mem) <= 20 * PAGE);
	/* What is there can be overwritten, and room that is made can be used at once. */
	assert_int_equal(write_at(f, buf, (size_t)n, 0), n);
	assert_int_equal(resize(f, (uint64_t)n - 3 * PAGE), 0);
	assert_int_equal(write_at(f, buf, 3 * PAGE, (uint64_t)n - 3 * PAGE), 3 * PAGE);
	assert_int_equal(unmake(state), 0);
}

static void T5_failed_write_leaves_no_memory_behind(void **state)
{
	static const unsigned char buf[PAGE];
	struct fixture *f;
	uint64_t used;

	assert_int_equal(make_within(state, 20 * PAGE), 0);
	f = *state;
	write_all(f, buf, PAGE, 0);
	while (write_at(f, buf, PAGE, size_of(f)) == PAGE)
		;
	used = mem_used(&f->mem);
	assert_int_equal(write_at(f, buf, PAGE, 3000 * PAGE), -ENOSPC);
	assert_int_equal(write_at(f, buf, PAGE, 50 * PAGE), -ENOSPC);
	/* A file whose tree got higher keeps that: two nodes. */
	assert_in_range(mem_used(&f->mem), used, used + 2 * 600);
	assert_int_equal(unmake(state), 0);
}

static void T5_allocate_takes_all_or_nothing(void **state)
{
	struct fixture *f;
	uint64_t len, used;

	assert_int_equal(make_within(state, 200 * PAGE), 0);
	f = *state;
	write_all(f, "x", 1, 100 * PAGE);
	used = mem_used(&f->mem);
	/* The longest that fits: every longer one changes nothing. */
	for (len = 400 * PAGE; allocate(f, 0, len) == -ENOSPC; len -= PAGE) {
		assert_int_equal(mem_used(&f->mem), used);
		assert_int_equal(allocated(f), PAGE);
	}
	assert_int_equal(len, 199 * PAGE); /* the last one is for the nodes above them */
	assert_int_equal(allocated(f), len);
	assert_int_equal(allocate(f, 0, INT64_MAX), -ENOSPC);
	assert_int_equal(allocated(f), len);
	assert_int_equal(unmake(state), 0);
}

/* ------------------------------------------------------------------------ */

#define MODEL_SIZE (80 * PAGE)

static unsigned char model[MODEL_SIZE], scratch[MODEL_SIZE];

static void check_against_model(struct fixture *f, size_t size)
{
	uint64_t pages = 0;

	assert_int_equal(size_of(f), size);
	assert_int_equal(read_all(f, scratch, MODEL_SIZE, 0), size);
	assert_memory_equal(scratch, model, size);
	/* What lies in no page is zero, and the pages are as many as are counted. */
	for (int64_t hole = 0, at = next_data(f, 0); at >= 0; at = next_data(f, (uint64_t)hole)) {
		hole = next_hole(f, (uint64_t)at);
		assert_true(hole > at);
		pages += (uint64_t)(hole - at + PAGE - 1) / PAGE;
		if ((size_t)hole == size)
			break;
	}
	assert_true(allocated(f) <= MODEL_SIZE + PAGE);
	assert_true(pages * PAGE <= allocated(f) + PAGE); /* a first page may be shorter */
}

static void random_operations_agree_with_the_model(void **state)
{
	struct fixture *f = *state;
	unsigned seed = 20261122;
	size_t size = 0;

	need_plane(f);
	memset(model, 0, sizeof(model));
	for (int step = 0; step < 20000; step++) {
		unsigned op = (unsigned)rand_r(&seed) % 10;
		size_t off = (size_t)rand_r(&seed) % (step % 100 < 20 ? 5000 : MODEL_SIZE);
		size_t n = (size_t)rand_r(&seed) % (op < 4 ? 3 * PAGE : 20 * PAGE) + 1;

		if (n > MODEL_SIZE - off)
			n = MODEL_SIZE - off;
		if (op < 4) {
			memset(scratch, 1 + rand_r(&seed) % 255, n);
			write_all(f, scratch, n, off);
			memcpy(model + off, scratch, n);
			size = off + n > size ? off + n : size;
		} else if (op < 6) {
			punch(f, off, n);
			memset(model + off, 0, n);
		} else if (op == 6) {
			assert_int_equal(allocate(f, off, n), 0);
		} else if (op == 7) {
			assert_int_equal(allocate(f, off, n), 0);
			assert_int_equal(f->plane->ops->zero(f->plane, &f->data, off, n), 0);
			memset(model + off, 0, n);
		} else if (op == 8 && off + n < size && n < off) {
			assert_int_equal(f->plane->ops->copy(f->plane, &f->data, off, &f->data, off - n, n), n);
			memcpy(model + off - n, model + off, n);
		} else {
			off = step % 10 == 0 ? 0 : off;
			assert_int_equal(resize(f, off), 0);
			memset(model + off, 0, MODEL_SIZE - off);
			size = off;
		}
		check_against_model(f, size);
	}
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, make, unmake)
#define IN_KERNEL(f)                                                                                                   \
	{                                                                                                              \
#f "_in_the_kernel", f, make_kernel, unmake, NULL                                                      \
	}
	const struct CMUnitTest tests[] = {
		TEST(what_was_written_is_read),
		TEST(small_file_takes_little),
		TEST(hole_costs_nothing),
		TEST(size_past_the_greatest_offset_is_too_big),
		TEST(what_was_cut_off_does_not_come_back),
		TEST(data_and_holes_are_found),
		TEST(punched_pages_are_given_back),
		TEST(copy_within_a_file_that_it_makes_longer),
		TEST(allocated_range_needs_no_memory_to_write),
		TEST(failed_allocation_leaves_what_was_there),
		cmocka_unit_test(T7_write_takes_what_there_is_and_no_more),
		cmocka_unit_test(T5_failed_write_leaves_no_memory_behind),
		cmocka_unit_test(T5_allocate_takes_all_or_nothing),
		TEST(random_operations_agree_with_the_model),
		IN_KERNEL(what_was_written_is_read),
		IN_KERNEL(hole_costs_nothing),
		IN_KERNEL(size_past_the_greatest_offset_is_too_big),
		IN_KERNEL(what_was_cut_off_does_not_come_back),
		IN_KERNEL(data_and_holes_are_found),
		IN_KERNEL(punched_pages_are_given_back),
		IN_KERNEL(copy_within_a_file_that_it_makes_longer),
		IN_KERNEL(random_operations_agree_with_the_model),
	};

	return cmocka_run_group_tests_name("tmpfs_data", tests, NULL, NULL);
}
