/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause) */
/* Events for people: new connections, drops, and as much of the rest as the aggregation level says.
 *
 * The reader polls; it is woken only when the buffer is half full, so a busy node pays no wake-up for each connection.
 * Nothing is lost in silence: what finds no room and what the rate limit leaves out is counted. */
#pragma once

#include "counters.h"
#include "maps.h"
#include "options.h"
#include "parse.h"

/* What is told besides the packet itself. */
struct telling {
	enum event_kind kind;
	enum hook hook;
	ruling outcome;
	__u64 image; /* its checksum */
	__u32 pod;
	__u32 peer;
	bool is_reply;
};

/* Whether a drop may still be told in this tick; how many were not since the last one. */
static __always_inline bool within_budget(__u32 tick, __u32 *left_out)
{
	__u32 zero = 0;
	struct budget_record *budget = bpf_map_lookup_elem(&event_budget, &zero);

	if (!budget)
		return false;
	if (budget->tick != tick) {
		budget->tick = tick;
		budget->told = 0;
	}
	if (budget->told >= DROPS_PER_TICK) {
		budget->left_out++;
		count_one(COUNTER_EVENTS_LEFT_OUT);
		return false;
	}
	budget->told++;
	*left_out = budget->left_out;
	budget->left_out = 0;
	return true;
}

/* A drop that found no room in the buffer was not told either, nor what would have been told with it. */
static __always_inline void not_told(__u32 drops)
{
	__u32 zero = 0;
	struct budget_record *budget = bpf_map_lookup_elem(&event_budget, &zero);

	if (budget)
		budget->left_out += drops;
}

static __always_inline int tell(struct __sk_buff *skb, const struct packet *packet, const struct telling *telling,
			    __u32 tick)
{
	__u32 left_out = 0;
	struct event_record *event;
	__u64 flags = BPF_RB_NO_WAKEUP;

	if (telling->kind == EVENT_KIND_DROP && !within_budget(tick, &left_out))
		return 0;
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event) {
		count_one(COUNTER_EVENTS_LOST);
		if (telling->kind == EVENT_KIND_DROP)
			not_told(left_out + 1);
		return 0;
	}
	event->time = bpf_ktime_get_boot_ns();
	event->image = telling->image;
	__builtin_memcpy(event->source, &packet->source, sizeof(event->source));
	__builtin_memcpy(event->destination, &packet->destination, sizeof(event->destination));
	event->rule_or_set = rule_or_set_of(telling->outcome);
	event->pod = telling->pod;
	event->peer = telling->peer;
	event->interface = skb->ifindex;
	event->length = skb->len;
	event->left_out = left_out;
	event->source_port = is_icmp(packet) ? 0 : packet->source_port;
	event->destination_port = packet->destination_port;
	event->protocol = packet->protocol;
	event->flags = packet->protocol == IPPROTO_TCP ? packet->flags : 0;
	event->kind = telling->kind;
	event->hook = telling->hook;
	event->action = action_of(telling->outcome);
	event->reason = reason_of(telling->outcome);
	event->is_reply = telling->is_reply;
	__builtin_memset(event->reserved, 0, sizeof(event->reserved));
	if (bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) > bpf_ringbuf_query(&events, BPF_RB_RING_SIZE) / 2)
		flags = BPF_RB_FORCE_WAKEUP;
	bpf_ringbuf_submit(event, flags);
	return 0;
}

/* Flags that begin or end a connection; the others come with nearly every packet (the same three as Cilium's default). */
#define TOLD_FLAGS (TCP_SYN | TCP_FIN | TCP_RST)

static __always_inline __u8 told_flags(const struct packet *packet)
{
	return packet->protocol == IPPROTO_TCP ? packet->flags & TOLD_FLAGS : 0;
}

/* Whether a packet of a known connection is told; marks the record if so. */
static __always_inline bool is_due(struct conntrack_record *record, const struct packet *packet, bool is_reply,
				   __u32 tick)
{
	__u8 seen = record->flags[is_reply & 1], flags = told_flags(packet);

	if (AGGREGATION == AGGREGATION_NONE)
		return true;
	if (tick - record->reported >= INTERVAL_TICKS) {
		record->reported = tick;
		record->flags[0] = record->flags[1] = 0;
		record->flags[is_reply & 1] = flags;
		return true;
	}
	if (AGGREGATION != AGGREGATION_FLAGS || !(flags & ~seen))
		return false;
	record->flags[is_reply & 1] = seen | flags;
	return true;
}
