// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

// Host is a name or an address in its one canonical form: two spellings of the same
// host are equal, and nothing else is. Its zero value is no host.
//
// A name is lower-case ASCII (IDNA 2008, as browsers map it), without a dot at its
// end. An address is the one a packet would go to: see canonicalAddr.
type Host struct {
	name string
	addr netip.Addr
}

// HostOf returns the host that an address is.
func HostOf(addr netip.Addr) Host { return Host{addr: canonicalAddr(addr)} }

// IsValid reports whether h is a host.
func (h Host) IsValid() bool { return h.name != "" || h.addr.IsValid() }

// Addr returns the address, which is invalid if h is a name.
func (h Host) Addr() netip.Addr { return h.addr }

// Name returns the name, or "" if h is an address.
func (h Host) Name() string { return h.name }

// String returns the name or the address, without brackets.
func (h Host) String() string {
	if h.addr.IsValid() {
		return h.addr.String()
	}
	return h.name
}

// maxHost bounds what is looked at, in bytes: four times the longest name there is.
const maxHost = 1024

// ParseHost reads a host as clients write it: a name in any case, with or without a
// dot at its end, in Unicode or in ASCII; an IPv4 address in every form that
// inet_aton takes (octal, hexadecimal, short); an IPv6 address with or without
// brackets, its zone left out. It has no port.
//
// What two programs might read differently is an error: control characters, spaces,
// @, %, slashes, empty labels, labels that IDNA refuses, numbers that are no address.
func ParseHost(s string) (Host, error) {
	bad := func(why string) (Host, error) {
		if len(s) > 64 {
			s = s[:64] + "..."
		}
		return Host{}, fmt.Errorf("bad host %q: %s", s, why)
	}
	switch {
	case s == "":
		return bad("it is empty")
	case len(s) > maxHost:
		return bad("it is too long")
	}
	if inner, bracketed := strings.CutPrefix(s, "["); bracketed {
		inner, closed := strings.CutSuffix(inner, "]")
		addr, err := netip.ParseAddr(inner)
		if !closed || err != nil || !addr.Is6() {
			return bad("only an IPv6 address stands in brackets")
		}
		return HostOf(addr), nil
	}
	if strings.Contains(s, ":") {
		addr, err := netip.ParseAddr(s)
		if err != nil {
			return bad("it has a colon and is no IPv6 address")
		}
		return HostOf(addr), nil
	}
	if i := strings.IndexFunc(s, forbiddenInHost); i >= 0 {
		return bad(fmt.Sprintf("%q is not possible in a host", s[i:i+1]))
	}
	name, err := toASCII(s)
	if err != nil {
		return bad(err.Error())
	}
	name = strings.TrimSuffix(name, ".")
	if endsInNumber(name) {
		addr, ok := parseIPv4(name)
		if !ok {
			return bad("it ends in a number and is no IPv4 address")
		}
		return HostOf(addr), nil
	}
	if err := checkName(name); err != nil {
		return bad(err.Error())
	}
	return Host{name: name}, nil
}

// ParseHostPort reads "host:port", "[v6]:port" or, if port is not 0, a host alone
// that stands for that port. An IPv6 address with a port must be in brackets.
func ParseHostPort(s string, port uint16) (Host, uint16, error) {
	host, digits := s, ""
	hasPort := false
	if strings.HasPrefix(s, "[") {
		if i := strings.IndexByte(s, ']'); i >= 0 && i+1 < len(s) {
			if s[i+1] != ':' {
				return Host{}, 0, fmt.Errorf("bad host %q: something follows the bracket", s[:min(len(s), 64)])
			}
			host, digits, hasPort = s[:i+1], s[i+2:], true
		}
	} else if strings.Count(s, ":") == 1 {
		host, digits, hasPort = strings.Cut(s, ":")
	}
	h, err := ParseHost(host)
	if err != nil {
		return Host{}, 0, err
	}
	if !hasPort {
		if port == 0 {
			return Host{}, 0, fmt.Errorf("bad host %q: the port is missing", s[:min(len(s), 64)])
		}
		return h, port, nil
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || n == 0 || digits[0] == '+' {
		return Host{}, 0, fmt.Errorf("bad host %q: bad port", s[:min(len(s), 64)])
	}
	return h, uint16(n), nil
}

func forbiddenInHost(r rune) bool {
	return r <= ' ' || r == 0x7f || r == 0xfffd || strings.ContainsRune(`@%/\?#<>^|"'`+"`{}[]:;,=&!$()*+~", r)
}

// lookup maps as browsers do (UTS 46, not transitional). Underscores are possible:
// there are hosts with them. Lengths are checked by checkName.
var lookup = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.Transitional(false), idna.StrictDomainName(false), idna.VerifyDNSLength(false))

// toASCII maps a name. Names that are ASCII and no A-labels need no table.
func toASCII(s string) (string, error) {
	plain := true
	for i := range len(s) {
		plain = plain && s[i] < 0x80
	}
	if lower := strings.ToLower(s); plain && !strings.Contains(lower, "xn--") {
		return lower, nil
	}
	name, err := lookup.ToASCII(s)
	if err != nil {
		return "", errors.New("it is no internationalised name")
	}
	if i := strings.IndexFunc(name, forbiddenInHost); i >= 0 {
		return "", fmt.Errorf("it maps to a name with %q", name[i:i+1])
	}
	return strings.ToLower(name), nil
}

func checkName(name string) error {
	if len(name) > 253 {
		return errors.New("it is longer than 253 bytes")
	}
	for label := range strings.SplitSeq(name, ".") {
		switch {
		case label == "":
			return errors.New("it has an empty label")
		case len(label) > 63:
			return errors.New("a label is longer than 63 bytes")
		case strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "":
			return errors.New("only letters, digits, - and _ are possible")
		}
	}
	return nil
}

// endsInNumber says what the URL standard asks to know an IPv4 address by: the last
// label is a number. No top-level domain is one.
func endsInNumber(name string) bool {
	last := name[strings.LastIndexByte(name, '.')+1:]
	if last == "" {
		return false
	}
	if strings.Trim(last, "0123456789") == "" {
		return true
	}
	hex, ok := strings.CutPrefix(last, "0x")
	return ok && strings.Trim(hex, "0123456789abcdef") == ""
}

// parseIPv4 reads what inet_aton reads: one to four numbers, decimal, octal (0...)
// or hexadecimal (0x...), the last of which fills the bytes that are left.
func parseIPv4(name string) (netip.Addr, bool) {
	parts := strings.Split(name, ".")
	if len(parts) > 4 {
		return netip.Addr{}, false
	}
	var value uint64
	for i, part := range parts {
		n, ok := number(part)
		last := i == len(parts)-1
		most := uint64(255)
		if last {
			most = math.MaxUint32 >> (8 * i)
		}
		if !ok || n > most {
			return netip.Addr{}, false
		}
		if last {
			value |= n
		} else {
			value |= n << (24 - 8*i)
		}
	}
	return netip.AddrFrom4([4]byte{byte(value >> 24), byte(value >> 16), byte(value >> 8), byte(value)}), true
}

func number(s string) (uint64, bool) {
	base := 10
	switch {
	case strings.HasPrefix(s, "0x"):
		if s, base = s[2:], 16; s == "" {
			return 0, true // "0x" is 0 to inet_aton
		}
	case len(s) > 1 && s[0] == '0':
		base = 8
	}
	if s == "" || strings.ContainsAny(s, "+-_") {
		return 0, false
	}
	n, err := strconv.ParseUint(s, base, 32)
	return n, err == nil
}
