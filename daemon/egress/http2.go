// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
)

const (
	frameHead = 9
	// maxHeaders bounds a block of header fields, in bytes.
	maxHeaders = 64 << 10
)

// h2 reads what a client of HTTP/2 sends in the open (RFC 9113). The fields of every
// request are decoded, since one connection may carry requests for several hosts.
type h2 struct {
	decoder *hpack.Decoder
	highest uint32 // stream that was opened last
	block   []byte // fields of which not all have come
	stream  uint32 // whose they are; 0: none
}

func newH2() *h2 {
	h := &h2{decoder: hpack.NewDecoder(4096, nil)}
	// What the server permits is not read; a larger table is a matter of memory only.
	h.decoder.SetAllowedMaxDynamicTableSize(maxHeaders)
	h.decoder.SetMaxStringLength(maxHeaders)
	return h
}

// http2 serves a client that speaks HTTP/2 without TLS and without asking.
func (c *conn) http2() {
	h := newH2()
	held, r, err := c.openHTTP2(h)
	if err != nil {
		c.brokenHTTP2(err)
		return
	}
	var j *judgement
	if r != nil {
		j = c.judgeHTTP2(r)
	} else {
		j = c.judge(claim{protocol: policy.HTTP}) // it waits for the server's settings
	}
	c.note(j)
	if !j.pass {
		c.refuse(j, func(j *judgement) []byte { return refuseHTTP2(j, h.stream1()) })
		return
	}
	if !c.connect(j) {
		return
	}
	if _, err := c.server.Write(held); err != nil {
		c.begin()
		c.upEnded(err)
		return
	}
	c.up.Add(int64(len(held)))
	c.begin()
	c.engine.work.Go(func() { c.streams(h, j.mode) })
}

func (h *h2) stream1() uint32 { return max(h.highest, 1) }

// openHTTP2 takes the preface and the frames up to the first request. No request: the
// client waits for something.
func (c *conn) openHTTP2(h *h2) (held []byte, r *request, err error) {
	held = make([]byte, len(preface), 1024)
	if err := c.client.take(held); err != nil {
		return nil, nil, err
	}
	deadline := time.Now().Add(c.engine.limits.Sniff)
	for len(held) < maxSniff {
		until := time.Now().Add(c.engine.limits.Silence)
		if h.stream != 0 || until.After(deadline) {
			until = deadline
		}
		_ = c.client.SetReadDeadline(until)
		var one [1]byte
		_, err := c.client.peek(one[:], 0)
		_ = c.client.SetReadDeadline(time.Time{})
		if isDeadline(err) && h.stream == 0 && time.Now().Before(deadline) || errors.Is(err, io.EOF) {
			return held, nil, nil
		}
		if err != nil {
			return nil, nil, err
		}
		_ = c.client.SetReadDeadline(deadline)
		frame, r, err := c.frame(h)
		_ = c.client.SetReadDeadline(time.Time{})
		if err != nil {
			return nil, nil, err
		}
		held = append(held, frame...)
		if r != nil {
			return held, r, nil
		}
	}
	return nil, nil, malformed("the client sends a lot before its first request")
}

// frame takes one frame, which is not data, and the request that is complete with it.
func (c *conn) frame(h *h2) (frame []byte, r *request, err error) {
	var head [frameHead]byte
	if err := c.client.take(head[:]); err != nil {
		return nil, nil, err
	}
	if size := frameSize(head[:]); size > maxHeaders || http2.FrameType(head[3]) == http2.FrameData {
		return nil, nil, malformed("a frame of HTTP/2 that cannot be here")
	} else {
		frame = make([]byte, frameHead+size)
	}
	copy(frame, head[:])
	if err := c.client.take(frame[frameHead:]); err != nil {
		return nil, nil, err
	}
	r, err = h.read(frame)
	return frame, r, err
}

func frameSize(b []byte) int { return int(b[0])<<16 | int(b[1])<<8 | int(b[2]) }

// read looks at a whole frame. It returns the request that begins with it.
func (h *h2) read(frame []byte) (*request, error) {
	kind, flags := http2.FrameType(frame[3]), http2.Flags(frame[4])
	stream := binary.BigEndian.Uint32(frame[5:]) & (1<<31 - 1)
	body := reader{b: frame[frameHead:]}
	if h.stream != 0 && (kind != http2.FrameContinuation || stream != h.stream) {
		return nil, malformed("header fields of HTTP/2 are interrupted")
	}
	switch kind {
	case http2.FrameHeaders:
		if stream == 0 || stream%2 == 0 {
			return nil, malformed("a request of HTTP/2 has an impossible stream")
		}
		if flags.Has(http2.FlagHeadersPadded) {
			padding := int(body.uint8())
			if padding > len(body.b) {
				return nil, malformed("a frame of HTTP/2 has too much padding")
			}
			body.b = body.b[:len(body.b)-padding]
		}
		if flags.Has(http2.FlagHeadersPriority) {
			body.skip(5)
		}
		if body.failed {
			return nil, malformed("a frame of HTTP/2 is too short")
		}
		h.stream = stream
	case http2.FrameContinuation:
		if h.stream == 0 {
			return nil, malformed("header fields of HTTP/2 go on that never began")
		}
	case http2.FramePushPromise:
		return nil, malformed("a client of HTTP/2 cannot push")
	default:
		return nil, nil
	}
	h.block = append(h.block, body.b...)
	if len(h.block) > maxHeaders {
		return nil, malformed("the header fields of HTTP/2 are too long")
	}
	if !flags.Has(http2.FlagHeadersEndHeaders) {
		return nil, nil
	}
	fields, err := h.decoder.DecodeFull(h.block)
	trailers := h.stream <= h.highest
	h.highest = max(h.highest, h.stream)
	h.block, h.stream = h.block[:0], 0
	if err != nil {
		return nil, malformed("the header fields of HTTP/2 cannot be read")
	}
	return h2Request(fields, trailers)
}

// h2Request reads the fields of a request, or of what follows one.
func h2Request(fields []hpack.HeaderField, trailers bool) (*request, error) {
	r := &request{}
	var f struct{ method, scheme, path, authority, protocol, host, length []string }
	regular := false
	for _, field := range fields {
		pseudo := len(field.Name) > 0 && field.Name[0] == ':'
		if pseudo && (regular || trailers) {
			return nil, malformed("a pseudo-header of HTTP/2 stands where it cannot")
		}
		regular = regular || !pseudo
		if err := h2Field(field, pseudo); err != nil {
			return nil, err
		}
		switch field.Name {
		case ":method":
			f.method = append(f.method, field.Value)
		case ":scheme":
			f.scheme = append(f.scheme, field.Value)
		case ":path":
			f.path = append(f.path, field.Value)
		case ":authority":
			f.authority = append(f.authority, field.Value)
		case ":protocol":
			f.protocol = append(f.protocol, field.Value)
		case "host":
			f.host = append(f.host, field.Value)
		case "content-length":
			f.length = append(f.length, field.Value)
		default:
			if pseudo {
				return nil, malformed("an unknown pseudo-header of HTTP/2")
			}
			r.Overrides = r.Overrides || overridesMethod(field.Name)
		}
	}
	if trailers {
		if len(f.host)+len(f.length) > 0 {
			return nil, malformed("a trailer that cannot be one")
		}
		return nil, nil
	}
	if len(f.path) > 0 && (f.path[0] != "*" && !strings.HasPrefix(f.path[0], "/") || strings.ContainsFunc(f.path[0], func(c rune) bool { return c < 0x80 && spaceToSome(byte(c)) })) || len(f.scheme) > 0 && !isToken(f.scheme[0]) || len(f.protocol) > 0 && !isToken(f.protocol[0]) {
		return nil, malformed("the target of a request of HTTP/2 cannot be understood")
	}
	if len(f.method) != 1 || !isToken(f.method[0]) || len(f.authority) > 1 || len(f.host) > 1 || len(f.authority)+len(f.host) == 0 || len(f.scheme) > 1 || len(f.path) > 1 || len(f.length) > 1 || len(f.protocol) > 1 {
		return nil, malformed("a request of HTTP/2 does not say once what it must say")
	}
	r.Method = f.method[0]
	if len(f.protocol) > 0 {
		r.Upgrade = f.protocol[0]
	}
	if len(f.path) > 0 {
		r.Target = f.path[0]
	}
	if r.Method == http.MethodConnect && r.Upgrade == "" {
		return nil, malformed("CONNECT of HTTP/2 cannot be judged")
	}
	for _, name := range append(f.authority, f.host...) {
		host, port, err := policy.ParseHostPort(name, 65535)
		if err != nil {
			return nil, malformed("the authority of a request of HTTP/2 cannot be understood")
		}
		if r.Host.IsValid() && (host != r.Host || port != r.Port) {
			return nil, errHost
		}
		r.Host, r.Port = host, port
	}
	return r, nil
}

// h2Field refuses what RFC 9113, 8.2 forbids: gateways that make HTTP/1 of it could be
// told another host, or another request, by it.
func h2Field(f hpack.HeaderField, pseudo bool) error {
	name := f.Name
	if pseudo {
		name = name[1:]
	}
	switch {
	case !isToken(name) || strings.ToLower(name) != name:
		return malformed("the name of a header field of HTTP/2 cannot be one")
	case !httpguts.ValidHeaderFieldValue(f.Value) || strings.Trim(f.Value, " \t") != f.Value:
		return malformed("the value of a header field of HTTP/2 cannot be one")
	}
	switch strings.ReplaceAll(name, "_", "-") { // some servers take _ for -
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
		return malformed("a header field of HTTP/2 is about the connection")
	case "te":
		if f.Value != "trailers" {
			return malformed("a header field of HTTP/2 is about the connection")
		}
	case "content-length":
		if _, ok := digits(f.Value); !ok || name != "content-length" {
			return malformed("the Content-Length is no number")
		}
	}
	return nil
}

func (c *conn) judgeHTTP2(r *request) *judgement {
	return c.judge(claim{host: r.Host, protocol: policy.HTTP, learned: learnedH2, method: r.Method, overrides: r.Overrides})
}

// brokenHTTP2 ends a connection whose frames cannot be read. What the decoder of the
// server must see cannot be taken out of the middle, so nothing goes on.
func (c *conn) brokenHTTP2(err error) {
	var bad malformed
	if errors.As(err, &bad) {
		j := c.judge(claim{protocol: policy.HTTP, learned: learnedNone, bad: bad})
		j.allow, j.pass = false, false // what was taken off the connection is gone
		c.note(j)
		c.refuse(j, func(*judgement) []byte {
			if c.downDone != nil {
				return nil
			}
			return goAway(http2.ErrCodeProtocol)
		})
		return
	}
	c.fail(err)
	if c.downDone != nil {
		c.upEnded(err)
		return
	}
	c.abort()
	c.end()
}

// streams passes on what the client sends, and judges each request before.
func (c *conn) streams(h *h2, mode policy.Mode) {
	for {
		err := c.oneFrame(h, mode)
		var bad malformed
		switch {
		case err == nil:
			continue
		case errors.Is(err, io.EOF):
			c.upEnded(nil)
		case errors.As(err, &bad):
			c.brokenHTTP2(err)
		case errors.Is(err, errRefused):
			<-c.downDone
			c.end()
		default:
			c.upEnded(err)
		}
		return
	}
}

var errRefused = errors.New("a request was refused")

func (c *conn) oneFrame(h *h2, mode policy.Mode) error {
	var head [frameHead]byte
	have := 0
	for have < frameHead { // a connection may be idle between frames, and end there
		n, err := c.client.peek(head[:], have)
		if err != nil {
			if errors.Is(err, io.EOF) && n > 0 {
				return io.ErrUnexpectedEOF
			}
			return err
		}
		have = n
	}
	if http2.FrameType(head[3]) == http2.FrameData && h.stream == 0 {
		return c.engine.pipes.pump(c.server, c.client, int64(frameHead+frameSize(head[:])), &c.up)
	}
	frame, r, err := c.frame(h)
	if err != nil {
		return err
	}
	if r != nil {
		j := c.judgeHTTP2(r)
		c.note(j)
		if !j.pass {
			c.abort()
			return errRefused
		}
	}
	if _, err := c.server.Write(frame); err != nil {
		return err
	}
	c.up.Add(int64(len(frame)))
	return nil
}

// refuseHTTP2 answers the request of a stream as refuseHTTP does, and says that no
// other will be answered.
func refuseHTTP2(j *judgement, stream uint32) []byte {
	var fields, out bytes.Buffer
	status, kind, body := "403", "text/plain", message(j)
	if j.verdict.Cause == policy.CauseMalformed {
		status = "400"
	}
	enc := hpack.NewEncoder(&fields)
	for _, f := range []hpack.HeaderField{{Name: ":status", Value: status}, {Name: "content-type", Value: kind}, {Name: "x-proxy-error", Value: proxyError(j.verdict.Cause)}} {
		_ = enc.WriteField(f) // into memory
	}
	fr := http2.NewFramer(&out, nil)
	_ = fr.WriteSettings()
	_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: fields.Bytes(), EndHeaders: true, EndStream: j.method == "HEAD"})
	if j.method != "HEAD" {
		_ = fr.WriteData(stream, true, []byte(body))
	}
	_ = fr.WriteGoAway(stream, http2.ErrCodeNo, nil)
	return out.Bytes()
}

func goAway(code http2.ErrCode) []byte {
	var out bytes.Buffer
	fr := http2.NewFramer(&out, nil)
	_ = fr.WriteSettings()
	_ = fr.WriteGoAway(0, code, nil)
	return out.Bytes()
}
