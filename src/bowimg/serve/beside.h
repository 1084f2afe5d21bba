/* SPDX-License-Identifier: MIT */
/* The disk itself, mounted or attached where only the disk as it was is shown so far. */
#ifndef BOW_SERVE_BESIDE_H
#define BOW_SERVE_BESIDE_H

#include "bowimg/serve/service.h"

/* Can the daemon of this session, which is up and locked, do that? */
bool bow_beside_possible(const struct bow_session *e, const struct bow_service_options *opts);

/* s->session is that one. After an error bow_beside_give_up() makes it as it was. */
int bow_beside_start(struct bow_service *s, const struct bow_service_options *opts,
		     struct bowimg_error *err);

/* Take the disk itself away again; the disk as it was stays. */
void bow_beside_give_up(struct bow_service *s);

#endif
