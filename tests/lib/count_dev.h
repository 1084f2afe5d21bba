/* SPDX-License-Identifier: MIT */
/*
 * An image that counts what is done to it, in a way that does not depend on the machine.
 *
 * The blocks in use have all the same content, and whoever writes uses it, too. Such blocks are not
 * stored: gigabytes of them cost nothing. What is written besides is the log, and sector 0.
 *
 * How many requests share a barrier would be for the machine to say. So a barrier waits until all
 * threads that joined have come as far as they can: until they sleep.
 */
#ifndef TESTS_COUNT_DEV_H
#define TESTS_COUNT_DEV_H

#include "lib/disk/disk.h"

#define COUNT_DEV_CONTENT 0xa5u
#define COUNT_DEV_QUEUE 16u /* most threads at a time */

/* An image whose first blocks are in use. One at a time; NULL if memory is out. */
struct bowimg_disk *count_dev_new(uint64_t blocks, uint64_t used_blk);

/* Since the program began: requests to the image, bytes written besides data. */
uint64_t count_dev_requests(void);
uint64_t count_dev_log_bytes(void);

/* This thread sends requests from now on; no more. */
void count_dev_join(void);
void count_dev_leave(void);

#endif
