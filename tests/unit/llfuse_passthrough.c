/* SPDX-License-Identifier: MIT */
/*
 * The table of how open files do their I/O, as far as it needs no kernel: without the capability, and for files
 * without a backing file.  The rest is tested mounted.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "internal.h"

static struct llfuse_session *new_session(uint32_t caps)
{
	struct llfuse_session *session = calloc(1, sizeof(*session));

	assert_non_null(session);
	atomic_store(&session->caps, caps);
	ll_io_modes_init(&session->io_modes);
	return session;
}

static void free_session(struct llfuse_session *session)
{
	ll_io_modes_done(&session->io_modes);
	free(session);
}

static size_t n_modes(const struct llfuse_session *session)
{
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(session->io_modes.shards); i++)
		n += session->io_modes.shards[i].n_modes;
	return n;
}

static size_t n_buckets(const struct llfuse_session *session)
{
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(session->io_modes.shards); i++)
		n += session->io_modes.shards[i].n_buckets;
	return n;
}

/* An open that the handler answered with the descriptor @backing_fd, or -1. */
static int open_with(struct llfuse_session *session, uint64_t ino, int backing_fd)
{
	const struct llfuse_file file = {.backing_fd = backing_fd};

	return ll_io_mode_open(session, NULL, ino, &file);
}

static int open_with_id(struct llfuse_session *session, uint64_t ino, int backing_id)
{
	const struct llfuse_file file = {.backing_fd = -1, .backing_id = backing_id};

	return ll_io_mode_open(session, NULL, ino, &file);
}

static void nothing_happens_without_the_capability(void **state)
{
	struct llfuse_session *session = new_session(~(uint32_t)LLFUSE_CAP_PASSTHROUGH);

	(void)state;
	assert_int_equal(open_with(session, 5, STDIN_FILENO), 0);
	assert_false(llfuse_file_passthrough(session, 5));
	assert_int_equal(n_modes(session), 0);
	assert_int_equal(n_buckets(session), 0);
	ll_io_mode_release(session, NULL, 5);
	free_session(session);
}

static void opens_of_an_inode_are_counted(void **state)
{
	struct llfuse_session *session = new_session(LLFUSE_CAP_PASSTHROUGH);

	(void)state;
	assert_int_equal(open_with(session, 5, -1), 0);
	assert_int_equal(n_modes(session), 1);
	/* The first open decided for the page cache: the descriptor is not even looked at. */
	assert_int_equal(open_with(session, 5, STDIN_FILENO), 0);
	assert_int_equal(n_modes(session), 1);
	assert_false(llfuse_file_passthrough(session, 5));
	ll_io_mode_release(session, NULL, 5);
	assert_int_equal(n_modes(session), 1);
	ll_io_mode_release(session, NULL, 5);
	assert_int_equal(n_modes(session), 0);
	ll_io_mode_release(session, NULL, 5); /* not known: nothing to do */
	ll_io_mode_release(session, NULL, 6);
	free_session(session);
}

/* Inode numbers of one kind after the other: counters, pointers, multiples of a large power of two. */
static uint64_t ino_of(unsigned kind, uint64_t i)
{
	static const uint64_t factors[] = {1, 64, 4096, UINT64_C(1) << 32, UINT64_C(1) << 48};

	return (i + 2) * factors[kind % ARRAY_SIZE(factors)];
}

static void the_table_grows_with_its_inodes(void **state)
{
	enum { N = 10000 };

	(void)state;
	for (unsigned kind = 0; kind < 3; kind++) {
		struct llfuse_session *session = new_session(LLFUSE_CAP_PASSTHROUGH);

		for (uint64_t i = 0; i < N; i++)
			assert_int_equal(open_with(session, ino_of(kind, i), -1), 0);
		assert_int_equal(n_modes(session), N);
		assert_in_range(n_buckets(session), N, 2 * N);
		for (uint64_t i = 0; i < N; i++)
			ll_io_mode_release(session, NULL, ino_of(kind, i));
		assert_int_equal(n_modes(session), 0);
		free_session(session);
	}
}

static void what_is_open_at_the_end_is_freed(void **state)
{
	struct llfuse_session *session = new_session(LLFUSE_CAP_PASSTHROUGH);

	(void)state;
	for (uint64_t i = 0; i < 1000; i++)
		assert_int_equal(open_with(session, ino_of(0, i), -1), 0);
	free_session(session);
}

enum { N_ROUNDS = 2000 };

static void *open_and_release(void *arg)
{
	struct llfuse_session *session = arg;

	for (uint64_t i = 0; i < N_ROUNDS; i++) {
		(void)open_with(session, i % 7 + 2, -1);
		(void)llfuse_file_passthrough(session, i % 5 + 2);
		ll_io_mode_release(session, NULL, i % 7 + 2);
	}
	return NULL;
}

static void several_threads_open_the_same_inodes(void **state)
{
	struct llfuse_session *session = new_session(LLFUSE_CAP_PASSTHROUGH);
	pthread_t threads[4];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, open_and_release, session), 0);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(n_modes(session), 0);
	free_session(session);
}

/* CAP_SYS_ADMIN as /proc shows it. */
static bool has_sys_admin(void)
{
	FILE *status = fopen("/proc/self/status", "r");
	unsigned long long effective = 0;
	char line[256];

	assert_non_null(status);
	while (fgets(line, sizeof(line), status))
		if (!strncmp(line, "CapEff:", 7))
			effective = strtoull(line + 7, NULL, 16);
	fclose(status);
	return effective >> 21 & 1;
}

static void permission_follows_the_capability(void **state)
{
	(void)state;
	if (!has_sys_admin())
		assert_false(llfuse_passthrough_is_permitted());
	else if (llfuse_passthrough_is_permitted()) /* else in a user namespace of its own */
		assert_true(has_sys_admin());
}

static void own_ids_are_shared_and_not_closed(void **state)
{
	struct llfuse_session *session = new_session(LLFUSE_CAP_PASSTHROUGH);

	(void)state;
	assert_int_equal(open_with_id(session, 5, 70), 70);
	assert_true(llfuse_file_passthrough(session, 5));
	assert_int_equal(open_with(session, 5, -1), 70);
	assert_int_equal(open_with_id(session, 6, 71), 71);
	ll_io_mode_release(session, NULL, 5);
	ll_io_mode_release(session, NULL, 5);
	assert_false(llfuse_file_passthrough(session, 5));
	assert_int_equal(session->io_modes.n_orphans, 0);
	/* Later the same file may have another one, or none. */
	assert_int_equal(open_with(session, 5, -1), 0);
	assert_int_equal(open_with_id(session, 5, 72), 0);
	llfuse_backing_close(session, 70);
	assert_int_equal(session->io_modes.n_orphans, 1);
	free_session(session);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_happens_without_the_capability),
		cmocka_unit_test(opens_of_an_inode_are_counted),
		cmocka_unit_test(own_ids_are_shared_and_not_closed),
		cmocka_unit_test(the_table_grows_with_its_inodes),
		cmocka_unit_test(what_is_open_at_the_end_is_freed),
		cmocka_unit_test(several_threads_open_the_same_inodes),
		cmocka_unit_test(permission_follows_the_capability),
	};

	return cmocka_run_group_tests_name("llfuse_passthrough", tests, NULL, NULL);
}
