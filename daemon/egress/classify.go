// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"bytes"
	"strconv"
	"strings"
)

// maxSniff bounds what is read of a connection before it is known where it goes, in
// bytes: a ClientHello with post-quantum keys is some 2 KiB, a request with cookies
// 8 KiB. It must fit into a socket's receive buffer, for it is peeked at.
const maxSniff = 32 << 10

// speech is what the first bytes of a client are.
type speech int

const (
	speechUnclear  speech = iota // more bytes will tell
	speechRaw                    // nothing that names a host
	speechRawSoFar               // the same, as long as its first line does not end like a request's
	speechTLS
	speechHTTP
	speechHTTP2
	speechSocks5
	speechSocks4
	speechBad // meant to look like nothing
)

// The PROXY protocol of HAProxy, in its two versions: servers behind a balancer skip
// it, and take what follows for the beginning.
const (
	proxyText   = "PROXY "
	proxyBinary = "\r\n\r\n\x00\r\nQUIT\n"
)

const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// classify says what the first bytes are. What a lenient server might take for TLS,
// HTTP or SOCKS must not be raw: raw bytes are judged by address alone.
func classify(b []byte) speech {
	if len(b) == 0 {
		return speechUnclear
	}
	for _, hidden := range []string{proxyText, proxyBinary} {
		if bytes.HasPrefix(b, []byte(hidden)) {
			return speechBad
		}
	}
	switch c := b[0]; {
	case len(b) < len(proxyBinary) && strings.HasPrefix(proxyBinary, string(b)):
		return speechUnclear
	case c == recordHandshake:
		return speechTLS // whatever its version: parseHello is strict
	case c >= 20 && c <= 24: // other TLS records: a warning before the hello, for one
		if len(b) < 3 {
			return speechUnclear
		}
		if b[1] == 3 && b[2] <= 4 {
			return speechBad
		}
		return classifyRaw(b)
	case c == 5:
		if len(b) < 2 {
			return speechUnclear
		}
		if b[1] > 0 {
			return speechSocks5
		}
		return classifyNoLogin(b)
	case c == 4:
		if len(b) < 2 {
			return speechUnclear
		}
		if b[1] == 1 || b[1] == 2 {
			return speechSocks4
		}
		return classifyRaw(b)
	case c&0x80 != 0: // the hello of SSLv2: length, 1, version
		if len(b) < 5 {
			return speechUnclear
		}
		if b[2] == clientHello && (b[3] == 3 && b[4] <= 4 || b[3] == 0 && b[4] == 2) {
			return speechBad
		}
		return classifyRaw(b)
	}
	return classifyText(b)
}

// classifyNoLogin tells what begins with 5 and 0 (frames of Cassandra's protocol version 5, DCE/RPC) from a greeting of SOCKS5
// that offers no login: there are proxies that go on without one. Of the request that then follows, the type of an address
// is at 5, and is not 0.
func classifyNoLogin(b []byte) speech {
	switch {
	case len(b) < 6:
		return speechUnclear
	case b[5] == 0:
		return classifyRaw(b)
	}
	return speechBad
}

// classifyRaw says whether bytes that are no request to us are none to anybody.
func classifyRaw(b []byte) speech {
	var first firstLine
	switch whole := first.add(b); {
	case !whole:
		return speechRawSoFar
	case first.isRequest():
		return speechBad
	}
	return speechRaw
}

// classifyText knows a request line: a token, a space, and HTTP/ before the line
// ends. Servers skip empty lines before it, and some skip spaces. While that may
// still come, it is unclear.
func classifyText(b []byte) speech {
	text := bytes.TrimLeft(b, "\r\n\t\v\f ")
	if len(text) == 0 {
		return unlessLonger(b, 64, speechBad)
	}
	line, _, whole := bytes.Cut(text, []byte("\n"))
	if whole {
		line = bytes.TrimSuffix(line, []byte("\r"))
	}
	token, rest, spaced := line, []byte(nil), false
	for i, c := range line {
		if spaceToSome(c) {
			token, rest, spaced = line[:i], bytes.TrimLeftFunc(line[i+1:], func(r rune) bool { return r < 0x80 && spaceToSome(byte(r)) }), true
			break
		}
	}
	get := bytes.EqualFold(token, []byte("GET")) && (bytes.HasPrefix(rest, []byte("/")) || bytes.Contains(rest, []byte("://"))) // of HTTP/0.9
	switch {
	case whole && !spaced:
		return speechRaw
	case !isToken(string(token)), isGit(b):
		return classifyRaw(b)
	case !spaced:
		return unlessLonger(b, 256, speechBad) // some servers take methods of any length
	case !whole && !get && bytes.ContainsFunc(rest, func(r rune) bool { return r < ' ' && !spaceToSome(byte(r)) }):
		return classifyRaw(b) // LDAP, whose lengths may look like a space
	case !whole:
		return unlessLonger(b, maxSniff, speechBad)
	case !bytes.Contains(bytes.ToUpper(rest), []byte("HTTP/")) && !get:
		return speechRaw
	case len(text) != len(b):
		return speechBad // nobody but who wants to hide it sends an empty line first
	case bytes.HasPrefix(b, []byte("PRI * HTTP/2.0\r\n")):
		if len(b) < len(preface) {
			return speechUnclear
		}
		if bytes.HasPrefix(b, []byte(preface)) {
			return speechHTTP2
		}
	}
	return speechHTTP
}

// spaceToSome reports whether a server somewhere splits a request line there.
func spaceToSome(c byte) bool {
	return '\t' <= c && c <= '\r' || 0x1c <= c && c <= ' ' || c == 0x85 || c == 0xa0
}

// unlessLonger waits for more bytes, up to a limit.
func unlessLonger(b []byte, limit int, then speech) speech {
	if len(b) >= limit {
		return then
	}
	return speechUnclear
}

// isGit knows the first packet of git's own protocol: its length in four hexadecimal
// digits, a command, a path and options that end with NUL. It must be there as a whole,
// for its beginning alone may also be a method.
func isGit(b []byte) bool {
	if len(b) < 8 || string(b[4:8]) != "git-" {
		return false
	}
	size, err := strconv.ParseUint(string(b[:4]), 16, 16)
	if err != nil || size <= 8 || int(size) > len(b) {
		return false
	}
	packet, line := b[:size], firstLine{}
	line.add(packet)
	return packet[size-1] == 0 && !bytes.ContainsAny(packet, "\r\n") && !line.isRequest()
}

// firstLine looks through the first line of what is no request to us for what makes it
// one to a lenient proxy: there are some that take whatever stands before the first
// space for a method.
type firstLine struct {
	size          int
	spaced, split words // between spaces, and between whatever some server splits at
	begun, over   bool
}

// maxFirstLine is more than any server takes for a request line, in bytes.
const maxFirstLine = 1 << 20

// add takes the next bytes, and reports whether the line is over.
func (l *firstLine) add(b []byte) bool {
	for _, c := range b {
		if l.over = l.over || c == '\n' && l.begun || l.size > maxFirstLine; l.over {
			break
		}
		l.size++
		if l.begun = l.begun || !spaceToSome(c); l.begun { // servers skip empty lines before it
			l.spaced.add(c, c == ' ')
			l.split.add(c, spaceToSome(c))
		}
	}
	return l.over
}

// isRequest reports whether there is a version where a server might look for it: in the
// third word, or in the last one.
func (l *firstLine) isRequest() bool {
	return l.spaced.third || l.split.third || l.split.count > 2 && l.split.matched == len(version)
}

const version = "HTTP/"

// words counts words, and sees which of them begin with a version.
type words struct {
	count   int
	within  bool
	matched int // bytes of version that the last one begins with; -1: it begins with something else
	third   bool
}

func (w *words) add(c byte, space bool) {
	switch {
	case space:
		w.within = false
		return
	case !w.within:
		w.within, w.matched = true, 0
		w.count++
	}
	switch {
	case w.matched < 0 || w.matched == len(version):
	case c == version[w.matched] || 'a' <= c && c <= 'z' && c-'a'+'A' == version[w.matched]:
		w.matched++
		w.third = w.third || w.matched == len(version) && w.count == 3
	default:
		w.matched = -1
	}
}
