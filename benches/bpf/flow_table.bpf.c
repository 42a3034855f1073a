/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause) */
/* A balancer as its peers are, for comparison: an LRU of flows in front of the same encapsulation, and the same without the LRU.
 *
 * The order of work, the maps' types and the sizes of keys and values are Katran's: the service by a hash, the flow by an LRU unless the packet
 * is a SYN, else a ring of 65,537 slots and the choice recorded. A known UDP flow's time is read and written. Statistics, limits of rates,
 * QUIC, ICMP, IPv6 and per-CPU LRUs are left out, which favours it. */

#include <stdbool.h>

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/tcp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define RING 65537
#define BACKENDS 128
#define FRAGMENTS 0xFF3F /* as the wire has it */
#define UDP_LIFE 30000000000ull

struct service {
	__be32 address[4];
	__be16 port;
	__u8 protocol;
	__u8 reserved;
};

struct flow {
	__be32 source[4];
	__be32 destination[4];
	__be16 ports[2];
	__u8 protocol;
	__u8 reserved[3];
};

struct known {
	__u32 backend;
	__u32 reserved;
	__u64 time;
};

struct backend {
	__be32 address[4];
	__u32 flags;
};

_Static_assert(sizeof(struct flow) == 40 && sizeof(struct known) == 16, "as Katran's");

/* Written by the loader: services, the ring, backends and the next hop's address. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 512);
	__type(key, struct service);
	__type(value, __u32);
} services SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, RING);
	__type(key, __u32);
	__type(value, __u32);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, BACKENDS);
	__type(key, __u32);
	__type(value, struct backend);
} backends SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u8[8]);
} next_hop SEC(".maps");

/* Written by the program. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4 << 20);
	__type(key, struct flow);
	__type(value, struct known);
} known_flows SEC(".maps");

/* Flows that were found, and those that were not. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64[2]);
} met SEC(".maps");

static __always_inline __u64 mix(__u64 hash, __u64 word)
{
	hash = (hash ^ word) * 0x9E3779B97F4A7C15ull;
	return hash ^ hash >> 32;
}

static __always_inline int wrap(struct xdp_md *xdp, const struct backend *backend, const struct flow *flow, __u16 bytes)
{
	__u32 zero = 0, sum = 0;
	const __u8 *hop = bpf_map_lookup_elem(&next_hop, &zero);
	struct ethhdr *old, *eth;
	struct iphdr *ip;
	void *data;

	if (!hop || bpf_xdp_adjust_head(xdp, -(int)sizeof(struct iphdr)))
		return XDP_DROP;
	data = (void *)(long)xdp->data;
	eth = data;
	ip = data + sizeof(*eth);
	old = data + sizeof(*ip);
	if ((void *)(old + 1) > (void *)(long)xdp->data_end || (void *)(ip + 1) > (void *)(long)xdp->data_end)
		return XDP_DROP;
	__builtin_memcpy(eth->h_source, old->h_dest, sizeof(eth->h_source));
	__builtin_memcpy(eth->h_dest, hop, sizeof(eth->h_dest));
	eth->h_proto = bpf_htons(ETH_P_IP);
	__builtin_memset(ip, 0, sizeof(*ip));
	ip->version = 4;
	ip->ihl = 5;
	ip->tot_len = bpf_htons(bytes + sizeof(*ip));
	ip->ttl = 64;
	ip->protocol = IPPROTO_IPIP;
	ip->saddr = bpf_htonl(0xAC100000 | ((bpf_ntohs(flow->ports[0]) ^ bpf_ntohl(flow->source[0])) & 0xFFFF));
	ip->daddr = backend->address[0];
	for (int word = 0; word < (int)sizeof(*ip) / 2; word++)
		sum += ((__u16 *)ip)[word];
	sum = (sum & 0xFFFF) + (sum >> 16);
	sum = (sum & 0xFFFF) + (sum >> 16);
	ip->check = ~sum;
	return XDP_TX;
}

static __always_inline int balance(struct xdp_md *xdp, bool keeps_flows)
{
	void *data = (void *)(long)xdp->data;
	const struct ethhdr *eth = data;
	const struct iphdr *ip = data + sizeof(*eth);
	const struct tcphdr *tcp = (const void *)(ip + 1);
	struct service service = {};
	struct flow flow = {};
	struct known *known = NULL;
	struct backend *backend;
	__u32 zero = 0, slot, number, *found;
	__u64 now = 0, *counts = bpf_map_lookup_elem(&met, &zero);
	__u16 bytes;
	bool is_new;

	if (!counts || (void *)(tcp + 1) > (void *)(long)xdp->data_end || eth->h_proto != bpf_htons(ETH_P_IP) || ip->ihl != 5 ||
	    ip->frag_off & FRAGMENTS)
		return XDP_PASS;
	flow.source[0] = ip->saddr;
	flow.destination[0] = service.address[0] = ip->daddr;
	flow.protocol = service.protocol = ip->protocol;
	flow.ports[0] = tcp->source;
	flow.ports[1] = service.port = tcp->dest;
	bytes = bpf_ntohs(ip->tot_len);
	if (ip->protocol != IPPROTO_TCP && ip->protocol != IPPROTO_UDP)
		return XDP_PASS;
	is_new = ip->protocol == IPPROTO_TCP && tcp->syn;
	if (!bpf_map_lookup_elem(&services, &service))
		return XDP_PASS;
	if (keeps_flows && !is_new)
		known = bpf_map_lookup_elem(&known_flows, &flow);
	if (known && flow.protocol == IPPROTO_UDP) {
		now = bpf_ktime_get_ns();
		if (now - known->time > UDP_LIFE)
			known = NULL;
		else
			known->time = now;
	}
	if (known) {
		number = known->backend;
		counts[0]++;
	} else {
		slot = mix(mix(mix(0, flow.source[0]), *(__u32 *)flow.ports), flow.destination[0]) % RING;
		found = bpf_map_lookup_elem(&ring, &slot);
		if (!found)
			return XDP_DROP;
		number = *found;
		counts[1]++;
		if (keeps_flows) {
			struct known record = { .backend = number };

			if (flow.protocol == IPPROTO_UDP)
				record.time = now ? now : bpf_ktime_get_ns();
			bpf_map_update_elem(&known_flows, &flow, &record, BPF_ANY);
		}
	}
	backend = bpf_map_lookup_elem(&backends, &number);
	return backend ? wrap(xdp, backend, &flow, bytes) : XDP_DROP;
}

SEC("xdp")
int with_flows(struct xdp_md *xdp)
{
	return balance(xdp, true);
}

SEC("xdp")
int without_flows(struct xdp_md *xdp)
{
	return balance(xdp, false);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
