// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/seed-649e9bbc/paddock/daemon/egress"
)

const (
	// answerLimit is how long a client's question may take; its own patience is less.
	answerLimit = 15 * time.Second
	// idleLimit is how long a TCP connection may say nothing: RFC 7766, 6.2.3.
	idleLimit = 10 * time.Second
	// maxQuestions is how many one TCP connection may ask.
	maxQuestions = 1000
	// biggest is what is read of a question: a name, and room for EDNS.
	biggest = 4096
)

func (r *Resolver) serveUDP(c *net.UDPConn) {
	makeRoom(c)
	server := c.LocalAddr().(*net.UDPAddr).AddrPort()
	buf := make([]byte, biggest)
	for {
		n, client, err := c.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an ICMP error for a client that is gone
		}
		whose, ok := r.udpGate.enter(client, server)
		if !ok {
			r.stats.dropped.Add(1)
			continue
		}
		raw := append([]byte(nil), buf[:n]...)
		r.work.Go(func() {
			defer r.udpGate.leave(whose)
			who, err := r.config.Who(true, client, server)
			if err != nil {
				r.stats.nobody.Add(1)
				return
			}
			if out := r.answer(r.ctx, who, raw, false); out != nil {
				_, _ = c.WriteToUDPAddrPort(out, client)
			}
		})
	}
}

func (r *Resolver) serveTCP(l net.Listener) {
	server := l.Addr().(*net.TCPAddr).AddrPort()
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			r.config.Log.Error("accepting a DNS client", "error", err)
			time.Sleep(10 * time.Millisecond) // too many files are open
			continue
		}
		whose, ok := r.tcpGate.enter(c.RemoteAddr().(*net.TCPAddr).AddrPort(), server)
		if !ok {
			r.stats.dropped.Add(1)
			c.Close()
			continue
		}
		r.work.Go(func() {
			defer r.tcpGate.leave(whose)
			defer c.Close()
			r.converse(c)
		})
	}
}

// converse answers one connection's questions, one after the other.
func (r *Resolver) converse(c net.Conn) {
	client, server := c.RemoteAddr().(*net.TCPAddr).AddrPort(), c.LocalAddr().(*net.TCPAddr).AddrPort()
	who, err := r.config.Who(false, client, server)
	if err != nil {
		r.stats.nobody.Add(1)
		return
	}
	stop := context.AfterFunc(r.ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	buf := make([]byte, biggest)
	for range maxQuestions {
		if r.ctx.Err() != nil || c.SetDeadline(time.Now().Add(idleLimit)) != nil {
			return
		}
		n, err := readFramed(c, buf)
		if err != nil {
			return
		}
		out := r.answer(r.ctx, who, buf[:n], true)
		if out == nil {
			return
		}
		if c.SetDeadline(time.Now().Add(idleLimit)) != nil || writeFramed(c, out) != nil {
			return
		}
	}
}

// answer returns the bytes of the answer to a client's message; nil for none.
func (r *Resolver) answer(ctx context.Context, who egress.Flow, raw []byte, tcp bool) []byte {
	q, code, ok := read(raw)
	if !ok {
		return nil
	}
	r.stats.questions.Add(1)
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	m := q.reply(code)
	if code == dnsmessage.RCodeSuccess {
		m = r.resolve(ctx, who, &q)
	}
	limit := q.size
	if tcp {
		limit = 0xffff
	}
	out, err := q.pack(&m, limit)
	if err != nil {
		// A record that was read but cannot be written: the client gets none of it.
		failed := q.reply(dnsmessage.RCodeServerFailure)
		out, err = q.pack(&failed, limit)
	}
	if err != nil {
		return nil
	}
	return out
}

// resolve answers a question that can be understood.
func (r *Resolver) resolve(ctx context.Context, who egress.Flow, q *question) dnsmessage.Message {
	if m, ok := special(q); ok {
		return m
	}
	if q.asked.Type == dnsmessage.TypeAAAA && !r.routes.haveSix() {
		return q.reply(dnsmessage.RCodeSuccess) // no such record
	}
	a, refused, err := r.lookUp(ctx, who, q)
	if err == nil && refused != nil {
		r.tell(ctx, who, q, refused)
	}
	switch {
	case err != nil:
		r.stats.failed.Add(1)
		r.config.Log.Debug("resolving", "name", q.name, "error", err)
		return q.reply(dnsmessage.RCodeServerFailure)
	case refused != nil && refused.enforced:
		return q.reply(refused.code)
	}
	return a.message
}

// lookUp judges a name, asks for it, judges what it is an alias of, and remembers the
// addresses. What is refused has no answer, unless that is only observed.
func (r *Resolver) lookUp(ctx context.Context, who egress.Flow, q *question) (answered, *refusal, error) {
	enforced := !r.config.Observing()
	no, free := r.judge(q)
	if no != nil && enforced {
		no.enforced = true
		return answered{}, no, nil
	}
	r.given.begin(who.Session)
	m, over, err := r.ask(ctx, who, q, free, enforced)
	if no == nil {
		no = over
	}
	if err != nil {
		return answered{}, nil, err
	}
	if m == nil {
		no.enforced = true
		return answered{}, no, nil
	}
	a := sift(q, m)
	for _, alias := range a.names[1:] {
		if no != nil {
			break
		}
		if no = r.denied(alias); no != nil {
			no.alias = alias
		}
	}
	if no != nil && enforced {
		no.enforced = true
		return answered{}, no, nil
	}
	r.given.bind(who.Session, q.name, a.addresses, a.ttl)
	return a, no, nil
}

// errFailing says that a question failed more than once, and is not passed on for a moment.
var errFailing = errors.New("no server answered a moment ago")

// ask passes a question on, unless it is about a name that no rule allows, and is too much
// of that. Then there is the answer of before, or none.
func (r *Resolver) ask(ctx context.Context, who egress.Flow, q *question, free, enforced bool) (*dnsmessage.Message, *refusal, error) {
	full, err := dnsmessage.NewName(q.name + ".")
	if err != nil {
		return nil, nil, err
	}
	// In our own spelling: upper and lower case can carry data too.
	ours := dnsmessage.Question{Name: full, Type: q.asked.Type, Class: q.asked.Class}
	if free {
		m, err := r.up.exchange(ctx, ours, q.want)
		return m, nil, err
	}
	q.want.dnssec = false // what is called a signature can be anything
	key := keptKey{q.name, q.asked.Type, q.want}
	var no *refusal
	switch pass, counts, m := r.said.repeated(who.Session, key); {
	case counts:
		if over, first := r.said.ask(who.Session, q.name); over != "" {
			no = tooMuch(over, first)
		}
		if no != nil && enforced {
			return nil, no, nil
		}
	case pass:
	case m != nil:
		return m, nil, nil
	default:
		return nil, nil, errFailing
	}
	m, err := r.up.exchange(ctx, ours, q.want)
	r.said.keep(who.Session, key, m)
	return m, no, err
}

// special answers names that no server is asked for.
func special(q *question) (dnsmessage.Message, bool) {
	if addresses := localAddresses(q.name); addresses != nil {
		m := q.reply(dnsmessage.RCodeSuccess)
		h := dnsmessage.ResourceHeader{Name: q.asked.Name, Class: dnsmessage.ClassINET, TTL: 60}
		for _, a := range addresses {
			switch {
			case a.Is4() && q.asked.Type == dnsmessage.TypeA:
				m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: a.As4()}})
			case a.Is6() && q.asked.Type == dnsmessage.TypeAAAA:
				m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: a.As16()}})
			}
		}
		return m, true
	}
	for _, domain := range nowhere {
		if under(q.name, domain) {
			return q.reply(dnsmessage.RCodeNameError), true
		}
	}
	return dnsmessage.Message{}, false
}

// nowhere are domains without servers: RFC 6761, 6762, 7686, 9476; and two that
// clients ask for to learn whether they may go around the resolver: Firefox's canary
// (support.mozilla.org, "canary domain") and RFC 9462.
var nowhere = []string{"invalid", "local", "onion", "alt", "use-application-dns.net", "resolver.arpa"}

// localAddresses are those of localhost and names below it: RFC 6761, 6.3.
func localAddresses(name string) []netip.Addr {
	if !under(name, "localhost") {
		return nil
	}
	return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
}
