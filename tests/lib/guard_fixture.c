/* SPDX-License-Identifier: MIT */
/* See guard_fixture.h. */
#include "guard_fixture.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

int guard_set_up(void **state)
{
	struct guard_fixture *t = calloc(1, sizeof(*t));

	*state = t;
	if (!t || !host_temp_dir(t->dir))
		return -1;
	t->to_child = -1;
	snprintf(t->image, sizeof(t->image), "%s/disk.img", t->dir);
	snprintf(t->other, sizeof(t->other), "%s/other", t->dir);
	snprintf(t->mount, sizeof(t->mount), "%s/mnt point", t->dir);
	return mkdir(t->mount, 0700) == 0 && host_make_file(t->image, GUARD_IMAGE_BYTES) ? 0 : -1;
}

int guard_end_child(struct guard_fixture *t)
{
	int status = -1;

	if (t->to_child >= 0)
		close(t->to_child);
	t->to_child = -1;
	if (t->child > 0)
		waitpid(t->child, &status, 0);
	t->child = 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int guard_tear_down(void **state)
{
	struct guard_fixture *t = *state;
	int rc = bow_disk_close(t->dev, NULL);

	guard_end_child(t);
	if (t->swap[0])
		host_run("PATH=$PATH:/sbin swapoff '%s'", t->swap);
	host_run("mountpoint -q '%s' && umount '%s'", t->mount, t->mount);
	host_loop_detach(t->loop);
	host_remove_tree(t->dir);
	free(t);
	return rc;
}

void guard_in_child(struct guard_fixture *t, int (*act)(struct guard_fixture *t))
{
	int down[2], up[2], result = -1;
	char byte;

	assert_int_equal(pipe2(down, O_CLOEXEC), 0);
	assert_int_equal(pipe2(up, O_CLOEXEC), 0);
	t->child = fork();
	assert_true(t->child >= 0);
	if (t->child == 0) {
		close(down[1]);
		result = act(t);
		if (write(up[1], &result, sizeof(result)) < 0 || read(down[0], &byte, 1) < 0)
			_exit(99);
		_exit(result);
	}
	close(down[0]);
	close(up[1]);
	t->to_child = down[1];
	assert_int_equal(read(up[0], &result, sizeof(result)), sizeof(result));
	close(up[0]);
	assert_int_equal(result, 0);
}

void guard_assert_busy(struct guard_fixture *t, const char *path, const char *word,
		       const char *hint)
{
	struct bowimg_error err = {0};
	int rc = bow_disk_open_file(path, BOW_OPEN_EXCLUSIVE, NULL, &t->dev, &err);

	if (rc != -EBUSY || !strstr(err.message, "in use: ") || !strstr(err.message, path) ||
	    !strstr(err.message, word) || !strstr(err.hint, hint))
		fail_msg("%d \"%s\" (%s); expected \"%s\" (%s)", rc, err.message, err.hint, word,
			 hint);
}

void guard_open(struct guard_fixture *t, const char *path)
{
	struct bowimg_error err = {0};

	if (bow_disk_open_file(path, BOW_OPEN_EXCLUSIVE, NULL, &t->dev, &err))
		fail_msg("%s (%s)", err.message, err.hint);
}

void guard_close(struct guard_fixture *t)
{
	assert_int_equal(bow_disk_close(t->dev, NULL), 0);
	t->dev = NULL;
}
