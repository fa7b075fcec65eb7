/* SPDX-License-Identifier: MIT */
/* The log on stderr: the form of a line, levels, one write for each line. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <regex.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "llfuse.h"

#define STAMP "[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3} "

/* A page for each write. */
enum { PIPE_BYTES = 256 * 1024 };

/* stderr is a pipe that keeps writes apart: one read gives one write. */
struct capture {
	int before;
	int fd;
};

static void capture_begin(struct capture *capture)
{
	int fds[2];

	assert_int_equal(pipe2(fds, O_DIRECT | O_CLOEXEC), 0);
	assert_true(fcntl(fds[1], F_SETPIPE_SZ, PIPE_BYTES) >= PIPE_BYTES);
	capture->before = dup(STDERR_FILENO);
	capture->fd = fds[0];
	dup2(fds[1], STDERR_FILENO);
	close(fds[1]);
}

/* After the last line, so that reading ends. */
static void capture_end(struct capture *capture)
{
	dup2(capture->before, STDERR_FILENO);
	close(capture->before);
}

/* The next write, or "" behind the last. */
static const char *next_write(struct capture *capture)
{
	static char text[8192];
	ssize_t n = read(capture->fd, text, sizeof(text) - 1);

	assert_true(n >= 0);
	text[n] = '\0';
	return text;
}

static void assert_match(const char *text, const char *pattern)
{
	regex_t regex;

	assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
	if (regexec(&regex, text, 0, NULL, 0))
		fail_msg("\"%s\" does not match %s", text, pattern);
	regfree(&regex);
}

static void a_line_has_time_thread_name_and_message(void **state)
{
	struct capture capture;

	(void)state;
	capture_begin(&capture);
	llfuse_log(LLFUSE_LOG_INFO, "probe", "number %d", 7);
	llfuse_log(LLFUSE_LOG_ERROR, "probe", "with a newline\n");
	llfuse_log(LLFUSE_LOG_WARNING, "a.b", "%s", "");
	capture_end(&capture);
	assert_match(next_write(&capture), "^" STAMP "main: \\[probe\\] number 7\n$");
	assert_match(next_write(&capture), "^" STAMP "main: \\[probe\\] with a newline\n$");
	assert_match(next_write(&capture), "^" STAMP "main: \\[a\\.b\\] \n$");
	assert_string_equal(next_write(&capture), "");
	close(capture.fd);
}

static void newlines_inside_a_message_do_not_make_two_lines(void **state)
{
	struct capture capture;

	(void)state;
	capture_begin(&capture);
	llfuse_log(LLFUSE_LOG_INFO, "probe", "%s: %s", "a\nb", "c\n\nd");
	llfuse_log(LLFUSE_LOG_INFO, "probe", "\nat both ends\n\n");
	capture_end(&capture);
	assert_match(next_write(&capture), "^" STAMP "main: \\[probe\\] a\\?b: c\\?\\?d\n$");
	assert_match(next_write(&capture), "^" STAMP "main: \\[probe\\] \\?at both ends\n$");
	assert_string_equal(next_write(&capture), "");
	close(capture.fd);
}

static void *log_from_named_thread(void *arg)
{
	(void)arg;
	pthread_setname_np(pthread_self(), "worker three");
	llfuse_log(LLFUSE_LOG_INFO, "probe", "hello");
	return NULL;
}

static void the_thread_is_one_word(void **state)
{
	struct capture capture;
	pthread_t thread;

	(void)state;
	capture_begin(&capture);
	pthread_create(&thread, NULL, log_from_named_thread, NULL);
	pthread_join(thread, NULL);
	capture_end(&capture);
	assert_match(next_write(&capture), "^" STAMP "worker_three: \\[probe\\] hello\n$");
	close(capture.fd);
}

static void levels_below_the_lowest_are_dropped(void **state)
{
	struct capture capture;

	(void)state;
	capture_begin(&capture);
	assert_false(llfuse_log_enabled(LLFUSE_LOG_DEBUG));
	assert_true(llfuse_log_enabled(LLFUSE_LOG_INFO));
	llfuse_log(LLFUSE_LOG_DEBUG, "probe", "unseen");
	llfuse_log_set_level(LLFUSE_LOG_DEBUG);
	assert_true(llfuse_log_enabled(LLFUSE_LOG_DEBUG));
	llfuse_log(LLFUSE_LOG_DEBUG, "probe", "one");
	llfuse_log_set_level(LLFUSE_LOG_ERROR);
	assert_false(llfuse_log_enabled(LLFUSE_LOG_WARNING));
	llfuse_log(LLFUSE_LOG_WARNING, "probe", "unseen");
	llfuse_log(LLFUSE_LOG_ERROR, "probe", "two");
	llfuse_log_set_level(LLFUSE_LOG_INFO);
	capture_end(&capture);
	assert_match(next_write(&capture), "\\] one\n$");
	assert_match(next_write(&capture), "\\] two\n$");
	assert_string_equal(next_write(&capture), "");
	close(capture.fd);
}

static void errno_is_kept(void **state)
{
	int before = dup(STDERR_FILENO);

	(void)state;
	close(STDERR_FILENO); /* so that writing the line fails */
	errno = ENOTEMPTY;
	llfuse_log(LLFUSE_LOG_INFO, "probe", "nobody reads this");
	assert_int_equal(errno, ENOTEMPTY);
	dup2(before, STDERR_FILENO);
	close(before);
	errno = ENOTEMPTY;
	llfuse_log(LLFUSE_LOG_DEBUG, "probe", "dropped");
	assert_int_equal(errno, ENOTEMPTY);
}

static void a_long_message_is_cut_and_stays_one_line(void **state)
{
	struct capture capture;
	char *message = malloc(20001);
	size_t n;

	(void)state;
	memset(message, 'x', 20000);
	message[20000] = '\0';
	capture_begin(&capture);
	llfuse_log(LLFUSE_LOG_INFO, "probe", "%s", message);
	llfuse_complain("probe", "%s", message);
	capture_end(&capture);
	for (int i = 0; i < 2; i++) {
		const char *text = next_write(&capture);

		n = strlen(text);
		assert_in_range(n, 1000, 4096);
		assert_int_equal(text[n - 1], '\n');
		assert_int_equal(text[n - 2], 'x');
	}
	assert_string_equal(next_write(&capture), "");
	close(capture.fd);
	free(message);
}

enum {
	N_THREADS = 4,
	N_LINES = 10, /* all of them fit into the pipe */
};

static void *log_much(void *arg)
{
	const char *letter = arg;

	for (int i = 0; i < N_LINES; i++)
		llfuse_log(LLFUSE_LOG_INFO, letter, "%s%s%s%s line %d", letter, letter, letter, letter, i);
	return NULL;
}

static void threads_do_not_mix_their_lines(void **state)
{
	static char letters[N_THREADS][2] = {"a", "b", "c", "d"};
	int next[N_THREADS] = {0};
	pthread_t threads[N_THREADS];
	struct capture capture;
	const char *text;

	(void)state;
	capture_begin(&capture);
	for (int i = 0; i < N_THREADS; i++)
		pthread_create(&threads[i], NULL, log_much, letters[i]);
	for (int i = 0; i < N_THREADS; i++)
		pthread_join(threads[i], NULL);
	capture_end(&capture);
	while (*(text = next_write(&capture))) {
		assert_match(text, "^" STAMP "[^ ]+: \\[([abcd])\\] (aaaa|bbbb|cccc|dddd) line [0-9]+\n$");
		for (int i = 0; i < N_THREADS; i++)
			if (strchr(text, '[')[1] == letters[i][0])
				assert_int_equal(atoi(strstr(text, "line ") + 5), next[i]++);
	}
	for (int i = 0; i < N_THREADS; i++)
		assert_int_equal(next[i], N_LINES);
	close(capture.fd);
}

static void a_complaint_is_one_line(void **state)
{
	struct capture capture;

	(void)state;
	capture_begin(&capture);
	llfuse_complain("probe", "%s: %s", "/mnt", "no such thing");
	llfuse_complain("probe", "a\nb\n");
	llfuse_complain("probe", "%s", "");
	capture_end(&capture);
	assert_string_equal(next_write(&capture), "probe: /mnt: no such thing\n");
	assert_string_equal(next_write(&capture), "probe: a?b?\n");
	assert_string_equal(next_write(&capture), "probe: \n");
	assert_string_equal(next_write(&capture), "");
	close(capture.fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_line_has_time_thread_name_and_message),
		cmocka_unit_test(newlines_inside_a_message_do_not_make_two_lines),
		cmocka_unit_test(the_thread_is_one_word),
		cmocka_unit_test(levels_below_the_lowest_are_dropped),
		cmocka_unit_test(errno_is_kept),
		cmocka_unit_test(a_long_message_is_cut_and_stays_one_line),
		cmocka_unit_test(threads_do_not_mix_their_lines),
		cmocka_unit_test(a_complaint_is_one_line),
	};

	return cmocka_run_group_tests_name("llfuse_log", tests, NULL, NULL);
}
