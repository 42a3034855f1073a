/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause) */
/* Every map of balancing: its key, who writes it, what bounds it. All are pinned and outlive programs and daemon.
 *
 * Sizes here are defaults; the loader may set others. */
#pragma once

#include <bpf/bpf_helpers.h>

#include "abi.h"
#include "../address.h"

/* The service images, as `images` has those of policy. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, SLOTS);
	__uint(key_size, 4);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_ARRAY);
		__uint(map_flags, BPF_F_MMAPABLE);
		__uint(max_entries, 1);
		__uint(key_size, 4);
		__uint(value_size, 4096 + RECORD_ROOM);
	});
} service_images SEC(".maps");

/* What the daemon changes while programs run; written through a mapping. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct service_settings);
} service_settings SEC(".maps");

/* Packets that are rewritten. Written by the programs, cleaned by the daemon; full, the least recently used go. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1 << 19);
	__type(key, struct translation_key);
	__type(value, struct translation_record);
} translations SEC(".maps");

/* Flows in unsettled slots. Written by the programs, cleaned by the daemon; full, the least recently used go. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1 << 18);
	__type(key, struct flow_key);
	__type(value, struct flow_record);
} flows SEC(".maps");

/* How an address is reached. Written by the programs, which ask the kernel again each tick. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1 << 16);
	__type(key, struct address);
	__type(value, struct next_hop_record);
} next_hops SEC(".maps");

/* What sockets asked for, by what they were given. Written by the programs; full, the least recently used go. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1 << 18);
	__type(key, struct socket_key);
	__type(value, struct socket_record);
} socket_services SEC(".maps");

/* What first fragments told, by place in the key's `interface`. Full, the least recently used go, and their datagrams are dropped. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1 << 13);
	__type(key, struct fragment_key);
	__type(value, struct fragment_record);
} service_fragments SEC(".maps");

/* Whether a pod's packet was ever rewritten, so that what comes to pods is looked up. Written by the programs, and never taken back. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} pods_answered SEC(".maps");

/* Whether a process of the node was ever led to a pod beside it from the wire, so that what pods send to the node is looked up. Written by the
 * programs, and never taken back. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} node_answered SEC(".maps");

/* By enum balance_counter. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, BALANCE_COUNTERS);
	__type(key, __u32);
	__type(value, struct counter_record);
} balance_counters SEC(".maps");

static __always_inline void count(enum balance_counter counter, __u32 bytes)
{
	__u32 key = counter;
	struct counter_record *record = bpf_map_lookup_elem(&balance_counters, &key);

	if (!record)
		return;
	record->packets++;
	record->bytes += bytes;
}

static __always_inline const struct service_settings *present_service_settings(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&service_settings, &zero);
}
