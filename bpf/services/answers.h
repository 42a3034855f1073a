/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause) */
/* ICMP answers in place of the packet that they are about: nobody is there, it is too big (RFC 792, RFC 1191, RFC 4443).
 *
 * They are few in a tick, and there is none to an error, a fragment but the first, or a group. Not here: how they are sent. */
#pragma once

#include "../parse.h"
#include "maps.h"
#include "options.h"

#define ICMP_CODE_PORT 3
#define ICMP_CODE_TOO_BIG 4
#define ICMPV6_CODE_PORT 4
#define ICMPV6_TOO_BIG 2
#define ANSWER_HOPS 64
/* What is quoted at most: an IPv4 header with all its options, or an IPv6 header with some others behind it, and eight bytes. */
#define QUOTE 104

struct icmp_answer {
	__u8 type;
	__u8 code;
	__be16 check;
	__be32 more; /* the MTU, or 0 */
	__u8 quote[QUOTE];
};

struct answer_v4 {
	struct iphdr ip;
	struct icmp_answer icmp;
};

struct answer_v6 {
	struct ipv6hdr ip;
	struct icmp_answer icmp;
};

union answer {
	struct answer_v4 v4;
	struct answer_v6 v6;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct budget_record);
} answer_budget SEC(".maps");

/* An answer while it is written, off the stack, which is deep where one is given. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, union answer);
} answers SEC(".maps");

static __always_inline bool may_answer(__u32 tick)
{
	__u32 zero = 0;
	struct budget_record *budget = bpf_map_lookup_elem(&answer_budget, &zero);

	if (!budget)
		return false;
	if (budget->tick != tick) {
		budget->tick = tick;
		budget->told = 0;
	}
	return budget->told++ < ANSWERS_PER_TICK;
}

/* The packet's link-layer header turned round, so that it goes back to whom it came from. */
static __always_inline bool turn_link_round(struct __sk_buff *skb)
{
	__u8 addresses[2 * ETH_ALEN], round[2 * ETH_ALEN];

	if (bpf_skb_load_bytes(skb, 0, addresses, sizeof(addresses)))
		return false;
	__builtin_memcpy(round, addresses + ETH_ALEN, ETH_ALEN);
	__builtin_memcpy(round + ETH_ALEN, addresses, ETH_ALEN);
	return !bpf_skb_store_bytes(skb, 0, round, sizeof(round), 0);
}

static __always_inline __u16 sum_of(const void *bytes, __u32 size, __u32 seed)
{
	__s64 sum = bpf_csum_diff(NULL, 0, (__be32 *)bytes, size, seed);

	sum = (sum & 0xFFFF) + ((__u64)sum >> 16 & 0xFFFF);
	sum = (sum & 0xFFFF) + (sum >> 16);
	return ~sum;
}

/* Copies the packet's headers up to the ports. */
static __always_inline bool quote(struct __sk_buff *skb, const struct packet *packet, __u8 *quoted)
{
	__u32 bytes = packet->transport - ETH_HLEN + 8;

	if (bytes > QUOTE)
		return false;
	/* Keeps the compiler from comparing another number than the one that is used, whose bounds Linux 6.1 would not know. */
	asm volatile("" : "+r"(bytes));
	return bytes >= sizeof(struct iphdr) && !bpf_skb_load_bytes(skb, ETH_HLEN, quoted, bytes);
}

static __always_inline bool answer_v4(struct __sk_buff *skb, const struct packet *packet, __u32 mtu, struct answer_v4 *answer)
{
	__builtin_memset(answer, 0, sizeof(*answer));
	if (!quote(skb, packet, answer->icmp.quote))
		return false;
	*(__u8 *)&answer->ip = 0x45;
	answer->ip.tot_len = bpf_htons(sizeof(*answer));
	answer->ip.ttl = ANSWER_HOPS;
	answer->ip.protocol = IPPROTO_ICMP;
	answer->ip.saddr = packet->destination.words[3];
	answer->ip.daddr = packet->source.words[3];
	answer->ip.check = sum_of(&answer->ip, sizeof(answer->ip), 0);
	answer->icmp.type = ICMP_DEST_UNREACH;
	answer->icmp.code = mtu ? ICMP_CODE_TOO_BIG : ICMP_CODE_PORT;
	answer->icmp.more = bpf_htonl(mtu);
	answer->icmp.check = sum_of(&answer->icmp, sizeof(answer->icmp), 0);
	return !bpf_skb_change_tail(skb, ETH_HLEN + sizeof(*answer), 0) &&
	       !bpf_skb_store_bytes(skb, ETH_HLEN, answer, sizeof(*answer), 0);
}

static __always_inline bool answer_v6(struct __sk_buff *skb, const struct packet *packet, __u32 mtu, struct answer_v6 *answer)
{
	__builtin_memset(answer, 0, sizeof(*answer));
	if (!quote(skb, packet, answer->icmp.quote))
		return false;
	*(__be32 *)&answer->ip = bpf_htonl(0x60000000);
	answer->ip.payload_len = bpf_htons(sizeof(answer->icmp));
	answer->ip.nexthdr = IPPROTO_ICMPV6;
	answer->ip.hop_limit = ANSWER_HOPS;
	__builtin_memcpy(&answer->ip.saddr, &packet->destination, 16);
	__builtin_memcpy(&answer->ip.daddr, &packet->source, 16);
	answer->icmp.type = mtu ? ICMPV6_TOO_BIG : ICMPV6_DEST_UNREACH;
	answer->icmp.code = mtu ? 0 : ICMPV6_CODE_PORT;
	answer->icmp.more = bpf_htonl(mtu);
	/* With its pseudo-header: addresses, length, next header. */
	answer->icmp.check = sum_of(&answer->ip.saddr, 32 + sizeof(answer->icmp), bpf_htonl(sizeof(answer->icmp) + IPPROTO_ICMPV6));
	return !bpf_skb_change_tail(skb, ETH_HLEN + sizeof(*answer), 0) &&
	       !bpf_skb_store_bytes(skb, ETH_HLEN, answer, sizeof(*answer), 0);
}

/* Makes a packet the answer to itself: `mtu` bytes are the most that can be sent on, or 0: nobody is there. False if it gets none. */
static __noinline bool answer_with(struct __sk_buff *skb, const struct packet *packet, __u32 mtu, __u32 tick)
{
	__u32 zero = 0;
	union answer *answer = bpf_map_lookup_elem(&answers, &zero);

	if (!answer || packet->fragment == LATER_FRAGMENT || is_icmp(packet) || !may_answer(tick) || !turn_link_round(skb))
		return false;
	return packet->is_v6 ? answer_v6(skb, packet, mtu, &answer->v6) : answer_v4(skb, packet, mtu, &answer->v4);
}
