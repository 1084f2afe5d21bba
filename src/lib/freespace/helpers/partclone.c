/* SPDX-License-Identifier: MIT */
/*
 * The free map by partclone, a program that knows the used blocks of many file systems.
 *
 * Happy path: find the program; check ourselves whether the file system is clean; run it on the
 * volume, exposed as a read-only file; read its domain map, which is in GNU ddrescue's format, from
 * a file without a name; mark as used what it is known to forget.
 * Failure modes: it is not installed; it fails, or prints nothing for minutes: the message has its
 * output. Nothing stays behind: neither file has a name.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/bytes.h"
#include "lib/base/cleanup.h"
#include "lib/disk/hint.h"
#include "lib/disk/part.h"
#include "lib/freespace/freemap.h"
#include "lib/freespace/fs/kinds.h"
#include "lib/freespace/helpers/helper.h"
#include "lib/freespace/helpers/volume.h"

/* A line of a map has 28 bytes, for one run; partclone prints its progress every second. */
#define MAP_BYTES (4ull << 30)
#define SILENT_S 600

struct source {
	struct bowimg_disk *dev;
	uint64_t off, bytes;
	const struct bow_fs_kind *kind;
	const struct bowimg_helpers *helpers;
	const struct bowimg_events *events;
	char program[PATH_MAX];
};

static int not_installed(const struct source *s, struct bowimg_error *err)
{
	bow_err(err, -EOPNOTSUPP,
		"%s: read the free map: the program %s (package partclone) is not installed, which "
		"knows the free blocks of %s",
		s->dev->name, s->kind->program, s->kind->name);
	bow_err_hint(err, "apt install partclone; or, for a disk that you trust, let the kernel "
			  "mount it, as root: --free-from=trim");
	return -EOPNOTSUPP;
}

static int check(const struct source *s, struct bow_fs_limits *limits, struct bowimg_error *err)
{
	struct bowimg_disk *vol = s->dev;
	bool part = s->off || s->bytes != s->dev->size;
	int rc = part ? bow_disk_part(s->dev, s->off, s->bytes, &vol, err) : 0;

	if (rc)
		return rc;
	rc = s->kind->check(vol, BOW_FS_HELPER, limits, err);
	if (part)
		bow_disk_close(vol, NULL);
	return rc;
}

static int mark_used(const struct source *s, struct bow_bitmap *free, struct bowimg_error *err)
{
	struct bowimg_disk *vol;
	int rc;

	if (!s->kind->mark_used)
		return 0;
	rc = bow_disk_part(s->dev, s->off, s->bytes, &vol, err);
	if (rc)
		return rc;
	rc = s->kind->mark_used(vol, s->off, free, err);
	bow_disk_close(vol, NULL);
	return rc;
}

/* Lines of output that do not say what went wrong. */
static const char *const noise[] = {
	"Partclone v", "Starting to",	"Partclone fail", "Elapsed", "current bl",
	"Total Time",  "Reading Super", "\033",		  NULL,
};

static int report_failure(const struct source *s, struct bow_helper_end *end, int rc,
			  struct bowimg_error *err)
{
	char line[256];

	bow_helper_line(&end->output, noise, NULL, line, sizeof(line));
	if (line[0])
		bow_err_wrap(err, rc, "it said \"%s\"", line);
	bow_err_wrap(err, rc, "%s: read the free map; nothing was changed", s->dev->name);
	bow_err_hint(err, "check the file system with its own tools, or use " BOW_HINT_WITHOUT);
	return rc;
}

static int run_on_image(const struct source *s, const struct bow_helper *helper,
			struct bow_helper_end *end, struct bowimg_error *err)
{
	uint64_t off;
	CLEANUP_CLOSE int fd = bow_disk_reopen(s->dev, &off);

	if (fd == -EOPNOTSUPP || off)
		return bow_err(err, -EOPNOTSUPP, "%s: it cannot be exposed to partclone",
			       s->dev->name);
	return fd < 0 ? bow_err_errno(err, fd, "%s: open it for partclone", s->dev->name)
		      : bow_helper_run(helper, fd, end, err);
}

/* The image as such will do if it is all that the program is to see, and the program only reads. */
static bool image_will_do(const struct source *s)
{
	return !s->off && s->bytes == s->dev->size && !s->kind->wants_write;
}

static int run(const struct source *s, FILE *map, struct bowimg_error *err)
{
	char *argv[] = {(char *)s->program,
			"-D",
			"-s",
			BOW_HELPER_VOLUME,
			"-O",
			BOW_HELPER_FILE,
			"-L",
			"/dev/null",
			s->kind->forced ? "-F" : NULL,
			NULL};
	const struct bow_helper helper = {.argv = argv,
					  .file = fileno(map),
					  .file_bytes = MAP_BYTES,
					  .silent_s = SILENT_S,
					  .events = s->events};
	const struct bow_part_of part = {s->dev, s->off, s->bytes};
	struct bow_helper_end end;
	int rc = bow_volume_run(s->helpers, &part, &helper, &end, err);

	if (rc == -EOPNOTSUPP && !end.ran && image_will_do(s)) {
		bow_err_clear(err);
		rc = run_on_image(s, &helper, &end, err);
	}
	return rc && end.ran && rc != -ECANCELED ? report_failure(s, &end, rc, err) : rc;
}

/* The user cannot correct the map, so its own hint is replaced. */
static int take_map(const struct source *s, FILE *map, struct bow_bitmap *free,
		    uint64_t *free_bytes, struct bowimg_error *err)
{
	int rc = bow_freemap_map_part(map, "partclone's map", s->off, s->bytes, s->dev->size, free,
				      free_bytes, err);

	if (rc == -EUCLEAN && err) {
		err->hint[0] = '\0';
		bow_err_hint(err, "use another version of partclone, or " BOW_HINT_WITHOUT);
	}
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
	rc = run(s, map, err);
	rewind(map);
	if (!rc)
		rc = take_map(s, map, free, free_bytes, err);
	fclose(map); /* which deletes it */
	return rc;
}

int bow_freemap_partclone(struct bowimg_disk *dev, uint64_t off, uint64_t bytes,
			  const struct bow_fs_kind *kind, struct bow_bitmap *out,
			  struct bow_freemap_info *info, const struct bowimg_events *events,
			  struct bowimg_error *err)
{
	struct source s = {.dev = dev, .off = off, .bytes = bytes, .kind = kind, .events = events};
	struct bow_bitmap *free = bow_bitmap_new(bow_bitmap_bits(out));
	struct bow_fs_limits limits = {0};
	int rc = free ? check(&s, &limits, err) : -ENOMEM;

	s.helpers = events ? events->helpers : NULL;
	if (!free)
		return bow_err_errno(err, rc, "%s: read the free map", dev->name);
	*info = (struct bow_freemap_info){.source = "partclone",
					  .extent_bytes = limits.extent,
					  .only_exact = limits.only_exact};
	if (!rc && !bow_helper_find(kind->program, s.program))
		rc = not_installed(&s, err);
	if (!rc)
		rc = read_map(&s, free, &info->fs_free_bytes, err);
	if (!rc)
		rc = mark_used(&s, free, err);
	if (!rc && bow_bitmap_merge(out, free))
		rc = bow_err_errno(err, -ENOMEM, "%s: keep the free map", dev->name);
	snprintf(info->what, sizeof(info->what), "%s", kind->name);
	bow_bitmap_free(free);
	return rc;
}
