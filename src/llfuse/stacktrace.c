/* SPDX-License-Identifier: MIT */
/*
 * The stacks of all threads.  A thread can only look at its own stack, so each is sent a
 * signal whose handler does so and leaves the addresses here.
 */
#include <dirent.h>
#include <execinfo.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"

enum {
	MAX_FRAMES = 64,
	HANDLER_FRAMES = 2, /* the handler and the signal's return address */
	ANSWER_TIMEOUT_S = 2,
};

static struct {
	pthread_mutex_t one_at_a_time;
	_Atomic pid_t asked; /* which thread is to answer; 0: none, it is too late */
	sem_t answered;
	void *frames[MAX_FRAMES];
	int n_frames;
} trace = {.one_at_a_time = PTHREAD_MUTEX_INITIALIZER};

static int trace_signal(void)
{
	return SIGRTMAX - 2;
}

static void look(int signal)
{
	int saved_errno = errno;
	pid_t me = gettid();

	(void)signal;
	if (atomic_compare_exchange_strong(&trace.asked, &me, 0)) {
		trace.n_frames = backtrace(trace.frames, MAX_FRAMES);
		sem_post(&trace.answered);
	}
	errno = saved_errno;
}

static void log_frames(pid_t tid)
{
	char **symbols = backtrace_symbols(trace.frames, trace.n_frames);
	char name[32] = "", path[64];
	FILE *comm;

	snprintf(path, sizeof(path), "/proc/self/task/%d/comm", tid);
	comm = ll_proc_fopen(path);
	if (comm) {
		if (!fgets(name, sizeof(name), comm))
			name[0] = '\0';
		name[strcspn(name, "\n")] = '\0';
		fclose(comm);
	}
	llfuse_log(LLFUSE_LOG_INFO, "stacktrace", "thread %d (%s):", tid, name);
	for (int i = HANDLER_FRAMES; i < trace.n_frames; i++)
		llfuse_log(LLFUSE_LOG_INFO, "stacktrace", "  %s", symbols ? symbols[i] : "?");
	free(symbols);
}

/* Waits for the thread's own answer; one that is stuck in the kernel gives none, which the
 * deadline turns into a line that says so. */
static void log_thread(pid_t tid)
{
	struct timespec deadline;
	pid_t asked = tid;
	int waited;

	atomic_store(&trace.asked, tid);
	if (syscall(SYS_tgkill, getpid(), tid, trace_signal()) < 0) {
		atomic_store(&trace.asked, 0);
		return; /* it has ended meanwhile */
	}
	clock_gettime(CLOCK_REALTIME, &deadline);
	deadline.tv_sec += ANSWER_TIMEOUT_S;
	do
		waited = sem_timedwait(&trace.answered, &deadline);
	while (waited < 0 && errno == EINTR);
	if (waited < 0 && atomic_compare_exchange_strong(&trace.asked, &asked, 0)) {
		llfuse_log(LLFUSE_LOG_INFO, "stacktrace", "thread %d: does not answer", tid);
		return;
	}
	if (waited < 0) /* it began to answer at the last moment */
		while (sem_wait(&trace.answered) < 0)
			;
	log_frames(tid);
}

void llfuse_stacktrace(void)
{
	struct sigaction action = {.sa_handler = look, .sa_flags = SA_RESTART};
	void *first[1];
	DIR *tasks;
	int fd;

	pthread_mutex_lock(&trace.one_at_a_time);
	(void)backtrace(first, 1); /* loads what it needs, which a signal handler must not do */
	sem_init(&trace.answered, 0, 0);
	sigaction(trace_signal(), &action, NULL);
	fd = ll_proc_open("/proc/self/task", O_RDONLY | O_DIRECTORY);
	tasks = fd >= 0 ? fdopendir(fd) : NULL;
	for (struct dirent *task; tasks && (task = readdir(tasks));)
		if (task->d_name[0] != '.')
			log_thread((pid_t)atoi(task->d_name));
	if (tasks)
		closedir(tasks);
	else if (fd >= 0)
		close(fd);
	llfuse_log(LLFUSE_LOG_INFO, "stacktrace", "end");
	/* The handler stays: a thread that did not answer may get the signal later. */
	sem_destroy(&trace.answered);
	pthread_mutex_unlock(&trace.one_at_a_time);
}
