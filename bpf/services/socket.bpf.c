/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause) */
/* Services where a socket names its peer, so that no packet is touched.
 *
 *     connect, sendmsg      -> frontend -> backend, in place of the service's address
 *     recvmsg, getpeername  -> the service's address, in place of the backend's
 *     bind                  -> refused where the port is a service's on this node
 *
 * A socket of IPv6 that speaks IPv4 asks as one of IPv4: addresses here are of either family. Invariants: a connected socket has one backend;
 * one that is not keeps its backend from datagram to datagram while that takes any. Who asks for a service that nobody serves is told
 * so: a program here cannot drop, and where nobody is on this node the service is one that nobody serves (Kubernetes says so of
 * `internalTrafficPolicy: Local`). The errors differ: ECONNREFUSED for nobody at all, EHOSTUNREACH for nobody here.
 *
 * Not here: sockets that name no peer to the kernel, and protocols without these hooks (veth.bpf.c). */

#define FOR_SOCKETS

#include <linux/bpf.h>
#include <linux/errno.h>
#include <linux/in.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "flows.h"

/* What a program returns. */
#define REFUSED 0
#define GOES_ON 1

/* The kernel's own header of these needs a C library's. */
#define FAMILY_V6 10

/* The cookie of the node's own network namespace. Set by the loader. */
volatile const __u64 HOST_NETWORK = 0;

/* The client of a question is the socket, under session affinity its network: an address is not known yet. Both are written as addresses
 * that no packet comes from, since they are of a group: ff00:7765:6972::/64 of sockets, ff00:7765:6972:1::/64 of networks, and the
 * cookie behind it. */
#define SOCKETS 0xFF00776569720000ull
#define NETWORKS 0xFF00776569720001ull

/* A call's peer, port in host order. */
struct peer {
	struct address address;
	__u16 port;
};

static __always_inline void read_v4(struct peer *peer, const struct bpf_sock_addr *call)
{
	set_v4(&peer->address, call->user_ip4);
	peer->port = bpf_ntohs(call->user_port);
}

static __always_inline void read_v6(struct peer *peer, const struct bpf_sock_addr *call)
{
	for (int word = 0; word < 4; word++)
		peer->address.words[word] = call->user_ip6[word];
	peer->port = bpf_ntohs(call->user_port);
}

static __always_inline void write_v4(struct bpf_sock_addr *call, const struct peer *peer)
{
	call->user_ip4 = peer->address.words[3];
	call->user_port = bpf_htons(peer->port);
}

static __always_inline void write_v6(struct bpf_sock_addr *call, const struct peer *peer)
{
	for (int word = 0; word < 4; word++)
		call->user_ip6[word] = peer->address.words[word];
	call->user_port = bpf_htons(peer->port);
}

/* Loopback, or no address, which is the loopback to who connects to it and every address to who binds to it. */
static __always_inline bool is_every_or_loopback(const struct address *address)
{
	if (is_v4(address))
		return address->bytes[12] == 127 || !address->words[3];
	return !address->halves[0] && (!address->halves[1] || address->halves[1] == bpf_cpu_to_be64(1));
}

/* A port of the node, in the family of an address. */
static __always_inline const struct frontend_record *find_node_port(const struct image *image, bool of_v4, __u16 port, __u8 protocol)
{
	struct address any = {};

	if (of_v4)
		set_v4(&any, 0);
	return find_frontend(image, &any, port, protocol);
}

static __always_inline bool is_of_host(struct bpf_sock_addr *call)
{
	return bpf_get_netns_cookie(call) == HOST_NETWORK;
}

/* The frontend that a socket asks for. In the node's own network its ports are at loopback too; a pod's loopback is the pod's. */
static __always_inline const struct frontend_record *meet_call(const struct image *image, struct bpf_sock_addr *call,
							       const struct question *question)
{
	__u8 why;

	if (!is_every_or_loopback(&question->address))
		return meet(image, question, &why);
	if (!is_of_host(call))
		return NULL;
	return find_node_port(image, is_v4(&question->address), question->port, question->protocol);
}

/* Where a new flow goes that its socket keeps: what was settled of the slot is about others. */
static __always_inline __u8 choose_new(const struct image *image, const struct frontend_record *frontend,
				       const struct question *question, struct target *target)
{
	__u8 choice = choice_of(frontend, false), width = width_of(frontend, false);
	const struct scope_record *scope = scope_of(frontend, false);
	__u32 slot;

	if (choice != CHOICE_BACKEND)
		return choice;
	if (!scope->count)
		return CHOICE_NO_BACKEND;
	slot = slot_at(image, scope->slots, reduce(flow_hash(question, false), scope->count), width);
	aim(target, backend_at(image, frontend, slot & ~unsettled_bit(width)));
	return CHOICE_BACKEND;
}

/* Keeps what a socket asked for, by what it was given. */
static __noinline void remember(__u64 cookie, const struct question *question, const struct target *target)
{
	struct socket_key key = { .cookie = cookie, .port = target->port, .protocol = question->protocol };
	struct socket_record service = { .port = question->port };
	const struct socket_record *known;

	__builtin_memcpy(key.address, &target->address, sizeof(key.address));
	known = bpf_map_lookup_elem(&socket_services, &key);
	if (known && known->port == question->port && same_address((const struct address *)known->address, &question->address))
		return;
	__builtin_memcpy(service.address, &question->address, sizeof(service.address));
	bpf_map_update_elem(&socket_services, &key, &service, BPF_ANY);
}

/* What comes of a call to a service that has no backend for it. */
static __always_inline int without_backend(__u8 choice)
{
	count(choice == CHOICE_NO_LOCAL_BACKEND ? BALANCE_COUNTER_NO_LOCAL_BACKEND : BALANCE_COUNTER_NO_BACKEND, 0);
	if (!REJECTS)
		return 0;
	return choice == CHOICE_NO_LOCAL_BACKEND ? -EHOSTUNREACH : -ECONNREFUSED;
}

/* Leads a call from a service to a backend: 1 if it does, 0 if the call goes on as it is, else the error that it ends with. */
static __always_inline int lead(struct bpf_sock_addr *call, struct peer *peer, bool connects)
{
	const struct service_settings *settings = present_service_settings();
	/* MPTCP's number is TCP's and 256. */
	struct question question = { .port = peer->port, .protocol = call->protocol, .is_new = true };
	const struct frontend_record *frontend;
	struct target target = {};
	struct image image = {};
	__u64 cookie;
	__u8 choice;

	if (!settings || !question.protocol || !present_image(settings, &image))
		return 0;
	question.address = peer->address;
	frontend = meet_call(&image, call, &question);
	if (!frontend)
		return 0;
	cookie = bpf_get_socket_cookie(call);
	question.client.halves[0] = bpf_cpu_to_be64(frontend->affinity ? NETWORKS : SOCKETS);
	question.client.halves[1] = frontend->affinity ? bpf_get_netns_cookie(call) : cookie;
	if (connects && !frontend->affinity)
		choice = choose_new(&image, frontend, &question, &target);
	else
		choice = choose(&image, frontend, &question, service_tick(), &target);
	if (choice != CHOICE_BACKEND)
		return without_backend(choice);
	remember(cookie, &question, &target);
	count(connects ? BALANCE_COUNTER_SOCKETS_CONNECTED : BALANCE_COUNTER_DATAGRAMS_SENT, 0);
	peer->address = target.address;
	peer->port = target.port;
	return 1;
}

/* Names the service that a socket asked for, in place of the backend that it was given. False if it was given none. */
static __noinline bool name_service(struct bpf_sock_addr *call, struct peer *peer)
{
	struct socket_key key = { .cookie = bpf_get_socket_cookie(call), .port = peer->port, .protocol = call->protocol };
	const struct socket_record *service;

	__builtin_memcpy(key.address, &peer->address, sizeof(key.address));
	service = bpf_map_lookup_elem(&socket_services, &key);
	if (!service)
		return false;
	__builtin_memcpy(&peer->address, service->address, sizeof(peer->address));
	peer->port = service->port;
	return true;
}

/* Whether a socket of the node's own network asks for a port that is a service's there. Where it asks for every address of IPv6 it may
 * have those of IPv4 with them; programs are not told (IPV6_V6ONLY), so both count. */
static __noinline bool is_taken(struct bpf_sock_addr *call, const struct peer *own)
{
	const struct service_settings *settings = present_service_settings();
	const struct frontend_record *place;
	__u8 protocol = call->protocol;
	struct image image = {};

	if (!own->port || !protocol || !is_of_host(call) || !settings || !present_image(settings, &image))
		return false;
	if (!is_every_or_loopback(&own->address)) {
		place = find_frontend(&image, &own->address, 0, 0);
		if (!place || place->kind != FRONTEND_KIND_NODE_ADDRESS)
			return false;
	}
	if (is_unspecified(&own->address) && find_node_port(&image, true, own->port, protocol))
		return true;
	return find_node_port(&image, is_v4(&own->address), own->port, protocol);
}

static __always_inline int refuse(int error)
{
	bpf_set_retval(error);
	return REFUSED;
}

static __always_inline int lead_v4(struct bpf_sock_addr *call, bool connects)
{
	struct peer peer;
	int led;

	read_v4(&peer, call);
	led = lead(call, &peer, connects);
	if (led < 0)
		return refuse(led);
	if (led)
		write_v4(call, &peer);
	return GOES_ON;
}

static __always_inline int lead_v6(struct bpf_sock_addr *call, bool connects)
{
	struct peer peer;
	int led;

	read_v6(&peer, call);
	led = lead(call, &peer, connects);
	if (led < 0)
		return refuse(led);
	if (led)
		write_v6(call, &peer);
	return GOES_ON;
}

static __always_inline int name_v4(struct bpf_sock_addr *call)
{
	struct peer peer;

	read_v4(&peer, call);
	if (name_service(call, &peer))
		write_v4(call, &peer);
	return GOES_ON;
}

static __always_inline int name_v6(struct bpf_sock_addr *call)
{
	struct peer peer;

	read_v6(&peer, call);
	if (name_service(call, &peer))
		write_v6(call, &peer);
	return GOES_ON;
}

static __always_inline int allow_unless_taken(struct bpf_sock_addr *call, const struct peer *own)
{
	if (!is_taken(call, own))
		return GOES_ON;
	count(BALANCE_COUNTER_BINDS_REFUSED, 0);
	return refuse(-EADDRINUSE);
}

SEC("cgroup/connect4")
int connect4(struct bpf_sock_addr *call)
{
	return lead_v4(call, true);
}

SEC("cgroup/connect6")
int connect6(struct bpf_sock_addr *call)
{
	return lead_v6(call, true);
}

SEC("cgroup/sendmsg4")
int sendmsg4(struct bpf_sock_addr *call)
{
	return lead_v4(call, false);
}

SEC("cgroup/sendmsg6")
int sendmsg6(struct bpf_sock_addr *call)
{
	return lead_v6(call, false);
}

SEC("cgroup/recvmsg4")
int recvmsg4(struct bpf_sock_addr *call)
{
	return name_v4(call);
}

SEC("cgroup/recvmsg6")
int recvmsg6(struct bpf_sock_addr *call)
{
	return name_v6(call);
}

SEC("cgroup/getpeername4")
int getpeername4(struct bpf_sock_addr *call)
{
	return name_v4(call);
}

SEC("cgroup/getpeername6")
int getpeername6(struct bpf_sock_addr *call)
{
	return name_v6(call);
}

SEC("cgroup/bind4")
int bind4(struct bpf_sock_addr *call)
{
	struct peer own;

	read_v4(&own, call);
	return allow_unless_taken(call, &own);
}

SEC("cgroup/bind6")
int bind6(struct bpf_sock_addr *call)
{
	struct peer own;

	read_v6(&own, call);
	return allow_unless_taken(call, &own);
}

/* Forgets what a connected socket asked for. What others asked for goes when there is no room. */
SEC("cgroup/sock_release")
int sock_release(struct bpf_sock *socket)
{
	struct socket_key key = { .port = bpf_ntohs(socket->dst_port), .protocol = socket->protocol };
	struct address *address = (struct address *)key.address;

	if (!key.port)
		return GOES_ON;
	key.cookie = bpf_get_socket_cookie(socket);
	if (socket->family == FAMILY_V6) {
		for (int word = 0; word < 4; word++)
			address->words[word] = socket->dst_ip6[word];
	} else {
		set_v4(address, socket->dst_ip4);
	}
	bpf_map_delete_elem(&socket_services, &key);
	return GOES_ON;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
