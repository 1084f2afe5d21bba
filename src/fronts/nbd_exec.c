/* SPDX-License-Identifier: MIT */
/*
 * Finding and starting nbdkit. It gets the listening socket in the way systemd hands one on, and
 * its end of the control socket by number.
 */
#include "fronts/nbd.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fronts/parts.h"
#include "fronts/process.h"

#define PLUGIN "nbdkit-bowimg-plugin.so"

/* Their numbers in nbdkit; the first is that of sd_listen_fds(3). */
enum { LISTEN_FD = 3, CONTROL_FD = 4 };

/* Next to the program, as it is built; then where it was installed. */
static int find_plugin(char *out, size_t bytes, struct bowimg_error *err)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	self[n > 0 ? n : 0] = '\0';
	char *slash = strrchr(self, '/');
	if (slash) {
		*slash = '\0';
		if (snprintf(out, bytes, "%s/" PLUGIN, self) < (int)bytes && access(out, R_OK) == 0)
			return 0;
	}
	if (snprintf(out, bytes, BOW_NBDKIT_PLUGIN_DIR "/" PLUGIN) < (int)bytes &&
	    access(out, R_OK) == 0)
		return 0;
	int ret = bow_err(err, -EOPNOTSUPP,
			  "serving over NBD needs " PLUGIN ", which is not installed in %s",
			  BOW_NBDKIT_PLUGIN_DIR);
	bow_err_hint(err, "build bowimg where nbdkit's headers are (Debian package "
			  "nbdkit-plugin-dev), and install it");
	return ret;
}

static int find_nbdkit(char *out, size_t bytes, struct bowimg_error *err)
{
	const char *dir = getenv("PATH"), *end;

	for (dir = dir ?: "/usr/bin:/bin"; *dir; dir = *end ? end + 1 : end) {
		end = strchrnul(dir, ':');
		if (snprintf(out, bytes, "%.*s/nbdkit", (int)(end - dir), dir) < (int)bytes &&
		    *dir == '/' && access(out, X_OK) == 0)
			return 0;
	}
	int ret =
		bow_err(err, -EOPNOTSUPP, "serving over NBD needs nbdkit, which is not installed");
	bow_err_hint(err, "install it: apt-get install nbdkit");
	return ret;
}

int bow_nbd_usable(struct bowimg_error *err)
{
	char path[PATH_MAX];
	int ret = find_nbdkit(path, sizeof(path), err);

	return ret ? ret : find_plugin(path, sizeof(path), err);
}

/* Both get their numbers, and lose their close-on-exec. */
static bool place_descriptors(int listen_fd, int control)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	/* Out of the way first: each may have the other's number. */
	listen_fd = fcntl(listen_fd, F_DUPFD_CLOEXEC, CONTROL_FD + 1);
	control = fcntl(control, F_DUPFD_CLOEXEC, CONTROL_FD + 1);
	/* Standard output is the command's, or its reader waits for our end. */
	return null >= 0 && listen_fd >= 0 && control >= 0 && dup2(null, STDIN_FILENO) >= 0 &&
	       dup2(null, STDOUT_FILENO) >= 0 && dup2(listen_fd, LISTEN_FD) >= 0 &&
	       dup2(control, CONTROL_FD) >= 0;
}

/*
 * In the child. A session of its own: Ctrl-C in the terminal is for us and the command; the disk
 * must not go while the command, which got it too, is still busy ending.
 */
static _Noreturn void become_nbdkit(const char *nbdkit, char *argv[], int listen_fd, int control)
{
	char pid[16];

	setsid();
	bow_process_restore_signals();
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	if (place_descriptors(listen_fd, control) && setenv("LISTEN_PID", pid, 1) == 0 &&
	    setenv("LISTEN_FDS", "1", 1) == 0)
		execv(nbdkit, argv);
	fprintf(stderr, "bowimg: starting %s: %s\n", nbdkit, strerror(errno));
	_exit(127);
}

static int spawn(struct bow_nbd *s, const char *nbdkit, char *argv[], int listen_fd,
		 struct bowimg_error *err)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return bow_err_errno(err, -errno, "starting nbdkit: making a pair of sockets");
	fflush(NULL);
	s->pid = fork();
	if (s->pid == 0)
		become_nbdkit(nbdkit, argv, listen_fd, pair[1]);
	int ret = s->pid < 0 ? -errno : 0;
	close(pair[1]);
	if (ret) {
		close(pair[0]);
		return bow_err_errno(err, ret, "starting nbdkit");
	}
	s->control = pair[0];
	return 0;
}

int bow_nbd_exec(struct bow_nbd *s, const struct bow_nbd_options *opts, int listen_fd,
		 struct bowimg_error *err)
{
	char nbdkit[PATH_MAX], plugin[PATH_MAX], image[PATH_MAX + 16];
	char arg0[] = "nbdkit", foreground[] = "--foreground", force[] = "force=changed";
	char filter[] = "--filter=offset", offset[32], range[32];
	char durability[32], control[32], learn[16], before[16];
	bool process = opts->durability == BOWIMG_DURABILITY_PROCESS;
	struct bowimg_partition part = {0};
	char *argv[13] = {arg0, foreground};
	int n = 2;

	int ret = find_nbdkit(nbdkit, sizeof(nbdkit), err);
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
	snprintf(learn, sizeof(learn), "learn=%s", opts->learn ? "yes" : "no");
	snprintf(before, sizeof(before), "before=%s", opts->before ? "yes" : "no");
	if (opts->partition)
		argv[n++] = filter;
	argv[n++] = plugin;
	argv[n++] = image;
	argv[n++] = durability;
	argv[n++] = control;
	argv[n++] = learn;
	argv[n++] = before;
	if (opts->partition) {
		argv[n++] = offset;
		argv[n++] = range;
	}
	if (opts->force & BOWIMG_FORCE_CHANGED)
		argv[n++] = force;
	return spawn(s, nbdkit, argv, listen_fd, err);
}
