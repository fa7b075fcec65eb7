/* SPDX-License-Identifier: MIT */
/* Threads that a handler starts. */
#ifndef TMPFS_THREAD_H
#define TMPFS_THREAD_H

#include <pthread.h>

/* As pthread_create(3), but the thread runs as the main thread does: who starts it may yield the CPU to all others, and be
 * bound to one (sched(7)), and it is not to.  Returns 0 or -errno. */
int thread_start(pthread_t *thread, void *(*run)(void *), void *arg);

#endif
