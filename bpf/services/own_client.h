/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause) */
/* Processes of the node that asked for a service by another node, which led them to a backend of this one: what they sent comes in by wire,
 * from an address of the node's own.
 *
 * Anybody could write that address on a packet, and policy lets a node reach its own pods. So it is believed where a socket of the node is
 * connected to the very service. Not here: what the pod answers (`to_node_balanced`). */
#pragma once

#include "journey.h"

#ifndef BPF_F_CURRENT_NETNS
#define BPF_F_CURRENT_NETNS (-1L)
#endif

/* Whether it may be from one of them. */
static __always_inline bool is_from_own(const struct journey *journey)
{
	return same_address(&journey->packet.source, &journey->own);
}

/* Whether a connection of TCP is there that the node opened. Kinds of sockets have functions of their own, as the verifier has a read of each
 * where only that kind can be. */
static __noinline bool has_opened(struct __sk_buff *skb, struct bpf_sock_tuple *tuple, __u32 size)
{
	struct bpf_sock *socket = bpf_skc_lookup_tcp(skb, tuple, size, BPF_F_CURRENT_NETNS, 0);
	__u32 state;

	if (!socket)
		return false;
	state = socket->state;
	bpf_sk_release(socket);
	return state != BPF_TCP_LISTEN && state != BPF_TCP_NEW_SYN_RECV;
}

/* Whether a socket of datagrams is connected so. */
static __noinline bool has_connected(struct __sk_buff *skb, struct bpf_sock_tuple *tuple, __u32 size)
{
	struct bpf_sock *socket = bpf_sk_lookup_udp(skb, tuple, size, BPF_F_CURRENT_NETNS, 0);
	__u32 state;

	if (!socket)
		return false;
	state = socket->state;
	bpf_sk_release(socket);
	return state == BPF_TCP_ESTABLISHED;
}

/* Whether a socket of this node that has the packet's source is connected, or connects, to a service. */
static __noinline bool is_asked_here(struct __sk_buff *skb, const struct packet *packet, const struct address *service, __u16 port)
{
	struct bpf_sock_tuple tuple = {};
	__u32 size;

	/* As an answer would come to it. */
	if (packet->is_v6) {
		__builtin_memcpy(tuple.ipv6.saddr, service, 16);
		__builtin_memcpy(tuple.ipv6.daddr, &packet->source, 16);
		tuple.ipv6.sport = bpf_htons(port);
		tuple.ipv6.dport = bpf_htons(packet->source_port);
		size = sizeof(tuple.ipv6);
	} else {
		tuple.ipv4.saddr = service->words[3];
		tuple.ipv4.daddr = packet->source.words[3];
		tuple.ipv4.sport = bpf_htons(port);
		tuple.ipv4.dport = bpf_htons(packet->source_port);
		size = sizeof(tuple.ipv4);
	}
	if (packet->protocol == IPPROTO_TCP)
		return has_opened(skb, &tuple, size);
	return packet->protocol == IPPROTO_UDP && has_connected(skb, &tuple, size);
}
