/* SPDX-License-Identifier: MIT */
/* The bytes of one file, against a plain array as the model. */
#include "data.h"
#include "mem.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PAGE DATA_PAGE_SIZE

struct fixture {
	struct mem mem;
	struct data data;
};

static int make(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	*state = f;
	mem_init(&f->mem);
	return 0;
}

static int unmake(void **state)
{
	struct fixture *f = *state;

	data_clear(&f->data, &f->mem);
	assert_int_equal(f->data.allocated, 0);
	assert_int_equal(mem_used(&f->mem), 0);
	free(f);
	return 0;
}

/* Reads through data_segment(), as a handler does. */
static size_t read_all(const struct data *data, unsigned char *buf, size_t n, uint64_t off)
{
	size_t done, part;
	const void *bytes;

	for (done = 0; done < n && (part = data_segment(data, off + done, n - done, &bytes)) > 0; done += part) {
		if (bytes)
			memcpy(buf + done, bytes, part);
		else
			memset(buf + done, 0, part);
	}
	return done;
}

static void write_all(struct fixture *f, const void *buf, size_t n, uint64_t off)
{
	assert_int_equal(data_write(&f->data, &f->mem, buf, n, off), n);
}

static void what_was_written_is_read(void **state)
{
	struct fixture *f = *state;
	unsigned char buf[16];

	write_all(f, "hello", 5, 0);
	assert_int_equal(f->data.size, 5);
	assert_int_equal(read_all(&f->data, buf, sizeof(buf), 0), 5);
	assert_memory_equal(buf, "hello", 5);
	assert_int_equal(read_all(&f->data, buf, sizeof(buf), 5), 0);
	assert_int_equal(read_all(&f->data, buf, sizeof(buf), UINT64_MAX), 0);
}

static void small_file_takes_little(void **state)
{
	struct fixture *f = *state;

	write_all(f, "hello", 5, 0);
	assert_true(f->data.allocated <= 64);
}

static void hole_costs_nothing(void **state)
{
	struct fixture *f = *state;
	const uint64_t petabyte = UINT64_C(1) << 50;
	unsigned char byte;

	assert_int_equal(data_resize(&f->data, &f->mem, petabyte), 0);
	assert_int_equal(mem_used(&f->mem), 0);
	write_all(f, "x", 1, petabyte - 1);
	assert_int_equal(f->data.allocated, PAGE);
	assert_true(mem_used(&f->mem) < (64u << 10));
	assert_int_equal(read_all(&f->data, &byte, 1, petabyte / 2), 1);
	assert_int_equal(byte, 0);
	assert_int_equal(data_next_data(&f->data, 0), petabyte - PAGE);
	assert_int_equal(data_next_hole(&f->data, petabyte - 1), petabyte);
}

static void size_past_the_greatest_offset_is_too_big(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(data_resize(&f->data, &f->mem, (uint64_t)INT64_MAX + 1), -EFBIG);
	assert_int_equal(data_write(&f->data, &f->mem, "xy", 2, INT64_MAX - 1), -EFBIG);
	assert_int_equal(data_allocate(&f->data, &f->mem, INT64_MAX, 1), -EFBIG);
	assert_int_equal(f->data.size, 0);
	assert_int_equal(data_resize(&f->data, &f->mem, INT64_MAX), 0);
	write_all(f, "x", 1, INT64_MAX - 1);
	assert_int_equal(f->data.size, INT64_MAX);
}

static void what_was_cut_off_does_not_come_back(void **state)
{
	struct fixture *f = *state;
	unsigned char buf[3 * PAGE];

	memset(buf, 'x', sizeof(buf));
	write_all(f, buf, sizeof(buf), 0);
	assert_int_equal(data_resize(&f->data, &f->mem, 100), 0);
	assert_int_equal(f->data.allocated, PAGE);
	assert_int_equal(data_resize(&f->data, &f->mem, 2 * PAGE), 0);
	assert_int_equal(read_all(&f->data, buf, sizeof(buf), 0), 2 * PAGE);
	assert_int_equal(buf[99], 'x');
	for (size_t i = 100; i < 2 * PAGE; i++)
		assert_int_equal(buf[i], 0);
}

static void data_and_holes_are_found(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(data_next_data(&f->data, 0), -ENXIO);
	assert_int_equal(data_next_hole(&f->data, 0), -ENXIO);
	assert_int_equal(data_resize(&f->data, &f->mem, 1000 * PAGE), 0);
	assert_int_equal(data_next_data(&f->data, 0), -ENXIO);
	assert_int_equal(data_next_hole(&f->data, 7), 7);
	write_all(f, "x", 1, 500 * PAGE + 10);
	write_all(f, "x", 1, 501 * PAGE + 10);
	assert_int_equal(data_next_data(&f->data, 3), 500 * PAGE);
	assert_int_equal(data_next_data(&f->data, 500 * PAGE + 77), 500 * PAGE + 77);
	assert_int_equal(data_next_hole(&f->data, 500 * PAGE), 502 * PAGE);
	assert_int_equal(data_next_data(&f->data, 502 * PAGE), -ENXIO);
	assert_int_equal(data_next_hole(&f->data, 1000 * PAGE - 1), 1000 * PAGE - 1);
	assert_int_equal(data_next_hole(&f->data, 1000 * PAGE), -ENXIO);
}

static void punched_pages_are_given_back(void **state)
{
	struct fixture *f = *state;
	static unsigned char buf[100 * PAGE];

	memset(buf, 'x', sizeof(buf));
	write_all(f, buf, sizeof(buf), 0);
	data_punch(&f->data, &f->mem, PAGE + 1, 90 * PAGE);
	assert_int_equal(f->data.size, sizeof(buf));
	assert_int_equal(f->data.allocated, (100 - 89) * PAGE);
	assert_int_equal(read_all(&f->data, buf, sizeof(buf), 0), sizeof(buf));
	for (size_t i = 0; i < sizeof(buf); i++)
		assert_int_equal(buf[i], i > PAGE && i <= 91 * PAGE ? 0 : 'x');
	data_punch(&f->data, &f->mem, 0, UINT64_MAX);
	assert_int_equal(f->data.allocated, 0);
}

static void allocated_range_needs_no_memory_to_write(void **state)
{
	struct fixture *f = *state;
	static const unsigned char buf[10 * PAGE];

	assert_int_equal(data_allocate(&f->data, &f->mem, 10, 10 * PAGE), 0);
	assert_int_equal(f->data.size, 0);
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
		data_clear(&f->data, &f->mem);
		write_all(f, "keep", 4, 0);
		mem_fail_nth(&f->mem, nth);
		n = data_write(&f->data, &f->mem, big, sizeof(big), 70 * PAGE);
		fired = !mem_fail_pending(&f->mem);
		mem_fail_nth(&f->mem, 0);
		assert_true(n == -ENOMEM || n == PAGE || n == 2 * PAGE);
		assert_true(fired || n == 2 * PAGE);
		assert_int_equal(f->data.size, n < 0 ? 4 : 70 * PAGE + n);
		assert_int_equal(read_all(&f->data, buf, 4, 0), 4);
		assert_memory_equal(buf, "keep", 4);
		if (n > 0) {
			assert_int_equal(read_all(&f->data, buf, sizeof(buf), 70 * PAGE), n);
			assert_memory_equal(buf, big, (size_t)n);
		}
	}
}

/* ------------------------------------------------------------------------ */

#define MODEL_SIZE (80 * PAGE)

static unsigned char model[MODEL_SIZE], scratch[MODEL_SIZE];

static void check_against_model(const struct data *data, size_t size)
{
	uint64_t pages = 0;

	assert_int_equal(data->size, size);
	assert_int_equal(read_all(data, scratch, MODEL_SIZE, 0), size);
	assert_memory_equal(scratch, model, size);
	/* What lies in no page is zero, and the pages are as many as are counted. */
	for (int64_t hole = 0, at = data_next_data(data, 0); at >= 0; at = data_next_data(data, (uint64_t)hole)) {
		hole = data_next_hole(data, (uint64_t)at);
		assert_true(hole > at);
		pages += (uint64_t)(hole - at + PAGE - 1) / PAGE;
		if ((size_t)hole == size)
			break;
	}
	assert_true(data->allocated <= MODEL_SIZE + PAGE);
	assert_true(data->height == 0 || pages * PAGE <= data->allocated);
}

static void random_operations_agree_with_the_model(void **state)
{
	struct fixture *f = *state;
	unsigned seed = 20261122;
	size_t size = 0;

	memset(model, 0, sizeof(model));
	for (int step = 0; step < 20000; step++) {
		unsigned op = (unsigned)rand_r(&seed) % 8;
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
			data_punch(&f->data, &f->mem, off, n);
			memset(model + off, 0, n);
		} else if (op == 6) {
			assert_int_equal(data_allocate(&f->data, &f->mem, off, n), 0);
		} else {
			off = step % 10 == 0 ? 0 : off;
			assert_int_equal(data_resize(&f->data, &f->mem, off), 0);
			memset(model + off, 0, MODEL_SIZE - off);
			size = off;
		}
		check_against_model(&f->data, size);
	}
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, make, unmake)
	const struct CMUnitTest tests[] = {
		TEST(what_was_written_is_read),
		TEST(small_file_takes_little),
		TEST(hole_costs_nothing),
		TEST(size_past_the_greatest_offset_is_too_big),
		TEST(what_was_cut_off_does_not_come_back),
		TEST(data_and_holes_are_found),
		TEST(punched_pages_are_given_back),
		TEST(allocated_range_needs_no_memory_to_write),
		TEST(failed_allocation_leaves_what_was_there),
		TEST(random_operations_agree_with_the_model),
	};

	return cmocka_run_group_tests_name("tmpfs_data", tests, NULL, NULL);
}
