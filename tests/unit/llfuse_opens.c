/* SPDX-License-Identifier: MIT */
/* What is open: each open gets its release (L11), also where memory is short. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "internal.h"
#include "no_memory.h"

enum { N_FILES = 3000 };

static int n_released[N_FILES], n_released_dirs;

static int op_open(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file)
{
	(void)req, (void)ino, (void)file;
	return 0;
}

static int op_release(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file)
{
	(void)req, (void)file;
	n_released[ino]++;
	return 0;
}

static int op_releasedir(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file)
{
	(void)req, (void)ino, (void)file;
	n_released_dirs++;
	return 0;
}

static struct llfuse_session session;
static struct worker worker;

static int set_up(void **state)
{
	(void)state;
	memset(&session, 0, sizeof(session));
	memset(&worker, 0, sizeof(worker));
	memset(n_released, 0, sizeof(n_released));
	n_released_dirs = 0;
	session.ops = (struct llfuse_ops){.open = op_open, .release = op_release, .releasedir = op_releasedir};
	ll_opens_init(&session.opens);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	atomic_store(&has_no_memory, false);
	ll_opens_done(&session.opens);
	free(worker.spare_open);
	return 0;
}

static void open_file(uint64_t ino)
{
	struct llfuse_file file = {.fh = ino + 1};

	assert_int_equal(ll_opens_reserve(&worker), 0);
	ll_opens_add(&session, &worker, ino, &file, false);
}

static void what_is_open_is_released_once_for_each_open(void **state)
{
	(void)state;
	for (uint64_t ino = 0; ino < N_FILES; ino++)
		for (uint64_t i = 0; i <= ino % 3; i++)
			open_file(ino);
	for (uint64_t ino = 0; ino < N_FILES; ino += 2)
		ll_opens_remove(&session, ino, &(struct llfuse_file){.fh = ino + 1}, false);
	ll_opens_release_all(&session);
	for (uint64_t ino = 0; ino < N_FILES; ino++)
		assert_int_equal(n_released[ino], (int)(ino % 3) + 1 - (ino % 2 == 0));
}

static void an_open_is_refused_before_it_could_not_be_remembered(void **state)
{
	struct llfuse_file file = {0};

	(void)state;
	atomic_store(&has_no_memory, true);
	assert_int_equal(ll_opens_reserve(&worker), -ENOMEM);
	atomic_store(&has_no_memory, false);
	assert_int_equal(ll_opens_reserve(&worker), 0);
	atomic_store(&has_no_memory, true);
	assert_int_equal(ll_opens_reserve(&worker), 0); /* has not been used */
	ll_opens_add(&session, &worker, 7, &file, true);
	assert_int_equal(ll_opens_reserve(&worker), -ENOMEM);
	ll_opens_release_all(&session);
	assert_int_equal(n_released_dirs, 1);
}

static void without_memory_for_a_larger_table_the_old_one_goes_on(void **state)
{
	(void)state;
	for (uint64_t ino = 0; ino < N_FILES; ino++) {
		struct llfuse_file file = {.fh = ino + 1};

		assert_int_equal(ll_opens_reserve(&worker), 0);
		atomic_store(&has_no_memory, true);
		ll_opens_add(&session, &worker, ino, &file, false);
		atomic_store(&has_no_memory, false);
	}
	ll_opens_release_all(&session);
	for (uint64_t ino = 0; ino < N_FILES; ino++)
		assert_int_equal(n_released[ino], 1);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_open_is_released_once_for_each_open),
		TEST(an_open_is_refused_before_it_could_not_be_remembered),
		TEST(without_memory_for_a_larger_table_the_old_one_goes_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
