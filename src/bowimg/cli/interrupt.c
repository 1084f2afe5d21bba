/* SPDX-License-Identifier: MIT */
#include "bowimg/cli/interrupt.h"

#include <signal.h>

/* A shell adds the number of the signal that ended a process to this. */
enum { KILLED = 128 };

static const int caught[] = {SIGINT, SIGTERM, SIGHUP};
#define N_CAUGHT (sizeof(caught) / sizeof(caught[0]))

/* A handler can reach nothing else. */
static volatile sig_atomic_t came;
static bool armed;

static void on_signal(int signo)
{
	came = signo;
	for (size_t i = 0; i < N_CAUGHT; i++)
		signal(caught[i], SIG_DFL);
}

void bow_interrupt_catch(void)
{
	/* Reads and writes go on where they were: nothing fails because a signal came. */
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART}, old;

	for (size_t i = 0; i < N_CAUGHT; i++)
		if (sigaction(caught[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
			sigaction(caught[i], &action, NULL);
}

bool bow_interrupt_came(void *ctx)
{
	(void)ctx;
	return came != 0;
}

int bow_interrupt_arm(void)
{
	armed = true;
	return KILLED + came;
}

void bow_interrupt_die(void)
{
	if (!armed)
		return;
	signal(came, SIG_DFL);
	raise(came);
}
