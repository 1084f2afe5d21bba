/* SPDX-License-Identifier: MIT */
#include "bowimg/serve/device.h"

#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "bowimg/host/mounts.h"
#include "bowimg/serve/before.h"
#include "bowimg/serve/find.h"

static int mount_it(struct bow_service *s, const struct bow_loop *loop, const char *wanted,
		    struct bowimg_error *err)
{
	struct bow_session *e = &s->session;
	char options[1024];

	if (!s->beside)
		return bow_mounts_add(e->loop, e->mount_dir, wanted, s->signal_fd, err);
	int ret = bow_before_options(loop->fd, "rw", wanted, options, sizeof(options), err);
	return ret ? ret : bow_mounts_add(e->loop, e->mount_dir, options, s->signal_fd, err);
}

/* While it mounts, the device would still go away by itself if we died. */
int bow_device_add(struct bow_service *s, const struct bow_service_options *opts,
		   struct bowimg_error *err)
{
	struct bow_session *e = &s->session;
	struct bow_loop loop;
	char disk[PATH_MAX + 16];

	bow_session_disk(e, disk, sizeof(disk));
	struct bow_loop_options how = {.partitions = !e->partition && !e->mount_dir[0],
				       .readonly = e->before_only};
	int ret = bow_loop_ask(e->image, &how, err);
	if (!ret)
		ret = bow_loop_attach(disk, &how, &loop, err);
	if (ret)
		return ret;
	/* How many there are, a daemon has told only the command that started it. */
	if (how.partitions && (e->partitions || s->beside))
		bow_loop_add_partitions(&loop);
	memcpy(e->loop, loop.path, sizeof(e->loop));
	/* A daemon that has a mount already is tied to that. */
	if (!s->beside)
		ret = bow_daemon_tie_to_loop(&s->daemon, s->signal_fd, err);
	if (!ret)
		ret = bow_session_save(e, err);
	if (!ret && e->mount_dir[0])
		ret = mount_it(s, &loop, opts->mount_options, err);
	else if (!ret && !opts->brief)
		ret = bow_loop_keep(&loop, err);
	if (!ret && opts->brief)
		s->loop_fd = loop.fd;
	else
		close(loop.fd);
	return ret;
}

void bow_device_remove(const struct bow_session *e)
{
	char disk[PATH_MAX + 16], device[BOW_LOOP_NAME];

	if (!bow_service_has_loop(e, device))
		return;
	bow_session_disk(e, disk, sizeof(disk));
	if (e->mount_dir[0])
		bow_mounts_remove_all(bow_loop_number(device), MNT_DETACH, NULL);
	bow_loop_release(device, disk, bow_service_fs(e), NULL);
}
