/* SPDX-License-Identifier: MIT */
/*
 * Signals.  Those that we act on are blocked in all threads and taken by one thread through a
 * signalfd, so that what they cause is ordinary code.  Signals that report a failure of the program are
 * left to their default action.
 */
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"

static const int all_signals[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2};

static bool is_ignored(int signal)
{
	struct sigaction action;

	return !sigaction(signal, NULL, &action) && action.sa_handler == SIG_IGN;
}

/* A blocked signal is delivered to a signalfd even where it is ignored, so that those
 * which nohup(1) or a shell's background job ignore are left out. */
static void signals_to_take(sigset_t *set)
{
	sigemptyset(set);
	for (size_t i = 0; i < ARRAY_SIZE(all_signals); i++)
		if (!is_ignored(all_signals[i]))
			sigaddset(set, all_signals[i]);
}

void ll_signals_block(struct llfuse_session *session)
{
	struct sigaction action;
	sigset_t set;

	signals_to_take(&set);
	pthread_sigmask(SIG_BLOCK, &set, &session->saved_mask);
	/* A log that nobody reads any more must not end the mount. */
	session->was_sigpipe_default = !sigaction(SIGPIPE, NULL, &action) && action.sa_handler == SIG_DFL;
	if (session->was_sigpipe_default)
		(void)signal(SIGPIPE, SIG_IGN);
}

/* A second Ctrl-C that came while the first one was acted on has been heard too. */
static void drop_pending(void)
{
	const struct timespec at_once = {0};
	sigset_t set;

	signals_to_take(&set);
	while (sigtimedwait(&set, NULL, &at_once) > 0)
		;
}

void ll_signals_restore(struct llfuse_session *session)
{
	drop_pending();
	if (session->was_sigpipe_default)
		(void)signal(SIGPIPE, SIG_DFL);
	pthread_sigmask(SIG_SETMASK, &session->saved_mask, NULL);
}

static void act_on(struct llfuse_session *session, uint32_t signal)
{
	switch (signal) {
	case SIGUSR1:
		llfuse_stats_log(session);
		break;
	case SIGUSR2:
		llfuse_stacktrace();
		break;
	default:
		llfuse_log(LLFUSE_LOG_DEBUG, session->name, "signal %s", sigabbrev_np((int)signal));
		llfuse_stop(session);
	}
}

static void *take_signals(void *arg)
{
	struct signal_thread *self = arg;
	struct pollfd fds[] = {{.fd = self->stop_fd, .events = POLLIN}, {.fd = self->signal_fd, .events = POLLIN}};

	for (;;) {
		struct signalfd_siginfo info;

		if (poll(fds, ARRAY_SIZE(fds), -1) < 0)
			continue; /* EINTR */
		if (fds[0].revents)
			return NULL;
		if (read(self->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
			act_on(self->session, info.ssi_signo);
	}
}

int ll_signals_start(struct signal_thread *thread, struct llfuse_session *session)
{
	sigset_t set;
	int err;

	signals_to_take(&set);
	thread->session = session;
	thread->stop_fd = eventfd(0, EFD_CLOEXEC);
	thread->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (thread->stop_fd < 0 || thread->signal_fd < 0) {
		err = -errno;
		goto close;
	}
	err = -pthread_create(&thread->thread, NULL, take_signals, thread);
	if (err)
		goto close;
	(void)pthread_setname_np(thread->thread, "signals");
	return 0;
close:
	if (thread->stop_fd >= 0)
		close(thread->stop_fd);
	if (thread->signal_fd >= 0)
		close(thread->signal_fd);
	return err;
}

void ll_signals_stop(struct signal_thread *thread)
{
	uint64_t one = 1;

	(void)!write(thread->stop_fd, &one, sizeof(one)); /* an eventfd at 0 takes it */
	pthread_join(thread->thread, NULL);
	close(thread->stop_fd);
	close(thread->signal_fd);
}
