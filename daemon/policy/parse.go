// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/seed-649e9bbc/paddock/daemon/policy/codex"
	"github.com/seed-649e9bbc/paddock/daemon/policy/document"
)

// ParseError says what is wrong with requirements, and where.
type ParseError = codex.Error

// Parse reads a requirements.toml of the machine: ParseLayer for a subject nothing is
// known of.
func Parse(source string, data []byte) (*Requirements, error) {
	return ParseLayer(codex.Layer{Name: source, Kind: codex.System, Data: data}, Subject{})
}

// ParseLayer reads one layer of requirements, as they are for subject: Codex's keys
// and the table [paddock]. The layer's name is in errors, which are *ParseError, and
// in every rule. An empty document is valid and has no rules.
//
// What Codex refuses to load is refused. Keys it does not know are kept and warned
// about, except in [paddock], where they are errors. What only several layers show
// together is for Merge.
func ParseLayer(l codex.Layer, subject Subject) (*Requirements, error) {
	doc, err := document.Read(l.Data)
	if err == nil {
		f := &file{layer: l, source: l.Name, subject: subject}
		var req *Requirements
		if req, err = f.requirements(doc); err == nil {
			return req, nil
		}
	}
	return nil, codex.NewError(l, err)
}

// file turns the values of a document into requirements.
type file struct {
	layer    codex.Layer
	source   string
	subject  Subject
	warnings []codex.Warning // of what is not Codex's
	// within says that this is what a cohort says, which has no cohorts itself.
	within bool
	// people is what cohorts of people say that are here.
	people []*Requirements
}

func (f *file) warn(at document.Position, format string, args ...any) {
	f.warnings = append(f.warnings, codex.Warning{Source: f.source, Line: int(at.Line), Column: int(at.Column), Key: ownTable, Problem: fmt.Sprintf(format, args...)})
}

const ownTable = "paddock"

func (f *file) requirements(doc *document.Value) (*Requirements, error) {
	cohorts, err := f.cohorts(doc)
	if err != nil {
		return nil, err
	}
	req := &Requirements{Mode: Enforce, Unmatched: Allow, Network: Network{Default: NetAllow}, Cohorts: cohorts, People: f.people}
	own := []string{ownTable}
	if f.layer.Kind == codex.Legacy {
		own = nil // there is no such table in a config.toml
	}
	if req.Layer, err = codex.ParseDocument(f.layer, doc, codex.Machine{Host: f.subject.Host, Home: f.subject.Home}, own...); err != nil {
		return nil, err
	}
	if req.Layer.Fault != nil {
		// Or what Codex finds before it.
		_, err := codex.Compose(req.Layer)
		return nil, err
	}
	req.Rules = prefixRules(req.Layer.Rules)
	if v := doc.Table.Get(ownTable); v != nil {
		if err := f.paddock(v, req); err != nil {
			return nil, err
		}
	}
	f.sandbox(req)
	if _, err := req.Network.Entries(); err != nil {
		return nil, &document.Error{Key: "paddock.network.rules", Problem: err.Error()}
	}
	for _, w := range slices.Concat(req.Layer.Warnings, f.warnings) {
		req.Warnings = append(req.Warnings, w.String())
	}
	return req, nil
}

// prefixRules makes of Codex's rules those that are matched with commands.
func prefixRules(from []codex.Rule) []PrefixRule {
	if len(from) == 0 {
		return nil
	}
	out := make([]PrefixRule, len(from))
	for i, r := range from {
		out[i] = PrefixRule{
			Pattern: r.Pattern, Decision: Prompt, HumanOnly: r.Decision == "prompt-user",
			Justification: r.Justification, Canonical: r.Canonical, Source: r.Source, Line: int(r.At.Line),
		}
		if r.Decision == "forbidden" {
			out[i].Decision = Forbidden
		}
	}
	return out
}

func (f *file) paddock(v *document.Value, req *Requirements) error {
	const key = ownTable
	t, err := document.TableOf(key, v, keysOf(paddockShape)...)
	if err != nil {
		return err
	}
	if v := t.Get("mode"); v != nil {
		if req.Mode, err = document.Enum(key+".mode", v, "mode", Observe, Enforce); err != nil {
			return err
		}
		req.ModeSet = true
	}
	if v := t.Get("unmatched"); v != nil {
		if req.Unmatched, err = document.Enum(key+".unmatched", v, "decision", Allow, Prompt, Forbidden); err != nil {
			return err
		}
	}
	if v := t.Get("agents"); v != nil {
		if req.Agents, err = agents(key+".agents", v); err != nil {
			return err
		}
	}
	if v := t.Get("network"); v != nil {
		if req.Network, err = f.network(key+".network", v); err != nil {
			return err
		}
	}
	if v := t.Get("approvals"); v != nil {
		if req.Approvals, err = f.approvals(key+".approvals", v); err != nil {
			return err
		}
	}
	if v := t.Get("require_provenance"); v != nil {
		if req.Provenance, err = document.Enum(key+".require_provenance", v, "provenance", FileOnly, Manual, MDMVerified); err != nil {
			return err
		}
	}
	if v := t.Get("boundary"); v != nil {
		if req.Boundary, err = f.boundary(key+".boundary", v); err != nil {
			return err
		}
	}
	if v := t.Get("launch"); v != nil {
		if req.Launch, err = f.launch(key+".launch", v); err != nil {
			return err
		}
	}
	if v := t.Get("telemetry"); v != nil {
		if err = telemetry(req, key+".telemetry", v); err != nil {
			return err
		}
	}
	return nil
}

func agents(key string, v *document.Value) ([]string, error) {
	names, err := document.StringsOf(key, v)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, document.Fail(v, key, `an empty list would govern nothing; leave "agents" out to govern every known agent`)
	}
	for i, name := range names {
		if err := agentName(v.Items[i], document.Element(key, i), name); err != nil {
			return nil, err
		}
		if slices.Index(names, name) < i {
			return nil, document.Fail(v.Items[i], document.Element(key, i), "agent %q is there twice", name)
		}
	}
	return names, nil
}

func agentName(v *document.Value, key, name string) error {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789-_."
	if name == "" || strings.Trim(name, letters) != "" {
		return document.Fail(v, key, "bad agent name %q (lower-case letters, digits, -, _ and ., like %q)", name, "claude-code")
	}
	return nil
}
