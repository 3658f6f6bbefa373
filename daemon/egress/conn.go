// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
)

// conn is one connection of a session.
type conn struct {
	engine  *Engine
	flow    Flow
	client  *sock
	lane    lane
	lasting lasting
	began   time.Time
	// expect is the host that the client asked a proxy of ours for: what it says inside
	// must be the same. Invalid where the kernel redirected the connection.
	expect     policy.Host
	expectPort uint16
	// beyond says that expect is reached by another proxy.
	beyond bool
	// gone is closed when the client is; nil: that is found out by watching it.
	gone <-chan struct{}

	up, down atomic.Int64 // bytes from and to the client
	// tunnelUp and tunnelDown are what they were when a tunnel through another proxy began.
	tunnelUp, tunnelDown int64
	pausing              atomic.Bool // see pause

	mu     sync.Mutex // of what follows
	server *sock
	final  []byte // what the client is told when the server has ended
	closed bool
	judged *judgement // the first
	told   told
	passed passed
	within *conn // the request under way of a client that sends URLs
	err    error

	downDone chan struct{} // closed when no more comes from the server; nil before it began
}

// transparent serves a redirected connection.
func (e *Engine) transparent(tcp *net.TCPConn, flow Flow) {
	flow.Dest = netip.AddrPortFrom(flow.Dest.Addr().Unmap(), flow.Dest.Port())
	e.serve(tcp, flow, (*conn).first)
}

// nearBuffer is how much waits in the kernel for a client, in bytes, which the kernel takes
// twice. It is on this machine: more is no faster, and leaves the processor's caches.
const nearBuffer = 256 << 10

// serve runs a connection to its end. What run leaves moving goes on in goroutines of
// its own, whose stacks never held more than that.
func (e *Engine) serve(tcp *net.TCPConn, flow Flow, run func(*conn)) {
	client, err := newSock(tcp)
	if err != nil {
		_ = tcp.Close()
		return
	}
	_ = client.SetWriteBuffer(nearBuffer) // it works with more
	c := &conn{engine: e, flow: flow, client: client, began: time.Now()}
	if !e.admit(c) {
		client.abort()
		c.note(&judgement{
			claim: claim{host: policy.HostOf(flow.Dest.Addr()), port: flow.Dest.Port(), learned: learnedNone}, by: "paddock", mode: policy.Enforce,
			verdict: policy.HostVerdict{Cause: policy.CauseNotAllowed, Reason: "the session has too many connections"},
		})
		c.record()
		return
	}
	run(c)
}

// end closes what is left, records the connection, and forgets it.
func (c *conn) end() {
	_ = c.client.Close()
	c.mu.Lock()
	c.closed = true
	if c.server != nil {
		_ = c.server.Close()
	}
	c.mu.Unlock()
	c.record()
	c.engine.forget(c)
}

// abort makes both sides see a broken connection. It may be called at any time.
func (c *conn) abort() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.client.abort()
	if c.server != nil {
		c.server.abort()
	}
}

func (c *conn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
	}
}

// look is scratch.look at what the client sends, for as long as it may take.
func (c *conn) look(enough func([]byte) bool) error {
	return c.engine.scratch.look(c.client, time.Now().Add(c.engine.limits.Sniff), enough)
}

// first looks at what the client says, and goes on by that.
func (c *conn) first() {
	kind, err := c.heard()
	if kind == speechUnclear && err == nil {
		_ = c.client.SetReadDeadline(time.Now().Add(c.engine.limits.Silence))
		var one [1]byte
		_, err = c.client.peek(one[:], 0)
		_ = c.client.SetReadDeadline(time.Time{})
		if err == nil {
			kind = c.listen()
		}
	}
	switch {
	case err == nil:
		c.speak(kind)
	case isDeadline(err), errors.Is(err, io.EOF):
		c.byAddress((*conn).late)
	default:
		c.client.abort()
		c.fail(err)
		c.end()
	}
}

// heard says what the client speaks if it has said enough by now.
func (c *conn) heard() (speech, error) {
	small := c.engine.scratch.small.Get().(*[smallSniff]byte)
	defer c.engine.scratch.small.Put(small)
	n, err := c.client.glance(small[:])
	return classify(small[:n]), err
}

// listen waits until it is clear what the client speaks.
func (c *conn) listen() speech {
	kind := speechUnclear
	err := c.look(func(b []byte) bool {
		kind = classify(b)
		return kind != speechUnclear
	})
	switch {
	case kind != speechUnclear:
		return kind
	case errors.Is(err, io.EOF):
		return speechRaw // it is all there will ever be, and no request
	}
	return speechBad
}

// speak serves a client whose first bytes are known.
func (c *conn) speak(kind speech) {
	switch kind {
	case speechTLS:
		c.tls()
	case speechHTTP:
		c.http1()
	case speechHTTP2:
		c.http2()
	case speechSocks5:
		c.socksThrough()
	case speechSocks4:
		c.refused(claim{protocol: policy.RawTCP, bad: malformed("SOCKS4 cannot be judged by name: use SOCKS5")}, refuseSocks4)
	case speechRaw:
		c.byAddress(nil)
	case speechRawSoFar:
		c.byAddress((*conn).beginning)
	case speechBad, speechUnclear:
		c.refused(claim{protocol: policy.RawTCP, bad: malformed("the client does not say clearly, or not in time, what it speaks")}, refuseReset)
	}
}

// refused judges a claim that is bad; only in mode observe it goes on, unread.
func (c *conn) refused(cl claim, how refusal) {
	j := c.judge(cl)
	c.note(j)
	if !j.pass {
		c.refuse(j, how)
		return
	}
	c.through(j, nil)
}

// byAddress serves a client that names no host. Where it may still name one later, upward
// serves what it sends: a silent one may be a connection that is opened ahead of its
// use, or one that hopes not to be looked at any more.
func (c *conn) byAddress(upward func(*conn)) {
	j := c.judge(claim{protocol: policy.RawTCP})
	c.note(j)
	if !j.pass {
		c.refuse(j, refuseReset)
		return
	}
	if j.mode == policy.Observe {
		upward = nil
	}
	c.through(j, upward)
}

// through connects to the destination if that is not done yet, and passes bytes on
// in both directions until they end. upward, if not nil, serves what the client
// sends; otherwise it is passed on unread.
func (c *conn) through(j *judgement, upward func(*conn)) {
	if !c.connect(j) {
		return
	}
	if upward == nil {
		upward = (*conn).pumpUp
		if c.up.Load() == 0 { // nothing waits to be sent to the server; what comes next takes longer
			if err := c.engine.pipes.push(c.server, c.client, &c.up); err != nil {
				c.begin()
				c.upEnded(err)
				return
			}
		}
	}
	c.begin()
	c.engine.work.Go(func() { upward(c) })
}

// connect dials, once. On failure it ends the connection and returns false.
func (c *conn) connect(j *judgement) bool {
	if c.server != nil {
		return true
	}
	server, err := c.engine.dial(c.engine.ctx, c, j)
	if err == nil {
		c.mu.Lock()
		if c.closed {
			err = cmp.Or(context.Cause(c.engine.ctx), errCut)
			server.abort()
		} else {
			c.server = server
		}
		c.mu.Unlock()
	}
	if err != nil {
		// Without us, connect(2) would have failed. A reset is the nearest there is.
		c.fail(err)
		c.client.abort()
		c.end()
		return false
	}
	return true
}

// begin starts passing on what the server sends. The goroutine that does ends the
// connection, after the other direction has ended too.
func (c *conn) begin() {
	if c.downDone != nil {
		return
	}
	c.downDone = make(chan struct{})
	c.engine.work.Go(c.pumpDown)
}

// pause undoes begin, so that the answer to the client's first request can be read. It
// returns false if something has been said before, by either side.
func (c *conn) pause() bool {
	silent := func() bool { return c.up.Load() == c.tunnelUp && c.down.Load() == c.tunnelDown }
	if c.downDone == nil || !silent() {
		return c.downDone == nil
	}
	c.pausing.Store(true)
	_ = c.server.SetReadDeadline(time.Unix(1, 0))
	<-c.downDone
	_ = c.server.SetReadDeadline(time.Time{})
	if !c.pausing.CompareAndSwap(true, false) {
		return false // it has ended meanwhile
	}
	c.downDone = nil
	if !silent() {
		c.begin()
		return false
	}
	return true
}

func (c *conn) pumpDown() {
	err := c.engine.pipes.pump(c.client, c.server, -1, &c.down)
	if isDeadline(err) && c.pausing.Load() {
		close(c.downDone)
		return
	}
	c.pausing.Store(false)
	c.mu.Lock()
	final := c.final
	c.mu.Unlock()
	switch {
	case err != nil:
		c.fail(err)
		c.abort()
	case final != nil:
		_, _ = c.client.Write(final)
		_ = c.client.CloseWrite()
	default:
		_ = c.client.CloseWrite()
	}
	close(c.downDone)
}

// pumpUp passes on what the client sends, unread, until it ends, and then ends the
// connection.
func (c *conn) pumpUp() {
	err := c.engine.pipes.pump(c.server, c.client, -1, &c.up)
	c.upEnded(err)
}

// upEnded is called once, when the client sends nothing more.
func (c *conn) upEnded(err error) {
	var far farError
	switch {
	case errors.As(err, &far): // it takes no more, but may have answered before
		c.fail(err)
	case err != nil:
		c.fail(err)
		c.abort()
	default:
		_ = c.server.CloseWrite()
	}
	<-c.downDone
	c.end()
}

// beginning passes on what the client sends until its first line is over, which must
// not be a request to anybody. Without its end it is none.
func (c *conn) beginning() {
	var first firstLine
	for {
		var one [1]byte
		_, err := c.client.peek(one[:], 0)
		if err == nil {
			var whole bool
			if whole, err = c.more(&first); whole && err == nil {
				c.pumpUp()
				return
			}
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			c.upEnded(err)
			return
		}
	}
}

// more adds what is there to the first line, and passes it on.
func (c *conn) more(first *firstLine) (whole bool, err error) {
	small := c.engine.scratch.small.Get().(*[smallSniff]byte)
	n, err := c.client.glance(small[:])
	whole = first.add(small[:n])
	c.engine.scratch.small.Put(small)
	switch {
	case err != nil:
		return false, err
	case whole && first.isRequest():
		bad := malformed("the client says what some servers take for a request")
		j := c.judge(claim{protocol: policy.RawTCP, bad: bad})
		c.note(j)
		if !j.pass {
			return true, bad
		}
	}
	return whole, c.engine.pipes.pump(c.server, c.client, int64(n), &c.up)
}

// late serves a client that said nothing at first, now that it says something.
func (c *conn) late() {
	var one [1]byte
	if _, err := c.client.peek(one[:], 0); err != nil {
		if errors.Is(err, io.EOF) {
			err = nil
		}
		c.upEnded(err)
		return
	}
	c.speak(c.listen())
}
