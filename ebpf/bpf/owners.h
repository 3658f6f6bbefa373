// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Whose socket is there? A session may talk to what it itself listens on, on loopback.
 *
 * Who is there is found out when it connects, and once more when its packets leave: of
 * TCP with the first one that follows the answer to its SYN. The kernel has it by then that
 * the connection is the listener's that took the SYN, and nobody accepts it before
 * that packet: so who takes the port between the two gets neither connection nor data.
 */
#pragma once

#define TCP_FLAG_SYN 0x02
#define DNS_PORT 53
#define DNS_OVER_TLS_PORT 853

INLINE bool is_four(const __u8 *a)
{
	const __u32 *w = (const __u32 *)a;
	return w[0] == 0 && w[1] == 0 && w[2] == bpf_htonl(0xffff);
}

/* 127.0.0.0/8, ::1, and the unspecified addresses, which lead there. */
INLINE bool on_loopback(const __u8 *a)
{
	const __u32 *w = (const __u32 *)a;
	if (is_four(a))
		return a[12] == 127 || w[3] == 0;
	return w[0] == 0 && w[1] == 0 && w[2] == 0 && (w[3] == 0 || w[3] == bpf_htonl(1));
}

/* 127.255.255.255, and 127.0.0.0 up to 5.13: of a datagram for it every socket gets one
 * that is bound to every address. */
INLINE bool is_broadcast(const __u8 *a)
{
	const __u32 *w = (const __u32 *)a;
	return is_four(a) && (w[3] == bpf_htonl(0x7fffffff) || w[3] == bpf_htonl(0x7f000000));
}

INLINE void four_address(__u8 *to, __u32 ip)
{
	__builtin_memset(to, 0, 10);
	to[10] = 0xff;
	to[11] = 0xff;
	__builtin_memcpy(to + 12, &ip, 4);
}

/* Where governed traffic is sent. */
INLINE struct egress *egress_now(void)
{
	__u32 zero = 0;
	return bpf_map_lookup_elem(&homes, &zero);
}

INLINE bool is_listener(const struct egress *e, __u16 port)
{
	if (!port)
		return false;
	for (__u32 i = 0; i < LISTENERS; i++)
		if (e->ports[i] == port)
			return true;
	return false;
}

INLINE bool egress_is_watched(void)
{
	__u32 zero = 0;
	__u32 *watched = bpf_map_lookup_elem(&egress_watched, &zero);
	return watched && *watched;
}

/* A socket is the session's whose process makes it: where somebody asks, since it costs an
 * allocation. One from before is nobody's. */
INLINE void own(struct bpf_sock *ctx)
{
	if (!egress_is_watched() || (ctx->family != AF_INET && ctx->family != AF_INET6))
		return;
	struct proc *p = governed(current_tgid());
	if (!p)
		return;
	struct owner whose = { .session = p->session };
	/* Without memory it is nobody's, and its clients are judged like others. */
	bpf_sk_storage_get(&owners, ctx, &whose, BPF_SK_STORAGE_GET_F_CREATE);
}

/*
 * The addresses of a packet to d, which is on loopback. Of a datagram the port it comes
 * from is known, unless it is the socket's first: a socket that is connected takes only
 * what comes from its peer.
 */
INLINE void tuple_to(struct bpf_sock_addr *ctx, struct bpf_sock_tuple *t, const struct destination *d)
{
	const __u32 *w = (const __u32 *)d->addr;
	__u32 last = w[3];
	struct bpf_sock *sk = d->protocol == NET_UDP ? ctx->sk : 0;
	__u16 port = sk ? bpf_htons(sk->src_port) : 0;

	if (is_four(d->addr)) {
		__u32 from = sk ? sk->src_ip4 : 0;
		t->ipv4.daddr = last ? last : bpf_htonl(0x7f000001);
		t->ipv4.saddr = from ? from : bpf_htonl(0x7f000001);
		t->ipv4.sport = port;
		t->ipv4.dport = bpf_htons(d->port);
		return;
	}
	t->ipv6.daddr[3] = bpf_htonl(1);
	t->ipv6.saddr[3] = bpf_htonl(1);
	t->ipv6.sport = port;
	t->ipv6.dport = bpf_htons(d->port);
}

INLINE void owner_of(struct bpf_sock *sk, struct owner *whose)
{
	struct owner *o = bpf_sk_storage_get(&owners, sk, 0, 0);
	if (o)
		*whose = *o;
}

/* True if somebody listens where a stream to loopback would go. */
INLINE bool who_listens(struct bpf_sock_addr *ctx, const struct destination *d, struct owner *whose)
{
	struct bpf_sock_tuple t = {};
	tuple_to(ctx, &t, d);
	struct bpf_sock *sk = is_four(d->addr) ? bpf_sk_lookup_tcp(ctx, &t, sizeof(t.ipv4), BPF_F_CURRENT_NETNS, 0)
					       : bpf_sk_lookup_tcp(ctx, &t, sizeof(t.ipv6), BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return false;
	owner_of(sk, whose);
	bpf_sk_release(sk);
	return true;
}

/* A field of a socket; a compiler would have a pointer into it, which the verifier forbids. */
#define FIELD(sk, field)                                                               \
	({                                                                             \
		__u32 value;                                                           \
		asm volatile("%0 = *(u32 *)(%1 + %2)"                                  \
			     : "=r"(value)                                             \
			     : "r"(sk), "i"(__builtin_offsetof(struct bpf_sock, field))); \
		value;                                                                 \
	})

/* Whether a socket is connected to where this comes from, by the same user. */
INLINE bool awaits(struct bpf_sock *sk, const struct bpf_sock_tuple *t, bool four, __u32 uid)
{
	struct owner *o = bpf_sk_storage_get(&owners, sk, 0, 0);
	if (!o || o->session || !o->client || o->client != uid)
		return false;
	__u16 peer = FIELD(sk, dst_port);
	if (four)
		return peer == t->ipv4.sport && FIELD(sk, dst_ip4) == t->ipv4.saddr;
	return peer == t->ipv6.sport && FIELD(sk, dst_ip6[0]) == t->ipv6.saddr[0] && FIELD(sk, dst_ip6[1]) == t->ipv6.saddr[1] &&
	       FIELD(sk, dst_ip6[2]) == t->ipv6.saddr[2] && FIELD(sk, dst_ip6[3]) == t->ipv6.saddr[3];
}

/* True if somebody has a socket where a datagram to loopback would go; *client: one that
 * awaits it. */
INLINE bool who_receives(struct bpf_sock_addr *ctx, const struct destination *d, struct owner *whose, bool *client)
{
	struct bpf_sock_tuple t = {};
	tuple_to(ctx, &t, d);
	struct bpf_sock *sk = is_four(d->addr) ? bpf_sk_lookup_udp(ctx, &t, sizeof(t.ipv4), BPF_F_CURRENT_NETNS, 0)
					       : bpf_sk_lookup_udp(ctx, &t, sizeof(t.ipv6), BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return false;
	owner_of(sk, whose);
	*client = awaits(sk, &t, is_four(d->addr), current_uid());
	bpf_sk_release(sk);
	return true;
}

/*
 * A socket for datagrams that its user connected to one of a session's: it takes nothing from
 * anybody else, so it is no server. It is answered by who has the same user: a program that has
 * another may be what the machine resolves names with, or asks the time. So may root's, and a
 * socket that is connected to a DNS server.
 */
INLINE void connects_to_a_session(struct bpf_sock_addr *ctx, const struct destination *d)
{
	if (d->protocol != NET_UDP || d->port == DNS_PORT || d->port == DNS_OVER_TLS_PORT || !on_loopback(d->addr) ||
	    !egress_is_watched() || !ctx->sk)
		return;
	struct owner there = {};
	bool client = false;
	if (!who_receives(ctx, d, &there, &client) || !there.session)
		return;
	struct owner *o = bpf_sk_storage_get(&owners, ctx->sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (o && !o->session)
		o->client = current_uid();
}

/* ---- on their way ----------------------------------------------------------- */

/* A packet on loopback. */
struct packet {
	struct bpf_sock_tuple tuple; /* as its receiver looks for its socket */
	struct destination to;
	bool four;
	bool syn;
	bool loaded; /* carries data */
};

/* False: it is unusual, and nobody knows where it goes. */
INLINE bool read_packet(struct __sk_buff *skb, struct packet *p)
{
	__u8 ip[40];
	__u8 tcp[20];
	__u32 head = 20, ports;

	if (bpf_skb_load_bytes(skb, 0, ip, 20))
		return false;
	p->four = ip[0] == 0x45; /* no options */
	if (p->four) {
		p->to.protocol = ip[9] == IPPROTO_TCP ? NET_TCP : ip[9] == IPPROTO_UDP ? NET_UDP : 0;
		__builtin_memcpy(&p->tuple.ipv4.saddr, ip + 12, 4);
		__builtin_memcpy(&p->tuple.ipv4.daddr, ip + 16, 4);
		four_address(p->to.addr, p->tuple.ipv4.daddr);
	} else {
		if (ip[0] >> 4 != 6 || bpf_skb_load_bytes(skb, 0, ip, 40))
			return false;
		head = 40;
		p->to.protocol = ip[6] == IPPROTO_TCP ? NET_TCP : ip[6] == IPPROTO_UDP ? NET_UDP : 0;
		__builtin_memcpy(p->tuple.ipv6.saddr, ip + 8, 16);
		__builtin_memcpy(p->tuple.ipv6.daddr, ip + 24, 16);
		__builtin_memcpy(p->to.addr, ip + 24, 16);
	}
	if (!p->to.protocol || bpf_skb_load_bytes(skb, head, &ports, 4))
		return false;
	if (p->four)
		__builtin_memcpy(&p->tuple.ipv4.sport, &ports, 4);
	else
		__builtin_memcpy(&p->tuple.ipv6.sport, &ports, 4);
	p->to.port = bpf_ntohs(ports >> 16);
	if (p->to.protocol == NET_TCP) {
		if (bpf_skb_load_bytes(skb, head, tcp, 20))
			return false;
		p->syn = tcp[13] & TCP_FLAG_SYN;
		p->loaded = skb->len > head + (tcp[12] >> 4) * 4;
	}
	return true;
}

/* Of what a packet may find. */
enum finder { FINDS_NOBODY, FINDS_SESSION, FINDS_STRANGER };

INLINE enum finder finds(struct bpf_sock *sk, __u64 session)
{
	struct owner *o = bpf_sk_storage_get(&owners, sk, 0, 0);
	return o && o->session == session ? FINDS_SESSION : FINDS_STRANGER;
}

INLINE enum finder finds_stream(struct __sk_buff *skb, struct packet *p, __u64 session)
{
	struct bpf_sock *sk = p->four ? bpf_skc_lookup_tcp(skb, &p->tuple, sizeof(p->tuple.ipv4), BPF_F_CURRENT_NETNS, 0)
				      : bpf_skc_lookup_tcp(skb, &p->tuple, sizeof(p->tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return FINDS_NOBODY;
	enum finder f = FINDS_NOBODY;
	struct bpf_sock *listener = bpf_get_listener_sock(sk); /* itself, or whose answer to a SYN it is */
	if (listener) {
		f = finds(listener, session);
	} else {
		struct bpf_sock *full = bpf_sk_fullsock(sk);
		if (full)
			f = finds(full, session);
	}
	bpf_sk_release(sk);
	return f;
}

/* Whether an answer to a datagram would come to the session: not to who shares its port. */
INLINE bool hears(struct __sk_buff *skb, const struct packet *p, __u64 session)
{
	struct bpf_sock_tuple t = {};
	if (p->four) {
		t.ipv4.saddr = p->tuple.ipv4.daddr;
		t.ipv4.sport = p->tuple.ipv4.dport;
		t.ipv4.daddr = p->tuple.ipv4.saddr;
		t.ipv4.dport = p->tuple.ipv4.sport;
	} else {
		__builtin_memcpy(t.ipv6.saddr, p->tuple.ipv6.daddr, 16);
		t.ipv6.sport = p->tuple.ipv6.dport;
		__builtin_memcpy(t.ipv6.daddr, p->tuple.ipv6.saddr, 16);
		t.ipv6.dport = p->tuple.ipv6.sport;
	}
	struct bpf_sock *sk = p->four ? bpf_sk_lookup_udp(skb, &t, sizeof(t.ipv4), BPF_F_CURRENT_NETNS, 0)
				      : bpf_sk_lookup_udp(skb, &t, sizeof(t.ipv6), BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return false;
	enum finder f = finds(sk, session);
	bpf_sk_release(sk);
	return f == FINDS_SESSION;
}

enum way { GOES_ASTRAY, WAITS, ARRIVES };

/*
 * Whether a packet goes where judge_near let it. Of TCP, what is for nobody may pass: the
 * kernel answers it, and whoever comes now does not take it for a connection. A datagram
 * would be taken.
 */
INLINE enum way arrives(struct __sk_buff *skb, struct flow *flow)
{
	struct packet p = {};
	if (!read_packet(skb, &p))
		return GOES_ASTRAY;
	if (p.to.protocol == NET_TCP) {
		/* Fast Open: its data would be there first. TCP is told, and sends a SYN without at once. */
		if (p.syn && p.loaded && flow->enforced)
			return WAITS;
		enum finder f = finds_stream(skb, &p, flow->session);
		if (p.syn && f == FINDS_NOBODY) { /* or the rest of a connection before, with the same ports */
			if (p.four)
				p.tuple.ipv4.sport = 0;
			else
				p.tuple.ipv6.sport = 0;
			f = finds_stream(skb, &p, flow->session);
		}
		if ((!p.syn || p.loaded) && f == FINDS_SESSION)
			flow->kind = FLOW_LOCAL;
		return f == FINDS_STRANGER ? GOES_ASTRAY : ARRIVES;
	}
	struct bpf_sock *sk = p.four ? bpf_sk_lookup_udp(skb, &p.tuple, sizeof(p.tuple.ipv4), BPF_F_CURRENT_NETNS, 0)
				     : bpf_sk_lookup_udp(skb, &p.tuple, sizeof(p.tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
	if (sk) {
		enum finder f = finds(sk, flow->session);
		bool client = awaits(sk, &p.tuple, p.four, flow->uid);
		bpf_sk_release(sk);
		if (f == FINDS_SESSION && !is_broadcast(p.to.addr))
			return ARRIVES;
		if (client && hears(skb, &p, flow->session))
			return ARRIVES;
	}
	/* Or for somebody else whom it may send to. */
	struct egress *e = egress_now();
	if (flow->kind == FLOW_DNS && e && is_listener(e, p.to.port))
		return ARRIVES;
	__u32 slot = 0;
	struct net_verdict v = {};
	if (policy_slot(&slot))
		return GOES_ASTRAY;
	judge_destination(slot, &p.to, &v);
	return v.decision == NET_ALLOW && v.rule != RULE_DEFAULT ? ARRIVES : GOES_ASTRAY;
}
