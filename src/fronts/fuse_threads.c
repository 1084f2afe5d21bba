/* SPDX-License-Identifier: MIT */
/*
 * Threads that read a request from the kernel, run its handler, and come back.
 *
 * Each has one buffer. A request arrives in it so that the data of a WRITE begins on a page: the
 * image may be written with direct I/O, which needs aligned memory. A READ carries no data, and so
 * the same pages take its answer.
 */
#include "fronts/fuse_threads.h"

#include <linux/fuse.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fronts/fuse_private.h"
#include "fronts/notice.h"

#define PAGE 4096u
#define HEADER_BYTES (sizeof(struct fuse_in_header) + sizeof(struct fuse_write_in))
/* A page before the data; behind it libfuse wants a page more than the largest write. */
#define BUFFER_BYTES (PAGE + BOW_FUSE_MAX_IO + 2 * PAGE)
#define STACK_BYTES (512u << 10)

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

/* The deepest call must not be the one that makes the kernel look for a page. */
static __attribute__((noinline)) void touch_stack(void)
{
	char bytes[STACK_BYTES / 4];

	memset(bytes, 0x5a, sizeof(bytes));
	__asm__ volatile("" : : "r"(bytes) : "memory");
}

/* False: unmounted, cut off, or failed for good. */
static bool serve_one(struct bow_fuse *fuse)
{
	struct fuse_buf buf = {.mem = self->buffer + PAGE - HEADER_BYTES};
	int ret = fuse_session_receive_buf(fuse->session, &buf);

	if (ret == -EINTR || ret == -EAGAIN)
		return true;
	if (ret < 0)
		bow_notice("reading a request from the kernel: %s", strerror(-ret));
	if (ret <= 0)
		return false;
	bow_watchdog_begin(fuse->dog);
	fuse_session_process_buf(fuse->session, &buf);
	bow_watchdog_end(fuse->dog);
	return true;
}

static void *thread_main(void *arg)
{
	uint64_t one = 1;

	self = arg;
	struct bow_fuse *fuse = self->fuse;
	memset(self->buffer, 0, BUFFER_BYTES);
	touch_stack();
	sem_post(&fuse->ready);
	while (sem_wait(&fuse->go) < 0)
		;
	while (!fuse_session_exited(fuse->session) && serve_one(fuse))
		;
	if (atomic_fetch_sub(&fuse->running, 1) == 1 &&
	    write(fuse->ended_fd, &one, sizeof(one)) < 0)
		bow_notice("the end of serving could not be told on");
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
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	while (!ret && fuse->thread_count < BOW_FUSE_THREADS)
		ret = start_one(fuse, &attr);
	pthread_attr_destroy(&attr);
	for (unsigned i = 0; i < fuse->thread_count; i++)
		while (sem_wait(&fuse->ready) < 0)
			;
	/* After a failure they are let go as well: the unmount that follows ends them. */
	for (unsigned i = 0; i < fuse->thread_count; i++)
		sem_post(&fuse->go);
	return ret;
}

void bow_fuse_threads_join(struct bow_fuse *fuse)
{
	for (unsigned i = 0; i < fuse->thread_count; i++)
		pthread_join(fuse->threads[i].id, NULL);
}

void bow_fuse_threads_free(struct bow_fuse *fuse)
{
	for (unsigned i = 0; i < fuse->thread_count; i++)
		munmap(fuse->threads[i].buffer, BUFFER_BYTES);
	free(fuse->threads);
}
