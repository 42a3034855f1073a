/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause) */
/* Ports of fragments: the first fragment tells them, later ones are looked up. One that comes before its first is dropped. */
#pragma once

#include "counters.h"
#include "maps.h"
#include "options.h"
#include "parse.h"

/* Gives a later fragment what its first fragment told; records a first one. False: the first was not seen. */
static __always_inline bool join_fragment(struct packet *packet, __u32 interface, __u32 tick)
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
		};

		/* Unrecorded, the later ones will be dropped and counted there. */
		if (bpf_map_update_elem(&fragments, &key, &record, BPF_ANY) == 0)
			count_one(COUNTER_FRAGMENTS_RECORDED);
		return true;
	}
	const struct fragment_record *record = bpf_map_lookup_elem(&fragments, &key);

	if (!record || (__s32)(record->expires - tick) < 0)
		return false;
	packet->source_port = record->source_port;
	packet->destination_port = record->destination_port;
	packet->protocol = record->protocol;
	packet->flags = 0;
	return true;
}
