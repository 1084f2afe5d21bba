/* SPDX-License-Identifier: MIT */
/*
 * The plugin's exports. The disk has no name, so that clients need not know one; the disk as it was
 * at prepare is called "before". Where only that is served it is the one without a name as well.
 */
#include "fronts/nbdkit_plugin.h"

#include <string.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#define BEFORE "before"

/* Handles: nothing is kept for a connection but what it is for. */
static char disk_handle, before_handle;

static const char *describe(bool before)
{
	return before ? "the disk as it was when bowimg prepare opened the checkpoint"
		      : "the disk; what is written can be rolled back";
}

int bow_nbdkit_list_exports(int readonly, int is_tls, struct nbdkit_exports *exports)
{
	int ret;

	(void)readonly;
	(void)is_tls;
	ret = nbdkit_add_export(exports, "", describe(bow_nbdkit.kind == BOW_NBDKIT_BEFORE));
	if (!ret && bow_nbdkit.kind == BOW_NBDKIT_DISK)
		ret = nbdkit_add_export(exports, BEFORE, describe(true));
	return ret;
}

const char *bow_nbdkit_default_export(int readonly, int is_tls)
{
	(void)readonly;
	(void)is_tls;
	return "";
}

const char *bow_nbdkit_export_description(void *handle)
{
	return describe(bow_nbdkit_is_before(handle));
}

/* A name that was mistyped must not lead to the disk that can be written. */
void *bow_nbdkit_open(int readonly)
{
	const char *name = nbdkit_export_name();
	bool before = name && strcmp(name, BEFORE) == 0;

	(void)readonly;
	if (!name)
		return NULL;
	if ((name[0] && !before) || (before && bow_nbdkit.kind == BOW_NBDKIT_LEARN)) {
		nbdkit_error("there is no export '%s': the disk's name is empty%s", name,
			     bow_nbdkit.kind == BOW_NBDKIT_LEARN
				     ? ""
				     : ", and as it was at prepare it is called " BEFORE);
		return NULL;
	}
	return before || bow_nbdkit.kind == BOW_NBDKIT_BEFORE ? &before_handle : &disk_handle;
}

bool bow_nbdkit_is_before(const void *handle)
{
	return handle == &before_handle;
}

int bow_nbdkit_is_disk(void *handle)
{
	return !bow_nbdkit_is_before(handle);
}
