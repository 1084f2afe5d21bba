/* SPDX-License-Identifier: MIT */
/* For memory that outlives this process, and that the next one reads. */
#ifndef BOW_BASE_IN_ORDER_H
#define BOW_BASE_IN_ORDER_H

#include <stdatomic.h>

/*
 * Stores before this call happen before stores behind it. Only a kill ends this process while the
 * machine goes on, and the processor has finished every store up to that moment; so only the
 * compiler must keep the order.
 */
static inline void bow_in_order(void)
{
	atomic_signal_fence(memory_order_seq_cst);
}

#endif
