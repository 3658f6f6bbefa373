// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

// keepAlive is the kernel's own default: a connection that is idle for hours lives as
// long as it would without us.
func keepAlive() net.KeepAliveConfig {
	return net.KeepAliveConfig{Enable: true, Idle: -1, Interval: -1, Count: -1}
}

// dial connects to where a connection goes: to the address that was judged, never to
// what a name leads to a moment later. Where the machine has a proxy, and the
// requirements let it be used, it goes through that, by name.
func (e *Engine) dial(ctx context.Context, c *conn, j *judgement) (server *sock, err error) {
	defer func() {
		if err == nil {
			c.lane.server, server.lane = server, &c.lane
		}
	}()
	if !j.beyond {
		proxy, err := e.policy.Load().upstream(j.host, j.port, j.protocol)
		if err != nil {
			return nil, fmt.Errorf("the proxy of the machine: %w", err)
		}
		if proxy != nil {
			ctx, cancel := context.WithTimeout(ctx, e.limits.Dial)
			defer cancel()
			return e.dialThrough(ctx, proxy, net.JoinHostPort(j.host.String(), fmt.Sprint(j.port)))
		}
	}
	return e.dialAddr(&patience{ctx, time.Now().Add(e.limits.Dial)}, c.flow.Dest)
}

// Of a name with many addresses, maxTargets are tried, and one that does not answer must
// not use up the time of the others.
const (
	maxTargets = 8
	targetTime = 3 * time.Second
)

// dialEach connects to the first address that answers, within one time for all of them.
func dialEach[C any](ctx context.Context, within time.Duration, targets []netip.AddrPort, dial func(context.Context, netip.AddrPort) (C, error)) (conn C, err error) {
	switch targets = targets[:min(len(targets), maxTargets)]; len(targets) {
	case 0:
		return conn, errors.New("there is no address to connect to")
	case 1: // no timer where dial has one
		ctx = &patience{ctx, time.Now().Add(within)}
		return dial(ctx, targets[0])
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for i, to := range targets {
		one, stop := ctx, context.CancelFunc(func() {})
		if i+1 < len(targets) {
			one, stop = context.WithTimeout(ctx, targetTime)
		}
		conn, err = dial(one, to)
		stop()
		if err == nil || ctx.Err() != nil {
			break
		}
	}
	return conn, err
}

// patience is a context with a deadline that only who looks at it knows of: the timer of
// context.WithDeadline costs more than a connection on this machine takes, and net.Dialer
// sets one of its own once it waits.
type patience struct {
	context.Context
	until time.Time
}

// Deadline is the earlier one.
func (p *patience) Deadline() (time.Time, bool) {
	if at, ok := p.Context.Deadline(); ok && at.Before(p.until) {
		return at, true
	}
	return p.until, true
}

func (e *Engine) dialAddr(ctx context.Context, to netip.AddrPort) (*sock, error) {
	d := e.dialer
	d.KeepAliveConfig = keepAlive()
	if d.LocalAddr == nil && d.Control == nil && d.ControlContext == nil {
		d.Control = func(_, _ string, c syscall.RawConn) error { return ahead(c, to) }
	}
	conn, err := d.DialContext(ctx, "tcp", to.String())
	if err != nil {
		return nil, err
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		_ = conn.Close()
		return nil, errors.New("the connection is not TCP")
	}
	return newSock(tcp)
}

// dialThrough asks an HTTP proxy to connect. It is the administrators', so its own
// name is resolved by the machine and judged by nobody.
func (e *Engine) dialThrough(ctx context.Context, proxy *url.URL, target string) (*sock, error) {
	if proxy.Scheme != "http" && proxy.Scheme != "" {
		return nil, fmt.Errorf("the proxy of the machine, %s, is not an http proxy", proxy.Redacted())
	}
	port := proxy.Port()
	if port == "" {
		port = "80"
	}
	conn, err := e.dialer.DialContext(ctx, "tcp", net.JoinHostPort(proxy.Hostname(), port))
	if err != nil {
		return nil, fmt.Errorf("the proxy of the machine: %w", err)
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		_ = conn.Close()
		return nil, errors.New("the connection to the proxy of the machine is not TCP")
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	if err := connectThrough(tcp, proxy, target); err != nil {
		_ = conn.Close()
		return nil, err
	}
	if !stop() {
		return nil, context.Cause(ctx)
	}
	_ = tcp.SetKeepAliveConfig(keepAlive())
	return newSock(tcp)
}

func connectThrough(conn *net.TCPConn, proxy *url.URL, target string) error {
	head := "CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n"
	if user := proxy.User; user != nil {
		password, _ := user.Password()
		head += "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password)) + "\r\n"
	}
	if _, err := conn.Write([]byte(head + "\r\n")); err != nil {
		return fmt.Errorf("the proxy of the machine: %w", err)
	}
	// One byte at a time: what follows the answer belongs to the client.
	answer, err := http.ReadResponse(bufio.NewReaderSize(oneByOne{conn}, 16), &http.Request{Method: http.MethodConnect})
	if err != nil {
		return fmt.Errorf("the proxy of the machine: %w", err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("the proxy of the machine refuses to connect to %s: %s", target, answer.Status)
	}
	return nil
}

// oneByOne reads no further than it is asked to.
type oneByOne struct{ conn *net.TCPConn }

func (r oneByOne) Read(b []byte) (int, error) { return r.conn.Read(b[:min(len(b), 1)]) }
