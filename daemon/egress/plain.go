// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
)

// plain serves clients that send requests with URLs to a proxy, one of which may go to
// another host than the one before. So these are read and written anew, by
// net/http, and each is judged and recorded by itself.
type plain struct {
	engine *Engine
	want   Credentials
	server *http.Server
	conns  chan net.Conn
	done   chan struct{}
	once   sync.Once
	proxy  *httputil.ReverseProxy
}

type connKey struct{}

func (e *Engine) newPlain(want Credentials) *plain {
	p := &plain{engine: e, want: want, conns: make(chan net.Conn), done: make(chan struct{})}
	quiet := slog.NewLogLogger(e.log.Handler(), slog.LevelDebug)
	p.proxy = &httputil.ReverseProxy{
		Rewrite:   func(*httputil.ProxyRequest) {}, // judged made it ready
		Transport: ownTransport{}, FlushInterval: -1, ErrorLog: quiet,
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if s, ok := r.Context().Value(exchangeKey{}).(*exchange); ok {
				s.err = err
			}
			http.Error(w, "the destination cannot be reached", http.StatusBadGateway)
		},
	}
	p.server = &http.Server{
		Handler: p, ErrorLog: quiet, ReadHeaderTimeout: e.limits.Sniff, MaxHeaderBytes: maxSniff,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, c.(*plainConn))
		},
	}
	e.work.Go(func() { _ = p.server.Serve(p) })
	return p
}

// plainConn is the connection of one client. What is open to servers for it is for
// nobody else, since some servers take a connection for the user who logged in on it;
// it is one connection at a time, and ends with the client's.
type plainConn struct {
	*net.TCPConn
	conn *conn
	once sync.Once

	mu    sync.Mutex
	to    string // where trans leads
	trans *http.Transport
}

// Close closes it and forgets it; its requests have been recorded.
func (c *plainConn) Close() error {
	err := c.TCPConn.Close()
	c.once.Do(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.trans != nil {
			c.trans.CloseIdleConnections()
		}
		c.conn.engine.forget(c.conn)
	})
	return err
}

// transport returns what a request is sent by: the one of the request before, if it goes
// to the same host and may go to the same addresses.
func (c *plainConn) transport(s *exchange, host string) *http.Transport {
	to := fmt.Sprint(host, s.proxy, s.targets)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.trans != nil && c.to != to {
		c.trans.CloseIdleConnections()
		c.trans = nil
	}
	if c.trans == nil {
		c.to, c.trans = to, &http.Transport{
			DialContext:        c.conn.engine.dialPlain,
			Proxy:              func(r *http.Request) (*url.URL, error) { return exchangeOf(r.Context()).proxy, nil },
			DisableCompression: true,
			MaxIdleConns:       1, IdleConnTimeout: 90 * time.Second,
		}
	}
	return c.trans
}

// ownTransport sends each request by that of its client.
type ownTransport struct{}

// RoundTrip is of http.RoundTripper.
func (ownTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	return exchangeOf(r.Context()).trans.RoundTrip(r)
}

func (p *plain) take(c *conn) {
	pc := &plainConn{TCPConn: c.client.TCPConn, conn: c}
	select {
	case p.conns <- pc:
	case <-p.done:
		_ = pc.Close()
	}
}

// Accept, Close and Addr make it the listener of its own server.
func (p *plain) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

// Close ends Accept.
func (p *plain) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

// Addr is of no meaning.
func (p *plain) Addr() net.Addr { return &net.TCPAddr{} }

func (p *plain) close() {
	_ = p.server.Close()
}

type exchangeKey struct{}

// exchange is one request and its answer.
type exchange struct {
	over    *conn // of the client
	of      *conn // of this request, which was judged
	request policy.HostRequest
	proxy   *url.URL
	targets []netip.AddrPort // without a proxy: what may be connected to
	trans   *http.Transport
	down    atomic.Int64
	up      atomic.Int64
	err     error
}

// exchangeOf returns the exchange of a context; one that leads nowhere where there is none.
func exchangeOf(ctx context.Context) *exchange {
	if s, ok := ctx.Value(exchangeKey{}).(*exchange); ok {
		return s
	}
	return &exchange{}
}

// dialPlain connects to an address that was judged, or to the proxy of the machine.
func (e *Engine) dialPlain(ctx context.Context, network, addr string) (net.Conn, error) {
	s := exchangeOf(ctx)
	var to net.Conn
	var err error
	if s.proxy != nil {
		ctx, cancel := context.WithTimeout(ctx, e.limits.Dial)
		defer cancel()
		to, err = e.dialer.DialContext(ctx, network, addr)
	} else {
		to, err = dialEach(ctx, e.limits.Dial, s.targets, func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
			if err := s.of.mayReach(to, s.request); err != nil {
				return nil, err
			}
			return e.dialer.DialContext(ctx, network, to.String())
		})
		if err == nil && s.of.isClosed() { // it was cut meanwhile
			_ = to.Close()
			return nil, errCut
		}
	}
	if err != nil || s.over == nil {
		return to, err
	}
	return s.over.inLane(to)
}

// ServeHTTP judges one request and passes it on.
func (p *plain) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	over, ok := r.Context().Value(connKey{}).(*plainConn)
	if !ok {
		http.Error(w, "no session", http.StatusForbidden)
		return
	}
	if !p.want.none() && !p.want.header(r.Header.Get("Proxy-Authorization")) {
		w.Header().Set("Proxy-Authenticate", `Basic realm="paddock"`)
		w.WriteHeader(http.StatusProxyAuthRequired)
		return
	}
	if r.Header.Get("X-Unix-Socket") != "" { // as Codex's own proxy answers on Linux
		http.Error(w, "unix sockets unsupported", http.StatusNotImplemented)
		return
	}
	began := time.Now()
	// Of the connection, only who it is: several requests must not share what is judged.
	c := &conn{engine: p.engine, flow: over.conn.flow, client: over.conn.client, began: began, gone: r.Context().Done()}
	s := &exchange{over: over.conn, of: c}
	var j *judgement
	s.targets, j = p.judge(c, r)
	s.request = j.request
	defer func() { p.record(c, s, j) }()
	if !j.pass {
		p.refuse(w, j)
		return
	}
	over.conn.carry(c)
	defer over.conn.carry(nil)
	c.note(j)
	policyNow := p.engine.policy.Load()
	proxy, err := policyNow.upstream(j.host, j.port, policy.HTTP)
	if err != nil || proxy == nil && len(s.targets) == 0 {
		s.err = err
		http.Error(w, "the destination cannot be reached", http.StatusBadGateway)
		return
	}
	ctx := context.WithValue(r.Context(), exchangeKey{}, s)
	if s.proxy = proxy; proxy == nil {
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: c.reached})
	}
	out := r.Clone(ctx)
	if proxy == nil {
		out.URL.Host = s.targets[0].String()
	}
	s.trans = over.transport(s, r.URL.Host)
	out.Host = r.URL.Host
	out.Header.Del("Proxy-Authorization")
	out.Header.Del("Proxy-Connection")
	if offersHTTP2(strings.Join(out.Header.Values("Upgrade"), ",")) {
		out.Header.Del("Upgrade") // what would come then is judged by nobody
		out.Header.Del("Http2-Settings")
	}
	if out.Body != nil {
		out.Body = &counted{out.Body, &s.up}
	}
	p.proxy.ServeHTTP(&countedWriter{w, s}, out)
}

// reached remembers where a request is sent, if not to the proxy of the machine.
func (c *conn) reached(info httptrace.GotConnInfo) {
	if to, ok := info.Conn.RemoteAddr().(*net.TCPAddr); ok {
		at := to.AddrPort()
		c.heads(netip.AddrPortFrom(at.Addr().Unmap(), at.Port()))
	}
}

func (c *conn) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// record tells what became of a request.
func (p *plain) record(c *conn, s *exchange, j *judgement) {
	c.mu.Lock()
	flow, failed := c.flow, c.err
	c.closed = true // it cannot be cut any more
	c.mu.Unlock()
	if failed == nil {
		failed = s.err
	}
	p.engine.record(flow, j, c.began, s.up.Load(), s.down.Load(), failed)
}

// judge judges a request, of which net/http has already joined target and Host.
func (p *plain) judge(c *conn, r *http.Request) ([]netip.AddrPort, *judgement) {
	cl := claim{protocol: policy.HTTP, learned: learnedHost, method: r.Method}
	bad := func(why malformed) ([]netip.AddrPort, *judgement) {
		now := p.engine.policy.Load()
		cl.bad = why
		return nil, &judgement{claim: cl, by: "policy", mode: now.Mode, generation: now.Generation, verdict: policy.HostVerdict{Cause: policy.CauseMalformed, Reason: string(why)}}
	}
	switch {
	case r.Method == http.MethodConnect:
		return bad("CONNECT is only possible as the first request")
	case !strings.EqualFold(r.URL.Scheme, "http") || r.URL.User != nil:
		return bad("the target of a request to a proxy must be an http URL")
	}
	host, port, err := policy.ParseHostPort(r.URL.Host, 80)
	if err != nil {
		return bad("the host of the request target cannot be understood")
	}
	cl.host, cl.port = host, port
	for name := range r.Header {
		cl.overrides = cl.overrides || overridesMethod(name)
	}
	return c.judgeName(cl)
}

func (p *plain) refuse(w http.ResponseWriter, j *judgement) {
	// The answer is made as for every other client, and read again.
	head, body, _ := strings.Cut(string(refuseHTTP(j)), "\r\n\r\n")
	lines := strings.Split(head, "\r\n")
	status := http.StatusForbidden
	if strings.Contains(lines[0], " 400 ") {
		status = http.StatusBadRequest
	}
	for _, line := range lines[1:] {
		if name, value, _ := strings.Cut(line, ": "); name != "content-length" {
			w.Header().Set(name, value)
		}
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

type counted struct {
	io.ReadCloser
	n *atomic.Int64
}

// Read counts.
func (c *counted) Read(b []byte) (int, error) {
	n, err := c.ReadCloser.Read(b)
	c.n.Add(int64(n))
	return n, err
}

type countedWriter struct {
	http.ResponseWriter
	s *exchange
}

// Write counts.
func (c *countedWriter) Write(b []byte) (int, error) {
	n, err := c.ResponseWriter.Write(b)
	c.s.down.Add(int64(n))
	return n, err
}

// Hijack gives the connection away after 101, and goes on counting.
func (c *countedWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, both, err := http.NewResponseController(c.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	return &countedConn{conn, c.s}, both, nil
}

// Unwrap gives http.ResponseController the rest.
func (c *countedWriter) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// countedConn is a client's connection that is no HTTP any more.
type countedConn struct {
	net.Conn
	s *exchange
}

// Read counts.
func (c *countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.s.up.Add(int64(n))
	return n, err
}

// Write counts.
func (c *countedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.s.down.Add(int64(n))
	return n, err
}

// CloseWrite ends one direction, as the connection itself does.
func (c *countedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}
