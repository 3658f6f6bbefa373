// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"encoding/binary"
	"errors"
)

// hello is what a TLS ClientHello says about where it goes.
type hello struct {
	// ServerName is the SNI as it is written, "" if there is none.
	ServerName string
	// ECH says that an encrypted hello is in it: the real name, or grease.
	ECH bool
	// Early says that data may follow at once, before the server has answered.
	Early bool
	// Size is that of the records it is in, in bytes.
	Size int
}

// errShort says that what is there is right so far, and more must come.
var errShort = errors.New("more bytes are needed")

// malformed is a message that cannot be understood in one way only.
type malformed string

func (m malformed) Error() string { return string(m) }

const (
	recordAlert     = 21
	recordHandshake = 22
	clientHello     = 1
	extServerName   = 0
	extEarlyData    = 42
	extECH          = 0xfe0d
	maxRecord       = 1 << 14
)

// parseHello reads a ClientHello (RFC 8446, 4.1.2; RFC 6066, 3) from the first bytes
// of a connection. The handshake message may be cut over any number of records, as
// TLS permits. errShort: it is not complete. Any other error is malformed.
func parseHello(b []byte) (hello, error) {
	message, size, err := firstHandshake(b)
	if err != nil {
		return hello{}, err
	}
	r := reader{b: message}
	r.skip(2 + 32) // version, random
	r.vector8()    // session id
	r.vector16()   // cipher suites
	r.vector8()    // compression
	if r.failed {
		return hello{}, malformed("the ClientHello is cut off")
	}
	out := hello{Size: size}
	if r.empty() {
		return out, nil // before TLS 1.2 there may be no extensions
	}
	extensions := reader{b: r.vector16()}
	if r.failed || !r.empty() {
		return hello{}, malformed("the extensions of the ClientHello have another length")
	}
	seen := map[uint16]bool{}
	for !extensions.empty() {
		kind, data := extensions.uint16(), extensions.vector16()
		switch {
		case extensions.failed:
			return hello{}, malformed("an extension of the ClientHello is cut off")
		case seen[kind]:
			return hello{}, malformed("an extension of the ClientHello is there twice")
		}
		seen[kind] = true
		switch kind {
		case extServerName:
			if out.ServerName, err = serverName(data); err != nil {
				return hello{}, err
			}
		case extEarlyData:
			out.Early = true
		case extECH:
			out.ECH = true
		}
	}
	return out, nil
}

// firstHandshake puts the first handshake message together from its records, of which
// the last one ends with it (RFC 8446, 5.1): what follows is under other keys, or an
// answer. It returns the size of these records.
func firstHandshake(b []byte) (message []byte, total int, err error) {
	for {
		if len(b) < 5 {
			return nil, 0, errShort
		}
		size := int(binary.BigEndian.Uint16(b[3:]))
		switch {
		case b[0] != recordHandshake:
			return nil, 0, malformed("something else than a ClientHello is among its records")
		case b[1] != 3:
			return nil, 0, malformed("the TLS record has an unknown version")
		case size == 0 || size > maxRecord:
			return nil, 0, malformed("the TLS record has an impossible length")
		}
		part := b[5:min(5+size, len(b))]
		if len(message) == 0 && len(part) > 0 && part[0] != clientHello {
			return nil, 0, malformed("the first handshake message is no ClientHello")
		}
		whole := len(b) >= 5+size
		if message == nil && whole {
			message = part[:len(part):len(part)]
		} else {
			message = append(message, part...)
		}
		if len(message) >= 4 {
			want := 4 + (int(message[1])<<16 | int(message[2])<<8 | int(message[3]))
			if want > maxSniff {
				return nil, 0, malformed("the ClientHello is too long")
			}
			if len(message) > want {
				return nil, 0, malformed("something follows the ClientHello in its record")
			}
			if len(message) == want && whole {
				return message[4:], total + 5 + size, nil
			}
		}
		if !whole {
			return nil, 0, errShort
		}
		b, total = b[5+size:], total+5+size
	}
}

// serverName returns the one host name of the list.
func serverName(data []byte) (string, error) {
	r := reader{b: data}
	list := reader{b: r.vector16()}
	if r.failed || !r.empty() || list.empty() {
		return "", malformed("the server name of the ClientHello has another length")
	}
	name := ""
	for !list.empty() {
		kind, value := list.uint8(), list.vector16()
		if list.failed || kind != 0 || len(value) == 0 || name != "" {
			return "", malformed("the server name of the ClientHello is not one host name")
		}
		name = string(value)
	}
	return name, nil
}

// reader takes big-endian numbers and vectors off a message. Once something is
// missing, it gives nothing more and failed stays set.
type reader struct {
	b      []byte
	failed bool
}

func (r *reader) empty() bool { return len(r.b) == 0 || r.failed }

func (r *reader) skip(n int) []byte {
	if r.failed || len(r.b) < n {
		r.failed = true
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) uint8() byte {
	if b := r.skip(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uint16() uint16 {
	if b := r.skip(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) vector8() []byte  { return r.skip(int(r.uint8())) }
func (r *reader) vector16() []byte { return r.skip(int(r.uint16())) }
