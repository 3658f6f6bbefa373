// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"bytes"
	"strings"
)

// maxSniff bounds what is read of a connection before it is known where it goes, in
// bytes: a ClientHello with post-quantum keys is some 2 KiB, a request with cookies
// 8 KiB. It must fit into a socket's receive buffer, for it is peeked at.
const maxSniff = 32 << 10

// speech is what the first bytes of a client are.
type speech int

const (
	speechUnclear speech = iota // more bytes will tell
	speechRaw                   // nothing that names a host
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

// classify says what the first bytes are. What a lenient server might take for TLS
// or HTTP must not be raw: raw bytes are judged by address alone.
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
		return speechRaw
	case c == 5:
		if len(b) < 2 {
			return speechUnclear
		}
		if b[1] > 0 { // Cassandra's protocol version 5 has its flags here: 0
			return speechSocks5
		}
		return speechRaw
	case c == 4:
		if len(b) < 2 {
			return speechUnclear
		}
		if b[1] == 1 || b[1] == 2 {
			return speechSocks4
		}
		return speechRaw
	case c&0x80 != 0: // the hello of SSLv2: length, 1, version
		if len(b) < 5 {
			return speechUnclear
		}
		if b[2] == clientHello && (b[3] == 3 && b[4] <= 4 || b[3] == 0 && b[4] == 2) {
			return speechBad
		}
		return speechRaw
	}
	return classifyText(b)
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
	get := bytes.EqualFold(token, []byte("GET")) && bytes.HasPrefix(rest, []byte("/")) // of HTTP/0.9
	switch {
	case !isToken(string(token)), whole && !spaced, isGit(text):
		return speechRaw
	case !spaced:
		return unlessLonger(b, 256, speechRaw) // no server knows such a method
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

// isGit knows the first packet of git's own protocol, which is a line without an end:
// its length in four hexadecimal digits, and a command.
func isGit(b []byte) bool {
	return len(b) >= 8 && string(b[4:8]) == "git-" && len(bytes.Trim(b[:4], "0123456789abcdef")) == 0
}
