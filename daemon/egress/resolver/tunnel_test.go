// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/seed-649e9bbc/paddock/daemon/egress"
	"github.com/seed-649e9bbc/paddock/daemon/policy"
	"github.com/seed-649e9bbc/paddock/daemon/policy/codex"
)

// told is what each owner of a domain learned from the questions that came to the server, in
// bytes: labels that are new to it, which of the others, and that it is asked for a type.
func (u *upstream) told() (of map[string]int, all int) {
	of = map[string]int{}
	known := map[string]bool{}
	for _, asked := range u.questions() {
		name, _, _ := strings.Cut(asked, ". ")
		domain := registered(name)
		n := 2
		for label := range strings.SplitSeq(strings.TrimSuffix(strings.TrimSuffix(name, domain), "."), ".") {
			if n += 2; !known[domain+label] && label != "" {
				n += len(label) + 1 - 2
			}
			known[domain+label] = true
		}
		of[domain] += n
		all += n
	}
	return of, all
}

// words makes i into a label of n letters, as if somebody had chosen them.
func words(i, n int) string {
	b := []byte(strings.Repeat("e", n))
	for at := range b {
		b[at] = byte('a' + i%26)
		i /= 26
	}
	return string(b)
}

// letters are nine labels of 23 letters.
func letters(i int) string {
	var b strings.Builder
	for at := range 9 {
		b.WriteString(words(9*i+at, 23) + ".")
	}
	return b.String()
}

func answers(q dnsmessage.Question) (dnsmessage.RCode, []dnsmessage.Resource) {
	if q.Type == dnsmessage.TypeA {
		return 0, []dnsmessage.Resource{record(q.Name.String(), 0, a("192.0.2.1"))}
	}
	return 0, nil
}

// Data leaves in names, whatever they look like: what the servers of one domain, and of all
// that no rule allows, were told, is bounded; an event says so, and others do not pay.
func TestTunnelsAreStopped(t *testing.T) {
	for name, leak := range map[string]func(i int) string{
		"long labels":       func(i int) string { return words(i, 60) + "." + words(i+7, 60) + ".leak.co.uk." },
		"letters":           func(i int) string { return letters(i) + "leak.co.uk." },
		"letters and more":  func(i int) string { return words(i, 5) + "-" + words(i, 5) + ".v2.leak.co.uk." },
		"few letters":       func(i int) string { return words(i, 1) + "." + words(i/26, 1) + "." + words(i/676, 1) + ".leak.co.uk." },
		"below no registry": func(i int) string { return words(i, 50) + ".corp." },
		"single labels":     func(i int) string { return words(i, 50) + "." },
		"given-out names":   func(i int) string { return words(i, 20) + "." + words(i, 23) + ".duckdns.org." },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, answers)
			refused := 0
			for i := 0; refused < 10; i++ {
				if i > maxSaid {
					t.Fatalf("%d questions were passed on", i)
				}
				if b.ask(leak(i), dnsmessage.TypeA).RCode == dnsmessage.RCodeNameError {
					refused++
				}
			}
			if of, all := b.up.told(); len(of) != 1 || all > maxSaid {
				t.Errorf("told: %v", of)
			}
			said := b.events.reasons()
			domain := cmp.Or(registered(strings.TrimSuffix(leak(0), ".")), "a single label")
			if len(said) != 1 || !strings.Contains(said[0], "too much was said today in names of "+domain) {
				t.Errorf("events %q", said)
			}
			if b.ask("www.other.co.uk.", dnsmessage.TypeA).RCode != 0 {
				t.Error("another domain pays for it")
			}
			b.setWho(egress.Flow{Session: "S2"}, nil)
			if b.ask(leak(0), dnsmessage.TypeA).RCode != 0 {
				t.Error("another session pays for it")
			}
		})
	}
	t.Run("allowed", func(t *testing.T) {
		b := newBench(t, answers)
		for i := range 600 {
			if m := b.ask(words(i, 60)+".allowed.test.", dnsmessage.TypeA); m.RCode != 0 {
				t.Fatal("a domain that a rule allows is limited")
			}
		}
	})
	t.Run("unfamiliar names are let through", func(t *testing.T) {
		b := newBench(t, answers)
		b.allowing.Store(true)
		for i := range 600 {
			b.ask(words(i, 60)+".leak.co.uk.", dnsmessage.TypeA)
		}
		if of, all := b.up.told(); all > maxSaid {
			t.Errorf("told: %v", of)
		}
	})
}

// Many domains are told no more than all of them may be.
func TestTunnelsToManyDomains(t *testing.T) {
	b := newBench(t, answers)
	for domain := range 20 {
		for i := range 50 {
			b.ask(fmt.Sprintf("%sleak%d.com.", letters(i), domain), dnsmessage.TypeA)
			b.ask(fmt.Sprintf("%s.leak%d.com.", words(i, 23), domain), dnsmessage.TypeAAAA)
		}
	}
	of, all := b.up.told()
	if all > maxSaidInAll || slices.Max(slices.Collect(maps.Values(of))) > maxSaid {
		t.Errorf("told: %v", of)
	}
	if all < maxSaidInAll*3/4 {
		t.Errorf("only %d bytes: this tests nothing", all)
	}
	said := b.events.reasons()
	if len(said) == 0 || !strings.Contains(said[len(said)-1], "in names of all domains together") {
		t.Errorf("events %q", said)
	}
}

// A name that a client says to the proxy is looked up before anybody is asked about it: it
// is a message like any other.
func TestTunnelsThroughTheProxy(t *testing.T) {
	b := newBench(t, func(dnsmessage.Question) (dnsmessage.RCode, []dnsmessage.Resource) {
		return dnsmessage.RCodeNameError, nil
	})
	req, err := policy.ParseLayer(codex.Layer{Name: "req.toml", Kind: codex.System, Data: []byte("[paddock.network]\nunfamiliar = \"ask\"\n")}, policy.Subject{})
	must(t, err)
	e, err := egress.New(egress.Options{Names: b, Recorder: &recorder{}, Asker: egress.DenyAll{}, Log: slog.New(slog.DiscardHandler)})
	must(t, err)
	e.Apply(egress.Policy{Hosts: policy.CompileHosts(policy.Merge(req)), Mode: policy.Enforce})
	t.Cleanup(func() { must(t, e.Shutdown(context.Background())) })
	listen := func() *net.TCPListener {
		l, err := egress.Listen(t.Context(), netip.MustParseAddrPort("127.0.0.1:0"))
		must(t, err)
		return l
	}
	redirected, proxy := listen(), listen()
	go func() { _ = e.Serve(redirected, made{netip.MustParseAddrPort("198.51.100.1:443")}) }()
	go func() { _ = e.ServeProxy(proxy, made{}, egress.Credentials{}) }()

	dial := func(l *net.TCPListener) net.Conn {
		c, err := net.Dial("tcp", l.Addr().String())
		must(t, err)
		must(t, c.SetDeadline(time.Now().Add(20*time.Second)))
		return c
	}
	for i := range 160 {
		c := dial(redirected)
		if tls.Client(c, &tls.Config{ServerName: words(i, 60) + "." + words(i, 61) + ".sni.co.uk"}).Handshake() == nil {
			t.Fatal("a host that does not exist was reached")
		}
		c.Close()
		c = dial(redirected)
		_, err := fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s.%s.host.co.uk\r\n\r\n", words(i, 60), words(i, 61))
		must(t, err)
		answer, err := http.ReadResponse(bufio.NewReader(c), nil)
		must(t, err)
		_ = answer.Body.Close()
		c.Close()
		c = dial(proxy)
		_, err = fmt.Fprintf(c, "CONNECT %[1]s HTTP/1.1\r\nHost: %[1]s\r\n\r\n", words(i, 60)+"."+words(i, 61)+".connect.co.uk:443")
		must(t, err)
		answer, err = http.ReadResponse(bufio.NewReader(c), nil)
		must(t, err)
		_ = answer.Body.Close()
		c.Close()
	}
	of, _ := b.up.told()
	for _, domain := range []string{"sni.co.uk", "host.co.uk", "connect.co.uk"} {
		if of[domain] > maxSaid || of[domain] < maxSaid*3/4 {
			t.Errorf("%s was told %d bytes", domain, of[domain])
		}
		if !slices.ContainsFunc(b.events.reasons(), func(said string) bool { return strings.Contains(said, "in names of "+domain) }) {
			t.Errorf("no event says so of %s: %q", domain, b.events.reasons())
		}
	}
}

// made is the origin of every connection.
type made struct{ to netip.AddrPort }

// Flow implements egress.Origin.
func (m made) Flow(*net.TCPConn) (egress.Flow, error) {
	return egress.Flow{Session: "S1", Dest: m.to}, nil
}

// What a session asks again within a minute is not passed on, and later only so often: to
// repeat names in this order or that says something too. The names go on to work, and do not
// take the place of others.
func TestWhatIsRepeatedStaysHere(t *testing.T) {
	b := newBench(t, answers)
	now := time.Now()
	b.said.clock = func() time.Time { return now }
	const names, minutes = 100, 60
	poll := func() {
		for i := range names {
			if got := addresses(b.ask(words(i, 2)+".shop.test.", dnsmessage.TypeA)); len(got) != 1 {
				t.Fatalf("a name in use does not work any more: %q", got)
			}
		}
	}
	poll()
	poll()
	if n := len(b.up.questions()); n != names {
		t.Errorf("%d questions were passed on at once, want %d", n, names)
	}
	for range minutes {
		now = now.Add(freshFor)
		poll()
	}
	most := names + maxAgain + int(minutes*freshFor/againEvery)
	if n := len(b.up.questions()); n > most || n < most-10 {
		t.Errorf("of %d questions %d were passed on, want %d", names*minutes, n, most)
	}
	if b.ask("new.shop.test.", dnsmessage.TypeA).RCode != 0 {
		t.Error("a new name pays for it")
	}
	same(t, "events", b.events.reasons())
}

// Without a server nothing is remembered, and who tries again and again does not use up what
// he may say: when there is one, names work.
func TestTryingWithoutAServer(t *testing.T) {
	b := newBench(t, failing)
	now := time.Now()
	b.said.clock = func() time.Time { return now }
	const names, minutes = 30, 60
	for range minutes * 60 / 5 {
		now = now.Add(5 * time.Second)
		for i := range names {
			if m := b.ask(words(i, 2)+".shop.test.", dnsmessage.TypeA); m.RCode != dnsmessage.RCodeServerFailure {
				t.Fatalf("answer %v", m.RCode)
			}
		}
	}
	if n := len(b.up.questions()); n < maxAgain+int(minutes*time.Minute/againEvery) || n > names*minutes*3 {
		t.Errorf("%d questions were passed on", n)
	}
	good := newUpstream(t, answers)
	b.setServers(5*time.Second, good.addr)
	now = now.Add(time.Second << maxDoubled)
	for i := range 2 * names { // half of them are new
		same(t, "then", addresses(b.ask(words(i, 2)+".shop.test.", dnsmessage.TypeA)), "192.0.2.1")
	}
	same(t, "events", b.events.reasons())
}

func failing(dnsmessage.Question) (dnsmessage.RCode, []dnsmessage.Resource) {
	return dnsmessage.RCodeServerFailure, nil
}

// A name that failed once, of which a client asks again at once, is passed on; one that
// fails again waits.
func TestWhatFailsWaits(t *testing.T) {
	now := time.Unix(1000, 0)
	s := newTunnels(func() time.Time { return now })
	k := keptKey{name: "www.shop.test", kind: dnsmessage.TypeA}
	for i, after := range []time.Duration{0, 0, 2, 4, 8, 16, 32, 32} {
		if after > 0 {
			now = now.Add(after*time.Second - 1)
			if pass, _, m := s.repeated("S1", k); pass || m != nil {
				t.Errorf("%d: passed on before %d s", i, after)
			}
			now = now.Add(1)
		}
		if pass, counts, _ := s.repeated("S1", k); !pass || counts != (i == 0) {
			t.Errorf("%d: passed on %v, counted %v", i, pass, counts)
		}
		s.keep("S1", k, nil)
		if i > 0 {
			s.keep("S1", k, nil) // asked at the same time
		}
	}
	now = now.Add(time.Second << maxDoubled)
	s.keep("S1", k, &dnsmessage.Message{})
	if pass, _, m := s.repeated("S1", k); pass || m == nil {
		t.Error("an answer is not given again")
	}
}

// To ask again what has no answer says no more than new names do: what is not passed on for
// nothing counts with them, and stops with them.
func TestTunnelsOfNamesThatFail(t *testing.T) {
	b := newBench(t, failing)
	began := time.Now()
	now := began
	b.said.clock = func() time.Time { return now }
	refused := 0
	for i := 0; refused < 100; i++ {
		if i%100 == 0 {
			now = now.Add(time.Second << maxDoubled)
		}
		if b.ask(words(i%100, 2)+".leak.co.uk.", dnsmessage.TypeA).RCode == dnsmessage.RCodeNameError {
			refused++
		}
		if i > maxSaid {
			t.Fatal("there is no end to it")
		}
	}
	free := maxAgain + int(now.Sub(began)/againEvery)
	counted := len(b.up.questions()) - free
	if said := b.said.sessions["S1"].bytes; said > maxSaid || counted*(perQuestion+perLabel) > maxSaid || counted*(perQuestion+perLabel) < maxSaid*3/4 {
		t.Errorf("%d questions for nothing, %d others that count for %d bytes", free, counted, said)
	}
	if said := b.events.reasons(); len(said) != 1 || !strings.Contains(said[0], "too much was said today in names of leak.co.uk") {
		t.Errorf("events %q", said)
	}
}

// What was said yesterday does not count today.
func TestTunnelsOfAnotherDay(t *testing.T) {
	now := time.Unix(1000, 0)
	s := newTunnels(func() time.Time { return now })
	fill := func() (n int) {
		for {
			if over, _ := s.ask("S1", words(n, 60)+".leak.co.uk"); over != "" {
				return n
			}
			n++
		}
	}
	first := fill()
	now = now.Add(saidFor - time.Second)
	if over, _ := s.ask("S1", words(first, 60)+".leak.co.uk"); over != "leak.co.uk" {
		t.Errorf("the day is shorter than it should be: %q", over)
	}
	now = now.Add(time.Second)
	if n := fill(); n != first {
		t.Errorf("%d names on the first day, %d on the next", first, n)
	}
}

// Of more sessions than are counted, the one whose day is over next begins a new one.
func TestTunnelsOfManySessions(t *testing.T) {
	now := time.Unix(1000, 0)
	s := newTunnels(func() time.Time { return now })
	for i := range maxSessions + 3 {
		now = now.Add(time.Second)
		s.ask(fmt.Sprint("S", i), "www.leak.co.uk")
	}
	for i := range maxSessions + 3 {
		if _, counted := s.sessions[fmt.Sprint("S", i)]; counted != (i >= 3) {
			t.Errorf("session %d is counted: %v", i, counted)
		}
	}
}

// Where nobody registers names, the last label can be data as well.
func TestTunnelsBelowMadeUpEndings(t *testing.T) {
	s := newTunnels(time.Now)
	told := 0
	for i := 0; ; i++ {
		ending := words(i, 60)
		if over, _ := s.ask("S1", "a."+ending); over != "" {
			break
		}
		if told += len(ending); told > maxSaidInAll {
			t.Fatal("there is no end to it")
		}
	}
}

// What a long day of work asks, all of it unfamiliar, is far from any limit. Package registries are made up.
func TestADayOfWork(t *testing.T) {
	var day []string
	day = append(day, strings.Fields(`registry.nodepk.org registry.nodepkgs.com github.com api.github.com codeload.github.com
		objects.githubusercontent.com raw.githubusercontent.com release-assets.githubusercontent.com avatars.githubusercontent.com ghcr.io
		pkg-containers.githubusercontent.com pypk.org files.pypackagehost.org download.pytorch.org huggingface.co cdn-lfs-us-1.huggingface.co
		proxy.gomods.org sum.gomods.org go.googlesource.com storage.googleapis.com gopkg.in go.uber.org k8s.io honnef.co static.rusted.io
		index.rusted.io static.rusted-in.org registry-1.images.io auth.images.io production.cloudflare.docker.com
		docker-images-prod.6aa30f8b08e16409b46e0173d6de2f56.r2.cloudflarestorage.com repo.javas.packed.org repo1.javas.org plugins.javabd.org
		services.javabd.org rubystone.org deb.distro.org security.distro.org archive.distro.com playwright.azureedge.net cdn.playwright.dev
		playwright.download.prss.microsoft.com nodejs.org electronjs.org fonts.gstatic.com fonts.googleapis.com login.microsoftonline.com
		management.azure.com graph.microsoft.com oauth2.googleapis.com cloudresourcemanager.googleapis.com sts.amazonaws.com
		o1137031.ingest.sentry.io in-process-telemetry-eu.applicationinsights.azure.com`)...)
	var regions []string
	for _, area := range []string{"us", "eu", "ap", "sa", "ca", "me", "af", "il"} {
		for _, side := range []string{"east", "west", "central", "south", "northeast"} {
			regions = append(regions, area+"-"+side+"-1")
		}
	}
	for _, region := range regions { // an inventory of an account, in all regions
		for _, service := range strings.Fields("ec2 rds lambda ecs eks sqs sns dynamodb kms logs monitoring cloudformation elasticloadbalancing") {
			day = append(day, service+"."+region+".amazonaws.com")
		}
	}
	for i := range 100 {
		day = append(day,
			fmt.Sprintf("acme-tenant-%04d-artifacts-prod.s3.eu-central-1.amazonaws.com", i), // 100 buckets
			fmt.Sprintf("d%013x.cloudfront.net", i*0x9e3779b97f), fmt.Sprintf("acmedata%04d.blob.core.windows.net", i),
			fmt.Sprintf("checkout-service-%x-uc.a.run.app", i*0x9e3779b97f), fmt.Sprintf("feature-%d-acme-web.vercel.app", i),
			fmt.Sprintf("rr%d---sn-4g5e%s.googlevideo.com", i%20, words(i, 4)), fmt.Sprintf("user%d.github.io", i))
	}
	for _, name := range slices.Clone(day[:50]) { // a search list is tried too
		day = append(day, name+".corp")
	}
	for i := range 80 { // hosts of a company and of a home
		day = append(day, fmt.Sprintf("build-%03d.corp", i), fmt.Sprintf("db%d.prod.corp", i), fmt.Sprintf("svc-%d.team.internal", i),
			fmt.Sprintf("srv-%03d", i), fmt.Sprintf("srv-%03d.corp", i), fmt.Sprintf("device-%d.lan", i%10))
	}
	for i := range 500 { // sites that are looked at
		day = append(day, fmt.Sprintf("www.site-%d.com", i), fmt.Sprintf("docs.tool-%d.dev", i))
	}
	now := time.Unix(1000, 0)
	s := newTunnels(func() time.Time { return now })
	for _, name := range day {
		for range 2 { // both families
			if over, _ := s.ask("S1", name); over != "" {
				t.Fatalf("%s is refused: too much for %s", name, over)
			}
		}
	}
	said := s.sessions["S1"]
	if said.bytes > maxSaidInAll*3/4 {
		t.Errorf("%d names count for %d bytes", len(day), said.bytes)
	}
	for domain, d := range said.domains {
		if d.bytes > maxSaid*3/4 {
			t.Errorf("%s counts for %d bytes", domain, d.bytes)
		}
	}
	t.Logf("%d names: %d bytes; amazonaws.com %d, cloudfront.net %d, corp %d", len(day), said.bytes, said.domains["amazonaws.com"].bytes, said.domains["cloudfront.net"].bytes, said.domains["corp"].bytes)
}

// What administrators read is what holds.
func TestLimitsAreThoseInTheDocumentation(t *testing.T) {
	text, err := os.ReadFile("../../../docs/network.md")
	must(t, err)
	for _, want := range []string{
		fmt.Sprintf("| one registered domain (`example.com`, `example.co.uk`) | %d KiB |", maxSaid>>10),
		fmt.Sprintf("| all of them together | %d KiB |", maxSaidInAll>>10),
		fmt.Sprintf("Each question counts for %d bytes", perQuestion), fmt.Sprintf("every other label for %d:", perLabel),
		fmt.Sprintf("%d times at once and then once in %.0f s", maxAgain, againEvery.Seconds()),
		fmt.Sprintf("%d records are given, and %[1]d addresses remembered", maxRecords),
		fmt.Sprintf("%d questions at a time, and as many connections; %d of each of one session, %d while half", inFlight, perSession, fewWhenFull),
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("docs/network.md does not say %q", want)
		}
	}
	if saidFor != 24*time.Hour || freshFor != time.Minute || perSecond != 1000 {
		t.Error("docs/network.md says a day, a minute, and 1,000 questions in a second")
	}
}

func TestRegistered(t *testing.T) {
	for name, want := range map[string]string{
		"a.b.example.com": "example.com", "a.b.example.co.uk": "example.co.uk", "x.y.duckdns.org": "duckdns.org", "u.github.io": "github.io",
		"github.io": "github.io", "b.s3.eu-west-1.amazonaws.com": "amazonaws.com", "d1.cloudfront.net": "cloudfront.net", "co.uk": "co.uk",
		"build": "build", "git.team.corp": "corp", "data.corp": "corp", "srv": "", "corp": "", "4.3.2.1.in-addr.arpa": "1.in-addr.arpa", "x.y.kawasaki.jp": "x.y.kawasaki.jp",
	} {
		if got := registered(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}
