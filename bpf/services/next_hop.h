/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause) */
/* How an address is reached: the kernel's routes and neighbours, asked once a tick and address. */
#pragma once

#include <linux/if_ether.h>

#include "../context.h"
#include "maps.h"

/* The kernel's own header of these needs a C library's. */
#define FAMILY_V4 2
#define FAMILY_V6 10

/* Places for next hops on each CPU, by the lower bits of the address, which neighbours do not share. */
#define NEAR_HOPS 4096

struct near_hop {
	struct address address;
	struct next_hop_record hop;
	__u64 padding[3]; /* to a cache line */
};

/* What a CPU has found in `next_hops`, its own and nobody else's, so that it may be written as it is read. Not pinned. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, NEAR_HOPS);
	__type(key, __u32);
	__type(value, struct near_hop);
} near_hops SEC(".maps");

/* Asks the kernel, on behalf of a device. 0: all is known and kept; 1: the neighbour is not known yet; else there is no way. */
static __noinline int ask_next_hop(context *packet, const struct address *to, __u32 device, __u32 tick, struct next_hop_record *found)
{
	struct bpf_fib_lookup route = { .ifindex = device, .tot_len = 1 };
	long told;

	if (is_v4(to)) {
		route.family = FAMILY_V4;
		route.ipv4_dst = to->words[3];
	} else {
		route.family = FAMILY_V6;
		__builtin_memcpy(route.ipv6_dst, to, sizeof(route.ipv6_dst));
	}
	told = bpf_fib_lookup(packet, &route, sizeof(route), 0);
	if (told != BPF_FIB_LKUP_RET_SUCCESS && told != BPF_FIB_LKUP_RET_NO_NEIGH)
		return -1;
	found->interface = route.ifindex;
	/* Without a neighbour the kernel does not say. */
	found->mtu = told == BPF_FIB_LKUP_RET_SUCCESS ? route.mtu_result : 0;
	found->expires = tick + 1;
	__builtin_memcpy(found->destination, route.dmac, sizeof(found->destination));
	__builtin_memcpy(found->source, route.smac, sizeof(found->source));
	if (told == BPF_FIB_LKUP_RET_NO_NEIGH)
		return 1;
	bpf_map_update_elem(&next_hops, to, found, BPF_ANY);
	return 0;
}

/* The same, from what any CPU has found in this tick. */
static __noinline int find_known_hop(context *packet, const struct address *to, __u32 device, __u32 tick, struct next_hop_record *found)
{
	const struct next_hop_record *known = bpf_map_lookup_elem(&next_hops, to);

	if (known && (__s32)(known->expires - tick) > 0) {
		*found = *known;
		return 0;
	}
	return ask_next_hop(packet, to, device, tick, found);
}

/* The same, from what this CPU has found in this tick: a lookup in the table of all costs thirty nanoseconds, this one three. */
static __always_inline int find_next_hop(context *packet, const struct address *to, __u32 device, __u32 tick,
					 struct next_hop_record *found)
{
	__u32 place = bpf_ntohl(to->words[3]) & (NEAR_HOPS - 1);
	struct near_hop *near = bpf_map_lookup_elem(&near_hops, &place);
	int trouble;

	if (near && same_address(&near->address, to) && (__s32)(near->hop.expires - tick) > 0) {
		*found = near->hop;
		return 0;
	}
	trouble = find_known_hop(packet, to, device, tick, found);
	if (!trouble && near) {
		near->address = *to;
		near->hop = *found;
	}
	return trouble;
}
