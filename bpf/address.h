/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause) */
/* An address of either family in sixteen bytes, network byte order; IPv4 as ::ffff:a.b.c.d, so in the last word. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <bpf/bpf_endian.h>
#include <linux/types.h>

struct address {
	union {
		__u8 bytes[16];
		__be32 words[4];
		__be64 halves[2];
	};
};

static __always_inline void set_v4(struct address *address, __be32 v4)
{
	address->halves[0] = 0;
	address->words[2] = bpf_htonl(0xFFFF);
	address->words[3] = v4;
}

static __always_inline bool is_v4(const struct address *address)
{
	return !address->halves[0] && address->words[2] == bpf_htonl(0xFFFF);
}

static __always_inline __u64 high_half(const struct address *address)
{
	return bpf_be64_to_cpu(address->halves[0]);
}

static __always_inline __u64 low_half(const struct address *address)
{
	return bpf_be64_to_cpu(address->halves[1]);
}

static __always_inline bool same_address(const struct address *a, const struct address *b)
{
	return a->halves[0] == b->halves[0] && a->halves[1] == b->halves[1];
}

/* In the order of their bytes. */
static __always_inline bool is_before(const struct address *a, const struct address *b)
{
	return high_half(a) != high_half(b) ? high_half(a) < high_half(b) : low_half(a) < low_half(b);
}

static __always_inline bool is_unspecified(const struct address *address)
{
	return !address->halves[0] && !address->halves[1];
}

/* fe80::/10, which no router forwards. */
static __always_inline bool is_link_local(const struct address *address)
{
	return address->bytes[0] == 0xFE && (address->bytes[1] & 0xC0) == 0x80;
}

/* ff02::/16, the multicast groups of a link. */
static __always_inline bool is_link_multicast(const struct address *address)
{
	return address->bytes[0] == 0xFF && address->bytes[1] == 0x02;
}
