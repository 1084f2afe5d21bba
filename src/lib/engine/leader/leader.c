/* SPDX-License-Identifier: MIT */
/*
 * Who leads the log. Requests queue their entries. A thread that finds no leader becomes it: it
 * takes the whole queue, has it written with one barrier behind it (../log.c), and wakes the
 * others. So all requests that came meanwhile share one barrier. One of those that came later leads
 * the next round.
 *
 * Each sleeps once: a round is told at its own gate, which needs no lock to get through, so that
 * all of it wakes up by one call and nobody in the way of another.
 */
#include <limits.h>
#include <string.h>

#include "lib/engine/engine.h"

/*
 * With the lock held: choose the next leader. Who asked for it by bow_engine_lead() comes before
 * the queue, which it may have to make room for. Returns where one of the queue is to be woken for
 * it.
 */
static struct bow_gate *pass_on(struct bow_engine *img)
{
	if (img->want_to_lead) {
		img->passed_on = true;
		pthread_cond_signal(&img->stepped_down);
	} else if (img->queue) {
		img->passed_to_queue = true;
		return &img->gates[img->round % 2];
	} else {
		img->leading = false;
	}
	return NULL;
}

void bow_engine_lead(struct bow_engine *img)
{
	pthread_mutex_lock(&img->lock);
	if (img->leading) {
		img->want_to_lead++;
		while (!img->passed_on)
			pthread_cond_wait(&img->stepped_down, &img->lock);
		img->want_to_lead--;
		img->passed_on = false;
	}
	img->leading = true;
	pthread_mutex_unlock(&img->lock);
}

void bow_engine_step_down(struct bow_engine *img)
{
	struct bow_gate *next;

	pthread_mutex_lock(&img->lock);
	next = pass_on(img);
	pthread_mutex_unlock(&img->lock);
	if (next)
		bow_gate_open(next, 1);
}

static void take_zero_pending(struct bow_engine *img)
{
	memcpy(img->led, img->zero_pending, img->n_zero_pending * sizeof(img->led[0]));
	img->led_zero_pending = img->n_zero_pending;
	img->n_zero_pending = 0;
}

/* Pending zeros of a round that failed wait for the next; the queue keeps room for them. */
static void take_back_zero_pending(struct bow_engine *img)
{
	memmove(img->zero_pending + img->led_zero_pending, img->zero_pending,
		img->n_zero_pending * sizeof(img->zero_pending[0]));
	memcpy(img->zero_pending, img->led, img->led_zero_pending * sizeof(img->led[0]));
	img->n_zero_pending += img->led_zero_pending;
}

static void finish_tickets(struct bow_ticket *t, int rc, const struct bowimg_error *err)
{
	struct bow_ticket *next;

	for (; t; t = next) {
		next = t->next; /* t belongs to its thread again once it is done */
		t->result = rc;
		if (rc)
			t->err = *err;
		t->done = true;
	}
}

/* With the lock held, and leading: log everything that waits. */
static void lead_round(struct bow_engine *img)
{
	struct bow_ticket *tickets;
	struct bowimg_error err;
	int rc;

	bow_err_clear(&err);
	if (img->opts.durability != BOWIMG_DURABILITY_PROCESS)
		bow_gather_wait(&img->gather, &img->lock);
	tickets = img->queue;
	img->round++;
	img->queue = NULL;
	img->queue_end = &img->queue;
	bow_gather_begin(&img->gather);
	rc = bow_engine_failed(img, &err);
	if (rc) {
		finish_tickets(tickets, rc, &err);
		return;
	}
	take_zero_pending(img);
	pthread_mutex_unlock(&img->lock);
	rc = bow_engine_log_round(img, tickets, &err);
	pthread_mutex_lock(&img->lock);
	bow_gather_end(&img->gather);
	if (rc)
		take_back_zero_pending(img);
	else if (img->led_zero_pending)
		bow_carry_zero_pending_logged(img);
	img->led_zero_pending = 0;
	finish_tickets(tickets, rc, &err);
}

/* With the lock held, which is released. */
static void lead(struct bow_engine *img)
{
	struct bow_gate *own = &img->gates[img->round % 2], *next;

	lead_round(img);
	next = pass_on(img);
	pthread_mutex_unlock(&img->lock);
	bow_gate_open(own, INT_MAX);
	if (next)
		bow_gate_open(next, 1);
}

/* With the lock held: is it for this thread, whose ticket is not done, to lead? */
static bool take_lead(struct bow_engine *img)
{
	if (img->leading && !img->passed_to_queue)
		return false;
	img->passed_to_queue = false;
	img->leading = true;
	return true;
}

/*
 * With the lock held, which is released: sleep until the ticket is done, or its thread leads. Both
 * are told at the gate; sometimes the lead was taken by who came before this thread was awake.
 */
static void await_round(struct bow_engine *img, const struct bow_ticket *t)
{
	while (!t->done) {
		unsigned seen = bow_gate_look(t->gate);

		if (take_lead(img)) {
			lead(img);
			return;
		}
		pthread_mutex_unlock(&img->lock);
		while (bow_gate_look(t->gate) == seen)
			bow_gate_sleep(t->gate, seen);
		if (t->done)
			return;
		pthread_mutex_lock(&img->lock);
	}
	pthread_mutex_unlock(&img->lock);
}

int bow_engine_log(struct bow_engine *img, const struct bow_entry *entries, uint32_t n,
		   struct bowimg_error *err)
{
	struct bow_ticket t = {.entries = entries, .n = n};

	pthread_mutex_lock(&img->lock);
	t.gate = &img->gates[img->round % 2];
	*img->queue_end = &t;
	/* A ticket is off the queue before it is done, so the queue never outlives it. */
	img->queue_end = &t.next; /* cppcheck-suppress autoVariables */
	bow_gather_join(&img->gather);
	await_round(img, &t);
	if (t.result && err)
		*err = t.err;
	return t.result;
}

int bow_engine_leave_segment(struct bow_engine *img, const struct bow_request *req,
			     struct bowimg_error *err)
{
	const struct bow_super *sb = &img->sb;
	int rc = 0;

	bow_engine_lead(img);
	if (sb->seg_blk < req->first + req->count && req->first < sb->seg_blk + sb->seg_len_blk)
		rc = bow_engine_switch_segment(img, err);
	bow_engine_step_down(img);
	return rc;
}
