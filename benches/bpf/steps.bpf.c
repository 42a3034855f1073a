/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause) */
/* The steps of Direct Server Return at XDP, by the product's own code: each program does what the one before does and one step more, and none
 * changes the packet. So the difference of two is what a step costs.
 *
 * `step_way_table` is a step done otherwise, to see what is saved. */

#include "services/wire_xdp.bpf.c"

enum step {
	READ,
	IMAGE,
	FRONTEND,
	BACKEND,
	TICK,
	WAY,
	WAY_IN_TABLE,
	COUNT,
};

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
	if (last == WAY_IN_TABLE)
		return find_known_hop(packet, &target.address, packet->ingress_ifindex, tick, &hop) ? XDP_DROP : XDP_PASS;
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
STEP(step_way_table, WAY_IN_TABLE)
STEP(step_count, COUNT)
