// SPDX-License-Identifier: Apache-2.0

package codex

import (
	"errors"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/seed-649e9bbc/paddock/daemon/policy/document"
)

// Kind says what kind of source a layer is from. It decides the layer's rank and
// what it may set.
type Kind uint8

// The kinds of sources.
const (
	System Kind = iota // requirements.toml of the machine
	Cloud              // a fragment of a bundle: from the cloud, or from a config_server
	Legacy             // managed_config.toml, of which three keys are requirements
	MDM                // requirements from device management
)

// String returns the word used in output.
func (k Kind) String() string {
	return [...]string{"system", "cloud", "legacy", "mdm"}[k]
}

// Layer is what one source says, unread.
type Layer struct {
	// Name is what people call the source, and what errors name.
	Name string
	Kind Kind
	// Data is the TOML.
	Data []byte
	// Dir is the directory relative paths begin at. Empty: that of Name, if it is an
	// absolute path, or else the root.
	Dir string
}

// Machine is what the meaning of requirements depends on besides the layers.
type Machine struct {
	// Host is the name of the machine, as fully qualified as it is known. Empty: not
	// known, and no host pattern matches.
	Host string
	// Home is the home directory that ~ stands for.
	Home string
}

// Error says what is wrong with a layer, or with all together, and where.
type Error struct {
	// Source is the name of the layer; of what is wrong only with all layers
	// together, their names.
	Source string
	// Line and Column count from 1; a column counts bytes. 0: the problem is not at
	// one place.
	Line, Column int
	// Key is the dotted key with the problem. May be empty.
	Key string
	// Problem is the rest of the sentence: the bad value, and what is possible.
	Problem string
	// Codex is what codex-cli 0.169.0 says of it. Empty: that is not known, or it
	// does not mind.
	Codex string
}

// Error returns the whole sentence.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("reading requirements layer " + e.Source)
	if e.Line > 0 {
		b.WriteString(": line " + strconv.Itoa(e.Line))
	}
	if e.Column > 0 {
		b.WriteString(", column " + strconv.Itoa(e.Column))
	}
	if e.Key != "" {
		b.WriteString(": " + e.Key)
	}
	b.WriteString(": " + e.Problem)
	return b.String()
}

// NewError gives a problem of a layer its source. An *Error stays as it is.
func NewError(l Layer, err error) *Error {
	var done *Error
	if errors.As(err, &done) {
		return done
	}
	return newError(l.Name, l.Kind, err)
}

// newError gives a problem its source. Codex says where a value of the wrong type
// is; that it ends with a line end tells it from all else.
func newError(source string, kind Kind, err error) *Error {
	out := &Error{Source: source, Problem: err.Error()}
	var at *document.Error
	if !errors.As(err, &at) {
		return out
	}
	out.Line, out.Column, out.Key, out.Codex = int(at.At.Line), int(at.At.Column), at.Key, at.Codex
	if strings.HasSuffix(at.Codex, "\n") {
		out.Codex = "failed to parse requirements layer " + source + ": " + at.Codex
		switch kind {
		case Legacy:
			out.Codex = "Failed to parse config requirements as TOML: " + at.Codex
		case Cloud:
			out.Codex = "invalid cloud config bundle: invalid requirements"
		case System, MDM:
		}
	}
	return out
}

// Parsed is one layer that can be used.
type Parsed struct {
	// Name and Kind are the layer's.
	Name string
	Kind Kind
	// Doc is the whole document, Codex's keys checked and uniform. Not to be changed.
	Doc *document.Value
	// Rules are its prefix_rules.
	Rules []Rule
	// Fault is a problem of Rules, which Codex finds only when all layers are merged,
	// and after some others: Compose returns it, in its turn. With one, Rules are not
	// to be used.
	Fault *Error
	// Warnings are what was read but has no effect.
	Warnings []Warning
	own      []string
	dir      string
	machine  Machine
}

// ParseDocument reads one layer, of which doc is the data. It changes doc. own are keys
// of the top level that are not Codex's: they are kept unread. Errors are *Error.
func ParseDocument(l Layer, doc *document.Value, m Machine, own ...string) (*Parsed, error) {
	dir := l.Dir
	if dir == "" && strings.HasPrefix(l.Name, "/") {
		dir = path.Dir(l.Name)
	}
	c := &Reader{source: l.Name, dir: dir, home: m.Home}
	p := &Parsed{Name: l.Name, Kind: l.Kind, Doc: doc, own: own, dir: dir, machine: m}
	if l.Kind == Legacy {
		if err := c.legacy(doc); err != nil {
			return nil, newError(l.Name, l.Kind, err)
		}
		p.Warnings = c.warnings
		return p, nil
	}
	if l.Kind == Cloud {
		c.removeLocal(doc)
	}
	if err := c.top(doc, own); err != nil {
		return nil, newError(l.Name, l.Kind, err)
	}
	if c.late != nil {
		p.Fault = newError(l.Name, l.Kind, c.late)
	}
	c.badRemote(doc)
	remote(doc, m.Host)
	p.Rules, p.Warnings = c.rules, c.warnings
	doc.Table.Remove("rules") // which is large, and read
	return p, nil
}

// Faults returns what is wrong with Codex's keys of a layer, one problem for each key
// of the top level. It changes the document.
func Faults(l Layer, doc *document.Value, own ...string) []*Error {
	c := &Reader{source: l.Name, dir: l.Dir, all: true}
	if l.Kind == Cloud {
		c.removeLocal(doc)
	}
	if err := c.top(doc, own); err != nil {
		c.faults = append(c.faults, err)
	}
	if c.late != nil {
		c.faults = append(c.faults, c.late)
	}
	out := make([]*Error, len(c.faults))
	for i, err := range c.faults {
		out[i] = newError(l.Name, l.Kind, err)
	}
	return out
}

// top reads the keys of the top level.
func (c *Reader) top(doc *document.Value, own []string) error {
	shape := *root
	shape.Fields = slices.Clone(root.Fields)
	for _, name := range own {
		shape.Fields = append(shape.Fields, Field{Name: name, Shape: &Shape{Form: Any}})
	}
	// Part of a provider is not invalid until all layers are merged.
	providers := shape.FieldNamed("model_providers")
	*providers = Field{Name: providers.Name, Shape: &Shape{Form: Any}}
	if err := c.fields(&shape, spot{}, doc); err != nil {
		return err
	}
	if doc.Table.Has("config_server") && c.bundle {
		return &document.Error{Key: "config_server", Problem: "only the machine's own requirements may name a config_server", Codex: "\n"}
	}
	return nil
}

// removeLocal removes what a bundle cannot set, before anything of it is read.
func (c *Reader) removeLocal(doc *document.Value) {
	c.bundle = true
	for i := len(doc.Table.Keys) - 1; i >= 0; i-- {
		name := doc.Table.Keys[i]
		key, ok := Lookup(Keys(), name)
		if !ok || !key.LocalOnly || name == "config_server" {
			continue
		}
		c.warn(doc.Table.At[i], name, "%s counts only in the machine's own requirements: ignored, by Codex too", name)
		doc.Table.Remove(name)
	}
}

// badRemote warns about entries with which Codex would not start on the hosts they
// match.
func (c *Reader) badRemote(doc *document.Value) {
	list := doc.Table.Get("remote_sandbox_config")
	for i, entry := range list.ItemsOf() {
		if modes := entry.Table.Get("allowed_sandbox_modes"); !slices.Contains(Texts(modes), "read-only") {
			key := document.Element("remote_sandbox_config", i)
			c.warn(modes.At, key, "on hosts that match, Codex does not start: \"read-only\" must be among allowed_sandbox_modes")
		}
	}
}

// remote puts the allowed_sandbox_modes of the first remote_sandbox_config that
// matches the host in place of the layer's.
func remote(doc *document.Value, host string) {
	list := doc.Table.Get("remote_sandbox_config")
	doc.Table.Remove("remote_sandbox_config")
	if host = hostName(host); list == nil || host == "" {
		return
	}
	for _, entry := range list.Items {
		for _, pattern := range entry.Table.Get("hostname_patterns").Items {
			if p := hostName(pattern.Text); p != "" && MatchWild(p, host) {
				modes := entry.Table.Get("allowed_sandbox_modes")
				doc.Table.Set("allowed_sandbox_modes", modes.At, modes)
				return
			}
		}
	}
}

// hostName makes a host name or a pattern for one uniform.
func hostName(host string) string {
	return strings.ToLower(strings.TrimRight(strings.TrimSpace(host), "."))
}

// MatchHost reports whether a host name matches a pattern with * and ?, whatever
// the case and dots at the end.
func MatchHost(pattern, host string) bool {
	p, h := hostName(pattern), hostName(host)
	return p != "" && h != "" && MatchWild(p, h)
}

// MatchWild reports whether s matches a pattern in which * is any text and ? any
// one character. It takes time in proportion to the product of the lengths at most.
func MatchWild(pattern, s string) bool {
	p, text := []rune(pattern), []rune(s)
	i, j, star, mark := 0, 0, -1, 0
	for j < len(text) {
		switch {
		case i < len(p) && p[i] == '*':
			star, mark = i, j
			i++
		case i < len(p) && (p[i] == '?' || p[i] == text[j]):
			i, j = i+1, j+1
		case star >= 0:
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}

// legacy makes requirements of managed_config.toml: of the keys of config.toml,
// three.
func (c *Reader) legacy(doc *document.Value) error {
	t := &document.Table{}
	for i, name := range doc.Table.Keys {
		v, at := doc.Table.Vals[i], doc.Table.At[i]
		here := spot{}.down(name)
		list := &document.Value{Kind: document.KindArray, At: v.At}
		switch name {
		case "approval_policy":
			if v.Kind == document.KindString && v.Text == "untrusted" {
				return &document.Error{At: v.At, Key: name, Problem: `"untrusted" is no longer supported here: remove the line`, Codex: "approval_policy = \"untrusted\" is no longer supported; remove this setting"}
			}
			if err := c.read(approvalPolicy, here, v); err != nil {
				return err
			}
			list.Items = []*document.Value{v}
			t.Add("allowed_approval_policies", at, list)
		case "approvals_reviewer":
			if err := c.read(reviewer, here, v); err != nil {
				return err
			}
			list.Items = []*document.Value{v}
			if v.Text == "auto_review" {
				list.Items = append(list.Items, &document.Value{Kind: document.KindString, Text: "user", At: v.At})
			}
			t.Add("allowed_approvals_reviewers", at, list)
		case "sandbox_mode":
			if err := c.read(legacySandboxMode, here, v); err != nil {
				return err
			}
			list.Items = []*document.Value{{Kind: document.KindString, Text: "read-only", At: v.At}}
			if v.Text != "read-only" {
				list.Items = append(list.Items, v)
			}
			t.Add("allowed_sandbox_modes", at, list)
		default:
			if _, ok := Lookup(Keys(), name); ok {
				c.warn(at, name, "%s is no requirement in managed_config.toml: only approval_policy, approvals_reviewer and sandbox_mode are; move it to requirements.toml", name)
			}
		}
	}
	doc.Table = t
	return nil
}
