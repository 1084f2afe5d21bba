/* SPDX-License-Identifier: MIT */
/* Errors: a negative errno plus fixed-size text, wrapped outward. No allocation, no globals. */
#ifndef BOW_BASE_ERR_H
#define BOW_BASE_ERR_H

#include <errno.h>
#include "bowimg.h"

/*
 * Record `code` (negative errno) with a message; returns code. The text says what was attempted on
 * which object; bow_err_errno() appends the system's own words for the code.
 */
int bow_err(struct bowimg_error *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
int bow_err_errno(struct bowimg_error *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Put "context: " before the message that is there; returns code. For use on the way out. */
int bow_err_wrap(struct bowimg_error *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The same for the name of the object, which the message then has once, and at its beginning. */
int bow_err_name(struct bowimg_error *err, int code, const char *name);
/* Take "name: " out of the message, wherever a context begins with it. */
void bow_err_take_out(struct bowimg_error *err, const char *name);

/* Say what to do next. The innermost hint wins: it knows most. */
void bow_err_hint(struct bowimg_error *err, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

void bow_err_clear(struct bowimg_error *err);

#endif
