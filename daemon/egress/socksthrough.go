// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"errors"
	"io"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
)

// socksThrough serves a client that speaks SOCKS5 to a proxy that is not ours. That
// proxy is judged, and then the host it is to connect to.
func (c *conn) socksThrough() {
	outer := c.judge(claim{protocol: policy.RawTCP})
	c.note(outer)
	if !outer.pass {
		c.refuse(outer, func(*judgement) []byte { return []byte{5, socksNone} })
		return
	}
	if !c.connect(outer) {
		return
	}
	r, err := c.negotiate()
	if err != nil {
		var bad malformed
		if !errors.As(err, &bad) {
			c.fail(err)
			c.abort()
			c.end()
			return
		}
		j := c.judge(claim{protocol: policy.RawTCP, bad: bad, learned: learnedSocks})
		c.note(j)
		c.refuse(j, refuseReset)
		return
	}
	j := c.judge(claim{host: r.Host, port: r.Port, protocol: policy.RawTCP, learned: learnedSocks, beyond: true})
	c.mu.Lock()
	c.judged = nil // the proxy is only a way there
	c.mu.Unlock()
	c.note(j)
	if !j.pass {
		c.refuse(j, func(*judgement) []byte { return socksReply(socksNotAllowed) })
		return
	}
	if err := c.forward(func(b []byte) (int, error) { _, n, err := parseSocksRequest(b); return n, err }); err != nil {
		c.fail(err)
		c.abort()
		c.end()
		return
	}
	c.expect, c.expectPort, c.beyond = r.Host, r.Port, true
	c.through(j, (*conn).late)
}

// negotiate passes the greeting and the login on, and reads the request, which it
// leaves in the kernel.
func (c *conn) negotiate() (socksRequest, error) {
	var r socksRequest
	if err := c.forward(func(b []byte) (int, error) { _, n, err := parseGreeting(b); return n, err }); err != nil {
		return r, err
	}
	method, err := c.reply()
	if err != nil {
		return r, err
	}
	switch method {
	case socksNoAuth:
	case socksPassword:
		if err := c.forward(func(b []byte) (int, error) { _, _, n, err := parsePassword(b); return n, err }); err != nil {
			return r, err
		}
		if _, err := c.reply(); err != nil {
			return r, err
		}
	default:
		return r, malformed("the SOCKS5 proxy wants a login that cannot be read")
	}
	_, err = c.message(func(b []byte) (n int, err error) { r, n, err = parseSocksRequest(b); return n, err })
	if err == nil && r.Command != 1 {
		err = malformed("of SOCKS5 only CONNECT can be judged")
	}
	return r, err
}

// message waits for one message of the client's; it stays in the kernel.
func (c *conn) message(parse func([]byte) (int, error)) (int, error) {
	var size int
	var bad error
	err := c.look(func(b []byte) bool {
		size, bad = parse(b)
		return !errors.Is(bad, errShort)
	})
	if errors.Is(bad, errShort) {
		return 0, err
	}
	return size, bad
}

// forward passes one message of the client's on.
func (c *conn) forward(parse func([]byte) (int, error)) error {
	size, err := c.message(parse)
	if err != nil {
		return err
	}
	b := make([]byte, size)
	if err := c.client.take(b); err != nil {
		return err
	}
	c.up.Add(int64(size))
	_, err = c.server.Write(b)
	return err
}

// reply passes on the two bytes with which a SOCKS5 proxy answers a greeting and a
// login, and returns the second.
func (c *conn) reply() (byte, error) {
	var b [2]byte
	_ = c.server.SetReadDeadline(time.Now().Add(c.engine.limits.Dial))
	_, err := io.ReadFull(c.server.TCPConn, b[:])
	_ = c.server.SetReadDeadline(time.Time{})
	if err != nil {
		return 0, err
	}
	c.down.Add(2)
	_, err = c.client.Write(b[:])
	return b[1], err
}
