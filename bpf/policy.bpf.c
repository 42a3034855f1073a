/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause) */
/* Policy at the host's side of a pod's veth: `from_pod` where the host receives, `to_pod` where it sends.
 *
 *     packet -> connection known and judged under this image?  -> passes
 *            -> about a known connection (ICMP error)?         -> passes
 *            -> judge -> denied, handed to a proxy, or recorded and passed
 *
 * One packet sees one image: `from_pod` resolves it and marks the packet with its slot, so that `to_pod` of another pod on
 * this node judges by the same one. Whatever cannot be read, recorded or judged is dropped. A packet that passes goes on to
 * whatever program stands next (TCX_NEXT, which older kernels know as TC_ACT_UNSPEC). */

#include <linux/bpf.h>
#include <linux/if_packet.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "conntrack.h"
#include "counters.h"
#include "events.h"
#include "fragments.h"
#include "image.h"
#include "parse.h"
#include "proxy.h"
#include "verdict.h"

#define PASS TC_ACT_UNSPEC
#define DROP TC_ACT_SHOT

/* What is known of a packet on its way through a program. It lies in a map rather than on the stack, where the verifier would
 * tell apart every way that led to a number; one packet at a time passes a CPU here. A question has another than packets: on kernels
 * before 6.4 a packet may come amid a test run.
 *
 * Functions that are not static are verified once, for whatever is in the passage, and not once for each way that leads to them. */
struct passage {
	struct packet packet;
	__u64 image; /* its checksum; 0 without one */
	__u64 judged_under; /* that and the epoch, added */
	__u32 slot; /* of the image */
	__u32 hook; /* enum hook */
	__u32 tick;
	__u32 interface;
	__u32 pod; /* identity, 0 if the interface has none */
	__u32 is_question;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct passage);
} passages SEC(".maps");

static __always_inline struct passage *this_passage(__u32 is_question)
{
	return bpf_map_lookup_elem(&passages, &is_question);
}

static __always_inline const struct settings *present_settings(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&settings, &zero);
}

/* Answers a question in the packet's control block; a test run hands it back. */
static __always_inline void answer(struct __sk_buff *skb, ruling outcome)
{
	skb->cb[0] = rule_or_set_of(outcome);
	skb->cb[1] = (__u32)outcome & 0xFFFFFF;
}

/* What is known of the other side. Looked up for those who are told, not kept for those who are not. */
static __always_inline const struct address_record *peer_of(const struct passage *passage)
{
	const struct packet *packet = &passage->packet;

	return find_address(passage->hook == HOOK_FROM_POD ? &packet->destination : &packet->source, packet->is_v6);
}

/* Tells of the packet; `kind` is an enum event_kind, and above it 1 for a packet back. */
__noinline int tell_of(struct __sk_buff *skb, __u32 kind, __u64 outcome)
{
	/* Of a question nothing is told. */
	const struct passage *passage = this_passage(false);
	struct telling telling = {};

	if (!passage)
		return 0;
	telling.kind = kind & 0xFF;
	telling.hook = passage->hook;
	telling.outcome = outcome;
	telling.image = passage->image;
	telling.pod = passage->pod;
	telling.peer = identity_of(peer_of(passage), passage->slot);
	telling.is_reply = kind >> 8;
	return tell(skb, &passage->packet, &telling, passage->tick);
}

static __noinline int drop_for(struct __sk_buff *skb, const struct passage *passage, ruling outcome)
{
	if (passage->is_question) {
		answer(skb, outcome);
		return DROP;
	}
	count_reason(passage->hook, reason_of(outcome), skb->len);
	count_rule(passage->slot, action_of(outcome), rule_or_set_of(outcome), skb->len);
	tell_of(skb, EVENT_KIND_DROP, outcome);
	return DROP;
}

static __always_inline int drop(struct __sk_buff *skb, const struct passage *passage, enum reason reason)
{
	return drop_for(skb, passage, OUTCOME(ACTION_DENY, reason));
}

/* Lets a packet pass, with the slot of the image that judged it, if one did. */
static __always_inline int pass(struct __sk_buff *skb, const struct passage *passage, __u8 reason)
{
	/* Keeps the compiler from computing a field's address once for all uses, which the verifier refuses of a context. */
	asm volatile("" : "+r"(skb));
	count_reason(passage->hook, reason, skb->len);
	if (passage->hook == HOOK_FROM_POD && passage->image)
		skb->mark = (skb->mark & ~MARK_MASK) | MARK_JUDGED | (passage->slot ? MARK_SLOT : 0);
	else if (skb->mark & MARK_MASK)
		skb->mark &= ~MARK_MASK;
	return PASS;
}

/* Hands a packet to the proxy that reads its requests. Where a packet leaves for a pod it cannot be assigned to a socket, so
 * it turns round and comes in again, marked; see `from_pod`. Pieces are not handed over: once put together they belong to no socket,
 * and to whoever listens on this host at the port asked for. */
static __noinline int redirect(struct __sk_buff *skb, const struct passage *passage, const struct settings *settings,
			       __u32 requests)
{
	__u16 port = settings->proxy_ports[requests & 3];

	if (!port || passage->packet.fragment != WHOLE)
		return DROP;
	if (passage->hook == HOOK_FROM_POD) {
		if (!assign_to_proxy(skb, &passage->packet, port))
			return DROP;
		count_one(COUNTER_PROXY_PACKETS);
		return PASS;
	}
	if (!proxy_listens(skb, &passage->packet, port))
		return DROP;
	count_one(COUNTER_PROXY_PACKETS);
	skb->mark = (skb->mark & ~MARK_MASK) | MARK_PROXY | (requests & 3) << MARK_SHIFT;
	return bpf_redirect(passage->interface, BPF_F_INGRESS);
}

/* The outcome told instead where a redirect finds no proxy: the same rule, another reason. */
static __always_inline ruling without_proxy(ruling redirected)
{
	return (redirected & ~0xFFFFull) | ACTION_REDIRECT | (ruling)REASON_PROXY_UNAVAILABLE << 8;
}

static __always_inline ruling outcome_of_record(const struct conntrack_record *record)
{
	return (ruling)record->action | (ruling)record->reason << 8 | (ruling)record->requests << 16 |
	       (ruling)record->rule_or_set << 32;
}

/* Judges a connection by who opened it: a packet back is judged as the one that it answers. */
__noinline __u64 judge_opening(__u32 is_question, __u32 opened_at, __u32 icmp_type)
{
	const struct settings *now_set = present_settings();
	const struct passage *passage = this_passage(is_question != 0);
	struct inquiry inquiry = {};
	struct image image = {};
	const struct packet *packet;

	if (!passage || !now_set || !resolve(&image, passage->slot & 1))
		return OUTCOME(ACTION_DENY, REASON_NO_IMAGE);
	packet = &passage->packet;
	inquiry.hook = opened_at;
	inquiry.pod = passage->pod;
	inquiry.peer = passage->hook == HOOK_FROM_POD ? &packet->destination : &packet->source;
	inquiry.is_v6 = packet->is_v6;
	inquiry.protocol = packet->protocol;
	inquiry.port = passage->hook == opened_at ? packet->destination_port : packet->source_port;
	if (is_icmp(packet))
		inquiry.port = icmp_type;
	return judge(&image, &inquiry, now_set);
}

/* Of an outcome's bytes, those that a record has. */
#define RECORDED (~(0xFFull << 24))

static __always_inline void judged(struct conntrack_record *record, const struct connection *connection, ruling outcome,
				   __u64 judged_under)
{
	record->rule_or_set = rule_or_set_of(outcome);
	record->action = action_of(outcome);
	record->reason = reason_of(outcome);
	record->requests = requests_of(outcome);
	/* Of what was just written, not of what is there now. */
	record->seal = judged_under ^ (outcome & RECORDED) ^ folded(connection);
}

/* A packet of a connection that is on record. */
static __always_inline int known(struct __sk_buff *skb, struct passage *passage, const struct settings *settings,
				 const struct connection *connection, struct conntrack_record *record)
{
	const struct packet *packet = &passage->packet;
	enum hook opened_at = record->state & OPENED_INWARD ? HOOK_TO_POD : HOOK_FROM_POD;
	bool is_reply = passage->hook != opened_at;
	ruling outcome = outcome_of_record(record);
	bool is_handed_over;
	int done = PASS;

	if ((record->seal ^ outcome ^ folded(connection)) != passage->judged_under) {
		outcome = judge_opening(false, opened_at, record->icmp_type);
		count_one(COUNTER_CONNECTIONS_JUDGED_AGAIN);
		if (action_of(outcome) == ACTION_DENY) {
			forget_connection(connection);
			count_one(COUNTER_CONNECTIONS_CUT);
			return drop_for(skb, passage, outcome);
		}
		judged(record, connection, outcome, passage->judged_under);
	}
	is_handed_over = action_of(outcome) == ACTION_REDIRECT && !is_reply;
	if (is_handed_over) {
		done = redirect(skb, passage, settings, requests_of(outcome));
		if (done == DROP)
			return drop_for(skb, passage, without_proxy(outcome));
	}
	advance(record, packet, passage->hook == HOOK_FROM_POD, is_reply, passage->tick);
	count_rule(passage->slot, action_of(outcome), rule_or_set_of(outcome), skb->len);
	if (is_due(record, packet, is_reply, passage->tick))
		tell_of(skb, EVENT_KIND_PACKET | is_reply << 8, outcome);
	if (is_handed_over)
		return done;
	return pass(skb, passage, is_reply ? REASON_REPLY : reason_of(outcome));
}

/* Whether an ICMP error is about a connection on record. It goes to the source of the packet that it is about, and nowhere else:
 * who knows of a connection could else reach anybody by telling of it. A connection that was judged under another image counts
 * once a packet of its own has been judged under this one. */
__noinline int is_related(struct __sk_buff *skb)
{
	const struct passage *passage = this_passage(false);
	const struct conntrack_record *record;
	struct connection connection;
	struct packet inner = {};

	if (!passage || !parse_inner(skb, &passage->packet, &inner) || !same_address(&inner.source, &passage->packet.destination))
		return false;
	connection_of(&connection, &inner, passage->hook == HOOK_TO_POD);
	record = find_connection(&connection, passage->interface, passage->tick);
	return record && (record->seal ^ outcome_of_record(record) ^ folded(&connection)) == passage->judged_under;
}

/* A packet that no record lets pass. */
static __always_inline int unknown(struct __sk_buff *skb, struct passage *passage, const struct settings *settings,
				   const struct connection *connection)
{
	const struct packet *packet = &passage->packet;
	__u8 icmp_type = is_icmp(packet) ? packet->destination_port : 0;
	ruling outcome = judge_opening(passage->is_question, passage->hook, icmp_type);
	int done = PASS;

	if (action_of(outcome) == ACTION_DENY)
		return drop_for(skb, passage, outcome);
	if (passage->is_question) {
		answer(skb, outcome);
		return PASS;
	}
	if (action_of(outcome) == ACTION_REDIRECT) {
		done = redirect(skb, passage, settings, requests_of(outcome));
		if (done == DROP)
			return drop_for(skb, passage, without_proxy(outcome));
	}
	/* Of ICMP only the request of an echo is answered. */
	if (!is_icmp(packet) || is_echo_request(packet)) {
		struct conntrack_record record = {
			.interface = passage->interface,
			.reported = passage->tick,
			.state = passage->hook == HOOK_TO_POD ? OPENED_INWARD : 0,
			.icmp_type = icmp_type,
		};

		judged(&record, connection, outcome, passage->judged_under);
		record.flags[0] = told_flags(packet);
		record.expires = passage->tick;
		advance(&record, packet, passage->hook == HOOK_FROM_POD, false, passage->tick);
		if (!save_connection(connection, &record)) {
			count_one(COUNTER_CONNECTIONS_REFUSED);
			return drop(skb, passage, REASON_CONNTRACK_FULL);
		}
		count_one(COUNTER_CONNECTIONS_RECORDED);
	}
	count_rule(passage->slot, action_of(outcome), rule_or_set_of(outcome), skb->len);
	tell_of(skb, EVENT_KIND_CONNECTION, outcome);
	if (action_of(outcome) == ACTION_REDIRECT)
		return done;
	return pass(skb, passage, reason_of(outcome));
}

/* Whether a pod sends from an address of its own. */
static __always_inline bool is_own_source(const struct interface_record *pod, const struct packet *packet)
{
	const __be32 *v4 = (const void *)pod->v4;

	/* A pod without an address of the family has zeros, which is no address either. */
	if (packet->is_v6)
		return !is_unspecified(&packet->source) && same_address((const void *)pod->v6, &packet->source);
	return packet->source.words[3] && *v4 == packet->source.words[3];
}

/* Whether an address is the node's own. */
static __always_inline bool is_own_node(const struct address *address)
{
	/* A node's identity is by its place, the same in every image. */
	__u32 identity = identity_of(find_address(address, true), 0);

	return identity == IDENTITY_HOST ||
	       (identity >= IDENTITY_FIRST_HOST && identity < IDENTITY_FIRST_HOST + IDENTITY_NODES);
}

/* Whether an address is always among a pod's neighbours: of the link, or the node's. */
static __always_inline bool is_of_link(const struct address *address)
{
	return is_link_local(address) || is_link_multicast(address) || is_own_node(address);
}

/* A pod and a neighbour that has shown itself on the pod's link, in place of a connection. */
static __always_inline void neighbourhood_of(struct connection *connection, const struct interface_record *pod,
					     const struct address *neighbour)
{
	struct conntrack_key_v6 *key = &connection->v6;

	connection->is_v6 = true;
	__builtin_memcpy(key->pod, pod->v6, sizeof(key->pod));
	__builtin_memcpy(key->peer, neighbour, sizeof(key->peer));
	key->pod_port = 0;
	key->peer_port = ON_LINK;
	key->protocol = IPPROTO_ICMPV6;
	__builtin_memset(key->reserved, 0, sizeof(key->reserved));
}

/* Remembers who solicits the pod or advertises itself to it, so that it is answered: pods on one bridge are neighbours under
 * addresses that policy is asked about everywhere else. Whoever is always answered needs no remembering. */
static __always_inline void meet(const struct passage *passage, const struct interface_record *pod)
{
	const struct address *neighbour = &passage->packet.source;
	struct conntrack_record record = {
		.rule_or_set = NO_RULE,
		.interface = passage->interface,
		.expires = passage->tick + DATAGRAM_TICKS,
		.reported = passage->tick,
		.state = OPENED_INWARD,
		.action = ACTION_ALLOW,
		.reason = REASON_NEIGHBOUR,
	};
	struct connection connection;

	if (is_unspecified(neighbour) || neighbour->bytes[0] == 0xFF || is_of_link(neighbour))
		return;
	neighbourhood_of(&connection, pod, neighbour);
	/* Where there is no room its discovery is judged. */
	save_connection(&connection, &record);
}

/* Whether a packet is neighbour discovery that ends on the pod's link. What a pod sends goes to the link's addresses, the node, or
 * a neighbour that has shown itself, and comes from an address that a pod has there; a pod is no router, so it neither advertises
 * one nor redirects. */
__noinline int is_among_neighbours(void)
{
	const struct passage *passage = this_passage(false);
	const struct interface_record *pod;
	struct connection connection;
	const struct packet *packet;
	bool is_of_neighbour;
	__u16 type;

	if (!passage)
		return false;
	pod = bpf_map_lookup_elem(&interfaces, &passage->interface);
	if (!pod)
		return false;
	packet = &passage->packet;
	type = packet->destination_port;
	is_of_neighbour = type == ICMPV6_NEIGHBOUR_SOLICITATION || type == ICMPV6_NEIGHBOUR_ADVERTISEMENT;
	if (passage->hook == HOOK_TO_POD) {
		if (is_of_neighbour)
			meet(passage, pod);
		return true;
	}
	if (type != ICMPV6_ROUTER_SOLICITATION && !is_of_neighbour)
		return false;
	if (is_of_link(&packet->destination))
		return is_unspecified(&packet->source) || is_link_local(&packet->source) || is_own_source(pod, packet);
	if (!is_of_neighbour || !is_own_source(pod, packet))
		return false;
	neighbourhood_of(&connection, pod, &packet->destination);
	return find_connection(&connection, passage->interface, passage->tick) != NULL;
}

/* The slot of the image that this packet is judged by: that of the hook before on this node, else the one in force. */
static __always_inline __u32 find_slot(struct __sk_buff *skb, const struct passage *passage, const struct settings *settings)
{
	__u64 generation = *(volatile const __u64 *)&settings->generation;
	__u32 slot = generation & CURRENT_SLOT;

	if (passage->hook == HOOK_TO_POD && skb->mark & MARK_JUDGED && !passage->is_question) {
		__u32 judged_by = skb->mark & MARK_SLOT ? 1 : 0;

		if (judged_by == slot || generation & PREVIOUS_HOLDS)
			slot = judged_by;
		else
			count_one(COUNTER_SLOTS_GONE);
	}
	return slot;
}

/* 0 if the packet can be read, else why it must be dropped. */
__noinline int parse(struct __sk_buff *skb, struct packet *packet)
{
	bool parsed;

	if (!packet)
		return REASON_MALFORMED;
	/* What cannot be read is told as far as it was. */
	packet->source = packet->destination = (struct address){};
	packet->source_port = packet->destination_port = 0;
	packet->protocol = packet->flags = packet->is_v6 = 0;
	/* A tag hides what the packet is from whoever looks behind the Ethernet header. */
	if (skb->vlan_present)
		return REASON_UNSUPPORTED_PROTOCOL;
	if (skb->protocol == bpf_htons(ETH_P_IP))
		parsed = parse_v4(skb, packet, ETH_HLEN);
	else if (skb->protocol == bpf_htons(ETH_P_IPV6))
		parsed = parse_v6(skb, packet, ETH_HLEN);
	else
		return REASON_UNSUPPORTED_PROTOCOL;
	if (parsed && packet->fragment != LATER_FRAGMENT)
		parsed = parse_transport(skb, packet, packet->transport, true);
	return parsed ? 0 : REASON_MALFORMED;
}

static __always_inline int enforce(struct __sk_buff *skb, enum hook hook)
{
	struct conntrack_record *record = NULL;
	const struct interface_record *pod;
	const struct settings *now_set;
	struct connection connection;
	struct passage *passage;
	struct packet *packet;
	int refused;

	passage = this_passage(skb->mark == MARK_QUESTION);
	now_set = present_settings();
	if (!passage || !now_set)
		return DROP;
	passage->hook = hook;
	passage->tick = now();
	passage->interface = skb->ifindex;
	passage->image = passage->slot = 0;
	passage->is_question = skb->mark == MARK_QUESTION;
	packet = &passage->packet;
	if (skb->protocol == bpf_htons(ETH_P_ARP) && !skb->vlan_present)
		return pass(skb, passage, REASON_NEIGHBOUR);
	/* The epoch is read before any identity: whoever sees the new one sees the change that it is for. */
	passage->judged_under = *(volatile const __u64 *)&now_set->epoch;
	pod = bpf_map_lookup_elem(&interfaces, &passage->interface);
	passage->pod = pod ? pod->identities[0] : 0;
	refused = parse(skb, packet);
	if (refused)
		return drop(skb, passage, refused);
	if (!pod)
		return drop(skb, passage, REASON_UNKNOWN_INTERFACE);
	if (is_neighbour_discovery(packet) && is_among_neighbours())
		return pass(skb, passage, REASON_NEIGHBOUR);
	if (hook == HOOK_FROM_POD && !is_own_source(pod, packet))
		return drop(skb, passage, REASON_SPOOFED_SOURCE);
	passage->slot = find_slot(skb, passage, now_set);
	passage->image = now_set->images[passage->slot & 1];
	if (!passage->image)
		return drop(skb, passage, REASON_NO_IMAGE);
	passage->pod = pod->identities[passage->slot & 1];
	passage->judged_under += passage->image;
	if (packet->fragment != WHOLE && !passage->is_question) {
		bool recorded = false;

		refused = join_fragment(&fragments, packet, passage->interface, passage->tick, &recorded);
		if (recorded)
			count_one(COUNTER_FRAGMENTS_RECORDED);
	}
	if (refused)
		return drop(skb, passage, refused);
	connection_of(&connection, packet, hook == HOOK_FROM_POD);
	if (!passage->is_question && (!is_icmp(packet) || is_echo(packet)))
		record = find_connection(&connection, passage->interface, passage->tick);
	if (record && !reopens(record, packet))
		return known(skb, passage, now_set, &connection, record);
	if (is_icmp(packet) && is_icmp_error(packet) && packet->fragment == WHOLE && !passage->is_question &&
	    is_related(skb))
		return pass(skb, passage, REASON_RELATED);
	return unknown(skb, passage, now_set, &connection);
}

/* A packet that `to_pod` turned round to a proxy. Only this host can set the mark: a pod's marks end at its namespace. */
static __noinline int come_back(struct __sk_buff *skb)
{
	__u8 requests = (skb->mark >> MARK_SHIFT) & 3;
	const struct settings *known_settings;
	struct packet packet = {};
	__u32 zero = 0;
	bool parsed;

	if (skb->protocol == bpf_htons(ETH_P_IP))
		parsed = parse_v4(skb, &packet, ETH_HLEN);
	else
		parsed = parse_v6(skb, &packet, ETH_HLEN);
	known_settings = bpf_map_lookup_elem(&settings, &zero);
	if (!parsed || !known_settings || !parse_transport(skb, &packet, packet.transport, true) ||
	    !assign_to_proxy(skb, &packet, known_settings->proxy_ports[requests]))
		return DROP;
	/* It carries the pod's link-layer address, and what is somebody else's no host takes in. */
	return bpf_skb_change_type(skb, PACKET_HOST) ? DROP : PASS;
}

SEC("classifier")
int from_pod(struct __sk_buff *skb)
{
	if (skb->mark & MARK_PROXY && skb->mark != MARK_QUESTION)
		return come_back(skb);
	return enforce(skb, HOOK_FROM_POD);
}

SEC("classifier")
int to_pod(struct __sk_buff *skb)
{
	return enforce(skb, HOOK_TO_POD);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
