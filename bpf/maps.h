/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause) */
/* Every map: its key, who writes it, what bounds it. All are pinned and outlive programs and daemon.
 *
 * Sizes here are defaults; the loader may set others. */
#pragma once

#include <bpf/bpf_helpers.h>

#include "abi.h"
#include "address.h"

/* The images: by slot, a map of one value. The daemon writes into the slot that no packet uses, then Settings.generation.
 * The inner map here stands for the one of the size class that the loader makes. */
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
} images SEC(".maps");

/* What the daemon changes while programs run; written through a mapping. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct settings);
} settings SEC(".maps");

/* Whose an address of the cluster is. Written by the daemon; an address that is not here is outside. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1 << 20);
	__type(key, __be32);
	__type(value, struct address_record);
} addresses_v4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1 << 20);
	__type(key, struct address);
	__type(value, struct address_record);
} addresses_v6 SEC(".maps");

/* Where such addresses may be at all, a bit a block. Written by the daemon through a mapping, before the address is. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 2 * BLOCKS / 64);
	__type(key, __u32);
	__type(value, __u64);
} blocks SEC(".maps");

/* Pods of this node by the index of the host's side of their veth. Written by the daemon; without an entry all is dropped. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, struct interface_record);
} interfaces SEC(".maps");

/* Classes that DNS names give to addresses outside, by address and slot. Written by the daemon before the slot is. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1 << 17);
	__type(key, struct learned_key);
	__type(value, struct learned_record);
} learned SEC(".maps");

/* Connections that were allowed. Written by the programs, cleaned by the daemon; full, the least recently used go. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1 << 18);
	__type(key, struct conntrack_key_v4);
	__type(value, struct conntrack_record);
} conntrack_v4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1 << 17);
	__type(key, struct conntrack_key_v6);
	__type(value, struct conntrack_record);
} conntrack_v6 SEC(".maps");

/* What first fragments told. Written by the programs; full, the least recently used go, and their datagrams are dropped. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1 << 13);
	__type(key, struct fragment_key);
	__type(value, struct fragment_record);
} fragments SEC(".maps");

/* Packets by slot, and rule or COUNTED_RULES + request set. Zeroed by the daemon before the slot gets an image. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SLOTS * SLOT_COUNTERS);
	__type(key, __u32);
	__type(value, struct counter_record);
} rule_counters SEC(".maps");

/* Packets by hook and reason. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2 * REASON_COUNTERS);
	__type(key, __u32);
	__type(value, struct counter_record);
} reason_counters SEC(".maps");

/* By enum counter. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNTERS);
	__type(key, __u32);
	__type(value, struct counter_record);
} named_counters SEC(".maps");

/* Drops told so far in this tick. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct budget_record);
} event_budget SEC(".maps");

/* Events, read by the daemon. Full, events are lost and counted. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 22);
} events SEC(".maps");
