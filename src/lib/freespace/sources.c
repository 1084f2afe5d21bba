/* SPDX-License-Identifier: MIT */
#include "lib/freespace/sources.h"

#include <stdio.h>
#include <string.h>

/* scripts/check-help looks for the names in help, manual and bowimg.h. */
static const struct bow_source sources[] = {
	{BOW_SOURCE_AUTO, "auto", NULL, NULL, NULL},
	{BOW_SOURCE_EXT, "ext", "ext4", "ext2, ext3 or ext4", NULL},
	{BOW_SOURCE_FAT, "fat", "vfat", "FAT", NULL},
	{BOW_SOURCE_PARTCLONE, "partclone", NULL, NULL, NULL},
	{BOW_SOURCE_TRIM, "trim", NULL, NULL, NULL},
	{BOW_SOURCE_MAP, "map:FILE", NULL, NULL, NULL},
	{BOW_SOURCE_NONE, "none", NULL, NULL, NULL},
};

#define SOURCES (sizeof(sources) / sizeof(sources[0]))
#define MAP_PREFIX "map:"

/* "a, b and c" */
static int refuse(const char *text, struct bowimg_error *err)
{
	char list[128] = "";
	size_t n = 0;

	for (size_t i = 0; i < SOURCES; i++)
		n += (size_t)snprintf(list + n, sizeof(list) - n, "%s%s",
				      !i		? ""
				      : i + 1 < SOURCES ? ", "
							: " and ",
				      sources[i].name);
	bow_err(err, -EOPNOTSUPP, "read the free map: there is no source \"%s\"", text);
	bow_err_hint(err, "the sources are %s", list);
	return -EOPNOTSUPP;
}

int bow_source_parse(const char *text, struct bow_source *out, struct bowimg_error *err)
{
	const bool map = text && !strncmp(text, MAP_PREFIX, strlen(MAP_PREFIX));

	for (size_t i = 0; i < SOURCES; i++) {
		*out = sources[i];
		if (out->id == BOW_SOURCE_MAP && map) {
			out->file = text + strlen(MAP_PREFIX);
			return 0;
		}
		if (out->id != BOW_SOURCE_MAP && !strcmp(out->name, text ? text : "auto"))
			return 0;
	}
	return refuse(text, err);
}

bool bow_source_needs_contents(const struct bow_source *source)
{
	return source->id != BOW_SOURCE_MAP && source->id != BOW_SOURCE_NONE;
}
