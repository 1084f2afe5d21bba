/* SPDX-License-Identifier: MIT */
#include "lib/disk/hint.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/show.h"
#include "lib/base/uri.h"

#define HINT_BYTES sizeof(((struct bowimg_error *)0)->hint)
#define HINT_WORD 144 /* as BOW_WORD() has it */

/*
 * How a command reaches a volume: the text before it, the volume's name, the text that takes it
 * down.
 */
struct way {
	char before[HINT_BYTES], device[HINT_BYTES], after[40];
};

/* A tool needs a file; `image` is one already, or an export that has to become one first. */
static void way_to_image(struct way *way, const char *image)
{
	*way = (struct way){0};
	if (!bow_uri_is_nbd(image)) {
		bow_shell_word(way->device, HINT_WORD, image);
		return;
	}
	snprintf(way->before, sizeof(way->before), "mkdir d; nbdfuse d/disk %s & sleep 1; ",
		 BOW_WORD(image));
	snprintf(way->device, sizeof(way->device), "d/disk");
	snprintf(way->after, sizeof(way->after), "; umount d");
}

/* By place and size: some kernels do not show the partitions of a loop device. */
static void way_to_part(struct way *way, uint64_t off, uint64_t bytes)
{
	const size_t n = strlen(way->before);
	char after[sizeof(way->after)];

	snprintf(way->before + n, sizeof(way->before) - n,
		 "L=$(losetup -f --show -o %" PRIu64 " --sizelimit %" PRIu64 " %.143s); ", off,
		 bytes, way->device);
	snprintf(way->device, sizeof(way->device), "$L");
	memcpy(after, way->after, sizeof(after));
	snprintf(way->after, sizeof(way->after), "; losetup -d $L%.12s", after);
}

/*
 * Finds the device in a hint: its mark, or the image's name at the end, from code that knows no
 * more.
 */
static char *find_device(char *hint, const char *image, size_t *bytes)
{
	char *at = strstr(hint, BOW_HINT_DEVICE), word[HINT_WORD];
	size_t n = strlen(hint), k = strlen(bow_shell_word(word, sizeof(word), image));

	*bytes = strlen(BOW_HINT_DEVICE);
	if (at || n <= k || strcmp(hint + n - k, word) != 0 || hint[n - k - 1] != ' ')
		return at;
	*bytes = k;
	return hint + n - k;
}

static char *command_of(char *hint, char *device)
{
	for (char *at = device; at >= hint + 2; at--)
		if (at[-2] == ':' && at[-1] == ' ')
			return at;
	return hint;
}

static void name_device(struct bowimg_error *err, const struct bowimg_disk *image, uint64_t off,
			uint64_t bytes)
{
	char old[HINT_BYTES], text[4 * HINT_BYTES + 64];
	struct way way;
	size_t mark;

	memcpy(old, err->hint, sizeof(old));
	char *device = find_device(old, image->name, &mark);
	if (!device)
		return;
	char *command = command_of(old, device);
	if (memchr(command, ',', (size_t)(device - command)))
		return; /* words, and no command can precede them */
	way_to_image(&way, image->name);
	if (off || bytes != image->size)
		way_to_part(&way, off, bytes);
	snprintf(text, sizeof(text), "%.*s%s%.*s%s%s%s", (int)(command - old), old, way.before,
		 (int)(device - command), command, way.device, device + mark, way.after);
	snprintf(err->hint, sizeof(err->hint), "%.255s", text);
}

static void name_sources(struct bowimg_error *err, const struct bowimg_disk *image)
{
	char old[HINT_BYTES], *at;

	memcpy(old, err->hint, sizeof(old));
	at = strstr(old, BOW_HINT_WITHOUT);
	if (!at)
		return;
	snprintf(err->hint, sizeof(err->hint), "%.*s%s%s", (int)(at - old), old,
		 image->can_grow
			 ? "--free-from=none (backups past the end of the file) or map:FILE "
			   "(a GNU ddrescue map)"
			 : "--free-from=map:FILE (a GNU ddrescue map)",
		 at + strlen(BOW_HINT_WITHOUT));
}

void bow_hint_finish(struct bowimg_error *err, const struct bowimg_disk *image, uint64_t off,
		     uint64_t bytes)
{
	if (!err)
		return;
	name_device(err, image, off, bytes);
	name_sources(err, image);
}
