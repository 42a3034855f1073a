/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause) */
/* Packets for the kernel's own firewalls: each gets the source of the next query and goes up the stack as if it had come in. */

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "queries.h"

SEC("xdp")
int up(struct xdp_md *xdp)
{
	void *data = (void *)(long)xdp->data;
	struct iphdr *ip = data + sizeof(struct ethhdr);
	__u32 zero = 0, at, place, sum;
	struct progress *here = bpf_map_lookup_elem(&progress, &zero);
	const struct batch *batch;
	__be32 address;

	if (!here || (void *)(ip + 1) > (void *)(long)xdp->data_end)
		return XDP_DROP;
	place = here->next++;
	at = place / BATCH & BATCH_MASK;
	batch = bpf_map_lookup_elem(&batches, &at);
	if (!batch)
		return XDP_DROP;
	address = batch->queries[place % BATCH].address;
	/* The stack drops what has a wrong checksum; that of the rest of the header is in the packet as it came, the source 0. */
	sum = (__u16)~here->sum + (address & 0xFFFF) + (address >> 16);
	sum = (sum & 0xFFFF) + (sum >> 16);
	sum = (sum & 0xFFFF) + (sum >> 16);
	ip->saddr = address;
	ip->check = ~sum;
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
