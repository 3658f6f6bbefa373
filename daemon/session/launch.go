// SPDX-License-Identifier: Apache-2.0

package session

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Kinds of findings about how an agent was started: the keys of [paddock.launch].
const (
	FoundEnvironment = "environment" // a variable
	FoundFlags       = "flags"       // an option
	FoundOverrides   = "overrides"   // a setting, on the command line or in a file
)

// Finding is one thing about how an agent was started by which it may slip its
// management.
type Finding struct {
	Kind string // one of the Found constants
	// What names it. Of a variable it is the name alone: the value may be a secret.
	What string
	Why  string // what it does, as a sentence
	// Quiet says that it is usual.
	Quiet bool
	// Within are the keys of Codex's requirements that allow it, as KEY=VALUE, if all do.
	Within []string

	variable string // to be unset
	args     []int  // places among the arguments of the agent, to be left out
}

// Started is a process that was recognised as an agent.
type Started struct {
	Match
	// Program is the path of what was recognised: the executable, or the script. Empty:
	// program text was.
	Program string

	agent  *agent
	args   []string // the agent's own
	before []string // those of its interpreter, before the script
}

// File is a file of settings, as far as it could be read.
type File struct {
	Name string // as people call it
	Data []byte
	// Cut says that there is more of it.
	Cut bool
}

// launchRule is one entry of [[launch]] or [[agents.launch]].
type launchRule struct {
	Why              string   `toml:"why"`
	Quiet            bool     `toml:"quiet"`
	Within           []string `toml:"within"`
	Environment      []string `toml:"environment"`
	Except           []string `toml:"except"`
	Words            []string `toml:"words"`
	Flags            []string `toml:"flags"`
	InterpreterFlags []string `toml:"interpreter_flags"`
	Overrides        []string `toml:"overrides"`
	Settings         []string `toml:"settings"`

	environment, words wildcards
}

// wildcards are whole words in which * stands for anything.
type wildcards []*regexp.Regexp

func wildcardsOf(all []string) wildcards {
	out := make(wildcards, len(all))
	for i, w := range all {
		out[i] = regexp.MustCompile(`(?s)\A` + strings.ReplaceAll(regexp.QuoteMeta(w), `\*`, `.*`) + `\z`)
	}
	return out
}

func (w wildcards) match(s string) bool {
	return slices.ContainsFunc(w, func(re *regexp.Regexp) bool { return re.MatchString(s) })
}

func (r *launchRule) prepare() error {
	if strings.TrimSpace(r.Why) == "" {
		return errors.New("it does not say why")
	}
	if len(r.Environment)+len(r.Flags)+len(r.InterpreterFlags)+len(r.Overrides)+len(r.Settings) == 0 {
		return errors.New("needs environment, flags, interpreter_flags, overrides or settings: it is about nothing")
	}
	for _, f := range slices.Concat(r.Flags, r.InterpreterFlags) {
		if !strings.HasPrefix(f, "-") {
			return fmt.Errorf("option %q: must begin with -", f)
		}
	}
	for _, w := range r.Within {
		if !strings.Contains(w, "=") {
			return fmt.Errorf("within %q: must be KEY=VALUE", w)
		}
	}
	for _, s := range r.Settings {
		if key, _, ok := strings.Cut(s, "="); !ok || key == "" {
			return fmt.Errorf("setting %q: must be KEY=VALUE", s)
		}
	}
	r.environment, r.words = wildcardsOf(r.Environment), wildcardsOf(r.Words)
	return nil
}

// Start is Recognise, with what Findings needs.
func (p *Profiles) Start(proc Process) (Started, bool) { return p.recognise(proc) }

// SettingsFiles lists where the agent looks for settings: beginning with ~/ in the
// home directory of its user, else in its working directory and all above. It was told
// to work in dirs as well, which may be relative.
func (p *Profiles) SettingsFiles(s Started) (names, dirs []string) {
	given := s.agent.options(s.args)
	profiles := given.values(s.agent.ProfileOptions)
	for _, name := range s.agent.SettingsFiles {
		if !strings.Contains(name, profileMark) {
			names = append(names, name)
			continue
		}
		for _, profile := range profiles[:min(len(profiles), maxProfiles)] {
			if profile != "" && !strings.ContainsAny(profile, "/\x00") {
				names = append(names, strings.ReplaceAll(name, profileMark, profile))
			}
		}
	}
	dirs = given.values(s.agent.DirectoryOptions)
	return names, dirs[:min(len(dirs), maxProfiles)]
}

// profileMark stands for the profile an agent was told to use, in a name of a file of
// settings; maxProfiles of them are looked at.
const (
	profileMark = "{profile}"
	maxProfiles = 8
)

// VersionFiles lists files that say the version of the agent: absolute paths, of JSON
// with a key "version".
func (p *Profiles) VersionFiles(s Started) []string {
	if s.Program == "" || s.agent == nil {
		return nil
	}
	var out []string
	for _, name := range s.agent.VersionFiles {
		out = append(out, path.Join(path.Dir(s.Program), name))
	}
	if pkg := packageOf(s.Program); pkg != "" {
		i := strings.LastIndex(s.Program, "/node_modules/"+pkg)
		out = append(out, s.Program[:i]+"/node_modules/"+pkg+"/package.json")
	}
	return out
}

// Findings says by what the agent may slip its management. environ is its environment
// as it was started, "NAME=VALUE"; home is its user's home directory, empty if that is
// not known; files are its settings.
func (p *Profiles) Findings(s Started, environ []string, home string, files []File) []Finding {
	var out []Finding
	options := s.agent.options(s.args)
	interpreter := (&agent{}).options(s.before)
	if n := len(s.args) + len(s.before); n > maxArguments {
		out = append(out, Finding{Kind: FoundFlags, What: fmt.Sprintf("more than %d arguments", maxArguments), Why: "what they say is not looked at"})
	}
	var settings []*settingsFile
	for _, f := range files {
		settings = append(settings, readSettings(f))
	}
	for _, list := range [][]launchRule{p.launch, s.agent.Launch} {
		for i := range list {
			r := &list[i]
			out = append(out, r.inEnvironment(environ, home)...)
			out = append(out, r.inOptions(r.Flags, options, true)...)
			out = append(out, r.inOptions(r.InterpreterFlags, interpreter, false)...)
			out = append(out, r.inOverrides(s.agent, options)...)
			for _, f := range settings {
				out = append(out, r.inFile(f, home)...)
			}
		}
	}
	return distinct(out)
}

// maxFindings bounds what is told of one start.
const maxFindings = 64

// distinct leaves out what was found twice.
func distinct(all []Finding) []Finding {
	var out []Finding
	for _, f := range all {
		if len(out) >= maxFindings {
			break
		}
		i := slices.IndexFunc(out, func(o Finding) bool { return o.Kind == f.Kind && o.What == f.What })
		if i < 0 {
			out = append(out, f)
			continue
		}
		out[i].args = append(out[i].args, f.args...)
		out[i].Quiet = out[i].Quiet && f.Quiet
		if len(f.Within) == 0 {
			out[i].Within = nil
		}
	}
	return out
}

func (r *launchRule) finding(kind, what string) Finding {
	return Finding{Kind: kind, What: what, Why: r.Why, Quiet: r.Quiet, Within: r.Within}
}

// inEnvironment looks at every entry: a name may be there twice, and which one counts
// is for the agent to choose.
func (r *launchRule) inEnvironment(environ []string, home string) []Finding {
	if len(r.environment) == 0 {
		return nil
	}
	var out []Finding
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if value == "" || !r.environment.match(name) || r.excepted(value, home) {
			continue
		}
		if len(r.words) > 0 && !slices.ContainsFunc(strings.Fields(value), func(w string) bool { return r.words.match(strings.Trim(w, `"'`)) }) {
			continue
		}
		f := r.finding(FoundEnvironment, label(name))
		f.variable = name
		out = append(out, f)
	}
	return out
}

func (r *launchRule) excepted(value, home string) bool {
	for _, e := range r.Except {
		if e == "~" || strings.HasPrefix(e, "~/") {
			if home == "" {
				continue
			}
			e = path.Join(home, e[1:])
			value = path.Clean(value)
		}
		if e == value {
			return true
		}
	}
	return false
}

// Instead is a command that starts the agent without what was found, for people to
// copy. It is empty when that cannot be said: a file would have to be changed.
func (p *Profiles) Instead(s Started, called string, found []Finding) string {
	var variables []string
	left := map[int]bool{}
	for _, f := range found {
		switch {
		case f.variable != "":
			variables = append(variables, "-u", f.variable)
		case len(f.args) > 0:
			for _, i := range f.args {
				left[i] = true
			}
		default:
			return ""
		}
	}
	var words []string
	if len(variables) > 0 {
		words = append([]string{"env"}, variables...)
	}
	words = append(words, base(called))
	for i, arg := range s.args {
		if !left[i] {
			words = append(words, arg)
		}
	}
	for i, w := range words {
		words[i] = shellWord(w)
	}
	return strings.Join(words, " ")
}

func shellWord(w string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:=@%+,-"
	if w != "" && strings.Trim(w, plain) == "" {
		return w
	}
	return "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
}
