/* SPDX-License-Identifier: MIT */
/*
 * Signals.  A handler, the same for all sessions of the process, writes which signal came
 * into a pipe, and one thread acts on it with ordinary code.  Signals that the program ignores or
 * handles itself are left to it, and those that report a failure of the program to their default action.
 * In a process that the program forked the handler does what would have been done without us.
 *
 * The pipe, once made, stays for the life of the process: a handler that is under way in some thread
 * while the last session closes must not write to a descriptor that is somebody else's by then.
 */
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

static const int our_signals[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2};

/* A log that nobody reads any more, and a file that may not be so long (setrlimit(2)), must not end the mount: write(2) tells. */
static const int ignored_signals[] = {SIGPIPE, SIGXFSZ};

enum { STOP_THREAD = 0 }; /* no signal has this number */

static struct {
	pthread_mutex_t lock;
	/* guarded by lock */
	struct llfuse_session *sessions;
	bool has_pipe;
	bool is_taken[ARRAY_SIZE(our_signals)];
	bool is_ignored[ARRAY_SIZE(ignored_signals)];
	/* fixed once has_pipe */
	int read_fd, write_fd;

	_Atomic pid_t owner; /* the process that the handlers are for */

	pthread_mutex_t running_lock; /* before lock; the thread never takes it */
	/* guarded by running_lock */
	unsigned n_running; /* sessions in llfuse_main() */
	pthread_t thread; /* while n_running */
} signals = {.lock = PTHREAD_MUTEX_INITIALIZER, .running_lock = PTHREAD_MUTEX_INITIALIZER};

static void note(int number)
{
	int saved_errno = errno;
	unsigned char byte = (unsigned char)number;

	if (getpid() == atomic_load(&signals.owner)) {
		(void)!write(signals.write_fd, &byte, 1); /* a full pipe has enough to act on */
	} else {
		/* A child that the program forked has our handler and our pipe, but no session. */
		(void)signal(number, SIG_DFL);
		(void)raise(number); /* comes when the handler returns */
	}
	errno = saved_errno;
}

/* Returns whether the signal had its default action before. */
static bool take(int signal, void (*handler)(int))
{
	struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART}, before;

	if (sigaction(signal, NULL, &before) || before.sa_handler != SIG_DFL)
		return false;
	return sigaction(signal, &action, NULL) == 0;
}

/* Unless the program has said since what it wants. */
static void give_back(int number, void (*handler)(int))
{
	struct sigaction now;

	if (sigaction(number, NULL, &now) == 0 && now.sa_handler == handler)
		(void)signal(number, SIG_DFL);
}

/* GCC's ThreadSanitizer puts off a signal until its thread waits, and loses it where it comes while memory is made for that: at
 * the first wait of a thread, or before if that asks for a signal to be sent. */
static void keep_signals_of_sanitizer(void)
{
#ifdef __SANITIZE_THREAD__
	(void)kill(getpid(), 0);
#endif
}

static void take_signals_locked(void)
{
	keep_signals_of_sanitizer();
	atomic_store(&signals.owner, getpid());
	for (size_t i = 0; i < ARRAY_SIZE(our_signals); i++)
		signals.is_taken[i] = take(our_signals[i], note);
	for (size_t i = 0; i < ARRAY_SIZE(ignored_signals); i++)
		signals.is_ignored[i] = take(ignored_signals[i], SIG_IGN);
}

static void restore_signals_locked(void)
{
	unsigned char heard;

	for (size_t i = 0; i < ARRAY_SIZE(our_signals); i++)
		if (signals.is_taken[i])
			give_back(our_signals[i], note);
	for (size_t i = 0; i < ARRAY_SIZE(ignored_signals); i++)
		if (signals.is_ignored[i])
			give_back(ignored_signals[i], SIG_IGN);
	/* A second Ctrl-C that came while the first one was acted on is not for the next session. */
	while (read(signals.read_fd, &heard, 1) == 1)
		;
}

/* The reading end does not wait, so that what is left can be dropped; the thread polls. */
static int make_pipe_locked(void)
{
	int fds[2];

	if (signals.has_pipe)
		return 0;
	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	signals.read_fd = fds[0];
	signals.write_fd = fds[1];
	signals.has_pipe = true;
	return 0;
}

int ll_signals_enter(struct llfuse_session *session)
{
	int err;

	pthread_mutex_lock(&signals.lock);
	err = make_pipe_locked();
	if (!err) {
		if (!signals.sessions)
			take_signals_locked();
		session->next_for_signals = signals.sessions;
		signals.sessions = session;
	}
	pthread_mutex_unlock(&signals.lock);
	return err;
}

void ll_signals_leave(struct llfuse_session *session)
{
	struct llfuse_session **at = &signals.sessions;

	pthread_mutex_lock(&signals.lock);
	while (*at && *at != session)
		at = &(*at)->next_for_signals;
	if (*at) {
		*at = session->next_for_signals;
		if (!signals.sessions)
			restore_signals_locked();
	}
	pthread_mutex_unlock(&signals.lock);
}

static void act_on_locked(int signal)
{
	if (signal == SIGUSR2) {
		llfuse_stacktrace();
		return;
	}
	for (struct llfuse_session *session = signals.sessions; session; session = session->next_for_signals) {
		if (signal == SIGUSR1) {
			llfuse_stats_log(session);
			continue;
		}
		llfuse_log(LLFUSE_LOG_DEBUG, session->name, "signal %s", sigabbrev_np(signal));
		/* A terminal that goes away may say so twice. */
		ll_stopper_begin(session, signal == SIGHUP);
	}
}

static void *act_on_signals(void *arg)
{
	struct pollfd pipe = {.fd = signals.read_fd, .events = POLLIN};
	unsigned char number;

	(void)arg;
	(void)pthread_setname_np(pthread_self(), "signals");
	for (;;) {
		(void)poll(&pipe, 1, -1); /* if it fails, so does the read */
		if (read(signals.read_fd, &number, 1) != 1)
			continue;
		if (number == STOP_THREAD)
			return NULL;
		pthread_mutex_lock(&signals.lock);
		act_on_locked(number);
		pthread_mutex_unlock(&signals.lock);
	}
}

int ll_signals_start(void)
{
	int err = 0;

	pthread_mutex_lock(&signals.running_lock);
	atomic_store(&signals.owner, getpid()); /* who made the session may have forked to go to the background */
	if (!signals.n_running)
		err = -pthread_create(&signals.thread, NULL, act_on_signals, NULL);
	if (!err)
		signals.n_running++;
	pthread_mutex_unlock(&signals.running_lock);
	return err;
}

void ll_signals_stop(void)
{
	const unsigned char stop = STOP_THREAD;

	pthread_mutex_lock(&signals.running_lock);
	if (--signals.n_running == 0) {
		while (write(signals.write_fd, &stop, 1) != 1)
			sched_yield(); /* the thread empties a full pipe */
		pthread_join(signals.thread, NULL);
	}
	pthread_mutex_unlock(&signals.running_lock);
}

/* For threads that answer requests: a sleeping system call of a handler is not to be cut short. */
void ll_signals_block(void)
{
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(our_signals); i++)
		sigaddset(&set, our_signals[i]);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
}

int ll_thread_start(pthread_t *thread, void *(*run)(void *), void *arg)
{
	sigset_t before;
	int err;

	(void)pthread_sigmask(SIG_BLOCK, NULL, &before);
	ll_signals_block(); /* is inherited */
	err = -pthread_create(thread, NULL, run, arg);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return err;
}
