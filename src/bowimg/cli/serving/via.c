/* SPDX-License-Identifier: MIT */
#include "bowimg/cli/serving/via.h"

#include <errno.h>
#include <unistd.h>

#include "lib/base/err.h"
#include "lib/base/show.h"
#include "bowimg/fuse/fuse.h"
#include "bowimg/host/loop.h"
#include "bowimg/host/memory.h"
#include "bowimg/nbd/nbd.h"
#include "bowimg/cli/message.h"

const struct bow_cli_choice bow_vias[] = {
	{"loop", BOW_VIA_LOOP},
	{"fuse", BOW_VIA_FUSE},
	{"nbd", BOW_VIA_NBD},
	{NULL, 0},
};

/* The way without FUSE, and without root. */
static void hint_nbd(const struct bow_cli *cli, struct bowimg_error *err)
{
	const char *image = BOW_WORD(cli->image);

	if (bow_nbd_usable(NULL))
		bow_err_hint(err, "give the container /dev/fuse and the right to mount; or install "
				  "nbdkit (apt-get install nbdkit), which needs neither");
	else
		bow_err_hint(err,
			     "NBD works here: bowimg serve --socket disk.sock %s; or bowimg run "
			     "--via=nbd %s -- COMMAND",
			     image, image);
}

static int check_fuse(const struct bow_cli *cli, struct bowimg_error *err)
{
	int ret = bow_fuse_usable(err);

	if (ret)
		hint_nbd(cli, err);
	return ret;
}

static int check_loop(const struct bow_cli *cli, struct bowimg_error *err)
{
	int ret = check_fuse(cli, err);

	if (ret)
		return ret;
	if (bow_loop_usable())
		return 0;
	ret = bow_err(err, -EOPNOTSUPP, "there are no loop devices here");
	bow_err_hint(err, "without them: bowimg attach --fuse DIR %s", BOW_WORD(cli->image));
	return ret;
}

static int check(const struct bow_cli *cli, enum bow_via via, struct bowimg_error *err)
{
	switch (via) {
	case BOW_VIA_LOOP:
		return check_loop(cli, err);
	case BOW_VIA_FUSE:
		return check_fuse(cli, err);
	default:
		return bow_nbd_usable(err);
	}
}

/* Also where a machine that is short of memory could hang. */
static int check_loop_and_memory(const struct bow_cli *cli, struct bowimg_error *err)
{
	int ret = check_loop(cli, err);

	return ret ? ret : bow_cgroup_refuse_limited(err);
}

/* Nothing works: what is missing for a file is said, since that takes the least. */
static int choose(struct bow_cli *cli, int *via, struct bowimg_error *err)
{
	int ret;

	if (geteuid() == 0 && check_loop_and_memory(cli, NULL) == 0) {
		*via = BOW_VIA_LOOP;
		bow_cli_note(cli, "%s: the disk is a loop device (--via=loop)", cli->image);
	} else if ((ret = check_fuse(cli, err)) == 0) {
		*via = BOW_VIA_FUSE;
		bow_cli_note(cli, "%s: the disk is a file (--via=fuse)", cli->image);
	} else if (bow_nbd_usable(NULL) == 0) {
		*via = BOW_VIA_NBD;
		bow_cli_note(cli, "%s: the disk is an NBD export (--via=nbd), because %s",
			     cli->image, err->message);
	} else {
		return ret;
	}
	return 0;
}

static int refuse(struct bow_cli *cli, int code, struct bowimg_error *err)
{
	if (!code)
		return 0;
	bow_err_wrap(err, code, "cannot offer the disk on %s", cli->image);
	return bow_cli_fail(cli, code, err);
}

int bow_via_choose(struct bow_cli *cli, int *via)
{
	struct bowimg_error err = {0};
	int ret;

	if (*via == BOW_VIA_DEFAULT)
		ret = choose(cli, via, &err);
	else if (*via == BOW_VIA_LOOP)
		ret = check_loop_and_memory(cli, &err);
	else
		ret = check(cli, *via, &err);
	return refuse(cli, ret, &err);
}

int bow_via_check(struct bow_cli *cli, enum bow_via via)
{
	struct bowimg_error err = {0};

	return refuse(cli, check(cli, via, &err), &err);
}

int bow_via_need_root(struct bow_cli *cli, const char *what)
{
	struct bowimg_error err = {0};

	if (bow_fuse_usable(NULL) == 0)
		bow_err_hint(&err, "without root: bowimg attach --fuse DIR %s",
			     BOW_WORD(cli->image));
	else
		hint_nbd(cli, &err);
	return bow_cli_error(cli, -EPERM, err.hint, "cannot %s %s: only root may %s", cli->verb,
			     cli->image, what);
}
