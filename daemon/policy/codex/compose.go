// SPDX-License-Identifier: Apache-2.0

package codex

import (
	"slices"
	"strings"

	"github.com/seed-649e9bbc/paddock/daemon/policy/document"
)

// ranks are the kinds of sources from low to high, as codex-cli 0.169.0 has them.
var ranks = []Kind{System, Cloud, Legacy, MDM}

// ranked returns layers in the order from low to high. Layers of one kind keep their
// order among themselves: the later one is the higher.
func ranked(layers []*Parsed) []*Parsed {
	out := slices.Clone(layers)
	slices.SortStableFunc(out, func(a, b *Parsed) int {
		return slices.Index(ranks, a.Kind) - slices.Index(ranks, b.Kind)
	})
	return out
}

// Effective is what all layers together require of Codex.
type Effective struct {
	// Layers are those that were combined, from low to high.
	Layers []*Parsed
	// Root has every key that holds, tables merged. Of each value, Layer is the
	// index of the layer it is from. It has no rules: see Rules. Not to be changed.
	Root *document.Value
	// Rules are the prefix_rules of all layers, the highest layer's first.
	Rules []Rule
	// Sticky are the hosts that some layer denies, whatever a higher one says, each
	// with the place of the highest layer that does. Codex lets the higher one win.
	Sticky []Denied
	// Reviewed are the hosts that some layer wants to be asked about every time,
	// whatever a higher one says.
	Reviewed []*document.Value
	// warnings are those of what was read after all layers were merged.
	warnings []Warning
}

// Denied is a host that a layer denies.
type Denied struct {
	Host  string
	Value *document.Value
}

// Source names the layer a value is from.
func (e *Effective) Source(v *document.Value) string {
	if int(v.Layer) < len(e.Layers) {
		return e.Layers[v.Layer].Name
	}
	return ""
}

// Get returns the value that holds for a key, below the top level with several
// names; nil if none does. Not to be changed.
func (e *Effective) Get(names ...string) *document.Value { return lookDown(e.Root, names) }

// Warnings are those of all layers, and of what only all layers together show.
func (e *Effective) Warnings() []Warning {
	var out []Warning
	for _, l := range e.Layers {
		out = append(out, l.Warnings...)
	}
	return append(out, e.warnings...)
}

func lookDown(v *document.Value, names []string) *document.Value {
	for _, name := range names {
		if v == nil || v.Kind != document.KindTable {
			return nil
		}
		v = v.Table.Get(name)
	}
	return v
}

// Compose combines layers as Codex does, and checks what only all together show.
//
// Errors are *Error, and are why Codex does not start. The Effective is there beside
// one too, for what does not hang on it.
func Compose(layers ...*Parsed) (*Effective, error) {
	e := &Effective{Layers: ranked(layers), Root: document.NewTable(document.Position{})}
	off := &document.Table{} // the apps that some layer switches off
	var first error
	for i, l := range e.Layers {
		layer := l.tree(uint16(i))
		e.denials(layer)
		disabled(off, layer)
		hooks := takeBelow(layer, "hooks")
		denyRead := takeBelow(layer, "permissions", "filesystem", "deny_read")
		onModels := takeBelow(layer, "auto_review", "required_on_models")
		mergeTop(e.Root, layer)
		e.union(denyRead, "permissions", "filesystem", "deny_read")
		e.union(onModels, "auto_review", "required_on_models")
		if err := e.mergeHooks(hooks); first == nil {
			first = err
		}
		e.Rules = append(slices.Clone(l.Rules), e.Rules...)
	}
	for i, id := range off.Keys {
		e.Get("apps", id).Table.Set("enabled", off.At[i], off.Vals[i])
	}
	if blank := e.Get("guardian_policy_config"); blank != nil && strings.TrimSpace(blank.Text) == "" {
		e.Root.Table.Remove("guardian_policy_config")
	}
	if err := e.check(); first == nil {
		first = err
	}
	return e, first
}

// tree returns a copy of what the layer says of Codex's keys, besides the rules.
func (p *Parsed) tree(layer uint16) *document.Value {
	out := document.NewTable(p.Doc.At)
	for i, key := range p.Doc.Table.Keys {
		if !slices.Contains(p.own, key) {
			out.Table.Add(key, p.Doc.Table.At[i], mark(p.Doc.Table.Vals[i], layer))
		}
	}
	return out
}

// mark returns a copy of v all of which is from one layer.
func mark(v *document.Value, layer uint16) *document.Value {
	out := *v
	out.Layer = layer
	out.Items = make([]*document.Value, len(v.Items))
	for i, item := range v.Items {
		out.Items[i] = mark(item, layer)
	}
	if v.Table == nil {
		return &out
	}
	out.Table = &document.Table{}
	for i, key := range v.Table.Keys {
		out.Table.Add(key, v.Table.At[i], mark(v.Table.Vals[i], layer))
	}
	return &out
}

// denials notes which hosts a layer denies. A higher layer comes later, and explains.
func (e *Effective) denials(layer *document.Value) {
	for _, surface := range [][]string{{"experimental_network"}, {"permissions", "network"}} {
		network := lookDown(layer, surface)
		if network == nil {
			continue
		}
		for _, item := range network.Table.Get("denied_domains").ItemsOf() {
			e.deny(item.Text, item)
		}
		for _, item := range network.Table.Get("review_domains").ItemsOf() {
			if !slices.ContainsFunc(e.Reviewed, func(v *document.Value) bool { return v.Text == item.Text }) {
				e.Reviewed = append(e.Reviewed, item)
			}
		}
		domains := network.Table.Get("domains")
		if domains == nil {
			continue
		}
		for i, host := range domains.Table.Keys {
			if v := domains.Table.Vals[i]; v.Text == "deny" {
				e.deny(host, v)
			}
		}
	}
}

func (e *Effective) deny(host string, v *document.Value) {
	if i := slices.IndexFunc(e.Sticky, func(d Denied) bool { return d.Host == host }); i >= 0 {
		e.Sticky[i].Value = v
		return
	}
	e.Sticky = append(e.Sticky, Denied{host, v})
}

// disabled notes the apps a layer switches off.
func disabled(off *document.Table, layer *document.Value) {
	apps := layer.Table.Get("apps")
	if apps == nil {
		return
	}
	for i, id := range apps.Table.Keys {
		if v := apps.Table.Vals[i].Table.Get("enabled"); v != nil && v.Text == "false" {
			off.Set(id, apps.Table.At[i], v)
		}
	}
}

// takeBelow removes a value deep in a table, and the tables that are empty then.
func takeBelow(v *document.Value, names ...string) *document.Value {
	inner := v.Table.Get(names[0])
	if inner == nil {
		return nil
	}
	if len(names) == 1 {
		v.Table.Remove(names[0])
		return inner
	}
	taken := takeBelow(inner, names[1:]...)
	if taken != nil && len(inner.Table.Keys) == 0 {
		v.Table.Remove(names[0])
	}
	return taken
}

// mergeTop lays the keys of a higher layer over those of the lower ones.
func mergeTop(into, layer *document.Value) {
	for i, key := range layer.Table.Keys {
		v, at := layer.Table.Vals[i], layer.Table.At[i]
		switch old := into.Table.Get(key); {
		case old == nil:
			into.Table.Set(key, at, v)
		case key == "otel":
			mergeOtel(old, v)
		default:
			into.Table.Set(key, at, overlay(old, v))
		}
	}
}

// overlay merges high into low: tables key by key, all else is the higher one's.
func overlay(low, high *document.Value) *document.Value {
	if low == nil || low.Kind != document.KindTable || high.Kind != document.KindTable {
		return high
	}
	for i, key := range high.Table.Keys {
		low.Table.Set(key, high.Table.At[i], overlay(low.Table.Get(key), high.Table.Vals[i]))
	}
	return low
}

// mergeOtel takes each setting from the higher layer as a whole, for parts of two
// exporters make none.
func mergeOtel(low, high *document.Value) {
	for i, key := range high.Table.Keys {
		v := high.Table.Vals[i]
		if key == "span_attributes" || key == "tracestate" {
			v = overlay(low.Table.Get(key), v)
		}
		low.Table.Set(key, high.Table.At[i], v)
	}
}

// union adds the elements of a list to those of the layers below, its own first.
func (e *Effective) union(list *document.Value, names ...string) {
	if list == nil || len(list.Items) == 0 {
		return
	}
	into := e.Root
	for _, name := range names[:len(names)-1] {
		next := into.Table.Get(name)
		if next == nil {
			next = document.NewTable(list.At)
			next.Layer = list.Layer
			into.Table.Add(name, list.At, next)
		}
		into = next
	}
	out := *list
	out.Items = nil
	all := list.Items
	name := names[len(names)-1]
	if low := into.Table.Get(name); low != nil {
		all = slices.Concat(list.Items, low.Items)
	}
	there := map[string]bool{}
	for _, item := range all {
		if !there[item.Text] {
			there[item.Text] = true
			out.Items = append(out.Items, item)
		}
	}
	into.Table.Set(name, list.At, &out)
}

// mergeHooks puts the hooks of a higher layer before those of the lower ones. There
// is one directory for them, so two layers must not name two.
func (e *Effective) mergeHooks(hooks *document.Value) error {
	old := e.Get("hooks")
	if hooks == nil || len(hooks.Table.Keys) == 0 {
		return nil
	}
	if old == nil {
		e.Root.Table.Add("hooks", hooks.At, hooks)
		return nil
	}
	var conflict error
	for i, key := range hooks.Table.Keys {
		v, low := hooks.Table.Vals[i], old.Table.Get(key)
		switch {
		case low != nil && key == "managed_dir" && low.Text != v.Text:
			high, below := e.Source(v), e.Source(low)
			conflict = &Error{
				Source: high, Line: int(v.At.Line), Column: int(v.At.Column), Key: "hooks.managed_dir",
				Problem: "it says " + document.Quoted(v.Text) + ", but " + below + " says " + document.Quoted(low.Text) + ": there can be only one directory of hooks",
				Codex:   "failed to compose requirements field `hooks.managed_dir` between " + high + " and " + below + ": `" + v.Text + "` conflicts with `" + low.Text + "`",
			}
		case low != nil && v.Kind == document.KindArray && low.Kind == document.KindArray:
			both := *v
			both.Items = slices.Concat(v.Items, low.Items)
			old.Table.Set(key, hooks.Table.At[i], &both)
		default:
			old.Table.Set(key, hooks.Table.At[i], v)
		}
	}
	return conflict
}
