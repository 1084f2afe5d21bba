/* SPDX-License-Identifier: MIT */
/* Between lab_life.c and lab_look.c: calling what works on a device. */
#ifndef TESTS_LAB_DEVICE_H
#define TESTS_LAB_DEVICE_H

#include "lab.h"

/* Run `call` with the disk's device in `dev`; the device is closed again. */
#define WITH_DEVICE(lab, rc, call)                                \
	do {                                                      \
		struct bowimg_disk *dev = sim_open(&(lab)->disk); \
		memset(&(lab)->err, 0, sizeof((lab)->err));       \
		rc = call;                                        \
		bow_disk_close(dev, NULL);                        \
	} while (0)

/* LAB_OK: *rc is what prepare said. */
int lab_call_prepare(struct lab *lab, bool dry_run, int *rc);

#endif
