/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause) */
/* (pod, direction, peer, protocol, port) -> what happens, why, by which rule. The same loads as bpf/abi/src/image.rs.
 *
 * What the image does not know is denied where policy applies. Not here: connections, packets. */
#pragma once

#include "address.h"
#include "image.h"
#include "maps.h"
#include "prefix.h"

/* A struct outcome_record in one word: action, reason, requests, flags, rule or set, from the lowest byte on. */
typedef __u64 ruling;

#define OUTCOME(action, reason) ((ruling)(action) | (ruling)(reason) << 8 | (ruling)NO_RULE << 32)

static __always_inline __u8 action_of(ruling outcome) { return outcome; }
static __always_inline __u8 reason_of(ruling outcome) { return outcome >> 8; }
static __always_inline __u8 requests_of(ruling outcome) { return outcome >> 16; }
static __always_inline __u32 rule_or_set_of(ruling outcome) { return outcome >> 32; }

/* Whether the slot has an image. */
static __always_inline bool resolve(struct image *image, __u32 slot)
{
	return resolve_in(&images, image, slot);
}

/* The record of an identity, or NULL if the image has none. */
static __always_inline const struct endpoint_record *endpoint_of(const struct image *image, __u32 identity)
{
	const struct endpoint_record *record;
	enum section where = SECTION_ENDPOINTS;
	__u32 at, offset;

	if (identity >= IDENTITY_FIRST_POD && identity < IDENTITY_END_POD) {
		at = identity - IDENTITY_FIRST_POD + IDENTITY_ENTITIES;
	} else if (identity < IDENTITY_ENTITIES) {
		at = identity;
	} else {
		where = SECTION_NODE_ENDPOINTS;
		if (identity >= IDENTITY_FIRST_HOST && identity < IDENTITY_FIRST_HOST + IDENTITY_NODES)
			at = (identity - IDENTITY_FIRST_HOST) * 2 + 1;
		else if (identity >= IDENTITY_FIRST_NODE && identity < IDENTITY_FIRST_NODE + IDENTITY_NODES)
			at = (identity - IDENTITY_FIRST_NODE) * 2;
		else
			return NULL;
	}
	offset = at * sizeof(*record);
	if (offset >= header_of(image)->sections[where].len)
		return NULL;
	record = record_at(image, section(image, where) + offset);
	return record->known ? record : NULL;
}

/* For ICMP and ICMPv6 the port is the type. */
static __always_inline __u32 class_of_port(const struct image *image, __u8 protocol, __u16 port)
{
	__u32 directory = word_at(image, section(image, SECTION_PROTOCOLS) + protocol * 4);
	__u32 page = word_at(image, directory + port / PORT_PAGE * 4);

	return half_at(image, page + port % PORT_PAGE * 2);
}

/* A table's column for one port class. */
struct column {
	const struct table_record *table;
	const struct column_record *place;
};

static __always_inline void find_column(const struct image *image, struct column *column, __u32 table, __u32 port)
{
	__u32 number;

	column->table = record_at(image, section(image, SECTION_TABLES) + table * sizeof(*column->table));
	number = half_at(image, column->table->column_map + port * 2);
	column->place = record_at(image, column->table->columns + number * sizeof(*column->place));
}

static __always_inline ruling outcome_of(const struct image *image, const struct column *column, __u32 peer)
{
	const struct table_record *table = column->table;
	const struct column_record *place = column->place;
	__u32 page = word_at(image, table->peer_directory + peer / PEER_PAGE * 4);
	__u32 row = word_at(image, page + peer % PEER_PAGE * 4);
	__u32 code;

	if (table->row_pages != 1)
		row = half_at(image, table->row_directory + row + place->page) * table->page_bytes;
	code = word_at(image, table->rows + row + place->word);
	/* With no bits the code is 0, whatever the word: a branch that follows the port would cost more than to read it. */
	code = code >> (place->shift & 31) & ((1u << (place->width & 31)) - 1);
	return long_at(image, place->dictionary + code * 8);
}

/* Of outcomes for one address the strongest holds; the order is told in compiler/src/reference.rs. */
static __always_inline __u32 strength(ruling outcome)
{
	if (action_of(outcome) == ACTION_DENY)
		return reason_of(outcome) == REASON_DENIED_BY_RULE ? 4 : 0;
	if (action_of(outcome) == ACTION_REDIRECT)
		return 3;
	if (reason_of(outcome) == REASON_ALLOWED_BY_RULE)
		return 2;
	return reason_of(outcome) == REASON_OWN_NODE;
}

/* Outcomes of one address, gone through class by class. */
struct contest {
	const struct image *image;
	const struct column *column;
	const struct learned_record *learned;
	ruling best;
};

static long contend(__u32 at, struct contest *contest)
{
	const struct learned_record *record = contest->learned;
	ruling other;

	if (at >= LEARNED_CLASSES || at >= record->count)
		return 1;
	other = outcome_of(contest->image, contest->column, record->classes[at]);
	if (strength(other) > strength(contest->best) ||
	    (strength(other) == strength(contest->best) && rule_or_set_of(other) < rule_or_set_of(contest->best)))
		contest->best = other;
	return 0;
}

/* The classes of names besides the address's own; the first rule goes where they decide alike. */
static __noinline ruling with_names(const struct image *image, const struct column *column, ruling first,
				     const struct address *address)
{
	struct learned_key key = { .slot = image->slot };
	struct contest contest = { .image = image, .column = column, .best = first };

	__builtin_memcpy(key.address, address, sizeof(key.address));
	contest.learned = bpf_map_lookup_elem(&learned, &key);
	if (contest.learned)
		/* A loop that the verifier goes through once. */
		bpf_loop(LEARNED_CLASSES, contend, &contest, 0);
	return contest.best;
}

/* Whose an address of the cluster is, or NULL for one outside. Most of those outside are told by their block. */
static __always_inline const struct address_record *find_address(const struct address *address, bool is_v6)
{
	__u32 block, at;
	const __u64 *bits;

	if (is_v6) {
		__u64 high = high_half(address);

		high ^= high >> 32;
		block = BLOCKS + ((high ^ high >> 16) & (BLOCKS - 1));
	} else {
		block = bpf_ntohl(address->words[3]) >> 16;
	}
	at = block / 64;
	bits = bpf_map_lookup_elem(&blocks, &at);
	if (bits && !(*bits >> block % 64 & 1))
		return NULL;
	return is_v6 ? bpf_map_lookup_elem(&addresses_v6, address->bytes) :
		       bpf_map_lookup_elem(&addresses_v4, &address->words[3]);
}

/* Who is asked about, and what. */
struct inquiry {
	enum hook hook;
	__u32 pod; /* identity */
	const struct address *peer;
	bool is_v6;
	__u8 protocol;
	__u16 port;
};

/* The identity that an address has under the image of a slot; 0 outside. */
static __always_inline __u32 identity_of(const struct address_record *record, __u32 slot)
{
	return record ? record->identities[slot & 1] : 0;
}

static __always_inline ruling judge(const struct image *image, const struct inquiry *inquiry,
				     const struct settings *settings)
{
	const struct endpoint_record *endpoint = endpoint_of(image, inquiry->pod);
	const struct address_record *record;
	struct column column;
	__u32 table, class;
	ruling outcome;

	record = find_address(inquiry->peer, inquiry->is_v6);
	/* A pod that the image knows only as a peer has no policy in it, which is not to have none. */
	if (!endpoint || endpoint->known != 2)
		return OUTCOME(ACTION_DENY, REASON_UNKNOWN_ENDPOINT);
	table = inquiry->hook == HOOK_FROM_POD ? endpoint->egress : endpoint->ingress;
	if (!table)
		return OUTCOME(ACTION_ALLOW, REASON_NO_POLICY);
	/* The peer's class before the port's: the loads for it hang on each other, so they should begin early. */
	if (record || settings->addresses_missing) {
		endpoint = endpoint_of(image, identity_of(record, image->slot));
		if (!endpoint)
			return OUTCOME(ACTION_DENY, REASON_UNKNOWN_ENDPOINT);
		find_column(image, &column, table, class_of_port(image, inquiry->protocol, inquiry->port));
		return outcome_of(image, &column, endpoint->class);
	}
	if (inquiry->is_v6)
		class = class_of_v6(image, high_half(inquiry->peer), low_half(inquiry->peer));
	else
		class = class_of_v4(image, bpf_ntohl(inquiry->peer->words[3]));
	find_column(image, &column, table, class_of_port(image, inquiry->protocol, inquiry->port));
	outcome = outcome_of(image, &column, class);
	/* Names are of those that a pod asks for. */
	if (settings->learned && inquiry->hook == HOOK_FROM_POD)
		return with_names(image, &column, outcome, inquiry->peer);
	return outcome;
}
