/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause) */
/* What the loader decides: read-only data, set before the program is loaded and known to the verifier as constants.
 *
 * Not here: what changes while the program runs (struct settings). */
#pragma once

#include <linux/types.h>

/* Enum aggregation, and the interval in ticks. */
volatile const __u8 AGGREGATION = 2;
volatile const __u32 INTERVAL_TICKS = 5;
/* Drops told per CPU and tick; the rest are counted. */
volatile const __u32 DROPS_PER_TICK = 256;

/* Ticks that a connection outlives its last packet. */
volatile const __u32 OPENING_TICKS = 60;
volatile const __u32 TCP_TICKS = 20000;
volatile const __u32 CLOSED_TICKS = 10;
volatile const __u32 DATAGRAM_TICKS = 60;
volatile const __u32 SCTP_TICKS = 210;
