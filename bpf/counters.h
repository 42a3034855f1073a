/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause) */
/* Counters per reason, per rule and by name. Per CPU, so plain additions do. */
#pragma once

#include "maps.h"
#include "verdict.h"

static __always_inline void add(struct counter_record *record, __u32 bytes)
{
	if (!record)
		return;
	record->packets++;
	record->bytes += bytes;
}

static __always_inline void count_one(enum counter counter)
{
	__u32 key = counter;

	add(bpf_map_lookup_elem(&named_counters, &key), 0);
}

static __always_inline void count_reason(enum hook hook, __u8 reason, __u32 bytes)
{
	__u32 key = hook * REASON_COUNTERS + reason;

	add(bpf_map_lookup_elem(&reason_counters, &key), bytes);
}

/* By the rule, or for a redirect by the request set, of the image in a slot. */
static __always_inline void count_rule(__u32 slot, __u8 action, __u32 rule_or_set, __u32 bytes)
{
	bool is_set = action == ACTION_REDIRECT;
	__u32 key;

	if (rule_or_set == NO_RULE)
		return;
	if (rule_or_set >= (is_set ? COUNTED_SETS : COUNTED_RULES)) {
		count_one(COUNTER_RULES_UNCOUNTED);
		return;
	}
	key = slot * SLOT_COUNTERS + (is_set ? COUNTED_RULES : 0) + rule_or_set;
	add(bpf_map_lookup_elem(&rule_counters, &key), bytes);
}
