/* SPDX-License-Identifier: MIT */
/* The notices of a serving process: to standard error, and to syslog in the background. */
#ifndef BOW_HOST_NOTICE_H
#define BOW_HOST_NOTICE_H

#include "bowimg.h"

/* One sentence without newline, as "bowimg: warning: ...". Any thread. */
void bow_notice(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* The message of an error and its hint. */
void bow_notice_error(const struct bowimg_error *err);

/* From now on to syslog. */
void bow_notice_to_syslog(void);

/* `notice` for struct bowimg_events. */
void bow_notice_event(void *ctx, const char *text);

#endif
