/* SPDX-License-Identifier: MIT */
#include "bowimg/cli/marks.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "lib/base/err.h"
#include "lib/base/show.h"
#include "bowimg/cli/message.h"
#include "bowimg/cli/waiting.h"

const struct bow_cli_choice bow_mark_default[] = {
	{BOW_MARK_PREPARE, 0},
	{NULL, 0},
};

/* ---- names ----------------------------------------------------------------------- */

int bow_mark_check(struct bow_cli *cli, const char *option, const char *name)
{
	if (!name || bowimg_mark_name_ok(name))
		return 0;
	if (strcmp(name, BOW_MARK_PREPARE) == 0)
		return bow_cli_usage(cli,
				     "%s: '" BOW_MARK_PREPARE "' is the beginning of the "
				     "checkpoint, and no mark",
				     option);
	return bow_cli_usage(cli,
			     "%s: '%s' is no name for a mark: it has 1 to %u letters, digits, '.', "
			     "'_' and '-', and begins with a letter or digit",
			     option, name, BOWIMG_MARK_NAME_MAX);
}

const char *bow_mark_of(const char *name)
{
	return name && strcmp(name, BOW_MARK_PREPARE) != 0 ? name : NULL;
}

/* ---- read ------------------------------------------------------------------------ */

static int append(void *ctx, const struct bowimg_mark *m)
{
	struct bow_marks *marks = ctx;

	if (marks->count == BOWIMG_MARKS_MAX)
		return -EUCLEAN;
	marks->list[marks->count++] = *m;
	return 0;
}

int bow_marks_read(struct bow_cli *cli, unsigned force, struct bow_marks *out,
		   struct bowimg_error *err)
{
	const struct bowimg_options call = bow_cli_call(cli, force);

	out->count = 0;
	return bowimg_marks(cli->image, &call, append, out, err);
}

int bow_mark_find(struct bow_cli *cli, unsigned force, const char *name, struct bowimg_mark *out,
		  struct bowimg_error *err)
{
	struct bow_marks marks;
	int ret = bow_marks_read(cli, force, &marks, err);

	if (ret)
		return ret;
	for (unsigned i = 0; i < marks.count; i++) {
		if (strcmp(marks.list[i].name, name) != 0)
			continue;
		*out = marks.list[i];
		return 0;
	}
	bow_err(err, -ENODATA, "%s: there is no mark %s", cli->image, name);
	bow_err_hint(err, "list the marks: bowimg mark --list %s", BOW_WORD(cli->image));
	return -ENODATA;
}

/* ---- print ----------------------------------------------------------------------- */

static json_t *one_json(const struct bowimg_mark *m)
{
	return json_pack("{s:s,s:I,s:I,s:I,s:I}", "name", m->name, "made-at",
			 (json_int_t)m->made_at, "record", (json_int_t)m->record, "changed-bytes",
			 (json_int_t)m->changed_bytes, "backup-bytes", (json_int_t)m->backup_bytes);
}

json_t *bow_marks_json(const struct bow_marks *marks)
{
	json_t *list = json_array();

	for (unsigned i = 0; list && i < marks->count; i++) {
		if (json_array_append_new(list, one_json(&marks->list[i])) == 0)
			continue;
		json_decref(list);
		return NULL;
	}
	return list;
}
