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

/* A flow's key and record while they are written, off the stack, which is deep here. */
struct flow_entry {
	struct flow_key key;
	struct flow_record record;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct flow_entry);
} flow_entries SEC(".maps");

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

/* Whether a flow that is on no record may be from before its slot became unsettled: one that had spoken since would be on record, and one that
 * has not for so long has ended. Else new ones would be taken for old for as long as there are any, and a new backend would get none. */
static __always_inline bool may_be_old(__u32 tick, __u32 idle)
{
	const struct service_settings *settings = present_service_settings();

	return !settings || !settings->unsettled_since || tick - settings->unsettled_since <= idle;
}

/* Whether a flow goes on to the backend that it had. Of TCP the packet says whether it is new. Of all else nothing does: while the backend
 * takes packets at all, it has them. */
static __always_inline bool stays(const struct question *question, const struct backend_record *had)
{
	if (question->protocol == IPPROTO_TCP)
		return !question->is_new;
	return had->state == BACKEND_STATE_ACTIVE || had->state == BACKEND_STATE_TERMINATING;
}

/* Whether a flow that is on record with a backend goes on with it. One that is not ready has its connections; datagrams are none, and go to who is. */
static __always_inline bool goes_on_with(const struct question *question, const struct backend_record *had)
{
	if (question->protocol == IPPROTO_UDP)
		return stays(question, had);
	return question->protocol == IPPROTO_TCP ? !question->is_new : had->state != BACKEND_STATE_LEAVING;
}

/* Whether a flow may have been with the backend that its slot was settled on. Of a packet nothing says; a socket knows what it was given. */
static __always_inline bool may_have_had(const struct question *question, __u32 affinity, const struct backend_record *previous)
{
#ifdef FOR_SOCKETS
	struct socket_key key = { .cookie = question->client.halves[1], .port = previous->port, .protocol = question->protocol };

	__builtin_memcpy(key.address, previous->address, sizeof(key.address));
	return affinity || bpf_map_lookup_elem(&socket_services, &key);
#else
	(void)question, (void)affinity, (void)previous;
	return true;
#endif
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
	__u32 expires = met->tick + flow_ticks(question, frontend->affinity);
#ifdef FOR_SOCKETS
	/* Another task's call may come amid this one. */
	struct flow_entry of_call = {};
	struct flow_entry *entry = &of_call;
#else
	__u32 zero = 0;
	struct flow_entry *entry = bpf_map_lookup_elem(&flow_entries, &zero);
#endif
	struct flow_record *known;

	count(BALANCE_COUNTER_UNSETTLED, 0);
	if (!entry)
		return false;
	__builtin_memcpy(entry->key.client, &question->client, sizeof(entry->key.client));
	__builtin_memcpy(entry->key.address, &question->address, sizeof(entry->key.address));
	entry->key.client_port = frontend->affinity ? 0 : question->client_port;
	entry->key.port = question->port;
	entry->key.protocol = question->protocol;
	known = bpf_map_lookup_elem(&flows, &entry->key);
	if (known && (__s32)(known->expires - met->tick) >= 0) {
		const struct backend_record *had = present;

		/* Nearly always one of two; all others are read through. */
		if (!is_backend(had, known))
			had = previous;
		if (!is_backend(had, known))
			had = find_backend(met->image, frontend, question->from_outside,
					   (const struct address *)known->address, known->port);
		/* Of one that is listed no more only TCP's own flows go on. A client's new flows are no backend's own, though it had him before. */
		if (had && (frontend->affinity && question->is_new ? had->state == BACKEND_STATE_ACTIVE : goes_on_with(question, had))) {
			known->expires = expires;
			aim(target, had);
			return true;
		}
		if (!had && question->protocol == IPPROTO_TCP && !question->is_new) {
			known->expires = expires;
			__builtin_memcpy(&target->address, known->address, sizeof(target->address));
			target->port = known->port;
			target->is_local = false;
			return true;
		}
	}
	if (previous && may_have_had(question, frontend->affinity, previous) &&
	    (stays(question, previous) || (frontend->affinity && previous->state == BACKEND_STATE_ACTIVE)) &&
	    ((question->protocol == IPPROTO_TCP && !question->is_new) || may_be_old(met->tick, expires - met->tick)))
		chosen = previous;
	if (!chosen)
		return false;
	aim(target, chosen);
	__builtin_memcpy(entry->record.address, chosen->address, sizeof(entry->record.address));
	entry->record.port = chosen->port;
	entry->record.expires = expires;
	/* Where there is no room the next packet is decided by the same rule. */
	bpf_map_update_elem(&flows, &entry->key, &entry->record, BPF_ANY);
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
