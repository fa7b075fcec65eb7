/* SPDX-License-Identifier: MIT */
/* What is kept for when memory is exhausted (L13). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "internal.h"
#include "no_memory.h"

static struct llfuse_session session;
static struct worker worker;

static int set_up(void **state)
{
	(void)state;
	memset(&session, 0, sizeof(session));
	memset(&worker, 0, sizeof(worker));
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	atomic_store(&has_no_memory, false);
	ll_reserve_done(&worker);
	free(worker.spare_open);
	free(worker.scratch);
	free(worker.counted);
	return 0;
}

static void it_is_all_there_from_the_start_or_it_fails(void **state)
{
	(void)state;
	atomic_store(&has_no_memory, true);
	assert_int_equal(ll_reserve_init(&worker), -ENOMEM);
	atomic_store(&has_no_memory, false);
	assert_int_equal(ll_reserve_init(&worker), 0);
	assert_int_equal(worker.reserve.n_blocks, ARRAY_SIZE(worker.reserve.blocks));
	assert_non_null(worker.spare_open);
	assert_true(worker.scratch_size >= 2048 && worker.counted_capacity);
}

static void it_is_not_touched_while_there_is_memory(void **state)
{
	(void)state;
	assert_int_equal(ll_reserve_init(&worker), 0);
	ll_reserve_lend(&session, &worker);
	assert_int_equal(worker.reserve.n_blocks, ARRAY_SIZE(worker.reserve.blocks));
	assert_false(ll_reserve_refuses(&session, LLFUSE_OP_MKDIR));
	ll_reserve_keep_rest(&session, &worker);
	assert_null(worker.reserve.rest);
	ll_reserve_take_back(&session, &worker);
	assert_int_equal(worker.reserve.n_blocks, ARRAY_SIZE(worker.reserve.blocks));
}

static void a_block_is_lent_where_there_is_nothing_else(void **state)
{
	(void)state;
	assert_int_equal(ll_reserve_init(&worker), 0);
	atomic_store(&has_no_memory, true);
	ll_reserve_lend(&session, &worker);
	assert_int_equal(worker.reserve.n_blocks, ARRAY_SIZE(worker.reserve.blocks) - 1);
	atomic_store(&has_no_memory, false); /* what was freed can be had */
	ll_reserve_keep_rest(&session, &worker);
	assert_non_null(worker.reserve.rest);
	ll_reserve_take_back(&session, &worker);
	assert_null(worker.reserve.rest);
	assert_int_equal(worker.reserve.n_blocks, ARRAY_SIZE(worker.reserve.blocks));
}

static void meanwhile_nothing_is_made_but_all_else_goes_on(void **state)
{
	static const enum llfuse_op refused[] = {
		LLFUSE_OP_MKNOD, LLFUSE_OP_MKDIR,    LLFUSE_OP_SYMLINK, LLFUSE_OP_LINK,
		LLFUSE_OP_WRITE, LLFUSE_OP_SETXATTR, LLFUSE_OP_CREATE,  LLFUSE_OP_FALLOCATE,
	};
	static const enum llfuse_op answered[] = {
		LLFUSE_OP_UNLINK,  LLFUSE_OP_RMDIR,   LLFUSE_OP_FORGET,  LLFUSE_OP_RELEASE, LLFUSE_OP_LOOKUP,
		LLFUSE_OP_READDIR, LLFUSE_OP_GETATTR, LLFUSE_OP_SETATTR, LLFUSE_OP_READ,
	};

	(void)state;
	assert_int_equal(ll_reserve_init(&worker), 0);
	atomic_store(&has_no_memory, true);
	ll_reserve_lend(&session, &worker);
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++)
		assert_true(ll_reserve_refuses(&session, refused[i]));
	for (size_t i = 0; i < ARRAY_SIZE(answered); i++)
		assert_false(ll_reserve_refuses(&session, answered[i]));
	ll_reserve_take_back(&session, &worker); /* as of a request that has no handler */
	assert_false(ll_reserve_refuses(&session, LLFUSE_OP_MKDIR));
	ll_reserve_lend(&session, &worker);
	ll_reserve_keep_rest(&session, &worker); /* the handler may take long */
	assert_false(ll_reserve_refuses(&session, LLFUSE_OP_MKDIR));
	ll_reserve_take_back(&session, &worker);
	assert_int_equal(session.n_lent, 0);
}

static void what_others_were_faster_to_take_is_made_up_for_later(void **state)
{
	const unsigned all = ARRAY_SIZE(worker.reserve.blocks);

	(void)state;
	assert_int_equal(ll_reserve_init(&worker), 0);
	atomic_store(&has_no_memory, true);
	for (unsigned i = 1; i <= all + 2; i++) {
		ll_reserve_lend(&session, &worker);
		ll_reserve_keep_rest(&session, &worker);
		ll_reserve_take_back(&session, &worker);
		assert_int_equal(worker.reserve.n_blocks, i < all ? all - i : 0);
	}
	atomic_store(&has_no_memory, false);
	ll_reserve_lend(&session, &worker);
	ll_reserve_take_back(&session, &worker);
	assert_int_equal(worker.reserve.n_blocks, all);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(it_is_all_there_from_the_start_or_it_fails),
		TEST(it_is_not_touched_while_there_is_memory),
		TEST(a_block_is_lent_where_there_is_nothing_else),
		TEST(meanwhile_nothing_is_made_but_all_else_goes_on),
		TEST(what_others_were_faster_to_take_is_made_up_for_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
