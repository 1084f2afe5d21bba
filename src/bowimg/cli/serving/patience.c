/* SPDX-License-Identifier: MIT */
/* In a thread, since an unmount is one call of the kernel, in which no signal is handled. */
#include "bowimg/cli/serving/patience.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "bowimg/cli/waiting.h"

static void *wait_and_tell(void *arg)
{
	struct bow_patience *p = arg;
	struct timespec until;
	int ret = 0;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += BOWIMG_SILENT_S;
	pthread_mutex_lock(&p->lock);
	while (!p->over && ret != ETIMEDOUT)
		ret = pthread_cond_timedwait(&p->wake, &p->lock, &until);
	bool tell = !p->over;
	pthread_mutex_unlock(&p->lock);
	if (tell)
		bow_cli_waiting(p->cli, p->text);
	return NULL;
}

void bow_patience_begin(struct bow_patience *p, struct bow_cli *cli, const struct bow_session *e)
{
	p->cli = cli;
	p->over = false;
	snprintf(p->text, sizeof(p->text), "waiting for process %d, which serves %s", (int)e->pid,
		 e->image);
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->wake, NULL);
	/* Without a thread nothing is said, and nothing else is lost. */
	p->runs = pthread_create(&p->thread, NULL, wait_and_tell, p) == 0;
}

void bow_patience_end(struct bow_patience *p)
{
	pthread_mutex_lock(&p->lock);
	p->over = true;
	pthread_cond_signal(&p->wake);
	pthread_mutex_unlock(&p->lock);
	if (p->runs)
		pthread_join(p->thread, NULL);
	pthread_cond_destroy(&p->wake);
	pthread_mutex_destroy(&p->lock);
}
