/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>

#include "bowimg/cli/print/status.h"
#include "bowimg/cli/message.h"
#include "bowimg/cli/output.h"
#include "bowimg/cli/print/budget.h"

/* "stop", "tail", or or NULL without a checkpoint. */
static const char *on_full_name(enum bowimg_on_full on_full)
{
	switch (on_full) {
	case BOWIMG_ON_FULL_STOP:
		return "stop";
	case BOWIMG_ON_FULL_TAIL:
		return "tail";
	case BOWIMG_ON_FULL_DEFAULT:
		break;
	}
	return NULL;
}

/* NULL becomes null: "s?" of json_pack. */
static const char *or_null(const char *text)
{
	return text[0] ? text : NULL;
}

static json_int_t bytes(uint64_t value)
{
	return (json_int_t)value;
}

static json_t *identity(const char *image, const struct bowimg_status *s,
			const struct bow_marks *marks)
{
	return json_pack("{s:s,s:o,s:s?,s:s,s:s?,s:I,s:i,s:s?,s:b,s:s?,s:o,s:s?,s:b,s:b,s:o}",
			 "version", bowimg_version(), "image", bow_cli_json_text(image), "format",
			 or_null(s->format), "state", bowimg_state_name(s->state), "uuid",
			 or_null(s->uuid), "virtual-size", bytes(s->virtual_size), "block-size",
			 (int)s->block_size, "free-source", or_null(s->free_source), "exact",
			 s->exact, "on-full", on_full_name(s->on_full), "marks",
			 bow_marks_json(marks), "rolling-back-to", or_null(s->rolling_back_to),
			 "attached", s->attached, "in-use", s->in_use, "next",
			 bow_cli_json_text(s->next));
}

/* Null where there is none, and where it is not known. */
static json_t *who(const struct bowimg_status *s, const struct bow_served *served)
{
	json_t *pid = served && served->alive ? json_integer(served->pid) : json_null();

	return json_pack("{s:o,s:o,s:o}", "pid", pid, "where",
			 served && served->alive ? bow_cli_json_text(served->where) : json_null(),
			 "prepared-at",
			 s->prepared_at ? json_integer(s->prepared_at) : json_null());
}

static json_t *amounts(const struct bowimg_status *s)
{
	return json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "free-total-bytes",
			 bytes(s->free_total_bytes), "free-left-bytes", bytes(s->free_left_bytes),
			 "backup-bytes", bytes(s->backup_bytes), "changed-bytes",
			 bytes(s->changed_bytes), "log-bytes", bytes(s->log_bytes), "entries",
			 bytes(s->entries), "tail-bytes", bytes(s->tail_bytes), "gives",
			 bytes(s->gives), "new-bytes", bytes(s->new_bytes));
}

int bow_status_print_json(struct bow_cli *cli, const char *image, const struct bowimg_status *s,
			  const struct bow_marks *marks, const struct bow_served *served)
{
	json_t *root = identity(image, s, marks);
	json_t *more[] = {amounts(s), who(s, served), bow_budget_json(&s->budget)};
	int status = BOW_EXIT_DONE;

	if (!root || json_object_update(root, more[0]) != 0 ||
	    json_object_update(root, more[1]) != 0 || json_object_update(root, more[2]) != 0 ||
	    bow_cli_put_json(root, stdout, JSON_INDENT(2)) != 0)
		status = bow_cli_error(cli, -ENOMEM, NULL,
				       "cannot print the status of %s: out of memory", image);
	putchar('\n');
	json_decref(more[0]);
	json_decref(more[1]);
	json_decref(more[2]);
	json_decref(root);
	return status;
}
