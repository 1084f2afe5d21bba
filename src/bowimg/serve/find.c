/* SPDX-License-Identifier: MIT */
/* What the kernel has, by device numbers. */
#include "bowimg/serve/find.h"

#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "lib/base/cleanup.h"
#include "bowimg/host/mounts.h"

dev_t bow_service_fs(const struct bow_session *e)
{
	return e->connection ? makedev(0, e->connection) : 0;
}

/* A later mount at the same place is not ours. */
bool bow_service_has_fuse(const struct bow_session *e)
{
	CLEANUP_FREE struct bow_mount *m = malloc(sizeof(*m));

	return m && bow_mounts_at(e->fuse_dir, m, NULL) == 1 &&
	       strcmp(m->type, "fuse.bowimg") == 0 &&
	       (e->connection == 0 || m->dev == bow_service_fs(e));
}

bool bow_service_has_loop(const struct bow_session *e, char device[BOW_LOOP_NAME])
{
	char file[PATH_MAX + 16];

	bow_session_disk(e, file, sizeof(file));
	return bow_loop_find(file, bow_service_fs(e), device);
}

bool bow_service_has_before(const struct bow_session *e, char device[BOW_LOOP_NAME])
{
	char file[PATH_MAX + 64];

	bow_session_before(e, file, sizeof(file));
	return !e->before_only && bow_loop_find(file, bow_service_fs(e), device);
}

bool bow_service_is_mounted(const struct bow_session *e)
{
	char device[BOW_LOOP_NAME];

	return e->mount_dir[0] && bow_service_has_loop(e, device) &&
	       bow_mounts_has(e->mount_dir, bow_loop_number(device));
}
