/* SPDX-License-Identifier: MIT */
/*
 * The threads that read /dev/fuse, with a libfuse that this test makes up: which requests come, which reads fail, who
 * gets a buffer, and how long a handler takes is all said here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "internal.h"

enum {
	RETRY_MS = 100, /* as in loop.c */
	MAX_READS = 200,
	LIMIT_S = 60,
	FOREVER = 1000000,
};

/* What one read gives: a request (its size), or -errno.  A request of this size is held by its handler. */
enum { PLAIN = 100, HELD = 101, STOPS = 102 };

static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* guarded by lock */
	int reads[MAX_READS];
	int n_reads, n_taken;
	int n_blocked; /* threads in a read that has nothing to give */
	int n_held, most_held, n_answered;
	int n_starts; /* threads that were tried to be made */
	int buffers_left, threads_left, workers_left; /* how many more can be had */
	bool is_let_go, has_exited;
	bool waits_for_notify; /* one is under way, which needs a request to be answered */
	int n_notify_ends;
	int n_rings_ended, libfuse_err;
	int n_warnings, n_errors;
	struct timespec start;
} fake = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct llfuse_session session;
static _Thread_local bool is_lent; /* the reserve, to libfuse */

#define WITH_LOCK(...)                                                                                                 \
	do {                                                                                                           \
		pthread_mutex_lock(&fake.lock);                                                                        \
		__VA_ARGS__;                                                                                           \
		pthread_cond_broadcast(&fake.changed);                                                                 \
		pthread_mutex_unlock(&fake.lock);                                                                      \
	} while (0)

/* --- libfuse and the rest of the library ------------------------------------------------------ */

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg);

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg)
{
	bool can_be_had;

	WITH_LOCK(fake.n_starts++; can_be_had = fake.threads_left > 0; fake.threads_left -= can_be_had);
	return can_be_had ? __real_pthread_create(thread, attr, run, arg) : EAGAIN;
}

static void unlock(void *lock)
{
	fake.n_blocked--;
	pthread_cond_broadcast(&fake.changed);
	pthread_mutex_unlock(lock);
}

static int next_read_locked(void)
{
	if (fake.has_exited)
		return 0;
	return fake.n_taken < fake.n_reads ? fake.reads[fake.n_taken++] : -EWOULDBLOCK;
}

/* Waits as read(2) does: nobody but pthread_cancel(3) wakes it. */
static int read_one(void)
{
	int result;

	pthread_mutex_lock(&fake.lock);
	fake.n_blocked++;
	pthread_cond_broadcast(&fake.changed);
	pthread_cleanup_push(unlock, &fake.lock);
	while (fake.n_taken == fake.n_reads)
		pthread_cond_wait(&fake.changed, &fake.lock);
	result = next_read_locked();
	pthread_cond_broadcast(&fake.changed);
	pthread_cleanup_pop(1);
	return result;
}

int fuse_session_receive_buf(struct fuse_session *fuse, struct fuse_buf *buf)
{
	int result;

	(void)fuse;
	if (!buf->mem) {
		WITH_LOCK(if (fake.buffers_left > 0) fake.buffers_left--, buf->mem = malloc(1));
		if (!buf->mem)
			return -ENOMEM;
	}
	result = read_one();
	if (result == -ENODEV) {
		fuse_session_exit(fuse);
		return 0;
	}
	buf->size = result > 0 ? (size_t)result : 0;
	return result;
}

void fuse_session_process_buf(struct fuse_session *fuse, const struct fuse_buf *buf)
{
	(void)fuse;
	atomic_store(&session.is_initialized, true); /* as INIT does, which comes first */
	if (!is_lent)
		llfuse_log(LLFUSE_LOG_ERROR, "probe", "libfuse lacks the reserve");
	if (buf->size == STOPS)
		ll_loop_stop(&session);
	pthread_mutex_lock(&fake.lock);
	if (buf->size == HELD) {
		fake.n_held++;
		fake.most_held = fake.n_held > fake.most_held ? fake.n_held : fake.most_held;
		pthread_cond_broadcast(&fake.changed);
		while (!fake.is_let_go)
			pthread_cond_wait(&fake.changed, &fake.lock); /* where a thread could be cancelled */
		fake.n_held--;
	}
	fake.n_answered++;
	pthread_cond_broadcast(&fake.changed);
	pthread_mutex_unlock(&fake.lock);
}

int fuse_session_exited(struct fuse_session *fuse)
{
	bool has_exited;

	(void)fuse;
	WITH_LOCK(has_exited = fake.has_exited);
	return has_exited;
}

void fuse_session_exit(struct fuse_session *fuse)
{
	(void)fuse;
	WITH_LOCK(fake.has_exited = true);
}

/* Ends the rings, if that is all that is left. */
int fuse_session_loop(struct fuse_session *fuse)
{
	int err;

	(void)fuse;
	WITH_LOCK(if (fake.has_exited && !fake.n_blocked && !fake.n_held) fake.n_rings_ended++; err = fake.libfuse_err);
	return err;
}

/* Always ready to be read. */
int fuse_session_fd(struct fuse_session *fuse)
{
	static int fds[2] = {-1, -1};

	(void)fuse;
	if (fds[0] < 0 && !pipe(fds))
		close(fds[1]);
	return fds[0];
}

struct worker *ll_worker_of_reader(struct llfuse_session *of)
{
	static struct worker worker;
	bool can_be_had;

	(void)of;
	WITH_LOCK(can_be_had = fake.workers_left > 0; fake.workers_left -= can_be_had);
	return can_be_had ? &worker : NULL;
}

int ll_reserve_init(struct worker *worker)
{
	return worker ? 0 : -ENOMEM;
}

/* Returns once a request that the notification waits for is answered. */
void ll_notify_end(struct llfuse_session *of)
{
	(void)of;
	pthread_mutex_lock(&fake.lock);
	fake.n_notify_ends++;
	pthread_cond_broadcast(&fake.changed);
	while (fake.waits_for_notify && !fake.n_answered)
		pthread_cond_wait(&fake.changed, &fake.lock);
	pthread_mutex_unlock(&fake.lock);
}

void ll_reserve_lend(struct llfuse_session *of, struct worker *worker)
{
	is_lent = of && worker;
}

void ll_reserve_take_back(struct llfuse_session *of, struct worker *worker)
{
	(void)of, (void)worker;
	is_lent = false;
}

int ll_thread_start(pthread_t *thread, void *(*run)(void *), void *arg)
{
	return -pthread_create(thread, NULL, run, arg);
}

/* There are no rings. */
void ll_guard_start(struct llfuse_session *of)
{
	(void)of;
}

void ll_guard_stop(struct llfuse_session *of)
{
	(void)of;
}

void ll_log_demote(bool is_demoted)
{
	(void)is_demoted;
}

void llfuse_log(enum llfuse_log_level level, const char *name, const char *fmt, ...)
{
	(void)name, (void)fmt;
	WITH_LOCK(if (level == LLFUSE_LOG_WARNING) fake.n_warnings++;
		  else if (level == LLFUSE_LOG_ERROR) fake.n_errors++);
}

/* --- What the tests do ------------------------------------------------------------------------ */

static int set_up(void **state)
{
	(void)state;
	pthread_mutex_lock(&fake.lock);
	fake.n_reads = fake.n_taken = fake.n_blocked = 0;
	fake.n_held = fake.most_held = fake.n_answered = fake.n_starts = 0;
	fake.buffers_left = fake.threads_left = fake.workers_left = FOREVER;
	fake.is_let_go = fake.has_exited = fake.waits_for_notify = false;
	fake.n_notify_ends = 0;
	fake.n_rings_ended = fake.libfuse_err = fake.n_warnings = fake.n_errors = 0;
	clock_gettime(CLOCK_MONOTONIC, &fake.start);
	pthread_mutex_unlock(&fake.lock);
	memset(&session, 0, sizeof(session));
	session.name = (char *)"probe";
	session.n_workers = 4;
	session.max_idle_threads = (unsigned)-1;
	ll_loop_init(&session.loop);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	assert_null(session.loop.readers);
	assert_int_equal(session.loop.n_readers, 0);
	ll_loop_done(&session.loop);
	return 0;
}

static int value_of(const int *field)
{
	int value;

	WITH_LOCK(value = *field);
	return value;
}

#define GET(field) value_of(&fake.field)

static void *run_loop(void *arg)
{
	*(int *)arg = ll_loop_run(&session);
	return NULL;
}

static pthread_t loop_thread;
static int loop_err;

static void start_loop(void)
{
	loop_err = 1;
	assert_int_equal(__real_pthread_create(&loop_thread, NULL, run_loop, &loop_err), 0);
}

/* What the loop returned, which must have ended everything. */
static int join_loop(void)
{
	pthread_join(loop_thread, NULL);
	assert_int_equal(GET(n_rings_ended), 1);
	assert_int_equal(GET(n_blocked), 0);
	return loop_err;
}

static int stop_loop(void)
{
	ll_loop_stop(&session);
	return join_loop();
}

static void give(int read)
{
	WITH_LOCK(fake.reads[fake.n_reads++] = read);
}

static void let_go(void)
{
	WITH_LOCK(fake.is_let_go = true);
}

/* Waits until @condition, about what the lock guards, holds. */
#define WAIT_UNTIL(condition)                                                                                          \
	do {                                                                                                           \
		struct timespec limit_;                                                                                \
		bool holds_;                                                                                           \
                                                                                                                       \
		clock_gettime(CLOCK_REALTIME, &limit_);                                                                \
		limit_.tv_sec += LIMIT_S;                                                                              \
		pthread_mutex_lock(&fake.lock);                                                                        \
		while (!(holds_ = (condition)))                                                                        \
			if (pthread_cond_timedwait(&fake.changed, &fake.lock, &limit_))                                \
				break;                                                                                 \
		pthread_mutex_unlock(&fake.lock);                                                                      \
		assert_true(holds_);                                                                                   \
	} while (0)

static long elapsed_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (now.tv_sec - fake.start.tv_sec) * 1000 + (now.tv_nsec - fake.start.tv_nsec) / 1000000;
}

static void start_initialized(void)
{
	start_loop();
	give(PLAIN);
	WAIT_UNTIL(fake.n_answered == 1);
}

/* --- The first thread ------------------------------------------------------------------------- */

static void run_without_a_reader(int err)
{
	give(PLAIN);
	assert_int_equal(ll_loop_run(&session), err);
	assert_int_equal(GET(n_taken), 0);
	assert_int_equal(GET(n_errors), 1);
	assert_int_equal(GET(n_rings_ended), 1);
}

static void no_request_is_taken_without_a_thread(void **state)
{
	(void)state;
	fake.threads_left = 0;
	run_without_a_reader(-EAGAIN);
}

static void no_request_is_taken_without_a_buffer(void **state)
{
	(void)state;
	fake.buffers_left = 0;
	run_without_a_reader(-ENOMEM);
}

static void no_request_is_taken_without_a_worker(void **state)
{
	(void)state;
	fake.workers_left = 0;
	run_without_a_reader(-ENOMEM);
}

/* --- More threads ----------------------------------------------------------------------------- */

static void there_is_no_second_thread_before_the_first_request_is_answered(void **state)
{
	(void)state;
	start_loop();
	WAIT_UNTIL(fake.n_blocked == 1);
	give(HELD);
	WAIT_UNTIL(fake.n_held == 1);
	assert_int_equal(GET(n_starts), 1);
	let_go();
	WAIT_UNTIL(fake.n_answered == 1);
	assert_int_equal(stop_loop(), 0);
}

/* INIT is held by nobody in what follows: process_buf() has said so before it waits. */
static void each_held_request_leaves_a_thread_for_the_next_up_to_the_limit(void **state)
{
	(void)state;
	start_initialized();
	for (int i = 1; i <= 4; i++) {
		give(HELD);
		WAIT_UNTIL(fake.n_held == i);
	}
	give(HELD);
	give(PLAIN);
	assert_int_equal(GET(n_starts), 4);
	assert_int_equal(GET(n_answered), 1);
	let_go();
	WAIT_UNTIL(fake.n_answered == 7);
	assert_int_equal(GET(most_held), 4);
	assert_int_equal(GET(n_starts), 4);
	assert_int_equal(stop_loop(), 0);
}

static void with_one_worker_there_is_one_thread(void **state)
{
	(void)state;
	session.n_workers = 1;
	start_initialized();
	for (int i = 0; i < 5; i++)
		give(HELD);
	WAIT_UNTIL(fake.n_held == 1);
	let_go();
	WAIT_UNTIL(fake.n_answered == 6);
	assert_int_equal(GET(most_held), 1);
	assert_int_equal(GET(n_starts), 1);
	assert_int_equal(stop_loop(), 0);
}

static void where_handlers_take_turns_a_second_thread_reads_on(void **state)
{
	(void)state;
	session.n_workers = 1;
	session.is_serial = true;
	start_initialized();
	give(HELD);
	WAIT_UNTIL(fake.n_held == 1);
	give(PLAIN); /* an interrupt, say */
	WAIT_UNTIL(fake.n_answered == 2);
	give(HELD);
	WAIT_UNTIL(fake.n_held == 2);
	give(PLAIN);
	let_go();
	WAIT_UNTIL(fake.n_answered == 5);
	assert_int_equal(GET(n_starts), 2);
	assert_int_equal(stop_loop(), 0);
}

static void one_caller_at_a_time_needs_two_threads(void **state)
{
	(void)state;
	start_initialized();
	for (int i = 2; i <= 50; i++) {
		WAIT_UNTIL(fake.n_blocked == (i == 2 ? 1 : 2));
		give(PLAIN);
		WAIT_UNTIL(fake.n_answered == i);
	}
	assert_int_equal(GET(n_starts), 2);
	assert_int_equal(stop_loop(), 0);
}

/* The only thread is busy and waits for a request that only another one can take. */
static void outlives_a_shortage_of(int *left)
{
	start_initialized();
	WITH_LOCK(*left = 0);
	give(HELD);
	WAIT_UNTIL(fake.n_held == 1);
	give(PLAIN);
	WAIT_UNTIL(fake.n_warnings == 1);
	WAIT_UNTIL(fake.n_starts >= 5);
	assert_true(GET(n_starts) - 2 <= elapsed_ms() / RETRY_MS + 2);
	assert_int_equal(GET(n_answered), 1);
	WITH_LOCK(*left = FOREVER);
	WAIT_UNTIL(fake.n_answered == 2);
	assert_int_equal(GET(n_held), 1);
	let_go();
	WAIT_UNTIL(fake.n_answered == 3);
	assert_int_equal(GET(n_warnings), 1);
	assert_int_equal(GET(n_errors), 0);
	assert_int_equal(stop_loop(), 0);
}

static void a_thread_that_cannot_be_made_is_tried_again(void **state)
{
	(void)state;
	outlives_a_shortage_of(&fake.threads_left);
}

static void a_thread_that_gets_no_buffer_is_tried_again(void **state)
{
	(void)state;
	outlives_a_shortage_of(&fake.buffers_left);
}

static void a_thread_that_gets_no_worker_is_tried_again(void **state)
{
	(void)state;
	outlives_a_shortage_of(&fake.workers_left);
}

static void requests_are_no_reason_to_try_more_often(void **state)
{
	(void)state;
	start_initialized();
	WITH_LOCK(fake.buffers_left = 0);
	for (int i = 2; i < MAX_READS; i++) {
		give(PLAIN);
		WAIT_UNTIL(fake.n_answered == i);
	}
	/* Several may have started before the first was seen to end. */
	assert_true(GET(n_starts) - 1 <= 3 * (elapsed_ms() / RETRY_MS + 2));
	assert_int_equal(stop_loop(), 0);
}

/* --- Fewer threads ---------------------------------------------------------------------------- */

/* Requests that were under way when it turned out that the rings work still end. */
static void with_rings_one_thread_takes_the_forgets(void **state)
{
	(void)state;
	start_initialized();
	for (int i = 1; i <= 3; i++) {
		give(HELD);
		WAIT_UNTIL(fake.n_held == i);
	}
	WAIT_UNTIL(fake.n_blocked == 1);
	atomic_store(&session.transport, LLFUSE_TRANSPORT_IO_URING);
	let_go();
	while (atomic_load(&session.loop.n_readers) > 1) /* of which nobody tells */
		usleep(1000);
	WAIT_UNTIL(fake.n_blocked == 1);
	WITH_LOCK(fake.is_let_go = false);
	for (int i = 1; i <= 100; i++)
		give(PLAIN);
	give(HELD);
	WAIT_UNTIL(fake.n_held == 1);
	give(PLAIN);
	assert_int_equal(GET(n_answered), 104);
	let_go();
	WAIT_UNTIL(fake.n_answered == 106);
	assert_int_equal(GET(n_starts), 4);
	assert_int_equal(stop_loop(), 0);
}

static void threads_that_too_many_are_idle_for_end(void **state)
{
	(void)state;
	session.max_idle_threads = 2;
	start_initialized();
	for (int i = 1; i <= 4; i++) {
		give(HELD);
		WAIT_UNTIL(fake.n_held == i);
	}
	let_go();
	/* Those that finish at the same moment do not see each other; the next requests make up for it. */
	for (int i = 5; i < 10; i++) {
		WAIT_UNTIL(fake.n_answered == i && fake.n_blocked >= 2);
		give(PLAIN);
	}
	WAIT_UNTIL(fake.n_answered == 10 && fake.n_blocked == 2);
	assert_int_equal(GET(n_starts), 4);
	assert_int_equal(stop_loop(), 0);
}

static void the_last_thread_stays(void **state)
{
	(void)state;
	session.max_idle_threads = 0;
	session.n_workers = 2;
	start_initialized();
	for (int i = 2; i < 60; i++) {
		give(PLAIN);
		WAIT_UNTIL(fake.n_answered == i);
	}
	WAIT_UNTIL(fake.n_blocked >= 1);
	assert_int_equal(stop_loop(), 0);
}

static void a_thread_that_ends_beside_one_without_a_buffer_is_replaced(void **state)
{
	(void)state;
	session.max_idle_threads = 0;
	start_initialized();
	for (int i = 2; i < 60; i++) {
		WITH_LOCK(fake.buffers_left = i % 3 ? 0 : 1);
		give(PLAIN);
		WITH_LOCK(fake.buffers_left = i % 2);
		if (i % 10 == 0) {
			WITH_LOCK(fake.buffers_left = FOREVER);
			WAIT_UNTIL(fake.n_answered == i);
		}
	}
	WITH_LOCK(fake.buffers_left = FOREVER);
	WAIT_UNTIL(fake.n_answered == 59);
	assert_int_equal(GET(n_errors), 0);
	assert_int_equal(stop_loop(), 0);
}

/* --- Reads that fail -------------------------------------------------------------------------- */

static void an_interrupted_read_is_done_again(void **state)
{
	(void)state;
	start_initialized();
	for (int i = 0; i < 10; i++)
		give(i % 2 ? -EINTR : -EAGAIN);
	give(PLAIN);
	WAIT_UNTIL(fake.n_answered == 2);
	assert_int_equal(stop_loop(), 0);
}

static void a_read_without_memory_in_the_kernel_is_done_again_after_a_while(void **state)
{
	long before;

	(void)state;
	session.n_workers = 1;
	start_initialized();
	before = elapsed_ms();
	for (int i = 0; i < 10; i++)
		give(-ENOMEM);
	give(PLAIN);
	WAIT_UNTIL(fake.n_answered == 2);
	assert_true(elapsed_ms() - before >= 90);
	assert_int_equal(stop_loop(), 0);
}

static void ends_after_a_read_that_gives(int read, int err, int n_errors)
{
	start_initialized();
	give(HELD);
	WAIT_UNTIL(fake.n_held == 1);
	give(read);
	WAIT_UNTIL(fake.has_exited);
	let_go();
	assert_int_equal(join_loop(), err);
	assert_int_equal(GET(n_errors), n_errors);
	assert_int_equal(GET(n_answered), 2);
}

static void a_read_that_fails_ends_the_session_with_its_error(void **state)
{
	(void)state;
	ends_after_a_read_that_gives(-EIO, -EIO, 1);
}

static void an_unmount_ends_the_session(void **state)
{
	(void)state;
	ends_after_a_read_that_gives(-ENODEV, 0, 0);
}

static void an_unmount_in_the_middle_of_a_read_is_no_error(void **state)
{
	(void)state;
	ends_after_a_read_that_gives(-ECONNABORTED, 0, 0);
}

/* --- The end ---------------------------------------------------------------------------------- */

static void a_stop_before_the_start_ends_it_before_any_request(void **state)
{
	(void)state;
	give(PLAIN);
	ll_loop_stop(&session);
	assert_int_equal(ll_loop_run(&session), 0);
	assert_int_equal(GET(n_taken), 0);
	assert_int_equal(GET(n_starts), 0);
	assert_int_equal(GET(n_rings_ended), 1);
}

static void a_stop_wakes_threads_that_read(void **state)
{
	(void)state;
	start_initialized();
	for (int i = 1; i <= 3; i++) {
		give(HELD);
		WAIT_UNTIL(fake.n_held == i);
	}
	WAIT_UNTIL(fake.n_blocked == 1); /* or there would be no need for it */
	let_go();
	WAIT_UNTIL(fake.n_blocked == 4);
	assert_int_equal(stop_loop(), 0);
}

static void a_stop_waits_for_handlers_and_cuts_none_short(void **state)
{
	(void)state;
	start_initialized();
	for (int i = 1; i <= 3; i++) {
		give(HELD);
		WAIT_UNTIL(fake.n_held == i);
	}
	ll_loop_stop(&session);
	WAIT_UNTIL(fake.n_blocked == 0); /* the fourth has been ended */
	assert_int_equal(GET(n_held), 3);
	let_go();
	assert_int_equal(join_loop(), 0);
	assert_int_equal(GET(n_answered), 4);
}

static void requests_are_answered_until_notifications_have_ended(void **state)
{
	(void)state;
	start_initialized();
	WITH_LOCK(fake.n_answered = 0; fake.waits_for_notify = true);
	ll_loop_stop(&session);
	WAIT_UNTIL(fake.n_notify_ends == 1);
	give(PLAIN);
	assert_int_equal(join_loop(), 0);
	assert_int_equal(GET(n_answered), 1);
}

static void a_handler_can_stop_the_session(void **state)
{
	(void)state;
	start_initialized();
	give(STOPS);
	assert_int_equal(join_loop(), 0);
	assert_int_equal(GET(n_answered), 2);
}

static void what_libfuse_came_upon_is_the_result(void **state)
{
	(void)state;
	fake.libfuse_err = -EPROTO;
	start_initialized();
	assert_int_equal(stop_loop(), -EPROTO);
	assert_int_equal(GET(n_errors), 1);
}

static void a_severed_ring_is_no_error(void **state)
{
	(void)state;
	fake.libfuse_err = -ECONNABORTED;
	start_initialized();
	assert_int_equal(stop_loop(), 0);
	assert_int_equal(GET(n_errors), 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(no_request_is_taken_without_a_thread),
		TEST(no_request_is_taken_without_a_buffer),
		TEST(no_request_is_taken_without_a_worker),
		TEST(there_is_no_second_thread_before_the_first_request_is_answered),
		TEST(each_held_request_leaves_a_thread_for_the_next_up_to_the_limit),
		TEST(with_one_worker_there_is_one_thread),
		TEST(where_handlers_take_turns_a_second_thread_reads_on),
		TEST(one_caller_at_a_time_needs_two_threads),
		TEST(a_thread_that_cannot_be_made_is_tried_again),
		TEST(a_thread_that_gets_no_buffer_is_tried_again),
		TEST(a_thread_that_gets_no_worker_is_tried_again),
		TEST(requests_are_no_reason_to_try_more_often),
		TEST(with_rings_one_thread_takes_the_forgets),
		TEST(threads_that_too_many_are_idle_for_end),
		TEST(the_last_thread_stays),
		TEST(a_thread_that_ends_beside_one_without_a_buffer_is_replaced),
		TEST(an_interrupted_read_is_done_again),
		TEST(a_read_without_memory_in_the_kernel_is_done_again_after_a_while),
		TEST(a_read_that_fails_ends_the_session_with_its_error),
		TEST(an_unmount_ends_the_session),
		TEST(an_unmount_in_the_middle_of_a_read_is_no_error),
		TEST(a_stop_before_the_start_ends_it_before_any_request),
		TEST(a_stop_wakes_threads_that_read),
		TEST(a_stop_waits_for_handlers_and_cuts_none_short),
		TEST(requests_are_answered_until_notifications_have_ended),
		TEST(a_handler_can_stop_the_session),
		TEST(what_libfuse_came_upon_is_the_result),
		TEST(a_severed_ring_is_no_error),
	};

	pthread_cond_init(&fake.changed, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
