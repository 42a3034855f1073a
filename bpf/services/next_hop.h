/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause) */
/* How an address is reached: the kernel's routes and neighbours, asked once a tick and address. */
#pragma once

#include <linux/if_ether.h>

#include "../context.h"
#include "maps.h"

/* The kernel's own header of these needs a C library's. */
#define FAMILY_V4 2
#define FAMILY_V6 10

/* Asks the kernel. NULL: there is no way, or its neighbour is not known yet. `device` is where it is asked on behalf of. */
static __noinline const struct next_hop_record *ask_next_hop(context *packet, const struct address *to, __u32 device, __u32 tick)
{
	struct next_hop_record found = { .expires = tick + 1 };
	struct bpf_fib_lookup route = { .ifindex = device, .tot_len = 1 };

	if (!to->halves[0] && to->words[2] == bpf_htonl(0xFFFF)) {
		route.family = FAMILY_V4;
		route.ipv4_dst = to->words[3];
	} else {
		route.family = FAMILY_V6;
		__builtin_memcpy(route.ipv6_dst, to, sizeof(route.ipv6_dst));
	}
	if (bpf_fib_lookup(packet, &route, sizeof(route), 0) != BPF_FIB_LKUP_RET_SUCCESS)
		return NULL;
	found.interface = route.ifindex;
	found.mtu = route.mtu_result;
	__builtin_memcpy(found.destination, route.dmac, sizeof(found.destination));
	__builtin_memcpy(found.source, route.smac, sizeof(found.source));
	if (bpf_map_update_elem(&next_hops, to, &found, BPF_ANY))
		return NULL;
	return bpf_map_lookup_elem(&next_hops, to);
}

static __always_inline const struct next_hop_record *find_next_hop(context *packet, const struct address *to, __u32 device,
								   __u32 tick)
{
	const struct next_hop_record *known = bpf_map_lookup_elem(&next_hops, to);

	if (known && (__s32)(known->expires - tick) > 0)
		return known;
	return ask_next_hop(packet, to, device, tick);
}
