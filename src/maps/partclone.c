/* SPDX-License-Identifier: MIT */
/*
 * The free map by partclone, a program that knows the used blocks of many file systems.
 *
 * Happy path: find the program; look ourselves whether the file system is clean; show it the volume
 * as a file that it can only read; take its domain map, which is in GNU ddrescue's format, from a
 * file without a name; take away what it is known to forget.
 * Failure modes: it is not installed; it fails, or says nothing for minutes: its last words are in
 * the message. Whatever happens, nothing stays behind: neither file has a name.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "device/slice.h"
#include "maps/freemap.h"
#include "maps/fs.h"
#include "maps/helper.h"
#include "maps/served.h"

/* A line of a map has 28 bytes and stands for a run; and it tells its progress every second. */
static const struct bow_helper_limits limits = {.output_bytes = 4ull << 30, .silent_s = 600};

struct source {
	struct bow_dev *dev;
	uint64_t off, bytes;
	const struct bow_fs_kind *kind;
	const struct bowimg_helpers *helpers;
	char program[PATH_MAX];
};

static int not_installed(const struct source *s, struct bowimg_error *err)
{
	bow_err(err, -EOPNOTSUPP,
		"%s: read the free map: the program %s is not installed, which knows the free "
		"blocks of %s",
		s->dev->name, s->kind->program, s->kind->name);
	bow_err_hint(err, "install the package partclone (apt install partclone)");
	return -EOPNOTSUPP;
}

static int check(const struct source *s, struct bowimg_error *err)
{
	struct bow_dev *vol = s->dev;
	bool part = s->off || s->bytes != s->dev->size;
	int rc = part ? bow_dev_slice(s->dev, s->off, s->bytes, &vol, err) : 0;

	if (rc)
		return rc;
	rc = s->kind->check(vol, BOW_FS_HELPER, err);
	if (part)
		bow_dev_close(vol, NULL);
	return rc;
}

static int claim(const struct source *s, struct bow_bitmap *free, struct bowimg_error *err)
{
	struct bow_dev *vol;
	int rc;

	if (!s->kind->claim)
		return 0;
	rc = bow_dev_slice(s->dev, s->off, s->bytes, &vol, err);
	if (rc)
		return rc;
	rc = s->kind->claim(vol, s->off, free, err);
	bow_dev_close(vol, NULL);
	return rc;
}

/* Lines that say nothing about what went wrong. */
static bool is_noise(const char *line)
{
	static const char *const noise[] = {"Partclone v",   "Starting to", "Partclone fail",
					    "Elapsed",	     "current bl",  "Total Time",
					    "Reading Super", "\033"};

	for (size_t i = 0; i < sizeof(noise) / sizeof(noise[0]); i++)
		if (!strncmp(line, noise[i], strlen(noise[i])))
			return true;
	return false;
}

/* The program's last words in one line; they may repeat what stands on a hostile disk. */
static void last_words(struct bow_helper_words *words, char *out, size_t room)
{
	char *save = NULL;
	size_t n = 0;

	out[0] = '\0';
	for (char *line = strtok_r(words->text, "\r\n", &save); line;
	     line = strtok_r(NULL, "\r\n", &save)) {
		while (*line == ' ')
			line++;
		if (!*line || is_noise(line))
			continue;
		if (n && n + 2 < room) {
			out[n++] = ';';
			out[n++] = ' ';
		}
		for (; *line && n + 1 < room; line++)
			out[n++] = isprint((unsigned char)*line) ? *line : '?';
		out[n] = '\0';
	}
}

static int run(const struct source *s, int input, FILE *map, struct bowimg_error *err)
{
	char in[32], out[32], text[256];
	char *argv[] = {(char *)s->program,
			"-D",
			"-s",
			in,
			"-O",
			out,
			"-L",
			"/dev/null",
			s->kind->forced ? "-F" : NULL,
			NULL};
	struct bow_helper_words words;
	int rc;

	snprintf(in, sizeof(in), "/proc/self/fd/%d", BOW_HELPER_INPUT);
	snprintf(out, sizeof(out), "/proc/self/fd/%d", BOW_HELPER_OUTPUT);
	rc = bow_helper_run(argv, input, fileno(map), &limits, &words, err);
	if (!rc)
		return 0;
	last_words(&words, text, sizeof(text));
	if (text[0])
		bow_err_wrap(err, rc, "it said \"%s\"", text);
	bow_err_wrap(err, rc, "%s: read the free map; nothing was changed", s->dev->name);
	bow_err_hint(err, "check the file system with its own tools, or say --free-from=none");
	return rc;
}

/* With a view of the volume, that can only be read, or else with the image itself. */
static int run_on_view(const struct source *s, FILE *map, struct bowimg_error *err)
{
	struct bowimg_volume vol;
	void *shown;
	int fd, rc;

	if (bow_served_init(&vol, s->dev, s->off, s->bytes, false)) {
		bow_served_release(&vol);
		return bow_err_errno(err, -ENOMEM, "%s: read the free map", s->dev->name);
	}
	rc = s->helpers->show(s->helpers->ctx, &vol, &fd, &shown, err);
	if (!rc) {
		rc = run(s, fd, map, err);
		s->helpers->hide(s->helpers->ctx, shown);
	}
	bow_served_release(&vol);
	return rc;
}

static int run_on_image(const struct source *s, FILE *map, struct bowimg_error *err)
{
	CLEANUP_CLOSE int fd = bow_dev_file_reopen(s->dev);

	if (fd == -EOPNOTSUPP)
		return bow_err(err, fd, "%s: it cannot be shown to partclone", s->dev->name);
	return fd < 0 ? bow_err_errno(err, fd, "%s: open it for partclone", s->dev->name)
		      : run(s, fd, map, err);
}

/* The image as such will do where it is all that the program is to see, and it only reads. */
static bool image_will_do(const struct source *s)
{
	return !s->off && s->bytes == s->dev->size && !s->kind->wants_write;
}

static int run_somehow(const struct source *s, FILE *map, struct bowimg_error *err)
{
	int rc = -EOPNOTSUPP;

	if (s->helpers && s->helpers->show) {
		rc = run_on_view(s, map, err);
		if (rc != -EOPNOTSUPP || !image_will_do(s))
			return rc;
		bow_err_clear(err);
	}
	if (image_will_do(s))
		return run_on_image(s, map, err);
	bow_err(err, rc, "%s: read the free map: partclone cannot be shown a part of an image here",
		s->dev->name);
	bow_err_hint(err, "the bowimg program can do that, through FUSE");
	return rc;
}

static int read_map(const struct source *s, struct bow_bitmap *free, uint64_t *free_bytes,
		    struct bowimg_error *err)
{
	FILE *map = tmpfile();
	int rc;

	if (!map)
		return bow_err_errno(err, -errno, "%s: make a temporary file for partclone",
				     s->dev->name);
	rc = run_somehow(s, map, err);
	rewind(map);
	if (!rc)
		rc = bow_freemap_map_part(map, "partclone's map", s->off, s->bytes, s->dev->size,
					  free, free_bytes, err);
	fclose(map); /* nothing of it is kept */
	return rc;
}

int bow_freemap_partclone(struct bow_dev *dev, uint64_t off, uint64_t bytes,
			  const struct bow_fs_kind *kind, struct bow_bitmap *out,
			  struct bow_freemap_info *info, const struct bowimg_events *events,
			  struct bowimg_error *err)
{
	struct source s = {.dev = dev, .off = off, .bytes = bytes, .kind = kind};
	struct bow_bitmap *free = bow_bitmap_new(bow_bitmap_bits(out));
	int rc = free ? check(&s, err) : -ENOMEM;

	s.helpers = events ? events->helpers : NULL;
	if (!free)
		return bow_err_errno(err, rc, "%s: read the free map", dev->name);
	*info = (struct bow_freemap_info){.source = "partclone"};
	if (!rc && !bow_helper_find(kind->program, s.program))
		rc = not_installed(&s, err);
	if (!rc)
		rc = read_map(&s, free, &info->fs_free_bytes, err);
	if (!rc)
		rc = claim(&s, free, err);
	if (!rc && bow_bitmap_merge(out, free))
		rc = bow_err_errno(err, -ENOMEM, "%s: keep the free map", dev->name);
	snprintf(info->what, sizeof(info->what), "%s", kind->name);
	bow_bitmap_free(free);
	return rc;
}
