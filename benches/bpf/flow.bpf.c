/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause) */
/* Packets of many flows for programs that are measured: each run turns the packet at hand into one of the next flow and hands it
 * on by a tail call, so a cost is told above that of an empty program called in the same way. */

#include <stdbool.h>

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* Flows less one, a power of two less one. */
volatile const __u32 FLOW_MASK = 4095;

#define PEERS 64
#define FIRST_PEER 0xCB007100u /* 203.0.113.0 */
#define FIRST_PORT 20000
/* Odd, so that all flows have their turn, in an order that no prefetcher foresees. */
#define STRIDE 2654435761u

enum place {
	OUT,
	IN,
	EMPTY,
	PLACES,
};

/* What is measured. Written by the loader. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, PLACES);
	__type(key, __u32);
	__type(value, __u32);
} measured SEC(".maps");

/* The next flow. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} turn SEC(".maps");

static __always_inline bool take_turn(struct __sk_buff *skb, bool outward)
{
	void *data = (void *)(long)skb->data;
	struct iphdr *ip = data + sizeof(struct ethhdr);
	struct tcphdr *tcp = (void *)(ip + 1);
	__u32 zero = 0, flow, *next = bpf_map_lookup_elem(&turn, &zero);
	__be32 peer;
	__be16 port;

	if (!next || (void *)(tcp + 1) > (void *)(long)skb->data_end)
		return false;
	flow = (*next)++ * STRIDE & FLOW_MASK;
	peer = bpf_htonl(FIRST_PEER + flow % PEERS);
	port = bpf_htons(FIRST_PORT + flow / PEERS);
	if (outward) {
		ip->daddr = peer;
		tcp->source = port;
	} else {
		ip->saddr = peer;
		tcp->dest = port;
	}
	skb->mark = 0;
	return true;
}

#define TURN(name, outward, place)                             \
	SEC("classifier")                                      \
	int name(struct __sk_buff *skb)                        \
	{                                                      \
		if (take_turn(skb, outward))                   \
			bpf_tail_call(skb, &measured, place);  \
		return TC_ACT_SHOT;                            \
	}

TURN(out, true, OUT)
TURN(in, false, IN)
TURN(out_to_nothing, true, EMPTY)
TURN(in_to_nothing, false, EMPTY)

SEC("classifier")
int nothing(struct __sk_buff *skb __attribute__((unused)))
{
	return TC_ACT_UNSPEC;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
