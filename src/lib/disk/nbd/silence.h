/* SPDX-License-Identifier: MIT */
/* A server that does not answer: who is told, once, and that it goes on. */
#ifndef BOW_DISK_NBD_SILENCE_H
#define BOW_DISK_NBD_SILENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "bowimg.h"

struct bow_silence {
	void (*waiting)(void *ctx, const char *text); /* NULL: nobody is told */
	void *ctx;
	const char *uri;
	int64_t since_ms; /* something was sent, or the server was heard */
	int64_t lasted_ms;
	bool told;
};

/* `uri` must last longer. events may be NULL. */
void bow_silence_init(struct bow_silence *s, const char *uri, const struct bowimg_events *events);

/* From here on an answer is waited for. */
void bow_silence_begin(struct bow_silence *s);

/* How long poll(2) may wait for an answer before bow_silence_check() is called. */
int bow_silence_poll_ms(const struct bow_silence *s);

/* Nothing has come: is it time to tell so? */
void bow_silence_check(struct bow_silence *s);

/* Something has come. True: its silence had been told, so bow_silence_tell_end() is called next. */
bool bow_silence_end(struct bow_silence *s);
void bow_silence_tell_end(struct bow_silence *s);

#endif
