/* SPDX-License-Identifier: MIT */
/* bowimg's own kind of checkpoint. */
#ifndef BOW_OWN_OWN_H
#define BOW_OWN_OWN_H

#include "lib/checkpoint/kind.h"

extern const struct bow_checkpoint_kind bow_own_kind;

#endif
