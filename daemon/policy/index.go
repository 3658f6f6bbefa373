// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"path"
	"slices"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/cases"
)

// Rules is a set of prefix rules made ready to decide. It does not change and
// may be used by many at once.
//
// It is a trie over the words of the patterns. An element with alternatives has
// one child that all of them lead to, so that a pattern of many alternatives in
// many places costs their sum and not their product.
type Rules struct {
	rules     []PrefixRule
	unmatched Decision
	why       string // of unmatched; empty: the usual
	root      *node
	names     []string
}

type node struct {
	exact  []edge  // sorted by word; a word may occur more than once
	folded []edge  // words of canonical rules, folded; sorted likewise
	best   int32   // the rule that decides among those which end here; none: -1
	ends   []int32 // all that end here, in their order
	strict int     // the greatest rank among the rules here and below
}

type edge struct {
	word string
	to   *node
}

const noRule int32 = -1

// place names a child while the trie is built: equal elements under one parent
// share it.
type place struct {
	parent *node
	set    string
	fold   bool
}

// Compile makes rules ready. A command that none of them matches gets the
// decision unmatched. A rule without a pattern, or with an element without
// alternatives, cannot match and is left out; Parse refuses both.
func Compile(rules []PrefixRule, unmatched Decision) *Rules {
	r := &Rules{rules: slices.Clone(rules), unmatched: unmatched, root: newNode()}
	places := map[place]*node{}
	names := map[string]bool{}
	for i := range r.rules {
		rule := &r.rules[i]
		if len(rule.Pattern) == 0 || slices.ContainsFunc(rule.Pattern, func(e []string) bool { return len(e) == 0 }) {
			continue
		}
		for _, token := range rule.Pattern[0] {
			for _, name := range firstWords(token, rule.Decision) {
				names[name] = true
			}
		}
		r.insert(places, int32(i))
	}
	r.root.sort(map[*node]bool{})
	r.names = make([]string, 0, len(names))
	for name := range names {
		r.names = append(r.names, name)
	}
	slices.Sort(r.names)
	return r
}

// CompileCommands makes the rules of requirements ready.
func CompileCommands(r *Requirements) *Rules {
	rules := Compile(r.Rules, r.Unmatched)
	rules.why = r.Why
	return rules
}

func newNode() *node { return &node{best: noRule, strict: -1} }

func (r *Rules) insert(places map[place]*node, index int32) {
	rule := &r.rules[index]
	at := r.root
	for depth, element := range rule.Pattern {
		at.strict = max(at.strict, rule.rank())
		at = at.child(places, words(element, rule, depth == 0), rule.Canonical)
	}
	at.strict = max(at.strict, rule.rank())
	at.ends = append(at.ends, index)
	if at.best == noRule || rule.rank() > r.rules[at.best].rank() {
		at.best = index
	}
}

// words returns what an element of a pattern is found under, sorted, each once.
func words(element []string, rule *PrefixRule, first bool) []string {
	out := make([]string, 0, len(element))
	for _, token := range element {
		if first {
			out = append(out, firstWords(token, rule.Decision)...)
		} else {
			out = append(out, token)
		}
	}
	if rule.Canonical {
		for i, w := range out {
			out[i] = foldCase(w)
		}
	}
	if len(out) > 1 {
		slices.Sort(out)
		out = slices.Compact(out)
	}
	return out
}

func (n *node) child(places map[place]*node, words []string, fold bool) *node {
	// Lengths keep ["a", "b"] and ["ab"] apart whatever bytes a word may hold.
	var set strings.Builder
	for _, w := range words {
		set.WriteString(strconv.Itoa(len(w)))
		set.WriteByte(':')
		set.WriteString(w)
	}
	key := place{n, set.String(), fold}
	if to, ok := places[key]; ok {
		return to
	}
	to := newNode()
	places[key] = to
	for _, w := range words {
		if fold {
			n.folded = append(n.folded, edge{w, to})
		} else {
			n.exact = append(n.exact, edge{w, to})
		}
	}
	return to
}

func (n *node) sort(done map[*node]bool) {
	if done[n] {
		return
	}
	done[n] = true
	byWord := func(a, b edge) int { return strings.Compare(a.word, b.word) }
	slices.SortStableFunc(n.exact, byWord)
	slices.SortStableFunc(n.folded, byWord)
	n.exact, n.folded, n.ends = slices.Clip(n.exact), slices.Clip(n.folded), slices.Clip(n.ends)
	for _, e := range n.exact {
		e.to.sort(done)
	}
	for _, e := range n.folded {
		e.to.sort(done)
	}
}

// leading returns the edges for word.
func leading(edges []edge, word string) []edge {
	from := sort.Search(len(edges), func(i int) bool { return edges[i].word >= word })
	to := from
	for to < len(edges) && edges[to].word == word {
		to++
	}
	return edges[from:to]
}

// follow calls visit for every node that word leads to.
func (n *node) follow(word string, visit func(*node)) {
	for _, e := range leading(n.exact, word) {
		visit(e.to)
	}
	if len(n.folded) > 0 {
		for _, e := range leading(n.folded, foldCase(word)) {
			visit(e.to)
		}
	}
}

// Decide returns what the rules say about c. It takes the time of a few look-ups
// however many rules there are. A command without any name is forbidden.
func (r *Rules) Decide(c Command) Verdict {
	names := known(c.Names)
	best, depth, by := noRule, 0, ""
	var walk func(n *node, at int, name string)
	walk = func(n *node, at int, name string) {
		if n.best != noRule && (best == noRule || r.better(n.best, at, best, depth)) {
			best, depth, by = n.best, at, name
		}
		if at-1 < len(c.Args) {
			n.follow(c.Args[at-1], func(to *node) { walk(to, at+1, name) })
		}
	}
	for _, name := range names {
		r.root.follow(name, func(to *node) { walk(to, 1, name) })
	}
	if best == noRule {
		return r.noMatch(names)
	}
	return r.matched(best, append([]string{by}, c.Args[:depth-1]...))
}

// Matching returns the places of all rules that match c among those Compile was
// given, in their order. It costs Decide's look-ups, and the rules it returns.
func (r *Rules) Matching(c Command) []int32 {
	var found []int32
	var walk func(n *node, at int)
	walk = func(n *node, at int) {
		found = append(found, n.ends...)
		if at < len(c.Args) {
			n.follow(c.Args[at], func(to *node) { walk(to, at+1) })
		}
	}
	for _, name := range known(c.Names) {
		r.root.follow(name, func(to *node) { walk(to, 0) })
	}
	slices.Sort(found) // a rule is met once for each of the names it matches by
	return slices.Compact(found)
}

// better reports whether rule a, matching aWords words, decides over rule b.
func (r *Rules) better(a int32, aWords int, b int32, bWords int) bool {
	if ra, rb := r.rules[a].rank(), r.rules[b].rank(); ra != rb {
		return ra > rb
	}
	if aWords != bWords {
		return aWords > bWords
	}
	return a < b
}

// Program returns what the rules say about a program known by names before its
// arguments are looked at. With whatever true the decision is the same for every
// argument list, so that it need not be asked again; otherwise it is the one for
// no arguments at all.
func (r *Rules) Program(names []string) (d Decision, v Verdict, whatever bool) {
	v = r.Decide(Command{Names: names})
	strict := -1
	for _, name := range known(names) {
		r.root.follow(name, func(to *node) { strict = max(strict, to.strict) })
	}
	if !v.Matched {
		// Some rule begins with this name: arguments decide whether it matches.
		return v.Decision, v, strict < 0
	}
	return v.Decision, v, strict <= v.Rule.rank()
}

// ProgramNames returns, sorted, every name a program can have for some rule to
// be about it. A first word that is a path is there as it is written, cleaned,
// and as its file name. The names of canonical rules are there in the case they
// are written in.
func (r *Rules) ProgramNames() []string { return slices.Clone(r.names) }

// Len returns the number of rules.
func (r *Rules) Len() int { return len(r.rules) }

// known adds to each path among names its file name, and leaves out repetitions
// and the empty name.
func known(names []string) []string {
	out := make([]string, 0, len(names)+2)
	add := func(name string) {
		if name != "" && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	for _, name := range names {
		add(name)
		if strings.Contains(name, "/") {
			clean := path.Clean(name)
			add(clean)
			add(path.Base(clean))
		}
	}
	return out
}

// foldCase maps all spellings of a word that differ only in case to one. As in
// Codex that is the full folding of Unicode: "ß" and "SS" are the same.
func foldCase(s string) string {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return cases.Fold().String(s)
		}
	}
	return strings.ToLower(s)
}
