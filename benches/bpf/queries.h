/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause) */
/* What is asked: batches of queries that each run of a program takes in turn, and what came out.
 *
 * A run answers one batch and adds its answers up, so that user space can tell a wrong answer even from a timed run. */
#pragma once

#include <linux/types.h>

#include <bpf/bpf_helpers.h>

/* Queries in one batch. */
#define BATCH 8
#define BATCHES (1 << 17)

/* Batches in use less one, a power of two less one. */
volatile const __u32 BATCH_MASK = BATCHES - 1;

struct query {
	__be32 address;
	__u32 pod; /* identity */
	__u16 port;
	__u8 protocol;
	__u8 reserved;
};

struct batch {
	struct query queries[BATCH];
};

struct progress {
	__u64 sum;
	__u32 next;
	__u32 reserved;
};

struct answers {
	__u64 each[BATCH];
};

/* Written by the loader. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, BATCHES);
	__type(key, __u32);
	__type(value, struct batch);
} batches SEC(".maps");

/* Written by whatever program runs; there is one at a time. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct progress);
} progress SEC(".maps");

/* Written by programs that tell each answer. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, BATCHES);
	__type(key, __u32);
	__type(value, struct answers);
} answers SEC(".maps");

/* A program that answers a batch by `answer(const struct query *)` and adds up, and one that tells each answer. */
#define QUERY_PROGRAMS(name, answer)                                               \
	SEC("classifier")                                                          \
	int name(struct __sk_buff *skb __attribute__((unused)))                    \
	{                                                                          \
		__u32 zero = 0, at;                                                \
		struct progress *here = bpf_map_lookup_elem(&progress, &zero);     \
		const struct batch *batch;                                         \
		__u64 sum = 0;                                                     \
                                                                                   \
		if (!here)                                                         \
			return 0;                                                  \
		at = here->next++ & BATCH_MASK;                                    \
		batch = bpf_map_lookup_elem(&batches, &at);                        \
		if (!batch)                                                        \
			return 0;                                                  \
		for (int place = 0; place < BATCH; place++)                        \
			sum += answer(&batch->queries[place]);                     \
		here->sum += sum;                                                  \
		return 1;                                                          \
	}                                                                          \
                                                                                   \
	SEC("classifier")                                                          \
	int name##_told(struct __sk_buff *skb __attribute__((unused)))             \
	{                                                                          \
		__u32 zero = 0, at;                                                \
		struct progress *here = bpf_map_lookup_elem(&progress, &zero);     \
		const struct batch *batch;                                         \
		struct answers *told;                                              \
                                                                                   \
		if (!here)                                                         \
			return 0;                                                  \
		at = here->next++ & BATCH_MASK;                                    \
		batch = bpf_map_lookup_elem(&batches, &at);                        \
		told = bpf_map_lookup_elem(&answers, &at);                         \
		if (!batch || !told)                                               \
			return 0;                                                  \
		for (int place = 0; place < BATCH; place++)                        \
			told->each[place] = answer(&batch->queries[place]);        \
		return 1;                                                          \
	}
