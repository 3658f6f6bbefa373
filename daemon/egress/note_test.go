// SPDX-License-Identifier: Apache-2.0

package egress_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/seed-649e9bbc/paddock/daemon/egress"
	"github.com/seed-649e9bbc/paddock/daemon/policy"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
	"github.com/seed-649e9bbc/paddock/tests/egress/rig"
)

// keptAlive is a connection on which one request is made after the other.
type keptAlive struct {
	t       *testing.T
	c       *net.TCPConn
	answers *bufio.Reader
}

func keepAlive(t *testing.T, addr string) *keptAlive {
	c := dial(t, addr)
	return &keptAlive{t, c, bufio.NewReader(c)}
}

func (k *keptAlive) ask(method, host, body string) int {
	k.t.Helper()
	fmt.Fprintf(k.c, "%s / HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s", method, host, len(body), body)
	answer, err := http.ReadResponse(k.answers, nil)
	if err != nil {
		k.t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, answer.Body)
	_ = answer.Body.Close()
	return answer.StatusCode
}

func line(e telemetry.Event) string {
	out := ""
	for _, key := range []string{"paddock.network.first_host", "server.address", "http.request.method", "paddock.decision", "paddock.decision.by"} {
		if out != "" {
			out += " "
		}
		v, ok := e.Attrs[key]
		if !ok {
			v = "-"
		}
		out += fmt.Sprint(v)
	}
	return out
}

// A harmless first request hides no other, and thousands of the same are told once.
func TestEveryHostOfAConnectionIsTold(t *testing.T) {
	r := rig.New(t, rig.Options{})
	for _, name := range []string{"allowed.test", "other.test", "new.test"} {
		r.Names.Bind(name, loopback)
	}
	dest := rig.HTTP(t)
	k := keepAlive(t, r.Redirect(t, dest))
	r.Asker.Answer(egress.Answer{Allow: true, By: "alice"})
	for range 1000 {
		k.ask("GET", "allowed.test", "")
		k.ask("POST", "other.test", "secret")
	}
	k.ask("GET", "new.test", "")
	k.ask("PUT", "allowed.test", "x")
	if code := k.ask("GET", "x.denied.test", ""); code != http.StatusForbidden {
		t.Error(code)
	}
	_ = k.c.Close()
	r.Events.Ends(t, 1)
	first := fmt.Sprintf("allowed.test:%d", dest.Port())
	want := []string{
		first + " other.test POST allow policy", first + " new.test GET allow alice", first + " allowed.test PUT allow policy",
		first + " x.denied.test GET deny policy", "- allowed.test GET allow policy",
	}
	events := r.Events.Wait(t, len(want))
	var got []string
	for _, e := range events {
		got = append(got, line(e))
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("events:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if sent := events[4].Attrs["paddock.network.bytes_sent"].(int64); sent < 1000*6 || events[3].Severity != telemetry.Warn || events[0].Attrs["paddock.network.bytes_sent"] != nil {
		t.Errorf("%d bytes sent; %+v", sent, events)
	}
}

// Nor do many others, however many there are: beyond some, what is not told is counted, and
// what is denied, or decided by somebody else, is told.
func TestNoHostHidesBehindManyOthers(t *testing.T) {
	r := rig.New(t, rig.Options{})
	const many = 300
	for i := range many {
		r.Names.Bind(fmt.Sprintf("n%d.wild.test", i), loopback)
	}
	r.Names.Bind("new.test", loopback)
	k := keepAlive(t, r.Redirect(t, rig.HTTP(t)))
	for i := range many {
		k.ask("GET", fmt.Sprintf("n%d.wild.test", i), "")
	}
	r.Asker.Answer(egress.Answer{Allow: true, By: "alice"})
	k.ask("GET", "new.test", "")
	k.ask("GET", "n1.wild.test", "")
	k.ask("GET", "x.denied.test", "")
	r.Events.Ends(t, 1)
	events := r.Events.Wait(t, 0)
	counted := len(events)
	for _, e := range events {
		n, _ := e.Attrs["paddock.network.untold"].(int64)
		counted += int(n)
	}
	// n1 was told before.
	if n := len(events); n > 100 || counted != many+2 {
		t.Errorf("%d events, %d in all", n, counted)
	}
	var got []string
	for _, e := range events[len(events)-3:] {
		got = append(got, strings.Join(strings.Fields(line(e))[1:], " "))
	}
	if want := "new.test GET allow alice, x.denied.test GET deny policy, n0.wild.test GET allow policy"; strings.Join(got, ", ") != want {
		t.Errorf("the last events: %q", got)
	}
}

// One connection does not fill the store with methods, and they hide no host.
func TestMethodsAreNoFlood(t *testing.T) {
	r := rig.New(t, rig.Options{})
	r.Names.Bind("allowed.test", loopback)
	r.Names.Bind("other.test", loopback)
	k := keepAlive(t, r.Redirect(t, rig.HTTP(t)))
	const many = 1000
	for i := range many {
		k.ask(fmt.Sprintf("JUNK%d", i%500), "allowed.test", "")
	}
	k.ask("POST", "other.test", "")
	_ = k.c.Close()
	last := r.Events.Ends(t, 1)[0]
	events := r.Events.Wait(t, 0)
	if n := len(events); n > 100 || last.Attrs["paddock.network.untold"] != nil {
		t.Errorf("%d events, %v", n, last.Attrs)
	}
	later := events[len(events)-2]
	attr(t, later, map[string]any{"server.address": "other.test", "http.request.method": "POST"})
	if n, _ := later.Attrs["paddock.network.untold"].(int64); n < 500 {
		t.Errorf("%d were not told", n)
	}
}

// In mode observe everything is let through, and what would not be is told.
func TestObserveTellsOfLaterRequests(t *testing.T) {
	r := rig.New(t, rig.Options{Observe: true})
	r.Names.Bind("allowed.test", loopback)
	c := dial(t, r.Redirect(t, rig.HTTP(t)))
	fmt.Fprint(c, http2.ClientPreface)
	fr := http2.NewFramer(c, c)
	fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_ = fr.WriteSettings()
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for i, host := range []string{"allowed.test", "x.denied.test"} {
		block.Reset()
		for _, f := range []hpack.HeaderField{{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"}, {Name: ":path", Value: "/"}, {Name: ":authority", Value: host}} {
			_ = enc.WriteField(f)
		}
		_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: uint32(2*i + 1), BlockFragment: block.Bytes(), EndHeaders: true, EndStream: true})
		for answered := false; !answered; {
			f, err := fr.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			m, ok := f.(*http2.MetaHeadersFrame)
			if answered = ok && m.StreamID == uint32(2*i+1); answered && m.PseudoValue("status") != "200" {
				t.Errorf("%s: %v", host, m)
			}
		}
	}
	attr(t, r.Events.Wait(t, 1)[0], map[string]any{"server.address": "x.denied.test", "paddock.decision": "deny", "paddock.decision.enforced": false})
}

// What is denied from now on is cut, whoever allowed it before, and nothing else is.
func TestANewDenyCutsWhatIsOpen(t *testing.T) {
	r := rig.New(t, rig.Options{})
	for _, name := range []string{"allowed.test", "other.test", "new.test", "a.wild.test", "b.wild.test"} {
		r.Names.Know(name, loopback)
	}
	echo := rig.TCP(t, func(c *net.TCPConn) { _, _ = io.Copy(c, c) })
	plain, proxy := rig.HTTP(t), r.Proxy(t, egress.Credentials{})
	socks := func(host string) *net.TCPConn { // and then bytes that nobody knows
		c := dial(t, proxy)
		_, _ = c.Write(append([]byte("\x05\x01\x00\x05\x01\x00\x03"+string(rune(len(host)))+host), byte(echo.Port()>>8), byte(echo.Port())))
		if _, err := io.ReadFull(c, make([]byte, 12)); err != nil {
			t.Fatal(err)
		}
		return c
	}
	alive := func(c net.Conn) error {
		fmt.Fprint(c, raw)
		_, err := io.ReadFull(c, make([]byte, len(raw)))
		return err
	}
	r.Asker.Answer(egress.Answer{Allow: true, By: "alice"})
	r.Asker.Answer(egress.Answer{Allow: true, By: "alice"})
	open := map[string]*net.TCPConn{"allowed.test": socks("allowed.test"), "other.test": socks("other.test"), "new.test": socks("new.test")}
	for host, c := range open {
		if err := alive(c); err != nil {
			t.Fatalf("%s: %v", host, err)
		}
	}
	// One that asked for two hosts in turn, and one that is in the middle of a request by URL.
	r.Names.Bind("a.wild.test", loopback)
	r.Names.Bind("b.wild.test", loopback)
	two := keepAlive(t, r.Redirect(t, plain))
	two.ask("GET", "a.wild.test", "")
	two.ask("GET", "b.wild.test", "")
	slow := make(chan struct{})
	endless := rig.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		close(slow)
		<-req.Context().Done()
	}), nil)
	byURL := dial(t, proxy)
	fmt.Fprintf(byURL, "GET http://b.wild.test:%d/ HTTP/1.1\r\nHost: b.wild.test:%d\r\n\r\n", endless.Port(), endless.Port())
	<-slow

	before := len(r.Events.Wait(t, 0))
	deny := rig.Requirements + "\"b.wild.test\" = \"deny\"\n\"new.test\" = \"deny\"\n"
	deny = strings.Replace(deny, "\"other.test\" = \"allow\"\n", "", 1) // now unfamiliar: it stays, and is asked about next time
	r.Apply(rig.Policy(t, rig.Options{Requirements: deny, Change: func(p *egress.Policy) { p.Generation = 2 }}))
	for name, c := range map[string]net.Conn{"new.test": open["new.test"], "two hosts": two.c, "by URL": byURL} {
		if _, err := io.Copy(io.Discard, c); !errors.Is(err, syscall.ECONNRESET) && name != "by URL" || isTimeout(err) {
			t.Errorf("%s: %v, want a reset", name, err)
		}
	}
	for _, host := range []string{"allowed.test", "other.test"} {
		if err := alive(open[host]); err != nil {
			t.Errorf("%s is not denied, and was cut: %v", host, err)
		}
	}
	cut, ended := map[string]telemetry.Event{}, 0
	for _, e := range r.Events.Wait(t, before+6)[before:] {
		if e.Attrs["paddock.network.cut"] == true {
			cut[fmt.Sprint(e.Attrs["paddock.network.first_host"])] = e
			attr(t, e, map[string]any{"paddock.decision": "deny", "paddock.decision.by": "policy", "paddock.decision.cause": "denied", "paddock.policy.generation": int64(2)})
		} else {
			ended++
			attr(t, e, map[string]any{"error.message": "the connection was cut: other requirements deny it", "paddock.decision": "allow"})
		}
	}
	if len(cut) != 3 || ended != 3 {
		t.Fatalf("%d ended, cut %+v", ended, cut)
	}
	attr(t, cut[fmt.Sprintf("a.wild.test:%d", plain.Port())], map[string]any{"server.address": "b.wild.test", "paddock.rule": "b.wild.test"})
	attr(t, cut[fmt.Sprintf("new.test:%d", echo.Port())], map[string]any{"server.address": "new.test", "paddock.rule": "new.test"})

	// So is what goes to an address that is denied now, though its name is not.
	r.Names.Know("a.wild.test", netip.MustParseAddr("127.0.0.9"), loopback) // nobody is at the first
	addressed := socks("a.wild.test")
	r.Apply(rig.Policy(t, rig.Options{Requirements: rig.Requirements + "[[paddock.network.rules]]\ncidr = \"127.0.0.1/32\"\ndecision = \"deny\"\n"}))
	if _, err := io.ReadAll(addressed); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("by address: %v, want a reset", err)
	}
	r.Apply(rig.Policy(t, rig.Options{}))
	open["allowed.test"] = socks("allowed.test")

	// In mode observe nothing is cut; when it ends, what would not be let through is.
	r.Apply(rig.Policy(t, rig.Options{Observe: true, Requirements: deny}))
	observed := socks("new.test")
	none := rig.Policy(t, rig.Options{Observe: true, Requirements: "experimental_network = { enabled = true, domains = { \"**\" = \"deny\" } }"})
	r.Apply(none)
	for host, c := range map[string]*net.TCPConn{"allowed.test": open["allowed.test"], "new.test": observed} {
		if err := alive(c); err != nil {
			t.Errorf("%s was cut in mode observe: %v", host, err)
		}
	}
	none.Mode = policy.Enforce
	r.Apply(none)
	for host, c := range map[string]*net.TCPConn{"allowed.test": open["allowed.test"], "new.test": observed} {
		if _, err := io.ReadAll(c); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: %v, want a reset", host, err)
		}
	}
}

// Of several names that nobody knows, each is asked about: any of them may be meant.
func TestEveryNameOfAnAddressIsAskedAbout(t *testing.T) {
	for _, allow := range []bool{true, false} {
		r := rig.New(t, rig.Options{})
		for _, name := range []string{"evil.test", "allowed.test", "approved.test"} { // the last one is the latest
			r.Names.Bind(name, loopback)
		}
		c := dial(t, r.Redirect(t, rig.TCP(t, func(c *net.TCPConn) { _, _ = io.Copy(c, c) })))
		fmt.Fprint(c, raw)
		if q := <-r.Asker.Questions; q.Host.String() != "approved.test" {
			t.Errorf("asked about %s", q.Host)
		}
		r.Asker.Answer(egress.Answer{Allow: true, By: "alice"})
		if q := <-r.Asker.Questions; q.Host.String() != "evil.test" {
			t.Errorf("asked about %s", q.Host)
		}
		r.Asker.Answer(egress.Answer{Allow: allow, By: "bob"})
		_, err := io.ReadFull(c, make([]byte, len(raw)))
		if allow != (err == nil) {
			t.Errorf("%t: %v", allow, err)
		}
		_ = c.Close()
		last := r.Events.Ends(t, 1)[0]
		if !allow {
			attr(t, last, map[string]any{"server.address": "evil.test", "paddock.decision.by": "bob", "paddock.decision": "deny"})
			continue
		}
		attr(t, last, map[string]any{"server.address": "approved.test", "paddock.decision.by": "alice", "paddock.decision": "allow"})
		attr(t, r.Events.Wait(t, 2)[0], map[string]any{"server.address": "evil.test", "paddock.decision.by": "bob", "paddock.decision": "allow"})
	}
}

// What mode observe let through is told as it was when it is cut.
func TestWhatWasObservedIsCut(t *testing.T) {
	for host, want := range map[string]map[string]any{
		"x.denied.test": {"server.address": "x.denied.test", "paddock.decision.cause": "denied", "paddock.network.name_from": "host"},
		"other.test":    {"server.address": "other.test", "paddock.decision.cause": "host_mismatch", "paddock.network.name_from": "host"},
		"a b":           {"server.address": "127.0.0.1", "paddock.decision.cause": "malformed", "paddock.network.name_from": "none"},
	} {
		r := rig.New(t, rig.Options{Observe: true})
		r.Names.Know("x.denied.test", loopback)
		r.Names.Know("other.test", netip.MustParseAddr("127.0.0.9"))
		dest := rig.TCP(t, func(c *net.TCPConn) { _, _ = io.Copy(c, c) })
		c := dial(t, r.Redirect(t, dest))
		request := fmt.Sprintf("POST / HTTP/1.1\r\nHost: %s\r\nX-HTTP-Method-Override: PUT\r\nContent-Length: 0\r\n\r\n", host)
		fmt.Fprint(c, request)
		if _, err := io.ReadFull(c, make([]byte, len(request))); err != nil {
			t.Fatalf("%s: %v", host, err)
		}
		r.Apply(rig.Policy(t, rig.Options{}))
		if _, err := io.ReadAll(c); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: %v, want a reset", host, err)
		}
		cut := r.Events.Wait(t, 2)
		for _, e := range cut {
			if e.Attrs["paddock.network.cut"] == nil {
				continue
			}
			want["server.port"], want["paddock.network.cut"], want["paddock.network.protocol"] = int64(dest.Port()), true, "http"
			if host != "a b" {
				want["http.request.method"] = "POST"
			}
			attr(t, e, want)
			want = nil
		}
		if want != nil {
			t.Errorf("%s: %v", host, cut)
		}
	}
}
