// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The connect gate: cgroup programs, because TCP Fast Open and io_uring pass
 * them too, and no LSM hook sees the former.
 */
#pragma once

struct destination {
	__u8 addr[16]; /* v4 as ::ffff:a.b.c.d */
	__u16 port;    /* host order */
	__u8 protocol;
};

struct net_verdict {
	__s32 rule;
	__u8 decision;
};

/* True when this datagram's destination was recorded within the last second, as
 * refused or as allowed. */
INLINE bool repeated(__u32 tgid, const struct destination *d, __u16 refused, __u64 now, __u32 *folded)
{
	struct seen_key k = { .pid = tgid, .port = d->port, .refused = refused };
	__builtin_memcpy(k.addr, d->addr, 16);
	struct seen_value *v = bpf_map_lookup_elem(&udp_seen, &k);
	if (v && now - v->since < 1000000000ULL) {
		__sync_fetch_and_add(&v->count, 1);
		return true;
	}
	*folded = v ? v->count : 0;
	struct seen_value fresh = { .since = now };
	bpf_map_update_elem(&udp_seen, &k, &fresh, BPF_ANY);
	return false;
}

INLINE bool is_mapped(const __u8 *a)
{
	const __u32 *w = (const __u32 *)a;
	/* v4-mapped, ::ffff:0:0/96 */
	if (w[0] == 0 && w[1] == 0 && w[2] == bpf_htonl(0xffff))
		return true;
	/* NAT64, 64:ff9b::/96 */
	return w[0] == bpf_htonl(0x0064ff9b) && w[1] == 0 && w[2] == 0;
}

INLINE void look_up(const struct net_value *v, const struct destination *d, struct net_verdict *out)
{
	for (__u32 i = 0; i < NET_SPANS; i++) {
		if (i >= v->count)
			break;
		const struct net_span *s = &v->spans[i];
		if ((s->protocols & d->protocol) && d->port >= s->first && d->port <= s->last) {
			out->decision = s->decision;
			out->rule = s->rule;
			return;
		}
	}
}

/* Whatever is missing on the way denies. */
INLINE void judge_destination(__u32 slot, const struct destination *d, struct net_verdict *out)
{
	struct net_value *v = 0;

	out->decision = NET_DENY;
	out->rule = RULE_MISSING;
	if (is_mapped(d->addr)) {
		struct net4_key k = { .prefixlen = 32 };
		__builtin_memcpy(k.addr, d->addr + 12, 4);
		void *inner = bpf_map_lookup_elem(&policy_net4, &slot);
		if (inner)
			v = bpf_map_lookup_elem(inner, &k);
	} else {
		struct net6_key k = { .prefixlen = 128 };
		__builtin_memcpy(k.addr, d->addr, 16);
		void *inner = bpf_map_lookup_elem(&policy_net6, &slot);
		if (inner)
			v = bpf_map_lookup_elem(inner, &k);
	}
	if (v)
		look_up(v, d, out);
}

#include "owners.h"
#include "redirect.h"

/*
 * 1 lets the connection or datagram pass, 0 makes the call fail with EPERM. It
 * passes to the port *home on loopback, if that is not 0.
 */
INLINE int judge(struct bpf_sock_addr *ctx, const struct destination *d, bool connects, bool datagram, __u16 *home)
{
	__u32 tgid = current_tgid();
	struct proc *p = governed(tgid);
	if (connects)
		note_elsewhere(ctx, d);
	if (!p) {
		if (marked_as(tgid) == MARKED_STRAY)
			return 0;
		if (connects)
			connects_to_a_session(ctx, d);
		return 1;
	}

	__u32 slot = 0;
	struct settings *set = 0;
	struct net_verdict v = { .rule = RULE_MISSING, .decision = NET_DENY };
	if (!policy_slot(&slot))
		set = policy_settings_in(slot);
	if (set)
		judge_destination(slot, d, &v);

	bool enforced = enforcing(set, p);
	*home = manage(ctx, d, p, tgid, set, enforced, &v);
	if (*home)
		return 1; /* recorded there */
	go_itself(ctx, d, p, tgid, &v, set ? set->generation : 0, enforced);
	struct connect_record r = {};
	fill_head(&r.head, RECORD_CONNECT, tgid, p);
	if (v.decision == NET_ALLOW && datagram && repeated(tgid, d, 0, r.head.time, &r.coalesced)) {
		__u32 which = RING_VOLUME;
		struct counters *c = bpf_map_lookup_elem(&ring_counters, &which);
		if (c)
			__sync_fetch_and_add(&c->coalesced, 1);
		return 1;
	}
	__builtin_memcpy(r.addr, d->addr, 16);
	r.port = d->port;
	r.protocol = d->protocol;
	r.decision = v.decision;
	r.enforced = enforced;
	r.rule = v.rule;
	r.uid = current_uid();
	r.generation = set ? set->generation : 0;
	if (v.decision == NET_ALLOW)
		submit(&ring_volume, RING_VOLUME, &r, sizeof(r));
	else
		submit(&ring_security, RING_SECURITY, &r, sizeof(r));
	return v.decision == NET_ALLOW || !enforced;
}

INLINE __u8 protocol_of(struct bpf_sock_addr *ctx)
{
	/* What is neither is judged as both, that is by the stricter. */
	return ctx->type == SOCK_STREAM ? NET_TCP : NET_UDP;
}

INLINE int judge4(struct bpf_sock_addr *ctx, bool connects)
{
	struct destination d = {};
	__u32 ip = ctx->user_ip4;
	d.addr[10] = 0xff;
	d.addr[11] = 0xff;
	__builtin_memcpy(d.addr + 12, &ip, 4);
	d.port = bpf_ntohs(ctx->user_port);
	d.protocol = protocol_of(ctx);
	__u16 home = 0;
	int answer = judge(ctx, &d, connects, !connects || ctx->type != SOCK_STREAM, &home);
	if (home)
		send_home4(ctx, home);
	return answer;
}

INLINE int judge6(struct bpf_sock_addr *ctx, bool connects)
{
	struct destination d = {};
	__u32 w[4] = { ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3] };
	__builtin_memcpy(d.addr, w, 16);
	d.port = bpf_ntohs(ctx->user_port);
	d.protocol = protocol_of(ctx);
	__u16 home = 0;
	int answer = judge(ctx, &d, connects, !connects || ctx->type != SOCK_STREAM, &home);
	if (home)
		send_home6(ctx, is_four(d.addr), home);
	return answer;
}

SEC("cgroup/connect4")
int on_connect4(struct bpf_sock_addr *ctx)
{
	return judge4(ctx, true);
}

SEC("cgroup/connect6")
int on_connect6(struct bpf_sock_addr *ctx)
{
	return judge6(ctx, true);
}

/* A connected socket whose message has a control message: it goes where connect was
 * judged to go. Of a message with an address the kernel has seen to it that it has a port. */
INLINE bool is_connected(struct bpf_sock_addr *ctx)
{
	return !ctx->user_port;
}

SEC("cgroup/sendmsg4")
int on_sendmsg4(struct bpf_sock_addr *ctx)
{
	return is_connected(ctx) || judge4(ctx, false);
}

SEC("cgroup/sendmsg6")
int on_sendmsg6(struct bpf_sock_addr *ctx)
{
	return is_connected(ctx) || judge6(ctx, false);
}

INLINE void record_socket(const struct proc *p, __u32 tgid, __u32 family, __u32 type, __u32 protocol, bool routed,
			  bool enforced)
{
	struct socket_record r = {};
	fill_head(&r.head, RECORD_SOCKET, tgid, p);
	r.family = family;
	r.socket_type = type;
	r.protocol = protocol;
	r.routed = routed;
	r.enforced = enforced;
	r.uid = current_uid();
	submit(&ring_security, RING_SECURITY, &r, sizeof(r));
}

INLINE bool socket_permitted(__u32 family, __u32 type, __u32 protocol)
{
	switch (family) {
	case AF_UNIX:
	case AF_NETLINK:
	case AF_ALG:
		return true;
	case AF_INET:
	case AF_INET6:
		break;
	default:
		return false; /* packet, vsock, SMC, ...: nothing here judges them */
	}
	if (type == SOCK_STREAM)
		return protocol == 0 || protocol == IPPROTO_TCP;
	if (type == SOCK_DGRAM)
		return protocol == 0 || protocol == IPPROTO_UDP;
	return false; /* raw and the rest */
}

/* Refuses a governed process; 1 for others, and where only observed. */
INLINE int refuse_socket(__u32 family, __u32 type, __u32 protocol, bool routed)
{
	__u32 tgid = current_tgid();
	struct proc *p = governed(tgid);
	if (!p)
		return 1;
	__u32 slot = 0;
	struct settings *set = 0;
	if (!policy_slot(&slot))
		set = policy_settings_in(slot);
	bool enforced = enforcing(set, p);
	record_socket(p, tgid, family, type, protocol, routed, enforced);
	return !enforced;
}

/* 0: refused. Only TCP and UDP pass the hooks above; so only they exist. */
INLINE int judge_socket(__u32 family, __u32 type, __u32 protocol)
{
	if (socket_permitted(family, type, protocol))
		return 1;
	return refuse_socket(family, type, protocol, false);
}

SEC("cgroup/sock_create")
int on_sock_create(struct bpf_sock *ctx)
{
	tell_namespace(ctx);
	if (!judge_socket(ctx->family, ctx->type, ctx->protocol))
		return 0;
	own(ctx);
	return 1;
}
