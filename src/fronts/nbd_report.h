/* SPDX-License-Identifier: MIT */
/*
 * What goes between the nbdkit plugin and the program that started it, over a connected pair of
 * SOCK_SEQPACKET sockets whose one end the plugin is given as control=FD. The plugin sends a report
 * when the image is open (or cannot be opened), and one when it is closed. The other end's shutdown
 * or death is the order to close the image and end, whoever is still connected.
 */
#ifndef BOW_FRONTS_NBD_REPORT_H
#define BOW_FRONTS_NBD_REPORT_H

#include "bowimg.h"

enum { BOW_NBD_OPENED = 1, BOW_NBD_CLOSED };

/* One packet, of exactly this size. */
struct bow_nbd_report {
	int what;
	struct bowimg_error err; /* code 0: it went well */
};

#endif
