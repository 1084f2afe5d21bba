/* SPDX-License-Identifier: MIT */
/*
 * What goes between the nbdkit plugin and the program that started it, over a connected pair of
 * SOCK_SEQPACKET sockets whose one end the plugin is given as control=FD. The plugin sends a report
 * when the image is open (or cannot be opened), and one when it is closed. The other end's shutdown
 * or death is the order to close the image and end, whoever is still connected. An image that was
 * opened to learn its free map gets a checkpoint then, if an order to prepare it came before.
 */
#ifndef BOW_FRONTS_NBD_REPORT_H
#define BOW_FRONTS_NBD_REPORT_H

#include "bowimg.h"

enum { BOW_NBD_OPENED = 1, BOW_NBD_CLOSED };

/* Packets have exactly these sizes. */
struct bow_nbd_report {
	int what;
	struct bowimg_error err; /* code 0: it went well */
	struct bowimg_prepare_report prepared;
};

struct bow_nbd_order {
	enum bowimg_choice exact;
	enum bowimg_store store;
	enum bowimg_on_full on_full;
	bool dry_run;
};

#endif
