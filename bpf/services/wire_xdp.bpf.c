/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause) */
/* The fast way at a device: packets that leave the node again, by the device they came in at.
 *
 *     packet -> frontend -> backend elsewhere -> wrapped for its node (DSR), or rewritten as it is on record (SNAT) -> sent
 *     reply to SNAT -> rewritten as it is on record -> sent
 *
 * Invariants: what it does not do to the end it passes untouched, and wire_tc.bpf.c does the same to it. A flow of DSR that meets a
 * settled slot is looked up nowhere.
 *
 * Not here: frames for another host, the first packet of a SNAT flow, backends of this node, IPv4 options and IPv6 extension headers,
 * fragments, ICMP, answers, and of DSR by option the packets that carry it. */

#define FOR_XDP

#include <linux/bpf.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "../parse.h"
#include "flows.h"
#include "forwarding.h"
#include "next_hop.h"
#include "translations.h"

/* Headers of the kind that is sent on here, one behind the other. */
#define V4_HEADERS (sizeof(struct ethhdr) + sizeof(struct iphdr))
#define V6_HEADERS (sizeof(struct ethhdr) + sizeof(struct ipv6hdr))

/* What is known of a packet: as in parse.h, and what only these headers tell. */
struct frame {
	struct question question;
	__u16 length; /* from the IP header on */
	__u8 hops;
	__u8 tcp_flags;
	bool is_v6;
};

/* False for what the slow way must read. */
static __always_inline bool read_transport(struct frame *frame, const void *transport, const void *end, __u8 protocol)
{
	struct question *question = &frame->question;
	const struct udphdr *ports = transport;
	const struct tcphdr *tcp = transport;

	question->protocol = protocol;
	if (protocol == IPPROTO_TCP) {
		if ((const void *)(tcp + 1) > end)
			return false;
		frame->tcp_flags = ((const __u8 *)tcp)[13];
	} else if (protocol == IPPROTO_UDP) {
		if ((const void *)(ports + 1) > end)
			return false;
		frame->tcp_flags = 0;
	} else {
		return false;
	}
	question->client_port = bpf_ntohs(ports->source);
	question->port = bpf_ntohs(ports->dest);
	question->from_outside = true;
	question->is_forwarded = false;
	question->is_new = may_be_new(protocol, frame->tcp_flags);
	return true;
}

static __always_inline bool read_frame(struct xdp_md *packet, struct frame *frame)
{
	const void *data = (const void *)(long)packet->data, *end = (const void *)(long)packet->data_end;
	const struct ethhdr *ethernet = data;
	const struct iphdr *v4 = data + sizeof(*ethernet);
	const struct ipv6hdr *v6 = data + sizeof(*ethernet);

	if (data + V4_HEADERS > end)
		return false;
	if (ethernet->h_proto == bpf_htons(ETH_P_IP)) {
		if (*(const __u8 *)v4 != 0x45 || v4->frag_off & bpf_htons(0x3FFF))
			return false;
		frame->is_v6 = false;
		frame->length = bpf_ntohs(v4->tot_len);
		frame->hops = v4->ttl;
		set_v4(&frame->question.client, v4->saddr);
		set_v4(&frame->question.address, v4->daddr);
		return read_transport(frame, v4 + 1, end, v4->protocol);
	}
	if (ethernet->h_proto != bpf_htons(ETH_P_IPV6) || data + V6_HEADERS > end || v6->version != 6)
		return false;
	frame->is_v6 = true;
	frame->length = bpf_ntohs(v6->payload_len) + sizeof(*v6);
	frame->hops = v6->hop_limit;
	__builtin_memcpy(&frame->question.client, &v6->saddr, sizeof(struct address));
	__builtin_memcpy(&frame->question.address, &v6->daddr, sizeof(struct address));
	/* No packet of IPv6 has addresses in the form that stands for IPv4. */
	if (is_v4(&frame->question.client) || is_v4(&frame->question.address))
		return false;
	return read_transport(frame, v6 + 1, end, v6->nexthdr);
}

static __always_inline void head_for(struct ethhdr *ethernet, const struct next_hop_record *hop)
{
	__builtin_memcpy(ethernet->h_dest, hop->destination, ETH_ALEN);
	__builtin_memcpy(ethernet->h_source, hop->source, ETH_ALEN);
}

/* Ones' complement sums: what a change adds, and a sum brought to sixteen bits. */
static __always_inline __u64 change(__u64 sum, __u32 from, __u32 to)
{
	return sum + (__u32)~from + to;
}

static __always_inline __u16 folded_sum(__u64 sum)
{
	sum = (sum & 0xFFFFFFFF) + (sum >> 32);
	sum = (sum & 0xFFFF) + (sum >> 16);
	sum = (sum & 0xFFFF) + (sum >> 16);
	sum = (sum & 0xFFFF) + (sum >> 16);
	return sum;
}

static __always_inline __u16 changed_sum(__u16 check, __u64 sum)
{
	return ~folded_sum(sum + (__u16)~check);
}

/* Whether the frame is for the device, whose frames have this source. What is for another host is that host's, though the device may hear it. */
static __always_inline bool is_for_device(struct xdp_md *packet, const __u8 *source)
{
	const void *data = (const void *)(long)packet->data, *end = (const void *)(long)packet->data_end;
	const __u16 *to = data, *own = __builtin_assume_aligned(source, 2);

	return data + sizeof(struct ethhdr) <= end && to[0] == own[0] && to[1] == own[1] && to[2] == own[2];
}

/* The way to an address, if a packet of so many bytes can be sent there by the device it came in at. */
static __always_inline bool find_way(struct xdp_md *packet, const struct address *to, __u32 length, __u32 tick,
				     struct next_hop_record *hop)
{
	return !find_next_hop(packet, to, packet->ingress_ifindex, tick, hop) && hop->interface == packet->ingress_ifindex &&
	       length <= hop->mtu && is_for_device(packet, hop->source);
}

/* Sends a packet to its backend's node, wrapped (RFC 2003, RFC 2473). */
static __always_inline int send_wrapped(struct xdp_md *packet, const struct frame *frame, const struct service_settings *settings,
					const struct target *target, __u32 tick)
{
	__u32 more = frame->is_v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	struct next_hop_record hop;
	struct ethhdr *ethernet;
	struct address own;
	void *data, *end;

	node_address(&own, settings, frame->is_v6);
	if (!is_given(&own, frame->is_v6) || !find_way(packet, &target->address, frame->length + more, tick, &hop) ||
	    bpf_xdp_adjust_head(packet, -(int)more))
		return XDP_PASS;
	data = (void *)(long)packet->data;
	end = (void *)(long)packet->data_end;
	ethernet = data;
	if (frame->is_v6) {
		struct ipv6hdr *ip = data + sizeof(*ethernet);

		if (data + V6_HEADERS > end)
			return XDP_DROP;
		ethernet->h_proto = bpf_htons(ETH_P_IPV6);
		*(__be32 *)ip = bpf_htonl(0x60000000);
		ip->payload_len = bpf_htons(frame->length);
		ip->nexthdr = IPPROTO_IPV6;
		ip->hop_limit = WRAPPED_HOPS;
		__builtin_memcpy(&ip->saddr, &own, sizeof(own));
		__builtin_memcpy(&ip->daddr, &target->address, sizeof(own));
	} else {
		struct iphdr *ip = data + sizeof(*ethernet);
		__be16 length = bpf_htons(frame->length + more);
		__u64 sum;

		if (data + V4_HEADERS > end)
			return XDP_DROP;
		ethernet->h_proto = bpf_htons(ETH_P_IP);
		*(__be16 *)ip = bpf_htons(0x4500);
		ip->tot_len = length;
		ip->id = 0;
		ip->frag_off = bpf_htons(0x4000);
		ip->ttl = WRAPPED_HOPS;
		ip->protocol = IPPROTO_IPIP;
		ip->saddr = own.words[3];
		ip->daddr = target->address.words[3];
		sum = (__u64)bpf_htons(0x4500) + length + bpf_htons(0x4000) + bpf_htons(WRAPPED_HOPS << 8 | IPPROTO_IPIP);
		sum += (__u64)own.words[3] + target->address.words[3];
		ip->check = ~folded_sum(sum);
	}
	head_for(ethernet, &hop);
	count(BALANCE_COUNTER_DIRECT_FAST, frame->length);
	return XDP_TX;
}

static __always_inline __u64 rewrite_address(__u64 sum, __be32 *from, const __be32 *to, __u32 words)
{
	for (__u32 word = 0; word < words; word++) {
		sum = change(sum, from[word], to[word]);
		from[word] = to[word];
	}
	return sum;
}

/* Sends a packet on with other addresses and ports. */
static __always_inline int send_rewritten(struct xdp_md *packet, const struct frame *frame, const struct rewriting *to,
					  enum balance_counter counter, __u32 tick)
{
	struct next_hop_record hop;
	struct ethhdr *ethernet;
	struct udphdr *ports;
	struct ipv6hdr *v6;
	void *data, *end;
	struct iphdr *v4;
	__u16 *check;
	__u64 sum;

	if (frame->hops <= 1)
		return XDP_PASS;
	if (!find_way(packet, to->destination, frame->length, tick, &hop))
		return XDP_PASS;
	data = ethernet = (void *)(long)packet->data;
	end = (void *)(long)packet->data_end;
	v4 = data + sizeof(*ethernet);
	v6 = data + sizeof(*ethernet);
	ports = data + (frame->is_v6 ? V6_HEADERS : V4_HEADERS);
	if (frame->question.protocol == IPPROTO_TCP) {
		struct tcphdr *tcp = (void *)ports;

		if ((void *)(tcp + 1) > end)
			return XDP_PASS;
		check = &tcp->check;
	} else {
		if ((void *)(ports + 1) > end)
			return XDP_PASS;
		check = &ports->check;
	}
	head_for(ethernet, &hop);
	if (frame->is_v6) {
		if (data + V6_HEADERS > end)
			return XDP_DROP;
		v6->hop_limit--;
		sum = rewrite_address(0, v6->saddr.in6_u.u6_addr32, to->source->words, 4);
		sum = rewrite_address(sum, v6->daddr.in6_u.u6_addr32, to->destination->words, 4);
	} else {
		__u64 of_ip;

		sum = rewrite_address(0, &v4->saddr, &to->source->words[3], 1);
		sum = rewrite_address(sum, &v4->daddr, &to->destination->words[3], 1);
		of_ip = change(sum, bpf_htons(v4->ttl << 8), bpf_htons((v4->ttl - 1) << 8));
		v4->ttl--;
		v4->check = changed_sum(v4->check, of_ip);
	}
	sum = change(sum, ports->source, bpf_htons(to->source_port));
	sum = change(sum, ports->dest, bpf_htons(to->destination_port));
	ports->source = bpf_htons(to->source_port);
	ports->dest = bpf_htons(to->destination_port);
	/* UDP without a checksum stays without one, and has 0xFFFF for 0 (RFC 768). */
	if (frame->question.protocol == IPPROTO_TCP) {
		*check = changed_sum(*check, sum);
	} else if (*check) {
		*check = changed_sum(*check, sum);
		if (!*check)
			*check = 0xFFFF;
	}
	count(counter, frame->length);
	return XDP_TX;
}

/* Sends a packet on as it is on record, if it is and goes elsewhere. */
static __always_inline int send_recorded(struct xdp_md *packet, const struct frame *frame, const struct image *image, bool is_request,
					 __u32 tick)
{
	const struct question *question = &frame->question;
	struct translation_record *record;
	struct translation_key key;
	struct rewriting to;
	int done;

	key_of_tuple(&key, &question->client, &question->address, question->client_port, question->port, question->protocol,
		     PLACE_FROM_WIRE);
	record = find_translation(&key, tick);
	/* What keeps its source goes to a backend of this node. What begins anew, or was not seen under this image, is decided again. */
	if (!record || same_address((const struct address *)record->source, &question->client) ||
	    (is_request && (record->seen_under != (__u32)service_header_of(image)->checksum ||
			    (question->is_new && record->state & FLOW_CLOSED))))
		return XDP_PASS;
	as_recorded(&to, record);
	done = send_rewritten(packet, frame, &to, BALANCE_COUNTER_MASQUERADED_FAST, tick);
	if (done == XDP_TX)
		advance(&key, record, frame->tcp_flags, tick);
	return done;
}

/* Sends a packet on by Direct Server Return. */
static __always_inline int send_direct(struct xdp_md *packet, const struct frame *frame, const struct service_settings *settings,
				       const struct image *image, const struct frontend_record *frontend, __u32 tick)
{
	const struct question *question = &frame->question;
	struct target target = {};
	struct rewriting to;

	/* The packets that carry the option. */
	if (DSR_BY_OPTION && question->is_new)
		return XDP_PASS;
	if (choose(image, frontend, question, tick, &target) != CHOICE_BACKEND || target.is_local)
		return XDP_PASS;
	if (!DSR_BY_OPTION)
		return send_wrapped(packet, frame, settings, &target, tick);
	to.source = &question->client;
	to.destination = &target.address;
	to.source_port = question->client_port;
	to.destination_port = target.port;
	return send_rewritten(packet, frame, &to, BALANCE_COUNTER_DIRECT_FAST, tick);
}

SEC("xdp")
int from_wire_fast(struct xdp_md *packet)
{
	const struct service_settings *settings = present_service_settings();
	const struct frontend_record *frontend;
	struct image image = {};
	struct frame frame;
	__u8 why;

	if (!settings || !read_frame(packet, &frame) || !present_image(settings, &image))
		return XDP_PASS;
	frontend = meet(&image, &frame.question, &why);
	if (!frontend) {
		if (is_to_taken_port(settings, &frame.question, frame.is_v6))
			return send_recorded(packet, &frame, &image, false, service_tick());
		return XDP_PASS;
	}
	if (frontend->sources != NO_RECORD && is_refused(&image, frontend, &frame.question.client))
		return XDP_PASS;
	if (frontend->flags & EXTERNAL_LOCAL)
		return XDP_PASS;
	if (is_direct(frontend, frame.question.protocol))
		return send_direct(packet, &frame, settings, &image, frontend, service_tick());
	return send_recorded(packet, &frame, &image, true, service_tick());
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
