/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause) */
/* Packets that are rewritten: one entry for each direction of a flow, by the packet as it arrives and where.
 *
 * An entry knows the other: what it makes of a packet, turned round, is the other's key. So either is made anew where it went missing.
 * Not here: how a packet's bytes are changed. */
#pragma once

#include "../parse.h"
#include "maps.h"
#include "options.h"

/* Entries are refreshed so often, each with the other. */
#define LOOK_AFTER_TICKS 16

/* The packet as it goes on. */
struct rewriting {
	const struct address *source;
	const struct address *destination;
	__u16 source_port;
	__u16 destination_port;
};

static __always_inline void as_recorded(struct rewriting *to, const struct translation_record *record)
{
	to->source = (const struct address *)record->source;
	to->destination = (const struct address *)record->destination;
	to->source_port = record->source_port;
	to->destination_port = record->destination_port;
}

static __always_inline void key_of_tuple(struct translation_key *key, const struct address *source, const struct address *destination,
					 __u16 source_port, __u16 destination_port, __u8 protocol, enum place place)
{
	__builtin_memcpy(key->source, source, sizeof(key->source));
	__builtin_memcpy(key->destination, destination, sizeof(key->destination));
	key->source_port = source_port;
	key->destination_port = destination_port;
	key->protocol = protocol;
	key->place = place;
	key->interface = 0;
}

static __always_inline void key_of_packet(struct translation_key *key, const struct packet *packet, enum place place)
{
	key_of_tuple(key, &packet->source, &packet->destination, packet->source_port, packet->destination_port, packet->protocol,
		     place);
}

/* The key of the entry for the other direction. */
static __always_inline void key_of_other(struct translation_key *other, const struct translation_key *key,
					 const struct translation_record *record)
{
	key_of_tuple(other, (const struct address *)record->destination, (const struct address *)record->source,
		     record->destination_port, record->source_port, key->protocol, record->other_place);
	other->interface = key->interface;
}

/* An entry that still holds, or NULL. */
static __always_inline struct translation_record *find_translation(const struct translation_key *key, __u32 tick)
{
	struct translation_record *record = bpf_map_lookup_elem(&translations, key);

	return record && (__s32)(record->expires - tick) >= 0 ? record : NULL;
}

/* Ticks that an entry outlives a packet with these TCP flags, or this type of SCTP's first chunk. A connection of TCP is one once its client
 * has gone on after an answer: anybody can write an address that he does not have, and have it answered. */
static __always_inline __u32 translation_ticks(__u8 protocol, __u8 flags, __u8 state)
{
	if (state & FLOW_CLOSED)
		return CLOSED_TICKS;
	if (protocol == IPPROTO_TCP)
		return flags & TCP_SYN || !(state & FLOW_ANSWERED) ? OPENING_TICKS : TCP_TICKS;
	if (protocol == IPPROTO_SCTP)
		return flags == SCTP_INIT ? OPENING_TICKS : SCTP_TICKS;
	return DATAGRAM_TICKS;
}

/* What the entry for the other direction says, from this one's. */
static __always_inline void turn_round(struct translation_record *other, const struct translation_key *key,
				       const struct translation_record *record)
{
	__builtin_memcpy(other->source, key->destination, sizeof(other->source));
	__builtin_memcpy(other->destination, key->source, sizeof(other->destination));
	other->source_port = key->destination_port;
	other->destination_port = key->source_port;
	other->expires = record->expires;
	other->seen_under = record->seen_under;
	other->other_place = key->place;
	other->state = record->state ^ OF_REPLIES;
	__builtin_memset(other->reserved, 0, sizeof(other->reserved));
}

/* Looks after the entry for the other direction: it lives as long, and knows when the flow ended. */
static __noinline void look_after(const struct translation_key *key, const struct translation_record *record)
{
	struct translation_key other_key;
	struct translation_record other;
	struct translation_record *known;

	key_of_other(&other_key, key, record);
	known = bpf_map_lookup_elem(&translations, &other_key);
	/* Where it went for want of room, another flow may have taken its place: then there is no way back for this one. */
	if (known && (known->destination_port != key->source_port ||
		      !same_address((const struct address *)known->destination, (const struct address *)key->source))) {
		bpf_map_delete_elem(&translations, key);
		return;
	}
	if (known) {
		known->expires = record->expires;
		known->state |= record->state & (CLIENT_FINISHED | BACKEND_FINISHED | FLOW_CLOSED | FLOW_ANSWERED);
		return;
	}
	turn_round(&other, key, record);
	bpf_map_update_elem(&translations, &other_key, &other, BPF_NOEXIST);
}

/* A packet passes by an entry. What is closed lives on while packets pass: a reset that neither end believed ended nothing. */
static __always_inline void advance(const struct translation_key *key, struct translation_record *record, __u8 flags, __u32 tick)
{
	__u8 state = record->state;
	__u32 expires;

	if (key->protocol == IPPROTO_TCP) {
		if (state & OF_REPLIES)
			state |= FLOW_ANSWERED;
		if (flags & TCP_FIN)
			state |= state & OF_REPLIES ? BACKEND_FINISHED : CLIENT_FINISHED;
		if (flags & TCP_RST || (state & (BACKEND_FINISHED | CLIENT_FINISHED)) == (BACKEND_FINISHED | CLIENT_FINISHED))
			state |= FLOW_CLOSED;
	} else if (key->protocol == IPPROTO_SCTP && (flags == SCTP_ABORT || flags == SCTP_SHUTDOWN_COMPLETE)) {
		state |= FLOW_CLOSED;
	}
	/* By option only the first of a client's packets meets an entry: the answer to it has to do. */
	if (DSR_BY_OPTION && key->place == PLACE_TO_WIRE && key->protocol == IPPROTO_TCP)
		flags &= ~TCP_SYN;
	expires = tick + translation_ticks(key->protocol, flags, state);
	if (state == record->state && (__s32)(expires - record->expires) < (state & FLOW_CLOSED ? 1 : LOOK_AFTER_TICKS))
		return;
	record->state = state;
	record->expires = expires;
	look_after(key, record);
}
