/* SPDX-License-Identifier: MIT */
/* Which other process uses the image, as far as the backend can tell. */
#include "lib/disk/disk.h"

#include "lib/inuse/guard.h"

bool bow_disk_file_in_use(struct bowimg_disk *dev)
{
	return dev->ops && dev->ops->in_use && dev->ops->in_use(dev, NULL);
}

void bow_disk_file_user(struct bowimg_disk *dev, struct bow_guard_user *user)
{
	*user = (struct bow_guard_user){.who = "another process"};
	if (dev->ops && dev->ops->in_use)
		dev->ops->in_use(dev, user);
}

int bow_disk_refuse_used(struct bowimg_disk *dev, struct bowimg_error *err)
{
	struct bow_guard_user user;

	bow_disk_file_user(dev, &user);
	bow_err(err, -EBUSY, "%s: in use: %s serves it", dev->name, user.who);
	if (user.hint[0])
		bow_err_hint(err, "%s", user.hint);
	return -EBUSY;
}
