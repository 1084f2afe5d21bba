/* SPDX-License-Identifier: MIT */
/* Marks as options name them, and as they are listed. */
#ifndef BOW_CLI_MARKS_H
#define BOW_CLI_MARKS_H

#include "bowimg.h"
#include "bowimg/cli/options.h"

/* What --before and --from say for the checkpoint's own beginning; no mark has this name. */
#define BOW_MARK_PREPARE "prepare"

/* For BOW_CLI_MAYBE: the option without a name means prepare. */
extern const struct bow_cli_choice bow_mark_default[];

/* Refuse what no mark can be called. `name` NULL: none was given. Returns 0 or the exit status. */
int bow_mark_check(struct bow_cli *cli, const char *option, const char *name);

/* The mark that an option names which also takes "prepare": NULL, as without a name. */
const char *bow_mark_of(const char *name);

/* All marks of an image, oldest first. */
struct bow_marks {
	unsigned count;
	struct bowimg_mark list[BOWIMG_MARKS_MAX];
};

/* As bowimg_marks(), of cli->image. */
int bow_marks_read(struct bow_cli *cli, unsigned force, struct bow_marks *out,
		   struct bowimg_error *err);

/* One of them. -ENODATA: there is none of that name; else as bow_marks_read(). */
int bow_mark_find(struct bow_cli *cli, unsigned force, const char *name, struct bowimg_mark *out,
		  struct bowimg_error *err);

/* As status and mark --list have them. NULL: out of memory. */
struct json_t;
struct json_t *bow_marks_json(const struct bow_marks *marks);

#endif
