/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause) */
/* What a program is handed: a packet as tc has it, or with FOR_XDP defined as XDP has it. Both have `data` and `data_end`. */
#pragma once

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#ifdef FOR_XDP
typedef struct xdp_md context;
#else
typedef struct __sk_buff context;
#endif

/* Copies from the packet wherever its bytes lie; 0 if they are there. */
static __always_inline long load_bytes(context *packet, __u32 offset, void *to, __u32 size)
{
#ifdef FOR_XDP
	return bpf_xdp_load_bytes(packet, offset, to, size);
#else
	return bpf_skb_load_bytes(packet, offset, to, size);
#endif
}
