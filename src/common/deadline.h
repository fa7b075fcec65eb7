/* SPDX-License-Identifier: MIT */
/* Until when to wait, for what takes a point of time: sem_clockwait(3), pthread_cond_clockwait(3). */
#ifndef COMMON_DEADLINE_H
#define COMMON_DEADLINE_H

#include <stdbool.h>
#include <time.h>

/* When @ms have gone by, on CLOCK_MONOTONIC. */
static inline struct timespec deadline_after_ms(unsigned ms)
{
	struct timespec deadline;

	(void)clock_gettime(CLOCK_MONOTONIC, &deadline); /* fails only for an unknown clock */
	deadline.tv_sec += ms / 1000;
	deadline.tv_nsec += ms % 1000 * 1000000L;
	if (deadline.tv_nsec >= 1000000000L) {
		deadline.tv_nsec -= 1000000000L;
		deadline.tv_sec++;
	}
	return deadline;
}

static inline bool deadline_is_before(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec != b->tv_sec ? a->tv_sec < b->tv_sec : a->tv_nsec < b->tv_nsec;
}

static inline bool deadline_has_passed(const struct timespec *deadline)
{
	const struct timespec now = deadline_after_ms(0);

	return !deadline_is_before(&now, deadline);
}

#endif
