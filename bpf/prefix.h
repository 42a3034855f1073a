/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause) */
/* Address outside -> peer class: the same searches as bpf/abi/src/prefix.rs.
 *
 * Where an address falls is as good as random, so no branch depends on it: comparisons become masks. */
#pragma once

#include "image.h"

/* Steps that a binary search takes at most: an image has no more than 2^26 ranges, and a narrow chunk fewer than 2^16 starts. */
#define SEARCH_STEPS 26
#define NARROW_STEPS 16
/* Levels that the tree of an image of 512 MiB has at most. */
#define TREE_LEVELS 9

/* All ones if a <= b, both below 2^32. */
static __always_inline __u32 at_most(__u32 a, __u32 b)
{
	return (__u32)((__s64)((__u64)a - b - 1) >> 63);
}

/* 1 if a > b, over all of 64 bits. */
static __always_inline __u32 above(__u64 a, __u64 b)
{
	return ((~b & a) | (~(b ^ a) & (b - a))) >> 63;
}

/* V4_LANES narrow starts are compared as one number: a lane for each, the first in the lowest. */
#define LANES 0x0001000100010001ull
#define LANE_TOPS 0x8000800080008000ull
/* A lane's low bit times this has the lane's number in the highest lane. */
#define LANE_NUMBERS 0x0000000100020003ull
/* Of both kinds of blocks. */
#define V4_BLOCK_BYTES ((__u32)sizeof(struct v4_byte_block))
_Static_assert(sizeof(struct v4_half_block) == sizeof(struct v4_byte_block), "one size");
/* A start is two bytes and its class one, so the class is nearer for every start that is further on. What is taken from LAST_PLACE, that
 * of a start if a block held nothing else, is written as an exclusive or, of which the verifier knows the bounds. */
#define LAST_PLACE (V4_BLOCK_BYTES / 2 - 1)
_Static_assert((V4_BLOCK_BYTES & (V4_BLOCK_BYTES - 1)) == 0, "what an exclusive or can take from its last place");
#define CLASS_FROM_FIRST (offsetof(struct v4_byte_block, classes) - LAST_PLACE)

/* Where a narrow chunk's starts begin, from the start of the section, and what is in their top bit. */
struct chunk {
	__u32 place;
	__u32 parity;
};

static __always_inline struct chunk chunk_at(const struct image *image, __u32 number)
{
	__u32 directory = section(image, SECTION_V4_DIRECTORY), of_group = number % V4_GROUP;
	const struct v4_group *group = record_at(image, directory + number / V4_GROUP * sizeof(*group));
	__u32 base = group->base, step = group->steps[of_group];

	if (base & V4_SPREAD) {
		group = record_at(image, directory + ((base & ~V4_SPREAD) + of_group) * sizeof(*group));
		base = group->base;
		step = group->steps[0];
	}
	return (struct chunk){ .place = base + (step & ~1u), .parity = step & 1 };
}

/* Which start a chunk begins with, counted over all blocks. */
static __always_inline __u32 first_of(struct chunk chunk, __u32 per_block)
{
	return chunk.place / V4_BLOCK_BYTES * per_block + chunk.place % V4_BLOCK_BYTES / 2;
}

/* Beyond the starts that are compared at once: the first that is above the offset, or the end. Its own function, because few packets
 * come here and the verifier looks at what follows once less. */
static __noinline __u32 far_start(const struct image *image, __u32 number, __u32 offset, __u32 per_block)
{
	struct chunk chunk = chunk_at(image, number), next = chunk_at(image, number + 1);
	__u32 ranges = section(image, SECTION_V4_RANGES), parity = chunk.parity << 15;
	/* Starts before `from` are known not to be above the offset, those from `from + len` on to be. */
	__u32 from = first_of(chunk, per_block) + V4_LANES;
	__u32 len = first_of(next, per_block) - from;

	for (int step = 0; step < NARROW_STEPS && len > 0; step++) {
		__u32 half = len / 2, start = from + half;
		__u32 place = start / per_block * V4_BLOCK_BYTES + start % per_block * 2;
		__u32 more = at_most(half_at(image, ranges + place) ^ parity, offset);

		from += (half + 1) & more;
		len = (half & ~more) | ((len - half - 1) & more);
	}
	return from;
}

/* The class of what lies before a start. */
static __always_inline __u32 class_before(const struct image *image, __u32 number, bool bytes)
{
	__u32 ranges = section(image, SECTION_V4_RANGES);

	if (bytes)
		return byte_at(image, ranges + number / V4_BYTE_BLOCK * V4_BLOCK_BYTES +
					  offsetof(struct v4_byte_block, classes) + number % V4_BYTE_BLOCK);
	return half_at(image, ranges + number / V4_HALF_BLOCK * V4_BLOCK_BYTES +
				  offsetof(struct v4_half_block, classes) + number % V4_HALF_BLOCK * 2);
}

/* `address` in host byte order; `bytes` where classes are. */
static __always_inline __u32 class_of_narrow_v4(const struct image *image, __u32 address, bool bytes)
{
	__u32 shift = header_of(image)->v4_shift & 31;
	__u32 number = address >> shift, offset = address ^ number << shift;
	struct chunk chunk = chunk_at(image, number);
	/* What is read behind a block's last start are classes: the chunk's end is before them. */
	const void *first = record_at(image, section(image, SECTION_V4_RANGES) + chunk.place);
	__u64 starts = *(const __u64 *)first ^ chunk.parity * LANE_TOPS;
	/* Lanes whose top is set are above: those of other chunks have it, to the others a carry out of 15 bits brings it. What is
	 * carried further goes from another chunk's lane to those behind it. */
	__u64 above = (starts + (offset * LANES ^ ~LANE_TOPS) | starts) & LANE_TOPS;
	__u32 not_above;

	if (!above) {
		__u32 per_block = bytes ? V4_BYTE_BLOCK : V4_HALF_BLOCK;

		return class_before(image, far_start(image, number, offset, per_block), bytes);
	}
	not_above = ((above & -above) >> 15) * LANE_NUMBERS >> 48 & (V4_LANES - 1);
	if (bytes)
		return *(const __u8 *)(first + CLASS_FROM_FIRST + (chunk.place % V4_BLOCK_BYTES / 2 ^ LAST_PLACE) + not_above);
	return *(const __u16 *)(first + offsetof(struct v4_half_block, classes) + not_above * 2);
}

static __always_inline __u32 class_of_wide_v4(const struct image *image, __u32 address)
{
	/* Up to 32 bits, so not of a word. */
	__u32 shift = header_of(image)->v4_shift & 63;
	__u32 chunk = (__u64)address >> shift;
	__u32 offset = address ^ (__u32)((__u64)chunk << shift);
	__u32 place = section(image, SECTION_V4_DIRECTORY) + chunk * 4;
	__u32 ranges = section(image, SECTION_V4_RANGES);
	__u32 first = word_at(image, place);
	__u32 len = word_at(image, place + 4) - first + 1;
	/* The range before the chunk's first reaches into the chunk, so the search begins with it. */
	__u32 at = first - 1;

	for (int step = 0; step < SEARCH_STEPS && len > 1; step++) {
		__u32 half = len / 2;

		at += half & at_most(word_at(image, ranges + (at + half) * sizeof(struct v4_range)), offset);
		len -= half;
	}
	return word_at(image, ranges + at * sizeof(struct v4_range) + offsetof(struct v4_range, class));
}

static __always_inline __u32 class_of_v4(const struct image *image, __u32 address)
{
	__u32 format = header_of(image)->v4_format;

	if (format == V4_WIDE)
		return class_of_wide_v4(image, address);
	if (format == V4_HALF_CLASSES)
		return class_of_narrow_v4(image, address, false);
	return class_of_narrow_v4(image, address, true);
}

/* The last of a low table's keys that is not above `low`; its class. */
static __always_inline __u32 class_of_low(const struct image *image, __u32 table, __u64 low)
{
	__u32 record = section(image, SECTION_V6_LOW_TABLES) + table * sizeof(struct low_table);
	__u32 keys = section(image, SECTION_V6_LOW_KEYS);
	__u32 at = word_at(image, record + offsetof(struct low_table, start));
	__u32 len = word_at(image, record + offsetof(struct low_table, len));

	for (int step = 0; step < SEARCH_STEPS && len > 1; step++) {
		__u32 half = len / 2;

		at += half & (above(long_at(image, keys + (at + half) * 8), low) - 1);
		len -= half;
	}
	return word_at(image, section(image, SECTION_V6_LOW_VALUES) + at * 4);
}

/* The halves of an address in host byte order. */
static __always_inline __u32 class_of_v6(const struct image *image, __u64 high, __u64 low)
{
	__u32 keys = section(image, SECTION_V6_KEYS);
	__u32 count = header_of(image)->sections[SECTION_V6_KEYS].len / 8;
	__u32 levels = header_of(image)->v6_levels;
	/* Zero, which the verifier need not know: with a number that it knows it would walk every path of the tree. */
	__u32 block = levels >> 16, best = block, value;

	for (__u32 level = 0; level < TREE_LEVELS && level < levels; level++) {
		__u32 below = V6_BLOCK, more;

		if (block * V6_BLOCK >= count)
			break;
#pragma unroll
		for (__u32 key = 0; key < V6_BLOCK; key++)
			below -= above(long_at(image, keys + (block * V6_BLOCK + key) * 8), high);
		/* All ones if a key is not above the address: it is the best so far. */
		more = (__u32)((__s64)(0 - (__u64)below) >> 63);
		best = (best & ~more) | ((block * V6_BLOCK + below - 1) & more);
		block = block * (V6_BLOCK + 1) + 1 + below;
	}
	if (header_of(image)->v6_format == V6_HALF_VALUES)
		/* The sign is INDIRECT. */
		value = (__u32)(__s32)(__s16)half_at(image, section(image, SECTION_V6_VALUES) + best * 2) & (INDIRECT | 0x7FFF);
	else
		value = word_at(image, section(image, SECTION_V6_VALUES) + best * 4);
	if (value & INDIRECT)
		return class_of_low(image, value & ~INDIRECT, low);
	return value;
}
