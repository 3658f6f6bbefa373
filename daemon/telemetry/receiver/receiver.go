// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// Sender is the process at the other end of a connection, as the kernel knows
// it.
type Sender struct {
	PID      int
	Start    uint64 // ns since boot; with PID a process
	UID      uint32
	Session  string // empty: not governed
	Agent    string // of the session
	ToolCall string // the tool call the process serves; empty: the agent itself
}

// Recorder stores events. telemetry.Store is one.
type Recorder interface {
	Record(context.Context, ...telemetry.Event) error
	Flush(context.Context) error
}

// Config of a Receiver. Events and Identify are needed.
type Config struct {
	Events Recorder
	// Identify asks the kernel who made a connection. An error is a sender who
	// is not known, and refused.
	Identify func(net.Conn) (Sender, error)
	Limits   Limits
	Now      func() time.Time // default time.Now
	Log      *slog.Logger
}

// Receiver is the OTLP endpoint for agents. Start it once.
type Receiver struct {
	config   Config
	http     *http.Server
	places   *places
	sessions *sessions
	refusals *refusals
	decoding chan struct{} // one at a time: what is decoded is larger than what came
	cancel   context.CancelFunc
	done     chan struct{}
}

// New makes a receiver.
func New(c Config) *Receiver {
	c.Limits = c.Limits.withDefaults()
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Receiver{
		config: c, places: newPlaces(c.Limits), sessions: newSessions(c.Limits, c.Now), refusals: newRefusals(c),
		decoding: make(chan struct{}, 1), done: make(chan struct{}),
	}
}

// How long a client may take. A slow one holds a place and no memory.
const (
	headerTimeout = 5 * time.Second
	readTimeout   = 20 * time.Second
	writeTimeout  = 40 * time.Second
	idleTimeout   = 2 * time.Minute // exporters send every few seconds, or once a minute
)

// Start serves connections of l, which it closes in the end.
func (r *Receiver) Start(ctx context.Context, l net.Listener) {
	ctx, r.cancel = context.WithCancel(ctx)
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true) // gRPC on loopback has no TLS
	r.http = &http.Server{
		Handler: r.routes(), Protocols: protocols,
		ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: 16 << 10,
		HTTP2:          &http.HTTP2Config{MaxConcurrentStreams: 8},
		ErrorLog:       slog.NewLogLogger(r.config.Log.Handler(), slog.LevelDebug),
		BaseContext:    func(net.Listener) context.Context { return ctx },
		ConnContext:    func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, peerKey{}, c) },
	}
	go r.refusals.tell(ctx)
	go func() {
		defer close(r.done)
		if err := r.http.Serve(r.listen(l)); !errors.Is(err, http.ErrServerClosed) {
			r.config.Log.Error("agents' telemetry is not taken in any more; restart the daemon", "address", l.Addr(), "error", err)
		}
	}()
}

// Shutdown stops listening, lets requests finish until ctx ends, and reports
// what was refused and not told yet.
func (r *Receiver) Shutdown(ctx context.Context) error {
	if r.http == nil {
		return nil
	}
	err := r.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, r.http.Close())
	}
	<-r.done
	r.cancel()
	r.refusals.flush(ctx)
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("stopping to take in agents' telemetry: %w", err)
	}
	return nil
}

// Forget drops what is remembered of a session that has ended.
func (r *Receiver) Forget(session string) { r.sessions.forget(session) }

type peerKey struct{}

// senderOf returns who made the connection a request came by.
func senderOf(req *http.Request) Sender {
	return req.Context().Value(peerKey{}).(*peerConn).sender
}

// peerConn is a connection and who made it.
type peerConn struct {
	net.Conn
	sender Sender
	free   func()
}

// Close closes the connection and gives its place free.
func (c *peerConn) Close() error {
	defer c.free()
	return c.Conn.Close()
}

// maxUnknown is how many connections at a time may wait to be identified.
const maxUnknown = 64

// peerListener identifies who connects, before a byte is read. That may take a
// while, as long as an agent that has just started is not recognised yet: nobody
// else waits for it.
type peerListener struct {
	net.Listener
	receiver *Receiver
	known    chan net.Conn
	unknown  chan struct{}
	failed   chan struct{} // closed when the listener has
	err      error
}

func (r *Receiver) listen(l net.Listener) *peerListener {
	p := &peerListener{
		Listener: l, receiver: r, known: make(chan net.Conn), unknown: make(chan struct{}, maxUnknown), failed: make(chan struct{}),
	}
	go p.accept()
	return p
}

func (l *peerListener) accept() {
	defer close(l.failed)
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			l.err = err
			return
		}
		select {
		case l.unknown <- struct{}{}:
			go l.identify(conn)
		default:
			l.receiver.refusals.add(refusal{cause: telemetry.RefusedBusy, count: 1})
			conn.Close()
		}
	}
}

func (l *peerListener) identify(conn net.Conn) {
	defer func() { <-l.unknown }()
	r := l.receiver
	sender, err := r.config.Identify(conn)
	if err != nil {
		r.config.Log.Debug("who sends telemetry is not known", "error", err)
		sender = Sender{}
	}
	free, ok := r.places.take(sender.Session)
	if !ok {
		r.refusals.add(refusal{sender: sender, cause: telemetry.RefusedBusy, count: 1})
		conn.Close()
		return
	}
	peer := &peerConn{Conn: conn, sender: sender, free: free}
	select {
	case l.known <- peer:
	case <-l.failed:
		peer.Close()
	}
}

// Accept returns the next connection whose maker is known and has a place.
func (l *peerListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.known:
		return conn, nil
	case <-l.failed:
		return nil, l.err
	}
}
