// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"bytes"
	"errors"
	"io"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
)

// tls serves a client that speaks TLS, of which nothing is read but the hello.
func (c *conn) tls() {
	cl, h := c.hello()
	j := c.judge(cl)
	c.note(j)
	if !j.pass {
		c.refuse(j, refuseTLS)
		return
	}
	if cl.bad != nil || j.mode == policy.Observe {
		c.through(j, nil)
		return
	}
	c.throughTLS(j, h)
}

// hello reads the ClientHello.
func (c *conn) hello() (claim, hello) {
	cl := claim{protocol: policy.HTTPS, learned: learnedSNI}
	var h hello
	var bad error
	err := c.look(func(b []byte) bool {
		h, bad = parseHello(b)
		return !errors.Is(bad, errShort)
	})
	switch {
	case errors.Is(bad, errShort) && err != nil:
		cl.bad = malformed("the ClientHello is not complete: " + reasonOf(err))
	case bad != nil:
		cl.bad = bad
	case h.ServerName != "":
		if cl.host, err = policy.ParseHost(h.ServerName); err != nil || cl.host.Addr().IsValid() {
			// RFC 6066 has names only, and names that only one program reads are none.
			cl.host, cl.bad = policy.Host{}, malformed("the server name of the ClientHello is no host name")
		}
	}
	cl.ech = h.ECH
	return cl, h
}

func reasonOf(err error) string {
	switch {
	case isDeadline(err):
		return "the client took too long"
	case errors.Is(err, io.EOF):
		return "the client ended"
	}
	return err.Error()
}

// throughTLS passes the hello on, and looks whether the server wants another one
// (HelloRetryRequest; RFC 8446, 4.1.4): that must be for the same name. Nothing else in
// TLS 1.3 lets a client say in the open, after the first hello, where it goes. Where
// what the server says is passed on already, the client alone shows it.
func (c *conn) throughTLS(j *judgement, h hello) {
	if !c.connect(j) {
		return
	}
	err := c.engine.pipes.pump(c.server, c.client, int64(h.Size), &c.up)
	again, sure := c.downDone != nil, false
	if err == nil && !again {
		_ = c.engine.scratch.look(c.server, time.Now().Add(c.engine.limits.Dial), func(b []byte) bool {
			var known bool
			again, known = wantsAnother(b)
			return known
		})
		sure = again
	}
	c.begin()
	if err == nil && again {
		err = c.secondHello(h, sure)
	}
	if err == nil {
		c.through(j, nil)
		return
	}
	var bad malformed
	if errors.As(err, &bad) {
		denied := *j
		denied.allow, denied.pass = false, false
		denied.verdict = policy.HostVerdict{Cause: policy.CauseMismatch, Reason: bad.Error()}
		c.note(&denied)
	}
	c.upEnded(err)
}

// wantsAnother reports whether a server begins with HelloRetryRequest, and whether
// that is known yet.
func wantsAnother(b []byte) (again, known bool) {
	const at = 5 + 4 + 2 // record, handshake, version
	head := []byte{recordHandshake, 3}
	if n := min(len(b), len(head)); !bytes.Equal(b[:n], head[:n]) {
		return false, true
	}
	if len(b) < at+32 {
		return false, false
	}
	return b[5] == serverHello && bytes.Equal(b[at:at+32], helloRetry()), true
}

const serverHello = 2

// helloRetry is the random of a ServerHello that is a HelloRetryRequest: the SHA-256 of
// these words.
func helloRetry() []byte {
	return []byte("\xcf\x21\xad\x74\xe5\x9a\x61\x11\xbe\x1d\x8c\x02\x1e\x65\xb8\x91\xc2\xa2\x11\x16\x7a\xbb\x8c\x5e\x07\x9e\x09\xe2\xc8\xa8\x33\x9c")
}

// maxBetween and maxBytesBetween bound the records between two hellos: early data,
// for one, of which servers skip little.
const (
	maxBetween      = 4096
	maxBytesBetween = 1 << 20
)

const recordChangeCipher = 20

// secondHello passes records on up to the second hello, which must name the same
// server. sure says that there is one; otherwise it ends where it cannot come any more.
func (c *conn) secondHello(first hello, sure bool) error {
	var passed int64
	for records := 0; records < maxBetween && passed < maxBytesBetween; records++ {
		var one [1]byte
		if _, err := c.client.peek(one[:], 0); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		var kind byte
		var size int64
		var second hello
		var bad error
		other := false
		err := c.look(func(b []byte) bool {
			if len(b) < 6 {
				return false
			}
			kind, size = b[0], 5+int64(b[3])<<8+int64(b[4])
			other = kind == recordHandshake && b[5] != clientHello
			if kind != recordHandshake || other {
				return true
			}
			second, bad = parseHello(b)
			return !errors.Is(bad, errShort)
		})
		switch {
		case err != nil:
			return err
		case !sure && (other || kind != recordHandshake && kind != recordChangeCipher && !first.Early):
			return nil // the handshake went on
		case kind != recordHandshake || other:
			if err := c.engine.pipes.pump(c.server, c.client, size, &c.up); err != nil {
				return err
			}
			passed += size
			continue
		case bad != nil:
			return bad
		case second.ServerName != first.ServerName:
			return malformed("the second ClientHello is for another server than the first")
		}
		return c.engine.pipes.pump(c.server, c.client, int64(second.Size), &c.up)
	}
	if sure {
		return malformed("there is no second ClientHello")
	}
	return nil
}
