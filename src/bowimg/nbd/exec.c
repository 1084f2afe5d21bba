/* SPDX-License-Identifier: MIT */
/*
 * Finding and starting nbdkit. It gets the listening socket as from systemd, and the other
 * descriptors by number.
 */
#include "bowimg/nbd/nbd.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "lib/base/program.h"
#include "bowimg/host/parts.h"

#define PLUGIN "nbdkit-bowimg-plugin.so"

/* Their numbers in nbdkit; the first is that of sd_listen_fds(3). */
enum { LISTEN_FD = 3, CONTROL_FD, CARRY_FD, CACHE_FD, FD_COUNT };

/* The directory in which this program lies. */
static void own_dir(char out[PATH_MAX])
{
	ssize_t n = readlink("/proc/self/exe", out, PATH_MAX - 1);

	out[n > 0 ? n : 0] = '\0';
	char *slash = strrchr(out, '/');
	if (slash)
		*slash = '\0';
}

/* Next to the program, where it is built; then where nbdkit's plugins are, seen from there. */
static int find_plugin(char *out, size_t bytes, struct bowimg_error *err)
{
	static const char *const places[] = {"", BOW_NBDKIT_PLUGIN_PATH "/"};
	char dir[PATH_MAX];

	own_dir(dir);
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		if (snprintf(out, bytes, "%s/%s" PLUGIN, dir, places[i]) < (int)bytes &&
		    access(out, R_OK) == 0)
			return 0;
	int ret = bow_err(err, -EOPNOTSUPP,
			  "serving over NBD needs " PLUGIN ", which is neither in %s nor in %s/%s",
			  dir, dir, BOW_NBDKIT_PLUGIN_PATH);
	bow_err_hint(err, "build bowimg where nbdkit's headers are (Debian package "
			  "nbdkit-plugin-dev), and install it");
	return ret;
}

static int find_nbdkit(char path[PATH_MAX], struct bowimg_error *err)
{
	if (bow_program_find(getenv("PATH") ?: "/usr/bin:/bin", "nbdkit", path))
		return 0;
	int ret =
		bow_err(err, -EOPNOTSUPP, "serving over NBD needs nbdkit, which is not installed");
	bow_err_hint(err, "install it: apt-get install nbdkit");
	return ret;
}

int bow_nbd_usable(struct bowimg_error *err)
{
	char path[PATH_MAX];
	int ret = find_nbdkit(path, err);

	return ret ? ret : find_plugin(path, sizeof(path), err);
}

/* Each client takes a descriptor, also an idle one; the usual limit is made for select(2). */
static void allow_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/*
 * In the child. nbdkit gets a session of its own: Ctrl-C in the terminal goes to us and to the
 * command, which may still need the disk while it ends.
 */
static int prepare(void *unused)
{
	char pid[16];

	(void)unused;
	setsid();
	allow_descriptors();
	/* It may end by an assertion (042), which nobody needs to look into. */
	setrlimit(RLIMIT_CORE, &(struct rlimit){0});
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	return setenv("LISTEN_PID", pid, 1) < 0 || setenv("LISTEN_FDS", "1", 1) < 0 ? -errno : 0;
}

static int spawn(struct bow_nbd *s, char *argv[], struct bowimg_error *err)
{
	int control = bow_child_pair(&s->child);
	/* Standard output is the command's: its reader would wait for nbdkit. */
	const int fds[FD_COUNT] = {BOW_PROGRAM_NULL,
				   BOW_PROGRAM_NULL,
				   STDERR_FILENO,
				   [LISTEN_FD] = s->listening,
				   [CONTROL_FD] = control,
				   [CARRY_FD] = s->carry,
				   [CACHE_FD] = s->cache >= 0 ? s->cache : BOW_PROGRAM_NULL};
	const struct bow_program program = {
		.argv = argv, .fds = fds, .fd_count = FD_COUNT, .prepare = prepare};

	if (control < 0)
		return bow_err_errno(err, control, "cannot make a pair of sockets for nbdkit");
	int ret = bow_program_start(&program, &s->child);
	close(control);
	if (!ret)
		return 0;
	bow_child_end(&s->child);
	bow_err_errno(err, ret, "cannot start %s", argv[0]);
	return bow_err_wrap(err, -EIO, "cannot serve %s", s->image);
}

int bow_nbd_exec(struct bow_nbd *s, struct bowimg_error *err)
{
	const struct bow_nbd_options *opts = &s->opts;
	char nbdkit[PATH_MAX], plugin[PATH_MAX], image[PATH_MAX + 16];
	char foreground[] = "--foreground", force[] = "force=changed";
	char filter[] = "--filter=offset", offset[32], range[32];
	char durability[32], control[32], carry[32], cache[32], track[16], before[16];
	char mark[BOWIMG_MARK_NAME_MAX + 8];
	bool process = opts->durability == BOWIMG_DURABILITY_PROCESS;
	struct bowimg_partition part = {0};
	char *argv[20] = {nbdkit, foreground};
	int n = 2;

	int ret = find_nbdkit(nbdkit, err);
	if (!ret)
		ret = find_plugin(plugin, sizeof(plugin), err);
	if (!ret && opts->partition)
		ret = bow_parts_find(s->image, opts->partition, &part, err);
	if (ret)
		return ret;
	snprintf(offset, sizeof(offset), "offset=%" PRIu64, part.off);
	snprintf(range, sizeof(range), "range=%" PRIu64, part.bytes);
	snprintf(image, sizeof(image), "image=%s", s->image);
	snprintf(durability, sizeof(durability), "durability=%s", process ? "process" : "power");
	snprintf(control, sizeof(control), "control=%d", CONTROL_FD);
	snprintf(carry, sizeof(carry), "carry=%d", CARRY_FD);
	snprintf(cache, sizeof(cache), "cache=%d", CACHE_FD);
	snprintf(track, sizeof(track), "track=%s", opts->track ? "yes" : "no");
	snprintf(before, sizeof(before), "before=%s", opts->before ? "yes" : "no");
	if (opts->partition)
		argv[n++] = filter;
	argv[n++] = plugin;
	argv[n++] = image;
	argv[n++] = durability;
	argv[n++] = control;
	argv[n++] = carry;
	if (s->cache >= 0)
		argv[n++] = cache;
	argv[n++] = track;
	argv[n++] = before;
	if (opts->partition) {
		argv[n++] = offset;
		argv[n++] = range;
	}
	if (opts->mark) {
		snprintf(mark, sizeof(mark), "mark=%s", opts->mark);
		argv[n++] = mark;
	}
	if (opts->force & BOWIMG_FORCE_CHANGED)
		argv[n++] = force;
	return spawn(s, argv, err);
}
