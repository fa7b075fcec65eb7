/* SPDX-License-Identifier: MIT */
/* The log: our lines and libfuse's, to stderr or syslog. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"

enum { LINE_MAX_BYTES = 4096 };

static _Atomic int lowest_level = LLFUSE_LOG_INFO;
static _Atomic bool is_syslog;

static _Thread_local struct {
	bool is_held;
	bool is_demoted;
	char first_error[256];
} libfuse_log;

bool llfuse_log_enabled(enum llfuse_log_level level)
{
	return (int)level >= atomic_load_explicit(&lowest_level, memory_order_relaxed);
}

void llfuse_log_set_level(enum llfuse_log_level level)
{
	atomic_store_explicit(&lowest_level, (int)level, memory_order_relaxed);
}

void ll_log_prepare(const char *ident, bool to_syslog)
{
	tzset();
	if (to_syslog)
		openlog(ident, LOG_PID | LOG_NDELAY, LOG_DAEMON);
}

void ll_log_to_syslog(void)
{
	atomic_store(&is_syslog, true);
}

static int syslog_priority(enum llfuse_log_level level)
{
	switch (level) {
	case LLFUSE_LOG_DEBUG:
		return LOG_DEBUG;
	case LLFUSE_LOG_INFO:
		return LOG_INFO;
	case LLFUSE_LOG_WARNING:
		return LOG_WARNING;
	case LLFUSE_LOG_ERROR:
		break;
	}
	return LOG_ERR;
}

static void thread_name(char *name, size_t size)
{
	if (gettid() == getpid())
		snprintf(name, size, "main");
	else if (pthread_getname_np(pthread_self(), name, size))
		snprintf(name, size, "thread");
	for (char *c = name; *c; c++)
		if (*c == ' ')
			*c = '_';
}

static size_t format_prefix(char *line, size_t size, const char *name)
{
	struct timespec now;
	struct tm local;
	char stamp[32], thread[32];
	int n;

	clock_gettime(CLOCK_REALTIME, &now);
	localtime_r(&now.tv_sec, &local);
	strftime(stamp, sizeof(stamp), "%Y-%m-%d %H:%M:%S", &local);
	thread_name(thread, sizeof(thread));
	n = snprintf(line, size, "%s.%03ld %s: [%s] ", stamp, now.tv_nsec / 1000000, thread, name);
	return n > 0 && (size_t)n < size ? (size_t)n : 0;
}

/* One write for one line, so that the lines of several threads do not mix. */
static void write_line(char *line, size_t n)
{
	line[n++] = '\n';
	while (n && write(STDERR_FILENO, line, n) < 0 && errno == EINTR)
		;
}

/* Whatever the names in it hold. */
static void keep_one_line(char *text, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (text[i] == '\n')
			text[i] = '?';
}

static void log_message(enum llfuse_log_level level, const char *name, const char *fmt, va_list args)
{
	int saved_errno = errno;
	char line[LINE_MAX_BYTES];
	size_t prefix = 0, n;

	if (!atomic_load(&is_syslog))
		prefix = format_prefix(line, sizeof(line) - 1, name);
	(void)vsnprintf(line + prefix, sizeof(line) - 1 - prefix, fmt, args);
	n = prefix + strlen(line + prefix);
	while (n > prefix && line[n - 1] == '\n')
		line[--n] = '\0';
	keep_one_line(line + prefix, n - prefix);
	if (atomic_load(&is_syslog))
		syslog(syslog_priority(level), "[%s] %s", name, line);
	else
		write_line(line, n);
	errno = saved_errno;
}

void llfuse_log(enum llfuse_log_level level, const char *name, const char *fmt, ...)
{
	va_list args;

	if (!llfuse_log_enabled(level))
		return;
	va_start(args, fmt);
	log_message(level, name, fmt, args);
	va_end(args);
}

void llfuse_complain(const char *program, const char *fmt, ...)
{
	char line[LINE_MAX_BYTES];
	va_list args;
	int prefix;
	size_t n;

	prefix = snprintf(line, sizeof(line) - 1, "%s: ", program);
	if (prefix < 0 || (size_t)prefix >= sizeof(line) - 1)
		prefix = 0;
	va_start(args, fmt);
	(void)vsnprintf(line + prefix, sizeof(line) - 1 - (size_t)prefix, fmt, args);
	va_end(args);
	n = strlen(line);
	keep_one_line(line, n);
	write_line(line, n);
}

static enum llfuse_log_level level_of(enum fuse_log_level level)
{
	if (level >= FUSE_LOG_DEBUG)
		return LLFUSE_LOG_DEBUG;
	if (level >= FUSE_LOG_NOTICE)
		return LLFUSE_LOG_INFO;
	return level >= FUSE_LOG_WARNING ? LLFUSE_LOG_WARNING : LLFUSE_LOG_ERROR;
}

static void remember_error(const char *fmt, va_list args)
{
	char *message = libfuse_log.first_error;

	if (message[0])
		return;
	(void)vsnprintf(message, sizeof(libfuse_log.first_error), fmt, args);
	message[strcspn(message, "\n")] = '\0';
	if (!strncmp(message, "fuse: ", 6))
		memmove(message, message + 6, strlen(message + 6) + 1);
}

/* libfuse's request trace is logged as debug, but is asked for by a switch of its own
 * (llfuse_config.debug_fuse), without which libfuse makes no such message. */
static void from_libfuse(enum fuse_log_level fuse_level, const char *fmt, va_list args)
{
	enum llfuse_log_level level = level_of(fuse_level);

	if (libfuse_log.is_held) {
		if (level == LLFUSE_LOG_ERROR)
			remember_error(fmt, args);
		return;
	}
	if (libfuse_log.is_demoted && !llfuse_log_enabled(LLFUSE_LOG_DEBUG))
		return;
	log_message(level, "libfuse", fmt, args);
}

static void capture_libfuse(void)
{
	fuse_set_log_func(from_libfuse);
}

/* libfuse reads it without a lock: once is before any session that another thread has. */
void ll_log_capture_libfuse(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	(void)pthread_once(&once, capture_libfuse);
}

void ll_log_hold(bool is_held)
{
	if (is_held)
		libfuse_log.first_error[0] = '\0';
	libfuse_log.is_held = is_held;
}

const char *ll_log_held_error(void)
{
	return libfuse_log.first_error;
}

void ll_log_demote(bool is_demoted)
{
	libfuse_log.is_demoted = is_demoted;
}
