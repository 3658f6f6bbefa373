// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
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
	trans  *http.Transport
}

type connKey struct{}

func (e *Engine) newPlain(want Credentials) *plain {
	p := &plain{engine: e, want: want, conns: make(chan net.Conn), done: make(chan struct{})}
	p.trans = &http.Transport{
		DialContext:         e.dialPlain,
		Proxy:               func(r *http.Request) (*url.URL, error) { return proxyOf(r.Context()), nil },
		DisableCompression:  true,
		MaxIdleConnsPerHost: 4, IdleConnTimeout: 90 * time.Second,
	}
	quiet := slog.NewLogLogger(e.log.Handler(), slog.LevelDebug)
	p.proxy = &httputil.ReverseProxy{
		Rewrite:   func(*httputil.ProxyRequest) {}, // judged made it ready
		Transport: p.trans, FlushInterval: -1, ErrorLog: quiet,
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
			return context.WithValue(ctx, connKey{}, c.(*plainConn).conn)
		},
	}
	e.work.Go(func() { _ = p.server.Serve(p) })
	return p
}

// plainConn tells when net/http is done with a connection.
type plainConn struct {
	*net.TCPConn
	conn *conn
	once sync.Once
}

// Close closes it and forgets it; its requests have been recorded.
func (c *plainConn) Close() error {
	err := c.TCPConn.Close()
	c.once.Do(func() { c.conn.engine.forget(c.conn) })
	return err
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
	p.trans.CloseIdleConnections()
}

type exchangeKey struct{}

// exchange is one request and its answer.
type exchange struct {
	proxy *url.URL
	down  atomic.Int64
	up    atomic.Int64
	err   error
}

func proxyOf(ctx context.Context) *url.URL {
	if s, ok := ctx.Value(exchangeKey{}).(*exchange); ok {
		return s.proxy
	}
	return nil
}

// dialPlain connects to an address that was judged, or to the proxy of the machine.
func (e *Engine) dialPlain(ctx context.Context, network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, e.limits.Dial)
	defer cancel()
	if proxyOf(ctx) == nil {
		if _, err := netip.ParseAddrPort(addr); err != nil {
			return nil, errors.New("a name was not resolved before it was judged")
		}
	}
	return e.dialer.DialContext(ctx, network, addr)
}

// ServeHTTP judges one request and passes it on.
func (p *plain) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	over, ok := r.Context().Value(connKey{}).(*conn)
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
	c := &conn{engine: p.engine, flow: over.flow, client: over.client, began: began, gone: r.Context().Done()}
	s := &exchange{}
	targets, j := p.judge(c, r)
	defer func() { p.engine.record(c.flow, j, began, s.up.Load(), s.down.Load(), s.err) }()
	if !j.pass {
		p.refuse(w, j)
		return
	}
	out := r.Clone(context.WithValue(r.Context(), exchangeKey{}, s))
	policyNow := p.engine.policy.Load()
	proxy, err := policyNow.upstream(j.host, j.port, policy.HTTP)
	if err != nil || proxy == nil && len(targets) == 0 {
		s.err = err
		http.Error(w, "the destination cannot be reached", http.StatusBadGateway)
		return
	}
	if s.proxy = proxy; proxy == nil {
		out.URL.Host = targets[0].String()
	}
	out.Host = r.URL.Host
	out.Header.Del("Proxy-Authorization")
	out.Header.Del("Proxy-Connection")
	if strings.EqualFold(out.Header.Get("Upgrade"), "h2c") {
		out.Header.Del("Upgrade") // what would come then is judged by nobody
	}
	if out.Body != nil {
		out.Body = &counted{out.Body, &s.up}
	}
	p.proxy.ServeHTTP(&countedWriter{w, &s.down}, out)
}

// judge judges a request, of which net/http has already joined target and Host.
func (p *plain) judge(c *conn, r *http.Request) ([]netip.AddrPort, *judgement) {
	cl := claim{protocol: policy.HTTP, learned: learnedHost, method: r.Method, path: r.URL.Path}
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
	for _, name := range []string{"X-Http-Method-Override", "X-Method-Override", "X-Http-Method"} {
		if r.Header.Get(name) != "" {
			cl.method += " (overridden)"
			break
		}
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
	n *atomic.Int64
}

// Write counts.
func (c *countedWriter) Write(b []byte) (int, error) {
	n, err := c.ResponseWriter.Write(b)
	c.n.Add(int64(n))
	return n, err
}

// Unwrap gives http.ResponseController the rest.
func (c *countedWriter) Unwrap() http.ResponseWriter { return c.ResponseWriter }
