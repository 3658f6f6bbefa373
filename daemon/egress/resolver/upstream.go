// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// system is the machine's own way to resolve: resolv.conf(5), of which it takes the
// servers, timeout, attempts and use-vc. Search lists are the client's business.
type system struct {
	path string

	mu      sync.Mutex
	checked time.Time
	changed time.Time
	servers servers
}

type servers struct {
	list     []string // address and port
	timeout  time.Duration
	attempts int
	tcp      bool
}

// confEvery is how often resolv.conf is looked at.
const confEvery = 5 * time.Second

func (s *system) now() servers {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.checked) < confEvery && !s.checked.IsZero() {
		return s.servers
	}
	s.checked = time.Now()
	info, err := os.Stat(s.path)
	if err == nil && info.ModTime().Equal(s.changed) {
		return s.servers
	}
	f, err := os.Open(s.path)
	if err != nil {
		s.servers = parseConf(strings.NewReader("")) // as libc does
		s.changed = time.Time{}
		return s.servers
	}
	defer f.Close()
	s.servers = parseConf(f)
	if info != nil {
		s.changed = info.ModTime()
	}
	return s.servers
}

// parseConf reads resolv.conf(5). What it does not understand it leaves out, as libc
// does; the defaults are those of libc.
func parseConf(r io.Reader) servers {
	out := servers{timeout: 5 * time.Second, attempts: 2}
	scan := bufio.NewScanner(io.LimitReader(r, 1<<20))
	for scan.Scan() {
		fields := strings.Fields(scan.Text())
		if len(fields) < 2 || strings.HasPrefix(fields[0], "#") || strings.HasPrefix(fields[0], ";") {
			continue
		}
		switch fields[0] {
		case "nameserver":
			if addr, err := netip.ParseAddr(fields[1]); err == nil && len(out.list) < 3 {
				out.list = append(out.list, netip.AddrPortFrom(addr, 53).String())
			}
		case "options":
			for _, o := range fields[1:] {
				name, value, _ := strings.Cut(o, ":")
				n, _ := strconv.Atoi(value)
				switch {
				case name == "timeout" && n > 0:
					out.timeout = time.Duration(min(n, 30)) * time.Second
				case name == "attempts" && n > 0:
					out.attempts = min(n, 5)
				case name == "use-vc":
					out.tcp = true
				}
			}
		}
	}
	if len(out.list) == 0 {
		out.list = []string{"127.0.0.1:53"}
	}
	return out
}

// errNoServer says that no server gave an answer.
var errNoServer = errors.New("no DNS server answers")

// exchange asks the system's servers, one after the other.
func (s *system) exchange(ctx context.Context, q dnsmessage.Question, want asked) (*dnsmessage.Message, error) {
	conf := s.now()
	err := errNoServer
	var refused *dnsmessage.Message
	for range conf.attempts {
		for _, server := range conf.list {
			var m *dnsmessage.Message
			m, err = exchangeWith(ctx, server, conf, q, want)
			switch {
			case err != nil:
			case m.RCode == dnsmessage.RCodeServerFailure || m.RCode == dnsmessage.RCodeRefused || m.RCode == dnsmessage.RCodeNotImplemented:
				refused = m // another one may know
			default:
				return m, nil
			}
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
		}
		if refused != nil {
			return refused, nil
		}
	}
	return nil, err
}

// asked are the bits of a question that are passed on.
type asked struct {
	dnssec   bool // DO: send signatures
	checked  bool // AD: say whether they are good
	checking bool // CD: do not look whether they are
}

func exchangeWith(ctx context.Context, server string, conf servers, q dnsmessage.Question, want asked) (*dnsmessage.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, conf.timeout)
	defer cancel()
	packed, id, err := query(q, want)
	if err != nil {
		return nil, err
	}
	if !conf.tcp {
		m, err := over(ctx, "udp", server, packed, id, q)
		if err != nil {
			return nil, err
		}
		if !m.Truncated {
			return m, nil
		}
	}
	return over(ctx, "tcp", server, packed, id, q)
}

// ednsSize is what fits into a packet on every network (DNS flag day 2020).
const ednsSize = 1232

func query(q dnsmessage.Question, want asked) ([]byte, uint16, error) {
	var id [2]byte
	_, _ = rand.Read(id[:]) // never fails
	m := dnsmessage.Message{
		Header: dnsmessage.Header{
			ID: binary.BigEndian.Uint16(id[:]), RecursionDesired: true,
			AuthenticData: want.checked, CheckingDisabled: want.checking,
		},
		Questions: []dnsmessage.Question{q},
	}
	var opt dnsmessage.ResourceHeader
	if err := opt.SetEDNS0(ednsSize, dnsmessage.RCodeSuccess, want.dnssec); err != nil {
		return nil, 0, fmt.Errorf("asking for %s: %w", q.Name, err)
	}
	m.Additionals = []dnsmessage.Resource{{Header: opt, Body: &dnsmessage.OPTResource{}}}
	packed, err := m.Pack()
	if err != nil {
		return nil, 0, fmt.Errorf("asking for %s: %w", q.Name, err)
	}
	return packed, m.ID, nil
}

// over sends one question and waits for its answer.
func over(ctx context.Context, network, server string, packed []byte, id uint16, q dnsmessage.Question) (*dnsmessage.Message, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, network, server)
	if err != nil {
		return nil, fmt.Errorf("asking the DNS server %s: %w", server, err)
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if network == "tcp" {
		if err := writeFramed(c, packed); err != nil {
			return nil, fmt.Errorf("asking the DNS server %s: %w", server, err)
		}
	} else if _, err := c.Write(packed); err != nil {
		return nil, fmt.Errorf("asking the DNS server %s: %w", server, err)
	}
	buf := make([]byte, 64<<10)
	for {
		var n int
		if network == "tcp" {
			n, err = readFramed(c, buf)
		} else {
			n, err = c.Read(buf)
		}
		if err != nil {
			return nil, fmt.Errorf("the DNS server %s: %w", server, err)
		}
		var m dnsmessage.Message
		// Anything else is somebody's guess, or an answer that came too late.
		if m.Unpack(buf[:n]) == nil && m.Response && m.ID == id && len(m.Questions) == 1 && sameQuestion(m.Questions[0], q) {
			return &m, nil
		}
		if network == "tcp" {
			return nil, fmt.Errorf("the DNS server %s: its answer is to no question of ours, or cannot be read", server)
		}
	}
}

func sameQuestion(a, b dnsmessage.Question) bool {
	return a.Type == b.Type && a.Class == b.Class && strings.EqualFold(a.Name.String(), b.Name.String())
}

// writeFramed and readFramed are DNS over TCP: RFC 1035, 4.2.2.
func writeFramed(w io.Writer, message []byte) error {
	if len(message) > 0xffff {
		return errors.New("a DNS message of more than 65535 bytes")
	}
	framed := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(message)), uint16(len(message)))
	_, err := w.Write(append(framed, message...))
	return err
}

func readFramed(r io.Reader, buf []byte) (int, error) {
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return 0, err
	}
	n := int(binary.BigEndian.Uint16(size[:]))
	if n > len(buf) {
		return 0, fmt.Errorf("a DNS message of %d bytes", n)
	}
	return io.ReadFull(r, buf[:n])
}
