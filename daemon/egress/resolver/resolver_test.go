// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/seed-649e9bbc/paddock/daemon/egress"
	"github.com/seed-649e9bbc/paddock/daemon/policy"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// An answer is remembered for the session that asked, under the name it asked for;
// what the server adds is not.
func TestAnswersAreBound(t *testing.T) {
	b := newBench(t, func(q dnsmessage.Question) (dnsmessage.RCode, []dnsmessage.Resource) {
		return 0, []dnsmessage.Resource{
			record("www.shop.test.", 30, alias("cdn.shop.test.")),
			record("cdn.shop.test.", 30, a("192.0.2.7")),
			record("cdn.shop.test.", 30, a("192.0.2.8")),
			record("victim.test.", 30, a("192.0.2.66")), // nobody asked
			record("www.shop.test.", 30, a("192.0.2.67")),
		}
	})
	m := b.ask("wWw.Shop.test.", dnsmessage.TypeA)
	same(t, "answer", addresses(m), "192.0.2.7", "192.0.2.8")
	if name := m.Questions[0].Name.String(); name != "wWw.Shop.test." {
		t.Errorf("the question came back as %s: clients compare", name)
	}
	same(t, "asked", b.up.questions(), "www.shop.test. A")
	for addr, want := range map[string][]string{
		"192.0.2.7": {"www.shop.test"}, "192.0.2.8": {"www.shop.test"}, "::ffff:192.0.2.8": {"www.shop.test"},
		"192.0.2.66": nil, "192.0.2.67": nil, "10.9.8.7": {"build.corp", "build"},
	} {
		same(t, "names of "+addr, b.NamesOf("S1", netip.MustParseAddr(addr)), want...)
	}
	same(t, "names for another session", b.NamesOf("S2", netip.MustParseAddr("192.0.2.7")))
	b.Forget("S1")
	same(t, "names after its end", b.NamesOf("S1", netip.MustParseAddr("192.0.2.7")))
}

func TestNamesThatAreRefused(t *testing.T) {
	b := newBench(t, func(q dnsmessage.Question) (dnsmessage.RCode, []dnsmessage.Resource) {
		if strings.HasPrefix(q.Name.String(), "cloak") {
			return 0, []dnsmessage.Resource{record(q.Name.String(), 30, alias("track.denied.test.")), record("track.denied.test.", 30, a("192.0.2.9"))}
		}
		return 0, []dnsmessage.Resource{record(q.Name.String(), 30, &dnsmessage.TXTResource{TXT: []string{"x"}})}
	})
	for _, test := range []struct {
		name  string
		kind  dnsmessage.Type
		code  dnsmessage.RCode
		event string // part of the reason; empty: no event
		asked bool   // of the system's server
	}{
		{"denied.test.", dnsmessage.TypeA, dnsmessage.RCodeNameError, "by rule", false},
		{"DeePer.denied.TEST.", dnsmessage.TypeAAAA, dnsmessage.RCodeNameError, "by rule", false},
		{"cloak.shop.test.", dnsmessage.TypeA, dnsmessage.RCodeNameError, "by rule", true},
		{"shop.test.", dnsmessage.TypeTXT, dnsmessage.RCodeRefused, "type TXT are only for names that a rule allows", false},
		{"allowed.test.", dnsmessage.TypeTXT, 0, "", true},
		{"shop.test.", typeDNSKEY, dnsmessage.RCodeRefused, "type 48 are only for names that a rule allows", false},
		{"shop.test.", typeDS, dnsmessage.RCodeRefused, "type 43 are only for names that a rule allows", false},
		{"allowed.test.", dnsmessage.Type(10), dnsmessage.RCodeRefused, "type 10 are not resolved", false}, // NULL
		{"allowed.test.", dnsmessage.TypeALL, dnsmessage.RCodeRefused, "type ALL are not", false},
		{"allowed.test.", dnsmessage.TypeAXFR, dnsmessage.RCodeRefused, "type AXFR are not", false},
		{"dns.google.", dnsmessage.TypeA, dnsmessage.RCodeNameError, "hides names", false},
		{"x.cloudflare-dns.com.", dnsmessage.TypeA, dnsmessage.RCodeNameError, "hides names", false},
		{"use-application-dns.net.", dnsmessage.TypeA, dnsmessage.RCodeNameError, "", false},
		{"_dns.resolver.arpa.", dnsmessage.TypeSVCB, dnsmessage.RCodeNameError, "", false},
		{"printer.local.", dnsmessage.TypeA, dnsmessage.RCodeNameError, "", false},
		{"1.2.3.4.", dnsmessage.TypeA, dnsmessage.RCodeNameError, "", false},
		{"a b.test.", dnsmessage.TypeA, dnsmessage.RCodeNameError, "", false},
		{"nul\x00.test.", dnsmessage.TypeA, dnsmessage.RCodeNameError, "", false},
		{".", dnsmessage.TypeNS, dnsmessage.RCodeNameError, "", false},
	} {
		t.Run(test.name+typeName(test.kind), func(t *testing.T) {
			before, events := len(b.up.questions()), len(b.events.reasons())
			m := b.ask(test.name, test.kind)
			if m.RCode != test.code || test.code != 0 && len(m.Answers) > 0 {
				t.Errorf("answer %v with %d records, want %v", m.RCode, len(m.Answers), test.code)
			}
			if asked := len(b.up.questions()) > before; asked != test.asked {
				t.Errorf("the system's server was asked: %v, want %v", asked, test.asked)
			}
			said := b.events.reasons()[events:]
			if test.event == "" && len(said) > 0 || test.event != "" && (len(said) != 1 || !strings.Contains(said[0], test.event)) {
				t.Errorf("events %q, want %q", said, test.event)
			}
		})
	}
	if names := b.NamesOf("S1", netip.MustParseAddr("192.0.2.9")); names != nil {
		t.Errorf("the address behind a denied alias was bound to %q", names)
	}
	// The same again is not told again.
	n := len(b.events.reasons())
	b.ask("denied.test.", dnsmessage.TypeA)
	if more := b.events.reasons()[n:]; len(more) != 0 {
		t.Errorf("told again: %q", more)
	}
}

// That unfamiliar names are let through is no rule about a name: what is only for names
// that a rule allows is for those.
func TestUnfamiliarNamesThatAreLetThroughAreNotAllowedByName(t *testing.T) {
	b := newBench(t, func(q dnsmessage.Question) (dnsmessage.RCode, []dnsmessage.Resource) {
		return 0, []dnsmessage.Resource{record(q.Name.String(), 30, a("192.0.2.9"))}
	})
	b.allowing.Store(true)
	same(t, "an unfamiliar name", addresses(b.ask("shop.test.", dnsmessage.TypeA)), "192.0.2.9")
	for name, kind := range map[string]dnsmessage.Type{"dns.google.": dnsmessage.TypeA, "shop.test.": dnsmessage.TypeTXT, "x.shop.test.": typeDNSKEY} {
		if m := b.ask(name, kind); m.RCode == 0 {
			t.Errorf("%s %s is answered", name, typeName(kind))
		}
	}
	if m := b.ask("allowed.test.", dnsmessage.TypeTXT); m.RCode != 0 {
		t.Errorf("a name that a rule allows: %v", m.RCode)
	}
}

// What a zone calls signatures is passed on only for names that a rule allows: it can be
// anything.
func TestSignaturesOfUnfamiliarNames(t *testing.T) {
	b := newBench(t, func(q dnsmessage.Question) (dnsmessage.RCode, []dnsmessage.Resource) {
		signature := &dnsmessage.UnknownResource{Type: typeRRSIG, Data: append([]byte{0, 1}, "secret"...)}
		return 0, []dnsmessage.Resource{record(q.Name.String(), 30, a("192.0.2.9")), record(q.Name.String(), 30, signature)}
	})
	for name, want := range map[string]int{"shop.test.": 1, "allowed.test.": 2} {
		m := dnsmessage.Message{Header: dnsmessage.Header{ID: 5}, Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: 1, Class: 1}}}
		var opt dnsmessage.ResourceHeader
		must(t, opt.SetEDNS0(1232, 0, true))
		m.Additionals = []dnsmessage.Resource{{Header: opt, Body: &dnsmessage.OPTResource{}}}
		if got := b.send("udp4", m); len(got.Answers) != want {
			t.Errorf("%s: %d records, want %d", name, len(got.Answers), want)
		}
	}
}

// In mode observe everything is answered, and what would have been refused is told.
func TestObserve(t *testing.T) {
	b := newBench(t, func(q dnsmessage.Question) (dnsmessage.RCode, []dnsmessage.Resource) {
		return 0, []dnsmessage.Resource{record(q.Name.String(), 30, a("192.0.2.9"))}
	})
	b.observing.Store(true)
	same(t, "a denied name", addresses(b.ask("x.denied.test.", dnsmessage.TypeA)), "192.0.2.9")
	same(t, "bound", b.NamesOf("S1", netip.MustParseAddr("192.0.2.9")), "x.denied.test")
	same(t, "told", b.events.reasons(), "x.denied.test: by rule")
	if enforced := b.events.events[0].Attrs[telemetry.AttrDecisionEnforced]; enforced != false {
		t.Errorf("enforced: %v", enforced)
	}
}

// A client of no session gets no answer, and nobody is asked.
func TestNobodyIsNotAnswered(t *testing.T) {
	b := newBench(t, nil)
	b.setWho(egress.Flow{}, errors.New("nobody"))
	m := dnsmessage.Message{Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName("x.test."), Type: 1, Class: 1}}}
	packed, err := m.Pack()
	must(t, err)
	if out, err := b.exchange("tcp4", packed); !errors.Is(err, io.EOF) && !errors.Is(err, os.ErrDeadlineExceeded) && err == nil {
		t.Errorf("answered with %x", out)
	}
	if got := b.up.questions(); len(got) > 0 {
		t.Errorf("asked: %q", got)
	}
	if s := b.Stats(); s.Nobody != 1 || s.Questions != 0 {
		t.Errorf("stats %+v", s)
	}
}

// Long answers come over TCP, from the server and to the client; and of what the
// client sends, its server sees the name and the type.
func TestBigAnswersAndBits(t *testing.T) {
	b := newBench(t, func(q dnsmessage.Question) (dnsmessage.RCode, []dnsmessage.Resource) {
		var all []dnsmessage.Resource
		for i := range 60 {
			all = append(all, record(q.Name.String(), 30, &dnsmessage.AResource{A: [4]byte{192, 0, 2, byte(i)}}))
		}
		return 0, all
	})
	b.up.big.Store(true)
	short := b.ask("many.test.", dnsmessage.TypeA)
	if !short.Truncated || len(short.Answers) != 0 {
		t.Errorf("over UDP without EDNS: truncated %v, %d answers", short.Truncated, len(short.Answers))
	}
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 9, RecursionDesired: true, AuthenticData: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName("many.test."), Type: 1, Class: 1}},
	}
	var opt dnsmessage.ResourceHeader
	must(t, opt.SetEDNS0(4096, 0, true))
	secret := []byte("data that leaves in an option")
	m.Additionals = []dnsmessage.Resource{{Header: opt, Body: &dnsmessage.OPTResource{Options: []dnsmessage.Option{{Code: 65001, Data: secret}}}}}
	full := b.send("tcp4", m)
	if len(full.Answers) != 60 || full.Truncated || !full.AuthenticData {
		t.Errorf("over TCP: %d answers, truncated %v, authentic %v", len(full.Answers), full.Truncated, full.AuthenticData)
	}
	b.up.mu.Lock()
	defer b.up.mu.Unlock()
	for _, raw := range b.up.raw {
		if strings.Contains(string(raw), string(secret)) {
			t.Error("an option of the client's went out")
		}
	}
}

// One session that holds on to everything it can get does not keep others waiting.
func TestHostileSessionHarmsNobodyElse(t *testing.T) {
	b := newBench(t, func(q dnsmessage.Question) (dnsmessage.RCode, []dnsmessage.Resource) {
		return 0, []dnsmessage.Resource{record(q.Name.String(), 30, a("192.0.2.1"))}
	})
	var all []net.Conn
	for range perSession + 20 {
		c, err := net.Dial("tcp4", netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), b.Ports().TCP4).String())
		must(t, err)
		all = append(all, c)
		defer c.Close()
	}
	hungUp := make(chan struct{}, len(all))
	for _, c := range all {
		go func() {
			_, _ = c.Read(make([]byte, 1))
			hungUp <- struct{}{}
		}()
	}
	for range 20 {
		<-hungUp
	}
	if s := b.Stats(); s.Dropped != 20 {
		t.Errorf("stats %+v", s)
	}
	b.setWho(egress.Flow{Session: "S2"}, nil)
	same(t, "another session", addresses(b.ask("x.test.", dnsmessage.TypeA)), "192.0.2.1")
}

// A server that is down is told of as such, and the next one is asked.
func TestServersThatFail(t *testing.T) {
	b := newBench(t, func(dnsmessage.Question) (dnsmessage.RCode, []dnsmessage.Resource) {
		return dnsmessage.RCodeRefused, nil
	})
	good := newUpstream(t, func(q dnsmessage.Question) (dnsmessage.RCode, []dnsmessage.Resource) {
		return 0, []dnsmessage.Resource{record(q.Name.String(), 30, a("192.0.2.1"))}
	})
	dead, err := net.ListenPacket("udp4", "127.0.0.1:0")
	must(t, err)
	defer dead.Close()
	b.setServers(50*time.Millisecond, dead.LocalAddr().String())
	if m := b.ask("x.test.", dnsmessage.TypeA); m.RCode != dnsmessage.RCodeServerFailure {
		t.Errorf("no server: %v", m.RCode)
	}
	b.setServers(500*time.Millisecond, dead.LocalAddr().String(), b.up.addr, good.addr)
	same(t, "by the third", addresses(b.ask("y.test.", dnsmessage.TypeA)), "192.0.2.1")
}

func TestServiceRecordsHideNothing(t *testing.T) {
	target := dnsmessage.MustNewName(".")
	service := func(priority uint16, params ...dnsmessage.SVCParam) *dnsmessage.HTTPSResource {
		return &dnsmessage.HTTPSResource{SVCBResource: dnsmessage.SVCBResource{Priority: priority, Target: target, Params: params}}
	}
	b := newBench(t, func(q dnsmessage.Question) (dnsmessage.RCode, []dnsmessage.Resource) {
		return 0, []dnsmessage.Resource{
			record(q.Name.String(), 30, service(1,
				dnsmessage.SVCParam{Key: dnsmessage.SVCParamALPN, Value: []byte("\x02h3\x02h2\x05h3-29")},
				dnsmessage.SVCParam{Key: dnsmessage.SVCParamPort, Value: []byte{1, 187}},
				dnsmessage.SVCParam{Key: dnsmessage.SVCParamIPv4Hint, Value: []byte{192, 0, 2, 99}},
				dnsmessage.SVCParam{Key: dnsmessage.SVCParamECH, Value: []byte("key")})),
			record(q.Name.String(), 30, service(2, dnsmessage.SVCParam{Key: dnsmessage.SVCParamALPN, Value: []byte("\x02h3")})),
			record(q.Name.String(), 30, service(3,
				dnsmessage.SVCParam{Key: dnsmessage.SVCParamMandatory, Value: []byte{0, 5}},
				dnsmessage.SVCParam{Key: dnsmessage.SVCParamECH, Value: []byte("key")})),
			record(q.Name.String(), 30, service(4,
				dnsmessage.SVCParam{Key: dnsmessage.SVCParamALPN, Value: []byte("\x02h3")},
				dnsmessage.SVCParam{Key: dnsmessage.SVCParamNoDefaultALPN})),
			// Whatever somebody likes: under a key that nobody knows, as a protocol, and where
			// there is room for a number or for nothing.
			record(q.Name.String(), 30, service(5,
				dnsmessage.SVCParam{Key: dnsmessage.SVCParamALPN, Value: []byte("\x06secret\x08http/1.1\x02h2\x02h2")},
				dnsmessage.SVCParam{Key: 65400, Value: []byte("secret")})),
			record(q.Name.String(), 30, service(6, dnsmessage.SVCParam{Key: dnsmessage.SVCParamMandatory, Value: []byte{0, 3, 0, 1, 0, 1, 0, 3}})),
			record(q.Name.String(), 30, service(7, dnsmessage.SVCParam{Key: dnsmessage.SVCParamMandatory, Value: []byte{255, 120}},
				dnsmessage.SVCParam{Key: 65400, Value: []byte("secret")})),
			record(q.Name.String(), 30, service(8, dnsmessage.SVCParam{Key: dnsmessage.SVCParamPort, Value: []byte("secret")})),
			record(q.Name.String(), 30, service(9, dnsmessage.SVCParam{Key: dnsmessage.SVCParamALPN, Value: []byte("\x02h2")},
				dnsmessage.SVCParam{Key: dnsmessage.SVCParamNoDefaultALPN, Value: []byte("secret")})),
		}
	})
	m := b.ask("shop.test.", dnsmessage.TypeHTTPS)
	var got []string
	for _, r := range m.Answers {
		body := r.Body.(*dnsmessage.HTTPSResource)
		text := string(rune('0' + body.Priority))
		for _, p := range body.Params {
			text += " " + p.Key.String() + "=" + string(p.Value)
		}
		got = append(got, text)
	}
	same(t, "records", got, "1 ALPN=\x02h2 Port=\x01\xbb", "2", "5 ALPN=\x08http/1.1\x02h2")
	if m.AuthenticData {
		t.Error("a changed answer says that it was checked")
	}
}

func TestResolve(t *testing.T) {
	b := newBench(t, func(q dnsmessage.Question) (dnsmessage.RCode, []dnsmessage.Resource) {
		switch {
		case strings.HasPrefix(q.Name.String(), "none"):
			return dnsmessage.RCodeNameError, nil
		case q.Type == dnsmessage.TypeA:
			return 0, []dnsmessage.Resource{record(q.Name.String(), 30, a("192.0.2.1"))}
		}
		return 0, []dnsmessage.Resource{record(q.Name.String(), 30, &dnsmessage.AAAAResource{AAAA: netip.MustParseAddr("2001:db8::1").As16()})}
	})
	resolve := func(name string) []string {
		got, err := b.Resolve(t.Context(), "S1", name)
		if err != nil {
			return []string{err.Error()}
		}
		var out []string
		for _, g := range got {
			out = append(out, g.String())
		}
		return out
	}
	same(t, "both families", resolve("x.test"), "192.0.2.1", "2001:db8::1")
	same(t, "bound", b.NamesOf("S1", netip.MustParseAddr("2001:db8::1")), "x.test")
	same(t, "hosts", resolve("build.corp"), "10.9.8.7")
	same(t, "localhost", resolve("localhost"), "127.0.0.1", "::1")
	same(t, "denied", resolve("denied.test"), "resolving denied.test: the name is refused: by rule")
	same(t, "no such name", resolve("none.test"), "resolving none.test: the name has no address")
}

func TestBindingsAreBounded(t *testing.T) {
	now := time.Unix(1000, 0)
	b := newBindings(func() time.Time { return now })
	at := func(i int) netip.Addr {
		var raw [4]byte
		binary.BigEndian.PutUint32(raw[:], uint32(i))
		return netip.AddrFrom4(raw)
	}
	b.begin("S")
	for i := range maxAddresses + 10 {
		now = now.Add(time.Millisecond)
		b.bind("S", "x.test", []netip.Addr{at(i)}, time.Hour)
	}
	if n := len(b.sessions["S"].addresses); n != maxAddresses {
		t.Errorf("%d addresses are kept", n)
	}
	same(t, "the oldest", b.namesOf("S", at(0)))
	same(t, "the newest", b.namesOf("S", at(maxAddresses+9)), "x.test")
	for i := range maxNames + 4 {
		b.bind("S", "n"+string(rune('a'+i))+".test", []netip.Addr{at(1 << 20)}, time.Minute)
	}
	if names := b.namesOf("S", at(1<<20)); len(names) != maxNames || names[0] != "n"+string(rune('a'+maxNames+3))+".test" {
		t.Errorf("names %q", names)
	}
	now = now.Add(shortest + time.Second)
	same(t, "after their time", b.namesOf("S", at(1<<20)))
	for i := range maxSessions + 3 {
		now = now.Add(time.Millisecond)
		b.begin("session" + at(i).String())
		b.bind("session"+at(i).String(), "x.test", []netip.Addr{at(1)}, time.Minute)
	}
	if len(b.sessions) != maxSessions {
		t.Errorf("%d sessions are kept", len(b.sessions))
	}
}

// A session that ends while a question of its is on its way has ended: nothing is remembered
// of it afterwards.
func TestAnswersAfterTheEnd(t *testing.T) {
	var asked atomic.Pointer[bench]
	b := newBench(t, func(q dnsmessage.Question) (dnsmessage.RCode, []dnsmessage.Resource) {
		asked.Load().Forget("S1")
		return answers(q)
	})
	asked.Store(b)
	for _, name := range []string{"www.shop.test.", "www.allowed.test."} {
		same(t, name, addresses(b.ask(name, dnsmessage.TypeA)), "192.0.2.1")
		if len(b.given.sessions) != 0 || len(b.said.sessions) != 0 {
			t.Errorf("kept of sessions: %v, %v", b.given.sessions, b.said.sessions)
		}
	}
}

// An answer with thousands of addresses, as many as fit, is given and remembered as far as
// anybody needs it; and what is given is what is remembered.
func TestAnswersWithThousandsOfAddresses(t *testing.T) {
	address := func(i int) [4]byte { return [4]byte{198, 18, byte(i >> 8), byte(i)} }
	b := newBench(t, func(q dnsmessage.Question) (dnsmessage.RCode, []dnsmessage.Resource) {
		var all []dnsmessage.Resource
		for i := range 4000 {
			all = append(all, record(q.Name.String(), 30, &dnsmessage.AResource{A: address(i)}))
		}
		return 0, all
	})
	b.up.big.Store(true)
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 9, AuthenticData: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName("many.test."), Type: 1, Class: 1}},
	}
	got := b.send("tcp4", m)
	if n := len(got.Answers); n != maxRecords || got.AuthenticData {
		t.Errorf("%d addresses were given, authentic %v", n, got.AuthenticData)
	}
	for i := range 4000 {
		if names := b.NamesOf("S1", netip.AddrFrom4(address(i))); (i < maxRecords) != (len(names) == 1) {
			t.Fatalf("address %d leads to %q", i, names)
		}
	}
}

// All sessions wait while an address is remembered: it must not take longer the more there
// are.
func TestBindingCostsTheSameWhenFull(t *testing.T) {
	b := newBindings(time.Now)
	b.begin("S")
	some := func(from int) time.Duration {
		all := make([]netip.Addr, maxAddresses)
		for i := range all {
			all[i] = netip.AddrFrom4([4]byte{10, byte((from + i) >> 16), byte((from + i) >> 8), byte(from + i)})
		}
		began := time.Now()
		b.bind("S", "x.test", all, time.Hour)
		return time.Since(began)
	}
	empty := some(0)
	full := min(some(maxAddresses), some(2*maxAddresses), some(3*maxAddresses))
	if full > 50*empty { // to look through all of them for the oldest makes it hundreds of times
		t.Errorf("%d addresses took %v, and %v when there were as many", maxAddresses, empty, full)
	}
	if n := len(b.sessions["S"].addresses); n != maxAddresses || b.sessions["S"].order.Len() != n {
		t.Errorf("%d addresses are kept, %d in order", n, b.sessions["S"].order.Len())
	}
}

func TestParseConf(t *testing.T) {
	s := parseConf(strings.NewReader("# c\nnameserver 192.0.2.1\nnameserver 2001:db8::1%eth0\nnameserver bad\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n" +
		"search a b\noptions timeout:2 attempts:9 use-vc ndots:5 edns0\n"))
	same(t, "servers", s.list, "192.0.2.1:53", "[2001:db8::1%eth0]:53", "192.0.2.3:53")
	if s.timeout != 2*time.Second || s.attempts != 5 || !s.tcp {
		t.Errorf("options %+v", s)
	}
	same(t, "none", parseConf(strings.NewReader("")).list, "127.0.0.1:53")
}

// Whatever bytes a client or a server sends, an answer is an answer to the question,
// can be read, and fits.
func FuzzMessages(f *testing.F) {
	m := dnsmessage.Message{Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName("www.shop.test."), Type: 1, Class: 1}}}
	asked, err := m.Pack()
	if err != nil {
		f.Fatal(err)
	}
	m.Response = true
	m.Answers = []dnsmessage.Resource{
		record("www.shop.test.", 30, alias("cdn.shop.test.")), record("cdn.shop.test.", 30, a("192.0.2.7")),
		record("www.shop.test.", 30, &dnsmessage.HTTPSResource{SVCBResource: dnsmessage.SVCBResource{
			Priority: 1, Target: dnsmessage.MustNewName("."), Params: []dnsmessage.SVCParam{{Key: 1, Value: []byte("\x02h3")}},
		}}),
	}
	answered, err := m.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(asked, answered)
	f.Fuzz(func(t *testing.T, client, server []byte) {
		q, code, ok := read(client)
		if !ok {
			return
		}
		reply := q.reply(code)
		if code == dnsmessage.RCodeSuccess {
			if host, err := policy.ParseHost(q.name); err != nil || host.Name() != q.name {
				t.Fatalf("name %q is not canonical", q.name)
			}
			var up dnsmessage.Message
			if up.Unpack(server) == nil {
				reply = sift(&q, &up).message
			}
		}
		out, err := q.pack(&reply, q.size)
		if err != nil {
			return
		}
		if len(out) > q.size {
			t.Fatalf("%d bytes for a client that takes %d", len(out), q.size)
		}
		var back dnsmessage.Message
		if err := back.Unpack(out); err != nil || !back.Response || back.ID != q.header.ID {
			t.Fatalf("the answer %x: %v", out, err)
		}
	})
}

// The lists and records of a server's are read without trust.
func FuzzConf(f *testing.F) {
	f.Add("nameserver 1.2.3.4\noptions timeout:3")
	f.Fuzz(func(t *testing.T, text string) {
		s := parseConf(strings.NewReader(text))
		if len(s.list) == 0 || len(s.list) > 3 || s.timeout <= 0 || s.attempts < 1 {
			t.Errorf("%+v", s)
		}
		parseHosts(strings.NewReader(text))
	})
}
