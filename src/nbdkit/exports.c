/* SPDX-License-Identifier: MIT */
/*
 * The plugin's exports. The disk has no name, so that clients need not know one; the disk as it was
 * at prepare is called "before", and as it was at a mark "before@NAME". If only one of these is
 * served, it has no name either.
 */
#include "nbdkit/plugin.h"

#include <stdio.h>
#include <string.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#define BEFORE "before"
#define BEFORE_AT "before@"

/* Handles: a connection needs no more than the disk that it is for; or it is a bow_nbdkit_mark. */
static char disk_handle, before_handle;

static const char *describe(bool before)
{
	if (!before)
		return "the disk; what is written can be rolled back";
	return bow_nbdkit.what.mark
		       ? "the disk as it was at a mark"
		       : "the disk as it was when bowimg prepare opened the checkpoint";
}

int bow_nbdkit_list_exports(int readonly, int is_tls, struct nbdkit_exports *exports)
{
	int ret;

	(void)readonly;
	(void)is_tls;
	ret = nbdkit_add_export(exports, "", describe(bow_nbdkit.what.kind == BOW_NBDKIT_BEFORE));
	if (!ret && bow_nbdkit.what.kind == BOW_NBDKIT_DISK)
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
	return handle == &disk_handle || handle == &before_handle
		       ? describe(bow_nbdkit_is_before(handle))
		       : "the disk as it was at a mark";
}

/* The disk is served: it must be open, and stays open while this looks. */
static void *open_mark(const char *name)
{
	struct bow_nbdkit_mark *mark = NULL;
	struct bowimg_error err = {0};
	int ret = -ESHUTDOWN;

	snprintf(err.message, sizeof(err.message), "the server is about to end");
	pthread_rwlock_rdlock(&bow_nbdkit.in_use);
	pthread_mutex_lock(&bow_nbdkit.marks_lock);
	if (bow_nbdkit.disk.disk)
		ret = bow_nbdkit_disk_at(&bow_nbdkit.disk, name, &mark, &err);
	pthread_mutex_unlock(&bow_nbdkit.marks_lock);
	pthread_rwlock_unlock(&bow_nbdkit.in_use);
	if (ret)
		bow_nbdkit_error("cannot serve the export '" BEFORE_AT "%s': %s", name,
				 err.message);
	return mark;
}

static void *refuse(const char *name)
{
	bow_nbdkit_error("there is no export '%s': the disk's name is empty%s", name,
			 bow_nbdkit.what.kind == BOW_NBDKIT_TRACKER
				 ? ""
				 : ", and as it was at prepare it is called " BEFORE);
	return NULL;
}

/* A mistyped name must not lead to the disk that can be written. */
void *bow_nbdkit_open(int readonly)
{
	const char *name = nbdkit_export_name();
	const enum bow_nbdkit_kind kind = bow_nbdkit.what.kind;

	(void)readonly;
	if (!name)
		return NULL;
	if (!name[0])
		return kind == BOW_NBDKIT_BEFORE ? &before_handle : &disk_handle;
	if (strcmp(name, BEFORE) == 0 && kind != BOW_NBDKIT_TRACKER)
		return &before_handle;
	if (strncmp(name, BEFORE_AT, strlen(BEFORE_AT)) == 0 && kind == BOW_NBDKIT_DISK &&
	    bowimg_mark_name_ok(name + strlen(BEFORE_AT)))
		return open_mark(name + strlen(BEFORE_AT));
	return refuse(name);
}

bool bow_nbdkit_is_before(const void *handle)
{
	return handle != &disk_handle;
}

bowimg_disk *bow_nbdkit_disk_of(void *handle)
{
	if (handle == &disk_handle)
		return bow_nbdkit.disk.disk;
	if (handle == &before_handle)
		return bow_nbdkit.disk.before;
	return ((struct bow_nbdkit_mark *)handle)->disk;
}

int bow_nbdkit_is_disk(void *handle)
{
	return !bow_nbdkit_is_before(handle);
}
