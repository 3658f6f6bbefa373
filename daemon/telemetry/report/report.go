// SPDX-License-Identifier: Apache-2.0

// Package report writes a session as one HTML page that can be attached to a
// ticket: it loads nothing, runs nothing, and every word of an agent in it is
// escaped.
package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry/join"
)

//go:embed page.html
var pageText string

// Options of a page.
type Options struct {
	Now     time.Time      // when it is written
	Zone    *time.Location // of all times
	Version string         // Paddock's
	Host    string         // the machine's name
}

// page is what the template sees.
type page struct {
	*join.Account
	Options
	Entries []join.Entry
	Totals  []total
}

type total struct {
	Name  string
	Count int
	Grave bool
}

// Write writes the page.
func Write(w io.Writer, a *join.Account, o Options) error {
	if o.Zone == nil {
		o.Zone = time.UTC
	}
	t, err := template.New("page").Funcs(functions(o.Zone)).Parse(pageText)
	if err != nil {
		return fmt.Errorf("reading the page of a report: %w", err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, page{Account: a, Options: o, Entries: a.Timeline(), Totals: totals(a)}); err != nil {
		return fmt.Errorf("writing a report: %w", err)
	}
	_, err = w.Write(b.Bytes())
	return err
}

func totals(a *join.Account) []total {
	processes, reached, stopped := len(a.Loose), len(a.Network), 0
	for _, c := range a.Calls {
		processes += len(c.Processes)
		reached += len(c.Network)
		stopped += c.Stopped()
	}
	for _, p := range a.Loose {
		if p.Decision.Stopped() {
			stopped++
		}
	}
	for i := range a.Network {
		if a.Network[i].Decision.Stopped() {
			stopped++
		}
	}
	return []total{
		{"prompts", len(a.Prompts), false},
		{"tool calls", len(a.Calls), false},
		{"processes", processes, false},
		{"connections", reached, false},
		{"stopped", stopped, stopped > 0},
	}
}

func functions(zone *time.Location) template.FuncMap {
	return template.FuncMap{
		"day":     func(t time.Time) string { return t.In(zone).Format("2006-01-02 15:04:05 MST") },
		"clock":   func(t time.Time) string { return t.In(zone).Format("15:04:05.000") },
		"machine": func(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) },
		"visible": visible,
		"command": func(args []string) string {
			words := make([]string, len(args))
			for i, a := range args {
				words[i] = word(a)
			}
			return strings.Join(words, " ")
		},
		"indent":  func(depth int) string { return strings.Repeat("\u00a0\u00a0", min(depth, 40)) },
		"holds":   func(b *bool) bool { return b != nil && *b },
		"stopped": func(d *join.Decision) bool { return d.Stopped() },
		"halted":  func(d join.Decision) bool { return d.Stopped() },
		"seconds": func(ms int64) string { return strconv.FormatFloat(float64(ms)/1000, 'f', 1, 64) },
	}
}

// visible shows what a browser would hide, or turn around: a prompt must not be
// able to look like another one.
func visible(s string) string {
	if !strings.ContainsFunc(s, hidden) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if hidden(r) {
			fmt.Fprintf(&b, "\\u{%x}", r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

func hidden(r rune) bool { return r != '\n' && r != '\t' && !unicode.IsPrint(r) }

// word is an argument as a person can tell it from the next one.
func word(s string) string {
	if s == "" || strings.ContainsAny(s, " \t\n'\"\\$`|&;<>()*?[]{}") {
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	return s
}
