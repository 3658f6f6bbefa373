// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"strings"
	"sync"

	"golang.org/x/net/publicsuffix"
)

// Names can carry data out: each new name below a domain is a message to whoever runs
// that domain's servers. So what a session may say in names that no rule allows is
// limited, below each registered domain and in all.
const (
	// maxSaid is how many bytes of long or random labels one domain may be told.
	// "d111111abcdef8.cloudfront.net" are 14, and 200 of such are plenty.
	maxSaid = 4 << 10
	// maxSaidInAll is for all domains together.
	maxSaidInAll = 32 << 10
	// maxDistinct is how many different names of one domain may be asked for.
	maxDistinct = 1024
	// maxDomains is how many domains are told apart; beyond, all others are one.
	maxDomains = 1024
)

// tunnels counts, for each session, what was said in names.
type tunnels struct {
	mu       sync.Mutex
	sessions map[string]*said
}

type said struct {
	bytes   int
	domains map[string]*saidTo
}

type saidTo struct {
	bytes int
	names map[string]struct{}
	told  bool
}

func newTunnels() *tunnels { return &tunnels{sessions: map[string]*said{}} }

// ask notes that a session asks for a name that no rule allows. It returns false when
// that is too much, and first is true when it is for the first time.
func (t *tunnels) ask(session, name string) (domain string, ok, first bool) {
	domain = registered(name)
	below := strings.TrimSuffix(strings.TrimSuffix(name, domain), ".")
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.sessions[session]
	if s == nil {
		if len(t.sessions) >= maxSessions {
			for old := range t.sessions { // any: those that ended are forgotten before
				delete(t.sessions, old)
				break
			}
		}
		s = &said{domains: map[string]*saidTo{}}
		t.sessions[session] = s
	}
	d := s.domains[domain]
	if d == nil {
		if len(s.domains) >= maxDomains {
			domain = ""
			d = s.domains[domain]
		}
		if d == nil {
			d = &saidTo{names: map[string]struct{}{}}
			s.domains[domain] = d
		}
	}
	if _, again := d.names[below]; again {
		return domain, true, false
	}
	n := weight(below)
	if len(d.names) >= maxDistinct || n > 0 && (d.bytes+n > maxSaid || s.bytes+n > maxSaidInAll) {
		first, d.told = !d.told, true
		return domain, false, first
	}
	d.names[below] = struct{}{}
	d.bytes += n
	s.bytes += n
	return domain, true, false
}

func (t *tunnels) forget(session string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.sessions, session)
}

// registered is the domain that somebody registered: the part below which one owner
// answers.
func registered(name string) string {
	d, err := publicsuffix.EffectiveTLDPlusOne(name)
	if err != nil {
		return name // a public suffix itself, or a single label
	}
	return d
}

// weight is the number of bytes in labels that no person chose: long ones, and ones
// that mix letters and digits without a pattern.
func weight(below string) int {
	n := 0
	for label := range strings.SplitSeq(below, ".") {
		if len(label) >= 24 || len(label) >= 8 && switches(label) >= 3 {
			n += len(label)
		}
	}
	return n
}

// switches counts how often a label goes from letters to digits and back.
func switches(label string) int {
	n := 0
	for i := 1; i < len(label); i++ {
		a, b := kind(label[i-1]), kind(label[i])
		if a != b && a != 0 && b != 0 {
			n++
		}
	}
	return n
}

func kind(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return 1
	case c >= 'a' && c <= 'z':
		return 2
	}
	return 0
}
