/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause) */
/* Services at a device of the node: `from_wire` where it receives, `to_wire` where it sends.
 *
 *     from outside -> frontend -> backend here      -> its address, and to the stack; on record for the reply
 *                              -> backend elsewhere -> wrapped or with an option (DSR), or with the node's address (SNAT)
 *     from another balancer    -> unwrapped         -> as if it had come from outside, to the backend that it names, be it from here
 *     reply to SNAT            -> the client
 *     reply of a backend here (to_wire) -> comes from the service
 *
 * What is of no service passes untouched. Not here: policy, which judges what came of it at the pod's veth. */

#include <linux/if_packet.h>
#include <linux/udp.h>

#include "answers.h"
#include "journey.h"
#include "own_client.h"
#include "rewrite.h"
#include "wrapping.h"

/* Ports that SNAT tries. */
#define PORT_TRIES 32

/* Why a choice leads nowhere, and what comes of it. */
static __noinline int refuse(struct __sk_buff *skb, const struct journey *journey, __u8 choice)
{
	switch (choice) {
	case CHOICE_NO_SERVICE:
		return PASS;
	case CHOICE_NO_LOCAL_BACKEND:
		return drop(skb, BALANCE_COUNTER_NO_LOCAL_BACKEND);
	case CHOICE_UNKNOWN_PORT:
		return drop(skb, BALANCE_COUNTER_UNKNOWN_PORT);
	case CHOICE_NOT_FROM_OUTSIDE:
		return drop(skb, BALANCE_COUNTER_NOT_FROM_OUTSIDE);
	case CHOICE_SOURCE_REFUSED:
		return drop(skb, BALANCE_COUNTER_SOURCE_REFUSED);
	default:
		count(BALANCE_COUNTER_NO_BACKEND, skb->len);
		if (!REJECTS || !answer_with(skb, &journey->packet, 0, journey->tick))
			return DROP;
		return bpf_redirect(skb->ifindex, 0);
	}
}

/* Sends a packet out by the device that leads to an address. */
static __noinline int send_to(struct __sk_buff *skb, const struct address *to, __u32 tick)
{
	struct next_hop_record hop = {};

	if (find_next_hop(skb, to, skb->ifindex, tick, &hop) < 0)
		return drop(skb, BALANCE_COUNTER_NO_ROUTE);
	return bpf_redirect_neigh(hop.interface, NULL, 0, 0);
}

/* Bytes of the largest packet that a device is to cut this one into, from the IP header on; of one that is not cut, its own. */
static __always_inline __u32 largest_piece(struct __sk_buff *skb, const struct packet *packet)
{
	__u32 headers = packet->transport - ETH_HLEN;
	__u8 words;

	if (!skb->gso_size)
		return skb->len - ETH_HLEN;
	if (is_several_datagrams(skb, packet->protocol))
		return headers + sizeof(struct udphdr) + skb->gso_size;
	/* SCTP's are as they were sent, and tell no size. */
	if (packet->protocol != IPPROTO_TCP || bpf_skb_load_bytes(skb, packet->transport + 12, &words, 1))
		return 0;
	return headers + (words >> 4) * 4 + skb->gso_size;
}

/* Whether a packet is too big for the way, with so many bytes more. What TCP's device cuts is cut smaller by what is put around it. */
static __always_inline bool is_too_big(struct __sk_buff *skb, const struct packet *packet, const struct next_hop_record *hop, __u32 more)
{
	if (skb->gso_size && packet->protocol == IPPROTO_TCP)
		more = 0;
	return hop->mtu && largest_piece(skb, packet) + more > hop->mtu;
}

/* Tells who sent a packet that it is too big for its way. */
static __noinline int tell_too_big(struct __sk_buff *skb, const struct journey *journey, __u32 most)
{
	count(BALANCE_COUNTER_TOO_BIG, skb->len);
	if (!answer_with(skb, &journey->packet, most, journey->tick))
		return DROP;
	return bpf_redirect(skb->ifindex, 0);
}

/* Whether a packet to a service is believed to be from where it says: of what comes by wire from an address of the node's own, what a socket
 * here has asked. Nothing is put on record before that is known. */
static __always_inline bool is_believed(struct __sk_buff *skb, const struct journey *journey, const struct address *service, __u16 port)
{
	return !is_from_own(journey) || is_asked_here(skb, &journey->packet, service, port);
}

/* Hands a packet that asks for a service to a backend of this node: to the stack. Of IPv4 that takes nothing in that comes by wire from an
 * address of its own, so the node's own processes are led to the pod's interface, with policy still before it. A socket that resets its
 * connection is gone by now; that it had one is on record. */
static __always_inline int hand_over(struct __sk_buff *skb, const struct journey *journey, const struct address *backend,
				const struct address *service, __u16 port)
{
	const struct packet *packet = &journey->packet;
	bool resets = packet->protocol == IPPROTO_TCP && packet->flags & TCP_RST;

	if (!is_from_own(journey))
		return PASS;
	if (!resets && !is_asked_here(skb, packet, service, port))
		return drop(skb, BALANCE_COUNTER_SOURCE_REFUSED);
	return send_to(skb, backend, journey->tick);
}

/* Sends a packet on as an entry says: to a backend of this node, else out. */
static __noinline int go_on(struct __sk_buff *skb, struct journey *journey, const struct translation_record *record)
{
	const struct packet *packet = &journey->packet;
	struct next_hop_record *hop = &journey->hop;
	struct rewriting to;

	as_recorded(&to, record);
	if (same_address(to.source, &packet->source)) {
		count(BALANCE_COUNTER_DELIVERED, skb->len);
		if (!rewrite(skb, packet, &to))
			return DROP;
		return hand_over(skb, journey, to.destination, &packet->destination, packet->destination_port);
	}
	if (find_next_hop(skb, to.destination, skb->ifindex, journey->tick, hop) < 0)
		return drop(skb, BALANCE_COUNTER_NO_ROUTE);
	if (is_too_big(skb, packet, hop, 0))
		return tell_too_big(skb, journey, hop->mtu);
	if (!spend_hop(skb, packet))
		return drop(skb, BALANCE_COUNTER_HOPS_ENDED);
	if (!rewrite(skb, packet, &to))
		return DROP;
	count(BALANCE_COUNTER_MASQUERADED, skb->len);
	return bpf_redirect_neigh(hop->interface, NULL, 0, 0);
}

/* What pods send to the node is looked up from now on, if the flow is of the node's own. */
static __always_inline void tell_of_own(const struct journey *journey)
{
	__u32 zero = 0, is_told = true;

	if (is_from_own(journey))
		bpf_map_update_elem(&node_answered, &zero, &is_told, BPF_ANY);
}

/* A flow to a backend of this node. */
static __noinline int begin_here(struct __sk_buff *skb, struct journey *journey)
{
	const struct packet *packet = &journey->packet;

	if (!is_believed(skb, journey, &packet->destination, packet->destination_port))
		return drop(skb, BALANCE_COUNTER_SOURCE_REFUSED);
	tell_of_own(journey);
	if (!note_of_client(journey, PLACE_TO_WIRE))
		return drop(skb, BALANCE_COUNTER_NO_ROOM);
	count(BALANCE_COUNTER_FLOWS_TRANSLATED, 0);
	return go_on(skb, journey, &journey->record);
}

static __always_inline bool claim_port(struct journey *journey, __u16 port, enum hold hold)
{
	note(journey, &journey->own, port, PLACE_FROM_WIRE);
	return claim(journey, hold);
}

/* Tries some ports, from a place in the range on. Not static: it is verified once, for any caller. */
__noinline int try_ports(__u32 from, __u32 hold)
{
	/* Where there is a multiple of them they would be the same ones again. */
	__u32 stride = PORTS % PORT_STRIDE ? PORT_STRIDE : 1;
	struct journey *journey = this_journey();

	if (!journey)
		return false;
	for (__u32 tried = 0; tried < PORT_TRIES; tried++) {
		if (claim_port(journey, FIRST_PORT + (from + tried * stride) % PORTS, hold))
			return true;
	}
	return false;
}

/* Takes a port of the node for the flow: one that no other flow to the same backend has, which the entry for replies is the proof of. Where many
 * are taken, those of closed flows are too. */
static __noinline bool take_port(struct journey *journey)
{
	const struct packet *packet = &journey->packet;
	__u32 hash = mix(flow_hash(&journey->question, false), journey->tick) >> 32;

	/* SCTP's checksum is over its ports, which therefore stay. */
	if (packet->protocol == IPPROTO_SCTP)
		return claim_port(journey, packet->source_port, HOLDS_OPEN);
	return try_ports(hash, HOLDS_ALIVE) || try_ports(hash, HOLDS_OPEN);
}

/* A flow to a backend elsewhere that is to come back through this node. */
static __noinline int begin_masqueraded(struct __sk_buff *skb, struct journey *journey)
{
	struct translation_record *record;

	if (!is_given(&journey->own, journey->packet.is_v6))
		return drop(skb, BALANCE_COUNTER_NO_ROUTE);
	if (!take_port(journey))
		return drop(skb, BALANCE_COUNTER_NO_PORT);
	if (bpf_map_update_elem(&translations, &journey->key, &journey->record, BPF_NOEXIST)) {
		/* Another packet of the flow was faster, or an old entry is in the way. */
		record = find_translation(&journey->key, journey->tick);
		if (record) {
			bpf_map_delete_elem(&translations, &journey->other_key);
			return go_on(skb, journey, record);
		}
		if (bpf_map_update_elem(&translations, &journey->key, &journey->record, BPF_ANY)) {
			bpf_map_delete_elem(&translations, &journey->other_key);
			return drop(skb, BALANCE_COUNTER_NO_ROOM);
		}
	}
	count(BALANCE_COUNTER_FLOWS_TRANSLATED, 0);
	return go_on(skb, journey, &journey->record);
}

/* Sends a packet to its backend's node, with the client's address and what tells of the service. */
static __noinline int send_direct(struct __sk_buff *skb, struct journey *journey)
{
	const struct packet *packet = &journey->packet;
	struct address to = journey->target.address;
	bool tells = !DSR_BY_OPTION || (journey->question.is_new && packet->fragment != LATER_FRAGMENT && !is_icmp(packet));
	struct next_hop_record *hop = &journey->hop;
	struct rewriting as = {
		.source = &packet->source,
		.destination = &to,
		.source_port = packet->source_port,
		.destination_port = journey->target.port,
	};

	if ((!DSR_BY_OPTION && !is_given(&journey->own, journey->packet.is_v6)) || find_next_hop(skb, &to, skb->ifindex, journey->tick, hop) < 0)
		return drop(skb, BALANCE_COUNTER_NO_ROUTE);
	if (is_too_big(skb, packet, hop, tells ? wrapping_bytes(packet->is_v6) : 0))
		return tell_too_big(skb, journey, hop->mtu - wrapping_bytes(packet->is_v6));
	if (!DSR_BY_OPTION) {
		if (!wrap(skb, packet, &journey->own, &to))
			return DROP;
	} else {
		if (!spend_hop(skb, packet))
			return drop(skb, BALANCE_COUNTER_HOPS_ENDED);
		if (!rewrite(skb, packet, &as) || (tells && !put_option(skb, packet)))
			return DROP;
	}
	count(BALANCE_COUNTER_DIRECT, skb->len);
	return bpf_redirect_neigh(hop->interface, NULL, 0, 0);
}

/* Whether an entry is of a TCP flow that a backend of this node has, and the packet is no lone SYN. That holds of a backend that is listed no
 * more, too: nothing else tells then that it is here. */
static __noinline bool is_kept(const struct packet *packet, const struct translation_record *record, const struct address *backend)
{
	return record && packet->protocol == IPPROTO_TCP && !may_be_new(packet->protocol, packet->flags) &&
	       same_address((const struct address *)record->destination, backend) &&
	       same_address((const struct address *)record->source, &packet->source);
}

/* Whether an entry is of a flow of datagrams that a backend of this node has, which serves under this image. */
static __always_inline bool is_seen_here(const struct journey *journey, const struct packet *packet,
					 const struct translation_record *record)
{
	return record && packet->protocol != IPPROTO_TCP && record->seen_under == journey->seen_under &&
	       same_address((const struct address *)record->destination, &journey->named) &&
	       same_address((const struct address *)record->source, &packet->source);
}

/* The backend that another balancer chose. It chose as this one does, but for what each has on record; of several ports at one address that
 * tells which. */
static __noinline bool aim_at_named(struct journey *journey, const struct image *image, const struct frontend_record *frontend,
				    const struct translation_record *record)
{
	struct target *target = &journey->target;
	__u8 choice = choose_for(journey, image, frontend);
	const struct backend_record *backend;

	if (is_kept(&journey->packet, record, &journey->named)) {
		target->address = journey->named;
		target->port = record->destination_port;
		return true;
	}
	if (choice == CHOICE_BACKEND && same_address(&target->address, &journey->named))
		return true;
	backend = find_backend(image, frontend, true, &journey->named, 0);
	if (!backend)
		return false;
	aim(target, backend);
	return true;
}

/* A packet that met a frontend. */
static __noinline int serve(struct __sk_buff *skb, struct journey *journey, const struct image *image,
			    const struct frontend_record *frontend)
{
	const struct packet *packet = &journey->packet;
	struct translation_record *record;
	bool direct = is_direct(frontend, packet->protocol);
	__u8 choice;

	if (frontend->sources != NO_RECORD && is_refused(image, frontend, &packet->source))
		return refuse(skb, journey, CHOICE_SOURCE_REFUSED);
	key_of_packet(&journey->key, packet, PLACE_FROM_WIRE);
	record = find_translation(&journey->key, journey->tick);
	if (journey->is_named) {
		if (!aim_at_named(journey, image, frontend, record))
			return refuse(skb, journey, CHOICE_NO_BACKEND);
	} else if (direct || !record || !is_still_right(image, frontend, journey, record)) {
		choice = choose_for(journey, image, frontend);
		if (choice != CHOICE_BACKEND)
			return refuse(skb, journey, choice);
	} else {
		advance(&journey->key, record, packet->flags, journey->tick);
		return go_on(skb, journey, record);
	}
	if (!journey->is_named && !journey->target.is_local && direct && !is_kept(packet, record, &journey->target.address))
		return send_direct(skb, journey);
	if (record) {
		if (leads_on(journey, record)) {
			/* Of TCP a backend that is gone leads on too. */
			if (journey->is_named && packet->protocol != IPPROTO_TCP)
				record->seen_under = journey->seen_under;
			advance(&journey->key, record, packet->flags, journey->tick);
			return go_on(skb, journey, record);
		}
		forget(journey, record);
	}
	if (journey->is_named || journey->target.is_local)
		return begin_here(skb, journey);
	return begin_masqueraded(skb, journey);
}

/* What a packet of another node's balancer is about: it is taken for the backend that it was sent to, as if its client had sent it here. */
static __noinline bool is_wrapped_for_us(struct __sk_buff *skb, struct journey *journey, const struct image *image)
{
	const struct packet *outer = &journey->packet;
	struct packet *inner = &journey->inner;
	const struct translation_record *record;
	const struct frontend_record *frontend;
	const struct backend_record *backend;
	__u8 why;

	if (outer->fragment != WHOLE || outer->transport != ETH_HLEN + (outer->is_v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr)))
		return false;
	if (outer->is_v6 ? !parse_v6(skb, inner, outer->transport) : !parse_v4(skb, inner, outer->transport))
		return false;
	/* Nobody else is believed who a packet comes from. */
	frontend = find_frontend(image, &outer->source, 0, 0);
	if (!frontend || frontend->kind != FRONTEND_KIND_PEER_ADDRESS)
		return false;
	journey->named = outer->destination;
	/* A later piece is known by what its first was, once it is unwrapped. */
	if (inner->fragment == LATER_FRAGMENT) {
		ask_of(&journey->question, inner, true);
		return find_frontend(image, &inner->destination, 0, 0);
	}
	if (!parse_transport(skb, inner, inner->transport, true))
		return false;
	if (is_icmp(inner))
		return is_icmp_error(inner) && find_frontend(image, &inner->destination, 0, 0);
	ask_of(&journey->question, inner, true);
	journey->question.is_forwarded = true;
	frontend = meet(image, &journey->question, &why);
	if (!frontend || !is_direct(frontend, inner->protocol))
		return false;
	/* What is on record need not be looked for among all backends. One that is gone has what it had, and nobody new. */
	key_of_packet(&journey->key, inner, PLACE_FROM_WIRE);
	record = find_translation(&journey->key, journey->tick);
	if (is_kept(inner, record, &journey->named) || is_seen_here(journey, inner, record))
		return true;
	backend = find_backend(image, frontend, true, &journey->named, 0);
	return backend && backend->flags & BACKEND_LOCAL;
}

/* A packet that says by an option which service its client asked for. */
static __noinline int learn_option(struct __sk_buff *skb, struct journey *journey, const struct image *image)
{
	struct packet *packet = &journey->packet;
	const struct frontend_record *frontend;
	const struct backend_record *backend;
	struct address service;
	__u16 port;
	__u8 why;

	if (!DSR_BY_OPTION || packet->fragment == LATER_FRAGMENT || !read_option(skb, packet, &service, &port))
		return PASS;
	ask_of(&journey->question, packet, true);
	journey->question.address = service;
	journey->question.port = port;
	journey->question.is_forwarded = true;
	frontend = meet(image, &journey->question, &why);
	if (!frontend || !is_direct(frontend, packet->protocol))
		return PASS;
	backend = find_backend(image, frontend, true, &packet->destination, packet->destination_port);
	if (!backend || !(backend->flags & BACKEND_LOCAL))
		return PASS;
	if (frontend->sources != NO_RECORD && is_refused(image, frontend, &packet->source))
		return refuse(skb, journey, CHOICE_SOURCE_REFUSED);
	if (!is_believed(skb, journey, &service, port))
		return drop(skb, BALANCE_COUNTER_SOURCE_REFUSED);
	aim(&journey->target, backend);
	key_of_tuple(&journey->key, &packet->source, &service, packet->source_port, port, packet->protocol, PLACE_FROM_WIRE);
	/* Its later packets come as they go on, so its port stays: of two flows that have one the younger has it. */
	tell_of_own(journey);
	note(journey, &packet->source, packet->source_port, PLACE_TO_WIRE);
	if (!write_both(journey))
		return drop(skb, BALANCE_COUNTER_NO_ROOM);
	count(BALANCE_COUNTER_UNWRAPPED, skb->len);
	if (!take_option(skb, packet))
		return DROP;
	return hand_over(skb, journey, &packet->destination, (const struct address *)journey->key.destination, port);
}

/* A later packet of a flow that an option told of: nothing is to be done to it, but to hand it over. */
static __noinline int go_on_after_option(struct __sk_buff *skb, struct journey *journey)
{
	const struct packet *packet = &journey->packet;
	const struct translation_record *of_reply;

	if (!DSR_BY_OPTION || !is_from_own(journey))
		return PASS;
	key_of_tuple(&journey->key, &packet->destination, &packet->source, packet->destination_port, packet->source_port,
		     packet->protocol, PLACE_TO_WIRE);
	of_reply = find_translation(&journey->key, journey->tick);
	if (!of_reply)
		return PASS;
	return hand_over(skb, journey, &packet->destination, (const struct address *)of_reply->source, of_reply->source_port);
}

/* An ICMP error about the reply of a backend elsewhere that went to the client directly. */
static __noinline int relate_direct(struct __sk_buff *skb, struct journey *journey, const struct image *image)
{
	const struct packet *inner = &journey->inner;
	const struct frontend_record *frontend;
	struct address destination;
	struct rewriting to;
	__u8 why;

	if (journey->is_named)
		return PASS;
	journey->question.client = inner->destination;
	journey->question.address = inner->source;
	journey->question.client_port = inner->destination_port;
	journey->question.port = inner->source_port;
	journey->question.protocol = inner->protocol;
	journey->question.from_outside = true;
	journey->question.is_forwarded = false;
	journey->question.is_new = false;
	frontend = meet(image, &journey->question, &why);
	if (!frontend || !is_direct(frontend, inner->protocol) ||
	    choose_for(journey, image, frontend) != CHOICE_BACKEND || journey->target.is_local)
		return PASS;
	if (!DSR_BY_OPTION)
		return send_direct(skb, journey);
	destination = journey->target.address;
	to.source = &inner->destination;
	to.destination = &destination;
	to.source_port = inner->destination_port;
	to.destination_port = journey->target.port;
	return rewrite_error(skb, &journey->packet, inner, &to) ? send_to(skb, &destination, journey->tick) : DROP;
}

/* An ICMP error about a packet that was rewritten as an entry says. */
static __noinline int relate(struct __sk_buff *skb, const struct journey *journey, const struct translation_record *record)
{
	const struct packet *inner = &journey->inner;
	struct address destination;
	struct rewriting to;
	bool stays;

	as_recorded(&to, record);
	destination = *to.destination;
	stays = journey->key.place == PLACE_TO_WIRE || same_address(to.source, &inner->destination);
	if (!rewrite_error(skb, &journey->packet, inner, &to))
		return DROP;
	return stays ? PASS : send_to(skb, &destination, journey->tick);
}

/* A packet that has been read, and is no ICMP. */
static __noinline int arrive(struct __sk_buff *skb, struct journey *journey, const struct image *image,
			     const struct service_settings *settings)
{
	struct packet *packet = &journey->packet;
	const struct frontend_record *frontend;
	struct translation_record *record;
	__u8 why;
	int done;

	/* A piece whose first did not come this way may be anybody's. */
	if (join(journey, PLACE_FROM_WIRE))
		return PASS;
	ask_of(&journey->question, packet, true);
	journey->question.is_forwarded = journey->is_named;
	frontend = meet(image, &journey->question, &why);
	if (frontend)
		return serve(skb, journey, image, frontend);
	if (why != CHOICE_NO_SERVICE)
		return refuse(skb, journey, why);
	if (is_to_taken_port(settings, &journey->question, packet->is_v6)) {
		key_of_packet(&journey->key, packet, PLACE_FROM_WIRE);
		record = find_translation(&journey->key, journey->tick);
		if (!record)
			return PASS;
		advance(&journey->key, record, packet->flags, journey->tick);
		return go_on(skb, journey, record);
	}
	done = learn_option(skb, journey, image);
	return done == PASS ? go_on_after_option(skb, journey) : done;
}

SEC("classifier")
int from_wire(struct __sk_buff *skb)
{
	const struct service_settings *settings = present_service_settings();
	struct journey *journey = this_journey();
	const struct translation_record *record;
	struct image image = {};
	struct packet *packet;

	/* What is for another host is that host's, though the device may hear it. */
	if (skb->pkt_type != PACKET_HOST || !settings || !journey || !present_image(settings, &image))
		return PASS;
	packet = &journey->packet;
	journey->tick = service_tick();
	journey->is_named = false;
	journey->seen_under = service_header_of(&image)->checksum;
	if (!read_packet(skb, packet))
		return PASS;
	node_address(&journey->own, settings, packet->is_v6);
	if (packet->protocol == (packet->is_v6 ? IPPROTO_IPV6 : IPPROTO_IPIP)) {
		if (DSR_BY_OPTION || !is_wrapped_for_us(skb, journey, &image))
			return PASS;
		if (!unwrap(skb, &journey->inner) || !read_packet(skb, packet))
			return drop(skb, BALANCE_COUNTER_MALFORMED);
		count(BALANCE_COUNTER_UNWRAPPED, skb->len);
		journey->is_named = true;
	}
	if (!is_icmp(packet))
		return arrive(skb, journey, &image, settings);
	if (!is_about_another(skb, journey))
		return PASS;
	record = find_related(journey, PLACE_FROM_WIRE, 0);
	return record ? relate(skb, journey, record) : relate_direct(skb, journey, &image);
}

SEC("classifier")
int to_wire(struct __sk_buff *skb)
{
	struct journey *journey = this_journey();
	struct translation_record *record;
	struct rewriting to;
	struct packet *packet;

	if (!journey)
		return PASS;
	packet = &journey->packet;
	journey->tick = service_tick();
	journey->is_named = false;
	if (!read_packet(skb, packet))
		return PASS;
	if (is_icmp(packet)) {
		record = is_about_another(skb, journey) ? find_related(journey, PLACE_TO_WIRE, 0) : NULL;
		return record ? relate(skb, journey, record) : PASS;
	}
	if (join(journey, PLACE_TO_WIRE))
		return PASS;
	key_of_packet(&journey->key, packet, PLACE_TO_WIRE);
	record = find_translation(&journey->key, journey->tick);
	if (!record)
		return PASS;
	advance(&journey->key, record, packet->flags, journey->tick);
	as_recorded(&to, record);
	return rewrite(skb, packet, &to) ? PASS : DROP;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
