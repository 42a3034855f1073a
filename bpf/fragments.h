/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause) */
/* Ports of fragments: the first fragment tells them, later ones are looked up. One that comes before its first is dropped, and one that
 * begins within the headers of its first, which it could replace where the pieces are put together (RFC 1858, RFC 3128). */
#pragma once

#include "abi.h"
#include "parse.h"

/* Ticks that a datagram's first fragment is remembered. */
volatile const __u32 FRAGMENT_TICKS = 15;

/* Bytes of a transport header that were read, and must stay as they were. */
static __always_inline __u32 read_of_transport(const struct packet *packet)
{
	switch (packet->protocol) {
	case IPPROTO_TCP:
		return sizeof(struct tcphdr);
	case IPPROTO_SCTP:
		return 13;
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return 8;
	default:
		return 0;
	}
}

/* Gives a later fragment what its first fragment told; records a first one, and says so. 0, or why the fragment must be dropped. `known`
 * is a map of struct fragment_record. */
static __always_inline int join_fragment(void *known, struct packet *packet, __u32 interface, __u32 tick, bool *recorded)
{
	struct fragment_key key = {
		.id = packet->fragment_id,
		.interface = interface,
		.protocol = packet->fragment_protocol,
	};

	__builtin_memcpy(key.source, &packet->source, sizeof(key.source));
	__builtin_memcpy(key.destination, &packet->destination, sizeof(key.destination));
	if (packet->fragment == FIRST_FRAGMENT) {
		struct fragment_record record = {
			.source_port = packet->source_port,
			.destination_port = packet->destination_port,
			.expires = tick + FRAGMENT_TICKS,
			.protocol = packet->protocol,
			.headers = packet->transport + read_of_transport(packet) - packet->fragmented,
		};

		/* Unrecorded, the later ones will be dropped and counted there. */
		*recorded = bpf_map_update_elem(known, &key, &record, BPF_ANY) == 0;
		return 0;
	}
	const struct fragment_record *record = bpf_map_lookup_elem(known, &key);

	if (!record || (__s32)(record->expires - tick) < 0)
		return REASON_UNKNOWN_FRAGMENT;
	if (packet->fragment_place * 8u < record->headers)
		return REASON_MALFORMED;
	packet->source_port = record->source_port;
	packet->destination_port = record->destination_port;
	packet->protocol = record->protocol;
	packet->flags = 0;
	return 0;
}
