/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause) */
/* Services at the host's side of a pod's veth, for what no socket was led (socket.bpf.c): `from_pod_balanced` before policy's program,
 * `to_node_balanced` and `to_pod_balanced` after it.
 *
 *     from the pod -> frontend -> backend elsewhere      -> its address, and on to policy; on record for the reply
 *                              -> the pod itself         -> its address, from one that nobody has, and back
 *                  -> the pod's answer to itself         -> from the service, and back
 *     to the pod, from a backend                         -> from the service
 *     to the node, from a backend beside its client      -> from the service, as `to_wire` has it (wire_tc.bpf.c)
 *
 * An entry is of the interface that made it: a pod may write any source on its packets, and policy judges that only afterwards. What is of
 * no service passes untouched. Not here: policy, which sees each packet as it is between the two. */

#include "answers.h"
#include "journey.h"
#include "rewrite.h"

/* The source of what a pod sends to itself: 169.254.42.1, fd57:6569:7200::1. */
#define SELF_V4 0xA9FE2A01u
#define SELF_V6_HIGH 0xFD57656972000000ull
#define SELF_V6_LOW 1ull

static __always_inline void set_self(struct address *self, bool is_v6)
{
	if (is_v6) {
		self->halves[0] = bpf_cpu_to_be64(SELF_V6_HIGH);
		self->halves[1] = bpf_cpu_to_be64(SELF_V6_LOW);
	} else {
		set_v4(self, bpf_htonl(SELF_V4));
	}
}

/* Where pieces are met: this interface, this way. */
static __always_inline __u32 at_pod(const struct __sk_buff *skb, enum place place)
{
	return skb->ifindex << 3 | place;
}

/* The entry for the packet, if one still holds; of this `interface`, or 0. */
static __always_inline struct translation_record *find_at(struct journey *journey, enum place place, __u32 interface)
{
	key_of_packet(&journey->key, &journey->packet, place);
	journey->key.interface = interface;
	return find_translation(&journey->key, journey->tick);
}

/* Sends the packet to the pod that it came from. */
static __always_inline int go_back(struct __sk_buff *skb)
{
	return turn_link_round(skb) ? bpf_redirect_peer(skb->ifindex, 0) : DROP;
}

/* A packet of an entry: on to policy, or back. */
static __noinline int go_on(struct __sk_buff *skb, const struct journey *journey, const struct translation_record *record)
{
	bool is_to_itself = record->state & HAIRPIN;
	struct rewriting to;

	as_recorded(&to, record);
	if (!rewrite(skb, &journey->packet, &to))
		return drop(skb, BALANCE_COUNTER_MALFORMED);
	return is_to_itself ? go_back(skb) : PASS;
}

/* A flow that is given a backend. */
static __noinline int begin(struct __sk_buff *skb, struct journey *journey)
{
	const struct packet *packet = &journey->packet;
	__u32 zero = 0, is_told = true;
	bool is_noted;

	if (same_address(&journey->target.address, &packet->source)) {
		set_self(&journey->own, packet->is_v6);
		note(journey, &journey->own, packet->source_port, PLACE_FROM_POD);
		journey->record.state |= HAIRPIN;
		journey->other.state |= HAIRPIN;
		is_noted = write_both(journey);
	} else {
		is_noted = note_of_client(journey, PLACE_TO_POD);
		bpf_map_update_elem(&pods_answered, &zero, &is_told, BPF_ANY);
	}
	if (!is_noted)
		return drop(skb, BALANCE_COUNTER_NO_ROOM);
	count(BALANCE_COUNTER_FLOWS_TRANSLATED, 0);
	return go_on(skb, journey, &journey->record);
}

/* What comes of a packet to a service that has no backend for it: as to a socket, the pod is told. */
static __noinline int without_backend(struct __sk_buff *skb, const struct journey *journey, __u8 choice)
{
	count(choice == CHOICE_NO_LOCAL_BACKEND ? BALANCE_COUNTER_NO_LOCAL_BACKEND : BALANCE_COUNTER_NO_BACKEND, skb->len);
	if (!REJECTS || !answer_with(skb, &journey->packet, 0, journey->tick))
		return DROP;
	return bpf_redirect_peer(skb->ifindex, 0);
}

/* A packet that met a frontend. */
static __noinline int serve(struct __sk_buff *skb, struct journey *journey, const struct image *image,
			    const struct frontend_record *frontend)
{
	struct translation_record *record = find_at(journey, PLACE_FROM_POD, skb->ifindex);
	bool goes_on = record && is_still_right(image, frontend, journey, record);
	__u8 choice;

	if (!goes_on) {
		choice = choose_for(journey, image, frontend);
		if (choice != CHOICE_BACKEND)
			return without_backend(skb, journey, choice);
		goes_on = record && leads_on(journey, record);
		if (record && !goes_on)
			forget(journey, record);
	}
	if (!goes_on)
		return begin(skb, journey);
	advance(&journey->key, record, journey->packet.flags, journey->tick);
	return go_on(skb, journey, record);
}

/* An ICMP error about a packet that was rewritten, if it is one. */
static __noinline int relate(struct __sk_buff *skb, struct journey *journey, enum place place, __u32 interface)
{
	const struct translation_record *record;
	struct rewriting to;
	bool goes_back;

	record = is_about_another(skb, journey) ? find_related(journey, place, interface) : NULL;
	if (!record)
		return PASS;
	goes_back = record->state & HAIRPIN;
	as_recorded(&to, record);
	if (!rewrite_error(skb, &journey->packet, &journey->inner, &to))
		return drop(skb, BALANCE_COUNTER_MALFORMED);
	return goes_back ? go_back(skb) : PASS;
}

/* A packet that an entry may be for, as every one is that the pod answers itself. */
static __noinline int go_on_if_recorded(struct __sk_buff *skb, struct journey *journey, enum place place, __u32 interface)
{
	struct translation_record *record = find_at(journey, place, interface);

	if (!record)
		return PASS;
	advance(&journey->key, record, journey->packet.flags, journey->tick);
	return go_on(skb, journey, record);
}

SEC("classifier")
int from_pod_balanced(struct __sk_buff *skb)
{
	const struct service_settings *settings = present_service_settings();
	struct journey *journey = this_journey();
	const struct frontend_record *frontend;
	struct image image = {};
	struct packet *packet;
	struct address self;
	__u8 why;

	if (!settings || !journey || !present_image(settings, &image))
		return PASS;
	packet = &journey->packet;
	journey->tick = service_tick();
	journey->seen_under = service_header_of(&image)->checksum;
	if (!read_packet(skb, packet))
		return PASS;
	if (is_icmp(packet))
		return relate(skb, journey, PLACE_FROM_POD, skb->ifindex);
	/* A piece whose first did not come this way may be anybody's. */
	if (join(journey, at_pod(skb, PLACE_FROM_POD)))
		return PASS;
	ask_of(&journey->question, packet, false);
	frontend = meet(&image, &journey->question, &why);
	if (frontend)
		return serve(skb, journey, &image, frontend);
	set_self(&self, packet->is_v6);
	return same_address(&packet->destination, &self) ? go_on_if_recorded(skb, journey, PLACE_FROM_POD, skb->ifindex) : PASS;
}

SEC("classifier")
int to_pod_balanced(struct __sk_buff *skb)
{
	struct journey *journey = this_journey();
	__u32 zero = 0, *is_told = bpf_map_lookup_elem(&pods_answered, &zero);
	struct packet *packet;

	if (!journey || !is_told || !*is_told)
		return PASS;
	packet = &journey->packet;
	journey->tick = service_tick();
	if (!read_packet(skb, packet))
		return PASS;
	if (is_icmp(packet))
		return relate(skb, journey, PLACE_TO_POD, skb->ifindex);
	if (join(journey, at_pod(skb, PLACE_TO_POD)))
		return PASS;
	return go_on_if_recorded(skb, journey, PLACE_TO_POD, skb->ifindex);
}

/* Its entry is the one that `to_wire` would have if the client were elsewhere. Policy has seen to it that the source is the pod's. */
SEC("classifier")
int to_node_balanced(struct __sk_buff *skb)
{
	__u32 zero = 0, *is_told = bpf_map_lookup_elem(&node_answered, &zero);
	const struct service_settings *settings;
	struct journey *journey;
	struct packet *packet;

	if (!is_told || !*is_told)
		return PASS;
	settings = present_service_settings();
	journey = this_journey();
	if (!settings || !journey)
		return PASS;
	packet = &journey->packet;
	journey->tick = service_tick();
	if (!read_packet(skb, packet))
		return PASS;
	node_address(&journey->own, settings, packet->is_v6);
	if (!same_address(&packet->destination, &journey->own))
		return PASS;
	if (is_icmp(packet))
		return relate(skb, journey, PLACE_TO_WIRE, 0);
	if (join(journey, at_pod(skb, PLACE_TO_WIRE)))
		return PASS;
	return go_on_if_recorded(skb, journey, PLACE_TO_WIRE, 0);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
