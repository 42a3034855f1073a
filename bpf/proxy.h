/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause) */
/* Connections that policy hands to a request proxy on this node (TPROXY).
 *
 * The proxy listens on its port with IP_TRANSPARENT; the packet keeps its addresses, is assigned to the proxy's socket, and
 * a rule on MARK_PROXY routes it to this host. Where nobody listens the packet is dropped: requests that nobody reads must
 * not pass. What the proxy sends to a client is a reply on the connection on record, and what leaves the node meets no program.
 *
 * Not here: the proxy, and the node's settings that it needs (told in runtime/src/datapath/proxies.rs). */
#pragma once

#include "maps.h"
#include "parse.h"

#ifndef BPF_F_CURRENT_NETNS
#define BPF_F_CURRENT_NETNS (-1L)
#endif

static __always_inline void tuple_of(struct bpf_sock_tuple *tuple, const struct packet *packet)
{
	if (packet->is_v6) {
		__builtin_memcpy(tuple->ipv6.saddr, &packet->source, 16);
		__builtin_memcpy(tuple->ipv6.daddr, &packet->destination, 16);
		tuple->ipv6.sport = bpf_htons(packet->source_port);
		tuple->ipv6.dport = bpf_htons(packet->destination_port);
	} else {
		tuple->ipv4.saddr = packet->source.words[3];
		tuple->ipv4.daddr = packet->destination.words[3];
		tuple->ipv4.sport = bpf_htons(packet->source_port);
		tuple->ipv4.dport = bpf_htons(packet->destination_port);
	}
}

static __always_inline __u32 tuple_size(const struct packet *packet)
{
	struct bpf_sock_tuple *tuple;

	return packet->is_v6 ? sizeof(tuple->ipv6) : sizeof(tuple->ipv4);
}

/* Whether somebody on this host listens at the very address asked for, who has nothing to do with the proxy. */
static __always_inline bool is_served_here(struct __sk_buff *skb, const struct packet *packet)
{
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *socket;

	tuple_of(&tuple, packet);
	/* Nobody's port, so that no connection is found in place of a listener. */
	if (packet->is_v6)
		tuple.ipv6.sport = 0;
	else
		tuple.ipv4.sport = 0;
	socket = bpf_skc_lookup_tcp(skb, &tuple, tuple_size(packet), BPF_F_CURRENT_NETNS, 0);
	if (!socket)
		return false;
	bpf_sk_release(socket);
	return true;
}

/* What there is of the connection: the one that the proxy has accepted, or NULL. Where it is finished and another opens in its place,
 * the kernel answers with what makes the client reset and try again; but where somebody listens at the address asked for, it would hand
 * the other to them. */
static __always_inline struct bpf_sock *accepted_socket(struct __sk_buff *skb, const struct packet *packet,
							struct bpf_sock_tuple *tuple)
{
	bool opens = (packet->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
	struct bpf_sock *socket = bpf_skc_lookup_tcp(skb, tuple, tuple_size(packet), BPF_F_CURRENT_NETNS, 0);

	if (!socket)
		return NULL;
	if (socket->state != BPF_TCP_LISTEN &&
	    (socket->state != BPF_TCP_TIME_WAIT || !opens || !is_served_here(skb, packet)))
		return socket;
	bpf_sk_release(socket);
	return NULL;
}

/* The socket that listens on the proxy's port of this host, or the connection that it has accepted. Proxies speak TCP and UDP. */
static __always_inline struct bpf_sock *proxy_socket(struct __sk_buff *skb, const struct packet *packet, __u16 port)
{
	struct bpf_sock_tuple tuple = {};
	__u32 size = tuple_size(packet);
	struct bpf_sock *socket;

	if (packet->protocol != IPPROTO_TCP && packet->protocol != IPPROTO_UDP)
		return NULL;
	tuple_of(&tuple, packet);
	if (packet->protocol == IPPROTO_TCP) {
		socket = accepted_socket(skb, packet, &tuple);
		if (socket)
			return socket;
	}
	if (packet->is_v6) {
		__builtin_memset(tuple.ipv6.daddr, 0, 16);
		tuple.ipv6.daddr[3] = bpf_htonl(1);
		tuple.ipv6.dport = bpf_htons(port);
	} else {
		tuple.ipv4.daddr = bpf_htonl(0x7F000001);
		tuple.ipv4.dport = bpf_htons(port);
	}
	if (packet->protocol == IPPROTO_TCP)
		return bpf_skc_lookup_tcp(skb, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	return bpf_sk_lookup_udp(skb, &tuple, size, BPF_F_CURRENT_NETNS, 0);
}

/* Assigns the packet to the proxy and marks it for this host. Only where packets come in. */
static __always_inline bool assign_to_proxy(struct __sk_buff *skb, const struct packet *packet, __u16 port)
{
	struct bpf_sock *socket = proxy_socket(skb, packet, port);
	long refused;

	if (!socket)
		return false;
	refused = bpf_sk_assign(skb, socket, 0);
	bpf_sk_release(socket);
	if (refused)
		return false;
	skb->mark = (skb->mark & ~MARK_MASK) | MARK_PROXY;
	return true;
}

/* Whether somebody listens for such requests; for packets that cannot be assigned where they are. */
static __always_inline bool proxy_listens(struct __sk_buff *skb, const struct packet *packet, __u16 port)
{
	struct bpf_sock *socket = proxy_socket(skb, packet, port);

	if (!socket)
		return false;
	bpf_sk_release(socket);
	return true;
}
