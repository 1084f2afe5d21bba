/* SPDX-License-Identifier: MIT */
/* The ways in which a program gets the disk, and which of them work here. */
#ifndef BOW_SERVING_VIA_H
#define BOW_SERVING_VIA_H

#include "bowimg/cli/options.h"

enum bow_via { BOW_VIA_DEFAULT, BOW_VIA_LOOP, BOW_VIA_FUSE, BOW_VIA_NBD };

extern const struct bow_cli_choice bow_vias[];

/* Refuse a way that cannot work here. Returns 0, or the exit status of what has been printed. */
int bow_via_check(struct bow_cli *cli, enum bow_via via);

/*
 * For a command that will run: refuse what cannot work before anything is opened or run; the
 * default becomes the first way that works here, which is printed. Returns as bow_via_check().
 */
int bow_via_choose(struct bow_cli *cli, int *via);

/* A failure: only root may do `what`. Returns the exit status. */
int bow_via_need_root(struct bow_cli *cli, const char *what);

#endif
