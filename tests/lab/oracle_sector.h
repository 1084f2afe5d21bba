/* SPDX-License-Identifier: MIT */
/* Between oracle.c, oracle_start.c and oracle_check.c: one sector and its admissible values. */
#ifndef TESTS_ORACLE_SECTOR_H
#define TESTS_ORACLE_SECTOR_H

#include "oracle.h"

#define SECTOR 512u
#define BLOCK 4096u
#define SECTORS_PER_BLOCK (BLOCK / SECTOR)

uint64_t oracle_hash_sector(const uint8_t *bytes);
/* Of what may well be the current content of sector i. */
uint64_t oracle_hash_of(struct oracle *o, uint32_t i, const uint8_t *bytes);

/* What is known of this sector has changed. */
void oracle_changed(struct oracle *o, uint32_t sector);

void oracle_only_value(struct oracle_sector *s, uint64_t value);
bool oracle_has_value(const struct oracle_sector *s, uint64_t value);
void oracle_add_value(struct oracle *o, struct oracle_sector *s, uint64_t value);

/* The sectors of a range: for (i = oracle_first_of(off); i < oracle_end_of(off, bytes); i++) */
uint32_t oracle_first_of(uint64_t off);
uint32_t oracle_end_of(uint64_t off, uint64_t bytes);

/* True if the range covers all of sector i that lies inside the disk. */
bool oracle_covers(const struct oracle *o, uint32_t i, uint64_t off, uint64_t bytes);

/* Another oracle has the same marks now; and: this one has them no longer. */
void oracle_marks_share(const struct oracle *o);
void oracle_marks_release(struct oracle *o);

/* Sector i as it is after `data` (NULL: zeros) was put at off. */
void oracle_overlay(const struct oracle *o, uint32_t i, uint64_t off, const uint8_t *data,
		    uint64_t bytes, uint8_t sector[SECTOR]);

#endif
