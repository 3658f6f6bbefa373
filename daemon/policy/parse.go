// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// ParseError says what is wrong with a requirements file, and where.
type ParseError struct {
	// Source is the file or other source, as given to Parse.
	Source string
	// Line counts from 1. 0: the problem is not at one line.
	Line int
	// Key is the dotted key with the problem. May be empty.
	Key string
	// Problem is the rest of the sentence: the bad value, and what is possible.
	Problem string
}

// Error returns the whole sentence.
func (e *ParseError) Error() string {
	var b strings.Builder
	b.WriteString("reading requirements layer " + e.Source)
	if e.Line > 0 {
		b.WriteString(": line " + strconv.Itoa(e.Line))
	}
	if e.Key != "" {
		b.WriteString(": " + e.Key)
	}
	b.WriteString(": " + e.Problem)
	return b.String()
}

// lineError is a ParseError before the source is known.
type lineError struct {
	line    int
	key     string
	problem string
}

func (e *lineError) Error() string { return e.problem }

// Parse reads a requirements.toml: Codex's format, of which [rules] counts here,
// and the table [paddock]. source names it in errors, which are *ParseError, and
// in every rule. An empty document is valid and has no rules.
//
// Everything it does not understand in [rules] and [paddock] is an error, but for
// additional keys of Codex's own tables, which Codex ignores as well. Codex's other
// keys are accepted unread.
func Parse(source string, data []byte) (*Requirements, error) {
	doc, err := readDocument(data, "rules", "paddock")
	if err == nil {
		f := &file{source: source}
		var req *Requirements
		if req, err = f.requirements(doc); err == nil {
			return req, nil
		}
	}
	var at *lineError
	if errors.As(err, &at) {
		return nil, &ParseError{Source: source, Line: at.line, Key: at.key, Problem: at.problem}
	}
	return nil, &ParseError{Source: source, Problem: err.Error()}
}

// file turns the values of a document into requirements.
type file struct {
	source   string
	warnings []string
}

func (f *file) warn(line int, format string, args ...any) {
	f.warnings = append(f.warnings, origin(f.source, line)+": "+fmt.Sprintf(format, args...))
}

func (f *file) requirements(doc *value) (*Requirements, error) {
	req := &Requirements{Mode: Enforce, Unmatched: Allow, Network: Network{Default: NetAllow}}
	f.misspelt(doc)
	if v := doc.table.get("rules"); v != nil {
		rules, err := f.rules(v)
		if err != nil {
			return nil, err
		}
		req.Rules = rules
	}
	if v := doc.table.get("paddock"); v != nil {
		if err := f.paddock(v, req); err != nil {
			return nil, err
		}
	}
	if _, err := req.Network.Entries(); err != nil {
		return nil, &lineError{key: "paddock.network.rules", problem: err.Error()}
	}
	req.Warnings = f.warnings
	return req, nil
}

// misspelt warns about top-level keys that were probably meant for us. They may
// not be an error: a newer Codex may have a key of that name.
func (f *file) misspelt(doc *value) {
	for i, key := range doc.table.keys {
		if doc.table.vals[i] != nil {
			continue
		}
		if meant, ok := nearest(key, []string{"paddock", "rules"}); ok {
			f.warn(int(doc.table.lines[i]), "the table [%s] is not read; did you mean [%s]?", quoteWord(key), meant)
		}
	}
}

func (f *file) paddock(v *value, req *Requirements) error {
	const key = "paddock"
	t, err := tableOf(key, v, "agents", "mode", "network", "telemetry", "unmatched")
	if err != nil {
		return err
	}
	if v := t.get("mode"); v != nil {
		if req.Mode, err = enum(key+".mode", v, "mode", Observe, Enforce); err != nil {
			return err
		}
		req.ModeSet = true
	}
	if v := t.get("unmatched"); v != nil {
		if req.Unmatched, err = enum(key+".unmatched", v, "decision", Allow, Prompt, Forbidden); err != nil {
			return err
		}
	}
	if v := t.get("agents"); v != nil {
		if req.Agents, err = agents(key+".agents", v); err != nil {
			return err
		}
	}
	if v := t.get("network"); v != nil {
		if req.Network, err = f.network(key+".network", v); err != nil {
			return err
		}
	}
	if v := t.get("telemetry"); v != nil {
		if req.Telemetry, err = telemetry(key+".telemetry", v); err != nil {
			return err
		}
	}
	return nil
}

func agents(key string, v *value) ([]string, error) {
	names, err := stringsOf(key, v)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, fail(v, key, `an empty list would govern nothing; leave "agents" out to govern every known agent`)
	}
	for i, name := range names {
		const letters = "abcdefghijklmnopqrstuvwxyz0123456789-_."
		if name == "" || strings.Trim(name, letters) != "" {
			return nil, fail(v.items[i], at(key, i), "bad agent name %q (lower-case letters, digits, -, _ and ., like %q)", name, "claude-code")
		}
		if slices.Index(names, name) < i {
			return nil, fail(v.items[i], at(key, i), "agent %q is there twice", name)
		}
	}
	return names, nil
}
