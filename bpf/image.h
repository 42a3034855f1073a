/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause) */
/* An image and its sections. A packet resolves its image once and hands it on.
 *
 * Every read is masked into the value. For a checked image the mask changes nothing; it is what the verifier believes. What
 * begins at the last byte of the mask still ends in RECORD_ROOM. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <bpf/bpf_helpers.h>

#include "abi.h"

/* Size of the value that holds an image, a power of two, less 1: `offset & IMAGE_MASK` is in bounds. Set by the loader. */
volatile const __u32 IMAGE_MASK = 4096 - 1;

/* An image in force; `bytes` is a map's value of IMAGE_MASK + 1 bytes, with RECORD_ROOM behind them. */
struct image {
	const void *bytes;
	__u32 slot;
};

static __always_inline const struct header *header_of(const struct image *image)
{
	return image->bytes;
}

static __always_inline __u32 section(const struct image *image, enum section section)
{
	return header_of(image)->sections[section].offset;
}

static __always_inline __u64 long_at(const struct image *image, __u32 offset)
{
	return *(const __u64 *)(image->bytes + (offset & IMAGE_MASK));
}

static __always_inline __u32 word_at(const struct image *image, __u32 offset)
{
	return *(const __u32 *)(image->bytes + (offset & IMAGE_MASK));
}

static __always_inline __u16 half_at(const struct image *image, __u32 offset)
{
	return *(const __u16 *)(image->bytes + (offset & IMAGE_MASK));
}

static __always_inline __u8 byte_at(const struct image *image, __u32 offset)
{
	return *(const __u8 *)(image->bytes + (offset & IMAGE_MASK));
}

/* A record of at most RECORD_ROOM bytes, whose fields then cost one load each. */
static __always_inline const void *record_at(const struct image *image, __u32 offset)
{
	return image->bytes + (offset & IMAGE_MASK);
}

/* Whether the slot of a map of images has one. */
static __always_inline bool resolve_in(void *images, struct image *image, __u32 slot)
{
	__u32 zero = 0;
	void *map = bpf_map_lookup_elem(images, &slot);

	if (!map)
		return false;
	image->bytes = bpf_map_lookup_elem(map, &zero);
	image->slot = slot;
	return image->bytes;
}
