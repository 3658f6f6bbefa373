// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"slices"

	"github.com/seed-649e9bbc/paddock/daemon/policy/codex"
	"github.com/seed-649e9bbc/paddock/daemon/policy/document"
)

// Finding is something a layer's author should look at.
type Finding struct {
	Source string `json:"source"`
	// Line and Column count from 1; 0: it is not at one place.
	Line   int `json:"line,omitempty"`
	Column int `json:"column,omitempty"`
	// Error: the layer cannot be used. Else it can, but something has no effect.
	Error bool `json:"error"`
	// Key is the dotted key. May be empty.
	Key string `json:"key,omitempty"`
	// Problem says what is wrong, and what to do.
	Problem string `json:"problem"`
}

// Lint reads layers, from low to high, and says all that is wrong with each, and
// with all together. The keys of Codex are read to the end even after a mistake.
func Lint(subject Subject, layers ...codex.Layer) []Finding {
	var out []Finding
	var good []*Requirements
	for _, l := range layers {
		f := &file{layer: l, source: l.Name, subject: subject}
		doc, err := document.Read(l.Data)
		var req *Requirements
		if err == nil {
			req, err = f.requirements(doc)
		}
		if err == nil {
			good = append(good, req)
			for _, w := range slices.Concat(req.Layer.Warnings, f.warnings) {
				out = append(out, Finding{w.Source, w.Line, w.Column, false, w.Key, w.Problem})
			}
			continue
		}
		again, failed := document.Read(l.Data)
		var all []*codex.Error
		if failed == nil && l.Kind != codex.Legacy {
			all = codex.Faults(l, again, ownTable)
		}
		first := codex.NewError(l, err)
		if len(all) == 0 || *all[0] != *first {
			all = append([]*codex.Error{first}, all...)
		}
		for i, e := range all {
			if i == 0 || *e != *first {
				out = append(out, ofError(e))
			}
		}
	}
	if len(good) < len(layers) {
		return out
	}
	merged := Merge(good...)
	var e *codex.Error
	if errors.As(merged.CodexError, &e) {
		f := ofError(e)
		f.Problem += " (Codex does not start)"
		out = append(out, f)
	}
	if _, err := merged.Network.Entries(); err != nil && len(good) > 1 {
		out = append(out, Finding{Source: good[len(good)-1].Layer.Name, Error: true, Key: "paddock.network.rules", Problem: err.Error()})
	}
	if merged.Codex != nil {
		for _, w := range merged.Codex.Hints() {
			out = append(out, Finding{w.Source, w.Line, w.Column, false, w.Key, w.Problem})
		}
	}
	return out
}

func ofError(e *codex.Error) Finding {
	return Finding{e.Source, e.Line, e.Column, true, e.Key, e.Problem}
}
