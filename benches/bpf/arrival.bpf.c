/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause) */
/* Packets as they come from a wire, one of each flow in turn, for programs at XDP that send them on as others.
 *
 * A repeated test run does not give the packet back as it was: what a balancer wrapped comes round wrapped, is none of its packets any more,
 * and costs next to nothing. So each round a wrapper takes the room away that the last one made, writes the whole headers anew, those of the
 * next flow, and hands the packet on by a tail call. A cost is told above that of a program that does nothing but make the room, called in
 * the same way. */

#include <stdbool.h>

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* Odd, so that all flows have their turn, in an order that no prefetcher foresees. */
#define STRIDE 2654435761u
/* Another, so that a flow's service says nothing of its place among flows. */
#define SERVICE_STRIDE 2246822519u
/* Flows of one client. */
#define CLIENT_FLOWS 16
/* Ethernet, IPv4 and TCP, or UDP and data. */
#define HEADERS (sizeof(struct ethhdr) + sizeof(struct iphdr) + sizeof(struct tcphdr))

/* Places in `measured`. */
enum place {
	BALANCER,
	ROOM,
	EMPTY,
	PLACES = 8,
};

/* What comes. */
struct arrival {
	__u64 headers[8]; /* of the first flow's packet; the first HEADERS bytes count */
	__u32 next; /* the turn */
	__u32 flow_mask; /* flows less one, a power of two less one */
	__u32 services; /* they have consecutive addresses, `apart` from each other */
	__u32 apart;
	__u32 sum; /* of the IP header without checksum and addresses, as the machine reads it */
	__u32 reserved;
};

/* What is measured. Written by the loader, as is the next. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, PLACES);
	__type(key, __u32);
	__type(value, __u32);
} measured SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct arrival);
} arrivals SEC(".maps");

/* Packets that left: those to the address that they came for, and all others. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64[2]);
} departures SEC(".maps");

static __always_inline __u32 halves(__be32 address)
{
	return (address & 0xFFFF) + (address >> 16);
}

static __always_inline bool arrive(struct xdp_md *xdp, bool wrapped)
{
	__u32 zero = 0, flow, sum;
	struct arrival *here = bpf_map_lookup_elem(&arrivals, &zero);
	struct iphdr *ip;
	struct tcphdr *tcp;
	void *data;

	if (!here || (wrapped && bpf_xdp_adjust_head(xdp, sizeof(struct iphdr))))
		return false;
	data = (void *)(long)xdp->data;
	ip = data + sizeof(struct ethhdr);
	tcp = (void *)(ip + 1);
	if ((void *)(tcp + 1) > (void *)(long)xdp->data_end)
		return false;
	flow = here->next++ * STRIDE & here->flow_mask;
	__builtin_memcpy(data, here->headers, HEADERS);
	ip->saddr = bpf_htonl(bpf_ntohl(ip->saddr) + flow / CLIENT_FLOWS);
	tcp->source = bpf_htons(bpf_ntohs(tcp->source) + flow % CLIENT_FLOWS);
	ip->daddr = bpf_htonl(bpf_ntohl(ip->daddr) +
			      (__u32)((__u64)(flow * SERVICE_STRIDE) * here->services >> 32) * here->apart);
	sum = here->sum + halves(ip->saddr) + halves(ip->daddr);
	sum = (sum & 0xFFFF) + (sum >> 16);
	sum = (sum & 0xFFFF) + (sum >> 16);
	ip->check = ~sum;
	return true;
}

#define ARRIVAL(name, wrapped, place)                          \
	SEC("xdp")                                             \
	int name(struct xdp_md *xdp)                           \
	{                                                      \
		if (arrive(xdp, wrapped))                      \
			bpf_tail_call(xdp, &measured, place);  \
		return XDP_ABORTED;                            \
	}

/* To what wraps, and to what does not. */
ARRIVAL(to_wrap, true, BALANCER)
ARRIVAL(to_room, true, ROOM)
ARRIVAL(to_rewrite, false, BALANCER)
ARRIVAL(to_nothing, false, EMPTY)

SEC("xdp")
int room(struct xdp_md *xdp)
{
	return bpf_xdp_adjust_head(xdp, -(int)sizeof(struct iphdr)) ? XDP_ABORTED : XDP_TX;
}

SEC("xdp")
int nothing(struct xdp_md *xdp __attribute__((unused)))
{
	return XDP_PASS;
}

/* Up the stack, for live frames. */
SEC("xdp")
int up(struct xdp_md *xdp)
{
	return arrive(xdp, false) ? XDP_PASS : XDP_ABORTED;
}

/* At the device by which packets leave. */
SEC("classifier")
int leave(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data;
	const struct iphdr *ip = data + sizeof(struct ethhdr);
	__u32 zero = 0;
	__u64 *left = bpf_map_lookup_elem(&departures, &zero);
	const struct arrival *here = bpf_map_lookup_elem(&arrivals, &zero);
	const struct iphdr *came;

	if (!left || !here || (void *)(ip + 1) > (void *)(long)skb->data_end || ip->version != 4)
		return TC_ACT_SHOT;
	came = (const void *)here->headers + sizeof(struct ethhdr);
	left[ip->daddr != came->daddr]++;
	return TC_ACT_SHOT;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
