/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause) */
/* Bytes -> packet: addresses, ports, flags, fragments, the packet inside an ICMP error.
 *
 * Each read is checked where it is made. A packet that is cut off or contradicts itself is refused: what policy cannot
 * read must not pass. Not here: whether a packet is let through. */
#pragma once

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>

#include <bpf/bpf_helpers.h>

#include "abi.h"
#include "address.h"
#include "context.h"

/* Extension headers that are followed. */
#define EXTENSIONS 6
/* The farthest that a transport header may begin. */
#define FARTHEST 1024

/* The most that an IPv4 header has of them, and those that matter (RFC 791). */
#define OPTION_BYTES 40
#define OPTION_END 0
#define OPTION_NOTHING 1
#define OPTION_LOOSE_ROUTE 131
#define OPTION_STRICT_ROUTE 137

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

/* The kernel's own headers of these need a C library's. */
#define ICMP_ECHOREPLY 0
#define ICMP_DEST_UNREACH 3
#define ICMP_ECHO 8
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETERPROB 12
#define ICMPV6_DEST_UNREACH 1
#define ICMPV6_PARAMPROB 4
#define ICMPV6_ECHO_REQUEST 128
#define ICMPV6_ECHO_REPLY 129
#define ICMPV6_ROUTER_SOLICITATION 133
#define ICMPV6_NEIGHBOUR_SOLICITATION 135
#define ICMPV6_NEIGHBOUR_ADVERTISEMENT 136
#define ICMPV6_REDIRECT 137

#define SCTP_INIT 1
#define SCTP_ABORT 6
#define SCTP_SHUTDOWN_COMPLETE 14

enum fragment {
	WHOLE,
	FIRST_FRAGMENT,
	LATER_FRAGMENT,
};

/* One packet, host byte order but for addresses. */
struct packet {
	struct address source;
	struct address destination;
	__u32 transport; /* where its transport header begins */
	__u32 fragment_id;
	__u32 fragmented; /* where the part of the packet begins that is in pieces */
	__u16 fragment_place; /* where in the datagram this piece begins, in units of eight bytes */
	__u16 source_port; /* ICMP echo: the identifier */
	__u16 destination_port; /* ICMP: the type */
	__u8 fragment; /* enum fragment */
	__u8 fragment_protocol; /* as the fragment header names it */
	__u8 protocol;
	__u8 hops; /* TTL or hop limit */
	__u8 flags; /* TCP flags, or the type of an SCTP packet's first chunk */
	bool is_v6;
};

/* Copies from the packet; a fast way where the bytes are at hand, a slow one where they are not. Whole words are read wherever they lie,
 * as the kernel allows on every machine that loads words unaligned: byte by byte, a header would cost as much as its lookup. */
static __always_inline bool read(context *skb, __u32 offset, void *to, __u32 size)
{
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;

	if (offset > FARTHEST)
		return false;
	if (data + offset + size <= end) {
		__builtin_memcpy(to, __builtin_assume_aligned(data + offset, 4), size);
		return true;
	}
	return load_bytes(skb, offset, to, size) == 0;
}

static __always_inline bool is_icmp(const struct packet *packet)
{
	return packet->protocol == (packet->is_v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
}

static __always_inline bool is_echo(const struct packet *packet)
{
	__u16 type = packet->destination_port;

	if (packet->is_v6)
		return type == ICMPV6_ECHO_REQUEST || type == ICMPV6_ECHO_REPLY;
	return type == ICMP_ECHO || type == ICMP_ECHOREPLY;
}

static __always_inline bool is_echo_request(const struct packet *packet)
{
	return packet->destination_port == (packet->is_v6 ? ICMPV6_ECHO_REQUEST : ICMP_ECHO);
}

/* Destination unreachable, time exceeded, parameter problem, packet too big. */
static __always_inline bool is_icmp_error(const struct packet *packet)
{
	__u16 type = packet->destination_port;

	if (packet->is_v6)
		return type >= ICMPV6_DEST_UNREACH && type <= ICMPV6_PARAMPROB;
	return type == ICMP_DEST_UNREACH || type == ICMP_TIME_EXCEEDED || type == ICMP_PARAMETERPROB;
}

/* Of a kind that neighbours send each other, and from no farther than they are: a router never forwards with this hop limit
 * left (RFC 4861, 6.1 and 7.1). A sender may write it on anything, so it says nothing about where the packet goes. */
static __always_inline bool is_neighbour_discovery(const struct packet *packet)
{
	return packet->is_v6 && packet->protocol == IPPROTO_ICMPV6 && packet->hops == 255 && packet->fragment == WHOLE &&
	       packet->destination_port >= ICMPV6_ROUTER_SOLICITATION && packet->destination_port <= ICMPV6_REDIRECT;
}

/* Ports, ICMP type and identifier, TCP flags, from a transport header at `offset`. `whole` asks for all of a TCP header;
 * an ICMP error holds only eight bytes of one. */
static __always_inline bool parse_transport(context *skb, struct packet *packet, __u32 offset, bool whole)
{
	packet->transport = offset;
	packet->source_port = packet->destination_port = 0;
	packet->flags = 0;
	if (packet->protocol == IPPROTO_TCP && whole) {
		struct tcphdr tcp;

		if (!read(skb, offset, &tcp, sizeof(tcp)))
			return false;
		packet->source_port = bpf_ntohs(tcp.source);
		packet->destination_port = bpf_ntohs(tcp.dest);
		packet->flags = ((__u8 *)&tcp)[13];
	} else if (packet->protocol == IPPROTO_TCP || packet->protocol == IPPROTO_UDP ||
		   packet->protocol == IPPROTO_UDPLITE || packet->protocol == IPPROTO_SCTP) {
		__be16 ports[2];

		if (!read(skb, offset, ports, sizeof(ports)))
			return false;
		packet->source_port = bpf_ntohs(ports[0]);
		packet->destination_port = bpf_ntohs(ports[1]);
		/* The common header's twelve bytes, then the first chunk's type. */
		if (packet->protocol == IPPROTO_SCTP && whole && !read(skb, offset + 12, &packet->flags, 1))
			return false;
	} else if (is_icmp(packet)) {
		__u8 icmp[6];

		if (!read(skb, offset, icmp, sizeof(icmp)))
			return false;
		packet->destination_port = icmp[0];
		if (is_echo(packet))
			packet->source_port = icmp[4] << 8 | icmp[5];
	}
	return true;
}

/* Whether IPv4 options from `at` to `end` hold none that names a route, and end where they say. A function that the verifier judges once,
 * by itself. */
__noinline int options_are_plain(context *skb, __u32 at, __u32 end)
{
	for (int option = 0; option < OPTION_BYTES; option++) {
		__u8 head[2];

		if (at >= end)
			return 1;
		if (at > FARTHEST || load_bytes(skb, at, head, 1))
			return 0;
		if (head[0] == OPTION_END)
			return 1;
		if (head[0] == OPTION_NOTHING) {
			at++;
			continue;
		}
		if (head[0] == OPTION_LOOSE_ROUTE || head[0] == OPTION_STRICT_ROUTE || load_bytes(skb, at + 1, head + 1, 1) ||
		    head[1] < 2 || at + head[1] > end)
			return 0;
		at += head[1];
	}
	return at >= end;
}

/* An IPv4 header at `offset`; on return `transport` is where it ends. */
static __always_inline bool parse_v4(context *skb, struct packet *packet, __u32 offset)
{
	struct iphdr ip;
	__u16 fragment;

	if (!read(skb, offset, &ip, sizeof(ip)) || ip.version != 4 || ip.ihl < 5)
		return false;
	packet->is_v6 = false;
	set_v4(&packet->source, ip.saddr);
	set_v4(&packet->destination, ip.daddr);
	packet->protocol = packet->fragment_protocol = ip.protocol;
	packet->hops = ip.ttl;
	packet->transport = offset + ip.ihl * 4;
	/* By a route that the packet names it goes on from the destination that is judged to another. */
	if (ip.ihl > 5 && !options_are_plain(skb, offset + sizeof(ip), packet->transport))
		return false;
	fragment = bpf_ntohs(ip.frag_off) & 0x3FFF;
	packet->fragment = WHOLE;
	if (fragment) {
		packet->fragment = fragment & 0x1FFF ? LATER_FRAGMENT : FIRST_FRAGMENT;
		packet->fragment_id = bpf_ntohs(ip.id);
		packet->fragment_place = fragment & 0x1FFF;
		packet->fragmented = packet->transport;
	}
	return true;
}

/* An IPv6 header at `offset` and its extension headers; on return `transport` is where they end. */
static __always_inline bool parse_v6(context *skb, struct packet *packet, __u32 offset)
{
	struct ipv6hdr ip;

	if (!read(skb, offset, &ip, sizeof(ip)) || ip.version != 6)
		return false;
	packet->is_v6 = true;
	__builtin_memcpy(&packet->source, &ip.saddr, sizeof(packet->source));
	__builtin_memcpy(&packet->destination, &ip.daddr, sizeof(packet->destination));
	packet->hops = ip.hop_limit;
	packet->protocol = ip.nexthdr;
	packet->fragment = WHOLE;
	offset += sizeof(ip);
	for (int extension = 0; extension < EXTENSIONS; extension++) {
		__u8 header[8];

		if (packet->protocol != IPPROTO_HOPOPTS && packet->protocol != IPPROTO_ROUTING &&
		    packet->protocol != IPPROTO_FRAGMENT && packet->protocol != IPPROTO_DSTOPTS &&
		    packet->protocol != IPPROTO_AH)
			break;
		if (!read(skb, offset, header, sizeof(header)))
			return false;
		/* With segments left it goes on from the destination that is judged to another. */
		if (packet->protocol == IPPROTO_ROUTING && header[3])
			return false;
		if (packet->protocol == IPPROTO_FRAGMENT) {
			__u16 place = header[2] << 8 | header[3];

			packet->fragment_protocol = header[0];
			packet->fragment_id = (__u32)header[4] << 24 | header[5] << 16 | header[6] << 8 | header[7];
			/* Neither an offset nor more to come: an atomic fragment is whole (RFC 6946). */
			if (place & 0xFFF8)
				packet->fragment = LATER_FRAGMENT;
			else if (place & 1)
				packet->fragment = FIRST_FRAGMENT;
			offset += sizeof(header);
			packet->fragment_place = place >> 3;
			packet->fragmented = offset;
		} else if (packet->protocol == IPPROTO_AH) {
			offset += (header[1] + 2) * 4;
		} else {
			offset += (header[1] + 1) * 8;
		}
		packet->protocol = header[0];
		if (packet->fragment == LATER_FRAGMENT)
			break;
	}
	packet->transport = offset;
	/* More extension headers than are followed: what lies behind them is unknown. */
	return packet->protocol != IPPROTO_HOPOPTS && packet->protocol != IPPROTO_ROUTING &&
	       (packet->protocol != IPPROTO_FRAGMENT || packet->fragment == LATER_FRAGMENT) &&
	       (packet->protocol != IPPROTO_DSTOPTS || packet->fragment == LATER_FRAGMENT) &&
	       (packet->protocol != IPPROTO_AH || packet->fragment == LATER_FRAGMENT);
}

/* The packet that an ICMP error is about. Only its addresses, protocol and ports mean anything. */
static __always_inline bool parse_inner(context *skb, const struct packet *error, struct packet *inner)
{
	__u32 offset = error->transport + 8;

	if (error->is_v6 ? !parse_v6(skb, inner, offset) : !parse_v4(skb, inner, offset))
		return false;
	return inner->fragment != LATER_FRAGMENT && parse_transport(skb, inner, inner->transport, false);
}
