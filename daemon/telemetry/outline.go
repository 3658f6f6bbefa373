// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"strings"
	"sync/atomic"
	"unicode/utf8"
)

// outline is which attributes an event has. Thousands of events have the same, and what was found out about those of one, their
// order above all, holds for the next.
type outline struct {
	keys []string // sorted
	how  []treatment
}

// outlineSlot remembers one outline, of events of one kind with as many attributes.
type outlineSlot struct {
	atomic.Pointer[outline]
	missed atomic.Uint32
}

// Limits of what is remembered: agents choose keys as well.
const (
	maxOutline    = 40 // attributes
	maxOutlineKey = 96 // bytes
	missesAtOne   = 32 // events of others before one is replaced
)

var outlines = func() map[string]*[maxOutline + 1]outlineSlot {
	out := make(map[string]*[maxOutline + 1]outlineSlot, len(routine))
	for name := range routine {
		out[name] = new([maxOutline + 1]outlineSlot)
	}
	return out
}()

// outlineOf returns where the outline of events of a kind with n attributes is, or nil.
func outlineOf(name string, n int) *outlineSlot {
	if of := outlines[name]; of != nil && n <= maxOutline {
		return &of[n]
	}
	return nil
}

// take replaces the list by attributes in the order of a outline, if they are of it.
func (p *pairs) take(attrs map[string]any, like *outline) bool {
	p.list = p.list[:0]
	for _, key := range like.keys {
		value, ok := attrs[key]
		if !ok {
			return false
		}
		p.list = append(p.list, pair{key, value})
	}
	return true
}

// learn remembers the outline of a list that is sorted, and that nothing had to be done to.
func (s *outlineSlot) learn(list []pair) {
	if s.Load() != nil && s.missed.Add(1)%missesAtOne != 0 {
		return
	}
	out := &outline{keys: make([]string, len(list)), how: make([]treatment, len(list))}
	for i := range list {
		key := list[i].key
		if len(key) > maxOutlineKey || !utf8.ValidString(key) {
			return
		}
		out.keys[i], out.how[i] = strings.Clone(key), treatmentOf(key)
	}
	s.Store(out)
}
