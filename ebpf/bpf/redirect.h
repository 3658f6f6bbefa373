// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The managed network. A governed connection is sent to a listener of Paddock's
 * on loopback; its socket remembers who asked for what. The daemon finds that by
 * the addresses of what it accepted.
 */
#pragma once

#define LOOPBACK_DEVICE 1 /* of every network namespace */

/* The daemon cannot ask for the cookie before 5.14. */
INLINE void tell_namespace(struct bpf_sock *ctx)
{
	struct egress *e = egress_now();
	if (!e || !e->learn || e->learn != (__u32)bpf_get_current_pid_tgid())
		return;
	e->netns = bpf_get_netns_cookie(ctx);
	e->learn = 0;
}

INLINE void refuse_as(struct net_verdict *v, __s32 why)
{
	v->decision = NET_DENY;
	v->rule = why;
}

/* A socket cannot forget: what it asked for goes away only with it. */
INLINE bool remember(struct bpf_sock_addr *ctx, const struct destination *d, const struct proc *p, __u32 tgid,
		     const struct net_verdict *v, __u32 generation, bool enforced, __u8 kind)
{
	if (!ctx->sk)
		return false;
	struct flow *f = bpf_sk_storage_get(&sockets, ctx->sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!f)
		return false;
	f->session = p->session;
	f->cause = p->cause;
	f->start = p->start;
	f->pid = tgid;
	f->uid = current_uid();
	f->generation = generation;
	f->rule = v->rule;
	__builtin_memcpy(f->addr, d->addr, 16);
	f->port = d->port;
	f->protocol = d->protocol;
	f->decision = v->decision;
	f->enforced = enforced;
	f->kind = kind;
	f->cookie = bpf_get_socket_cookie(ctx);
	return true;
}

/* A connection to the address of a listener of ours, in another network namespace, is to somebody else, whoever's it
 * is: a connection with the same addresses may exist at home. See on_sockops, which cannot ask before 5.15. */
INLINE void note_elsewhere(struct bpf_sock_addr *ctx, const struct destination *d)
{
	struct egress *e = egress_now();
	if (!e || !e->netns || d->protocol != NET_TCP || !on_loopback(d->addr) || bpf_get_netns_cookie(ctx) == e->netns)
		return;
	__u32 port = d->port;
	if (!ctx->sk || (!is_listener(e, port) && !bpf_map_lookup_elem(&own_ports, &port)))
		return;
	struct flow *f = bpf_sk_storage_get(&sockets, ctx->sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (f)
		f->elsewhere = 1;
}

/*
 * Decides about what is for a socket of the session itself on loopback, of whatever
 * network namespace, and about what is for nobody; false: it did not. What it lets pass
 * is looked at again on its way: see arrives.
 */
INLINE bool judge_near(struct bpf_sock_addr *ctx, const struct destination *d, const struct proc *p, __u32 network,
		       bool named, struct net_verdict *v)
{
	bool stream = d->protocol == NET_TCP;
	bool refused = v->decision != NET_ALLOW && v->rule != RULE_DEFAULT;

	if (!daemon_alive() || (ctx->sk && ctx->sk->bound_dev_if && ctx->sk->bound_dev_if != LOOPBACK_DEVICE))
		return false;
	struct owner there = {};
	bool client = false;
	bool somebody = stream ? who_listens(ctx, d, &there) : who_receives(ctx, d, &there, &client);
	struct state *daemon = daemon_state();
	if (somebody && there.session == p->session && there.served && daemon && daemon->daemon == there.served) {
		v->decision = NET_ALLOW;
		v->rule = RULE_OWN_SERVICE;
		return true;
	}
	if (refused || !(network & NETWORK_OWN) || d->port == DNS_PORT || d->port == DNS_OVER_TLS_PORT)
		return false;
	if (somebody && there.session == p->session && !there.served && !is_broadcast(d->addr)) {
		v->decision = NET_ALLOW;
		v->rule = RULE_OWN_LISTENER;
		return true;
	}
	if (client) {
		v->decision = NET_ALLOW;
		v->rule = RULE_OWN_CLIENT;
		return true;
	}
	/* To say that it is connected would mislead who waits for a server, and who tries
	 * ::1 before 127.0.0.1. Where 127.0.0.1 is open, the port may be one that a packet
	 * filter leads elsewhere. */
	if (p->flags & PROC_CANARY) /* is there to be sent to the daemon */
		return false;
	if (!somebody && stream && !named && ((network & NETWORK_NEAR_DENIED) || !is_four(d->addr))) {
		v->decision = NET_ALLOW;
		v->rule = RULE_SILENT_PORT;
		return true;
	}
	return false;
}

/* The other half of judge_near: where its packets go is looked at. */
INLINE bool watch(struct bpf_sock_addr *ctx, const struct destination *d, const struct proc *p, __u32 tgid,
		  const struct net_verdict *v, __u32 generation, bool enforced)
{
	if (!ctx->sk)
		return false;
	if (d->protocol == NET_TCP)
		return remember(ctx, d, p, tgid, v, generation, enforced, FLOW_UNSURE);
	struct flow *f = bpf_sk_storage_get(&sockets, ctx->sk, 0, 0);
	if ((!f || f->kind != FLOW_DNS) && !remember(ctx, d, p, tgid, v, generation, enforced, FLOW_LOCAL))
		return false;
	f = bpf_sk_storage_get(&sockets, ctx->sk, 0, 0);
	if (!f)
		return false;
	f->own = 1;
	return true;
}

/*
 * The port on loopback to which a governed connection or datagram is sent, and 0
 * when it goes where it wanted to go, if v lets it.
 */
INLINE __u16 manage(struct bpf_sock_addr *ctx, const struct destination *d, const struct proc *p, __u32 tgid,
		    const struct settings *set, bool enforced, struct net_verdict *v)
{
	struct egress *e = egress_now();
	__u32 network = set ? set->network : 0;
	bool managed = network & NETWORK_MANAGED;
	bool home = e && e->netns && bpf_get_netns_cookie(ctx) == e->netns;
	bool stream = d->protocol == NET_TCP;
	bool loopback = on_loopback(d->addr);
	__u32 generation = set ? set->generation : 0;

	if (home && loopback) {
		__u32 port = d->port;
		if (is_listener(e, port)) {
			/* Unless it was sent there when it connected: with an IPv6
			 * socket's datagrams to an IPv4 address, the kernel asks again. */
			struct flow *f = !stream && ctx->sk ? bpf_sk_storage_get(&sockets, ctx->sk, 0, 0) : 0;
			if (managed && f && f->kind == FLOW_DNS && e->ports[LISTEN_DNS_UDP4] == port)
				return port;
			refuse_as(v, RULE_LISTENER);
			return 0;
		}
		if (stream && bpf_map_lookup_elem(&own_ports, &port)) {
			v->decision = NET_ALLOW;
			v->rule = RULE_OWN_SERVICE;
			if (!remember(ctx, d, p, tgid, v, generation, enforced, FLOW_SERVICE))
				refuse_as(v, RULE_NO_MEMORY);
			return 0;
		}
	}
	if (!managed)
		return 0;
	/* Named by a rule, not only let through for want of one. */
	bool named = v->decision == NET_ALLOW && v->rule != RULE_DEFAULT;
	if (loopback && judge_near(ctx, d, p, network, named, v)) {
		if (!watch(ctx, d, p, tgid, v, generation, enforced))
			refuse_as(v, RULE_NO_MEMORY);
		return 0;
	}
	if (v->decision != NET_ALLOW && v->rule != RULE_DEFAULT)
		return 0;
	if (!home) {
		/* Loopback is another one there: our listeners cannot be reached, and
		 * who listens on their ports is somebody else. */
		if (!(named && loopback))
			refuse_as(v, RULE_NAMESPACE);
		return 0;
	}
	bool dns = d->port == DNS_PORT;
	if (!stream && !dns) {
		if (!named)
			refuse_as(v, RULE_DATAGRAM);
		return 0;
	}
	if (stream && d->port == DNS_OVER_TLS_PORT && !named) {
		refuse_as(v, RULE_DNS_OVER_TLS);
		return 0;
	}
	/* Bound to another device, the packets would leave by it for "127.0.0.1". */
	if (ctx->sk && ctx->sk->bound_dev_if && ctx->sk->bound_dev_if != LOOPBACK_DEVICE) {
		refuse_as(v, RULE_DEVICE);
		return 0;
	}
	__u32 which = (dns ? (stream ? LISTEN_DNS_TCP4 : LISTEN_DNS_UDP4) : LISTEN_PROXY4) + (is_four(d->addr) ? 0 : 1);
	__u16 port = which < LISTENERS ? e->ports[which] : 0;
	/* Nobody listens, or whoever does came after the daemon's death. */
	if (!port || !daemon_alive()) {
		refuse_as(v, RULE_NOBODY);
		return 0;
	}
	if (!remember(ctx, d, p, tgid, v, generation, enforced, dns ? FLOW_DNS : FLOW_PROXY)) {
		refuse_as(v, RULE_NO_MEMORY);
		return 0;
	}
	return port;
}

INLINE void send_home4(struct bpf_sock_addr *ctx, __u16 port)
{
	ctx->user_ip4 = bpf_htonl(0x7f000001);
	ctx->user_port = bpf_htons(port);
}

INLINE void send_home6(struct bpf_sock_addr *ctx, bool four, __u16 port)
{
	ctx->user_ip6[0] = 0;
	ctx->user_ip6[1] = 0;
	ctx->user_ip6[2] = four ? bpf_htonl(0xffff) : 0;
	ctx->user_ip6[3] = four ? bpf_htonl(0x7f000001) : bpf_htonl(1);
	ctx->user_port = bpf_htons(port);
}

/* ---- where its packets go ------------------------------------------------- */

/*
 * The socket goes where it wanted to go. Nothing of an earlier try counts, but of
 * datagrams, of which each has a destination of its own. What may go to loopback
 * stays there, where somebody looks at packets: to remember it costs more than all the rest.
 */
INLINE void go_itself(struct bpf_sock_addr *ctx, const struct destination *d, const struct proc *p, __u32 tgid,
		      const struct net_verdict *v, __u32 generation, bool enforced)
{
	bool stream = d->protocol == NET_TCP;
	bool marked = v->rule == RULE_OWN_SERVICE || v->rule == RULE_OWN_LISTENER || v->rule == RULE_SILENT_PORT ||
		      v->rule == RULE_OWN_CLIENT;
	if (!ctx->sk || marked)
		return;
	struct flow *f = bpf_sk_storage_get(&sockets, ctx->sk, 0, 0);
	if (f && stream)
		f->kind = FLOW_NONE;
	if (egress_is_watched() && v->decision == NET_ALLOW && on_loopback(d->addr) && (!f || f->kind == FLOW_NONE))
		remember(ctx, d, p, tgid, v, generation, enforced, FLOW_LOCAL);
}

/* A plain datagram that is not for loopback: of a socket that asks a DNS server now
 * and then, and also sends to somebody whom a rule names. */
INLINE bool plain_elsewhere(struct __sk_buff *skb)
{
	__u8 four[20];
	__u8 six[40];

	if (bpf_skb_load_bytes(skb, 0, four, sizeof(four)))
		return false;
	if (four[0] == 0x45) /* no options: a source route would be one */
		return four[16] != 127;
	if (four[0] >> 4 != 6 || bpf_skb_load_bytes(skb, 0, six, sizeof(six)))
		return false;
	const __u8 *to = six + 24;
	__u8 others = 0;
	for (__u32 i = 0; i < 15; i++)
		others |= to[i];
	return six[6] == IPPROTO_UDP && (others || to[15] != 1); /* no headers between: one of them routes */
}

/*
 * What is sent to us, or may go to loopback, stays on loopback. A socket can be told later, and a datagram
 * by the message itself, to leave by another device (SO_BINDTODEVICE, IP_PKTINFO,
 * IP_UNICAST_IF, a source route): "127.0.0.1" would then be whoever is on that link.
 */
SEC("cgroup_skb/egress")
int on_egress(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;
	if (!sk)
		return 1;
	sk = bpf_sk_fullsock(sk);
	if (!sk)
		return 1;
	struct flow *f = bpf_sk_storage_get(&sockets, sk, 0, 0);
	if (!f || f->kind == FLOW_NONE)
		return 1;
	bool near = skb->ifindex == LOOPBACK_DEVICE;
	enum way way = GOES_ASTRAY;
	if (near)
		way = f->kind != FLOW_UNSURE && !f->own ? ARRIVES : arrives(skb, f);
	if (way == ARRIVES)
		return 1;
	if (way == WAITS)
		return 0;
	if (!near && f->protocol != NET_TCP && plain_elsewhere(skb))
		return 1;
	struct connect_record r = {};
	struct destination d = { .port = f->port, .protocol = f->protocol };
	__builtin_memcpy(d.addr, f->addr, 16);
	r.head.time = bpf_ktime_get_boot_ns();
	/* Once a second: what is not answered is sent again and again. */
	if (repeated(f->pid, &d, 1, r.head.time, &r.coalesced))
		return !f->enforced;
	r.head.type = RECORD_CONNECT;
	r.head.pid = f->pid;
	r.head.session = f->session;
	r.head.cause = f->cause;
	r.head.start = f->start;
	__builtin_memcpy(r.addr, d.addr, 16);
	r.port = d.port;
	r.protocol = d.protocol;
	r.decision = NET_DENY;
	r.enforced = f->enforced;
	r.rule = near ? RULE_TAKEN : RULE_DEVICE;
	r.uid = f->uid;
	r.generation = f->generation;
	submit(&ring_security, RING_SECURITY, &r, sizeof(r));
	return !f->enforced;
}

/* ---- what the accepting side asks ----------------------------------------- */

/*
 * Called before the first packet of every connection, when the local port is
 * known: whoever accepts it finds it in the map. An entry that is not taken away
 * when its connection ends harms nobody: the next connection with the same
 * addresses, governed or not, comes through here first.
 */
SEC("sockops")
int on_sockops(struct bpf_sock_ops *ops)
{
	if (ops->op != BPF_SOCK_OPS_TCP_CONNECT_CB)
		return 1;
	struct egress *e = egress_now();
	if (!e)
		return 1;
	struct flow_key k = {};
	if (ops->family == AF_INET6) {
		/* One word at a time: the verifier allows no wider loads here. */
		volatile __u32 *l = ops->local_ip6, *r = ops->remote_ip6;
		__u32 local[4] = { l[0], l[1], l[2], l[3] };
		__u32 remote[4] = { r[0], r[1], r[2], r[3] };
		__builtin_memcpy(k.client, local, 16);
		__builtin_memcpy(k.server, remote, 16);
	} else {
		four_address(k.client, ops->local_ip4);
		four_address(k.server, ops->remote_ip4);
	}
	k.client_port = ops->local_port;
	k.server_port = bpf_ntohl(ops->remote_port);
	if (!on_loopback(k.server))
		return 1;
	__u32 port = k.server_port;
	if (!is_listener(e, port) && !bpf_map_lookup_elem(&own_ports, &port))
		return 1;
	struct bpf_sock *sk = ops->sk;
	if (!sk)
		return 1;
	struct flow *f = bpf_sk_storage_get(&sockets, sk, 0, 0);
	if (f && f->elsewhere)
		return 1;
	if (f && f->kind)
		bpf_map_update_elem(&flows, &k, f, BPF_ANY);
	else
		bpf_map_delete_elem(&flows, &k);
	return 1;
}

/* What a socket that was sent to us asked for, when at is us. */
INLINE struct flow *asked(struct bpf_sock_addr *ctx, const __u8 *at, __u32 port)
{
	struct egress *e = egress_now();
	if (!e || !on_loopback(at) || !is_listener(e, port) || !ctx->sk)
		return 0;
	struct flow *f = bpf_sk_storage_get(&sockets, ctx->sk, 0, 0);
	return f && (f->kind == FLOW_PROXY || f->kind == FLOW_DNS) ? f : 0;
}

INLINE int show_asked4(struct bpf_sock_addr *ctx)
{
	__u8 at[16];
	four_address(at, ctx->user_ip4);
	struct flow *f = asked(ctx, at, bpf_ntohs(ctx->user_port));
	if (f && is_four(f->addr)) {
		ctx->user_ip4 = *(__u32 *)(f->addr + 12);
		ctx->user_port = bpf_htons(f->port);
	}
	return 1;
}

INLINE int show_asked6(struct bpf_sock_addr *ctx)
{
	__u32 w[4] = { ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3] };
	__u8 at[16];
	__builtin_memcpy(at, w, 16);
	struct flow *f = asked(ctx, at, bpf_ntohs(ctx->user_port));
	if (f) {
		const __u32 *a = (const __u32 *)f->addr;
		ctx->user_ip6[0] = a[0];
		ctx->user_ip6[1] = a[1];
		ctx->user_ip6[2] = a[2];
		ctx->user_ip6[3] = a[3];
		ctx->user_port = bpf_htons(f->port);
	}
	return 1;
}

SEC("cgroup/getpeername4")
int on_getpeername4(struct bpf_sock_addr *ctx)
{
	return show_asked4(ctx);
}

SEC("cgroup/getpeername6")
int on_getpeername6(struct bpf_sock_addr *ctx)
{
	return show_asked6(ctx);
}

/* An answer comes from the server that was asked: clients look. */
SEC("cgroup/recvmsg4")
int on_recvmsg4(struct bpf_sock_addr *ctx)
{
	return show_asked4(ctx);
}

SEC("cgroup/recvmsg6")
int on_recvmsg6(struct bpf_sock_addr *ctx)
{
	return show_asked6(ctx);
}

/*
 * Run by the daemon, on a "packet" that is a question: which socket do these
 * addresses belong to, and what does it remember? For datagrams, which no hook
 * sees leave after their port is known.
 */
SEC("tc")
int find_datagram(struct __sk_buff *skb)
{
	struct flow_question q;
	if (bpf_skb_load_bytes(skb, 0, &q, sizeof(q)))
		return 0;
	struct bpf_sock_tuple t = {};
	__u32 size = sizeof(t.ipv6);
	if (is_four(q.key.client)) {
		__builtin_memcpy(&t.ipv4.saddr, q.key.server + 12, 4);
		__builtin_memcpy(&t.ipv4.daddr, q.key.client + 12, 4);
		t.ipv4.sport = bpf_htons(q.key.server_port);
		t.ipv4.dport = bpf_htons(q.key.client_port);
		size = sizeof(t.ipv4);
	} else {
		__builtin_memcpy(t.ipv6.saddr, q.key.server, 16);
		__builtin_memcpy(t.ipv6.daddr, q.key.client, 16);
		t.ipv6.sport = bpf_htons(q.key.server_port);
		t.ipv6.dport = bpf_htons(q.key.client_port);
	}
	struct bpf_sock *sk = size == sizeof(t.ipv4) ? bpf_sk_lookup_udp(skb, &t, sizeof(t.ipv4), BPF_F_CURRENT_NETNS, 0)
						     : bpf_sk_lookup_udp(skb, &t, sizeof(t.ipv6), BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return 0;
	struct flow *f = bpf_sk_storage_get(&sockets, sk, 0, 0);
	if (f) {
		q.flow = *f;
		bpf_skb_store_bytes(skb, 0, &q, sizeof(q), 0);
	}
	bpf_sk_release(sk);
	return f ? 1 : 0;
}
