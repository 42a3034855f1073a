/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause) */
/* The decision as Cilium's datapath makes it, for comparison: address -> identity in one LPM trie, then
 * (identity, direction, protocol, port) -> entry in another, once with the identity and once without.
 *
 * Map types and the sizes of keys and values are those of cilium bpf/lib/{eps,policy}.h; what it does besides (tail calls,
 * metrics, conntrack) is left out, which favours it. */
#pragma once

#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "queries.h"

#define WORLD 2
#define EGRESS 1
#define FAMILY_V4 1
#define IPCACHE_BITS (32 + 32)
#define POLICY_BITS 64

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

static __always_inline __u32 expanded_identity(const struct query *query)
{
	struct ipcache_key key = { .bits = IPCACHE_BITS, .family = FAMILY_V4, .address = { query->address } };
	const struct ipcache_entry *record = bpf_map_lookup_elem(&ipcache, &key);

	return record ? record->identity : WORLD;
}

/* Two bits of answer: whether it is allowed and whether an entry said so. */
static __always_inline __u64 expanded_policy(const struct query *query, __u32 identity)
{
	struct policy_key key = {
		.bits = POLICY_BITS,
		.identity = identity,
		.direction = EGRESS,
		.protocol = query->protocol,
		.port = bpf_htons(query->port),
	};
	const struct policy_entry *of_identity = bpf_map_lookup_elem(&policy, &key);
	const struct policy_entry *of_all;

	key.identity = 0;
	of_all = bpf_map_lookup_elem(&policy, &key);
	if (of_identity && (!of_all || of_identity->precedence >= of_all->precedence))
		return of_identity->deny ? 0 : 1;
	if (of_all)
		return of_all->deny ? 0 : 1;
	return 0;
}

static __always_inline __u64 expanded_decision(const struct query *query)
{
	return expanded_policy(query, expanded_identity(query));
}
