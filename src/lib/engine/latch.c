/* SPDX-License-Identifier: MIT */
/* After an error that nothing can repair, no more writes (rule 13). */
#include <string.h>

#include "lib/engine/engine.h"

int bow_engine_fail(struct bow_engine *img, int rc)
{
	pthread_mutex_lock(&img->lock);
	if (!img->failed)
		img->failed = rc;
	pthread_cond_broadcast(&img->changed);
	pthread_mutex_unlock(&img->lock);
	return rc;
}

int bow_engine_failed(struct bow_engine *img, struct bowimg_error *err)
{
	if (!img->failed)
		return 0;
	if (img->failed == -ESTALE) {
		bow_err(err, -EIO,
			"writes are refused since another program wrote to block 0 of the image");
		bow_err_hint(err, "detach it: bowimg leaves the image as it is now");
		return -EIO;
	}
	bow_err(err, -EIO, "writes are refused since the disk reported an error (%s)",
		strerror(-img->failed));
	bow_err_hint(err, "detach it; the image can still be rolled back");
	return -EIO;
}
