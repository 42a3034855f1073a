/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause) */
/* The tries that Cilium's datapath asks: address -> identity, and (identity, direction, protocol, port) -> entry.
 *
 * Map types and the sizes of keys and values are those of cilium bpf/lib/{eps,policy}.h. */
#pragma once

#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_helpers.h>

struct ipcache_key {
	__u32 bits;
	__u16 cluster;
	__u8 reserved;
	__u8 family;
	__be32 address[4];
};

struct ipcache_entry {
	__u32 identity;
	__u32 tunnel[4];
	__u16 reserved;
	__u8 key;
	__u8 flags;
};

struct policy_key {
	__u32 bits;
	__u32 identity;
	__u8 direction;
	__u8 protocol;
	__be16 port;
};

struct policy_entry {
	__be16 proxy_port;
	__u8 deny;
	__u8 bits;
	__u32 precedence;
	__u32 cookie;
};

_Static_assert(sizeof(struct ipcache_key) == 24 && sizeof(struct ipcache_entry) == 24, "as Cilium's");
_Static_assert(sizeof(struct policy_key) == 12 && sizeof(struct policy_entry) == 12, "as Cilium's");

/* Written by the loader, as is the next. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 512000);
	__type(key, struct ipcache_key);
	__type(value, struct ipcache_entry);
} ipcache SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16385);
	__type(key, struct policy_key);
	__type(value, struct policy_entry);
} policy SEC(".maps");
