/* SPDX-License-Identifier: MIT */
/*
 * Each thread reads a request from the kernel, runs its handler, and reads the next.
 *
 * Each has one buffer. The data of a WRITE begins on a page in it: the image may be written with
 * direct I/O, which needs aligned memory. A READ carries no data, so the same pages take its
 * answer.
 */
#include "bowimg/fuse/threads.h"

#include <linux/fuse.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "bowimg/fuse/private.h"
#include "bowimg/host/notice.h"

#define PAGE 4096u
#define HEADER_BYTES (sizeof(struct fuse_in_header) + sizeof(struct fuse_write_in))
/* One page before the data; libfuse needs one more than the largest write behind it. */
#define BUFFER_BYTES (PAGE + BOW_FUSE_MAX_IO + 2 * PAGE)
/* Sanitizers need more. */
#ifndef BOW_FUSE_STACK_BYTES
#define BOW_FUSE_STACK_BYTES (512u << 10)
#endif

struct bow_fuse_thread {
	struct bow_fuse *fuse;
	pthread_t id;
	char *buffer;
};

static _Thread_local struct bow_fuse_thread *self;

void *bow_fuse_thread_buffer(void)
{
	return self->buffer + PAGE;
}

static bool uses_disks(const struct fuse_buf *buf)
{
	switch (((const struct fuse_in_header *)buf->mem)->opcode) {
	case FUSE_READ:
	case FUSE_WRITE:
	case FUSE_FALLOCATE:
	case FUSE_FSYNC:
	case FUSE_FLUSH:
	case FUSE_RELEASE:
		return true;
	default:
		return false;
	}
}

static void process(struct bow_fuse *fuse, struct fuse_buf *buf)
{
	bool uses = uses_disks(buf);

	if (uses)
		bow_fuse_use_disks(fuse);
	fuse_session_process_buf(fuse->session, buf);
	if (uses)
		bow_fuse_leave_disks(fuse);
}

/* False: unmounted, cut off, or failed. */
static bool serve_one(struct bow_fuse *fuse)
{
	struct fuse_buf buf = {.mem = self->buffer + PAGE - HEADER_BYTES};
	int ret = fuse_session_receive_buf(fuse->session, &buf);

	if (ret == -EINTR || ret == -EAGAIN)
		return true;
	if (ret < 0)
		bow_notice("cannot read a request from the kernel: %s", strerror(-ret));
	if (ret <= 0)
		return false;
	atomic_fetch_add(&fuse->busy, 1);
	bow_watchdog_begin(fuse->dog);
	process(fuse, &buf);
	bow_watchdog_end(fuse->dog);
	atomic_fetch_sub(&fuse->busy, 1);
	return true;
}

static void *thread_main(void *arg)
{
	uint64_t one = 1;

	self = arg;
	struct bow_fuse *fuse = self->fuse;
	while (sem_wait(&fuse->go) < 0)
		;
	while (!fuse_session_exited(fuse->session) && serve_one(fuse))
		;
	if (atomic_fetch_sub(&fuse->running, 1) == 1 &&
	    write(fuse->ended_fd, &one, sizeof(one)) < 0)
		bow_notice("cannot signal the end of serving: %s", strerror(errno));
	return NULL;
}

static int start_one(struct bow_fuse *fuse, const pthread_attr_t *attr)
{
	struct bow_fuse_thread *thread = &fuse->threads[fuse->thread_count];

	thread->fuse = fuse;
	thread->buffer = mmap(NULL, BUFFER_BYTES, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (thread->buffer == MAP_FAILED)
		return -errno;
	int ret = pthread_create(&thread->id, attr, thread_main, thread);
	if (ret) {
		munmap(thread->buffer, BUFFER_BYTES);
		return -ret;
	}
	fuse->thread_count++;
	atomic_fetch_add(&fuse->running, 1);
	return 0;
}

int bow_fuse_threads_start(struct bow_fuse *fuse)
{
	pthread_attr_t attr;
	int ret = 0;

	fuse->threads = calloc(BOW_FUSE_THREADS, sizeof(*fuse->threads));
	if (!fuse->threads)
		return -ENOMEM;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, BOW_FUSE_STACK_BYTES);
	while (!ret && fuse->thread_count < BOW_FUSE_THREADS)
		ret = start_one(fuse, &attr);
	pthread_attr_destroy(&attr);
	/* After a failure they run as well: the unmount that follows ends them. */
	for (unsigned i = 0; i < fuse->thread_count; i++)
		sem_post(&fuse->go);
	return ret;
}

static void nothing(int signo)
{
	(void)signo;
}

enum { JOIN_MS = 100 };

static bool join(const struct bow_fuse_thread *thread)
{
	struct timespec end;

	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_nsec += JOIN_MS * 1000000L;
	end.tv_sec += end.tv_nsec / 1000000000L;
	end.tv_nsec %= 1000000000L;
	return pthread_timedjoin_np(thread->id, NULL, &end) == 0;
}

/*
 * The kernel ends the connection with its last mount, and one may be left in another mount
 * namespace, where we cannot reach it. If no file is open, we can end first without any loss. A
 * signal interrupts a thread that waits for requests; one that is about to wait misses it.
 */
void bow_fuse_threads_join(struct bow_fuse *fuse)
{
	struct sigaction wake = {.sa_handler = nothing}, before;

	sigaction(SIGUSR1, &wake, &before);
	for (unsigned i = 0; i < fuse->thread_count; i++)
		while (!join(&fuse->threads[i])) {
			if (atomic_load(&fuse->open_count) > 0 || atomic_load(&fuse->busy) > 0)
				continue;
			fuse_session_exit(fuse->session);
			pthread_kill(fuse->threads[i].id, SIGUSR1);
		}
	sigaction(SIGUSR1, &before, NULL);
}

void bow_fuse_threads_free(struct bow_fuse *fuse)
{
	for (unsigned i = 0; i < fuse->thread_count; i++)
		munmap(fuse->threads[i].buffer, BUFFER_BYTES);
	free(fuse->threads);
}
