/* SPDX-License-Identifier: MIT */
/* Reading the counters: the sum over the threads that keep them (worker.c). */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "internal.h"

static const char *const op_names[LLFUSE_OP_COUNT] = {
	[LLFUSE_OP_LOOKUP] = "lookup",
	[LLFUSE_OP_FORGET] = "forget",
	[LLFUSE_OP_GETATTR] = "getattr",
	[LLFUSE_OP_SETATTR] = "setattr",
	[LLFUSE_OP_READLINK] = "readlink",
	[LLFUSE_OP_MKNOD] = "mknod",
	[LLFUSE_OP_MKDIR] = "mkdir",
	[LLFUSE_OP_UNLINK] = "unlink",
	[LLFUSE_OP_RMDIR] = "rmdir",
	[LLFUSE_OP_SYMLINK] = "symlink",
	[LLFUSE_OP_RENAME] = "rename",
	[LLFUSE_OP_LINK] = "link",
	[LLFUSE_OP_OPEN] = "open",
	[LLFUSE_OP_READ] = "read",
	[LLFUSE_OP_WRITE] = "write",
	[LLFUSE_OP_FLUSH] = "flush",
	[LLFUSE_OP_RELEASE] = "release",
	[LLFUSE_OP_FSYNC] = "fsync",
	[LLFUSE_OP_OPENDIR] = "opendir",
	[LLFUSE_OP_READDIR] = "readdir",
	[LLFUSE_OP_READDIRPLUS] = "readdirplus",
	[LLFUSE_OP_RELEASEDIR] = "releasedir",
	[LLFUSE_OP_FSYNCDIR] = "fsyncdir",
	[LLFUSE_OP_STATFS] = "statfs",
	[LLFUSE_OP_SETXATTR] = "setxattr",
	[LLFUSE_OP_GETXATTR] = "getxattr",
	[LLFUSE_OP_LISTXATTR] = "listxattr",
	[LLFUSE_OP_REMOVEXATTR] = "removexattr",
	[LLFUSE_OP_ACCESS] = "access",
	[LLFUSE_OP_CREATE] = "create",
	[LLFUSE_OP_FALLOCATE] = "fallocate",
	[LLFUSE_OP_LSEEK] = "lseek",
	[LLFUSE_OP_COPY_FILE_RANGE] = "copy_file_range",
	[LLFUSE_OP_IOCTL] = "ioctl",
	[LLFUSE_OP_POLL] = "poll",
	[LLFUSE_OP_GETLK] = "getlk",
	[LLFUSE_OP_SETLK] = "setlk",
	[LLFUSE_OP_FLOCK] = "flock",
	[LLFUSE_OP_TMPFILE] = "tmpfile",
	[LLFUSE_OP_STATX] = "statx",
};

const char *llfuse_op_name(enum llfuse_op op)
{
	return (unsigned)op < LLFUSE_OP_COUNT ? op_names[op] : "unknown";
}

static uint64_t value_of(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

static void add_worker(struct llfuse_stats *stats, const struct worker *worker)
{
	for (size_t op = 0; op < LLFUSE_OP_COUNT; op++) {
		stats->op[op].count += value_of(&worker->op[op].count);
		stats->op[op].errors += value_of(&worker->op[op].errors);
		for (size_t i = 0; i < LLFUSE_LATENCY_BUCKETS; i++)
			stats->op[op].latency[i] += value_of(&worker->op[op].latency[i]);
	}
}

void llfuse_stats_read(const struct llfuse_session *session, struct llfuse_stats *stats)
{
	pthread_mutex_t *lock = (pthread_mutex_t *)&session->workers_lock;

	memset(stats, 0, sizeof(*stats));
	pthread_mutex_lock(lock);
	for (const struct worker *worker = session->workers; worker; worker = worker->next)
		add_worker(stats, worker);
	pthread_mutex_unlock(lock);
}

/* "1024ns:17 2048ns:3": how many took at least so long, and less than twice that. */
static void format_latency(const struct llfuse_op_stats *op, char *line, size_t size)
{
	size_t used = 0;

	line[0] = '\0';
	for (size_t i = 0; i < LLFUSE_LATENCY_BUCKETS; i++) {
		int n;

		if (!op->latency[i])
			continue;
		n = snprintf(line + used, size - used, " %" PRIu64 "ns:%" PRIu64, UINT64_C(1) << i, op->latency[i]);
		if (n < 0 || (size_t)n >= size - used)
			break;
		used += (size_t)n;
	}
}

void llfuse_stats_log(const struct llfuse_session *session)
{
	struct llfuse_stats stats;
	char latency[1024];

	llfuse_stats_read(session, &stats);
	for (size_t i = 0; i < LLFUSE_OP_COUNT; i++) {
		const struct llfuse_op_stats *op = &stats.op[i];

		if (!op->count)
			continue;
		format_latency(op, latency, sizeof(latency));
		llfuse_log(LLFUSE_LOG_INFO, session->name, "stats: %s count=%" PRIu64 " errors=%" PRIu64 " latency%s",
			   op_names[i], op->count, op->errors, latency);
	}
	llfuse_log(LLFUSE_LOG_INFO, session->name, "stats: end");
}
