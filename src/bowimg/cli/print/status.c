/* SPDX-License-Identifier: MIT */
#include "bowimg/cli/print/status.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "bowimg/cli/next.h"
#include "bowimg/cli/output.h"
#include "bowimg/cli/print/budget.h"
#include "bowimg/cli/size.h"

enum { BAR_CELLS = 20 };

/* " for 2 h" */
static const char *open_for(const struct bowimg_status *s, char *out, size_t bytes)
{
	int64_t now = time(NULL);

	if (s->prepared_at <= 0 || s->prepared_at > now)
		return "";
	snprintf(out, bytes, " for %s", bow_cli_ago((uint64_t)(now - s->prepared_at)).text);
	return out;
}

static void print_checkpoint_head(struct bow_cli *cli, const char *image,
				  const struct bowimg_status *s, const struct bow_served *served)
{
	char since[48], who[BOW_NEXT_SERVED_MAX] = "not in use";

	if (served)
		bow_next_served(served, who, sizeof(who));
	else if (s->in_use)
		snprintf(who, sizeof(who), "in use by another process");
	else if (s->attached)
		snprintf(who, sizeof(who),
			 "not in use; the last session did not end cleanly; nothing is lost");
	bow_cli_print(cli, "%s: checkpoint open%s, %s", image, open_for(s, since, sizeof(since)),
		      who);
}

static bool is_dm_bow(const struct bowimg_status *s)
{
	return strcmp(s->format, "dm-bow") == 0;
}

static void print_head(struct bow_cli *cli, const char *image, const struct bowimg_status *s,
		       const struct bow_served *served)
{
	static const char *const states[] = {
		[BOWIMG_STATE_NONE] = "no checkpoint is open",
		[BOWIMG_STATE_CHECKPOINT] = "a checkpoint of the kernel's dm-bow is open",
		[BOWIMG_STATE_ROLLING_BACK] = "a rollback was interrupted; nothing is lost",
		[BOWIMG_STATE_COMMITTING] = "a commit was interrupted; nothing is lost",
		[BOWIMG_STATE_FINISHING] =
			"a rollback or commit lacks its last step; nothing is lost",
		[BOWIMG_STATE_INTERRUPTED] = "prepare was interrupted; nothing is lost",
	};

	if (s->state == BOWIMG_STATE_CHECKPOINT && !is_dm_bow(s))
		print_checkpoint_head(cli, image, s, served);
	else if (s->rolling_back_to[0])
		bow_cli_print(cli, "%s: a return to the mark %s was interrupted; nothing is lost",
			      image, s->rolling_back_to);
	else
		bow_cli_print(cli, "%s: %s", image, states[s->state]);
}

static void print_changed(struct bow_cli *cli, const struct bowimg_status *s)
{
	if (is_dm_bow(s))
		bow_cli_print(cli, "  changed   %s overwritten",
			      bow_cli_human(s->changed_bytes).text);
	else if (s->changed_bytes || s->new_bytes)
		bow_cli_print(cli, "  changed   %s overwritten, %s new",
			      bow_cli_human(s->changed_bytes).text,
			      bow_cli_human(s->new_bytes).text);
	else
		bow_cli_print(cli, "  changed   nothing");
}

static const char *when_full(const struct bowimg_status *s)
{
	if (s->budget.by_host)
		return "then writes fail";
	return s->on_full == BOWIMG_ON_FULL_TAIL ? "then the file grows" : "then writes fail";
}

/* The host's warning names what is left there, which may be much where the image is large. */
static void print_warning(struct bow_cli *cli, const struct bowimg_status *s, uint64_t percent)
{
	/* The serving process warns at three quarters, too. */
	if (percent >= 75 && !s->budget.by_host)
		bow_cli_print(cli, "  warning   %" PRIu64 " %% of the free space is used", percent);
	if (s->budget.host_used >= 75)
		bow_cli_print(cli, "  warning   %s; then writes fail",
			      bow_budget_host("", &s->budget).text);
}

static void print_bar(struct bow_cli *cli, const struct bowimg_status *s)
{
	uint64_t used = (s->free_total_bytes - s->free_left_bytes) / BOWIMG_BLOCK_SIZE;
	uint64_t left = s->budget.known ? s->budget.left_bytes : s->free_left_bytes;
	uint64_t total = used + left / BOWIMG_BLOCK_SIZE;
	size_t full = total ? (size_t)(used * BAR_CELLS / total) : BAR_CELLS;
	char bar[BAR_CELLS + 1];

	memset(bar, '-', BAR_CELLS);
	memset(bar, '#', full);
	bar[BAR_CELLS] = '\0';
	bow_cli_print(cli, "  space     [%s] %s of %s used%s; %s", bar,
		      bow_cli_human(used * BOWIMG_BLOCK_SIZE).text,
		      bow_cli_human(total * BOWIMG_BLOCK_SIZE).text,
		      s->budget.by_host ? bow_budget_host("; ", &s->budget).text : "",
		      when_full(s));
	print_warning(cli, s, total ? used * 100 / total : 100);
}

/* What comes from a damaged or hostile disk may be anything. */
static bool has_budget(const struct bowimg_status *s)
{
	return !s->store_tail && s->free_total_bytes >= BOWIMG_BLOCK_SIZE &&
	       s->free_left_bytes <= s->free_total_bytes;
}

static void print_tail_space(struct bow_cli *cli, const struct bowimg_status *s)
{
	bow_cli_print(cli, "  space     past the end of the file, which grows%s",
		      bow_budget_host("; ", &s->budget).text);
	print_warning(cli, s, 0);
}

static void print_space(struct bow_cli *cli, const struct bowimg_status *s)
{
	if (has_budget(s))
		print_bar(cli, s);
	else if (s->on_full == BOWIMG_ON_FULL_TAIL || s->store_tail)
		print_tail_space(cli, s);
	if (s->tail_bytes)
		bow_cli_print(cli, "  tail      %s past the end of the image",
			      bow_cli_human(s->tail_bytes).text);
}

static void print_size(struct bow_cli *cli, const char *what, uint64_t value)
{
	if (value < 1024)
		bow_cli_print(cli, "  %-9s %s", what, bow_cli_human(value).text);
	else
		bow_cli_print(cli, "  %-9s %s (%" PRIu64 ")", what, bow_cli_human(value).text,
			      value);
}

static void print_amounts(struct bow_cli *cli, const struct bowimg_status *s)
{
	print_size(cli, "backups", s->backup_bytes);
	print_size(cli, "log", s->log_bytes);
	bow_cli_print(cli, "  entries   %" PRIu64, s->entries);
}

static void print_own(struct bow_cli *cli, const struct bowimg_status *s)
{
	bow_cli_print(cli, "  uuid      %s", s->uuid);
	bow_cli_print(cli, "  free map  from %s", s->free_source);
	print_amounts(cli, s);
	print_size(cli, "free", s->free_total_bytes);
	print_size(cli, "free left", s->free_left_bytes);
	if (s->budget.host_known)
		print_size(cli, "host left", s->budget.host_left_bytes);
	bow_cli_print(cli, "  when full %s",
		      s->on_full == BOWIMG_ON_FULL_TAIL
			      ? "tail: backups go past the image's end"
			      : "stop: writes fail with \"no space left\"; rollback still works");
	bow_cli_print(cli, "  attached  %s",
		      s->in_use	    ? "yes"
		      : s->attached ? "no; the last session did not end cleanly; nothing is lost"
				    : "no");
}

static void print_all(struct bow_cli *cli, const struct bowimg_status *s, bool has_checkpoint)
{
	bow_cli_print(cli, "  state     %s%s%s%s", bowimg_state_name(s->state),
		      s->format[0] ? " (format " : "", s->format, s->format[0] ? ")" : "");
	if (s->rolling_back_to[0])
		bow_cli_print(cli, "  back to   the mark %s", s->rolling_back_to);
	print_size(cli, "size", s->virtual_size);
	if (has_checkpoint && is_dm_bow(s)) {
		bow_cli_print(cli, "  copies    in blocks of %" PRIu32 " bytes", s->block_size);
		print_amounts(cli, s);
	} else if (has_checkpoint) {
		print_own(cli, s);
	}
}

static void print_marks(struct bow_cli *cli, const struct bow_marks *marks)
{
	for (unsigned i = 0; i < marks->count; i++) {
		const struct bowimg_mark *m = &marks->list[i];

		bow_cli_print(cli, "  %-9s %s: since then %s changed, backups of %s",
			      i ? "" : "marks", m->name, bow_cli_human(m->changed_bytes).text,
			      bow_cli_human(m->backup_bytes).text);
	}
}

void bow_status_print(struct bow_cli *cli, const char *image, const struct bowimg_status *s,
		      const struct bow_marks *marks, const struct bow_served *served)
{
	bool has_checkpoint = s->state != BOWIMG_STATE_NONE && s->state != BOWIMG_STATE_INTERRUPTED;
	char next[BOW_NEXT_MAX];

	print_head(cli, image, s, served);
	if (has_checkpoint) {
		bow_cli_print(cli, "  undo      %s",
			      s->exact ? "the whole image, byte for byte"
				       : "every block that was in use; free blocks may differ");
		print_changed(cli, s);
		if (!is_dm_bow(s))
			print_space(cli, s);
		print_marks(cli, marks);
	}
	if (cli->verbose)
		print_all(cli, s, has_checkpoint);
	bow_next_step(image, s, served, next, sizeof(next));
	if (next[0])
		bow_cli_print(cli, "next: %s", next);
}
