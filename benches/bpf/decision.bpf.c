/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause) */
/* One policy decision after another, without a packet: by the product's own headers on the image in force, and as Cilium
 * makes it.
 *
 * The maps of maps.h are those of a running datapath, found by their pins. Each program's cost is told above that of `read_only`, which
 * takes the same queries and decides nothing. */

#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "expanded.h"
#include "image.h"
#include "prefix.h"
#include "queries.h"
#include "verdict.h"

SEC("classifier")
int nothing(struct __sk_buff *skb __attribute__((unused)))
{
	return 0;
}

static __always_inline __u64 taken(const struct query *query)
{
	return query->address + query->pod + query->port + query->protocol;
}

/* The image in force, as a packet finds it. */
static __always_inline bool find_image(struct image *image)
{
	__u32 zero = 0;
	const struct settings *now_set = bpf_map_lookup_elem(&settings, &zero);

	return now_set && resolve(image, *(volatile const __u64 *)&now_set->generation & CURRENT_SLOT);
}

/* All that a new connection's first packet asks of policy. */
static __always_inline __u64 decide(const struct query *query)
{
	struct image image = {};
	/* No names are learnt and no address is missing, as in most clusters at most times. */
	const struct settings no_settings = {};
	struct address peer;
	struct inquiry inquiry = {
		.hook = HOOK_FROM_POD,
		.pod = query->pod,
		.peer = &peer,
		.protocol = query->protocol,
		.port = query->port,
	};

	set_v4(&peer, query->address);
	if (!find_image(&image))
		return 0;
	return judge(&image, &inquiry, &no_settings);
}

/* Of that: the address's class. */
static __always_inline __u64 classify(const struct query *query)
{
	struct image image = {};

	if (!find_image(&image))
		return 0;
	return class_of_v4(&image, bpf_ntohl(query->address));
}

/* Of that: whether the address is the cluster's. */
static __always_inline __u64 look_up(const struct query *query)
{
	struct address address;

	set_v4(&address, query->address);
	return find_address(&address, false) ? 1 : 0;
}

QUERY_PROGRAMS(read_only, taken)
QUERY_PROGRAMS(weir_decision, decide)
QUERY_PROGRAMS(weir_class, classify)
QUERY_PROGRAMS(weir_address, look_up)
QUERY_PROGRAMS(lpm_decision, expanded_decision)
QUERY_PROGRAMS(lpm_identity, expanded_identity)

char LICENSE[] SEC("license") = "Dual BSD/GPL";
