// SPDX-License-Identifier: Apache-2.0

package mdm

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
)

// found is what became of one source.
type found struct {
	source source
	// layers is what the source says, or, if that cannot be used, what it last said.
	layers []Layer
	// data is the file, if it can be used as it is.
	data []byte
	// provenance is that of layers; of managed preferences only.
	provenance policy.Provenance
	gone       bool // there is nothing
	unknown    bool // there never was anything, as far as is known
	lost       bool // there is something, and nothing of it can be used
	problems   []error
}

// find looks at one source.
func (l *Loader) find(s source, look *looking) found {
	f := found{source: s}
	data, prefs, err := s.read(l.root)
	if errors.Is(err, fs.ErrNotExist) {
		f.gone = true
		return f
	}
	if err == nil {
		f.layers, err = l.parse(s, data, look.subject, look.now)
	}
	if err != nil {
		l.reject(&f, look, err, policy.Absent)
		if f.lost && s.toldElsewhere(l.root, err) {
			return found{source: s, unknown: true}
		}
		return f
	}
	f.data = data
	if prefs != nil {
		f.setProvenance(look.evidence().provenance(prefs, s.domain, s.user))
	}
	return f
}

func (f *found) setProvenance(p policy.Provenance) {
	f.provenance = p
	for i := range f.layers {
		f.layers[i].Provenance = p
	}
}

// reject puts what the source last said in the place of what it says, if that was of
// the least provenance.
func (l *Loader) reject(f *found, look *looking, why error, least policy.Provenance) {
	f.problems = append(f.problems, why)
	f.layers, f.data, f.provenance = nil, nil, policy.Absent
	data, provenance, err := l.kept.recall(f.source, least)
	if err == nil {
		f.layers, err = l.parse(f.source, data, look.subject, time.Time{})
	}
	if err != nil {
		f.lost = true
		if !errors.Is(err, fs.ErrNotExist) {
			f.problems = append(f.problems, fmt.Errorf("last-known-good: %w", err))
		}
		return
	}
	f.setProvenance(provenance)
	for i := range f.layers {
		f.layers[i].LastKnownGood = true
		f.layers[i].Provenance = policy.Absent // it is not what is there now
	}
}

// prove rejects managed preferences of which it is not sure enough where they are
// from. Any layer may demand that, they themselves too.
func (l *Loader) prove(all []found, look *looking) {
	least, who := policy.Absent, ""
	for _, f := range all {
		for _, layer := range f.layers {
			if p := layer.Requirements.Provenance; p > least {
				least, who = p, layer.Source
			}
		}
	}
	for i := range all {
		f := &all[i]
		if f.source.domain != "" && len(f.layers) > 0 && f.provenance < least {
			l.reject(f, look, fmt.Errorf("its provenance is %s, and %s requires %s", f.provenance, who, least), least)
		}
	}
}

// parse reads what a source says; with a time, as it counts then.
func (l *Loader) parse(s source, data []byte, subject policy.Subject, at time.Time) ([]Layer, error) {
	documents, err := s.documents(data, at)
	if err != nil {
		return nil, err
	}
	var out []Layer
	for _, d := range documents {
		req, err := policy.ParseLayer(d, subject)
		if err != nil {
			return nil, err
		}
		out = append(out, Layer{Source: d.Name, Path: s.file(l.root), Requirements: req, Digest: digest(d.Data)})
	}
	return out, nil
}

// take adds what was found to the result, and keeps what can be used.
func (l *Loader) take(f *found, r *Result) {
	for _, err := range f.problems {
		if slices.ContainsFunc(r.Incidents, func(i Incident) bool { return i.Err.Error() == err.Error() }) {
			continue // two sources in one file
		}
		r.Incidents = append(r.Incidents, Incident{f.source.name, err})
	}
	var err error
	switch {
	case f.gone:
		err = l.kept.forget(f.source)
	case f.data != nil:
		err = l.kept.keep(f.source, f.data, f.provenance)
	}
	if err != nil {
		r.Incidents = append(r.Incidents, Incident{f.source.name, err})
	}
	r.Strictest = r.Strictest || f.lost
	for _, layer := range f.layers {
		r.LastKnownGood = r.LastKnownGood || layer.LastKnownGood
	}
	r.Layers = append(r.Layers, f.layers...)
}
