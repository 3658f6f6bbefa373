// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// manual is docs/telemetry.md: by heading, the attributes its table has and the
// headings it refers to.
type manual map[string]*chapter

type chapter struct{ attributes, refers []string }

var quoted = regexp.MustCompile("`([a-z_.]+)`")

var readManual = sync.OnceValues(func() (manual, error) {
	data, err := os.ReadFile("../../docs/telemetry.md")
	if err != nil {
		return nil, err
	}
	m := manual{}
	var under []*chapter
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if title, ok := strings.CutPrefix(line, "##"); ok {
			c := &chapter{}
			under = []*chapter{c}
			title = strings.Trim(title, "# ")
			m[title] = c
			for _, name := range quoted.FindAllStringSubmatch(title, -1) {
				m[name[1]] = c
			}
			continue
		}
		if len(under) == 0 {
			continue
		}
		c := under[0]
		if cells := strings.Split(line, "|"); len(cells) > 2 {
			for _, name := range quoted.FindAllStringSubmatch(cells[1], -1) {
				c.attributes = append(c.attributes, name[1])
			}
			continue
		}
		for _, title := range []string{"Who and why", "What was decided"} {
			if strings.Contains(strings.ToLower(line), strings.ToLower(title)) {
				c.refers = append(c.refers, title)
			}
		}
		if _, name, ok := strings.Cut(strings.ToLower(line), "as `paddock."); ok {
			name, _, _ = strings.Cut(name, "`")
			c.refers = append(c.refers, "paddock."+name)
		}
	}
	return m, nil
})

// knows says whether an event of that name may have the attribute.
func (m manual) knows(title, attribute string) bool {
	c := m[title]
	return c != nil && (slices.Contains(c.attributes, attribute) ||
		slices.ContainsFunc(c.refers, func(t string) bool { return t != title && m.knows(t, attribute) }))
}

// documented checks that events are as the manual says. Every test of this
// package ends with it.
func documented(t *testing.T, events []telemetry.Event) {
	t.Helper()
	m, err := readManual()
	must(t, err)
	told := map[string]bool{}
	for _, e := range events {
		for name := range e.Attrs {
			if !m.knows(e.Name, name) && !m.knows("On every event", name) && !told[e.Name+name] {
				told[e.Name+name] = true
				t.Errorf("docs/telemetry.md does not say that %s may have %s", e.Name, name)
			}
		}
	}
}

func TestManualIsComplete(t *testing.T) {
	m, err := readManual()
	must(t, err)
	for _, name := range telemetry.Names() {
		if m[name] == nil {
			t.Errorf("docs/telemetry.md has nothing about %s", name)
		}
	}
	source, err := os.ReadFile("../../daemon/telemetry/attributes.go")
	must(t, err)
	attributes := regexp.MustCompile(`(?m)^\tAttr\w+\s+= "([a-z_.]+)"`).FindAllSubmatch(source, -1)
	if len(attributes) < 50 {
		t.Fatalf("%d attributes are declared", len(attributes))
	}
	for _, a := range attributes {
		known := false
		for title := range m {
			known = known || m.knows(title, string(a[1]))
		}
		if !known {
			t.Errorf("docs/telemetry.md has nothing about %s", a[1])
		}
	}
}
