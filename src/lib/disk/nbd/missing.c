/* SPDX-License-Identifier: MIT */
/* Replaces the other files of this folder if bowimg is built without libnbd. */
#include "lib/disk/nbd/nbd.h"

int bow_nbd_open(const char *uri, enum bow_open_mode mode, const struct bowimg_events *events,
		 struct bowimg_disk **out, struct bowimg_error *err)
{
	(void)mode;
	(void)events;
	(void)out;
	bow_err(err, -EOPNOTSUPP, "%s: open: this bowimg was built without libnbd", uri);
	bow_err_hint(err, "build it where libnbd's headers are (Debian package libnbd-dev)");
	return -EOPNOTSUPP;
}
