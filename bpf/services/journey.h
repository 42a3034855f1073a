/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause) */
/* A packet on its way through a program of services, where tc has it: read, told of, given a backend.
 *
 * Not here: where it then goes, which differs from place to place (wire_tc.bpf.c, veth.bpf.c). */
#pragma once

#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_helpers.h>

#include "../fragments.h"
#include "../parse.h"
#include "flows.h"
#include "forwarding.h"
#include "next_hop.h"
#include "translations.h"

#define PASS TC_ACT_UNSPEC
#define DROP TC_ACT_SHOT

/* Ports of a client that are tried for a flow, its own first, and those that it may be given instead. */
#define CLIENT_PORT_TRIES 8
#define FIRST_CLIENT_PORT 1024
#define CLIENT_PORTS (65536 - FIRST_CLIENT_PORT)
/* How far apart ports are that are tried one after the other. */
#define PORT_STRIDE 61

/* What is known of a packet on its way through a program; in a map for the reason told at policy's. */
struct journey {
	struct packet packet;
	struct packet inner; /* of an ICMP error, or of a wrapped packet */
	struct question question;
	struct target target;
	struct translation_key key;
	struct translation_key other_key;
	struct translation_record record;
	struct translation_record other;
	struct next_hop_record hop;
	struct address own; /* the node's */
	struct address named; /* the backend that another balancer chose */
	__u32 tick;
	__u32 seen_under;
	bool is_named;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct journey);
} journeys SEC(".maps");

static __always_inline struct journey *this_journey(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&journeys, &zero);
}

static __always_inline int drop(struct __sk_buff *skb, enum balance_counter why)
{
	count(why, skb->len);
	return DROP;
}

/* Reads the packet. False: it is nothing that services have to do with. */
static __noinline bool read_packet(struct __sk_buff *skb, struct packet *packet)
{
	bool parsed;

	if (skb->vlan_present)
		return false;
	if (skb->protocol == bpf_htons(ETH_P_IP))
		parsed = parse_v4(skb, packet, ETH_HLEN);
	else if (skb->protocol == bpf_htons(ETH_P_IPV6))
		parsed = parse_v6(skb, packet, ETH_HLEN);
	else
		return false;
	/* Images and entries tell IPv4 addresses in this form, which no packet of IPv6 has (RFC 4291, 2.5.5.2). */
	if (packet->is_v6 && (is_v4(&packet->source) || is_v4(&packet->destination)))
		return false;
	packet->source_port = packet->destination_port = 0;
	packet->flags = 0;
	return parsed && (packet->fragment == LATER_FRAGMENT || parse_transport(skb, packet, packet->transport, true));
}

static __noinline __u8 choose_for(struct journey *journey, const struct image *image, const struct frontend_record *frontend)
{
	return choose(image, frontend, &journey->question, journey->tick, &journey->target);
}

/* The entry for the packet, told by the packet and where it goes; `journey->other` with its key is that for replies. */
static __always_inline void note(struct journey *journey, const struct address *source, __u16 source_port, enum place place_of_replies)
{
	const struct packet *packet = &journey->packet;
	struct translation_record *record = &journey->record;

	__builtin_memcpy(record->source, source, 16);
	__builtin_memcpy(record->destination, &journey->target.address, 16);
	record->source_port = source_port;
	record->destination_port = journey->target.port;
	/* Nobody answers a reset. */
	record->state = packet->protocol == IPPROTO_TCP && packet->flags & TCP_RST ? FLOW_CLOSED : 0;
	record->expires = journey->tick + translation_ticks(packet->protocol, packet->flags, record->state);
	record->seen_under = journey->seen_under;
	record->other_place = place_of_replies;
	__builtin_memset(record->reserved, 0, sizeof(record->reserved));
	key_of_other(&journey->other_key, &journey->key, record);
	turn_round(&journey->other, &journey->key, record);
}

/* What an entry is to who wants its place. */
enum hold {
	HOLDS_ALIVE, /* until it ends */
	HOLDS_OPEN, /* until it is closed and has been silent for some ticks: nothing of it is on its way any more */
};

static __always_inline bool holds(const struct translation_record *there, __u32 expires, __u32 tick, enum hold hold)
{
	__s32 left = expires - tick;

	return left >= 0 && !(hold == HOLDS_OPEN && there->state & FLOW_CLOSED && left <= (__s32)(CLOSED_TICKS - SILENT_TICKS));
}

/* Takes an entry away if it leads to the place of this one: its flow is at its end. It may lead to another by now, where its client began anew. */
static __always_inline void end_if_led_to(const struct translation_key *former, const struct translation_key *place)
{
	const struct translation_record *there = bpf_map_lookup_elem(&translations, former);

	if (there && there->source_port == place->destination_port && there->destination_port == place->source_port &&
	    same_address((const struct address *)there->source, (const struct address *)place->destination) &&
	    same_address((const struct address *)there->destination, (const struct address *)place->source))
		bpf_map_delete_elem(&translations, former);
}

/* Writes the entry for replies where none is that holds its place. Of several processors that find one that does not, the one that writes another
 * time into it has it. */
static __always_inline bool claim(const struct journey *journey, enum hold hold)
{
	struct translation_record *there;
	struct translation_key former;
	__u32 expires;

	if (!bpf_map_update_elem(&translations, &journey->other_key, &journey->other, BPF_NOEXIST))
		return true;
	there = bpf_map_lookup_elem(&translations, &journey->other_key);
	if (!there)
		return false;
	expires = *(volatile __u32 *)&there->expires;
	key_of_other(&former, &journey->other_key, there);
	if (holds(there, expires, journey->tick, hold) ||
	    __sync_val_compare_and_swap(&there->expires, expires, journey->other.expires) != expires)
		return false;
	end_if_led_to(&former, &journey->other_key);
	return !bpf_map_update_elem(&translations, &journey->other_key, &journey->other, BPF_ANY);
}

/* Writes both entries of a flow, whatever is there. */
static __always_inline bool write_both(const struct journey *journey)
{
	return !bpf_map_update_elem(&translations, &journey->other_key, &journey->other, BPF_ANY) &&
	       !bpf_map_update_elem(&translations, &journey->key, &journey->record, BPF_ANY);
}

/* Whether the entry for replies that is there is of this very flow. */
static __always_inline bool is_noted_already(const struct journey *journey)
{
	const struct translation_record *there = bpf_map_lookup_elem(&translations, &journey->other_key);
	const struct translation_record *own = &journey->other;

	return there && there->source_port == own->source_port && there->destination_port == own->destination_port &&
	       same_address((const struct address *)there->source, (const struct address *)own->source) &&
	       same_address((const struct address *)there->destination, (const struct address *)own->destination);
}

/* Writes both entries of a flow that keeps its client's address, and the client's port too where no other flow leads that to the same backend's:
 * by another service it may, and then replies could not be told apart. SCTP's port must stay, and the younger flow has it. */
static __noinline bool note_of_client(struct journey *journey, enum place place_of_replies)
{
	const struct packet *packet = &journey->packet;
	__u32 begin = mix(flow_hash(&journey->question, false), journey->tick) >> 32;
	__u16 port = packet->source_port;

	for (__u32 tried = 0; tried < CLIENT_PORT_TRIES; tried++) {
		note(journey, &packet->source, port, place_of_replies);
		if (claim(journey, HOLDS_ALIVE))
			return !bpf_map_update_elem(&translations, &journey->key, &journey->record, BPF_ANY);
		if (packet->protocol == IPPROTO_SCTP || is_noted_already(journey))
			break;
		port = FIRST_CLIENT_PORT + (begin + tried * PORT_STRIDE) % CLIENT_PORTS;
	}
	return write_both(journey);
}

/* Whether an entry's backend still serves its flow. Of one that is not listed any more only TCP's own flows go on. */
static __noinline bool is_still_right(const struct image *image, const struct frontend_record *frontend, struct journey *journey,
				      struct translation_record *record)
{
	const struct question *question = &journey->question;
	const struct backend_record *backend;

	if (question->is_new && record->state & FLOW_CLOSED)
		return false;
	if (record->seen_under == journey->seen_under)
		return true;
	backend = find_backend(image, frontend, question->from_outside, (const struct address *)record->destination, record->destination_port);
	if (question->protocol == IPPROTO_TCP ? question->is_new && (!backend || backend->state != BACKEND_STATE_ACTIVE) :
						!backend || !goes_on_with(question, backend))
		return false;
	record->seen_under = journey->seen_under;
	return true;
}

/* Forgets a flow. */
static __noinline void forget(struct journey *journey, const struct translation_record *record)
{
	key_of_other(&journey->other_key, &journey->key, record);
	bpf_map_delete_elem(&translations, &journey->other_key);
	bpf_map_delete_elem(&translations, &journey->key);
}

/* Whether an entry leads to the backend that was chosen, and its flow goes on. */
static __always_inline bool leads_on(const struct journey *journey, const struct translation_record *record)
{
	return record->destination_port == journey->target.port &&
	       same_address((const struct address *)record->destination, &journey->target.address) &&
	       !(journey->question.is_new && record->state & FLOW_CLOSED);
}

/* Whether the packet is an ICMP error, and the packet that it is about can be read. */
static __noinline bool is_about_another(struct __sk_buff *skb, struct journey *journey)
{
	const struct packet *packet = &journey->packet;

	return packet->fragment == WHOLE && is_icmp_error(packet) && parse_inner(skb, packet, &journey->inner) &&
	       !is_icmp(&journey->inner);
}

/* The entry of packets the other way than the one that an ICMP error is about; `interface` of a pod, or 0. */
static __always_inline struct translation_record *find_related(struct journey *journey, enum place place, __u32 interface)
{
	const struct packet *inner = &journey->inner;

	key_of_tuple(&journey->key, &inner->destination, &inner->source, inner->destination_port, inner->source_port, inner->protocol,
		     place);
	journey->key.interface = interface;
	return find_translation(&journey->key, journey->tick);
}

/* The packet's ports, if it is a piece of one; `where` it is met, since pieces take one way. 0, or why it cannot be told. */
static __noinline int join(struct journey *journey, __u32 where)
{
	bool recorded;

	if (journey->packet.fragment == WHOLE)
		return 0;
	return join_fragment(&service_fragments, &journey->packet, where, journey->tick, &recorded);
}
