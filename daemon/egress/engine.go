// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http/httpproxy"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
)

// Policy is what holds at a moment.
type Policy struct {
	// Hosts decides; nil denies everything.
	Hosts *policy.Hosts
	// Mode Observe lets everything through and records what would have happened.
	Mode       policy.Mode
	Generation uint64
	// Upstream is the proxy of the machine, as HTTPS_PROXY and the like name it. It is
	// used where Hosts permits that. The zero value is none.
	Upstream httpproxy.Config

	own *own
}

// Limits bound what clients can take. A field that is 0 has the value of
// DefaultLimits.
type Limits struct {
	// Connections is how many connections there may be, and PerSession how many one
	// session may have. One more is refused.
	Connections, PerSession int
	// Sniff is how long a client may take to say where it goes once it has begun to.
	Sniff time.Duration
	// Silence is how long it is waited for a client's first byte, before it is taken
	// for one that lets the server speak first.
	Silence time.Duration
	// Hold is how long a connection waits for an answer before it is denied.
	Hold time.Duration
	// Dial is how long a connection to the destination may take.
	Dial time.Duration
	// Open is how long a connection is there before an event says that it is.
	Open time.Duration
}

// DefaultLimits are those of a developer's machine.
func DefaultLimits() Limits {
	return Limits{
		Connections: 20_000, PerSession: 12_000, Sniff: 10 * time.Second, Silence: 300 * time.Millisecond,
		Hold: 5 * time.Minute, Dial: 60 * time.Second, Open: 30 * time.Second,
	}
}

func (l Limits) orDefault() Limits {
	d := DefaultLimits()
	for _, f := range []struct{ own, other *int }{{&l.Connections, &d.Connections}, {&l.PerSession, &d.PerSession}} {
		if *f.own == 0 {
			*f.own = *f.other
		}
	}
	for _, f := range []struct{ own, other *time.Duration }{{&l.Sniff, &d.Sniff}, {&l.Silence, &d.Silence}, {&l.Hold, &d.Hold}, {&l.Dial, &d.Dial}, {&l.Open, &d.Open}} {
		if *f.own == 0 {
			*f.own = *f.other
		}
	}
	return l
}

// Options are what an Engine is made of. Names, Recorder and Log are required.
type Options struct {
	Names    Names
	Asker    Asker // nil: DenyAll
	Recorder Recorder
	Limits   Limits
	// Dialer reaches the destinations; its zero value is the machine's.
	Dialer net.Dialer
	// OwnAddrs returns the addresses of this machine; nil: net.InterfaceAddrs.
	OwnAddrs func() ([]net.Addr, error)
	Log      *slog.Logger
}

// Engine is the managed network's proxy.
type Engine struct {
	names    Names
	asker    Asker
	recorder Recorder
	limits   Limits
	dialer   net.Dialer
	log      *slog.Logger

	policy  atomic.Pointer[Policy]
	pipes   pipes
	scratch *scratch
	rooms   *rooms
	own     own
	holds   holds
	seed    maphash.Seed

	ctx    context.Context // of everything; its cause says why it ends
	cancel context.CancelCauseFunc
	work   sync.WaitGroup
	mu     sync.Mutex
	all    map[*conn]struct{}
	per    map[string]*share // of each session that has connections
	closed bool

	listeners map[*net.TCPListener]struct{}
	watching  sync.Once // what is open for long

	strangers  seldom
	unrecorded seldom
	counters   struct{ accepted, unknown, refused, lost atomic.Uint64 }
}

// Counters count connections since the engine was made.
type Counters struct {
	Accepted uint64 `json:"accepted"`
	// Unknown were of no known session, and Refused over a limit.
	Unknown uint64 `json:"unknown"`
	Refused uint64 `json:"refused"`
	// Lost is how many events could not be recorded.
	Lost uint64 `json:"lost"`
	// Open is how many there are now, and Held how many of these wait for an answer.
	Open int `json:"open"`
	Held int `json:"held"`
}

// New makes an engine that denies everything until Apply is called.
func New(o Options) (*Engine, error) {
	if o.Names == nil || o.Recorder == nil || o.Log == nil {
		return nil, errors.New("the managed network needs a resolver, a recorder and a log")
	}
	if o.Asker == nil {
		o.Asker = DenyAll{}
	}
	e := &Engine{
		names: o.Names, asker: o.Asker, recorder: o.Recorder, limits: o.Limits.orDefault(), dialer: o.Dialer, log: o.Log,
		pipes: newPipes(), scratch: newScratch(), rooms: newRooms(memory()), seed: maphash.MakeSeed(), all: map[*conn]struct{}{}, per: map[string]*share{}, listeners: map[*net.TCPListener]struct{}{},
	}
	e.holds.engine = e
	if e.own.list = o.OwnAddrs; e.own.list == nil {
		e.own.list = net.InterfaceAddrs
	}
	e.ctx, e.cancel = context.WithCancelCause(context.Background())
	e.policy.Store(&Policy{Mode: policy.Enforce})
	return e, nil
}

// Apply puts another policy into force, at once and as a whole. What is held is
// judged again, and what is open: it is cut where that is denied now.
func (e *Engine) Apply(p Policy) {
	p.own = &e.own
	e.policy.Store(&p)
	e.holds.judgeAgain()
	e.judgeAgain(&p)
}

// EndSession denies what is still held of a session.
func (e *Engine) EndSession(id string) { e.holds.endSession(id) }

// Counters returns what was counted.
func (e *Engine) Counters() Counters {
	c := Counters{
		Accepted: e.counters.accepted.Load(), Unknown: e.counters.unknown.Load(),
		Refused: e.counters.refused.Load(), Lost: e.counters.lost.Load(), Held: e.holds.waiting(),
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	c.Open = len(e.all)
	return c
}

// Listen returns a listener for Serve and ServeProxy. Its clients are on this machine, there or
// not there, so nothing keeps their connections alive: five system calls of each that net.ListenTCP would make.
func Listen(ctx context.Context, at netip.AddrPort) (*net.TCPListener, error) {
	c := net.ListenConfig{KeepAlive: -1}
	c.SetMultipathTCP(false)
	network := "tcp4"
	if at.Addr().Is6() {
		network = "tcp6"
	}
	l, err := c.Listen(ctx, network, at.String())
	if err != nil {
		return nil, err
	}
	return l.(*net.TCPListener), nil
}

// Serve takes redirected connections until the listener is closed or the engine is
// shut down. The listener is closed at the end.
func (e *Engine) Serve(l *net.TCPListener, origin Origin) error {
	return e.accept(l, func(c *net.TCPConn) {
		flow, err := origin.Flow(c)
		if err != nil || flow.Session == "" || !flow.Dest.IsValid() {
			e.unknown(c, err)
			return
		}
		e.transparent(c, flow)
	})
}

func (e *Engine) unknown(c *net.TCPConn, err error) {
	if errors.Is(err, ErrCanary) {
		_ = c.Close()
		return
	}
	e.counters.unknown.Add(1)
	if err == nil {
		err = ErrUnknown
	}
	if others, now := e.strangers.now(time.Now()); now {
		e.log.Warn("a connection is refused", "from", c.RemoteAddr().String(), "error", err, "others", others)
	}
	_ = c.SetLinger(0)
	_ = c.Close()
}

// seldom bounds what the log says of strangers, and of events that are lost: anybody on the
// machine can make them.
type seldom struct {
	mu     sync.Mutex
	next   time.Time
	others int
}

const seldomPause = 10 * time.Second

// now reports whether to say it, and how often it was not said before.
func (s *seldom) now(t time.Time) (others int, say bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.Before(s.next) {
		s.others++
		return 0, false
	}
	others, s.others, s.next = s.others, 0, t.Add(seldomPause)
	return others, true
}

// accept hands each connection to a goroutine of its own.
func (e *Engine) accept(l *net.TCPListener, serve func(*net.TCPConn)) error {
	e.mu.Lock()
	e.listeners[l] = struct{}{}
	if e.closed {
		_ = l.Close()
	}
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.listeners, l)
		_ = l.Close()
	}()
	e.watching.Do(func() { e.work.Go(e.watchOpen) })
	pause := time.Millisecond
	for {
		c, err := l.AcceptTCP()
		var short net.Error
		switch {
		case err == nil:
			pause = time.Millisecond
			e.counters.accepted.Add(1)
			e.work.Go(func() { serve(c) })
		case e.ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return nil
		case errors.As(err, &short): // too many open files, for one
			e.log.Error("accepting a connection", "error", err)
			select {
			case <-time.After(pause):
			case <-e.ctx.Done():
				return nil
			}
			pause = min(2*pause, time.Second)
		default:
			return fmt.Errorf("accepting connections on %s: %w", l.Addr(), err)
		}
	}
}

// admit counts a connection in; false: there are too many.
func (e *Engine) admit(c *conn) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.per[c.flow.Session]
	if e.closed || len(e.all) >= e.limits.Connections || s != nil && s.connections.Load() >= int64(e.limits.PerSession) {
		e.counters.refused.Add(1)
		return false
	}
	if s == nil {
		s = newShare()
		e.per[c.flow.Session] = s
	}
	e.all[c] = struct{}{}
	s.connections.Add(1)
	c.lane.rooms, c.lane.share, c.lane.client = e.rooms, s, c.client
	c.client.lane = &c.lane
	return true
}

func (e *Engine) forget(c *conn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.all, c)
	c.lane.end()
	if c.lane.share.connections.Add(-1) == 0 {
		delete(e.per, c.flow.Session)
	}
}

// Shutdown closes every connection and waits, until ctx ends, for their events to be
// recorded.
func (e *Engine) Shutdown(ctx context.Context) error {
	e.cancel(ErrShutdown)
	e.mu.Lock()
	e.closed = true
	for l := range e.listeners {
		_ = l.Close()
	}
	for c := range e.all {
		c.abort()
	}
	e.mu.Unlock()
	done := make(chan struct{})
	go func() {
		e.work.Wait()
		close(done)
	}()
	select {
	case <-done:
		e.pipes.close()
		return nil
	case <-ctx.Done():
		return fmt.Errorf("closing the connections of the managed network: %w", ctx.Err())
	}
}

// upstream returns the proxy of the machine to use for a host, or nil.
func (p *Policy) upstream(host policy.Host, port uint16, protocol policy.HostProtocol) (*url.URL, error) {
	if p.Hosts == nil || !p.Hosts.Upstream() || p.Upstream.HTTPProxy == "" && p.Upstream.HTTPSProxy == "" {
		return nil, nil
	}
	to := &url.URL{Scheme: "https", Host: net.JoinHostPort(host.String(), fmt.Sprint(port))}
	if protocol == policy.HTTP {
		to.Scheme = "http"
	}
	return p.Upstream.ProxyFunc()(to)
}
