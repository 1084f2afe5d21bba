/* SPDX-License-Identifier: MIT */
/* What rollback and commit share: their options, and the way through them. */
#ifndef BOW_VERBS_END_H
#define BOW_VERBS_END_H

#include "bowimg.h"
#include "bowimg/cli/options.h"

struct bow_end_verb {
	int (*end)(const char *image, const struct bowimg_end_options *opts,
		   struct bowimg_end_report *report, struct bowimg_error *err);
	void (*print)(struct bow_cli *cli, const struct bowimg_end_options *opts,
		      const struct bowimg_end_report *report);
	const char *flag;			   /* the option that the other one has not ... */
	size_t flag_at;				   /* ... and where in the options its bool is */
	const struct bow_cli_choice *force_values; /* of --force */
	bool takes_mark;			   /* --to=NAME */
};

/* Returns the exit status. */
int bow_end_run(const struct bow_end_verb *verb, int argc, char **argv);

/* What became of the image, as a JSON object; returns the exit status. */
int bow_end_print_json(struct bow_cli *cli, const struct bowimg_end_options *opts,
		       const struct bowimg_end_report *report);

/* " (finishing an interrupted run)", if it was one. */
const char *bow_end_resumed(const struct bowimg_end_report *report);

#endif
