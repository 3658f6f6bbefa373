// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"net/netip"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// One session asks for more than can be answered, and none of it soon. Another one's
// questions are answered: whose they are is known before they take a place.
func TestAFloodOfQuestionsHarmsNobodyElse(t *testing.T) {
	b := newBench(t, func(q dnsmessage.Question) (dnsmessage.RCode, []dnsmessage.Resource) {
		return 0, []dnsmessage.Resource{record(q.Name.String(), 30, a("192.0.2.1"))}
	})
	defer close(b.slow)
	packed := pack(t, "x.test.")
	flood := b.client("udp4", "flood")
	for b.Stats().Dropped == 0 {
		if _, err := flood.Write(packed); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 {
		c := b.client("udp4", "S2")
		must(t, c.SetDeadline(time.Now().Add(20*time.Second)))
		_, err := c.Write(packed)
		must(t, err)
		if _, err := c.Read(make([]byte, 512)); err != nil {
			t.Fatalf("another session: %v, %+v", err, b.Stats())
		}
	}
}

// The reader looks up whose a socket is once in a second, and lets a session begin so many
// questions in it; a few hostile sessions leave places to the others.
func TestGate(t *testing.T) {
	now, looked := time.Unix(1000, 0), 0
	g := newGate(func() time.Time { return now }, func(client, _ netip.AddrPort) uint64 {
		looked++
		return uint64(client.Addr().As4()[3])
	})
	client := func(session byte, socket int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, session}), uint16(1000+socket))
	}
	enter := func(c netip.AddrPort) bool {
		_, ok := g.enter(c, netip.AddrPort{})
		return ok
	}
	begun := 0
	for range 5 * perSecond {
		if whose, ok := g.enter(client(1, 0), netip.AddrPort{}); ok {
			begun++
			g.leave(whose)
		}
	}
	if begun != perSecond || looked != 1 {
		t.Errorf("%d were begun in a second, and whose they are was looked up %d times", begun, looked)
	}
	if enter(client(1, 1)) {
		t.Error("another socket of the session has a second of its own")
	}
	if !enter(client(2, 0)) {
		t.Error("another session pays for it")
	}
	now = now.Add(time.Second)
	held := map[byte]int{}
	for session := byte(10); session < 30; session++ {
		for socket := range perSession + 10 {
			if enter(client(session, socket)) {
				held[session]++
			}
		}
	}
	if held[10] != perSession || held[29] != fewWhenFull {
		t.Errorf("the first session holds %d places, the last one %d", held[10], held[29])
	}
	if !enter(client(99, 0)) {
		t.Error("no place is left for others")
	}
	for session, n := range held {
		for range n {
			g.leave(uint64(session))
		}
	}
	if g.inside != 2 || len(g.of) != 2 {
		t.Errorf("%d are inside, of %d sessions", g.inside, len(g.of))
	}
}

func pack(t *testing.T, name string) []byte {
	t.Helper()
	m := dnsmessage.Message{Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: 1, Class: 1}}}
	packed, err := m.Pack()
	must(t, err)
	return packed
}
