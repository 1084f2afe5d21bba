/* SPDX-License-Identifier: MIT */
/*
 * The free map from a text file in GNU ddrescue's format (partclone writes the same):
 *
 *	# comment
 *	0x00000000  ?  1			current position, status, pass (ignored)
 *	0x00000000  0x00010000  +	position, size, status: '?' free, '+' '*' '/' '-' used
 *
 * The file comes from outside and may say anything. Lines may be in any order and overlap: where
 * one says used and another free, used wins. What no line names is used. However long the file is,
 * only two bitmaps are kept in memory.
 */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/cleanup.h"
#include "lib/freespace/freemap.h"

#define BLOCK ((uint64_t)BOWIMG_BLOCK_SIZE)

/* Longer than any line with numbers in it. Comments may be longer; the rest of them is dropped. */
#define LINE_BYTES 256

struct parser {
	const char *file;
	FILE *in;
	uint64_t line; /* for messages, from 1 */
	bool status_seen;
	uint64_t image_size;
	uint64_t off, bytes; /* the part of the image that the map speaks of */
	struct bow_bitmap *free, *used;
	uint64_t run_off, run_end; /* free bytes that the next line may continue */
	uint64_t free_bytes;
};

static int bad_line(const struct parser *p, const char *why, struct bowimg_error *err)
{
	bow_err(err, -EUCLEAN, "%s: read the free map: line %" PRIu64 ": %s", p->file, p->line,
		why);
	bow_err_hint(err, "give a GNU ddrescue map of this image, as ddrescue, partclone -D or "
			  "ddrescuelog write it");
	return -EUCLEAN;
}

/* One line without its newline; 1: there is one, 0: the end, or -errno. */
static int next_line(struct parser *p, char text[LINE_BYTES], struct bowimg_error *err)
{
	size_t n = 0;
	int c;

	p->line++;
	while ((c = getc_unlocked(p->in)) != EOF && c != '\n') {
		if (c == '\0')
			return bad_line(p, "a NUL byte, so this is not a text file", err);
		if (n < LINE_BYTES - 1)
			text[n++] = (char)c;
		else if (text[0] != '#')
			return bad_line(p, "it is too long", err);
	}
	text[n] = '\0';
	if (ferror(p->in))
		return bow_err_errno(err, errno ? -errno : -EIO, "%s: read the free map", p->file);
	return c == '\n' || n > 0;
}

static char *skip_space(char *at)
{
	while (*at == ' ' || *at == '\t' || *at == '\r')
		at++;
	return at;
}

/* A number as C writes it; strtoull alone would also take signs, and 20 digits too many. */
static bool number(char **at, uint64_t *value)
{
	char *end;

	*at = skip_space(*at);
	if (!isdigit((unsigned char)**at))
		return false;
	errno = 0;
	*value = strtoull(*at, &end, 0);
	if (errno || !(*end == '\0' || isspace((unsigned char)*end)))
		return false;
	*at = end;
	return true;
}

/* One character of `allowed` on its own. */
static bool status(char **at, const char *allowed, char *value)
{
	*at = skip_space(*at);
	if (!**at || !strchr(allowed, **at))
		return false;
	*value = *(*at)++;
	return **at == '\0' || isspace((unsigned char)**at);
}

static bool at_end(char *at)
{
	at = skip_space(at);
	return *at == '\0' || *at == '#';
}

static int status_line(struct parser *p, char *at, struct bowimg_error *err)
{
	uint64_t ignored;
	char c;

	if (!number(&at, &ignored) || !status(&at, "?*/-+FG", &c) ||
	    !(at_end(at) || (number(&at, &ignored) && at_end(at))))
		return bad_line(p,
				"the first line must be \"position status\", as in a GNU ddrescue "
				"map",
				err);
	p->status_seen = true;
	return 0;
}

/* Used runs widen outward to whole blocks, free ones shrink. */
static int mark_used(struct parser *p, uint64_t off, uint64_t end)
{
	const uint64_t first = off / BLOCK;

	return bow_bitmap_set(p->used, first, bow_div_up(end, BLOCK) - first);
}

static int end_run(struct parser *p)
{
	return bow_freemap_mark(p->free, p->image_size, p->run_off, p->run_end - p->run_off);
}

static int mark_free(struct parser *p, uint64_t off, uint64_t end)
{
	int rc = 0;

	p->free_bytes = bow_min(p->free_bytes + (end - off), p->image_size);
	if (off != p->run_end) {
		rc = end_run(p);
		p->run_off = off;
	}
	p->run_end = end;
	return rc;
}

static int entry_line(struct parser *p, char *at, struct bowimg_error *err)
{
	uint64_t off, bytes;
	char c;
	int rc;

	if (!number(&at, &off) || !number(&at, &bytes) || !status(&at, "?*/-+", &c) || !at_end(at))
		return bad_line(p, "expected \"position size status\"", err);
	if (off > p->bytes || bytes > p->bytes - off)
		return bad_line(p, "it reaches beyond the end of the image", err);
	if (!bytes)
		return 0;
	off += p->off;
	rc = c == '?' ? mark_free(p, off, off + bytes) : mark_used(p, off, off + bytes);
	return rc < 0 ? bow_err_errno(err, rc, "%s: keep the free map", p->file) : 0;
}

static int parse(struct parser *p, struct bowimg_error *err)
{
	char text[LINE_BYTES];
	int rc;

	while ((rc = next_line(p, text, err)) > 0) {
		if (at_end(text))
			continue;
		rc = p->status_seen ? entry_line(p, text, err) : status_line(p, text, err);
		if (rc < 0)
			return rc;
	}
	if (!rc && !p->status_seen)
		return bad_line(p, "the file ends without a map in it", err);
	if (!rc && end_run(p) < 0)
		return bow_err_errno(err, -ENOMEM, "%s: keep the free map", p->file);
	return rc;
}

/* out |= free and not used */
static int join(struct parser *p, struct bow_bitmap *out)
{
	const uint64_t blocks = bow_bitmap_bits(out);
	uint64_t start = 0, count;

	for (; bow_bitmap_next_run(p->used, &start, &count, blocks); start += count)
		if (bow_bitmap_clear(p->free, start, count) < 0)
			return -ENOMEM;
	return bow_bitmap_merge(out, p->free);
}

int bow_freemap_map_part(FILE *in, const char *name, uint64_t off, uint64_t bytes,
			 uint64_t image_size, struct bow_bitmap *out, uint64_t *free_bytes,
			 struct bowimg_error *err)
{
	struct parser p = {
		.file = name, .in = in, .image_size = image_size, .off = off, .bytes = bytes};
	int rc;

	p.free = bow_bitmap_new(bow_bitmap_bits(out));
	p.used = bow_bitmap_new(bow_bitmap_bits(out));
	rc = p.free && p.used ? parse(&p, err)
			      : bow_err_errno(err, -ENOMEM, "%s: read the free map", name);
	if (!rc && join(&p, out) < 0)
		rc = bow_err_errno(err, -ENOMEM, "%s: keep the free map", name);
	*free_bytes = p.free_bytes;
	bow_bitmap_free(p.free);
	bow_bitmap_free(p.used);
	return rc;
}

int bow_freemap_mapfile(const char *file, uint64_t image_size, struct bow_bitmap *out,
			struct bow_freemap_info *info, struct bowimg_error *err)
{
	FILE *in = fopen(file, "re");
	uint64_t free_bytes;
	int rc;

	if (!in) {
		rc = bow_err_errno(err, -errno, "%s: open the free map", file);
		bow_err_hint(err, "--free-from=map:FILE needs a GNU ddrescue map in FILE");
		return rc;
	}
	rc = bow_freemap_map_part(in, file, 0, image_size, image_size, out, &free_bytes, err);
	fclose(in); /* only read from: nothing can be lost */
	if (!rc) {
		*info = (struct bow_freemap_info){.source = "map", .fs_free_bytes = free_bytes};
		snprintf(info->what, sizeof(info->what), "a map file");
	}
	return rc;
}
