// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/seed-649e9bbc/paddock/daemon/policy/codex"
	"github.com/seed-649e9bbc/paddock/daemon/policy/document"
)

// Subject is whom requirements are for. What is not known is empty, and matches no
// condition of a cohort.
type Subject struct {
	// Host is the name of the machine, as fully qualified as it is known.
	Host string
	// MachineID tells the machine from all others, and never changes.
	MachineID string
	// People are those who use the machine, as far as they are known.
	People []Person
	// Home is the directory that ~ stands for.
	Home string
}

// Person is somebody who uses a machine.
type Person struct {
	// User is the name of the person's account, Groups those it is in.
	User   string
	Groups []string
	// Unsure says that User and Groups could not be found out: the person counts as
	// one of every cohort of people.
	Unsure bool
}

// Cohort is a part of all machines for which a layer says something else.
type Cohort struct {
	// Name is the cohort's, Source and Line where it is defined.
	Name, Source string
	Line         int
	// People says that it is one of certain users or groups. What it says is then a
	// layer of its own, below its file: it makes requirements stricter, never milder.
	People bool
	// Applied says that the subject is of it, so that what it says is in force.
	Applied bool
	// Why says what decided, as the rest of a sentence.
	Why string
}

// cohorts takes the cohorts out of a document, checks them all, and lays over it
// what those say that the machine is of, in their order. What those of its people
// say becomes layers of their own: one person's must not weaken another's.
func (f *file) cohorts(doc *document.Value) ([]Cohort, error) {
	own := doc.Table.Get(ownTable)
	if own == nil || own.Kind != document.KindTable || !own.Table.Has("cohort") || f.layer.Kind == codex.Legacy {
		return nil, nil
	}
	const key = ownTable + ".cohort"
	list := own.Table.Get("cohort")
	if f.within {
		return nil, document.Fail(list, key, "a cohort cannot have cohorts itself")
	}
	items, err := document.ArrayOf(key, list)
	if err != nil {
		return nil, err
	}
	own.Table.Remove("cohort")
	var out []Cohort
	for i, item := range items {
		cohort, overlay, err := f.cohort(document.Element(key, i), item)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(out, func(c Cohort) bool { return c.Name == cohort.Name }) {
			return nil, document.Fail(item, document.Element(key, i)+".name", "there is another cohort %s in this file", document.Quoted(cohort.Name))
		}
		out = append(out, cohort)
		// A mistake is one on every machine, not only on those of the cohort.
		alone := &file{layer: f.layer, source: f.source, within: true}
		said, err := alone.requirements(clone(overlay))
		if err != nil {
			return nil, err
		}
		switch {
		case cohort.Applied && cohort.People:
			f.people = append(f.people, said)
		case cohort.Applied:
			layOver(doc, overlay)
		default:
			f.warnings = append(append(f.warnings, said.Layer.Warnings...), alone.warnings...)
		}
	}
	return out, nil
}

func (f *file) cohort(key string, v *document.Value) (Cohort, *document.Value, error) {
	c := Cohort{Source: f.source, Line: int(v.At.Line)}
	t, err := document.TableOf(key, v, keysOf(cohortShape)...)
	if err != nil {
		return c, nil, err
	}
	name, err := document.Required(t, v, key, "name")
	if err != nil {
		return c, nil, err
	}
	if c.Name, err = document.StringOf(key+".name", name); err != nil {
		return c, nil, err
	}
	if strings.TrimSpace(c.Name) == "" {
		return c, nil, document.Fail(name, key+".name", "cannot be empty")
	}
	overlay, err := document.Required(t, v, key, "requirements")
	if err != nil {
		return c, nil, err
	}
	if overlay.Kind != document.KindTable {
		return c, nil, document.Fail(overlay, key+".requirements", "expected a table, found %s", document.Found(overlay))
	}
	c.People = t.Has("users") || t.Has("groups")
	c.Applied, c.Why, err = f.subject.of(key, c.Name, t, v)
	return c, overlay, err
}

// of reports whether the subject meets all conditions of a cohort, and why.
func (s Subject) of(key, name string, t *document.Table, v *document.Value) (bool, string, error) {
	var all outcome
	hosts, err := listOf(key, t, "hosts")
	if err != nil {
		return false, "", err
	}
	users, err := listOf(key, t, "users")
	if err != nil {
		return false, "", err
	}
	groups, err := listOf(key, t, "groups")
	if err != nil {
		return false, "", err
	}
	if hosts != nil {
		all.add(meets("host", "hosts", hosts, one(s.Host), codex.MatchHost))
	}
	if users != nil || groups != nil {
		all.add(s.somebody(users, groups))
	}
	if percent := t.Get("percent"); percent != nil {
		reason, ok, err := s.drawn(key, name, percent)
		if err != nil {
			return false, "", err
		}
		all.add(reason, ok)
	}
	if all.conditions == 0 {
		return false, "", document.Fail(v, key, "has no hosts, users, groups or percent: what holds everywhere belongs into the file itself")
	}
	return all.met(), all.why(), nil
}

// listOf returns the words of a condition; nil if there is no such condition.
func listOf(key string, t *document.Table, name string) ([]string, error) {
	list := t.Get(name)
	if list == nil {
		return nil, nil
	}
	wanted, err := document.StringsOf(key+"."+name, list)
	if err == nil && len(wanted) == 0 {
		err = document.Fail(list, key+"."+name, "an empty list matches nothing; leave it out to have no such condition")
	}
	return wanted, err
}

// somebody reports whether one of the people meets both conditions.
func (s Subject) somebody(users, groups []string) (string, bool) {
	same := func(wanted, is string) bool { return wanted == is }
	var last outcome
	for _, p := range s.People {
		if p.Unsure {
			return "who " + quoteWord(p.User) + " is could not be found out, which counts", true
		}
		last = outcome{}
		if users != nil {
			last.add(meets("user", "users", users, one(p.User), same))
		}
		if groups != nil {
			last.add(meets("group", "groups", groups, p.Groups, same))
		}
		if last.met() {
			return last.why(), true
		}
	}
	switch len(s.People) {
	case 0:
		return "no user is known", false
	case 1:
		return last.why(), false
	}
	return fmt.Sprintf("none of %d users is", len(s.People)), false
}

// outcome collects what became of conditions.
type outcome struct {
	conditions   int
	reasons, not []string
}

func (o *outcome) add(reason string, met bool) {
	o.conditions++
	if met {
		o.reasons = append(o.reasons, reason)
	} else {
		o.not = append(o.not, reason)
	}
}

func (o *outcome) met() bool { return len(o.not) == 0 }

func (o *outcome) why() string {
	if o.met() {
		return strings.Join(o.reasons, ", ")
	}
	return strings.Join(o.not, ", ")
}

// meets reports whether one of what the subject is matches one of what is wanted.
func meets(what, key string, wanted, subject []string, match func(pattern, is string) bool) (string, bool) {
	for _, is := range subject {
		if i := slices.IndexFunc(wanted, func(p string) bool { return match(p, is) }); i >= 0 {
			return fmt.Sprintf("%s %s matches %s", what, quoteWord(is), document.Quoted(wanted[i])), true
		}
	}
	if len(subject) == 0 {
		return "the " + what + " is not known", false
	}
	return fmt.Sprintf("%s %s is none of %s", what, quoteWord(strings.Join(subject, " ")), key), false
}

func (s Subject) drawn(key, name string, percent *document.Value) (string, bool, error) {
	n := int64(-1)
	if percent.Kind == document.KindInteger {
		n, _ = percent.Integer()
	}
	if n < 0 || n > 100 {
		return "", false, document.Fail(percent, key+".percent", "expected a whole number from 0 to 100, found %s", document.Found(percent))
	}
	if s.MachineID == "" {
		return "the id of the machine is not known", false, nil
	}
	drawn := draw(name, s.MachineID)
	return fmt.Sprintf("the machine drew %.2f of 100, and percent is %d", float64(drawn)/100, n), drawn < 100*n, nil
}

func one(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

// draw returns a number from 0 to 9999 that a machine always draws for a cohort, and
// that says nothing about what it draws for another one.
func draw(cohort, machine string) int64 {
	sum := sha256.Sum256([]byte(cohort + "\x00" + machine))
	return int64(binary.BigEndian.Uint64(sum[:8]) % 10000)
}

// layOver lays an overlay over a document: rules are added, tables merged, all else
// replaced.
func layOver(doc, overlay *document.Value) {
	for i, key := range overlay.Table.Keys {
		v, at := overlay.Table.Vals[i], overlay.Table.At[i]
		low := doc.Table.Get(key)
		both := low != nil && low.Kind == document.KindTable && v.Kind == document.KindTable
		switch {
		case both && key == "rules" && low.Table.Get("prefix_rules") != nil && v.Table.Get("prefix_rules") != nil:
			list := *low.Table.Get("prefix_rules")
			list.Items = slices.Concat(v.Table.Get("prefix_rules").Items, list.Items)
			low.Table.Set("prefix_rules", at, &list)
		case both:
			layOver(low, v)
		default:
			doc.Table.Set(key, at, clone(v))
		}
	}
}

func clone(v *document.Value) *document.Value {
	out := *v
	out.Items = nil
	for _, item := range v.Items {
		out.Items = append(out.Items, clone(item))
	}
	if v.Table == nil {
		return &out
	}
	out.Table = &document.Table{}
	for i, key := range v.Table.Keys {
		out.Table.Add(key, v.Table.At[i], clone(v.Table.Vals[i]))
	}
	return &out
}
