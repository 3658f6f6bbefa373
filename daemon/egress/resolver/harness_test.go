// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"cmp"
	"context"
	"hash/maphash"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/seed-649e9bbc/paddock/daemon/egress"
	"github.com/seed-649e9bbc/paddock/daemon/policy"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// upstream is a DNS server of the test's own.
type upstream struct {
	t    *testing.T
	addr string

	mu    sync.Mutex
	asked []string
	raw   [][]byte
	// answer makes a reply's records; nil: none at all, ever
	answer func(q dnsmessage.Question) (dnsmessage.RCode, []dnsmessage.Resource)
	// big makes UDP replies truncated
	big atomic.Bool
}

func newUpstream(t *testing.T, answer func(q dnsmessage.Question) (dnsmessage.RCode, []dnsmessage.Resource)) *upstream {
	t.Helper()
	u := &upstream{t: t, answer: answer}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	must(t, err)
	u.addr = l.Addr().String()
	c, err := net.ListenPacket("udp4", u.addr)
	must(t, err)
	t.Cleanup(func() { l.Close(); c.Close() })
	go func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			if out := u.reply(buf[:n], u.big.Load()); out != nil {
				_, _ = c.WriteTo(out, from)
			}
		}
	}()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				buf := make([]byte, 4096)
				for {
					n, err := readFramed(conn, buf)
					if err != nil {
						return
					}
					if out := u.reply(buf[:n], false); out != nil {
						_ = writeFramed(conn, out)
					}
				}
			}()
		}
	}()
	return u
}

func (u *upstream) reply(raw []byte, cut bool) []byte {
	var m dnsmessage.Message
	if m.Unpack(raw) != nil || len(m.Questions) != 1 {
		return nil
	}
	u.mu.Lock()
	u.asked = append(u.asked, m.Questions[0].Name.String()+" "+typeName(m.Questions[0].Type))
	u.raw = append(u.raw, slices.Clone(raw))
	u.mu.Unlock()
	if u.answer == nil {
		return nil
	}
	out := dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true, AuthenticData: true}, Questions: m.Questions}
	if cut {
		out.Truncated = true
	} else {
		out.RCode, out.Answers = u.answer(m.Questions[0])
	}
	packed, err := out.Pack()
	if err != nil {
		u.t.Error(err)
	}
	return packed
}

func (u *upstream) questions() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.asked)
}

type recorder struct {
	mu     sync.Mutex
	events []telemetry.Event
}

func (r *recorder) Record(_ context.Context, events ...telemetry.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, events...)
	return nil
}

func (r *recorder) reasons() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, e := range r.events {
		out = append(out, e.Attrs[telemetry.AttrDNSQuestionName].(string)+": "+e.Attrs[telemetry.AttrDecisionReason].(string))
	}
	return out
}

// bench is a resolver with one server and a client.
type bench struct {
	*Resolver
	t      *testing.T
	up     *upstream
	events *recorder

	mu  sync.Mutex
	who egress.Flow
	err error
	// others are the sessions of clients that are not who.
	others map[netip.AddrPort]string
	// slow is what the session "flood" waits for until it is recognised.
	slow chan struct{}

	observing atomic.Bool
	allowing  atomic.Bool // unfamiliar = "allow"
}

var seed = maphash.MakeSeed()

func (b *bench) setWho(f egress.Flow, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.who, b.err = f, err
}

func newBench(t *testing.T, answer func(q dnsmessage.Question) (dnsmessage.RCode, []dnsmessage.Resource)) *bench {
	t.Helper()
	b := &bench{t: t, up: newUpstream(t, answer), events: &recorder{}, who: egress.Flow{Session: "S1", Agent: "codex", PID: 7}, slow: make(chan struct{})}
	file := filepath.Join(t.TempDir(), "hosts")
	must(t, os.WriteFile(file, []byte("10.9.8.7 build.corp build # ours\n"), 0o644))
	b.Resolver = New(Config{
		Who: func(_ bool, client, _ netip.AddrPort) (egress.Flow, error) {
			b.mu.Lock()
			session, who, err := b.others[client], b.who, b.err
			b.mu.Unlock()
			if session == "flood" {
				<-b.slow
			}
			if session != "" {
				return egress.Flow{Session: session}, nil
			}
			return who, err
		},
		Whose: func(_ bool, client, _ netip.AddrPort) uint64 {
			b.mu.Lock()
			defer b.mu.Unlock()
			return maphash.String(seed, cmp.Or(b.others[client], b.who.Session))
		},
		Judge: func(h policy.Host) policy.HostVerdict {
			switch {
			case under(h.Name(), "denied.test"):
				return policy.HostVerdict{Cause: policy.CauseDenied, Rule: "**.denied.test", Source: "req.toml", Line: 3, Reason: "by rule"}
			case under(h.Name(), "allowed.test"):
				return policy.HostVerdict{Decision: policy.NetAllow, Cause: policy.CauseAllowed, Rule: "**.allowed.test"}
			case b.allowing.Load():
				return policy.HostVerdict{Decision: policy.NetAllow, Cause: policy.CauseAllowed}
			}
			return policy.HostVerdict{Cause: policy.CauseNotAllowed}
		},
		Events: b.events, Hosts: file, Observing: func() bool { return b.observing.Load() },
	})
	b.Resolver.up.path = "/dev/null"
	b.Resolver.up.checked = time.Now().Add(24 * time.Hour)
	b.setServers(5*time.Second, b.up.addr)
	b.routes.checked, b.routes.six = time.Now().Add(24*time.Hour), true
	// Here a second is over with each question: how many there may be in one is no matter
	// of what is asked. TestGate is about that.
	var seconds atomic.Int64
	b.udpGate.clock = func() time.Time { return time.Unix(seconds.Add(1), 0) }
	must(t, b.Start(t.Context()))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		must(t, b.Shutdown(ctx))
	})
	return b
}

// client is a socket of another session.
func (b *bench) client(network, session string) net.Conn {
	b.t.Helper()
	port := b.Ports().UDP4
	if network == "tcp4" {
		port = b.Ports().TCP4
	}
	// It has an address before anybody is there to be asked whose that is.
	b.mu.Lock()
	defer b.mu.Unlock()
	c, err := net.Dial(network, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port).String())
	must(b.t, err)
	b.t.Cleanup(func() { c.Close() })
	if b.others == nil {
		b.others = map[netip.AddrPort]string{}
	}
	b.others[netip.MustParseAddrPort(c.LocalAddr().String())] = session
	return c
}

func (b *bench) setServers(timeout time.Duration, list ...string) {
	b.Resolver.up.mu.Lock()
	defer b.Resolver.up.mu.Unlock()
	b.Resolver.up.servers = servers{list: list, timeout: timeout, attempts: 1}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// ask sends one question over UDP.
func (b *bench) ask(name string, t dnsmessage.Type) dnsmessage.Message {
	b.t.Helper()
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 4711, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: t, Class: dnsmessage.ClassINET}},
	}
	return b.send("udp4", m)
}

func (b *bench) send(network string, m dnsmessage.Message) dnsmessage.Message {
	b.t.Helper()
	packed, err := m.Pack()
	must(b.t, err)
	out, err := b.exchange(network, packed)
	must(b.t, err)
	var got dnsmessage.Message
	must(b.t, got.Unpack(out))
	if !got.Response || got.ID != m.ID {
		b.t.Fatalf("no answer to our question: %+v", got.Header)
	}
	return got
}

func (b *bench) exchange(network string, packed []byte) ([]byte, error) {
	port := b.Ports().UDP4
	if network == "tcp4" {
		port = b.Ports().TCP4
	}
	c, err := net.Dial(network, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port).String())
	must(b.t, err)
	defer c.Close()
	must(b.t, c.SetDeadline(time.Now().Add(20*time.Second)))
	buf := make([]byte, 64<<10)
	var n int
	if network == "tcp4" {
		must(b.t, writeFramed(c, packed))
		n, err = readFramed(c, buf)
	} else {
		_, err = c.Write(packed)
		must(b.t, err)
		n, err = c.Read(buf)
	}
	return buf[:n], err
}

func record(name string, ttl uint32, body dnsmessage.ResourceBody) dnsmessage.Resource {
	return dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(name), Class: dnsmessage.ClassINET, TTL: ttl}, Body: body}
}

func a(ip string) *dnsmessage.AResource {
	return &dnsmessage.AResource{A: netip.MustParseAddr(ip).As4()}
}

func alias(to string) *dnsmessage.CNAMEResource {
	return &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName(to)}
}

// addresses of an answer.
func addresses(m dnsmessage.Message) []string {
	var out []string
	for _, r := range m.Answers {
		switch body := r.Body.(type) {
		case *dnsmessage.AResource:
			out = append(out, netip.AddrFrom4(body.A).String())
		case *dnsmessage.AAAAResource:
			out = append(out, netip.AddrFrom16(body.AAAA).String())
		}
	}
	return out
}

func same(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}
