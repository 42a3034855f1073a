/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause) */
/* What the loader decides of balancing: read-only data, set before programs are loaded and known to the verifier as constants.
 *
 * Not here: what changes while programs run (struct service_settings). */
#pragma once

#include <linux/types.h>

/* Whether TCP, and whether all else, goes to remote backends by Direct Server Return, unless a service says otherwise. */
volatile const __u8 TCP_BY_DSR = 0;
volatile const __u8 OTHERS_BY_DSR = 0;
/* Whether DSR says what was asked for by an option of the packet, and not by wrapping it. */
volatile const __u8 DSR_BY_OPTION = 0;
/* Whether who asks for a service without backends is answered. */
volatile const __u8 REJECTS = 1;
/* Ports that SNAT takes: the first, and how many. */
volatile const __u16 FIRST_PORT = 61000;
volatile const __u16 PORTS = 4536;
/* ICMP answers per CPU and tick; more are not given. */
volatile const __u32 ANSWERS_PER_TICK = 1000;

/* Ticks that a flow outlives its last packet. */
volatile const __u32 OPENING_TICKS = 60;
volatile const __u32 TCP_TICKS = 20000;
volatile const __u32 CLOSED_TICKS = 10;
/* Ticks of silence after which nothing of a closed flow is on its way any more. */
volatile const __u32 SILENT_TICKS = 2;
volatile const __u32 DATAGRAM_TICKS = 60;
volatile const __u32 SCTP_TICKS = 210;
