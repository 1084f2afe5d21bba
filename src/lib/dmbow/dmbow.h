/* SPDX-License-Identifier: MIT */
/* The checkpoint that the kernel's dm-bow left on a disk. bowimg can only end it. */
#ifndef BOW_DMBOW_DMBOW_H
#define BOW_DMBOW_DMBOW_H

#include "lib/checkpoint/kind.h"

extern const struct bow_checkpoint_kind bow_dmbow_kind;

#endif
