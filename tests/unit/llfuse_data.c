/* SPDX-License-Identifier: MIT */
/* Answers of variable size made up for a test: rooms, segments of memory, files and zeros. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "llfuse.h"

static void count_call(void *arg)
{
	++*(int *)arg;
}

/* A file with the bytes of @text. */
static int file_with(const char *text)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	return fd;
}

/* The answer is @expected, and copied into too small a place it is the start of it. */
static void assert_answer(const struct llfuse_data *data, const char *expected, size_t n)
{
	char buf[256];

	memset(buf, '#', sizeof(buf));
	assert_int_equal(llfuse_data_copy(data, buf, sizeof(buf)), n);
	assert_memory_equal(buf, expected, n);
	assert_int_equal(buf[n], '#');
	if (!n)
		return;
	memset(buf, '#', sizeof(buf));
	assert_int_equal(llfuse_data_copy(data, buf, n - 1), n - 1);
	assert_memory_equal(buf, expected, n - 1);
	assert_int_equal(buf[n - 1], '#');
}

static void nothing_is_an_empty_answer(void **state)
{
	struct llfuse_data *data = llfuse_data_new(100);

	(void)state;
	assert_int_equal(llfuse_data_size(data), 100);
	assert_answer(data, "", 0);
	llfuse_data_free(data);
	llfuse_data_free(NULL);
}

static void a_room_is_filled(void **state)
{
	struct llfuse_data *data = llfuse_data_new(5);
	char *room = llfuse_data_room(data);

	(void)state;
	assert_non_null(room);
	assert_ptr_equal(llfuse_data_room(data), room); /* the same when asked again */
	memcpy(room, "hello", 5);
	llfuse_data_filled(data, 3);
	assert_answer(data, "hel", 3);
	llfuse_data_filled(data, 5);
	assert_answer(data, "hello", 5);
	llfuse_data_filled(data, 6); /* more than there is does not count */
	assert_answer(data, "hello", 5);
	llfuse_data_free(data);
}

static void a_room_of_nothing(void **state)
{
	struct llfuse_data *data = llfuse_data_new(0);

	(void)state;
	assert_non_null(llfuse_data_room(data));
	assert_answer(data, "", 0);
	assert_int_equal(llfuse_data_mem(data, "abc", 3), 0);
	assert_answer(data, "", 0);
	llfuse_data_free(data);
}

static void segments_follow_each_other(void **state)
{
	struct llfuse_data *data = llfuse_data_new(100);
	int fd = file_with("0123456789");

	(void)state;
	assert_int_equal(llfuse_data_mem(data, "abc", 3), 0);
	assert_int_equal(llfuse_data_fd(data, fd, 4, 3), 0);
	assert_int_equal(llfuse_data_mem(data, NULL, 2), 0);
	assert_int_equal(llfuse_data_mem(data, "", 0), 0);
	assert_int_equal(llfuse_data_mem(data, "z", 1), 0);
	assert_answer(data, "abc456\0\0z", 9);
	llfuse_data_free(data);
	close(fd);
}

static void more_than_was_asked_for_is_cut(void **state)
{
	struct llfuse_data *data = llfuse_data_new(4);
	int fd = file_with("0123456789");

	(void)state;
	assert_int_equal(llfuse_data_mem(data, "abc", 3), 0);
	assert_int_equal(llfuse_data_fd(data, fd, 0, 10), 0);
	assert_int_equal(llfuse_data_mem(data, "xyz", 3), 0);
	assert_answer(data, "abc0", 4);
	llfuse_data_free(data);
	close(fd);
}

static void a_shorter_file_ends_the_answer(void **state)
{
	struct llfuse_data *data = llfuse_data_new(100);
	int fd = file_with("0123456789");

	(void)state;
	assert_int_equal(llfuse_data_fd(data, fd, 8, 20), 0);
	assert_int_equal(llfuse_data_mem(data, "abc", 3), 0); /* would be at the wrong place */
	assert_answer(data, "89", 2);
	llfuse_data_free(data);

	data = llfuse_data_new(100);
	assert_int_equal(llfuse_data_fd(data, fd, 10, 20), 0);
	assert_answer(data, "", 0);
	llfuse_data_free(data);
	close(fd);
}

static void a_file_that_cannot_be_read_is_an_error(void **state)
{
	struct llfuse_data *data = llfuse_data_new(100);
	int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char buf[100];

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(llfuse_data_fd(data, fd, 0, 10), 0);
	assert_int_equal(llfuse_data_copy(data, buf, sizeof(buf)), -EISDIR);
	llfuse_data_free(data);

	data = llfuse_data_new(100); /* cut there it would be the end of the file */
	assert_int_equal(llfuse_data_mem(data, "abc", 3), 0);
	assert_int_equal(llfuse_data_fd(data, fd, 0, 10), 0);
	assert_int_equal(llfuse_data_copy(data, buf, sizeof(buf)), -EISDIR);
	assert_int_equal(llfuse_data_copy(data, buf, 3), 3); /* nobody asked for it */
	llfuse_data_free(data);
	close(fd);
}

static void no_descriptor_is_no_zeros(void **state)
{
	struct llfuse_data *data = llfuse_data_new(100);

	(void)state;
	assert_int_equal(llfuse_data_fd(data, -1, 0, 10), -EBADF);
	assert_int_equal(llfuse_data_fd(data, -ENOENT, 0, 0), -EBADF);
	assert_answer(data, "", 0);
	llfuse_data_free(data);
}

/* As a file has it that lies on a damaged disk. */
static void a_file_that_cannot_be_read_to_its_end_is_an_error(void **state)
{
	struct llfuse_data *data = llfuse_data_new(100);
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	int backing = file_with("0123456789"), fd = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	char *bytes = mmap(NULL, 2 * page, PROT_READ, MAP_SHARED, backing, 0); /* ends later than the file */
	char buf[100];

	(void)state;
	assert_true(bytes != MAP_FAILED && fd >= 0);
	assert_int_equal(llfuse_data_fd(data, fd, (off_t)(uintptr_t)(bytes + page - 10), 20), 0);
	assert_int_equal(llfuse_data_copy(data, buf, sizeof(buf)), -EIO);
	assert_int_equal(llfuse_data_copy(data, buf, 10), 10);
	llfuse_data_free(data);
	close(fd);
	close(backing);
	munmap(bytes, 2 * page);
}

static void many_segments(void **state)
{
	(void)state;
	/* Around the numbers at which memory for them is taken. */
	for (size_t n = 7; n <= 40; n++) {
		struct llfuse_data *data = llfuse_data_new(1000);
		char expected[80];
		int released = 0;

		llfuse_data_release(data, count_call, &released);
		for (size_t i = 0; i < n; i++) {
			static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGH";

			assert_int_equal(llfuse_data_mem(data, letters + i, 1), 0);
			expected[i] = letters[i];
		}
		assert_answer(data, expected, n);
		llfuse_data_free(data);
		assert_int_equal(released, 1);
	}
}

static void zeros_of_any_length(void **state)
{
	enum { N = 1 << 20 };
	struct llfuse_data *data = llfuse_data_new(N);
	char *buf = malloc(N);

	(void)state;
	memset(buf, '#', N);
	assert_int_equal(llfuse_data_mem(data, NULL, N), 0);
	assert_int_equal(llfuse_data_copy(data, buf, N), N);
	for (size_t i = 0; i < N; i++)
		assert_true(buf[i] == 0);
	free(buf);
	llfuse_data_free(data);
}

static void release_is_called_once_and_at_the_end(void **state)
{
	struct llfuse_data *data = llfuse_data_new(10);
	int released = 0;

	(void)state;
	llfuse_data_release(data, count_call, &released);
	assert_int_equal(llfuse_data_mem(data, "abc", 3), 0);
	assert_answer(data, "abc", 3);
	assert_answer(data, "abc", 3);
	assert_int_equal(released, 0);
	llfuse_data_free(data);
	assert_int_equal(released, 1);
}

static void a_long_file_is_read_whole(void **state)
{
	enum { N = 300000 };
	struct llfuse_data *data = llfuse_data_new(N);
	char *bytes = malloc(N), *buf = malloc(N);
	int fd = memfd_create("test", MFD_CLOEXEC);

	(void)state;
	for (size_t i = 0; i < N; i++)
		bytes[i] = (char)(i ^ (i >> 8));
	assert_int_equal(write(fd, bytes, N), N);
	assert_int_equal(llfuse_data_fd(data, fd, 1, N), 0);
	assert_int_equal(llfuse_data_copy(data, buf, N), N - 1);
	assert_memory_equal(buf, bytes + 1, N - 1);
	llfuse_data_free(data);
	free(bytes);
	free(buf);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_an_empty_answer),
		cmocka_unit_test(a_room_is_filled),
		cmocka_unit_test(a_room_of_nothing),
		cmocka_unit_test(segments_follow_each_other),
		cmocka_unit_test(more_than_was_asked_for_is_cut),
		cmocka_unit_test(a_shorter_file_ends_the_answer),
		cmocka_unit_test(a_file_that_cannot_be_read_is_an_error),
		cmocka_unit_test(a_file_that_cannot_be_read_to_its_end_is_an_error),
		cmocka_unit_test(no_descriptor_is_no_zeros),
		cmocka_unit_test(many_segments),
		cmocka_unit_test(zeros_of_any_length),
		cmocka_unit_test(release_is_called_once_and_at_the_end),
		cmocka_unit_test(a_long_file_is_read_whole),
	};

	return cmocka_run_group_tests_name("llfuse_data", tests, NULL, NULL);
}
