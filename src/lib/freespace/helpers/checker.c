/* SPDX-License-Identifier: MIT */
/*
 * Happy path: find the program; run it on the volume, exposed as a read-only file; it exits with 0.
 * Failure modes: it is not installed: the hint names the package. It finds damage: the message has
 * its output, and the hint the command that repairs it. It cannot do its work, or is killed: that
 * is an error, too.
 *
 * A checker that is told to only read may still open for writing, have a fault, or be another
 * program of that name. So the file cannot be written to, not even by root. If it cannot be exposed
 * in this way, there is no check.
 */
#include "lib/freespace/helpers/checker.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/program.h"
#include "lib/disk/part.h"
#include "lib/freespace/fs/ntfs_bitmap.h"
#include "lib/freespace/helpers/helper.h"
#include "lib/disk/hint.h"

#define ARGS_MAX 4

struct checker {
	const char *type; /* as libblkid calls it */
	const char *program;
	const char
		*args[ARGS_MAX]; /* before the volume: read only, and check although it is clean */
	uint8_t damage;		 /* bits of its exit status that say "damaged"; any other: failed */
	const char *package;	 /* of Debian */
	const char *mend;	 /* the hint */
	/* Checks what the program leaves out; may be NULL. -EUCLEAN. */
	int (*besides)(struct bowimg_disk *vol, struct bowimg_error *err);
};

#define REPAIR "repair the file system first: "
#define E2FSCK {"-f", "-n"}, 4, "e2fsprogs", REPAIR "e2fsck -f " BOW_HINT_DEVICE, NULL

/* clang-format off */
static const struct checker checkers[] = {
	{"ext2", "e2fsck", E2FSCK},
	{"ext3", "e2fsck", E2FSCK},
	{"ext4", "e2fsck", E2FSCK},
	{"xfs", "xfs_repair", {"-n", "-f"}, 1, "xfsprogs",
	 REPAIR "xfs_repair " BOW_HINT_DEVICE, NULL},
	{"btrfs", "btrfs", {"check", "--readonly"}, 1, "btrfs-progs",
	 "copy its files to a new one; this says what is wrong: btrfs check " BOW_HINT_DEVICE, NULL},
	{"vfat", "fsck.fat", {"-n"}, 1, "dosfstools",
	 REPAIR "fsck.fat -r " BOW_HINT_DEVICE, NULL},
	{"ntfs", "ntfsfix", {"-n"}, 1, "ntfs-3g",
	 "let Windows check and repair it first (chkdsk /f)", bow_ntfs_check_files},
	{"exfat", "fsck.exfat", {"-n"}, 7, "exfatprogs",
	 REPAIR "fsck.exfat -y " BOW_HINT_DEVICE, NULL},
	{"f2fs", "fsck.f2fs", {"-f", "--dry-run"}, 0xff, "f2fs-tools",
	 REPAIR "fsck.f2fs -f " BOW_HINT_DEVICE, NULL},
	{"hfsplus", "fsck.hfsplus", {"-f", "-n"}, 8, "hfsprogs",
	 REPAIR "fsck.hfsplus -f " BOW_HINT_DEVICE, NULL},
};
/* clang-format on */

struct job {
	const struct checker *checker;
	const struct bow_part_of *part;
	char program[PATH_MAX];
};

static const struct checker *find_checker(const char *type)
{
	for (size_t i = 0; i < sizeof(checkers) / sizeof(checkers[0]); i++)
		if (!strcmp(checkers[i].type, type))
			return &checkers[i];
	return NULL;
}

bool bow_checker_is_there(const char *type)
{
	return find_checker(type) != NULL;
}

/* Lines of output that do not say what is wrong. */
static const char *const noise[] = {
	"e2fsck ",
	"Pass ",
	"Fix? ",
	"Phase ",
	"- ",
	"Cannot get host",
	"Repair may",
	"the image and",
	"No modify flag",
	"Opening file",
	"Checking file",
	"UUID:",
	"total ",
	"found ",
	"file data ",
	"referenced ",
	"btree space",
	"fsck.fat ",
	"exfatprogs ",
	"Info:",
	"\"Linux version",
	"from \"Linux",
	"to \"Linux",
	"Done:",
	"Mounting volume",
	"Processing of",
	"Checking the",
	"NTFS volume",
	"NTFS partition",
	"ntfsresize ",
	"Device name",
	"Cluster size",
	"Current volume",
	"Current device",
	"Accounting cl",
	"Leaving file",
	"it: *****",
	NULL,
};

static bool is_noise(const char *line)
{
	return strstr(line, "[Ok") || strstr(line, "percent completed") ||
	       (line[0] == '[' && isdigit((unsigned char)line[1]));
}

static int report_damage(const struct job *job, const char *line, struct bowimg_error *err)
{
	const struct checker *c = job->checker;

	bow_err(err, -EUCLEAN,
		"%s: check the file system: %s finds it damaged, and nothing was changed: \"%s\"",
		job->part->dev->name, c->program, line);
	bow_err_hint(err, "%s", c->mend);
	return -EUCLEAN;
}

static int report_failure(const struct job *job, struct bow_helper_end *end,
			  struct bowimg_error *err)
{
	const struct checker *c = job->checker;
	char line[240];

	/* Users do not know the volume by this name. */
	bow_helper_output_forget(&end->output, BOW_HELPER_VOLUME);
	bow_helper_line(&end->output, noise, is_noise, line, sizeof(line));
	/* A status from 126 on comes from a shell, or from the loader. */
	if (end->status > 0 && end->status < 126 && end->status & c->damage)
		return report_damage(job, line, err);
	if (line[0])
		bow_err_wrap(err, -EIO, "it said \"%s\"", line);
	bow_err_hint(err, "check it by hand, without --check: %s", c->program);
	return bow_err_wrap(err, -EIO, "%s: check the file system; nothing was changed",
			    job->part->dev->name);
}

/* A checker that reads its disk at least this fast is not stopped, however little it prints. */
static unsigned patience_s(uint64_t bytes)
{
	return 600 + (unsigned)bow_min(bytes >> 24, 30u << 20);
}

static int check(struct job *job, const struct bowimg_helpers *helpers, struct bowimg_error *err)
{
	char *argv[ARGS_MAX + 3] = {job->program};
	/* xfs_repair gives up if the size of files is limited. */
	const struct bow_helper helper = {.argv = argv,
					  .file = BOW_PROGRAM_NULL,
					  .file_bytes = UINT64_MAX,
					  .silent_s = patience_s(job->part->bytes)};
	struct bow_helper_end end;
	size_t n = 1;

	for (size_t i = 0; i < ARGS_MAX && job->checker->args[i]; i++)
		argv[n++] = (char *)job->checker->args[i];
	argv[n] = (char *)BOW_HELPER_VOLUME;
	int rc = bow_volume_run(helpers, job->part, &helper, &end, err);
	return rc && end.ran ? report_failure(job, &end, err) : rc;
}

static int not_installed(const struct job *job, struct bowimg_error *err)
{
	const struct checker *c = job->checker;

	bow_err(err, -EOPNOTSUPP,
		"%s: check the file system: the program %s (package %s) is not installed, which "
		"checks %s; nothing was changed",
		job->part->dev->name, c->program, c->package, c->type);
	bow_err_hint(err, "apt install %s", c->package);
	return -EOPNOTSUPP;
}

static int not_exposed(const struct job *job, struct bowimg_error *err)
{
	bow_err_clear(err);
	bow_err(err, -EOPNOTSUPP,
		"%s: check the file system: without FUSE it cannot be exposed to %s as a file that "
		"cannot be written to; nothing was changed",
		job->part->dev->name, job->checker->program);
	bow_err_hint(err,
		     "let the container have /dev/fuse; or run %s yourself, and prepare "
		     "without --check",
		     job->checker->program);
	return -EOPNOTSUPP;
}

/* "a", "a+b": what does not fit is left out. */
static void note(char by[BOW_CHECKED_BYTES], const char *program)
{
	const size_t used = strlen(by), bytes = strlen(program);
	const char *known = strstr(by, program);

	if (known && (known[bytes] == '+' || !known[bytes]))
		return;
	if (used + bytes + 2 <= BOW_CHECKED_BYTES)
		snprintf(by + used, BOW_CHECKED_BYTES - used, "%s%s", used ? "+" : "", program);
}

static int check_besides(const struct job *job, struct bowimg_error *err)
{
	const struct bow_part_of *part = job->part;
	struct bowimg_disk *vol;
	int rc;

	if (!job->checker->besides)
		return 0;
	rc = bow_disk_part(part->dev, part->off, part->bytes, &vol, err);
	if (rc)
		return rc;
	rc = job->checker->besides(vol, err);
	bow_disk_close(vol, NULL);
	if (rc == -EUCLEAN)
		bow_err_hint(err, "%s", job->checker->mend);
	return rc;
}

int bow_checker_run(const struct bow_part_of *part, const char *type,
		    const struct bowimg_helpers *helpers, char by[BOW_CHECKED_BYTES],
		    struct bowimg_error *err)
{
	struct job job = {.part = part, .checker = find_checker(type)};
	int rc;

	if (!bow_helper_find(job.checker->program, job.program))
		return not_installed(&job, err);
	rc = check(&job, helpers, err);
	if (rc == -EOPNOTSUPP)
		return not_exposed(&job, err);
	if (!rc)
		rc = check_besides(&job, err);
	if (rc)
		bow_hint_finish(err, part->dev, part->off, part->bytes);
	else
		note(by, job.checker->program);
	return rc;
}
