/* SPDX-License-Identifier: MIT */
/* The list of mounts, parsed from /proc/self/mountinfo. */
#include "fronts/mounts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

static bool is_octal(char c)
{
	return c >= '0' && c <= '7';
}

/* Copy a field, undoing the kernel's \ooo for blanks, tabs, newlines and backslashes. */
static void unescape(char *out, size_t bytes, const char *in)
{
	size_t n = 0;

	while (*in && n + 1 < bytes) {
		if (in[0] == '\\' && is_octal(in[1]) && is_octal(in[2]) && is_octal(in[3])) {
			out[n++] = (char)((in[1] - '0') << 6 | (in[2] - '0') << 3 | (in[3] - '0'));
			in += 4;
		} else {
			out[n++] = *in++;
		}
	}
	out[n] = '\0';
}

/* "36 35 98:0 /root /target opts shared:1 - ext4 /dev/root rw": fields before " - " vary in number.
 */
static bool parse_line(char *line, struct bow_mount *out)
{
	char *rest = strstr(line, " - ");
	char *save = NULL;

	if (!rest)
		return false;
	*rest = '\0';
	strtok_r(line, " ", &save);
	strtok_r(NULL, " ", &save);
	const char *device = strtok_r(NULL, " ", &save);
	const char *root = strtok_r(NULL, " ", &save);
	const char *target = strtok_r(NULL, " ", &save);
	if (!target || sscanf(device, "%u:%u", &out->major, &out->minor) != 2)
		return false;
	unescape(out->root, sizeof(out->root), root);
	unescape(out->target, sizeof(out->target), target);
	const char *type = strtok_r(rest + 3, " ", &save);
	const char *source = strtok_r(NULL, " ", &save);
	const char *options = strtok_r(NULL, " \n", &save);
	unescape(out->type, sizeof(out->type), type ? type : "");
	unescape(out->source, sizeof(out->source), source ? source : "");
	unescape(out->options, sizeof(out->options), options ? options : "");
	return true;
}

int bow_mounts_each(int (*each)(void *ctx, const struct bow_mount *m), void *ctx,
		    struct bowimg_error *err)
{
	CLEANUP_FREE struct bow_mount *m = malloc(sizeof(*m));
	CLEANUP_FREE char *line = NULL;
	size_t room = 0;
	int ret = 0;

	if (!m)
		return bow_err_errno(err, -ENOMEM, "reading /proc/self/mountinfo");
	FILE *f = fopen("/proc/self/mountinfo", "re");
	if (!f) {
		ret = bow_err_errno(err, -errno, "reading /proc/self/mountinfo");
		bow_err_hint(err, "mount /proc: it tells what is mounted");
		return ret;
	}
	while (!ret && getline(&line, &room, f) > 0)
		if (parse_line(line, m))
			ret = each(ctx, m);
	fclose(f);
	return ret;
}

struct search {
	const char *target; /* at this place, or NULL */
	const char *device; /* of this device, or NULL */
	const char *except; /* not at this place, or NULL */
	struct bow_mount *out;
	bool found;
};

/* "/dev/loop3" and its partitions, "/dev/loop3p1". */
static bool is_of(const char *source, const char *device)
{
	size_t n = strlen(device);

	return strncmp(source, device, n) == 0 &&
	       (!source[n] || (source[n] == 'p' && source[n + 1] &&
			       !source[n + 1 + strspn(source + n + 1, "0123456789")]));
}

/* Later mounts cover earlier ones, so the last match is the one that is seen. */
static int match(void *ctx, const struct bow_mount *m)
{
	struct search *s = ctx;

	if ((s->target && strcmp(s->target, m->target) != 0) ||
	    (s->device && !is_of(m->source, s->device)) ||
	    (s->except && strcmp(s->except, m->target) == 0))
		return 0;
	s->found = true;
	*s->out = *m;
	return 0;
}

int bow_mounts_at(const char *target, struct bow_mount *out, struct bowimg_error *err)
{
	struct search s = {.target = target, .out = out};
	int ret = bow_mounts_each(match, &s, err);

	return ret ? ret : s.found;
}

int bow_mounts_of(const char *device, const char *except, struct bow_mount *out,
		  struct bowimg_error *err)
{
	struct search s = {.device = device, .except = except, .out = out};
	int ret = bow_mounts_each(match, &s, err);

	return ret ? ret : s.found;
}

bool bow_mounts_has(const char *target, const char *device)
{
	CLEANUP_FREE struct bow_mount *m = malloc(sizeof(*m));

	return m && bow_mounts_at(target, m, NULL) == 1 && strcmp(m->source, device) == 0;
}
