/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause) */
/* Connections that were allowed. One record for both directions, keyed as seen from the pod.
 *
 * A record says under what it was judged; under anything else it is judged again before it lets a packet pass. On another
 * interface than its own it counts for nothing, so a new pod with an old address inherits no connection. */
#pragma once

#include "abi.h"
#include "counters.h"
#include "maps.h"
#include "options.h"
#include "parse.h"

/* Both keys, so that one function serves both families. */
struct connection {
	union {
		struct conntrack_key_v4 v4;
		struct conntrack_key_v6 v6;
	};
	bool is_v6;
};

static __always_inline __u32 now(void)
{
	return bpf_ktime_get_coarse_ns() >> TICK_SHIFT;
}

/* The connection that a packet between a pod and a peer belongs to. `outward`: the pod sends it. */
static __always_inline void connection_of(struct connection *connection, const struct packet *packet, bool outward)
{
	const struct address *pod = outward ? &packet->source : &packet->destination;
	const struct address *peer = outward ? &packet->destination : &packet->source;
	__u16 pod_port = outward ? packet->source_port : packet->destination_port;
	__u16 peer_port = outward ? packet->destination_port : packet->source_port;

	if (is_icmp(packet)) {
		/* An echo's identifier stands for both directions. Who asks is told apart, since both may under one identifier, and
		 * what one asks does not let the other ask. */
		pod_port = packet->source_port;
		peer_port = outward == is_echo_request(packet) ? POD_ASKS : 0;
	}
	connection->is_v6 = packet->is_v6;
	if (packet->is_v6) {
		struct conntrack_key_v6 *key = &connection->v6;

		__builtin_memcpy(key->pod, pod, sizeof(key->pod));
		__builtin_memcpy(key->peer, peer, sizeof(key->peer));
		key->pod_port = pod_port;
		key->peer_port = peer_port;
		key->protocol = packet->protocol;
		__builtin_memset(key->reserved, 0, sizeof(key->reserved));
	} else {
		struct conntrack_key_v4 *key = &connection->v4;

		__builtin_memcpy(key->pod, &pod->words[3], sizeof(key->pod));
		__builtin_memcpy(key->peer, &peer->words[3], sizeof(key->peer));
		key->pod_port = pod_port;
		key->peer_port = peer_port;
		key->protocol = packet->protocol;
		__builtin_memset(key->reserved, 0, sizeof(key->reserved));
	}
}

/* A connection in one word, for the seal of its record. */
static __always_inline __u64 folded(const struct connection *connection)
{
	const __u64 *words = (const void *)connection;
	__u64 word = words[0] ^ words[1];

	_Static_assert(offsetof(struct connection, v4) == 0 && sizeof(connection->v4) == 16 && sizeof(connection->v6) == 40,
		       "words of keys");
	return connection->is_v6 ? word ^ words[2] ^ words[3] ^ words[4] : word;
}

/* A record that still holds, or NULL. */
static __always_inline struct conntrack_record *find_connection(const struct connection *connection, __u32 interface,
								__u32 tick)
{
	struct conntrack_record *record = connection->is_v6 ? bpf_map_lookup_elem(&conntrack_v6, &connection->v6) :
							      bpf_map_lookup_elem(&conntrack_v4, &connection->v4);

	if (!record || record->interface != interface || (__s32)(record->expires - tick) < 0)
		return NULL;
	return record;
}

/* The counter of a family: those of IPv6 follow those of IPv4. */
static __always_inline void count_entry(const struct connection *connection, enum counter of_v4)
{
	count_one(connection->is_v6 ? of_v4 + (COUNTER_CONNTRACK_V6_ADDED - COUNTER_CONNTRACK_V4_ADDED) : of_v4);
}

static __always_inline long write_connection(const struct connection *connection, const struct conntrack_record *record,
					     __u64 flags)
{
	if (connection->is_v6)
		return bpf_map_update_elem(&conntrack_v6, &connection->v6, record, flags);
	return bpf_map_update_elem(&conntrack_v4, &connection->v4, record, flags);
}

/* Entries are counted, so that the daemon can tell how many went because there was no room for more. */
static __always_inline bool save_connection(const struct connection *connection, const struct conntrack_record *record)
{
	if (write_connection(connection, record, BPF_NOEXIST) == 0) {
		count_entry(connection, COUNTER_CONNTRACK_V4_ADDED);
		return true;
	}
	return write_connection(connection, record, BPF_ANY) == 0;
}

static __always_inline void forget_connection(const struct connection *connection)
{
	long gone = connection->is_v6 ? bpf_map_delete_elem(&conntrack_v6, &connection->v6) :
					bpf_map_delete_elem(&conntrack_v4, &connection->v4);

	if (gone == 0)
		count_entry(connection, COUNTER_CONNTRACK_V4_REMOVED);
}

/* Whether the packet would open a connection anew although its record is still there. */
static __always_inline bool reopens(const struct conntrack_record *record, const struct packet *packet)
{
	if (!(record->state & CLOSED))
		return false;
	if (packet->protocol == IPPROTO_TCP)
		return (packet->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
	return true;
}

static __always_inline __u32 lifetime(const struct packet *packet, __u8 state)
{
	if (state & CLOSED)
		return CLOSED_TICKS;
	if (packet->protocol == IPPROTO_TCP)
		return state & ANSWERED ? TCP_TICKS : OPENING_TICKS;
	if (packet->protocol == IPPROTO_SCTP)
		return state & ANSWERED ? SCTP_TICKS : OPENING_TICKS;
	return DATAGRAM_TICKS;
}

/* Takes a packet into the record. Written only where something changes: most packets only read. */
static __always_inline void advance(struct conntrack_record *record, const struct packet *packet, bool outward,
				    bool is_reply, __u32 tick)
{
	__u8 state = record->state;
	__u32 expires;

	if (is_reply)
		state |= ANSWERED;
	if (packet->protocol == IPPROTO_TCP) {
		if (packet->flags & TCP_FIN)
			state |= outward ? POD_FINISHED : PEER_FINISHED;
		if (packet->flags & TCP_RST ||
		    (state & (POD_FINISHED | PEER_FINISHED)) == (POD_FINISHED | PEER_FINISHED))
			state |= CLOSED;
	} else if (packet->protocol == IPPROTO_SCTP &&
		   (packet->flags == SCTP_ABORT || packet->flags == SCTP_SHUTDOWN_COMPLETE)) {
		state |= CLOSED;
	}
	/* What is closed runs out from the moment it closed. */
	expires = state & record->state & CLOSED ? record->expires : tick + lifetime(packet, state);
	if (state != record->state)
		record->state = state;
	if (expires != record->expires)
		record->expires = expires;
}
