/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause) */
/* How packets of a service go to backends elsewhere: Direct Server Return, or with the node's address as their source. */
#pragma once

#include <linux/in.h>

#include "../parse.h"
#include "lookup.h"
#include "options.h"

/* Hops that a wrapped packet has to its backend's node. */
#define WRAPPED_HOPS 64

/* Whether a frontend's packets keep their client's address, so that the backend answers it directly. */
static __always_inline bool is_direct(const struct frontend_record *frontend, __u8 protocol)
{
	if (frontend->flags & FORWARD_DSR)
		return true;
	if (frontend->flags & FORWARD_SNAT)
		return false;
	return protocol == IPPROTO_TCP ? TCP_BY_DSR : OTHERS_BY_DSR;
}

/* The node's own address in the family of another; unspecified if it has none. */
static __always_inline void node_address(struct address *own, const struct service_settings *settings, bool is_v6)
{
	if (is_v6)
		__builtin_memcpy(own, settings->node_v6, sizeof(*own));
	else
		set_v4(own, *(const __be32 *)settings->node_v4);
}

/* Whether that is one. */
static __always_inline bool is_given(const struct address *own, bool is_v6)
{
	return is_v6 ? !is_unspecified(own) : own->words[3];
}

/* Whether a packet may answer one that the node sent on as a client: to its address, and a port of those that SNAT takes. SCTP's client keeps
 * its own port. */
static __always_inline bool is_to_taken_port(const struct service_settings *settings, const struct question *question, bool is_v6)
{
	struct address own;

	if ((__u16)(question->port - FIRST_PORT) >= PORTS && question->protocol != IPPROTO_SCTP)
		return false;
	node_address(&own, settings, is_v6);
	return same_address(&own, &question->address);
}

/* Of TCP a lone SYN, of all else any packet. */
static __always_inline bool may_be_new(__u8 protocol, __u8 flags)
{
	return protocol != IPPROTO_TCP || (flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

/* What a packet asks of services. */
static __always_inline void ask_of(struct question *question, const struct packet *packet, bool from_outside)
{
	question->client = packet->source;
	question->address = packet->destination;
	question->client_port = packet->source_port;
	question->port = packet->destination_port;
	question->protocol = packet->protocol;
	question->from_outside = from_outside;
	question->is_forwarded = false;
	question->is_new = may_be_new(packet->protocol, packet->flags);
}
