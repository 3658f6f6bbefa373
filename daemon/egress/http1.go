// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
)

// http1 serves a client that speaks HTTP/1 in the open. Every request is judged, for
// each may name another host; then it is passed on byte for byte.
func (c *conn) http1() {
	for {
		r, err := c.request()
		if r == nil {
			c.noRequest(err)
			return
		}
		j := c.judgeRequest(r)
		c.note(j)
		if !j.pass {
			c.refuse(j, refuseHTTP)
			return
		}
		if !c.connect(j) {
			return
		}
		answered := c.down.Load()
		next, err := c.pass(r)
		if errors.Is(err, io.ErrUnexpectedEOF) && c.down.Load() > answered {
			c.begin()
			c.upEnded(nil) // the server has answered before it had it all, and the client leaves it at that
			return
		}
		if err != nil {
			c.broken(j, err)
			return
		}
		if next != nil {
			next(c)
			return
		}
	}
}

// broken ends a connection in the middle of a request.
func (c *conn) broken(j *judgement, err error) {
	c.begin()
	var bad malformed
	switch {
	case !errors.As(err, &bad):
	case j.mode == policy.Observe:
		c.pumpUp()
		return
	default:
		denied := *j
		denied.allow, denied.pass = false, false
		denied.verdict = policy.HostVerdict{Cause: policy.CauseMalformed, Reason: bad.Error()}
		c.note(&denied)
	}
	c.upEnded(err)
}

// request reads the head of the next one, and leaves it in the kernel. Nil without an
// error: the client ended where it may.
func (c *conn) request() (*request, error) {
	var one [1]byte
	if _, err := c.client.peek(one[:], 0); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		return nil, err
	}
	var r *request
	var bad error
	err := c.look(func(b []byte) bool {
		r, bad = parseHead(b)
		return !errors.Is(bad, errShort)
	})
	switch {
	case errors.Is(bad, errShort) && isDeadline(err):
		return nil, malformed("the client took too long to send a request")
	case errors.Is(bad, errShort):
		return nil, malformed("the client ended in the middle of a request")
	case bad != nil:
		return nil, bad
	}
	return r, nil
}

// noRequest serves a client that sends no request any more, or none that can be read.
func (c *conn) noRequest(err error) {
	var bad malformed
	if !errors.As(err, &bad) {
		if c.server == nil { // it left before it said anything
			c.client.abort()
			c.end()
			return
		}
		c.begin()
		c.upEnded(err)
		return
	}
	j := c.judge(claim{protocol: policy.HTTP, learned: learnedNone, bad: bad})
	c.note(j)
	if !j.pass {
		c.refuse(j, refuseHTTP)
		return
	}
	c.through(j, nil)
}

// judgeRequest judges one request. One with a URL as its target, or CONNECT, is for a
// proxy if its host does not lead to where the connection goes: then both are judged.
func (c *conn) judgeRequest(r *request) *judgement {
	cl := claim{host: r.Host, protocol: policy.HTTP, learned: learnedHost, method: r.Method, overrides: r.Overrides}
	connect := r.Method == http.MethodConnect
	if connect && (c.downDone != nil || r.Length != 0) {
		cl.bad = malformed("CONNECT is only possible as the first request, and without a body")
		return c.judge(cl)
	}
	if !connect && (!r.Absolute || c.agrees(r.Host) == nil) {
		return c.judge(cl)
	}
	if c.expect.IsValid() {
		cl.bad = malformed("a proxy inside of a tunnel cannot be judged")
		return c.judge(cl)
	}
	outer := c.judge(claim{protocol: policy.HTTP, method: r.Method})
	if !outer.pass {
		return outer
	}
	c.letPass(outer)
	cl.beyond, cl.port = true, r.Port
	if connect {
		cl.protocol, cl.learned = policy.HTTPS, learnedConnect
	}
	return c.judge(cl)
}

// pass passes a request on with its body. next, if not nil, serves the rest of the
// connection.
func (c *conn) pass(r *request) (next func(*conn), err error) {
	upgrade := r.Upgrade != "" && r.Length == 0 && !offersHTTP2(r.Upgrade) && c.pause()
	head := make([]byte, r.Size)
	if err := c.client.take(head); err != nil {
		return nil, err
	}
	if r.Upgrade != "" && !upgrade {
		// A server may ignore it (RFC 9110, 7.8), and so may we. Its answer could only be
		// told from those to earlier requests by reading them all; and HTTP/2 that
		// begins like this is judged by nobody.
		head = withoutUpgrade(head)
	}
	if _, err := c.server.Write(head); err != nil {
		return nil, err
	}
	c.up.Add(int64(len(head)))
	switch {
	case r.Method == http.MethodConnect:
		return c.tunnelThrough(r)
	case upgrade:
		return c.upgrade()
	}
	c.begin()
	if r.Length < 0 {
		return nil, c.chunks()
	}
	return nil, c.engine.pipes.pump(c.server, c.client, r.Length, &c.up)
}

// offersHTTP2 says whether HTTP/2 is among the protocols a request would change to.
func offersHTTP2(upgrade string) bool {
	for offer := range strings.SplitSeq(upgrade, ",") {
		name, _, _ := strings.Cut(strings.Trim(offer, " \t"), "/")
		if name = strings.ToLower(name); name == "h2c" || name == "h2" || name == "http" {
			return true
		}
	}
	return false
}

// upgrade waits for the answer to the first request, which asks for another protocol.
func (c *conn) upgrade() (next func(*conn), err error) {
	a, err := c.answer()
	if err != nil {
		return nil, err
	}
	c.begin()
	if a.code == 101 {
		return (*conn).pumpUp, nil
	}
	return nil, nil
}

// tunnelThrough waits for the answer of another proxy to CONNECT. Inside of the tunnel
// it must be that host.
func (c *conn) tunnelThrough(r *request) (next func(*conn), err error) {
	a, err := c.answer()
	if err != nil {
		return nil, err
	}
	open := a.code >= 200 && a.code <= 299
	if !open && a.length < 0 {
		c.begin() // it ends with the connection
		return nil, nil
	}
	head := make([]byte, a.size)
	if err := c.server.take(head); err != nil {
		return nil, err
	}
	if _, err := c.client.Write(head); err != nil {
		return nil, err
	}
	c.down.Add(int64(a.size))
	if !open { // the client may try again, with a password
		return nil, c.engine.pipes.pump(c.client, c.server, a.length, &c.down)
	}
	c.expect, c.expectPort, c.beyond = r.Host, r.Port, true
	c.tunnelUp, c.tunnelDown = c.up.Load(), c.down.Load()
	c.begin()
	return (*conn).late, nil
}

// answer is the head of a server's answer.
type answer struct {
	code, size int
	length     int64 // of the body, if it says so; else -1
}

// answer looks at the head of the first answer of the server that is not 100 or 103,
// passing these on.
func (c *conn) answer() (answer, error) {
	for {
		var a answer
		var bad error
		var one [1]byte
		if _, err := c.server.peek(one[:], 0); err != nil { // it may take its time, but not with a head it has begun
			return a, err
		}
		err := c.engine.scratch.look(c.server, time.Now().Add(c.engine.limits.Sniff), func(b []byte) bool {
			a, bad = parseAnswer(b)
			return !errors.Is(bad, errShort)
		})
		switch {
		case bad != nil && !errors.Is(bad, errShort):
			return a, bad
		case bad != nil:
			return a, err
		case a.code > 199 || a.code == 101:
			return a, nil
		}
		head := make([]byte, a.size)
		if err := c.server.take(head); err != nil {
			return a, err
		}
		if _, err := c.client.Write(head); err != nil {
			return a, err
		}
		c.down.Add(int64(a.size))
	}
}

// parseAnswer reads the head of an answer to a request that is no HEAD.
func parseAnswer(b []byte) (answer, error) {
	const notHTTP = malformed("the server does not answer with HTTP")
	head, _, whole := bytes.Cut(b, []byte("\r\n\r\n"))
	if !whole {
		if len(b) >= maxSniff || len(b) >= 5 && string(b[:5]) != "HTTP/" {
			return answer{}, notHTTP
		}
		return answer{}, errShort
	}
	lines := strings.Split(string(head), "\r\n")
	a := answer{size: len(head) + 4, length: -1}
	if len(lines[0]) < 12 || lines[0][:7] != "HTTP/1." || lines[0][8] != ' ' {
		return a, notHTTP
	}
	code, ok := digits(lines[0][9:12])
	if !ok || code < 100 {
		return a, notHTTP
	}
	a.code = int(code)
	for _, line := range lines[1:] {
		switch name, value, _ := strings.Cut(line, ":"); strings.ToLower(name) {
		case "content-length":
			n, ok := digits(strings.Trim(value, " \t"))
			if !ok || a.length >= 0 && a.length != n {
				return a, malformed("the answer of the server has no clear length")
			}
			a.length = n
		case "transfer-encoding":
			a.length = -1
			return a, nil
		}
	}
	return a, nil
}

// withoutUpgrade takes the fields that ask for another protocol from a head.
func withoutUpgrade(head []byte) []byte {
	lines := strings.Split(string(head), "\r\n")
	out := lines[:1]
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ":")
		switch strings.ToLower(name) {
		case "upgrade", "http2-settings":
			continue
		case "connection":
			var kept []string
			for token := range strings.SplitSeq(value, ",") {
				token = strings.Trim(token, " \t")
				if !strings.EqualFold(token, "upgrade") && !strings.EqualFold(token, "http2-settings") && token != "" {
					kept = append(kept, token)
				}
			}
			if len(kept) == 0 {
				continue
			}
			line = name + ": " + strings.Join(kept, ", ")
		}
		out = append(out, line)
	}
	return []byte(strings.Join(out, "\r\n"))
}

// chunks passes a body in chunks on (RFC 9112, 7.1), whose end must be where every
// server sees it.
func (c *conn) chunks() error {
	for {
		size, err := c.line(parseChunk)
		if err != nil {
			return err
		}
		if size == 0 {
			break
		}
		if err := c.engine.pipes.pump(c.server, c.client, size, &c.up); err != nil {
			return err
		}
		if _, err := c.line(func(line string) (int64, error) {
			if line != "" {
				return 0, malformed("a chunk is longer than it says")
			}
			return 0, nil
		}); err != nil {
			return err
		}
	}
	for trailers := 0; ; trailers++ {
		more, err := c.line(func(line string) (int64, error) {
			if line == "" {
				return 0, nil
			}
			var f fields
			if err := f.add(line); err != nil {
				return 0, err
			}
			if len(f.host)+len(f.length)+len(f.encoding) > 0 || trailers > 100 {
				return 0, malformed("a trailer that cannot be one")
			}
			return 1, nil
		})
		if err != nil || more == 0 {
			return err
		}
	}
}

// maxLine bounds a line between chunks, in bytes.
const maxLine = smallSniff

// line reads one line of the client's, has it judged, and passes it on.
func (c *conn) line(judge func(string) (int64, error)) (int64, error) {
	var line []byte // with its end
	err := c.engine.scratch.look(c.client, time.Time{}, func(b []byte) bool {
		end := bytes.IndexByte(b, '\n')
		if end < 0 && len(b) < maxLine {
			return false
		}
		line = bytes.Clone(b[:end+1])
		return true
	})
	switch {
	case errors.Is(err, io.EOF):
		return 0, io.ErrUnexpectedEOF
	case err != nil:
		return 0, err
	case !bytes.HasSuffix(line, []byte("\r\n")):
		return 0, malformed("a line of the body does not end with CR LF")
	}
	for _, ch := range line[:len(line)-2] {
		if ch < ' ' && ch != '\t' || ch == 0x7f {
			return 0, malformed("a control character is in a line of the body")
		}
	}
	n, err := judge(string(line[:len(line)-2]))
	if err != nil {
		return 0, err
	}
	if err := c.client.take(line); err != nil {
		return 0, err
	}
	if _, err := c.server.Write(line); err != nil {
		return 0, farError{err}
	}
	c.up.Add(int64(len(line)))
	return n, nil
}

// parseChunk reads the line before a chunk: its size, and extensions nobody knows.
func parseChunk(line string) (int64, error) {
	size, extensions, extended := strings.Cut(line, ";")
	size = strings.TrimRight(size, " \t")
	if size == "" || len(size) > 15 || strings.Trim(size, "0123456789abcdefABCDEF") != "" || extended && strings.Contains(extensions, `"`) {
		return 0, malformed("the size of a chunk is no number")
	}
	var n int64
	for _, ch := range []byte(strings.ToLower(size)) {
		d := int64(ch - '0')
		if ch >= 'a' {
			d = int64(ch-'a') + 10
		}
		n = n<<4 | d
	}
	return n, nil
}
