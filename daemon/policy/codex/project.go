// SPDX-License-Identifier: Apache-2.0

package codex

import (
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/seed-649e9bbc/paddock/daemon/policy/document"
)

// JSON returns what `codex app-server --print-startup-config` shows of the
// requirements: all keys of its API, null where nothing is required; nil if nothing
// is required at all. Secrets are "[redacted]", as there.
func (e *Effective) JSON() map[string]any {
	if e.empty() {
		return nil
	}
	out := map[string]any{}
	for _, k := range Keys() {
		if k.JSON == "-" {
			continue
		}
		out[k.JSON] = nil
		if v := e.Get(k.Name); v != nil && e.visible(k, v) {
			out[k.JSON] = e.projected(k, v)
		}
	}
	out["allowedLoginMethods"] = e.LoginMethods()
	out["allowedWindowsSandboxImplementations"] = nil
	if v := e.Get("windows", "allowed_sandbox_implementations"); v != nil {
		out["allowedWindowsSandboxImplementations"] = Texts(v)
	}
	if v := e.Network(); v != nil {
		out["network"] = network(v)
	}
	return out
}

// visible reports whether a key that is set is shown: a table that is there is, even
// if it says nothing, but for a few.
func (e *Effective) visible(k Key, v *document.Value) bool {
	switch k.Name {
	case "hooks":
		return !hollowHooks(k.Shape, v)
	case "otel":
		return !hollowOtel(k.Shape, v)
	case "auto_review":
		return v.Table.Has("ignore_rules") || len(v.Table.Get("required_on_models").ItemsOf()) > 0
	}
	return true
}

// hollowHooks reports whether there is neither a hook nor a directory of hooks.
func hollowHooks(s *Shape, v *document.Value) bool {
	return !slices.ContainsFunc(s.Fields, func(f Field) bool {
		inner := v.Table.Get(f.Name)
		return inner != nil && (inner.Kind != document.KindArray || len(inner.Items) > 0)
	})
}

// hollowOtel reports whether a table otel says nothing.
func hollowOtel(s *Shape, v *document.Value) bool {
	return !slices.ContainsFunc(s.Fields, func(f Field) bool {
		inner := v.Table.Get(f.Name)
		if f.Name == "span_attributes" || f.Name == "tracestate" {
			return !hollow(f.Shape, inner)
		}
		return inner != nil
	})
}

// projected is one key as Codex's API shows it, which for some is not what the
// shape says.
func (e *Effective) projected(k Key, v *document.Value) any {
	switch k.Name {
	case "allowed_sandbox_modes":
		// The API has no word for this one.
		return slices.DeleteFunc(Texts(v), func(m string) bool { return m == "external-sandbox" })
	case "allowed_web_search_modes":
		modes := Texts(v)
		if !slices.Contains(modes, "disabled") {
			modes = append(modes, "disabled")
		}
		return modes
	case "sqlite_home", "log_dir", "model_catalog_json":
		return fileURL(v.Text)
	case "otel":
		out, _ := shown(k.Shape, v, verbatim).(map[string]any)
		for _, name := range []string{"span_attributes", "tracestate"} {
			inner, _ := out[name].(map[string]any)
			maps.DeleteFunc(inner, func(_ string, v any) bool {
				members, ok := v.(map[string]any)
				return ok && len(members) == 0
			})
			if len(inner) == 0 {
				out[name] = nil
			}
		}
		return out
	case "model_providers":
		return shown(k.Shape, v, verbatim|secrets)
	}
	return shown(k.Shape, v, 0)
}

// style is how names are shown.
type style uint8

const (
	// verbatim leaves names as they are written, else they are in camelCase.
	verbatim style = 1 << iota
	// secrets shows them.
	secrets
)

// shown turns a value into data for JSON.
func shown(s *Shape, v *document.Value, how style) any {
	if v == nil {
		return nil
	}
	if s.Secret && how&secrets == 0 {
		return redacted(v)
	}
	switch s.Form {
	case List:
		out := make([]any, len(v.Items))
		for i, item := range v.Items {
			out[i] = shown(s.Item, item, how)
		}
		return out
	case Map:
		out := make(map[string]any, len(v.Table.Keys))
		for i, key := range v.Table.Keys {
			out[key] = shown(s.Item, v.Table.Vals[i], how)
		}
		return out
	case Table:
		return fieldsOf(s, v, how)
	case Enum:
		if v.Kind != document.KindTable {
			return v.Text
		}
		name := v.Table.Keys[0]
		return map[string]any{name: shown(named(s.Variants, name).Shape, v.Table.Vals[0], how|verbatim)}
	case Tagged:
		return fieldsOf(named(s.Variants, v.Table.Get(s.Tag).Text).Shape, v, how)
	case Bool, String, Integer, Path, RawPath, OneOf, Any:
	}
	return Plain(v)
}

func fieldsOf(s *Shape, v *document.Value, how style) any {
	out := make(map[string]any, len(s.Fields))
	for _, f := range s.Fields {
		name := f.JSON
		if name == "" {
			name = camel(f.Name)
		}
		if how&verbatim != 0 {
			name = f.Name
		}
		out[name] = f.Default
		if inner := v.Table.Get(f.Name); inner != nil {
			out[name] = shown(f.Shape, inner, how)
		}
	}
	return out
}

func redacted(v *document.Value) any {
	if v.Kind != document.KindTable {
		return "[redacted]"
	}
	out := make(map[string]any, len(v.Table.Keys))
	for _, key := range v.Table.Keys {
		out[key] = "[redacted]"
	}
	return out
}

// Plain turns a value into data for JSON, as it is written.
func Plain(v *document.Value) any {
	switch v.Kind {
	case document.KindTable:
		out := make(map[string]any, len(v.Table.Keys))
		for i, key := range v.Table.Keys {
			out[key] = Plain(v.Table.Vals[i])
		}
		return out
	case document.KindArray:
		out := make([]any, len(v.Items))
		for i, item := range v.Items {
			out[i] = Plain(item)
		}
		return out
	case document.KindBool:
		return v.Text == "true"
	case document.KindInteger:
		if n, err := v.Integer(); err == nil {
			return n
		}
	case document.KindFloat:
		if n, err := v.Float(); err == nil {
			return n
		}
	case document.KindString, document.KindTime:
	}
	return v.Text
}

// camel writes allowed_domains as allowedDomains.
func camel(name string) string {
	parts := strings.Split(name, "_")
	for i, p := range parts[1:] {
		if p != "" {
			parts[i+1] = strings.ToUpper(p[:1]) + p[1:]
		}
	}
	return strings.Join(parts, "")
}

// fileURL writes an absolute path as a URL.
func fileURL(p string) string {
	const unescaped = "!$&'()*+,;=:@/[]|"
	var b strings.Builder
	for _, c := range []byte(p) {
		s := string(rune(c))
		if c < 0x80 && strings.Contains(unescaped, s) {
			b.WriteByte(c)
			continue
		}
		b.WriteString(strings.ReplaceAll(url.QueryEscape(string([]byte{c})), "+", "%20"))
	}
	return "file://" + b.String()
}

// network shows the table in both the present form and the one before it.
func network(v *document.Value) any {
	out := map[string]any{}
	for _, f := range networkShape.Fields {
		if f.Name != "header_injections" {
			out[camel(f.Name)] = shown(f.Shape, v.Table.Get(f.Name), 0)
		}
	}
	for key, from := range map[string][2]string{
		"allowedDomains": {"domains", "allow"}, "deniedDomains": {"domains", "deny"}, "allowUnixSockets": {"unix_sockets", "allow"},
	} {
		var names []string
		if table := v.Table.Get(from[0]); table != nil {
			for i, name := range table.Table.Keys {
				if table.Table.Vals[i].Text == from[1] {
					names = append(names, name)
				}
			}
		}
		if names != nil {
			slices.Sort(names)
			out[key] = names
		}
	}
	return out
}

// empty reports whether nothing is required. A table all of whose keys are unknown
// requires nothing, but for a few whose being there says something.
func (e *Effective) empty() bool {
	if len(e.Rules) > 0 {
		return false
	}
	for i, name := range e.Root.Table.Keys {
		v := e.Root.Table.Vals[i]
		key, ok := Lookup(Keys(), name)
		switch {
		case !ok:
		case name == "experimental_network", name == "mcp_servers":
			return false
		case name == "permissions":
			if slices.ContainsFunc(v.Table.Keys, func(name string) bool {
				return name != "filesystem" || len(v.Table.Get(name).Table.Keys) > 0
			}) {
				return false
			}
		case name == "marketplaces":
			if len(v.Table.Keys) > 0 && !hollow(mapOf(text), v.Table.Get("allowed_sources")) || v.Table.Has("restrict_to_allowed_sources") {
				return false
			}
		case name == "hooks":
			if !hollowHooks(key.Shape, v) {
				return false
			}
		case name == "otel":
			if !hollowOtel(key.Shape, v) {
				return false
			}
		case name == "application":
			if v.Table.Has("network") || !hollow(key.Shape, v) {
				return false
			}
		case name == "auto_review":
			if len(e.Get(name, "required_on_models").ItemsOf())+len(e.Get(name, "ignore_rules").ItemsOf()) > 0 {
				return false
			}
		case !hollow(key.Shape, v):
			return false
		}
	}
	return true
}

// hollow reports whether v, of shape s, sets nothing.
func hollow(s *Shape, v *document.Value) bool {
	switch {
	case v == nil || s.Ignored:
		return true
	case s.Form == List && s.Lax:
		return len(v.Items) == 0
	case v.Kind != document.KindTable:
		return false
	case s.Form == Table:
		for _, f := range s.Fields {
			if !hollow(f.Shape, v.Table.Get(f.Name)) {
				return false
			}
		}
		return true
	case s.Form == Map:
		for _, inner := range v.Table.Vals {
			if !hollow(s.Item, inner) {
				return false
			}
		}
		return true
	}
	return false
}
