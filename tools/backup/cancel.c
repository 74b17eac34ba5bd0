// SPDX-License-Identifier: GPL-2.0-only
/*
 * A long job that is asked to end: by ^C, a hangup or SIGTERM. The signals are held back for good, so no system
 * call ends early, and are looked for between the steps.
 */
#include <signal.h>

#include "cancel.h"

static const int signals[] = { SIGHUP, SIGINT, SIGTERM };

/* Those of them that nobody ignores: nohup does. */
static sigset_t ours;
static volatile sig_atomic_t was_asked;

static void note(int sig)
{
	(void)sig;
	was_asked = true;
}

/** cancel_init() - from here on the job has to look */
void cancel_init(void)
{
	struct sigaction sa = { .sa_handler = note }, old;

	sigemptyset(&ours);
	for (unsigned int i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		if (sigaction(signals[i], NULL, &old) < 0 || old.sa_handler == SIG_IGN)
			continue;
		sigaction(signals[i], &sa, NULL);
		sigaddset(&ours, signals[i]);
	}
	sigprocmask(SIG_BLOCK, &ours, NULL);
	signal(SIGPIPE, SIG_IGN);
}

/** cancel_wake_up() - have the signals end a system call that may take long, or no longer */
void cancel_wake_up(bool on)
{
	sigprocmask(on ? SIG_UNBLOCK : SIG_BLOCK, &ours, NULL);
}

/** cancel_asked() - whether to end */
bool cancel_asked(void)
{
	sigset_t pending;

	if (was_asked || sigpending(&pending) < 0)
		return was_asked;
	for (unsigned int i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		if (sigismember(&ours, signals[i]) > 0 && sigismember(&pending, signals[i]) > 0)
			was_asked = true;
	return was_asked;
}

/** cancel_undo() - in a child, which is to take signals as others do */
void cancel_undo(void)
{
	for (unsigned int i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		if (sigismember(&ours, signals[i]) > 0)
			signal(signals[i], SIG_DFL);
	signal(SIGPIPE, SIG_DFL);
	sigprocmask(SIG_UNBLOCK, &ours, NULL);
}
