// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"encoding/binary"
	"net/netip"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
)

// Methods of authentication and replies of SOCKS5 (RFC 1928, RFC 1929).
const (
	socksNoAuth   = 0x00
	socksPassword = 0x02
	socksNone     = 0xff

	socksOK          = 0x00
	socksFailed      = 0x01
	socksNotAllowed  = 0x02 // what Codex's own proxy answers too
	socksUnreachable = 0x04
	socksRefused     = 0x05
	socksCommand     = 0x07
)

// parseGreeting reads the first message of SOCKS5: the methods the client offers, and
// the size of the message.
func parseGreeting(b []byte) (methods []byte, size int, err error) {
	if len(b) < 2 {
		return nil, 0, errShort
	}
	if b[0] != 5 || b[1] == 0 {
		return nil, 0, malformed("the greeting is not SOCKS5")
	}
	size = 2 + int(b[1])
	if len(b) < size {
		return nil, 0, errShort
	}
	return b[2:size], size, nil
}

// parsePassword reads a user name and a password.
func parsePassword(b []byte) (user, password string, size int, err error) {
	if len(b) < 2 {
		return "", "", 0, errShort
	}
	if b[0] != 1 {
		return "", "", 0, malformed("the SOCKS5 login has an unknown version")
	}
	at := 2 + int(b[1])
	if len(b) < at+1 {
		return "", "", 0, errShort
	}
	size = at + 1 + int(b[at])
	if len(b) < size {
		return "", "", 0, errShort
	}
	return string(b[2:at]), string(b[at+1 : size]), size, nil
}

// socksRequest is what a SOCKS5 client wants.
type socksRequest struct {
	Command byte // 1: connect
	Host    policy.Host
	Port    uint16
}

// parseSocksRequest reads a request. A name with bytes that no name has is an
// error, however long it says it is.
func parseSocksRequest(b []byte) (r socksRequest, size int, err error) {
	if len(b) < 5 {
		return r, 0, errShort
	}
	if b[0] != 5 || b[2] != 0 {
		return r, 0, malformed("the request is not SOCKS5")
	}
	r.Command = b[1]
	switch b[3] {
	case 1:
		size = 4 + 4 + 2
	case 4:
		size = 4 + 16 + 2
	case 3:
		size = 4 + 1 + int(b[4]) + 2
	default:
		return r, 0, malformed("the SOCKS5 address has an unknown type")
	}
	if len(b) < size {
		return r, 0, errShort
	}
	address := b[4 : size-2]
	r.Port = binary.BigEndian.Uint16(b[size-2:])
	if b[3] == 3 {
		r.Host, err = policy.ParseHost(string(address[1:]))
		if err != nil {
			return r, 0, malformed("the SOCKS5 host cannot be understood")
		}
	} else {
		addr, _ := netip.AddrFromSlice(address)
		r.Host = policy.HostOf(addr)
	}
	if r.Port == 0 {
		return r, 0, malformed("the SOCKS5 port is 0")
	}
	return r, size, nil
}

// socksReply is the answer to a request. The bound address is of no use to anybody
// and left out.
func socksReply(code byte) []byte { return []byte{5, code, 0, 1, 0, 0, 0, 0, 0, 0} }
