/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause) */
/* Packets changed in place, where tc has them: addresses and ports, and the sums over them, whoever computes those in the end.
 *
 * Not here: what they are changed to (translations.h), headers put around or taken away (wrapping.h). */
#pragma once

#include "../parse.h"
#include "translations.h"

#define V4_SOURCE offsetof(struct iphdr, saddr)
#define V6_SOURCE offsetof(struct ipv6hdr, saddr)

/* Where the checksum of a transport header is, from its start; 0: none over addresses and ports. SCTP's covers ports, so they stay. */
static __always_inline __u32 check_of(__u8 protocol)
{
	switch (protocol) {
	case IPPROTO_TCP:
		return 16;
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
		return 6;
	default:
		return 0;
	}
}

/* What a change of both addresses adds to a sum. */
static __always_inline __s64 change_of_addresses(const struct address *source, const struct address *destination,
						 const struct rewriting *to, bool is_v6)
{
	__be32 from[8] = {}, with[8] = {};

	if (is_v6) {
		__builtin_memcpy(from, source, 16);
		__builtin_memcpy(from + 4, destination, 16);
		__builtin_memcpy(with, to->source, 16);
		__builtin_memcpy(with + 4, to->destination, 16);
	} else {
		from[0] = source->words[3];
		from[1] = destination->words[3];
		with[0] = to->source->words[3];
		with[1] = to->destination->words[3];
	}
	return bpf_csum_diff(from, sizeof(from), with, sizeof(with), 0);
}

/* Writes both addresses into an IP header at `offset`, and puts right its own checksum. */
static __always_inline bool write_addresses(struct __sk_buff *skb, __u32 offset, const struct rewriting *to, bool is_v6, __s64 change)
{
	if (is_v6) {
		return !bpf_skb_store_bytes(skb, offset + V6_SOURCE, to->source, 16, 0) &&
		       !bpf_skb_store_bytes(skb, offset + V6_SOURCE + 16, to->destination, 16, 0);
	}
	return !bpf_skb_store_bytes(skb, offset + V4_SOURCE, &to->source->words[3], 4, 0) &&
	       !bpf_skb_store_bytes(skb, offset + V4_SOURCE + 4, &to->destination->words[3], 4, 0) &&
	       !bpf_l3_csum_replace(skb, offset + offsetof(struct iphdr, check), 0, change, 0);
}

static __always_inline __be32 ports_word(__u16 source, __u16 destination)
{
	return bpf_htonl((__u32)source << 16 | destination);
}

/* Changes a packet's addresses and ports. False if that fails, and then the packet is of no use. */
static __noinline bool rewrite(struct __sk_buff *skb, const struct packet *packet, const struct rewriting *to)
{
	__s64 change = change_of_addresses(&packet->source, &packet->destination, to, packet->is_v6);
	__be32 from = ports_word(packet->source_port, packet->destination_port);
	__be32 with = ports_word(to->source_port, to->destination_port);
	__u32 check = check_of(packet->protocol);
	__u32 at = packet->transport;
	__u64 flags = packet->protocol == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0;

	/* Its checksum is not one that can be changed in part. */
	if (packet->protocol == IPPROTO_SCTP && from != with)
		return false;
	if (!write_addresses(skb, ETH_HLEN, to, packet->is_v6, change))
		return false;
	if (packet->fragment == LATER_FRAGMENT)
		return true;
	if (check && (bpf_l4_csum_replace(skb, at + check, 0, change, BPF_F_PSEUDO_HDR | flags) ||
		      bpf_l4_csum_replace(skb, at + check, from, with, flags | sizeof(from))))
		return false;
	return from == with || !bpf_skb_store_bytes(skb, at, &with, sizeof(with), 0);
}

/* Changes an ICMP error about a packet that was rewritten: the packet in it becomes what its sender sent, and who is told of it that
 * sender. `to` is what becomes of packets the other way. */
static __noinline bool rewrite_error(struct __sk_buff *skb, const struct packet *error, const struct packet *inner,
				     const struct rewriting *to)
{
	struct rewriting within = {
		.source = to->destination,
		.destination = to->source,
		.source_port = to->destination_port,
		.destination_port = to->source_port,
	};
	bool is_from_peer = same_address(&error->source, &inner->destination);
	struct rewriting around = { .source = is_from_peer ? to->source : &error->source, .destination = to->destination };
	__s64 of_outer = change_of_addresses(&error->source, &error->destination, &around, error->is_v6);
	__s64 of_inner = change_of_addresses(&inner->source, &inner->destination, &within, error->is_v6);
	__be32 from = ports_word(inner->source_port, inner->destination_port);
	__be32 with = ports_word(within.source_port, within.destination_port);
	__u32 check = error->transport + 2;

	if (!write_addresses(skb, error->transport + 8, &within, error->is_v6, of_inner) ||
	    bpf_skb_store_bytes(skb, inner->transport, &with, sizeof(with), 0) ||
	    bpf_l4_csum_replace(skb, check, from, with, sizeof(from)))
		return false;
	/* ICMPv6's sum is over all addresses; ICMP's over the inner header, whose own checksum balances them. */
	if (error->is_v6 && (bpf_l4_csum_replace(skb, check, 0, of_inner, 0) ||
			     bpf_l4_csum_replace(skb, check, 0, of_outer, BPF_F_PSEUDO_HDR)))
		return false;
	return write_addresses(skb, ETH_HLEN, &around, error->is_v6, of_outer);
}

/* Takes one from the hops that a packet has left. False if none is. */
static __always_inline bool spend_hop(struct __sk_buff *skb, const struct packet *packet)
{
	__u8 left = packet->hops - 1;

	if (packet->hops <= 1)
		return false;
	if (packet->is_v6)
		return !bpf_skb_store_bytes(skb, ETH_HLEN + offsetof(struct ipv6hdr, hop_limit), &left, 1, 0);
	return !bpf_l3_csum_replace(skb, ETH_HLEN + offsetof(struct iphdr, check), bpf_htons(packet->hops << 8),
				    bpf_htons(left << 8), 2) &&
	       !bpf_skb_store_bytes(skb, ETH_HLEN + offsetof(struct iphdr, ttl), &left, 1, 0);
}
