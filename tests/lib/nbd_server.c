/* SPDX-License-Identifier: MIT */
/* See nbd_server.h. */
#include "lib/nbd_server.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

int nbd_server_set_up(void **state)
{
	struct nbd_server *s = calloc(1, sizeof(*s));

	if (!s || !host_temp_dir(s->dir))
		return -1;
	snprintf(s->image, sizeof(s->image), "%s/disk.img", s->dir);
	snprintf(s->socket, sizeof(s->socket), "%s/socket", s->dir);
	snprintf(s->uri, sizeof(s->uri), "nbd+unix:///?socket=%s", s->socket);
	*state = s;
	return 0;
}

int nbd_server_tear_down(void **state)
{
	struct nbd_server *s = *state;

	if (s->dev)
		s->dev->ops->close(s->dev);
	nbd_server_kill(s);
	host_remove_tree(s->dir);
	free(s);
	return 0;
}

static void make_image(const struct nbd_server *s)
{
	if (access(s->image, F_OK) != 0)
		assert_int_equal(
			host_run("head -c %u /dev/urandom >'%s'", NBD_IMAGE_BYTES, s->image), 0);
}

/* Dies with the test program. */
static pid_t start(const char *command)
{
	pid_t pid = fork();

	if (pid == 0) {
		int null = open("/dev/null", O_RDWR);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(null, 0);
		dup2(null, 1);
		execl("/bin/sh", "sh", "-c", command, NULL);
		_exit(127);
	}
	return pid;
}

static void await_socket(const struct nbd_server *s)
{
	char ready[HOST_PATH_BYTES + 32];

	snprintf(ready, sizeof(ready), "%s/pid", s->dir);
	for (int i = 0; i < 1000 && access(ready, F_OK) != 0; i++) {
		assert_int_equal(waitpid(s->pid, NULL, WNOHANG), 0);
		usleep(10000);
	}
}

static bool is_built_in(void)
{
	struct bowimg_error err = {0};
	struct bowimg_disk *dev;

	bow_disk_open_file("nbd+unix:///?socket=/nonexistent", BOW_OPEN_LOOK, NULL, &dev, &err);
	return !strstr(err.message, "built without");
}

static void start_kit(struct nbd_server *s, const char *args)
{
	char command[2048];

	host_require(host_has_tool("nbdkit"), "nbdkit");
	host_require(is_built_in(), "libnbd, with which to build");
	unlink(s->socket);
	host_run("rm -f '%s/pid'", s->dir);
	snprintf(command, sizeof(command), "exec nbdkit -f -U '%s' -P '%s/pid' %s", s->socket,
		 s->dir, args);
	s->pid = start(command);
	assert_true(s->pid > 0);
	await_socket(s);
}

void nbd_server_start(struct nbd_server *s, const char *filters, const char *parameters)
{
	char args[1024];

	make_image(s);
	snprintf(args, sizeof(args), "%s file '%s' %s", filters, s->image, parameters);
	start_kit(s, args);
}

void nbd_server_start_plugin(struct nbd_server *s, const char *plugin)
{
	start_kit(s, plugin);
}

void nbd_server_kill(struct nbd_server *s)
{
	if (s->pid <= 0)
		return;
	kill(s->pid, SIGKILL);
	waitpid(s->pid, NULL, 0);
	s->pid = 0;
}

void nbd_server_open(struct nbd_server *s, enum bow_open_mode mode)
{
	struct bowimg_error err = {0};

	if (bow_disk_open_file(s->uri, mode, NULL, &s->dev, &err))
		fail_msg("%s (%s)", err.message, err.hint);
}

void nbd_server_close(struct nbd_server *s)
{
	struct bowimg_disk *dev = s->dev;

	s->dev = NULL;
	assert_int_equal(bow_disk_close(dev, NULL), 0);
}

void nbd_server_assert_refused(struct nbd_server *s, int code, const char *word)
{
	struct bowimg_error err = {0};
	struct bowimg_disk *dev = NULL;
	int rc = bow_disk_open_file(s->uri, BOW_OPEN_EXCLUSIVE, NULL, &dev, &err);

	if (dev)
		dev->ops->close(dev);
	if (rc != code || !strstr(err.message, word) || !strstr(err.message, s->uri) ||
	    !err.hint[0])
		fail_msg("%d \"%s\" (%s); expected %d \"%s\"", rc, err.message, err.hint, code,
			 word);
}

void nbd_server_look(struct nbd_server *s, void *buf, size_t bytes, uint64_t off)
{
	int fd = open(s->image, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, buf, bytes, (off_t)off), bytes);
	close(fd);
}
