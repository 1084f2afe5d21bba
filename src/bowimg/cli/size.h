/* SPDX-License-Identifier: MIT */
/* Numbers of bytes, and lengths of time, for people. */
#ifndef BOW_CLI_SIZE_H
#define BOW_CLI_SIZE_H

#include <stdint.h>

/* "0 bytes", "512 bytes", "4.0 KiB", "1.5 GiB": bow_cli_human(n).text in a printf. */
struct bow_cli_size {
	char text[32];
};
struct bow_cli_size bow_cli_human(uint64_t bytes);

/* "40 s", "5 min", "2 h", "3 days". */
struct bow_cli_size bow_cli_ago(uint64_t seconds);

#endif
