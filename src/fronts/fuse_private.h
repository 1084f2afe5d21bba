/* SPDX-License-Identifier: MIT */
/* What the parts of the FUSE server share: session, threads, requests. */
#ifndef BOW_FRONTS_FUSE_PRIVATE_H
#define BOW_FRONTS_FUSE_PRIVATE_H

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
#include <limits.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <time.h>

#include "fronts/fuse.h"
#include "fronts/fuse_disk.h"

/* The largest read or write, and so what each thread has a buffer for. */
#define BOW_FUSE_MAX_IO (1u << 20)

/* More than processors: most of them wait for the disk, and a batch of backups gets fuller. */
#define BOW_FUSE_THREADS 16

/* A file: a range of the disk as it is, or, read-only, as it was. Its inode number is
 * BOW_FUSE_INO_FIRST + its index. */
struct bow_fuse_file {
	char name[16];
	enum bowimg_side side;
	bool readonly;
	uint64_t off, bytes;
};

#define BOW_FUSE_FILES_MAX (2 * (1 + BOWIMG_PARTITIONS_MAX))

struct bow_fuse {
	struct bow_fuse_disk disk;
	uint64_t disk_bytes;
	struct bow_fuse_file files[BOW_FUSE_FILES_MAX];
	unsigned file_count;
	bool no_holes;		 /* a device: see op_fallocate() */
	struct timespec started; /* the files' times */
	struct bow_watchdog *dog;
	struct fuse_session *session;
	char dir[PATH_MAX];
	unsigned connection;

	struct bow_fuse_thread *threads; /* BOW_FUSE_THREADS of them */
	unsigned thread_count;		 /* started so far */
	sem_t ready, go;
	atomic_uint running;
	int ended_fd, closed_fd;

	bool initialized; /* the kernel's INIT is answered */
	atomic_bool was_open;
	atomic_int open_count;
	atomic_int last_error; /* of requests; noticed once until it changes */
	pthread_mutex_t lost_lock;
	struct bowimg_error lost_flush; /* first failed flush that had nobody to tell */
};

extern const struct fuse_lowlevel_ops bow_fuse_ops;

enum { BOW_FUSE_INO_FIRST = FUSE_ROOT_ID + 1 };

/* fuse_names.c: the file with this number, or NULL. */
const struct bow_fuse_file *bow_fuse_file(const struct bow_fuse *fuse, fuse_ino_t ino);

/* fuse_names.c: requests about names and attributes, as libfuse calls them. */
void bow_fuse_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void bow_fuse_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void bow_fuse_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
		      struct fuse_file_info *fi);
void bow_fuse_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		      struct fuse_file_info *fi);
void bow_fuse_statfs(fuse_req_t req, fuse_ino_t ino);

/* The calling thread's buffer for the answer of a read: BOW_FUSE_MAX_IO bytes, page aligned. */
void *bow_fuse_thread_buffer(void);

#endif
