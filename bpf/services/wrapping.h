/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause) */
/* What tells a backend's node of the service under Direct Server Return: an IP header around the packet (RFC 2003, RFC 2473), or an option
 * in its own.
 *
 *     IPv4 option            type 0x9A, length 8, port, address                          8 bytes
 *     IPv6 destination opt.  next header, length 2; type 0x1B, length 20, address, port, 0 0   24 bytes
 *
 * Types are Cilium's; all in network byte order. Not here: who believes what is told (wire_tc.bpf.c). */
#pragma once

#include "../parse.h"
#include "forwarding.h"

#define OPTION_SERVICE 0x9A
#define OPTION_SERVICE_V6 0x1B

struct service_option_v4 {
	__u8 type;
	__u8 length;
	__be16 port;
	__be32 address;
};

struct service_option_v6 {
	__u8 next_header;
	__u8 length;
	__u8 type;
	__u8 option_length;
	__be32 address[4];
	__be16 port;
	__be16 padding;
};

/* Bytes that a packet grows by. */
static __always_inline __u32 wrapping_bytes(bool is_v6)
{
	if (DSR_BY_OPTION)
		return is_v6 ? sizeof(struct service_option_v6) : sizeof(struct service_option_v4);
	return is_v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
}

/* Whether the packet is several datagrams that a device is to part (UDP_SEGMENT). How many is not always said: not by devices of virtual
 * machines, and not once room was made or taken. */
static __always_inline bool is_several_datagrams(const struct __sk_buff *skb, __u8 protocol)
{
	return protocol == IPPROTO_UDP && skb->gso_size;
}

/* How room is made in a packet, or taken: what TCP's device cuts into pieces is cut into smaller ones, so that each still fits; datagrams
 * keep their size. */
static __always_inline __u64 of_room(const struct __sk_buff *skb, __u8 protocol)
{
	return is_several_datagrams(skb, protocol) ? BPF_F_ADJ_ROOM_FIXED_GSO : 0;
}

/* Puts a header around the packet. False if that fails. */
static __noinline bool wrap(struct __sk_buff *skb, const struct packet *packet, const struct address *own, const struct address *to)
{
	__u64 flags = of_room(skb, packet->protocol);

	if (packet->is_v6) {
		struct ipv6hdr outer = { .nexthdr = IPPROTO_IPV6, .hop_limit = WRAPPED_HOPS };

		*(__be32 *)&outer = bpf_htonl(0x60000000);
		outer.payload_len = bpf_htons(skb->len - ETH_HLEN);
		__builtin_memcpy(&outer.saddr, own, 16);
		__builtin_memcpy(&outer.daddr, to, 16);
		return !bpf_skb_adjust_room(skb, sizeof(outer), BPF_ADJ_ROOM_MAC, flags | BPF_F_ADJ_ROOM_ENCAP_L3_IPV6) &&
		       !bpf_skb_store_bytes(skb, ETH_HLEN, &outer, sizeof(outer), 0);
	}
	struct iphdr outer = { .ttl = WRAPPED_HOPS, .protocol = IPPROTO_IPIP };
	__s64 sum;

	*(__u8 *)&outer = 0x45;
	outer.tot_len = bpf_htons(skb->len - ETH_HLEN + sizeof(outer));
	outer.frag_off = bpf_htons(0x4000);
	outer.saddr = own->words[3];
	outer.daddr = to->words[3];
	sum = bpf_csum_diff(NULL, 0, (__be32 *)&outer, sizeof(outer), 0);
	sum = (sum & 0xFFFF) + ((__u64)sum >> 16 & 0xFFFF);
	sum = (sum & 0xFFFF) + (sum >> 16);
	outer.check = ~sum;
	return !bpf_skb_adjust_room(skb, sizeof(outer), BPF_ADJ_ROOM_MAC, flags | BPF_F_ADJ_ROOM_ENCAP_L3_IPV4) &&
	       !bpf_skb_store_bytes(skb, ETH_HLEN, &outer, sizeof(outer), 0);
}

/* Takes the header around the packet away. */
static __always_inline bool unwrap(struct __sk_buff *skb, const struct packet *inner)
{
	__s32 less = inner->is_v6 ? -(__s32)sizeof(struct ipv6hdr) : -(__s32)sizeof(struct iphdr);

	return !bpf_skb_adjust_room(skb, less, BPF_ADJ_ROOM_MAC, of_room(skb, inner->protocol));
}

/* Says in an IPv4 header how long it, and the packet, are now. */
static __always_inline bool set_v4_length(struct __sk_buff *skb, __u8 from_words, __s32 more)
{
	const __u32 check = ETH_HLEN + offsetof(struct iphdr, check);
	__be16 length, was;
	__u8 head[2];

	if (bpf_skb_load_bytes(skb, ETH_HLEN, head, sizeof(head)) || bpf_skb_load_bytes(skb, ETH_HLEN + 2, &was, sizeof(was)))
		return false;
	length = bpf_htons(bpf_ntohs(was) + more);
	__be16 before = bpf_htons(head[0] << 8 | head[1]);
	__u8 now = 0x40 | (from_words + more / 4);

	return !bpf_l3_csum_replace(skb, check, before, bpf_htons(now << 8 | head[1]), 2) &&
	       !bpf_l3_csum_replace(skb, check, was, length, 2) && !bpf_skb_store_bytes(skb, ETH_HLEN, &now, 1, 0) &&
	       !bpf_skb_store_bytes(skb, ETH_HLEN + 2, &length, sizeof(length), 0);
}

/* Puts an option with the service's address and port into the packet, right behind its first header. False if it has no room there. */
static __noinline bool put_option(struct __sk_buff *skb, const struct packet *packet)
{
	__u64 flags = of_room(skb, packet->protocol);

	if (packet->is_v6) {
		struct service_option_v6 option = {
			.length = 2,
			.type = OPTION_SERVICE_V6,
			.option_length = 20,
			.port = bpf_htons(packet->destination_port),
		};
		const __u32 at = ETH_HLEN + sizeof(struct ipv6hdr);
		const __u8 here = IPPROTO_DSTOPTS;
		__be16 length;

		__builtin_memcpy(option.address, &packet->destination, 16);
		if (bpf_skb_load_bytes(skb, ETH_HLEN + offsetof(struct ipv6hdr, nexthdr), &option.next_header, 1) ||
		    bpf_skb_load_bytes(skb, ETH_HLEN + offsetof(struct ipv6hdr, payload_len), &length, sizeof(length)))
			return false;
		length = bpf_htons(bpf_ntohs(length) + sizeof(option));
		return !bpf_skb_adjust_room(skb, sizeof(option), BPF_ADJ_ROOM_NET, flags) &&
		       !bpf_skb_store_bytes(skb, at, &option, sizeof(option), 0) &&
		       !bpf_skb_store_bytes(skb, ETH_HLEN + offsetof(struct ipv6hdr, nexthdr), &here, 1, 0) &&
		       !bpf_skb_store_bytes(skb, ETH_HLEN + offsetof(struct ipv6hdr, payload_len), &length, sizeof(length), 0);
	}
	struct service_option_v4 option = {
		.type = OPTION_SERVICE,
		.length = sizeof(option),
		.port = bpf_htons(packet->destination_port),
		.address = packet->destination.words[3],
	};
	__s64 change = bpf_csum_diff(NULL, 0, (__be32 *)&option, sizeof(option), 0);
	__u32 header = packet->transport - ETH_HLEN;

	return header + sizeof(option) <= sizeof(struct iphdr) + OPTION_BYTES && !bpf_skb_adjust_room(skb, sizeof(option), BPF_ADJ_ROOM_NET, flags) &&
	       !bpf_skb_store_bytes(skb, ETH_HLEN + sizeof(struct iphdr), &option, sizeof(option), 0) &&
	       !bpf_l3_csum_replace(skb, ETH_HLEN + offsetof(struct iphdr, check), 0, change, 0) &&
	       set_v4_length(skb, header / 4, sizeof(option));
}

/* The service that a packet's option names. */
static __always_inline bool read_option(struct __sk_buff *skb, const struct packet *packet, struct address *service, __u16 *port)
{
	if (packet->is_v6) {
		struct service_option_v6 option;
		__u8 first;

		/* A fragment's header may stand behind it. */
		if (packet->transport < ETH_HLEN + sizeof(struct ipv6hdr) + sizeof(option) ||
		    bpf_skb_load_bytes(skb, ETH_HLEN + offsetof(struct ipv6hdr, nexthdr), &first, 1) || first != IPPROTO_DSTOPTS ||
		    bpf_skb_load_bytes(skb, ETH_HLEN + sizeof(struct ipv6hdr), &option, sizeof(option)) || option.length != 2 ||
		    option.type != OPTION_SERVICE_V6 || option.option_length != 20)
			return false;
		__builtin_memcpy(service, option.address, 16);
		*port = bpf_ntohs(option.port);
		return true;
	}
	struct service_option_v4 option;

	if (packet->transport < ETH_HLEN + sizeof(struct iphdr) + sizeof(option) ||
	    bpf_skb_load_bytes(skb, ETH_HLEN + sizeof(struct iphdr), &option, sizeof(option)) || option.type != OPTION_SERVICE ||
	    option.length != sizeof(option))
		return false;
	set_v4(service, option.address);
	*port = bpf_ntohs(option.port);
	return true;
}

/* Takes the option out of the packet. */
static __noinline bool take_option(struct __sk_buff *skb, const struct packet *packet)
{
	__u64 flags = of_room(skb, packet->protocol);

	if (packet->is_v6) {
		const __u32 at = ETH_HLEN + sizeof(struct ipv6hdr);
		__be16 length;
		__u8 next;

		if (bpf_skb_load_bytes(skb, at, &next, 1) ||
		    bpf_skb_load_bytes(skb, ETH_HLEN + offsetof(struct ipv6hdr, payload_len), &length, sizeof(length)))
			return false;
		length = bpf_htons(bpf_ntohs(length) - sizeof(struct service_option_v6));
		return !bpf_skb_adjust_room(skb, -(int)sizeof(struct service_option_v6), BPF_ADJ_ROOM_NET, flags) &&
		       !bpf_skb_store_bytes(skb, ETH_HLEN + offsetof(struct ipv6hdr, nexthdr), &next, 1, 0) &&
		       !bpf_skb_store_bytes(skb, ETH_HLEN + offsetof(struct ipv6hdr, payload_len), &length, sizeof(length), 0);
	}
	struct service_option_v4 option;
	__s64 change;

	if (bpf_skb_load_bytes(skb, ETH_HLEN + sizeof(struct iphdr), &option, sizeof(option)))
		return false;
	change = bpf_csum_diff((__be32 *)&option, sizeof(option), NULL, 0, 0);
	return !bpf_skb_adjust_room(skb, -(int)sizeof(option), BPF_ADJ_ROOM_NET, flags) &&
	       !bpf_l3_csum_replace(skb, ETH_HLEN + offsetof(struct iphdr, check), 0, change, 0) &&
	       set_v4_length(skb, (packet->transport - ETH_HLEN) / 4, -(__s32)sizeof(option));
}
