// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"path"
	"slices"
	"strings"

	"github.com/seed-649e9bbc/paddock/daemon/policy/codex"
	"github.com/seed-649e9bbc/paddock/daemon/policy/document"
)

func (f *file) boundary(key string, v *document.Value) (Boundary, error) {
	b := Boundary{Table: true, Mode: WorkspaceWrite}
	t, err := document.TableOf(key, v, keysOf(boundaryShape)...)
	if err != nil {
		return b, err
	}
	if v := t.Get("mode"); v != nil {
		if b.Mode, err = document.Enum(key+".mode", v, "mode", ReadOnly, WorkspaceWrite, FullAccess); err != nil {
			return b, err
		}
	}
	if v := t.Get("project"); v != nil {
		if b.Project, err = document.Enum(key+".project", v, "project", Repository, WorkingDirectory, NoProject); err != nil {
			return b, err
		}
	}
	for name, into := range map[string]*bool{
		"caches": &b.NoCaches, "temporary": &b.NoTemporary, "landlock": &b.NoLandlock, "fanotify": &b.NoFanotify,
	} {
		v := t.Get(name)
		if v == nil {
			continue
		}
		on, err := document.BoolOf(key+"."+name, v)
		if err != nil {
			return b, err
		}
		*into = !on
	}
	var projects []Pattern
	for _, list := range []struct {
		name  string
		into  *[]Pattern
		check func(key string, v *document.Value) error
	}{
		{"projects", &projects, absolute},
		{"writable", &b.Writable, f.notEverything},
		{"protected", &b.Protected, anyPath},
		{"unreadable", &b.Unreadable, absolute},
		{"readable", &b.Readable, builtInAs(Unreadable)},
		{"sockets", &b.Sockets, absolute},
		{"reachable", &b.Reachable, builtInAs(Broker)},
		{"unprotected", &b.Unprotected, builtInAs(Protected)},
	} {
		if v := t.Get(list.name); v != nil {
			if *list.into, err = f.patterns(key+"."+list.name, v, list.check); err != nil {
				return b, err
			}
		}
	}
	if projects != nil {
		b.Projects = [][]Pattern{projects}
	}
	return b, nil
}

func (f *file) patterns(key string, v *document.Value, check func(string, *document.Value) error) ([]Pattern, error) {
	if _, err := document.StringsOf(key, v); err != nil {
		return nil, err
	}
	out := make([]Pattern, len(v.Items))
	for i, item := range v.Items {
		if err := check(document.Element(key, i), item); err != nil {
			return nil, err
		}
		out[i] = Pattern{item.Text, f.source, int(item.At.Line)}
	}
	return out, nil
}

func anyPath(key string, v *document.Value) error {
	text := strings.TrimPrefix(v.Text, "~/")
	if text == "" || path.Clean(text) != text || text == "." || text == ".." || strings.HasPrefix(text, "../") || strings.HasPrefix(text, "~") || strings.ContainsRune(text, 0) {
		return document.Fail(v, key, "bad path %s (write it without \"..\", \"//\" and a slash at the end)", document.Quoted(v.Text))
	}
	if _, err := path.Match(text, ""); err != nil {
		return document.Fail(v, key, "bad pattern %s: a [ without its ]", document.Quoted(v.Text))
	}
	return nil
}

func absolute(key string, v *document.Value) error {
	if !strings.HasPrefix(v.Text, "/") && !strings.HasPrefix(v.Text, "~/") {
		return document.Fail(v, key, "bad path %s (it must begin with / or ~/)", document.Quoted(v.Text))
	}
	return anyPath(key, v)
}

func (f *file) notEverything(key string, v *document.Value) error {
	if v.Text == "/" {
		return document.Fail(v, key, `"/" is the whole machine; that is mode = %q`, FullAccess)
	}
	return absolute(key, v)
}

// builtInAs accepts what the built-in rules of one kind say.
func builtInAs(kind PathKind) func(string, *document.Value) error {
	return func(key string, v *document.Value) error {
		var known []string
		for _, r := range builtIn() {
			if r.Kind == kind {
				known = append(known, r.Text)
			}
		}
		if !slices.Contains(known, v.Text) {
			hint := ""
			if near, ok := document.Nearest(v.Text, known); ok {
				hint = "; did you mean " + document.Quoted(near) + "?"
			}
			return document.Fail(v, key, "%s is no path of the built-in list%s", document.Quoted(v.Text), hint)
		}
		return nil
	}
}

// sandbox adds to a layer's boundary what Codex's own keys in it mean for every
// agent: a mode that users may not choose nobody gets, and what may not be read
// nobody reads.
func (f *file) sandbox(req *Requirements) {
	doc := req.Layer.Doc.Table
	b := &req.Boundary
	limit := func(m SandboxMode) {
		if m == FullAccess {
			return // everything is allowed: nothing is said
		}
		if b.Mode == NoBoundary {
			b.Mode = m
		}
		b.Mode = min(b.Mode, m)
	}
	if v := doc.Get("allowed_sandbox_modes"); v != nil {
		modes := codex.Texts(v)
		switch {
		case slices.Contains(modes, FullAccess.String()), slices.Contains(modes, "external-sandbox"):
		case slices.Contains(modes, WorkspaceWrite.String()):
			limit(WorkspaceWrite)
		default:
			limit(ReadOnly)
		}
	}
	if v := doc.Get("allowed_permission_profiles"); v != nil && v.Kind == document.KindTable {
		limit(profileMode(v.Table))
	}
	var denied *document.Value
	if v := doc.Get("permissions"); v != nil && v.Kind == document.KindTable {
		if v = v.Table.Get("filesystem"); v != nil && v.Kind == document.KindTable {
			denied = v.Table.Get("deny_read")
		}
	}
	for _, item := range denied.ItemsOf() {
		text := item.Text
		if !strings.HasPrefix(text, "/") && !strings.HasPrefix(text, "~/") {
			text = path.Join(path.Dir(f.source), text) // as Codex does
		}
		b.Unreadable = append(b.Unreadable, Pattern{text, f.source, int(item.At.Line)})
		if b.Mode == NoBoundary {
			b.Mode = FullAccess // nothing is said about writing
		}
	}
	f.deniedSockets(req)
}

// deniedSockets adds the unix sockets that Codex's network policy denies. What it
// allows, or all of them with dangerously_allow_all_unix_sockets, opens nothing here:
// a service that acts for whoever asks is let through by reachable alone.
func (f *file) deniedSockets(req *Requirements) {
	b := &req.Boundary
	for _, names := range [][]string{{"experimental_network"}, {"network_proxy"}, {"permissions", "network"}} {
		v := &document.Value{Kind: document.KindTable, Table: req.Layer.Doc.Table}
		for _, name := range append(names, "unix_sockets") {
			if v == nil || v.Kind != document.KindTable {
				break
			}
			v = v.Table.Get(name)
		}
		if v == nil || v.Kind != document.KindTable {
			continue
		}
		for i, socket := range v.Table.Keys {
			says := v.Table.Vals[i]
			if says.Text == "allow" || !strings.HasPrefix(socket, "/") && !strings.HasPrefix(socket, "~/") {
				continue
			}
			b.Sockets = append(b.Sockets, Pattern{socket, f.source, int(says.At.Line)})
			if b.Mode == NoBoundary {
				b.Mode = FullAccess
			}
		}
	}
}

// profileMode is the most that the allowed profiles let anybody write. One of the
// organisation's own counts as what it begins from at most: a workspace.
func profileMode(allowed *document.Table) SandboxMode {
	most := ReadOnly
	for i, name := range allowed.Keys {
		switch {
		case allowed.Vals[i].Text != "true", name == ":read-only":
		case name == ":danger-full-access":
			return FullAccess
		default:
			most = WorkspaceWrite
		}
	}
	return most
}

// boundaryValues lists what is in force of the boundary, with who says so.
func boundaryValues(merged *Requirements, high []*Requirements, add adder, written func(names ...string) says) []Value {
	b := merged.Boundary
	if b.Mode == NoBoundary {
		return nil
	}
	mode := func(l *Requirements) (string, int, bool) {
		for _, names := range [][]string{{"boundary", "mode"}, {"boundary"}} {
			if source, line, ok := written(names...)(l); ok {
				return source, line, true
			}
		}
		if l.Layer == nil || l.Boundary.Mode == NoBoundary {
			return "", 0, false
		}
		for _, name := range []string{"allowed_sandbox_modes", "allowed_permission_profiles", "permissions"} {
			if v := l.Layer.Doc.Table.Get(name); v != nil {
				return l.Layer.Name, int(v.At.Line), true
			}
		}
		return l.Layer.Name, 0, true
	}
	out := add(nil, "paddock.boundary.mode", b.Mode.String(), mode, func(l *Requirements) bool { return l.Boundary.Mode == b.Mode })
	out = add(out, "paddock.boundary.project", b.Project.String(), written("boundary", "project"), func(l *Requirements) bool { return l.Boundary.Project == b.Project })
	for _, without := range []struct {
		name string
		of   func(*Boundary) bool
	}{
		{"caches", func(b *Boundary) bool { return b.NoCaches }},
		{"temporary", func(b *Boundary) bool { return b.NoTemporary }},
		{"landlock", func(b *Boundary) bool { return b.NoLandlock }},
		{"fanotify", func(b *Boundary) bool { return b.NoFanotify }},
	} {
		if anyWrote(high, written("boundary", without.name)) {
			value := without.of(&b)
			out = add(out, "paddock.boundary."+without.name, !value, written("boundary", without.name),
				func(l *Requirements) bool { return without.of(&l.Boundary) == value })
		}
	}
	for _, list := range []struct {
		name     string
		patterns []Pattern
	}{
		{"projects", slices.Concat(b.Projects...)},
		{"writable", b.Writable},
		{"protected", b.Protected},
		{"unprotected", b.Unprotected},
		{"unreadable", b.Unreadable},
		{"readable", b.Readable},
		{"sockets", b.Sockets},
		{"reachable", b.Reachable},
	} {
		for i, p := range list.patterns {
			out = append(out, Value{document.Element("paddock.boundary."+list.name, i), p.Text, p.Source, p.Line})
		}
	}
	return out
}
