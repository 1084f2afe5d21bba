/* SPDX-License-Identifier: MIT */
/* The output of a helper program: its end is kept, and shown in a message. */
#ifndef BOW_FREESPACE_HELPERS_OUTPUT_H
#define BOW_FREESPACE_HELPERS_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>

struct bow_helper_output {
	char text[8192]; /* ends with '\0' */
	size_t bytes;
};

/* Append; what is older is dropped if there is no room. */
void bow_helper_output_add(struct bow_helper_output *out, const char *text, size_t bytes);

/* Replace a name by "it", everywhere. The name is at least two bytes long. */
void bow_helper_output_forget(struct bow_helper_output *out, const char *name);

/*
 * All of it in one printable line, as far as it fits; without lines that begin with one of `noise`,
 * a list that ends with NULL, or for which `is_noise`, unless NULL, is true. The output is used up.
 */
void bow_helper_line(struct bow_helper_output *out, const char *const noise[],
		     bool (*is_noise)(const char *line), char *line, size_t room);

#endif
