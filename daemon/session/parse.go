// SPDX-License-Identifier: Apache-2.0

package session

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// file is the format of profiles.toml, which explains every key.
type file struct {
	Interpreters []interpreter `toml:"interpreters"`
	Launch       []launchRule  `toml:"launch"`
	Agents       []agent       `toml:"agents"`
}

type interpreter struct {
	Names            []string `toml:"names"`
	Subcommands      []string `toml:"subcommands"`
	OptionsWithValue []string `toml:"options_with_value"`
	LoadOptions      []string `toml:"load_options"`
	CodeOptions      []string `toml:"code_options"`
	Flags            []string `toml:"flags"`
}

type agent struct {
	Name             string        `toml:"name"`
	AlsoCalled       []string      `toml:"also_called"`
	OptionsWithValue []string      `toml:"options_with_value"`
	Match            []matchRule   `toml:"match"`
	Surfaces         []surfaceRule `toml:"surfaces"`
	Environment      environment   `toml:"environment"`
	OverrideOptions  []string      `toml:"override_options"`
	SettingsFiles    []string      `toml:"settings_files"`
	ProfileOptions   []string      `toml:"profile_options"`
	DirectoryOptions []string      `toml:"directory_options"`
	VersionFiles     []string      `toml:"version_files"`
	Launch           []launchRule  `toml:"launch"`
}

type matchRule struct {
	Install   string   `toml:"install"`
	Surface   string   `toml:"surface"`
	Program   []string `toml:"program"`
	Path      []string `toml:"path"`
	Package   []string `toml:"package"`
	Arguments []string `toml:"arguments"`
	NameOfTwo bool     `toml:"name_of_two"`

	paths []glob
}

type surfaceRule struct {
	Surface    string   `toml:"surface"`
	Program    []string `toml:"program"`
	Subcommand []string `toml:"subcommand"`
	Flag       []string `toml:"flag"`
	Parent     []string `toml:"parent"`

	parents []glob
}

type environment struct {
	ToolCall string   `toml:"tool_call"`
	Thread   string   `toml:"thread"`
	Keep     []string `toml:"keep"`
}

// sure reports whether the name of the program is enough for the rule.
func (m *matchRule) sure() bool {
	return len(m.Path)+len(m.Package)+len(m.Arguments) == 0 && !m.NameOfTwo
}

// ParseProfiles reads profiles; source names them in errors.
func ParseProfiles(source string, data []byte) (*Profiles, error) {
	if len(data) > maxProfilesFile {
		return nil, fmt.Errorf("reading agent profiles %s: larger than %d bytes", source, maxProfilesFile)
	}
	var f file
	dec := toml.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil {
		return nil, fmt.Errorf("reading agent profiles %s: %w", source, explain(err))
	}
	p := &Profiles{agents: f.Agents, interpreters: map[string]*interpreter{}, launch: f.Launch}
	if len(p.agents) == 0 {
		return nil, fmt.Errorf("reading agent profiles %s: no [[agents]]: nothing would be governed", source)
	}
	for i := range f.Interpreters {
		if err := p.addInterpreter(&f.Interpreters[i]); err != nil {
			return nil, fmt.Errorf("reading agent profiles %s: interpreter %d: %w", source, i+1, err)
		}
	}
	for i := range p.launch {
		if err := p.launch[i].prepare(); err != nil {
			return nil, fmt.Errorf("reading agent profiles %s: launch %d: %w", source, i+1, err)
		}
	}
	seen := map[string]bool{}
	for i := range p.agents {
		a := &p.agents[i]
		if seen[a.Name] {
			return nil, fmt.Errorf("reading agent profiles %s: agent %q is there twice", source, a.Name)
		}
		seen[a.Name] = true
		if err := a.prepare(); err != nil {
			return nil, fmt.Errorf("reading agent profiles %s: agent %d (%q): %w", source, i+1, a.Name, err)
		}
	}
	p.prepareQuickly()
	return p, nil
}

// explain adds the line to what the TOML reader says.
func explain(err error) error {
	var unknown *toml.StrictMissingError
	if errors.As(err, &unknown) && len(unknown.Errors) > 0 {
		first := &unknown.Errors[0]
		row, _ := first.Position()
		return fmt.Errorf("line %d: unknown key %q", row, strings.Join(first.Key(), "."))
	}
	var bad *toml.DecodeError
	if errors.As(err, &bad) {
		row, _ := bad.Position()
		return fmt.Errorf("line %d: %w", row, err)
	}
	return err
}

func (p *Profiles) addInterpreter(in *interpreter) error {
	if len(in.Names) == 0 {
		return errors.New("it has no names")
	}
	for _, name := range in.Names {
		if err := checkName(name); err != nil {
			return err
		}
		p.interpreters[name] = in
	}
	return nil
}

func (a *agent) prepare() error {
	if !wordOf(a.Name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") {
		return fmt.Errorf("name %q: must be lower-case letters, digits, -, _ or . (at most %d)", a.Name, MaxName)
	}
	if len(a.Match) == 0 {
		return errors.New("no [[agents.match]]: it would never be recognised")
	}
	for _, name := range a.AlsoCalled {
		if err := checkName(name); err != nil {
			return err
		}
	}
	for i := range a.Match {
		if err := a.Match[i].prepare(); err != nil {
			return fmt.Errorf("match %d: %w", i+1, err)
		}
	}
	for i := range a.Surfaces {
		if err := a.Surfaces[i].prepare(); err != nil {
			return fmt.Errorf("surface %d: %w", i+1, err)
		}
	}
	for i := range a.Launch {
		if err := a.Launch[i].prepare(); err != nil {
			return fmt.Errorf("launch %d: %w", i+1, err)
		}
	}
	for _, key := range a.Environment.keys() {
		if !wordOf(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") {
			return fmt.Errorf("environment variable %q: must be upper-case letters, digits and _", key)
		}
	}
	return nil
}

func (m *matchRule) prepare() error {
	if m.Surface != "" {
		if err := checkSurface(m.Surface); err != nil {
			return err
		}
	}
	if len(m.Program)+len(m.Path)+len(m.Package) == 0 {
		return errors.New("needs program, path or package: arguments alone are not enough")
	}
	for _, name := range m.Program {
		if err := checkName(name); err != nil {
			return err
		}
	}
	for _, pkg := range m.Package {
		if pkg == "" || strings.HasPrefix(pkg, "/") || strings.HasSuffix(pkg, "/") {
			return fmt.Errorf("package %q: must be a name as npm knows it", pkg)
		}
	}
	if slices.Contains(m.Arguments, "") {
		return errors.New("an empty argument")
	}
	var err error
	m.paths, err = compileGlobs(m.Path)
	return err
}

func (s *surfaceRule) prepare() error {
	if err := checkSurface(s.Surface); err != nil {
		return err
	}
	if len(s.Program)+len(s.Subcommand)+len(s.Flag)+len(s.Parent) == 0 {
		return errors.New("needs program, subcommand, flag or parent")
	}
	var err error
	s.parents, err = compileGlobs(s.Parent)
	return err
}

func (e *environment) keys() []string {
	var keys []string
	for _, key := range append([]string{e.ToolCall, e.Thread}, e.Keep...) {
		if key != "" {
			keys = append(keys, key)
		}
	}
	return keys
}

func checkName(name string) error {
	if name == "" || len(name) > MaxName || strings.ContainsAny(name, "/\x00") || name == "." || name == ".." {
		return fmt.Errorf("file name %q: must have 1 to %d bytes and no slash", name, MaxName)
	}
	return nil
}

func checkSurface(s string) error {
	if !slices.Contains(surfaces(), s) {
		return fmt.Errorf("unknown surface %q (one of %s)", s, strings.Join(surfaces(), ", "))
	}
	return nil
}

func wordOf(s, letters string) bool {
	return s != "" && len(s) <= MaxName && strings.Trim(s, letters) == ""
}
