/* SPDX-License-Identifier: MIT */
/* In place of the other nbd*.c files where bowimg is built without libnbd. */
#include "device/nbd.h"

int bow_nbd_open(const char *uri, enum bow_open_mode mode, struct bow_dev **out,
		 struct bowimg_error *err)
{
	(void)mode;
	(void)out;
	bow_err(err, -EOPNOTSUPP, "%s: open: this bowimg was built without libnbd", uri);
	bow_err_hint(err, "build it where libnbd's headers are (Debian package libnbd-dev)");
	return -EOPNOTSUPP;
}
