/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause) */
/* Address outside -> peer class: the same searches as bpf/abi/src/prefix.rs.
 *
 * Where an address falls is as good as random, so no branch depends on it: comparisons become masks. */
#pragma once

#include "image.h"

/* Steps that a binary search takes at most: 2^25 ranges in one chunk. */
#define SEARCH_STEPS 26
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

/* `address` in host byte order. */
static __always_inline __u32 class_of_v4(const struct image *image, __u32 address)
{
	const struct header *header = header_of(image);
	__u32 shift = 32 - (header->v4_bits & 31);
	__u32 directory = section(image, SECTION_V4_DIRECTORY) + (__u32)((__u64)address >> shift) * 4;
	__u32 ranges = section(image, SECTION_V4_RANGES);
	__u32 offset = (__u64)address & (((__u64)1 << shift) - 1);
	__u32 start = word_at(image, directory);
	__u32 len = word_at(image, directory + 4) - start + 1;
	/* The range before the chunk's first reaches into the chunk, so the search begins with it. */
	__u32 at = start - 1;

	if (header->v4_format == V4_NARROW) {
		for (int step = 0; step < SEARCH_STEPS && len > 1; step++) {
			__u32 half = len / 2;

			at += half & at_most(word_at(image, ranges + (at + half) * 4) & 0xFFFF, offset);
			len -= half;
		}
		return word_at(image, ranges + at * 4) >> 16;
	}
	for (int step = 0; step < SEARCH_STEPS && len > 1; step++) {
		__u32 half = len / 2;

		at += half & at_most(word_at(image, ranges + (at + half) * 8), offset);
		len -= half;
	}
	return word_at(image, ranges + at * 8 + 4);
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
	__u32 block = header_of(image)->reserved, best = block, value;

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
	value = word_at(image, section(image, SECTION_V6_VALUES) + best * 4);
	if (value & INDIRECT)
		return class_of_low(image, value & ~INDIRECT, low);
	return value;
}
