// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
)

// request is the head of an HTTP/1 request, read so strictly that every server reads
// it in the same way: it is passed on byte for byte.
type request struct {
	Method string
	// Target is as it is written.
	Target string
	// Old says HTTP/1.0.
	Old bool
	// Host is what the Host field names, or the target if that is absolute. Invalid:
	// HTTP/1.0 without one.
	Host policy.Host
	Port uint16 // 0: none is written
	// Absolute says that the target is a URL, as clients write it to a proxy.
	Absolute bool
	// Length is that of the body, in bytes; -1: it comes in chunks.
	Length int64
	// Upgrade is the protocol the connection is to change to, "" for none.
	Upgrade string
	// Overrides says that a field asks servers to take another method for it.
	Overrides bool
	// Size is that of the head with the empty line, in bytes.
	Size int
}

// errHost is what Codex's own proxy says of such a request.
const errHost = malformed("Host header does not match request target")

// parseHead reads the head of a request. errShort: it is not complete. Any other
// error is malformed.
//
// RFC 9112 lets a server be lenient in places, and where two of them are so
// differently, a request can be hidden in another one. So these are errors: lines
// that end with LF alone, lines that go on in the next one, spaces before the colon,
// fields that say twice how long the body is or for which host it is.
func parseHead(b []byte) (*request, error) {
	end := bytes.Index(b, []byte("\r\n\r\n"))
	// What is wrong in an incomplete head will not become right.
	part := b
	if end >= 0 {
		part = b[:end+2]
	}
	for i, c := range part {
		switch {
		case c == '\n' && (i == 0 || part[i-1] != '\r'), c == '\r' && i+1 < len(part) && part[i+1] != '\n':
			return nil, malformed("a line of the request does not end with CR LF")
		case c < ' ' && c != '\r' && c != '\n' && c != '\t', c == 0x7f:
			return nil, malformed("a control character is in the head of the request")
		}
	}
	if end < 0 {
		if len(b) >= maxSniff {
			return nil, malformed("the head of the request is too long")
		}
		return nil, errShort
	}
	lines := strings.Split(string(part[:len(part)-2]), "\r\n")
	r := &request{Size: end + 4}
	if err := r.line(lines[0]); err != nil {
		return nil, err
	}
	var f fields
	for _, line := range lines[1:] {
		if err := f.add(line); err != nil {
			return nil, err
		}
	}
	return r, r.apply(&f)
}

// line reads the request line: method, target and version, one space between them.
func (r *request) line(line string) error {
	method, rest, _ := strings.Cut(line, " ")
	target, version, ok := strings.Cut(rest, " ")
	switch {
	case !ok || !isToken(method) || target == "" || strings.Contains(version, " ") || strings.ContainsAny(line, "\t"):
		return malformed("the request line is not METHOD SP TARGET SP VERSION")
	case version == "HTTP/1.0":
		r.Old = true
	case version != "HTTP/1.1":
		return malformed("the HTTP version is unknown")
	}
	// What is kept of it is cloned, here and below: it is remembered, and the head is long.
	r.Method, r.Target = strings.Clone(method), target
	switch {
	case method == "CONNECT":
		host, port, err := policy.ParseHostPort(strings.Clone(target), 0)
		if err != nil {
			return malformed("the target of CONNECT is not host:port")
		}
		r.Host, r.Port = host, port
	case target[0] == '/', target == "*" && method == "OPTIONS":
	default:
		scheme, rest, ok := strings.Cut(target, "://")
		if !ok || !strings.EqualFold(scheme, "http") {
			return malformed("the request target is neither a path nor an http URL")
		}
		authority := rest
		if i := strings.IndexAny(rest, "/?#"); i >= 0 {
			authority = rest[:i]
		}
		host, port, err := policy.ParseHostPort(strings.Clone(authority), 80)
		if err != nil {
			return malformed("the host of the request target cannot be understood")
		}
		r.Host, r.Port, r.Absolute = host, port, true
	}
	return nil
}

// fields are those that say something about framing and routing.
type fields struct {
	host, length, encoding, upgrade, connection []string
	overrides                                   bool
}

func (f *fields) add(line string) error {
	name, value, ok := strings.Cut(line, ":")
	if !ok || !isToken(name) {
		return malformed("a header field is not NAME: VALUE")
	}
	value = strings.Trim(value, " \t")
	// Some servers take _ for -.
	switch plain := strings.ToLower(strings.ReplaceAll(name, "_", "-")); plain {
	case "host", "content-length", "transfer-encoding", "connection", "upgrade":
		if strings.Contains(name, "_") {
			return malformed("a header field is almost " + plain)
		}
		switch plain {
		case "host":
			f.host = append(f.host, value)
		case "content-length":
			f.length = append(f.length, value)
		case "transfer-encoding":
			f.encoding = append(f.encoding, value)
		case "connection":
			f.connection = append(f.connection, value)
		case "upgrade":
			f.upgrade = append(f.upgrade, value)
		}
	}
	f.overrides = f.overrides || overridesMethod(name)
	return nil
}

// overridesMethod knows the fields by which servers are asked to take another method.
func overridesMethod(name string) bool {
	switch strings.ToLower(strings.ReplaceAll(name, "_", "-")) {
	case "x-http-method-override", "x-method-override", "x-http-method":
		return true
	}
	return false
}

func (r *request) apply(f *fields) error {
	r.Overrides = f.overrides
	switch {
	case len(f.host) > 1:
		return malformed("there are two Host headers")
	case len(f.host) == 0 && !r.Old:
		return malformed("there is no Host header")
	case len(f.host) == 1:
		host, port, err := policy.ParseHostPort(strings.Clone(f.host[0]), 65535)
		if err != nil {
			return malformed("the Host header cannot be understood")
		}
		if port == 65535 && !strings.HasSuffix(f.host[0], ":65535") {
			port = 0
		}
		if r.Host.IsValid() {
			if host != r.Host || port != 0 && port != r.Port || port == 0 && r.Absolute && r.Port != 80 {
				return errHost
			}
			break
		}
		r.Host, r.Port = host, port
	}
	for _, token := range strings.Split(strings.ToLower(strings.Join(f.connection, ",")), ",") {
		switch strings.Trim(token, " \t") {
		case "host", "content-length", "transfer-encoding":
			return malformed("the Connection header would take away what the request is judged by")
		}
	}
	switch {
	case len(f.encoding) > 0 && (len(f.length) > 0 || len(f.encoding) > 1 || r.Old || !strings.EqualFold(f.encoding[0], "chunked")):
		return malformed("it is not clear how long the body of the request is")
	case len(f.encoding) > 0:
		r.Length = -1
	case len(f.length) > 1:
		return malformed("there are two Content-Length headers")
	case len(f.length) == 1:
		n, ok := digits(f.length[0])
		if !ok {
			return malformed("the Content-Length is no number")
		}
		r.Length = n
	}
	if len(f.upgrade) > 0 {
		r.Upgrade = strings.Join(f.upgrade, ", ")
	}
	return nil
}

// digits reads a decimal number of at most 18 digits.
func digits(s string) (int64, bool) {
	if s == "" || len(s) > 18 || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

func isToken(s string) bool {
	for i := range len(s) {
		if !tokenByte(s[i]) {
			return false
		}
	}
	return s != ""
}

// tokenByte reports whether c may stand in a method or the name of a field (RFC 9110, 5.6.2).
func tokenByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}
