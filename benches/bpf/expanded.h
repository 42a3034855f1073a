/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause) */
/* The decision as Cilium's datapath makes it, for comparison: address -> identity in one LPM trie, then
 * (identity, direction, protocol, port) -> entry in another, once with the identity and once without.
 *
 * What Cilium does besides (tail calls, metrics, conntrack) is left out, which favours it. */
#pragma once

#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "queries.h"
#include "tries.h"

#define WORLD 2
#define EGRESS 1
#define FAMILY_V4 1
#define IPCACHE_BITS (32 + 32)
#define POLICY_BITS 64

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
