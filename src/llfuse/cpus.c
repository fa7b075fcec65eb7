/* SPDX-License-Identifier: MIT */
/*
 * What libfuse looks up in /sys when it starts the rings, which is after a program may have left /sys behind (see
 * llfuse_config.mounted): asked for in time, and remembered.
 */
#include <pthread.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "internal.h"

/* libnuma's, which libfuse brings along.  It remembers which CPUs a node has once it was asked. */
extern int numa_available(void) __attribute__((weak));
extern int numa_node_of_cpu(int cpu) __attribute__((weak));

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int n_cpus;

static void count(void)
{
	long n = sysconf(_SC_NPROCESSORS_CONF);

	n_cpus = n > 0 ? (int)n : 1;
}

/* In place of glibc's, for libfuse: without /sys that one counts the CPUs that the process may run on, and the kernel does
 * not use rings that are not as many as the CPUs that there can be. */
int get_nprocs_conf(void)
{
	(void)pthread_once(&once, count);
	return n_cpus;
}

void ll_cpus_remember(void)
{
	int n = get_nprocs_conf();

	if (!numa_available || !numa_node_of_cpu || numa_available() < 0)
		return;
	for (int cpu = 0; cpu < n; cpu++)
		(void)numa_node_of_cpu(cpu);
}
