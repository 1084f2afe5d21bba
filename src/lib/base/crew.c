/* SPDX-License-Identifier: MIT */
#include "lib/base/bytes.h"
#include "lib/base/crew.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

/* Work that somebody has called the crew to. */
struct call {
	struct call *next;
	bow_crew_work *work;
	void *ctx;
	unsigned wanted, running; /* who may still come; who is at it, besides the caller */
	int result;
	struct bowimg_error err; /* of the first failure */
	atomic_bool stop;
};

/* Sanitizers need more. */
#ifndef BOW_CREW_STACK_BYTES
#define BOW_CREW_STACK_BYTES (512u << 10)
#endif

struct member {
	struct bow_crew *crew;
	unsigned number;
	pthread_t thread;
};

struct bow_crew {
	pthread_mutex_t lock; /* of all below, and of the calls but for `stop` */
	pthread_cond_t called, left;
	struct call *calls; /* that want somebody */
	bool over;
	pid_t pid;  /* whose threads they are: a process that was forked has none of them */
	unsigned n; /* members: numbers 1 to n */
	struct member members[BOW_CREW_MAX];
};

static void fail(struct bow_crew *crew, struct call *call, int rc, const struct bowimg_error *err)
{
	if (crew)
		pthread_mutex_lock(&crew->lock);
	if (!call->result) {
		call->result = rc;
		call->err = *err;
	}
	if (crew)
		pthread_mutex_unlock(&crew->lock);
	atomic_store(&call->stop, true);
}

static void work_at(struct bow_crew *crew, struct call *call, unsigned number)
{
	struct bowimg_error err;
	int rc;

	bow_err_clear(&err);
	rc = call->work(call->ctx, number, &call->stop, &err);
	if (rc)
		fail(crew, call, rc, &err);
}

/* With the lock held: nobody else comes to it. */
static void take_off(struct bow_crew *crew, const struct call *call)
{
	struct call **at = &crew->calls;

	while (*at && *at != call)
		at = &(*at)->next;
	if (*at)
		*at = call->next;
}

/* With the lock held: go to the oldest call; the lock is dropped meanwhile. */
static void answer(struct bow_crew *crew, unsigned number)
{
	struct call *call = crew->calls;

	call->running++;
	if (!--call->wanted)
		take_off(crew, call);
	pthread_mutex_unlock(&crew->lock);
	work_at(crew, call, number);
	pthread_mutex_lock(&crew->lock);
	if (!--call->running)
		pthread_cond_broadcast(&crew->left);
}

static void *member_main(void *arg)
{
	const struct member *m = arg;
	struct bow_crew *crew = m->crew;

	pthread_mutex_lock(&crew->lock);
	while (!crew->over) {
		if (crew->calls)
			answer(crew, m->number);
		else
			pthread_cond_wait(&crew->called, &crew->lock);
	}
	pthread_mutex_unlock(&crew->lock);
	return NULL;
}

int bow_crew_thread(pthread_t *out, void *(*thread_main)(void *arg), void *arg)
{
	pthread_attr_t attr;
	sigset_t all, old;
	int rc;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, BOW_CREW_STACK_BYTES);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(out, &attr, thread_main, arg);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	return -rc;
}

static void begin(struct bow_crew *crew, unsigned n)
{
	for (; crew->n < n; crew->n++) {
		struct member *m = &crew->members[crew->n];

		*m = (struct member){.crew = crew, .number = crew->n + 1};
		if (bow_crew_thread(&m->thread, member_main, m))
			break;
	}
}

struct bow_crew *bow_crew_new(unsigned n)
{
	struct bow_crew *crew = calloc(1, sizeof(*crew));

	if (!crew)
		return NULL;
	pthread_mutex_init(&crew->lock, NULL);
	pthread_cond_init(&crew->called, NULL);
	pthread_cond_init(&crew->left, NULL);
	crew->pid = getpid();
	begin(crew, bow_crew_size(n) - 1);
	return crew;
}

static void end(struct bow_crew *crew)
{
	pthread_mutex_lock(&crew->lock);
	crew->over = true;
	pthread_cond_broadcast(&crew->called);
	pthread_mutex_unlock(&crew->lock);
	for (unsigned i = 0; i < crew->n; i++)
		pthread_join(crew->members[i].thread, NULL);
	pthread_cond_destroy(&crew->called);
	pthread_cond_destroy(&crew->left);
	pthread_mutex_destroy(&crew->lock);
}

void bow_crew_free(struct bow_crew *crew)
{
	if (crew && crew->pid == getpid())
		end(crew);
	free(crew);
}

/* Calls are answered in the order in which they came. */
static void call_for(struct bow_crew *crew, struct call *call)
{
	struct call **end = &crew->calls;

	pthread_mutex_lock(&crew->lock);
	while (*end)
		end = &(*end)->next;
	*end = call;
	pthread_cond_broadcast(&crew->called);
	pthread_mutex_unlock(&crew->lock);
}

static void call_off(struct bow_crew *crew, struct call *call)
{
	pthread_mutex_lock(&crew->lock);
	take_off(crew, call);
	while (call->running)
		pthread_cond_wait(&crew->left, &crew->lock);
	pthread_mutex_unlock(&crew->lock);
}

int bow_crew_do(struct bow_crew *crew, unsigned n, bow_crew_work *work, void *ctx,
		struct bowimg_error *err)
{
	struct call call = {.work = work, .ctx = ctx, .wanted = n > 1 ? n - 1 : 0};
	bool called;

	atomic_init(&call.stop, false);
	/* Nobody is there after a fork, and who held the lock then is not known. */
	if (crew && crew->pid != getpid())
		crew = NULL;
	called = crew && crew->n && call.wanted;
	if (called)
		call_for(crew, &call);
	work_at(crew, &call, 0);
	if (called)
		call_off(crew, &call);
	if (call.result && err)
		*err = call.err;
	return call.result;
}

int bow_crew_run(unsigned n, bow_crew_work *work, void *ctx, struct bowimg_error *err)
{
	struct bow_crew *crew = bow_crew_new(n);
	int rc = bow_crew_do(crew, n, work, ctx, err);

	bow_crew_free(crew);
	return rc;
}

/* ---- piece by piece -------------------------------------------------------------- */

struct pieces {
	bow_crew_piece *piece;
	void *ctx;
	size_t n;
	atomic_size_t next;
};

static int do_pieces(void *ctx, unsigned number, const atomic_bool *stop, struct bowimg_error *err)
{
	struct pieces *p = ctx;
	size_t i;
	int rc = 0;

	while (!rc && !atomic_load(stop) && (i = atomic_fetch_add(&p->next, 1)) < p->n)
		rc = p->piece(p->ctx, number, i, err);
	return rc;
}

int bow_crew_each(unsigned n, size_t pieces, bow_crew_piece *piece, void *ctx,
		  struct bowimg_error *err)
{
	struct pieces p = {.piece = piece, .ctx = ctx, .n = pieces};
	unsigned threads = (unsigned)bow_min(bow_crew_size(n), bow_max(pieces, 1));

	return bow_crew_run(threads, do_pieces, &p, err);
}
