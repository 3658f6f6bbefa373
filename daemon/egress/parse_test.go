// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
)

// helloOf returns what crypto/tls sends first.
func helloOf(t testing.TB, config *tls.Config) []byte {
	t.Helper()
	ours, theirs := net.Pipe()
	defer ours.Close()
	go func() {
		_ = tls.Client(theirs, config).Handshake()
		_ = theirs.Close()
	}()
	b := make([]byte, 8192)
	n, err := ours.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

func TestHellos(t *testing.T) {
	for _, config := range []*tls.Config{
		{ServerName: "Example.COM"},
		{ServerName: "Example.COM", MaxVersion: tls.VersionTLS12, MinVersion: tls.VersionTLS10}, //nolint:gosec // what is read, not what is spoken
		{ServerName: "Example.COM", CurvePreferences: []tls.CurveID{tls.X25519MLKEM768}},        // 1.2 KiB of key share
		{ServerName: "Example.COM", NextProtos: []string{strings.Repeat("x", 200), strings.Repeat("y", 255), "h2"}},
	} {
		b := helloOf(t, config)
		for i := range b {
			if _, err := parseHello(b[:i]); !errors.Is(err, errShort) {
				t.Fatalf("%d of %d bytes: %v", i, len(b), err)
			}
		}
		if h, err := parseHello(b); err != nil || h.ServerName != "Example.COM" || h.ECH {
			t.Errorf("%+v, %v", h, err)
		}
	}
	if h, err := parseHello(helloOf(t, &tls.Config{InsecureSkipVerify: true})); err != nil || h.ServerName != "" {
		t.Errorf("without a name: %+v, %v", h, err)
	}
}

func FuzzHello(f *testing.F) {
	f.Add(helloOf(f, &tls.Config{ServerName: "example.com"}))
	f.Add(helloOf(f, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}))
	f.Add([]byte("\x16\x03\x01\x00\x02\x01\x00\x16\x03\x01\x00\x02\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := parseHello(b)
		if err != nil {
			return
		}
		// What is complete stays what it is, whatever follows.
		again, err := parseHello(append(bytes.Clone(b), "more"...))
		if err != nil || again != h {
			t.Fatalf("%+v, then %+v (%v)", h, again, err)
		}
	})
}

// What we take for a request, a real server must take for the same one.
func FuzzHead(f *testing.F) {
	for _, s := range []string{
		"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", "POST http://a.example:80/x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\n\r\nabc",
		"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n", "GET / HTTP/1.0\r\n\r\n", "PUT / HTTP/1.1\r\nhost:a\r\ntransfer-encoding:chunked\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: [::1]:8080\r\nX-Y:\tz \r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseHead(b)
		if err != nil {
			return
		}
		theirs, err := http.ReadRequest(bufio.NewReader(iotest.OneByteReader(bytes.NewReader(b[:r.Size]))))
		if err != nil {
			return // a server that refuses what we take does no harm
		}
		if theirs.Method != r.Method {
			t.Fatalf("method %q, theirs %q", r.Method, theirs.Method)
		}
		switch host, _, err := policy.ParseHostPort(theirs.Host, 80); {
		case !r.Host.IsValid() && theirs.Host == "":
		case err != nil, host != r.Host:
			t.Fatalf("host %q, theirs %q (%v)", r.Host, theirs.Host, err)
		}
		if length := theirs.ContentLength; length != r.Length {
			t.Fatalf("length %d, theirs %d", r.Length, length)
		}
		if classify(b) != speechHTTP && classify(b) != speechHTTP2 {
			t.Fatalf("it is a request, but was taken for %d", classify(b))
		}
	})
}

// What any server could take for a request is not raw, whatever of it has come, and
// whatever comes later.
func FuzzClassify(f *testing.F) {
	for _, s := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "SSH-2.0-x\r\n", "\x16\x03\x01", "\x05\x01\x00", "EHLO x\r\n",
		"0032git-upload-pack /project.git\x00host=example.com\x00", "AMQP\x00\x00\x09\x01", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"0000git-x / HTTP/1.1\r\nHost: a\r\n\r\n", "0012git-x /\x00\x00\x00\x00 HTTP/1.1\r\nHost: a\r\n\r\n", "000cgit-x /\x00 HTTP/1.1\r\n", strings.Repeat("A", 258) + " / HTTP/1.1\r\nHost: a\r\n\r\n",
		"G:T http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", "\xff\x00 http://a/ http/1.0\n", "\x05\x00 x HTTP/1.1\n", "\x14 x HTTP/1.1\n",
		"\x05\x00\x05\x01\x00\x03\x01a\x00\x50", "\x05\x00\x05\x01\x01\x01\x01\x02\x03\x04\x00\x50", "\x05\x00\x00\x00\x01\x00\x00\x00\x16", "\x04\x00 x HTTP/1.1\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		_, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(b)))
		request := err == nil
		_, err = parseHello(b)
		named := request || err == nil || lenientSocks(b)
		end := lenientLine(b)
		for i := range b {
			switch now := classify(b[:i+1]); {
			case named && (now == speechRaw || now == speechRawSoFar):
				t.Fatalf("%q names a host, and %q was taken for raw bytes", b, b[:i+1])
			case end > 0 && (now == speechRaw || now == speechRawSoFar && i >= end):
				t.Fatalf("%q is a request to some, and %q was taken for raw bytes", b, b[:i+1])
			}
		}
	})
}

// lenientLine returns where the request line ends that a server sees who takes any
// three words for one; 0: it sees none.
func lenientLine(b []byte) int {
	line, _, whole := bytes.Cut(b, []byte("\n"))
	words := bytes.FieldsFunc(line, func(r rune) bool { return r == ' ' })
	if !whole || len(words) < 3 || !bytes.HasPrefix(words[2], []byte("HTTP/")) || len(bytes.TrimSpace(words[0])) == 0 {
		return 0
	}
	return len(line)
}

// lenientSocks reads as a server of SOCKS5 does that needs no login, and looks at nothing
// that it does not need.
func lenientSocks(b []byte) bool {
	if len(b) < 2 || b[0] != 5 || len(b) < 2+int(b[1])+4 {
		return false
	}
	b = b[2+int(b[1]):]
	return b[0] == 5 && b[1] > 0 && b[1] < 4 && (b[3] == 1 || b[3] == 3 || b[3] == 4)
}

func FuzzSocks(f *testing.F) {
	f.Add([]byte("\x05\x01\x00\x03\x0bexample.com\x01\xbb"))
	f.Add([]byte("\x05\x01\x00\x01\x01\x02\x03\x04\x00\x50"))
	f.Add([]byte("\x05\x01\x00\x04aaaabbbbccccdddd\x00\x50"))
	f.Add([]byte("\x01\x01s\x06secret"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, size, err := parseSocksRequest(b); err == nil && (size > len(b) || !r.Host.IsValid() || r.Port == 0) {
			t.Fatalf("%+v of %d bytes", r, size)
		}
		if methods, size, err := parseGreeting(b); err == nil && (size > len(b) || len(methods) == 0) {
			t.Fatalf("%v of %d bytes", methods, size)
		}
		if _, _, size, err := parsePassword(b); err == nil && size > len(b) {
			t.Fatal(size)
		}
	})
}

func FuzzHTTP2(f *testing.F) {
	f.Add([]byte("\x00\x00\x01\x01\x05\x00\x00\x00\x01\x82"))
	f.Add([]byte("\x00\x00\x09\x01\x2d\x00\x00\x00\x01\x01\x00\x00\x00\x00\x00\x82\x86\x00"))
	f.Fuzz(func(_ *testing.T, b []byte) {
		h := newH2()
		for len(b) >= frameHead && len(b) >= frameHead+frameSize(b) {
			n := frameHead + frameSize(b)
			if _, err := h.read(b[:n]); err != nil {
				return
			}
			b = b[n:]
		}
	})
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte("HTTP/1.1 407 x\r\nContent-Length: 3\r\n\r\nabc"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, err := parseAnswer(b); err == nil && (a.size > len(b) || a.code < 100) {
			t.Fatalf("%+v", a)
		}
	})
}
