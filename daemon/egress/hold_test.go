// SPDX-License-Identifier: Apache-2.0

package egress_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/egress"
	"github.com/seed-649e9bbc/paddock/tests/egress/rig"
)

const unfamiliar = "GET /x HTTP/1.1\r\nHost: new.test\r\nConnection: close\r\n\r\n"

// held is a rig where new.test is at a server, and n connections that ask for it.
func held(t *testing.T, o rig.Options, request string, n int) (*rig.Rig, string, []*net.TCPConn) {
	t.Helper()
	r := rig.New(t, o)
	r.Names.Bind("new.test", loopback)
	r.Names.Bind("review.test", loopback)
	at := r.Redirect(t, rig.HTTP(t))
	conns := make([]*net.TCPConn, n)
	for i := range conns {
		conns[i] = dial(t, at)
		fmt.Fprint(conns[i], request)
	}
	waitFor(t, func() bool { return r.Counters().Held == n })
	return r, at, conns
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(deadline); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not come to that")
		}
	}
}

func all(t *testing.T, conns []*net.TCPConn) []string {
	t.Helper()
	var out []string
	for _, c := range conns {
		b, err := io.ReadAll(c)
		if err != nil {
			t.Error(err)
		}
		_ = c.Close()
		out = append(out, string(b))
	}
	return out
}

func TestOneQuestionForManyConnections(t *testing.T) {
	r, at, conns := held(t, rig.Options{}, unfamiliar, 50)
	q := <-r.Asker.Questions
	if q.Host.String() != "new.test" || q.Protocol.String() != "http" || q.Flow.Session != rig.Session || q.Verdict.Reason == "" {
		t.Errorf("%+v", q)
	}
	r.Asker.Answer(egress.Answer{Allow: true, By: "alice"})
	for _, got := range all(t, conns) {
		if !strings.Contains(got, "GET new.test /x") {
			t.Fatalf("%q", got)
		}
	}
	if n := len(r.Asker.Questions); n != 0 {
		t.Errorf("it was asked %d times more", n)
	}
	e := r.Events.Wait(t, 50)[49]
	attr(t, e, map[string]any{"paddock.decision": "allow", "paddock.decision.by": "alice"})
	if ms, ok := e.Attrs["paddock.network.held_ms"].(int64); !ok || ms < 0 {
		t.Errorf("held %v", e.Attrs["paddock.network.held_ms"])
	}
	// Once was once.
	c := dial(t, at)
	fmt.Fprint(c, unfamiliar)
	<-r.Asker.Questions
	r.Asker.Answer(egress.Answer{By: "alice", Reason: "no"})
	if got := all(t, []*net.TCPConn{c})[0]; !strings.HasPrefix(got, "HTTP/1.1 403") || !strings.Contains(got, `"source":"decider"`) || !strings.Contains(got, "x-proxy-error: blocked-by-allowlist") {
		t.Errorf("%q", got)
	}
}

// Who has answered before is the asker's to know: each time, somebody may have taken it back.
func TestEveryConnectionIsAskedAbout(t *testing.T) {
	r, at, conns := held(t, rig.Options{}, unfamiliar, 1)
	for _, allow := range []bool{true, false, true} {
		<-r.Asker.Questions
		r.Asker.Answer(egress.Answer{Allow: allow, By: "alice"})
		if got := all(t, conns)[0]; strings.Contains(got, "200 OK") != allow {
			t.Fatalf("%q", got)
		}
		conns[0] = dial(t, at)
		fmt.Fprint(conns[0], unfamiliar)
	}
	<-r.Asker.Questions
	_ = conns[0].Close()
}

func TestNobodyAnswers(t *testing.T) {
	r, _, conns := held(t, rig.Options{Limits: egress.Limits{Hold: 200 * time.Millisecond}}, unfamiliar, 2)
	for _, got := range all(t, conns) {
		if !strings.HasPrefix(got, "HTTP/1.1 403") || !strings.Contains(got, "nobody answered in time") {
			t.Errorf("%q", got)
		}
	}
	if cause := <-r.Asker.Ended; !errors.Is(cause, egress.ErrNoAnswer) {
		t.Error(cause)
	}
	attr(t, r.Events.Wait(t, 2)[1], map[string]any{"paddock.decision": "deny", "paddock.decision.by": "deadline"})
}

// An asker that does not mind its context holds nobody longer than it may.
func TestAnAskerThatNeverReturns(t *testing.T) {
	stuck := stuckAsker{make(chan struct{})}
	r := rig.New(t, rig.Options{})
	e, err := egress.New(egress.Options{Names: r.Names, Asker: stuck, Recorder: r.Events, Limits: egress.Limits{Hold: 100 * time.Millisecond}, Log: rig.Silent()})
	if err != nil {
		t.Fatal(err)
	}
	r.Engine = e
	e.Apply(rig.Policy(t, rig.Options{}))
	r.Names.Bind("new.test", loopback)
	got, err := say(t, r.Redirect(t, rig.HTTP(t)), unfamiliar)
	if err != nil || !strings.HasPrefix(got, "HTTP/1.1 403") {
		t.Errorf("%q, %v", got, err)
	}
	close(stuck.done)
	if err := e.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
}

type stuckAsker struct{ done chan struct{} }

func (s stuckAsker) Ask(context.Context, egress.Unfamiliar) (egress.Answer, error) {
	<-s.done
	return egress.Answer{Allow: true, By: "late"}, nil
}

func TestClientsThatLeaveCancelTheQuestion(t *testing.T) {
	r, _, conns := held(t, rig.Options{}, unfamiliar, 3)
	_ = conns[0].Close()
	_ = conns[1].SetLinger(0)
	_ = conns[1].Close()
	waitFor(t, func() bool { return r.Counters().Held == 1 })
	select {
	case cause := <-r.Asker.Ended:
		t.Fatalf("one still waits, but the question ended: %v", cause)
	default:
	}
	_ = conns[2].Close()
	if cause := <-r.Asker.Ended; !errors.Is(cause, egress.ErrClientsGone) {
		t.Error(cause)
	}
	attr(t, r.Events.Wait(t, 3)[2], map[string]any{"paddock.decision": "deny", "paddock.decision.by": "client"})
}

func TestTheSessionEndsDuringAHold(t *testing.T) {
	r, _, conns := held(t, rig.Options{}, unfamiliar, 2)
	r.EndSession(rig.Session)
	for _, got := range all(t, conns) {
		if !strings.HasPrefix(got, "HTTP/1.1 403") || !strings.Contains(got, "the session ended") {
			t.Errorf("%q", got)
		}
	}
}

// What another policy decides needs no answer any more; and no answer outlives it.
func TestAnotherPolicyDuringAHold(t *testing.T) {
	for text, want := range map[string]string{
		rig.Requirements + "\"new.test\" = \"allow\"\n":   "200 OK",
		rig.Requirements + "\"**.new.test\" = \"deny\"\n": "blocked-by-denylist",
	} {
		r, _, conns := held(t, rig.Options{}, unfamiliar, 3)
		r.Apply(rig.Policy(t, rig.Options{Requirements: text}))
		for _, got := range all(t, conns) {
			if !strings.Contains(got, want) {
				t.Errorf("%q, want %s", got, want)
			}
		}
	}
	// A policy that asks too keeps holding.
	r, _, conns := held(t, rig.Options{}, unfamiliar, 1)
	r.Apply(rig.Policy(t, rig.Options{}))
	r.Asker.Answer(egress.Answer{Allow: true, By: "alice"})
	if got := all(t, conns)[0]; !strings.Contains(got, "200 OK") {
		t.Errorf("%q", got)
	}
}

func TestShutdownRefusesWhatIsHeld(t *testing.T) {
	r, _, conns := held(t, rig.Options{}, unfamiliar, 2)
	if err := r.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, c := range conns {
		if b, err := io.ReadAll(c); err == nil && strings.Contains(string(b), "200 OK") {
			t.Errorf("%q", b)
		}
	}
	r.Events.Wait(t, 2)
}

// A later request on a connection may need an answer while the first is answered.
func TestALaterRequestIsHeld(t *testing.T) {
	r := rig.New(t, rig.Options{})
	r.Names.Bind("allowed.test", loopback)
	r.Names.Bind("new.test", loopback)
	c := dial(t, r.Redirect(t, rig.HTTP(t)))
	fmt.Fprint(c, "GET /1 HTTP/1.1\r\nHost: allowed.test\r\n\r\n"+unfamiliar)
	answers := bufio.NewReader(c)
	first, err := http.ReadResponse(answers, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, first.Body)
	_ = first.Body.Close()
	<-r.Asker.Questions
	r.Asker.Answer(egress.Answer{Allow: true, By: "alice"})
	second, err := http.ReadResponse(answers, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(second.Body)
	_ = second.Body.Close()
	if string(b) != "GET new.test /x " {
		t.Errorf("%q", b)
	}
}

func TestObserveLetsEverythingThrough(t *testing.T) {
	r := rig.New(t, rig.Options{Observe: true})
	dest := rig.HTTP(t)
	r.Names.Bind("new.test", loopback)
	at := r.Redirect(t, dest)
	for i, request := range []string{
		"GET / HTTP/1.1\r\nHost: x.denied.test\r\nConnection: close\r\n\r\n",
		unfamiliar,
		"GET / HTTP/1.1\nHost: allowed.test\nConnection: close\n\n",
		"POST / HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n",
	} {
		got, err := say(t, at, request)
		if err != nil || !strings.HasPrefix(got, "HTTP/1.1 ") || strings.Contains(got, "x-proxy-error") {
			t.Errorf("%q: %q, %v", request, got, err)
		}
		r.Events.Wait(t, i+1)
	}
	for i, want := range []string{"deny", "ask", "deny", "deny"} {
		attr(t, r.Events.Wait(t, 4)[i], map[string]any{"paddock.decision": want, "paddock.decision.enforced": false, "paddock.mode": "observe"})
	}
	if len(r.Asker.Questions) > 0 {
		t.Error("somebody was asked")
	}
}

func TestLimits(t *testing.T) {
	r := rig.New(t, rig.Options{Limits: egress.Limits{PerSession: 2, Silence: time.Minute, Sniff: 100 * time.Millisecond}})
	r.Names.Bind("allowed.test", loopback)
	at := r.Redirect(t, rig.HTTP(t))
	first, second := dial(t, at), dial(t, at)
	waitFor(t, func() bool { return r.Counters().Open == 2 })
	if _, err := say(t, at, ""); err == nil {
		t.Error("one too many was not refused")
	}
	attr(t, r.Events.Wait(t, 1)[0], map[string]any{"paddock.decision": "deny", "paddock.decision.reason": "the session has too many connections"})
	_ = first.Close()
	_ = second.Close()
	waitFor(t, func() bool { return r.Counters().Open == 0 })
	// Slow clients: each stops in the middle.
	for _, text := range []string{"GE", "GET / HT", "GET / HTTP/1.1\r\nHost: allowed.test\r\nX: ", "\x16\x03\x01\x02\x00\x01\x00", "PRI * HTTP/2.0\r\n\r\n", "\x05", "\r\n"} {
		c := dial(t, at)
		fmt.Fprint(c, text)
		if b, err := io.ReadAll(c); strings.Contains(string(b), " 200 ") || err != nil && isTimeout(err) {
			t.Errorf("%q: %q, %v", text, b, err)
		}
		_ = c.Close()
	}
	for _, e := range r.Events.Wait(t, 10)[3:] { // after the one too many and the two that said nothing
		attr(t, e, map[string]any{"paddock.decision": "deny"})
	}
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

func TestNobodysConnectionIsRefused(t *testing.T) {
	r := rig.New(t, rig.Options{})
	r.Names.Bind("allowed.test", loopback)
	r.Flow.Session = ""
	if got, err := say(t, r.Redirect(t, rig.HTTP(t)), unfamiliar); err == nil {
		t.Errorf("%q", got)
	}
	r.Flow.Session = rig.Session
	if got, err := say(t, r.Redirect(t, netip.AddrPort{}), unfamiliar); err == nil {
		t.Errorf("%q", got)
	}
	if n := r.Counters().Unknown; n != 2 {
		t.Errorf("%d were of no session", n)
	}
}
