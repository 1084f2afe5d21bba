/* SPDX-License-Identifier: MIT */
#include "lib/base/stop.h"

int bow_stop_asked(const struct bowimg_events *events, struct bowimg_error *err)
{
	if (!events || !events->stop || !events->stop(events->ctx))
		return 0;
	return bow_err(err, -ECANCELED, "stopped on request");
}
