// SPDX-License-Identifier: Apache-2.0

package session

import (
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// Options are read as any of the libraries reads them that agents are made with
// (clap, commander, yargs), whichever it is: what one of them takes for an option is
// one. So an option may be found where there is none, in the value of another one, and
// is never missed.

// option is one reading of one or two arguments.
type option struct {
	value string // what it was given
	given bool   // with a value
	at    []int  // places of it and its value
}

// options are what was given on a command line, by their names: see optionKey.
type options map[string][]option

// maxArguments bounds what is looked at: nobody starts an agent with more. Beyond it, the
// number alone is a finding.
const maxArguments = 4096

// optionKey makes one of the names that mean the same to some library: case and dashes
// between words do not count in long names (yargs takes --approvalMode for
// --approval-mode), nor how many dashes a single letter has.
func optionKey(name string) string {
	word := strings.TrimLeft(name, "-")
	if len(word) == 1 {
		return "-" + word
	}
	if !strings.HasPrefix(name, "--") {
		return name
	}
	return "--" + strings.ToLower(strings.ReplaceAll(word, "-", ""))
}

// options reads arguments up to "--", unless that may be the value of an option.
func (a *agent) options(args []string) options {
	out := options{}
	add := func(name string, o option) {
		name = optionKey(name)
		out[name] = append(out[name], o)
	}
	for i, arg := range args[:min(len(args), maxArguments)] {
		if arg == "--" && (i == 0 || !slices.Contains(a.OptionsWithValue, args[i-1])) {
			break
		}
		if len(arg) < 2 || arg[0] != '-' || arg == "--" {
			continue
		}
		both := func(name string) { // with the next argument as value, and without
			add(name, option{at: []int{i}})
			if i+1 < len(args) {
				add(name, option{args[i+1], true, []int{i, i + 1}})
			}
		}
		name, value, ok := strings.Cut(arg, "=")
		switch {
		case ok:
			add(name, option{value, true, []int{i}})
		case strings.HasPrefix(arg, "--") || len(arg) > 2:
			both(arg)
		}
		if !strings.HasPrefix(arg, "--") {
			a.letters(arg, i, add, both)
		}
	}
	return out
}

// letters reads one dash and letters: a letter may have the rest as its value, or the
// next argument, if it is the last one.
func (a *agent) letters(arg string, i int, add func(string, option), both func(string)) {
	var seen [256]bool // each once: there may be a hundred thousand
	for j := 1; j < len(arg); j++ {
		if seen[arg[j]] && j+1 < len(arg) {
			continue
		}
		seen[arg[j]] = true
		name, rest := "-"+arg[j:j+1], arg[j+1:]
		if rest == "" {
			both(name)
			return
		}
		valued := option{strings.TrimPrefix(rest, "="), true, []int{i}}
		add(name, valued)
		if slices.Contains(a.OptionsWithValue, name) {
			return
		}
		if !valued.off() {
			add(name, option{at: []int{i}})
		}
		if rest[0] == '=' {
			return
		}
	}
}

// values are what options were given, by any of their names.
func (o options) values(names []string) []string {
	var out []string
	for _, name := range names {
		for _, one := range o[optionKey(name)] {
			if one.given {
				out = append(out, one.value)
			}
		}
	}
	return out
}

// off says that the option is there to say no.
func (o *option) off() bool {
	return o.given && len(o.at) == 1 && (strings.EqualFold(o.value, "false") || o.value == "0")
}

// inOptions looks for flags: an option, or OPTION=VALUE, where VALUE may be * for any.
func (r *launchRule) inOptions(flags []string, given options, own bool) []Finding {
	var out []Finding
	for _, flag := range flags {
		name, want, valued := strings.Cut(flag, "=")
		for _, o := range given[optionKey(name)] {
			if !valued && (len(o.at) == 2 || o.off()) { // its value is the next option's business
				continue
			}
			if !valued && o.given && len(name) == 2 {
				continue // letters together: read once without a value
			}
			if valued && (!o.given || want != "*" && !strings.EqualFold(strings.Trim(o.value, `"' `), want)) {
				continue
			}
			what := name
			if valued && want != "*" {
				what += " " + want
			}
			f := r.finding(FoundFlags, what)
			if own {
				f.args = o.at
			}
			out = append(out, f)
		}
	}
	return out
}

// inOverrides looks for settings on the command line: in the agent's options for
// them, KEY=VALUE.
func (r *launchRule) inOverrides(a *agent, given options) []Finding {
	var out []Finding
	for _, way := range a.OverrideOptions {
		name, prefix, _ := strings.Cut(way, "=")
		for _, o := range given[optionKey(name)] {
			if !o.given {
				continue
			}
			text := prefix + o.value
			key, value, _ := strings.Cut(text, "=")
			for _, want := range r.Overrides {
				if k := settingKey(key); sameSetting(k, want) {
					f := r.finding(FoundOverrides, name+" "+label(strings.TrimPrefix(k, prefix)))
					f.args = o.at
					out = append(out, f)
				}
			}
			for _, want := range r.Settings {
				wantKey, wantValue, _ := strings.Cut(want, "=")
				if k := settingKey(key); sameSetting(k, wantKey) && holds(value, wantValue) {
					f := r.finding(FoundOverrides, name+" "+label(strings.TrimPrefix(k, prefix))+"="+wantValue)
					f.args = o.at
					out = append(out, f)
				}
			}
		}
	}
	return out
}

// settingKey writes a dotted key without quotes and spaces.
func settingKey(s string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(" \t\r\n\"'", r) {
			return -1
		}
		return r
	}, s)
}

// sameSetting says whether setting one key sets the other: it is the same, or one is
// a table around the other.
func sameSetting(key, want string) bool {
	return key != "" && (key == want || strings.HasPrefix(key, want+".") || strings.HasPrefix(want, key+"."))
}

// holds says whether a value, or a table written as one, has a word in it. It is TOML,
// or if it is none, text.
func holds(value, word string) bool {
	var tree map[string]any
	if toml.Unmarshal([]byte("x = "+value), &tree) == nil {
		values := map[string][]string{}
		flatten(values, "", tree, 0)
		for _, list := range values {
			if slices.ContainsFunc(list, func(v string) bool { return strings.EqualFold(v, word) }) {
				return true
			}
		}
	}
	return slices.Contains(strings.FieldsFunc(strings.ToLower(value), func(r rune) bool {
		return strings.ContainsRune(" \t\r\n\"'{}[]=,:", r)
	}), strings.ToLower(word))
}
