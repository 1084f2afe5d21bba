/* SPDX-License-Identifier: MIT */
/*
 * The packets between the nbdkit plugin and the program that started it, over a connected pair of
 * SOCK_SEQPACKET sockets; the plugin gets one end as control=FD. The plugin sends a report when the
 * image is open (or cannot be opened), and one when it is closed. If the other end is shut down or
 * its process dies, that is the order to close the image and end, also with clients connected. An
 * image that was opened to track discards gets a checkpoint then, if an order to prepare it came
 * before.
 */
#ifndef BOW_NBDKIT_REPORT_H
#define BOW_NBDKIT_REPORT_H

#include "bowimg.h"

enum { BOW_NBD_OPENED = 1, BOW_NBD_CLOSED };

#define BOW_NBD_CACHE_BYTES (16u << 20)

/*
 * A server that dies is started again on the same image. Two files in memory, whose descriptors
 * each server gets, outlive it: carry=FD has what the dead one had not logged, and cache=FD, if it
 * is given, the cache that answers small writes. A server without the second has no cache.
 *
 * Packets have exactly these sizes.
 */
struct bow_nbd_report {
	int what;
	struct bowimg_error err; /* code 0: it went well */
	bool carried;		 /* opened: nothing is lost that an earlier server acknowledged */
	struct bowimg_prepare_report prepared;
};

struct bow_nbd_order {
	enum bowimg_choice exact;
	enum bowimg_store store;
	enum bowimg_on_full on_full;
	bool dry_run;
};

#endif
