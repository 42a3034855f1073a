/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause) */
/* The steps of Direct Server Return at XDP, by the product's own code: each program does what the one before does and one step more, and none
 * changes the packet. So the difference of two is what a step costs.
 *
 * `way_in_array` is a step done otherwise, to see what it would save. */

#include "services/wire_xdp.bpf.c"

/* Next hops by the lower bits of their address, which neighbours do not share, one cache line each, for each CPU. */
#define LINES 4096

struct line {
	struct address address;
	struct next_hop_record hop;
	__u64 padding[3];
};

_Static_assert(sizeof(struct line) == 64, "a cache line");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LINES);
	__type(key, __u32);
	__type(value, struct line);
} lines SEC(".maps");

enum step {
	READ,
	IMAGE,
	FRONTEND,
	BACKEND,
	TICK,
	WAY,
	WAY_IN_ARRAY,
	COUNT,
};

static __always_inline bool find_line(struct xdp_md *packet, const struct address *to, __u32 tick)
{
	__u32 at = bpf_ntohl(to->words[3]) & (LINES - 1);
	struct line *line = bpf_map_lookup_elem(&lines, &at);

	if (!line)
		return false;
	if (same_address(&line->address, to) && (__s32)(line->hop.expires - tick) > 0)
		return line->hop.interface == packet->ingress_ifindex;
	if (find_next_hop(packet, to, packet->ingress_ifindex, tick, &line->hop))
		return false;
	line->address = *to;
	return true;
}

static __always_inline int go(struct xdp_md *packet, enum step last)
{
	const struct service_settings *settings = present_service_settings();
	const struct frontend_record *frontend;
	struct next_hop_record hop;
	struct target target = {};
	struct image image = {};
	struct frame frame;
	__u32 tick = 1;
	__u8 why;

	if (!settings || !read_frame(packet, &frame))
		return XDP_DROP;
	if (last == READ)
		return frame.question.client_port && frame.question.client.words[3] && frame.question.port && frame.length &&
				       frame.question.address.words[3] ?
			       XDP_PASS :
			       XDP_DROP;
	if (!present_image(settings, &image))
		return XDP_DROP;
	if (last == IMAGE)
		return frame.question.client_port && frame.question.client.words[3] && frame.question.port && frame.length &&
				       frame.question.address.words[3] ?
			       XDP_PASS :
			       XDP_DROP;
	frontend = meet(&image, &frame.question, &why);
	if (!frontend)
		return XDP_DROP;
	if (frontend->sources != NO_RECORD || frontend->flags & EXTERNAL_LOCAL || !is_direct(frontend, frame.question.protocol))
		return XDP_DROP;
	if (last == FRONTEND)
		return frame.question.client_port && frame.question.client.words[3] && frame.length ? XDP_PASS : XDP_DROP;
	if (last >= TICK)
		tick = service_tick();
	if (choose(&image, frontend, &frame.question, tick, &target) != CHOICE_BACKEND || target.is_local)
		return XDP_DROP;
	if (last == BACKEND || last == TICK)
		return tick && target.address.words[3] && frame.length ? XDP_PASS : XDP_DROP;
	if (last == WAY_IN_ARRAY)
		return find_line(packet, &target.address, tick) ? XDP_PASS : XDP_DROP;
	if (!find_way(packet, &target.address, frame.length + sizeof(struct iphdr), tick, &hop))
		return XDP_DROP;
	if (last == COUNT)
		count(BALANCE_COUNTER_DIRECT, frame.length);
	return hop.destination[0] ? XDP_PASS : XDP_DROP;
}

#define STEP(name, last)                       \
	SEC("xdp")                             \
	int name(struct xdp_md *packet)        \
	{                                      \
		return go(packet, last);       \
	}

STEP(step_read, READ)
STEP(step_image, IMAGE)
STEP(step_frontend, FRONTEND)
STEP(step_backend, BACKEND)
STEP(step_tick, TICK)
STEP(step_way, WAY)
STEP(step_way_array, WAY_IN_ARRAY)
STEP(step_count, COUNT)
