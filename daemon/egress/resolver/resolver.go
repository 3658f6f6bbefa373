// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/seed-649e9bbc/paddock/daemon/egress"
	"github.com/seed-649e9bbc/paddock/daemon/policy"
)

// Config is what a Resolver stands on. Who, Whose, Judge and Events are required.
type Config struct {
	// Who tells whose a question is: udp, or a TCP connection, from client to server.
	// Any error leaves it without an answer.
	Who func(udp bool, client, server netip.AddrPort) (egress.Flow, error)
	// Whose tells the same by a number, 0 for nobody, and without waiting for anything: so
	// much is known before a question may cost anything.
	Whose func(udp bool, client, server netip.AddrPort) uint64
	// Judge says what policy makes of a host, whatever the port.
	Judge func(policy.Host) policy.HostVerdict
	// Observing says whether what is refused is only told of. Nil: never.
	Observing func() bool
	// Events takes what is refused.
	Events egress.Recorder
	// Conf is the path of resolv.conf(5), and Hosts that of hosts(5), whose names are
	// believed as far as only root can write there. Empty: the system's own.
	Conf, Hosts string
	Log         *slog.Logger
}

// Resolver answers the DNS of sessions, and knows which names they were given for an
// address: it is the egress.Names of this machine. Make one with New, then Start it.
type Resolver struct {
	config Config
	up     *system
	hosts  *hosts
	given  *bindings
	said   *tunnels
	told   told
	routes routes
	stats  stats

	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup

	udpGate, tcpGate *gate // of questions, and of connections

	tcp   []net.Listener
	udp   []net.PacketConn
	ports Ports
}

// Ports are those the resolver listens on, of 127.0.0.1 and ::1. 0: it does not.
type Ports struct{ TCP4, TCP6, UDP4, UDP6 uint16 }

// Stats count what happened since the start.
type Stats struct {
	Questions uint64 // of known clients
	Nobody    uint64 // from clients nobody knows: no answer
	Denied    uint64 // names and types that policy denies
	Tunnels   uint64 // refused as too much said in names
	Failed    uint64 // no server answered
	Dropped   uint64 // too many of a session, or of all: no answer
}

type stats struct{ questions, nobody, denied, tunnels, failed, dropped atomic.Uint64 }

var _ egress.Names = (*Resolver)(nil)

// New makes a Resolver.
func New(c Config) *Resolver {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Observing == nil {
		c.Observing = func() bool { return false }
	}
	if c.Conf == "" {
		c.Conf = "/etc/resolv.conf"
	}
	if c.Hosts == "" {
		c.Hosts = "/etc/hosts"
	}
	r := &Resolver{
		config: c, up: &system{path: c.Conf}, hosts: &hosts{path: c.Hosts}, given: newBindings(time.Now),
		said: newTunnels(time.Now),
	}
	r.udpGate = newGate(time.Now, func(client, server netip.AddrPort) uint64 { return c.Whose(true, client, server) })
	r.tcpGate = newGate(time.Now, func(client, server netip.AddrPort) uint64 { return c.Whose(false, client, server) })
	r.told.init()
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

// Start listens on loopback. Without IPv6 there the machine has none to speak of.
func (r *Resolver) Start(context.Context) error {
	for _, at := range []struct {
		network, address string
		tcp, udp         *uint16
		optional         bool
	}{
		{"4", "127.0.0.1:0", &r.ports.TCP4, &r.ports.UDP4, false},
		{"6", "[::1]:0", &r.ports.TCP6, &r.ports.UDP6, true},
	} {
		l, err := net.Listen("tcp"+at.network, at.address)
		if err != nil && at.optional {
			continue
		}
		if err != nil {
			return fmt.Errorf("starting the resolver: %w", errors.Join(err, r.closeAll()))
		}
		r.tcp = append(r.tcp, l)
		*at.tcp = l.Addr().(*net.TCPAddr).AddrPort().Port()
		u, err := net.ListenPacket("udp"+at.network, at.address)
		if err != nil {
			return fmt.Errorf("starting the resolver: %w", errors.Join(err, r.closeAll()))
		}
		r.udp = append(r.udp, u)
		*at.udp = u.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	}
	for _, l := range r.tcp {
		r.work.Go(func() { r.serveTCP(l) })
	}
	for _, u := range r.udp {
		r.work.Go(func() { r.serveUDP(u.(*net.UDPConn)) })
	}
	return nil
}

// closeAll closes what is listened on. A start that failed can be tried again.
func (r *Resolver) closeAll() error {
	var errs []error
	for _, l := range r.tcp {
		errs = append(errs, l.Close())
	}
	for _, u := range r.udp {
		errs = append(errs, u.Close())
	}
	r.tcp, r.udp = nil, nil
	return errors.Join(errs...)
}

// Ports returns where it listens.
func (r *Resolver) Ports() Ports { return r.ports }

// Shutdown stops it.
func (r *Resolver) Shutdown(ctx context.Context) error {
	r.cancel()
	errs := []error{r.closeAll()}
	done := make(chan struct{})
	go func() {
		r.work.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		errs = append(errs, fmt.Errorf("stopping the resolver: %w", ctx.Err()))
	}
	return errors.Join(errs...)
}

// Stats returns the counts.
func (r *Resolver) Stats() Stats {
	return Stats{
		r.stats.questions.Load(), r.stats.nobody.Load(), r.stats.denied.Load(), r.stats.tunnels.Load(),
		r.stats.failed.Load(), r.stats.dropped.Load(),
	}
}

// Forget drops what is known of a session that has ended.
func (r *Resolver) Forget(session string) {
	r.given.forget(session)
	r.said.forget(session)
}

// NamesOf implements egress.Names. The names that hosts(5) has for an address come
// after those a session was given: its programs read that file by themselves.
func (r *Resolver) NamesOf(session string, addr netip.Addr) []string {
	names := r.given.namesOf(session, addr)
	for _, n := range r.hosts.namesOf(addr) {
		if !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return names
}

// ErrNoAddress is what Resolve returns for a name without an address.
var ErrNoAddress = errors.New("the name has no address")

// Resolve implements egress.Names.
func (r *Resolver) Resolve(ctx context.Context, session, name string) ([]netip.Addr, error) {
	if local := localAddresses(name); local != nil {
		return local, nil
	}
	if listed := r.hosts.addressesOf(name); len(listed) > 0 {
		return listed, nil
	}
	full, err := dnsmessage.NewName(name + ".")
	if err != nil {
		return nil, fmt.Errorf("resolving %q: %w", name, err)
	}
	var all []netip.Addr
	var errs []error
	for _, t := range []dnsmessage.Type{dnsmessage.TypeA, dnsmessage.TypeAAAA} {
		if t == dnsmessage.TypeAAAA && !r.routes.haveSix() {
			continue
		}
		q := question{asked: dnsmessage.Question{Name: full, Type: t, Class: dnsmessage.ClassINET}, name: name}
		a, v, err := r.lookUp(ctx, egress.Flow{Session: session}, &q)
		switch {
		case err != nil:
			errs = append(errs, err)
		case v != nil && v.enforced:
			if v.tunnel { // the other reasons are in the event of the connection
				r.tell(ctx, egress.Flow{Session: session}, &q, v)
			}
			return nil, fmt.Errorf("resolving %s: %w: %s", name, egress.ErrRefused, v.reason)
		default:
			all = append(all, a.addresses...)
		}
	}
	if len(all) > 0 {
		return all, nil
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("resolving %s: %w", name, err)
	}
	return nil, fmt.Errorf("resolving %s: %w", name, ErrNoAddress)
}
