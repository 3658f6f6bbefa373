// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http/httpproxy"

	"github.com/seed-649e9bbc/paddock/daemon/api"
	"github.com/seed-649e9bbc/paddock/daemon/egress"
	"github.com/seed-649e9bbc/paddock/daemon/egress/resolver"
	"github.com/seed-649e9bbc/paddock/daemon/enforce"
	"github.com/seed-649e9bbc/paddock/daemon/policy"
	"github.com/seed-649e9bbc/paddock/ebpf"
)

// network is the managed network: the proxy and the resolver, to which the kernel side
// sends what sessions do. It listens from the first requirements on that judge by name.
type network struct {
	d        *Daemon
	engine   *egress.Engine
	resolver *resolver.Resolver
	hosts    atomic.Pointer[policy.Hosts]
	observe  atomic.Bool

	mu      sync.Mutex
	started bool
	bridge  *bridge
	work    sync.WaitGroup
}

// longestHold is beyond every deadline of the queue of approvals, which is the one that
// counts.
const longestHold = 2 * time.Hour

func newNetwork(d *Daemon) (*network, error) {
	n := &network{d: d}
	n.hosts.Store(policy.CompileHosts(policy.Strictest()))
	n.resolver = resolver.New(resolver.Config{
		Who: n.asks, Whose: n.whose, Judge: n.judgeName, Observing: n.observe.Load, Events: d.store, Log: d.config.Log,
		Conf: filepath.Join(d.config.Root, "etc/resolv.conf"), Hosts: filepath.Join(d.config.Root, "etc/hosts"),
	})
	var err error
	n.engine, err = egress.New(egress.Options{
		Names: n.resolver, Recorder: d.store, Log: d.config.Log, Asker: asker{d.approvals, d.sessions},
		Limits: egress.Limits{Hold: longestHold},
	})
	return n, err
}

// managed says whether names make a difference under these requirements, and what
// becomes of loopback.
func managed(r *policy.Requirements) enforce.Managed {
	h := policy.CompileHosts(r)
	return enforce.Managed{ByName: h.ByName(), OwnListeners: h.OwnListeners(), LoopbackDenied: h.LoopbackDenied()}
}

// prepare makes sure that somebody listens, before a generation sends anybody here.
func (n *network) prepare(ctx context.Context, r *policy.Requirements) error {
	if !managed(r).ByName {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.started {
		return nil
	}
	four, err := egress.Listen(ctx, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0))
	if err != nil {
		return fmt.Errorf("starting the proxy: %w", err)
	}
	if err := n.resolver.Start(ctx); err != nil {
		four.Close()
		return err
	}
	listeners := []*net.TCPListener{four}
	dns := n.resolver.Ports()
	ports := ebpf.Listeners{
		Proxy4: port(four), DNS4: dns.TCP4, DNS6: dns.TCP6, DNSUDP4: dns.UDP4, DNSUDP6: dns.UDP6,
	}
	// Without IPv6 on loopback there is no IPv6 on the machine; what would go there is refused.
	if six, err := egress.Listen(ctx, netip.AddrPortFrom(netip.IPv6Loopback(), 0)); err == nil {
		listeners = append(listeners, six)
		ports.Proxy6 = port(six)
	}
	b, err := openBridge(ctx, n, n.d.config.bridgeSocket())
	if err != nil {
		return err
	}
	if err := errors.Join(n.d.ownPorts(port(b.proxy)), n.d.kernel.SetListeners(ports)); err != nil {
		b.close()
		return err
	}
	b.serve()
	n.bridge = b
	for _, l := range listeners {
		n.work.Go(func() {
			if err := n.engine.Serve(l, n); err != nil {
				n.d.config.Log.Error("the managed network's proxy", "error", err)
			}
		})
	}
	n.started = true
	return nil
}

func port(l net.Listener) uint16 { return l.Addr().(*net.TCPAddr).AddrPort().Port() }

// apply judges by other requirements from now on.
func (n *network) apply(r *policy.Requirements, generation uint32) {
	hosts := policy.CompileHosts(r)
	n.hosts.Store(hosts)
	n.observe.Store(r.Mode == policy.Observe)
	n.engine.Apply(egress.Policy{
		Hosts: hosts, Mode: r.Mode, Generation: uint64(generation), Upstream: *httpproxy.FromEnvironment(),
	})
}

// ended forgets a session.
func (n *network) ended(session string) {
	n.engine.EndSession(session)
	n.resolver.Forget(session)
	n.mu.Lock()
	b := n.bridge
	n.mu.Unlock()
	if b != nil {
		b.ended(session)
	}
}

// count adds what was counted, if anybody listens.
func (n *network) count(all map[string]uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.started {
		return
	}
	e, r := n.engine.Counters(), n.resolver.Stats()
	all["egress.accepted"], all["egress.unknown"], all["egress.refused"] = e.Accepted, e.Unknown, e.Refused
	all["egress.open"], all["egress.held"], all["egress.lost"] = uint64(e.Open), uint64(e.Held), e.Lost
	all["resolver.questions"], all["resolver.nobody"], all["resolver.denied"] = r.Questions, r.Nobody, r.Denied
	all["resolver.tunnels"], all["resolver.failed"], all["resolver.dropped"] = r.Tunnels, r.Failed, r.Dropped
}

// status says how the managed network is reached; nil: it is not there.
func (n *network) status() *api.Network {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.started {
		return nil
	}
	return &api.Network{Proxy: n.bridge.proxy.Addr().String(), Bridge: n.d.config.bridgeSocket(), Namespaces: api.NamespacesRefused}
}

func (n *network) shutdown(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.started {
		return nil
	}
	// First nobody is sent here any more; then whoever is here is told.
	err := n.d.kernel.SetListeners(ebpf.Listeners{})
	n.bridge.close()
	err = errors.Join(err, n.engine.Shutdown(ctx), n.resolver.Shutdown(ctx))
	n.work.Wait()
	return err
}

var _ egress.Origin = (*network)(nil)

// Flow implements egress.Origin.
func (n *network) Flow(c *net.TCPConn) (egress.Flow, error) {
	client, server := c.RemoteAddr().(*net.TCPAddr).AddrPort(), c.LocalAddr().(*net.TCPAddr).AddrPort()
	return n.flow(ebpf.TCP, ebpf.ToProxy, client, server)
}

// canaryFlow is what the canary's questions are answered as.
const canaryFlow = "canary"

// asks is the resolver's Who.
func (n *network) asks(udp bool, client, server netip.AddrPort) (egress.Flow, error) {
	protocol := ebpf.TCP
	if udp {
		protocol = ebpf.UDP
	}
	f, err := n.flow(protocol, ebpf.ToDNS, client, server)
	if errors.Is(err, egress.ErrCanary) {
		return egress.Flow{Session: canaryFlow}, nil
	}
	return f, err
}

// whose is the resolver's Whose: the kernel side's number of a session.
func (n *network) whose(udp bool, client, server netip.AddrPort) uint64 {
	protocol := ebpf.TCP
	if udp {
		protocol = ebpf.UDP
	}
	f, err := n.d.kernel.FlowOf(protocol, client, server)
	if err != nil {
		return 0
	}
	return f.Session
}

func (n *network) flow(protocol uint8, kind ebpf.FlowKind, client, server netip.AddrPort) (egress.Flow, error) {
	c, err := n.d.enforcer.Client(protocol, client, server)
	switch {
	case errors.Is(err, enforce.ErrNoClient):
		return egress.Flow{}, egress.ErrUnknown
	case errors.Is(err, enforce.ErrCanary):
		return egress.Flow{}, egress.ErrCanary
	}
	if err != nil {
		return egress.Flow{}, err
	}
	if c.Kind != kind {
		return egress.Flow{}, egress.ErrUnknown
	}
	return egress.Flow{
		Session: c.SessionID, Agent: c.Agent, PID: c.PID, Start: c.Start, UID: c.UID, Exe: c.Exe, Why: c.Why,
		Dest: c.Destination, Cookie: c.Cookie,
	}, nil
}

// judgeName is what policy makes of a name whose port and protocol are not known yet:
// it is denied if it is denied for all of them, and allowed if it is for one.
func (n *network) judgeName(h policy.Host) policy.HostVerdict {
	hosts := n.hosts.Load()
	var best policy.HostVerdict
	for i, p := range []policy.HostProtocol{policy.HTTPS, policy.HTTP, policy.RawTCP} {
		v := hosts.Decide(policy.HostRequest{Host: h, Port: 443, Protocol: p})
		denied, before := v.Cause == policy.CauseDenied, best.Cause == policy.CauseDenied
		if i == 0 || v.Decision > best.Decision || before && !denied {
			best = v
		}
	}
	return best
}
