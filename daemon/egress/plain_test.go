// SPDX-License-Identifier: Apache-2.0

package egress_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/egress"
	"github.com/seed-649e9bbc/paddock/tests/egress/rig"
)

// byURL asks a proxy by URL on a connection that stays open, and returns the body.
func (k *keptAlive) byURL(host string, port uint16, more string) string {
	k.t.Helper()
	fmt.Fprintf(k.c, "GET http://%s:%d/ HTTP/1.1\r\nHost: %s:%d\r\n%s\r\n", host, port, host, port, more)
	answer, err := http.ReadResponse(k.answers, nil)
	if err != nil {
		k.t.Fatal(err)
	}
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		k.t.Error(err)
	}
	_ = answer.Body.Close()
	return string(b)
}

// Servers take a connection for the user who logged in on it: nobody else may come by it.
// And it ends with the client's, for else it would count nowhere.
func TestNobodySharesAConnectionToAServer(t *testing.T) {
	r := rig.New(t, rig.Options{})
	r.Names.Know("allowed.test", loopback)
	r.Names.Know("other.test", loopback)
	var open, served atomic.Int64
	dest := rig.TCP(t, func(c *net.TCPConn) {
		open.Add(1)
		defer open.Add(-1)
		number, user := served.Add(1), "nobody"
		for b := bufio.NewReader(c); ; {
			req, err := http.ReadRequest(b)
			if err != nil {
				return
			}
			if login := req.Header.Get("Authorization"); login != "" {
				user = login
			}
			text := fmt.Sprint(number, " ", user)
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
		}
	})
	at := r.Proxy(t, egress.Credentials{})
	alice, other := keepAlive(t, at), keepAlive(t, at)
	if got := alice.byURL("allowed.test", dest.Port(), "Authorization: NTLM alice\r\n"); got != "1 NTLM alice" {
		t.Error(got)
	}
	if got := other.byURL("allowed.test", dest.Port(), ""); got != "2 nobody" {
		t.Errorf("another client is %q", got)
	}
	if got := alice.byURL("allowed.test", dest.Port(), ""); got != "1 NTLM alice" {
		t.Errorf("the next request of the same client is %q", got)
	}
	// Another host at the same address, or one that has got other addresses, is another place.
	if got := alice.byURL("other.test", dest.Port(), ""); got != "3 nobody" {
		t.Errorf("another host is %q", got)
	}
	waitFor(t, func() bool { return open.Load() == 2 })
	r.Names.Know("other.test", loopback, netip.MustParseAddr("127.0.0.9"))
	if got := alice.byURL("other.test", dest.Port(), ""); got != "4 nobody" {
		t.Errorf("a host with other addresses is %q", got)
	}
	_, _ = alice.c.Close(), other.c.Close()
	waitFor(t, func() bool { return open.Load() == 0 && r.Counters().Open == 0 })
}

// What is said after 101 counts.
func TestBytesOfAnUpgradeByURL(t *testing.T) {
	r := rig.New(t, rig.Options{})
	r.Names.Know("allowed.test", loopback)
	const size = 1 << 20
	dest := rig.TCP(t, func(c *net.TCPConn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
			return
		}
		fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		_, _ = io.CopyN(io.Discard, c, size)
		fmt.Fprint(c, "thanks")
	})
	k := keepAlive(t, r.Proxy(t, egress.Credentials{}))
	fmt.Fprintf(k.c, "GET http://allowed.test:%d/ HTTP/1.1\r\nHost: allowed.test:%d\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", dest.Port(), dest.Port())
	answer, err := http.ReadResponse(k.answers, nil) //nolint:bodyclose // it is the connection
	if err != nil || answer.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(answer, err)
	}
	_, _ = k.c.Write(make([]byte, size))
	if b, err := io.ReadAll(k.answers); string(b) != "thanks" {
		t.Errorf("%q, %v", b, err)
	}
	_ = k.c.Close()
	attr(t, r.Events.Wait(t, 1)[0], map[string]any{"paddock.network.bytes_sent": int64(size), "paddock.network.bytes_received": int64(len("thanks"))})
}

// HTTP/2 that begins with an upgrade would be judged by nobody.
func TestNoUpgradeToHTTP2ByURL(t *testing.T) {
	r := rig.New(t, rig.Options{})
	r.Names.Know("allowed.test", loopback)
	dest := rig.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		fmt.Fprint(w, req.Header.Values("Upgrade"), req.Header.Values("Http2-Settings"))
	}), nil)
	k := keepAlive(t, r.Proxy(t, egress.Credentials{}))
	for _, offer := range []string{"h2c", "H2C", "h2", "HTTP/2.0", "other, h2c", "other\r\nUpgrade: h2c"} {
		got := k.byURL("allowed.test", dest.Port(), "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: "+offer+"\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n")
		if got != "[] []" {
			t.Errorf("%q: the server was asked for %s", offer, got)
		}
	}
}

// A name may have addresses where nobody answers; not all of very many are tried.
func TestAddressesAreTriedInTurn(t *testing.T) {
	r := rig.New(t, rig.Options{})
	dest := rig.HTTP(t)
	var tried atomic.Int64
	e, err := egress.New(egress.Options{
		Names: r.Names, Recorder: r.Events, Log: rig.Silent(),
		Dialer: net.Dialer{Control: func(string, string, syscall.RawConn) error { tried.Add(1); return nil }},
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Engine = e
	defer e.Shutdown(context.Background()) //nolint:errcheck // nothing is left of it
	e.Apply(rig.Policy(t, rig.Options{}))
	nobody := netip.MustParseAddr("127.0.0.2")
	r.Names.Know("allowed.test", nobody, loopback)
	var many []netip.Addr
	for range 100 {
		many = append(many, nobody)
	}
	r.Names.Know("other.test", many...)
	at := r.Proxy(t, egress.Credentials{})
	k := keepAlive(t, at)
	if got := k.byURL("allowed.test", dest.Port(), ""); !strings.HasPrefix(got, "GET allowed.test") || tried.Load() != 2 {
		t.Errorf("%q after %d addresses", got, tried.Load())
	}
	attr(t, r.Events.Wait(t, 1)[0], map[string]any{"destination.address": "127.0.0.1"})
	tried.Store(0)
	if got := k.byURL("other.test", dest.Port(), ""); !strings.Contains(got, "cannot be reached") || tried.Load() != 8 {
		t.Errorf("%q after %d addresses", got, tried.Load())
	}
	_ = k.c.Close()
	tried.Store(0)
	got, err := say(t, at, fmt.Sprintf("CONNECT other.test:%d HTTP/1.1\r\nHost: other.test\r\n\r\n", dest.Port()))
	if err != nil || !strings.HasPrefix(got, "HTTP/1.1 502") || tried.Load() != 8 {
		t.Errorf("%q, %v after %d addresses", got, err, tried.Load())
	}
}

// All of them together have the time of one.
func TestAddressesThatDoNotAnswer(t *testing.T) {
	r := rig.New(t, rig.Options{Limits: egress.Limits{Dial: 100 * time.Millisecond}})
	dest := deaf(t)
	r.Names.Know("allowed.test", loopback, loopback, loopback, loopback)
	at := r.Proxy(t, egress.Credentials{})
	began := time.Now()
	got := keepAlive(t, at).byURL("allowed.test", dest.Port(), "")
	connect, err := say(t, at, fmt.Sprintf("CONNECT allowed.test:%d HTTP/1.1\r\nHost: allowed.test\r\n\r\n", dest.Port()))
	if took := time.Since(began); !strings.Contains(got, "cannot be reached") || !strings.HasPrefix(connect, "HTTP/1.1 502") || err != nil || took > 3*time.Second {
		t.Errorf("%q, %q, %v after %v", got, connect, err, took)
	}
}

// Anybody on the machine can connect to the proxy: the log does not fill up with that.
func TestStrangersDoNotFillTheLog(t *testing.T) {
	r := rig.New(t, rig.Options{})
	var mu sync.Mutex
	var log bytes.Buffer
	e, err := egress.New(egress.Options{Names: r.Names, Recorder: r.Events, Log: slog.New(slog.NewTextHandler(locked{&mu, &log}, nil))})
	if err != nil {
		t.Fatal(err)
	}
	r.Engine = e
	defer e.Shutdown(context.Background()) //nolint:errcheck // nothing is left of it
	r.Flow.Session = ""
	at := r.Proxy(t, egress.Credentials{})
	for range 100 {
		_, _ = say(t, at, "")
	}
	waitFor(t, func() bool { return r.Counters().Unknown == 100 })
	mu.Lock()
	defer mu.Unlock()
	if n := strings.Count(log.String(), "\n"); n < 1 || n > 3 { // one in ten seconds
		t.Errorf("%d lines for 100 strangers:\n%s", n, log.String())
	}
}

type locked struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// An address that is denied while another one, or it itself, is dialled is not reached.
func TestAnAddressThatIsDeniedMeanwhile(t *testing.T) {
	deny := rig.Policy(t, rig.Options{Requirements: rig.Requirements + "[[paddock.network.rules]]\ncidr = \"127.0.0.1/32\"\ndecision = \"deny\"\n"})
	nobody := netip.MustParseAddr("127.0.0.9")
	for _, way := range []string{"GET http://allowed.test:%d/", "CONNECT allowed.test:%d"} {
		for _, when := range []netip.Addr{nobody, loopback} {
			var served atomic.Int64
			dest := rig.TCP(t, func(c *net.TCPConn) {
				if n, _ := c.Read(make([]byte, 1)); n > 0 || when == nobody {
					served.Add(1)
				}
			})
			var r *rig.Rig
			r = rig.New(t, rig.Options{Dialer: net.Dialer{Control: func(_, at string, _ syscall.RawConn) error {
				if at == netip.AddrPortFrom(when, dest.Port()).String() {
					r.Apply(deny)
				}
				return nil
			}}})
			r.Names.Know("allowed.test", nobody, loopback)
			c := dial(t, r.Proxy(t, egress.Credentials{}))
			fmt.Fprintf(c, way+" HTTP/1.1\r\nHost: allowed.test:%d\r\n\r\n", dest.Port(), dest.Port())
			b := make([]byte, 12)
			_, err := io.ReadFull(c, b)
			if want := "HTTP/1.1 502"; when == nobody && string(b) != want || when == loopback && err == nil {
				t.Errorf("%s, %s: %q, %v", way, when, b, err)
			}
			_ = c.Close()
			if end := r.Events.Ends(t, 1)[0].Attrs["error.message"]; when == nobody && !strings.Contains(fmt.Sprint(end), "is denied by now") {
				t.Errorf("%s: %v", way, end)
			}
			if n := served.Load(); n != 0 {
				t.Errorf("%s: the server at an address that was denied while %s was dialled got something", way, when)
			}
		}
	}
}

// For the race detector: where a connection goes is looked at whenever a policy comes into force.
func TestAPolicyComesWhileHostsAreJudged(t *testing.T) {
	r := rig.New(t, rig.Options{})
	r.Names.Know("allowed.test", loopback)
	dest, at, p := rig.HTTP(t), r.Proxy(t, egress.Credentials{}), rig.Policy(t, rig.Options{})
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				r.Apply(p)
			}
		}
	}()
	for range 100 {
		c := dial(t, at)
		fmt.Fprintf(c, "CONNECT allowed.test:%d HTTP/1.1\r\nHost: allowed.test\r\n\r\n", dest.Port())
		if n, err := c.Read(make([]byte, 1)); n != 1 {
			t.Error(err)
		}
		_ = c.Close()
	}
	close(stop)
	<-stopped
}
