/* SPDX-License-Identifier: MIT */
/* --all of umount and detach. */
#ifndef BOW_SERVING_ALL_H
#define BOW_SERVING_ALL_H

#include "bowimg/serve/list.h"
#include "bowimg/cli/cli.h"

struct bow_serving_all {
	bool (*picks)(const struct bow_served *s);
	int (*end)(struct bow_cli *cli, const char *image); /* returns the exit status */
	/* Of a disk as it was, beside a disk that is not picked: what is attached, or mounted? */
	bool befores_attached;
};

/*
 * End all of this user's services that are picked. What another command works on at the moment is
 * left to that command: bowimg run ends its own. Returns the exit status of the first failure,
 * which has been printed, as have the later ones. That there is nothing to end is no failure.
 */
int bow_serving_end_all(struct bow_cli *cli, const struct bow_serving_all *all);

#endif
