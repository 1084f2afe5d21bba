/* SPDX-License-Identifier: MIT */
/*
 * Ctrl-C and its like, in verbs whose work can be left half done: SIGINT, SIGTERM and SIGHUP are
 * noted, the library is told at the next safe point, the verb cleans up and prints what became of
 * the data, and then bowimg dies by that signal, so that shells and make see what happened. A
 * second signal ends it at once. The verbs that serve a disk handle signals in another way
 * (host/process.h).
 */
#ifndef BOW_CLI_INTERRUPT_H
#define BOW_CLI_INTERRUPT_H

#include <stdbool.h>

/* From here on. What was ignored stays so (nohup). */
void bow_interrupt_catch(void);

/* Has one come? For bowimg_events.stop; the argument is not used. */
bool bow_interrupt_came(void *ctx);

/* From here on bow_interrupt_die() does it. Returns the status that a shell has for that. */
int bow_interrupt_arm(void);

/* If it is armed, this does not return. */
void bow_interrupt_die(void);

#endif
