// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"cmp"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/net/publicsuffix"
)

// Names can carry data out: each question about a name below a domain is a message to
// whoever runs that domain's servers. So what a session may say in questions about names
// that no rule allows is limited, to each registered domain and in all.
//
// What is counted is no less than what can be said. How a label looks does not matter:
// what people choose cannot be told from what was made to look so.
const (
	// maxSaid is how many bytes one domain may be told: enough for 300 buckets of a cloud's, or
	// for all of its services in all of its regions, whose names are made of the same labels.
	maxSaid = 16 << 10
	// maxSaidInAll is for all domains together: 6,000 sites, each with its "www".
	maxSaidInAll = 64 << 10
	// saidFor is the time that this is for, from a session's first such name on.
	saidFor = 24 * time.Hour

	// A question counts for 2 bytes: of which domain, and for which type. A label that the
	// domain was not told before counts for itself and its dot, any other one for 2: which of
	// them it is.
	perQuestion, perLabel = 2, 2
)

// To ask the same again says something too: which of the questions, and when. So what is
// asked again within a minute is answered as before, and passed on to nobody. Later it is
// passed on, so many times at once and so often; then too it is answered as before. That
// does not count with the names, so that who polls some for days goes on to learn new ones.
//
// What had no answer cannot be answered as before. When it may not be passed on for nothing
// it counts like a new question: the names of one hour without a network are not broken for
// the next ones. So that they do not use up the day meanwhile, a question that failed
// more than once waits, longer each time, up to half a minute (RFC 9520, 3.2).
const (
	freshFor   = time.Minute
	maxAgain   = 512
	againEvery = 20 * time.Second

	maxKept     = 1024     // questions of one session
	maxKeptSize = ednsSize // bytes of an answer
	maxDoubled  = 5        // 32 s
)

// tunnels counts, for each session, what was said in names.
type tunnels struct {
	mu       sync.Mutex
	sessions map[string]*said
	clock    func() time.Time
}

type said struct {
	began   time.Time
	bytes   int
	told    bool
	domains map[string]*saidTo // each costs perQuestion at least: that bounds them

	kept map[keptKey]kept
	// again is how many questions may be passed on again, and since when another one may.
	again int
	since time.Time
}

type saidTo struct {
	bytes  int
	told   bool
	labels map[string]struct{}
}

type keptKey struct {
	name string
	kind dnsmessage.Type
	want asked
}

// kept is that a question was passed on, and what was answered; nil: nothing of use.
type kept struct {
	at     time.Time
	raw    []byte
	failed int // times, one after the other
}

// waits is how long a question that failed is not passed on. Clients ask at once again
// after the first time, and may.
func (k kept) waits() time.Duration {
	if k.failed < 2 {
		return 0
	}
	return time.Second << min(k.failed-1, maxDoubled)
}

func newTunnels(clock func() time.Time) *tunnels {
	return &tunnels{sessions: map[string]*said{}, clock: clock}
}

// of returns what a session said today; t.mu is held.
func (t *tunnels) of(session string) *said {
	now := t.clock()
	s := t.sessions[session]
	if s == nil && len(t.sessions) >= maxSessions {
		forgetEarliest(t.sessions, func(s *said) time.Time { return s.began }) // it gains the least from a new day // those that ended are forgotten before
	}
	if s == nil {
		s = &said{began: now, kept: map[keptKey]kept{}, again: maxAgain, since: now}
		t.sessions[session] = s
	}
	if s.domains == nil || now.Sub(s.began) >= saidFor {
		s.began, s.bytes, s.told, s.domains = now, 0, false, map[string]*saidTo{}
	}
	return s
}

// ask notes that a session asks about a name that no rule allows. Where that is too much,
// over says of whose names, and first is true when it is for the first time.
func (t *tunnels) ask(session, name string) (over string, first bool) {
	domain := registered(name)
	below := strings.TrimSuffix(strings.TrimSuffix(name, domain), ".")
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.of(session)
	d := s.domains[domain]
	if d == nil {
		d = &saidTo{}
		if !strings.Contains(domain, ".") {
			below = name // nobody registered it: which one it is can be data too
		}
	}
	n, fresh := d.cost(below)
	switch {
	case s.bytes+n > maxSaidInAll:
		first, s.told = !s.told, true
		return "all domains together", first
	case d.bytes+n > maxSaid:
		first, d.told = !d.told, true
		return cmp.Or(domain, "a single label"), first
	}
	if d.labels == nil {
		d.labels = map[string]struct{}{}
	}
	for _, label := range fresh {
		d.labels[label] = struct{}{}
	}
	d.bytes += n
	s.bytes += n
	s.domains[domain] = d
	return "", false
}

// cost is what a question counts for, and which of its labels are new.
func (d *saidTo) cost(below string) (n int, fresh []string) {
	n = perQuestion
	if below == "" {
		return n, nil
	}
	for label := range strings.SplitSeq(below, ".") {
		if _, known := d.labels[label]; known {
			n += perLabel
			continue
		}
		n += len(label) + 1
		fresh = append(fresh, label)
	}
	return n, fresh
}

// repeated says of a question whether it is to be passed on, and then, whether it counts
// with the names (see ask). Otherwise it is answered as before; nil: it failed a moment ago.
func (t *tunnels) repeated(session string, k keptKey) (pass, counts bool, m *dnsmessage.Message) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, now := t.of(session), t.clock()
	was, before := s.kept[k]
	if !before {
		return true, true, nil
	}
	if now.Sub(was.at) < was.waits() {
		return false, false, nil
	}
	if was.raw != nil {
		m = new(dnsmessage.Message)
		if m.Unpack(was.raw) != nil {
			m = nil
		}
		if m != nil && now.Sub(was.at) < freshFor {
			return false, false, m
		}
	}
	if n := int(now.Sub(s.since) / againEvery); n > 0 {
		s.again = min(s.again+n, maxAgain)
		s.since = s.since.Add(time.Duration(n) * againEvery)
	}
	switch {
	case s.again > 0:
		s.again--
		return true, false, nil
	case m != nil:
		return false, false, m
	}
	return true, true, nil
}

// keep remembers that a question was passed on, and the answer; nil: none came.
func (t *tunnels) keep(session string, k keptKey, m *dnsmessage.Message) {
	var raw []byte
	// That a server fails is no answer: the next one may be.
	good := m != nil && (m.RCode == dnsmessage.RCodeSuccess || m.RCode == dnsmessage.RCodeNameError)
	if good {
		if packed, err := m.Pack(); err == nil && len(packed) <= maxKeptSize {
			raw = packed
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.sessions[session]
	if s == nil {
		return // it ended meanwhile, and nobody would forget it again
	}
	was, again := s.kept[k]
	if raw == nil && was.raw != nil {
		return
	}
	now, failed := t.clock(), 0
	if !good {
		if now.Sub(was.at) < was.waits() {
			return // several were asked at the same time: that is one failure
		}
		failed = was.failed + 1
	}
	if !again && len(s.kept) >= maxKept {
		for old := range s.kept { // any
			delete(s.kept, old)
			break
		}
	}
	s.kept[k] = kept{now, raw, failed}
}

func (t *tunnels) forget(session string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.sessions, session)
}

// registered is the domain that somebody registered with a registry: the part below which
// one owner answers. What others give out below their own (github.io, duckdns.org,
// cloudfront.net) is theirs: who has names there for nothing has as many as he likes. Where
// no registry is known it is the last label, as of host.corp, and that is empty for a single
// one: somebody's own servers answer, and nothing that is said to them was registered.
func registered(name string) string {
	for rest := name; ; {
		suffix, icann := publicsuffix.PublicSuffix(rest)
		_, above, dotted := strings.Cut(suffix, ".")
		switch {
		case !icann && dotted:
			rest = above
			continue
		case !icann && suffix == name:
			return ""
		case !icann:
			return suffix
		}
		below, ok := strings.CutSuffix(name, "."+suffix)
		if !ok {
			return name // a public suffix itself
		}
		return below[strings.LastIndexByte(below, '.')+1:] + "." + suffix
	}
}
