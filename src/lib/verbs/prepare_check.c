/* SPDX-License-Identifier: MIT */
/* Can an image be prepared? Asked before its file system is read, and again before the first write.
 */
#include <inttypes.h>
#include <string.h>

#include "lib/probe/probe.h"
#include "lib/verbs/kinds.h"
#include "lib/verbs/prepare.h"

static int check_size(const struct bowimg_disk *dev, struct bowimg_error *err)
{
	if (dev->size < BOWIMG_MIN_SIZE)
		return bow_err(err, -EOPNOTSUPP,
			       "it is too small: %" PRIu64 " bytes, and the least is %u", dev->size,
			       BOWIMG_MIN_SIZE);
	if (dev->size > BOWIMG_MAX_SIZE)
		return bow_err(err, -EOPNOTSUPP,
			       "it is too large: %" PRIu64 " bytes, and the most is %llu (1 PiB)",
			       dev->size, (unsigned long long)BOWIMG_MAX_SIZE);
	return 0;
}

static int check_tail(const struct bowimg_disk *dev, const struct bow_prepare_plan *plan,
		      struct bowimg_error *err)
{
	if (dev->can_grow ||
	    (plan->store != BOWIMG_STORE_TAIL && plan->on_full != BOWIMG_ON_FULL_TAIL))
		return 0;
	bow_err(err, -EOPNOTSUPP, "a device cannot have a tail");
	bow_err_hint(err, "use --store=free and --on-full=stop");
	return -EOPNOTSUPP;
}

int bow_prepare_check(struct bowimg_disk *dev, struct bowimg_error *err)
{
	struct bow_identity id;
	int rc = check_size(dev, err);

	if (!rc)
		rc = bow_identify(dev, &id, err);
	if (!rc && id.state != BOWIMG_STATE_NONE)
		rc = bow_kind_refuse_prepare(&id, err);
	return rc ? rc : bow_probe_refuse_container(dev, err);
}

int bow_prepare_check_plan(struct bowimg_disk *dev, const struct bow_prepare_plan *plan,
			   struct bowimg_error *err)
{
	struct bow_identity id;
	int rc = check_size(dev, err);

	if (!rc)
		rc = check_tail(dev, plan, err);
	/* Rule 8: the end of an earlier checkpoint may be in the page cache only. */
	if (!rc && !plan->dry_run)
		rc = bow_disk_flush(dev, err);
	if (!rc && !plan->dry_run)
		rc = bow_disk_drop_cache(dev, 0, BOW_BLOCK, err);
	if (!rc)
		rc = bow_identify(dev, &id, err);
	if (rc)
		return rc;
	if (plan->block0 && memcmp(dev->first, plan->block0, BOW_BLOCK) != 0)
		rc = bow_disk_refuse_first(dev, err);
	if (!rc && id.state != BOWIMG_STATE_NONE)
		rc = bow_kind_refuse_prepare(&id, err);
	return rc;
}
