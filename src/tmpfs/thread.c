/* SPDX-License-Identifier: MIT */
/* Threads that a handler starts.  See thread.h. */
#include "thread.h"

#include <sched.h>
#include <unistd.h>

int thread_start(pthread_t *thread, void *(*run)(void *), void *arg)
{
	const struct sched_param param = {.sched_priority = 0};
	pthread_attr_t attr;
	cpu_set_t cpus;
	int err;

	err = -pthread_attr_init(&attr);
	if (err)
		return err;
	(void)pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED);
	(void)pthread_attr_setschedpolicy(&attr, SCHED_OTHER);
	(void)pthread_attr_setschedparam(&attr, &param);
	if (sched_getaffinity(getpid(), sizeof(cpus), &cpus) == 0) /* with more CPUs than fit, it stays */
		(void)pthread_attr_setaffinity_np(&attr, sizeof(cpus), &cpus);
	err = -pthread_create(thread, &attr, run, arg);
	(void)pthread_attr_destroy(&attr);
	return err;
}
