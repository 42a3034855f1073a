/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause) */
/* A flow's backend: its slot's, or where the slot is unsettled the one that the flow is on record with
 * (docs/decisions/0015). The model is compiler/tests/services/sequences.rs.
 *
 * Not here: sockets, which choose once and keep what they have. */
#pragma once

#include <linux/in.h>

#include "lookup.h"
#include "options.h"

/* Where a flow goes. */
struct target {
	struct address address;
	__u16 port;
	bool is_local;
};

static __always_inline __u32 service_tick(void)
{
	return bpf_ktime_get_coarse_ns() >> TICK_SHIFT;
}

static __always_inline void aim(struct target *target, const struct backend_record *backend)
{
	__builtin_memcpy(&target->address, backend->address, sizeof(target->address));
	target->port = backend->port;
	target->is_local = backend->flags & BACKEND_LOCAL;
}

/* Ticks that a flow's record outlives its last packet. */
static __always_inline __u32 flow_ticks(const struct question *question, __u32 affinity)
{
	if (affinity)
		return affinity;
	if (question->protocol == IPPROTO_TCP)
		return question->is_new ? OPENING_TICKS : TCP_TICKS;
	return question->protocol == IPPROTO_SCTP ? SCTP_TICKS : DATAGRAM_TICKS;
}

/* A flow that met an unsettled slot. */
struct unsettled {
	const struct image *image;
	const struct frontend_record *frontend;
	const struct question *question;
	const struct backend_record *present; /* NULL: new flows have none */
	__u64 hash;
	__u32 tick;
	__u8 width;
};

/* The backend that the flow had when its slot was last settled, or NULL. */
static __always_inline const struct backend_record *previous_of(const struct unsettled *met, const struct scope_record *scope)
{
	const struct image *image = met->image;
	const struct slot_table_record *table =
		record_at(image, service_section(image, SERVICE_SECTION_TABLES) + scope->table * sizeof(*table));

	if (table->previous == NO_RECORD)
		return NULL;
	return backend_at(image, met->frontend,
			  slot_at(image, table->previous, reduce(met->hash, table->previous_count), met->width));
}

/* Whether a flow goes on to the backend that it had. Of TCP the packet says whether it is new. Of all else nothing does: while the backend
 * takes packets at all, it has them. */
static __always_inline bool stays(const struct question *question, const struct backend_record *had)
{
	if (question->protocol == IPPROTO_TCP)
		return !question->is_new;
	return had->state == BACKEND_STATE_ACTIVE || had->state == BACKEND_STATE_TERMINATING;
}

/* Whether a flow is on record with this backend. */
static __always_inline bool is_backend(const struct backend_record *backend, const struct flow_record *record)
{
	return backend && backend->port == record->port &&
	       same_address((const struct address *)backend->address, (const struct address *)record->address);
}

/* False if the flow has no backend. */
static __noinline bool choose_unsettled(const struct unsettled *met, struct target *target)
{
	const struct question *question = met->question;
	const struct frontend_record *frontend = met->frontend;
	const struct backend_record *present = met->present;
	const struct backend_record *chosen = present;
	const struct backend_record *previous = previous_of(met, scope_of(frontend, question->from_outside));
	struct flow_key key = {
		.client_port = frontend->affinity ? 0 : question->client_port,
		.port = question->port,
		.protocol = question->protocol,
	};
	struct flow_record *known;
	struct flow_record record = { .expires = met->tick + flow_ticks(question, frontend->affinity) };

	count(BALANCE_COUNTER_UNSETTLED, 0);
	__builtin_memcpy(key.client, &question->client, sizeof(key.client));
	__builtin_memcpy(key.address, &question->address, sizeof(key.address));
	known = bpf_map_lookup_elem(&flows, &key);
	if (known && (__s32)(known->expires - met->tick) >= 0) {
		const struct backend_record *had = present;

		/* Nearly always one of two; all others are read through. */
		if (!is_backend(had, known))
			had = previous;
		if (!is_backend(had, known))
			had = find_backend(met->image, frontend, question->from_outside,
					   (const struct address *)known->address, known->port);
		/* Of one that is listed no more only TCP's own flows go on. */
		if (had && (!question->is_new || frontend->affinity || stays(question, had))) {
			known->expires = record.expires;
			aim(target, had);
			return true;
		}
		if (!had && question->protocol == IPPROTO_TCP && !question->is_new) {
			known->expires = record.expires;
			__builtin_memcpy(&target->address, known->address, sizeof(target->address));
			target->port = known->port;
			target->is_local = false;
			return true;
		}
	}
	if (previous && (stays(question, previous) || (frontend->affinity && previous->state == BACKEND_STATE_ACTIVE)))
		chosen = previous;
	if (!chosen)
		return false;
	aim(target, chosen);
	__builtin_memcpy(record.address, chosen->address, sizeof(record.address));
	record.port = chosen->port;
	/* Where there is no room the next packet is decided by the same rule. */
	bpf_map_update_elem(&flows, &key, &record, BPF_ANY);
	return true;
}

/* Where a packet that met a frontend goes. CHOICE_BACKEND, or why nowhere. */
static __always_inline __u8 choose(const struct image *image, const struct frontend_record *frontend,
				   const struct question *question, __u32 tick, struct target *target)
{
	const struct scope_record *scope = scope_of(frontend, question->from_outside);
	__u8 choice = choice_of(frontend, question->from_outside);
	__u8 width = width_of(frontend, question->from_outside);
	const struct backend_record *present;
	__u32 slot, bit;
	__u64 hash;

	if (!scope->count)
		return choice == CHOICE_BACKEND ? CHOICE_NO_BACKEND : choice;
	hash = flow_hash(question, frontend->affinity);
	slot = slot_at(image, scope->slots, reduce(hash, scope->count), width);
	bit = unsettled_bit(width);
	present = backend_at(image, frontend, slot & ~bit);
	if (slot & bit) {
		struct unsettled met = {
			.image = image,
			.frontend = frontend,
			.question = question,
			.present = choice == CHOICE_BACKEND ? present : NULL,
			.hash = hash,
			.tick = tick,
			.width = width,
		};

		if (choose_unsettled(&met, target))
			return CHOICE_BACKEND;
		return choice == CHOICE_BACKEND ? CHOICE_NO_BACKEND : choice;
	}
	if (choice == CHOICE_BACKEND)
		aim(target, present);
	return choice;
}
