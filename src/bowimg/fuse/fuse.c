/* SPDX-License-Identifier: MIT */
/*
 * The FUSE session: mount, answer INIT, serve with a fixed number of threads, unmount.
 *
 * libfuse's own loop starts threads and allocates their buffers when requests come in. Under a loop
 * device there may be no memory at that moment. So every thread, its stack and its buffer exist
 * before the first request of a user is read; the daemon then takes their pages (host/memory.c).
 */
#include "bowimg/fuse/private.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "lib/base/cleanup.h"
#include "bowimg/fuse/threads.h"
#include "bowimg/host/mounts.h"
#include "bowimg/host/notice.h"

static void to_notice(enum fuse_log_level level, const char *fmt, va_list args)
{
	char text[512];

	if (level > FUSE_LOG_WARNING)
		return;
	vsnprintf(text, sizeof(text), fmt, args);
	text[strcspn(text, "\n")] = '\0';
	bow_notice("%s", text);
}

/* A comma or backslash in the image's name must not start another mount option. */
static int add_name(struct fuse_args *args, const char *image)
{
	char *option = NULL;
	char name[PATH_MAX + 16];

	snprintf(name, sizeof(name), "fsname=%s", image);
	int ret = fuse_opt_add_opt_escaped(&option, name);
	if (!ret)
		ret = fuse_opt_add_arg(args, "-o");
	if (!ret)
		ret = fuse_opt_add_arg(args, option);
	free(option);
	return ret;
}

static int make_session(struct bow_fuse *fuse, const char *image)
{
	static const char *const fixed[] = {"bowimg", "-o", "default_permissions,subtype=bowimg",
					    "-o", "max_read=1048576"};
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	int ret = 0;

	_Static_assert(BOW_FUSE_MAX_IO == 1048576, "max_read is BOW_FUSE_MAX_IO in words");
	for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
		ret |= fuse_opt_add_arg(&args, fixed[i]);
	ret |= add_name(&args, image);
	if (!ret)
		fuse->session = fuse_session_new(&args, &bow_fuse_ops, sizeof(bow_fuse_ops), fuse);
	fuse_opt_free_args(&args);
	return fuse->session ? 0 : -ENOMEM;
}

static int find_connection(struct bow_fuse *fuse, struct bowimg_error *err)
{
	CLEANUP_FREE struct bow_mount *m = malloc(sizeof(*m));
	if (!m)
		return bow_err_errno(err, -ENOMEM, "cannot mount FUSE at %s", fuse->dir);
	int ret = bow_mounts_at(fuse->dir, m, err);
	if (ret < 0)
		return bow_err_wrap(err, ret, "cannot mount FUSE at %s", fuse->dir);
	if (ret == 0)
		return bow_err(err, -EIO,
			       "cannot mount FUSE at %s: it is not in the list of mounts",
			       fuse->dir);
	fuse->connection = minor(m->dev); /* the kernel names connections by their device number */
	return 0;
}

static void release(struct bow_fuse *fuse)
{
	bow_fuse_threads_free(fuse);
	if (fuse->session)
		fuse_session_destroy(fuse->session);
	if (fuse->ended_fd >= 0)
		close(fuse->ended_fd);
	if (fuse->closed_fd >= 0)
		close(fuse->closed_fd);
	bow_fuse_marks_close(fuse);
	pthread_rwlock_destroy(&fuse->disks);
	pthread_mutex_destroy(&fuse->marks_lock);
	pthread_mutex_destroy(&fuse->lost_lock);
	sem_destroy(&fuse->go);
	free(fuse);
}

static int mount_session(struct bow_fuse *fuse, struct bowimg_error *err)
{
	if (fuse_session_mount(fuse->session, fuse->dir) != 0) {
		int ret = bow_err(err, -EIO, "cannot mount FUSE at %s", fuse->dir);
		bow_err_hint(err, "it takes a directory of yours");
		return ret;
	}
	int ret = find_connection(fuse, err);
	if (ret)
		fuse_session_unmount(fuse->session);
	return ret;
}

static bool is_device(const char *image)
{
	struct stat st;

	return stat(image, &st) == 0 && S_ISBLK(st.st_mode);
}

/* A file for the whole disk, and one for each partition. NULL: a disk that is not opened yet. */
static void add_disk(struct bow_fuse *fuse, const struct bow_parts *parts, bowimg_disk *disk,
		     const char *name)
{
	struct bow_fuse_file *file = &fuse->files[fuse->file_count];
	const bool readonly = disk && bowimg_disk_is_readonly(disk);

	*file = (struct bow_fuse_file){.disk = disk,
				       .readonly = readonly,
				       .bytes = bowimg_disk_size(disk ?: fuse->files[0].disk)};
	snprintf(file->name, sizeof(file->name), "%s", name);
	for (uint32_t i = 0; i < parts->count; i++) {
		const struct bowimg_partition *p = &parts->list[i];

		*++file = (struct bow_fuse_file){
			.disk = disk, .readonly = readonly, .off = p->off, .bytes = p->bytes};
		snprintf(file->name, sizeof(file->name), "%s%u", name, p->number);
	}
	fuse->file_count += 1 + parts->count;
}

static void add_disks(struct bow_fuse *fuse, const struct bow_fuse_source *source,
		      const struct bow_parts *parts)
{
	if (source->disk)
		add_disk(fuse, parts, source->disk, BOW_FUSE_FILE);
	if (source->before)
		add_disk(fuse, parts, source->before, BOW_FUSE_BEFORE);
	fuse->listed = fuse->file_count;
	if (source->open_disk)
		add_disk(fuse, source->parts_of_disk, NULL, BOW_FUSE_FILE);
}

/* Who wants to open the disk does not wait for ever, however many requests there are. */
static void init_disks_lock(struct bow_fuse *fuse)
{
	pthread_rwlockattr_t attr;

	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&fuse->disks, &attr);
	pthread_rwlockattr_destroy(&attr);
}

int bow_fuse_new(const struct bow_fuse_source *source, const struct bow_parts *parts,
		 const char *image, const char *dir, struct bow_watchdog *dog,
		 struct bow_fuse **out, struct bowimg_error *err)
{
	struct bow_fuse *fuse = calloc(1, sizeof(*fuse));

	if (!fuse)
		return bow_err_errno(err, -ENOMEM, "cannot serve %s", image);
	fuse_set_log_func(to_notice);
	fuse->disk.source = *source;
	add_disks(fuse, source, parts);
	fuse->no_holes = (source->disk || source->open_disk) && !source->brief && is_device(image);
	fuse->dog = dog;
	clock_gettime(CLOCK_REALTIME, &fuse->started);
	snprintf(fuse->dir, sizeof(fuse->dir), "%s", dir);
	fuse->ended_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	fuse->closed_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pthread_mutex_init(&fuse->lost_lock, NULL);
	pthread_mutex_init(&fuse->marks_lock, NULL);
	init_disks_lock(fuse);
	sem_init(&fuse->go, 0, 0);
	int ret = fuse->ended_fd < 0 || fuse->closed_fd < 0 ? -errno : make_session(fuse, image);
	ret = ret ? bow_err_errno(err, ret, "cannot serve %s", image) : mount_session(fuse, err);
	if (ret)
		release(fuse);
	else
		*out = fuse;
	return ret;
}

int bow_fuse_new_brief(bowimg_disk *disk, bowimg_disk *before, const char *name, const char *dir,
		       struct bow_fuse **out, struct bowimg_error *err)
{
	const struct bow_fuse_source source = {.disk = disk, .before = before, .brief = true};
	static const struct bow_parts none;

	return bow_fuse_new(&source, &none, name, dir, NULL, out, err);
}

void bow_fuse_punched_is_free(struct bow_fuse *fuse)
{
	atomic_store(&fuse->disk.punched_is_free, true);
}

unsigned bow_fuse_connection(const struct bow_fuse *fuse)
{
	return fuse->connection;
}

/* libfuse sets the size of its buffers with INIT, so INIT uses libfuse's own buffer. */
static int answer_init(struct bow_fuse *fuse, struct bowimg_error *err)
{
	struct fuse_buf buf = {0};
	int ret = 1;

	while (!fuse->initialized && ret > 0) {
		ret = fuse_session_receive_buf(fuse->session, &buf);
		if (ret == -EINTR || ret == -EAGAIN)
			ret = 1;
		else if (ret > 0)
			fuse_session_process_buf(fuse->session, &buf);
	}
	free(buf.mem);
	if (fuse->initialized && !fuse_session_exited(fuse->session))
		return 0;
	return bow_err_errno(err, ret < 0 ? ret : -EIO,
			     "cannot answer the first request of FUSE at %s", fuse->dir);
}

int bow_fuse_start(struct bow_fuse *fuse, struct bowimg_error *err)
{
	int ret = answer_init(fuse, err);

	if (ret)
		return ret;
	ret = bow_fuse_threads_start(fuse);
	return ret ? bow_err_errno(err, ret, "cannot start threads for FUSE at %s", fuse->dir) : 0;
}

int bow_fuse_ended_fd(const struct bow_fuse *fuse)
{
	return fuse->ended_fd;
}

int bow_fuse_closed_fd(const struct bow_fuse *fuse)
{
	return fuse->closed_fd;
}

bool bow_fuse_is_open(const struct bow_fuse *fuse)
{
	return !atomic_load(&fuse->was_open) || atomic_load(&fuse->open_count) > 0;
}

void bow_fuse_wait_closed(struct bow_fuse *fuse, int timeout_ms)
{
	struct pollfd fd = {.fd = fuse->closed_fd, .events = POLLIN};
	uint64_t count;

	while (atomic_load(&fuse->open_count) > 0 && poll(&fd, 1, timeout_ms) > 0)
		if (read(fuse->closed_fd, &count, sizeof(count)) < 0)
			return;
}

static bool is_mounted(const struct bow_fuse *fuse)
{
	CLEANUP_FREE struct bow_mount *m = malloc(sizeof(*m));

	return m && bow_mounts_at(fuse->dir, m, NULL) == 1 &&
	       m->dev == makedev(0, fuse->connection) && strncmp(m->type, "fuse", 4) == 0;
}

/*
 * libfuse's own unmount closes the descriptor first, while threads read from it. So we unmount
 * first, which ends the threads; libfuse then finds that the mount is gone. The unmount is lazy, so
 * processes that have the file open can finish. A mount that was cut off stays: under a loop device
 * it goes last, after the device is detached.
 */
static void unmount_and_join(struct bow_fuse *fuse)
{
	struct bowimg_error err = {0};

	if (atomic_load(&fuse->running) && is_mounted(fuse) &&
	    bow_mounts_remove(fuse->dir, MNT_DETACH, &err) != 0)
		bow_notice_error(&err);
	bow_fuse_threads_join(fuse);
	fuse_session_unmount(fuse->session);
}

/* Errors that no caller has seen yet. */
static int last_words(const struct bow_fuse *fuse, bool cut_off, struct bowimg_error *err)
{
	int ret = 0;

	if (cut_off)
		ret = bow_err(err, -EIO, "the connection of FUSE at %s was aborted", fuse->dir);
	else if (fuse->lost.code)
		ret = bow_err(err, fuse->lost.code, "%s", fuse->lost.message);
	if (ret)
		bow_err_hint(err, "what was not flushed may be lost; attach the image again, or "
				  "roll it back");
	return ret;
}

int bow_fuse_stop(struct bow_fuse *fuse, struct bowimg_error *err)
{
	/* If threads ended while the mount is there, they were cut off from it. */
	bool cut_off = fuse->thread_count && atomic_load(&fuse->running) == 0 && is_mounted(fuse);

	unmount_and_join(fuse);
	int ret = last_words(fuse, cut_off, err);
	release(fuse);
	return ret;
}
