/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause) */
/* (address, port, protocol) -> frontend -> slot -> backend. The same loads as bpf/abi/src/services/lookup.rs.
 *
 * Not here: which backend a flow in an unsettled slot is on record with (flows.h). */
#pragma once

#include "../address.h"
#include "../image.h"
#include "maps.h"

/* Steps of a search among ranges: an image has fewer than 2^24. */
#define RANGE_STEPS 24

/* What a packet asks. Ports in host order. */
struct question {
	struct address client;
	struct address address;
	__u16 client_port;
	__u16 port;
	__u8 protocol;
	bool from_outside;
	bool is_new; /* It may begin a flow, and of TCP it does. */
	bool is_forwarded; /* Another node's balancer sent it, perhaps for a port of that node. */
};

static __always_inline __u64 mix(__u64 hash, __u64 word)
{
	hash = (hash ^ word) * HASH_FACTOR;
	return hash ^ hash >> 32;
}

static __always_inline __u32 reduce(__u64 hash, __u32 count)
{
	return (hash >> 32) * count >> 32;
}

/* The image that packets meet now. */
static __always_inline bool present_image(const struct service_settings *settings, struct image *image)
{
	return resolve_in(&service_images, image, *(volatile const __u64 *)&settings->generation & CURRENT_SLOT);
}

static __always_inline const struct service_header *service_header_of(const struct image *image)
{
	return image->bytes;
}

static __always_inline __u32 service_section(const struct image *image, enum service_section section)
{
	return service_header_of(image)->sections[section].offset;
}

/* The frontend of exactly this address, port and protocol. */
static __always_inline const struct frontend_record *find_frontend(const struct image *image, const struct address *address,
								   __u16 port, __u8 protocol)
{
	const struct service_header *header = service_header_of(image);
	__u64 hash = mix(mix(mix(header->seed, address->halves[0]), address->halves[1]), (__u64)port << 8 | protocol);
	__u32 group = (__u32)hash & (header->groups - 1);
	__u32 displacement = word_at(image, service_section(image, SERVICE_SECTION_DISPLACEMENTS) + group * 4);
	__u32 position = reduce(mix(mix(hash, displacement), 0), header->positions);
	const struct frontend_record *found =
		record_at(image, service_section(image, SERVICE_SECTION_FRONTENDS) + position * sizeof(*found));

	if (!found->kind || found->port != port || found->protocol != protocol ||
	    !same_address((const struct address *)found->address, address))
		return NULL;
	return found;
}

/* The frontend that a packet meets: its own address and port, or a port of a node; else `why` there is none. */
static __always_inline const struct frontend_record *meet(const struct image *image, const struct question *question, __u8 *why)
{
	const struct frontend_record *found = find_frontend(image, &question->address, question->port, question->protocol);
	struct address any = {};

	*why = CHOICE_NO_SERVICE;
	/* Ports of nodes are found at addresses of nodes, and not at the one that they stand under. An address as a whole is no packet's own. */
	if (found)
		return found->kind == FRONTEND_KIND_NODE_PORT || !found->protocol ? NULL : found;
	found = find_frontend(image, &question->address, 0, 0);
	if (!found)
		return NULL;
	if (found->kind == FRONTEND_KIND_ADDRESS) {
		if (question->from_outside)
			*why = CHOICE_UNKNOWN_PORT;
		return NULL;
	}
	/* Who asks from inside is served where he is: what another node sent back here would look as if it came from here. */
	if (found->kind == FRONTEND_KIND_PEER_ADDRESS && question->from_outside && !question->is_forwarded)
		return NULL;
	if (is_v4(&question->address))
		set_v4(&any, 0);
	return find_frontend(image, &any, question->port, question->protocol);
}

/* The hash that a flow's backend is chosen by; under session affinity the client's port is left out. */
static __always_inline __u64 flow_hash(const struct question *question, bool by_client)
{
	__u64 ports = (__u64)question->port << 8 | question->protocol;
	__u64 hash = mix(mix(FLOW_SEED, question->client.halves[0]), question->client.halves[1]);

	if (!by_client)
		ports |= (__u64)question->client_port << 32;
	return mix(mix(mix(hash, question->address.halves[0]), question->address.halves[1]), ports);
}

static __always_inline const struct scope_record *scope_of(const struct frontend_record *frontend, bool from_outside)
{
	return from_outside ? &frontend->external : &frontend->internal;
}

/* What comes of new flows. */
static __always_inline __u8 choice_of(const struct frontend_record *frontend, bool from_outside)
{
	return frontend->flags >> (from_outside ? EXTERNAL_CHOICE_SHIFT : INTERNAL_CHOICE_SHIFT) & 0xF;
}

/* Bytes of a scope's slots. */
static __always_inline __u8 width_of(const struct frontend_record *frontend, bool from_outside)
{
	return frontend->flags >> (from_outside ? EXTERNAL_WIDTH_SHIFT : INTERNAL_WIDTH_SHIFT);
}

static __always_inline __u32 slot_at(const struct image *image, __u32 slots, __u32 slot, __u8 width)
{
	if (width == BYTE_SLOTS)
		return byte_at(image, slots + slot);
	if (width == HALF_SLOTS)
		return half_at(image, slots + slot * 2);
	return word_at(image, slots + slot * 4);
}

/* The bit of a slot that is set where flows may be on record with another backend. */
static __always_inline __u32 unsettled_bit(__u8 width)
{
	return 1u << (8 * width - 1);
}

static __always_inline const struct backend_record *backend_at(const struct image *image, const struct frontend_record *frontend,
							       __u32 number)
{
	return record_at(image, frontend->backends + number * sizeof(struct backend_record));
}

/* Whether the client may not come: the last range that begins at or before it, and whether it is in that one. */
static __noinline bool is_refused(const struct image *image, const struct frontend_record *frontend, const struct address *client)
{
	const struct source_set_record *set =
		record_at(image, service_section(image, SERVICE_SECTION_SOURCE_SETS) + frontend->sources * sizeof(*set));
	__u32 low = 0, high = set->count, ranges = set->ranges;
	const struct source_range_record *range;
	bool is_in = false, deny = set->deny;

	for (int step = 0; step < RANGE_STEPS; step++) {
		__u32 middle = low + (high - low) / 2;

		if (low >= high)
			break;
		range = record_at(image, ranges + middle * sizeof(*range));
		if (is_before(client, (const struct address *)range->first)) {
			high = middle;
		} else {
			low = middle + 1;
		}
	}
	if (low) {
		range = record_at(image, ranges + (low - 1) * sizeof(*range));
		is_in = !is_before((const struct address *)range->last, client);
	}
	return is_in == deny;
}

/* A search of a frontend's backends for one address, and its port if that is not 0. */
struct search {
	const void *bytes;
	struct address address;
	__u32 backends;
	__u32 found; /* its number and 1; 0: none */
	__u16 port;
};

static long is_that_backend(__u32 number, void *context)
{
	struct search *search = context;
	struct image image = { .bytes = search->bytes };
	const struct backend_record *backend = record_at(&image, search->backends + number * sizeof(*backend));

	if (!same_address((const struct address *)backend->address, &search->address) ||
	    (search->port && backend->port != search->port))
		return 0;
	search->found = number + 1;
	return 1;
}

/* The backend of a frontend at this address, and at this port if it is not 0; NULL if there is none. It reads them all: for what happens
 * once a flow or an image. */
static __noinline const struct backend_record *find_backend(const struct image *image, const struct frontend_record *frontend,
							    bool from_outside, const struct address *address, __u32 port)
{
	const struct scope_record *scope = scope_of(frontend, from_outside);
	struct search search = { .bytes = image->bytes, .backends = frontend->backends, .port = port };
	const struct slot_table_record *table;

	if (!scope->count)
		return NULL;
	table = record_at(image, service_section(image, SERVICE_SECTION_TABLES) + scope->table * sizeof(*table));
	__builtin_memcpy(&search.address, address, sizeof(search.address));
	bpf_loop(table->backends, is_that_backend, &search, 0);
	if (!search.found)
		return NULL;
	return backend_at(image, frontend, search.found - 1);
}
