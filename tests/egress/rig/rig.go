// SPDX-License-Identifier: Apache-2.0

// Package rig is a managed network without a kernel: the real engine, and in place of
// the redirect, the resolver, the person and the store, doubles that tests command.
package rig

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/egress"
	"github.com/seed-649e9bbc/paddock/daemon/policy"
	"github.com/seed-649e9bbc/paddock/daemon/policy/codex"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// Session is whose every connection is, unless Flow says otherwise.
const Session = "01SESSION"

// Requirements allow loopback, where all servers of tests are, and nothing by name
// that a test does not add.
const Requirements = `
[experimental_network]
enabled = true
allow_local_binding = true
review_domains = ["review.test"]
[experimental_network.domains]
"allowed.test" = "allow"
"**.wild.test" = "allow"
"other.test" = "allow"
"**.denied.test" = "deny"
`

// Rig is an engine and its doubles.
type Rig struct {
	*egress.Engine
	Names  *Names
	Asker  *Asker
	Events *Events
	// Flow is what the origin of the next listener says, but for Dest.
	Flow egress.Flow
}

// Options change what New makes.
type Options struct {
	Requirements string // "": Requirements
	Observe      bool
	Limits       egress.Limits
	Change       func(*egress.Policy)
	// Own are the addresses of the machine; nil: those it has.
	Own []netip.Addr
	// Dialer reaches the destinations.
	Dialer net.Dialer
	// Nobody says that nobody can be asked.
	Nobody bool
}

// Start makes an engine that nobody shuts down.
func Start(o Options) (*Rig, error) {
	r := &Rig{
		Names: &Names{bound: map[netip.Addr][]string{}, known: map[string][]netip.Addr{}}, Asker: NewAsker(), Events: &Events{},
		Flow: egress.Flow{Session: Session, Agent: "codex", PID: 4242, Start: 7, UID: 1000, Exe: "/usr/bin/curl"},
	}
	var asker egress.Asker = r.Asker
	if o.Nobody {
		asker = egress.DenyAll{}
	}
	var err error
	options := egress.Options{Names: r.Names, Asker: asker, Recorder: r.Events, Limits: o.Limits, Dialer: o.Dialer, Log: Silent()}
	if o.Own != nil {
		options.OwnAddrs = func() (all []net.Addr, _ error) {
			for _, a := range o.Own {
				all = append(all, &net.IPNet{IP: a.AsSlice()})
			}
			return all, nil
		}
	}
	r.Engine, err = egress.New(options)
	if err != nil {
		return nil, err
	}
	p, err := compile(o)
	r.Apply(p)
	return r, err
}

// New makes an engine that is shut down with the test.
func New(t testing.TB, o Options) *Rig {
	t.Helper()
	r, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := r.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return r
}

// Policy compiles requirements.
func Policy(t testing.TB, o Options) egress.Policy {
	t.Helper()
	p, err := compile(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func compile(o Options) (egress.Policy, error) {
	text := o.Requirements
	if text == "" {
		text = Requirements
	}
	req, err := policy.ParseLayer(codex.Layer{Name: "test.toml", Kind: codex.System, Data: []byte(text)}, policy.Subject{})
	if err != nil {
		return egress.Policy{}, err
	}
	p := egress.Policy{Hosts: policy.CompileHosts(policy.Merge(req)), Mode: policy.Enforce, Generation: 1}
	if o.Observe {
		p.Mode = policy.Observe
	}
	if o.Change != nil {
		o.Change(&p)
	}
	return p, nil
}

// Redirect listens as the kernel's redirect would lead connections to dest there. It
// returns the address to connect to.
func (r *Rig) Redirect(t testing.TB, dest netip.AddrPort) string {
	t.Helper()
	l, to := listen(t), r.To(dest)
	go func() {
		if err := r.Serve(l, to); err != nil {
			t.Error(err)
		}
	}()
	return l.Addr().String()
}

// To says of every connection that it wanted to go to dest.
func (r *Rig) To(dest netip.AddrPort) egress.Origin {
	flow := r.Flow
	flow.Dest = dest
	return origin(func(*net.TCPConn) (egress.Flow, error) { return flow, nil })
}

// Proxy listens as an explicit proxy.
func (r *Rig) Proxy(t testing.TB, want egress.Credentials) string {
	t.Helper()
	l, to := listen(t), r.To(netip.AddrPort{})
	go func() {
		if err := r.ServeProxy(l, to, want); err != nil {
			t.Error(err)
		}
	}()
	return l.Addr().String()
}

func loopback() netip.AddrPort { return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0) }

func listen(t testing.TB) *net.TCPListener {
	t.Helper()
	l, err := egress.Listen(t.Context(), loopback())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

type origin func(*net.TCPConn) (egress.Flow, error)

// Flow says whose a connection is.
func (o origin) Flow(c *net.TCPConn) (egress.Flow, error) { return o(c) }

// Names is a resolver that knows what it was told.
type Names struct {
	mu    sync.Mutex
	bound map[netip.Addr][]string
	known map[string][]netip.Addr
	asked []string
	// refused is what policy does not let anybody ask for.
	refused string
}

// Bind makes the session have been given addr for name.
func (n *Names) Bind(name string, addr netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.bound[addr] = append([]string{name}, n.bound[addr]...)
	n.known[name] = append(n.known[name], addr)
}

// Know makes a name resolve, which the session has not asked for.
func (n *Names) Know(name string, addrs ...netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.known[name] = addrs
}

// Refuse makes the resolver refuse a name.
func (n *Names) Refuse(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.refused = name
}

// Asked returns the names that were resolved.
func (n *Names) Asked() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.asked)
}

// NamesOf is of egress.Names.
func (n *Names) NamesOf(session string, addr netip.Addr) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if session != Session {
		return nil
	}
	return slices.Clone(n.bound[addr])
}

// Resolve is of egress.Names.
func (n *Names) Resolve(_ context.Context, _, name string) ([]netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked = append(n.asked, name)
	if addrs := n.known[name]; len(addrs) > 0 {
		return slices.Clone(addrs), nil
	}
	if name == n.refused {
		return nil, fmt.Errorf("resolving %s: %w", name, egress.ErrRefused)
	}
	return nil, errors.New("no such host")
}

// Asker is the person.
type Asker struct {
	// Questions has each question when it is asked.
	Questions chan egress.Unfamiliar
	// Ended has the cause when a question is not open any more.
	Ended   chan error
	answers chan egress.Answer
}

// NewAsker makes one that says nothing yet.
func NewAsker() *Asker {
	return &Asker{Questions: make(chan egress.Unfamiliar, 1000), Ended: make(chan error, 1000), answers: make(chan egress.Answer, 1000)}
}

// Answer gives the next answer.
func (a *Asker) Answer(answer egress.Answer) { a.answers <- answer }

// Ask is of egress.Asker.
func (a *Asker) Ask(ctx context.Context, u egress.Unfamiliar) (egress.Answer, error) {
	a.Questions <- u
	select {
	case answer := <-a.answers:
		return answer, nil
	case <-ctx.Done():
		a.Ended <- context.Cause(ctx)
		return egress.Answer{}, ctx.Err()
	}
}

// Events keeps what was recorded.
type Events struct {
	mu      sync.Mutex
	all     []telemetry.Event
	changed chan struct{}
	none    bool
}

// Record is of egress.Recorder.
func (e *Events) Record(_ context.Context, events ...telemetry.Event) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.none {
		e.all = append(e.all, events...)
	}
	if e.changed != nil {
		close(e.changed)
		e.changed = nil
	}
	return nil
}

// Forget keeps no events from now on.
func (e *Events) Forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.none = true
}

// Wait returns the events when there are n.
func (e *Events) Wait(t testing.TB, n int) []telemetry.Event {
	t.Helper()
	return e.wait(t, n, func(telemetry.Event) bool { return true })
}

// Ends returns the events of the ends of connections, when there are n.
func (e *Events) Ends(t testing.TB, n int) []telemetry.Event {
	t.Helper()
	return e.wait(t, n, func(event telemetry.Event) bool { return event.Attrs[telemetry.AttrConnectionFirst] == nil })
}

func (e *Events) wait(t testing.TB, n int, which func(telemetry.Event) bool) []telemetry.Event {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		e.mu.Lock()
		var have []telemetry.Event
		for _, event := range e.all {
			if which(event) {
				have = append(have, event)
			}
		}
		if len(have) >= n {
			e.mu.Unlock()
			return have
		}
		if e.changed == nil {
			e.changed = make(chan struct{})
		}
		changed := e.changed
		e.mu.Unlock()
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("%d events, want %d", len(have), n)
		}
	}
}

// Silent logs nothing.
func Silent() *slog.Logger { return slog.New(slog.DiscardHandler) }
