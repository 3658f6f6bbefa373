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
	name  string // with its dashes, as written
	value string // what it was given
	given bool   // with a value
	at    []int  // places of it and its value
}

// options reads arguments up to "--", unless that may be the value of an option.
func (a *agent) options(args []string) []option {
	var out []option
	for i, arg := range args {
		if arg == "--" && (i == 0 || !slices.Contains(a.OptionsWithValue, args[i-1])) {
			break
		}
		if len(arg) < 2 || arg[0] != '-' || arg == "--" {
			continue
		}
		next, has := "", i+1 < len(args)
		if has {
			next = args[i+1]
		}
		both := func(name string) []option { // with the next argument as value, and without
			one := option{name: name, at: []int{i}}
			if !has {
				return []option{one}
			}
			return []option{one, {name: name, value: next, given: true, at: []int{i, i + 1}}}
		}
		if strings.HasPrefix(arg, "--") {
			if name, value, ok := strings.Cut(arg, "="); ok {
				out = append(out, option{name, value, true, []int{i}})
			} else {
				out = append(out, both(arg)...)
			}
			continue
		}
		// One dash: a name of several letters, or several letters together, the last of
		// which may have the rest as its value.
		if name, value, ok := strings.Cut(arg, "="); ok {
			out = append(out, option{name, value, true, []int{i}})
		} else if len(arg) > 2 {
			out = append(out, both(arg)...)
		}
		for j := 1; j < len(arg); j++ {
			name, rest := "-"+arg[j:j+1], arg[j+1:]
			if rest == "" {
				out = append(out, both(name)...)
				break
			}
			valued := option{name, strings.TrimPrefix(rest, "="), true, []int{i}}
			out = append(out, valued)
			if slices.Contains(a.OptionsWithValue, name) {
				break
			}
			if !valued.off() {
				out = append(out, option{name: name, at: []int{i}})
			}
			if rest[0] == '=' {
				break
			}
		}
	}
	return out
}

// is says whether the option is the one that is called so. Case and dashes between
// words do not count in long names: yargs takes --approvalMode for --approval-mode.
func (o *option) is(name string) bool {
	if o.name == name {
		return true
	}
	if !strings.HasPrefix(o.name, "--") || !strings.HasPrefix(name, "--") {
		return false
	}
	fold := func(s string) string { return strings.ToLower(strings.ReplaceAll(s, "-", "")) }
	return fold(o.name) == fold(name)
}

// off says that the option is there to say no.
func (o *option) off() bool {
	return o.given && len(o.at) == 1 && (strings.EqualFold(o.value, "false") || o.value == "0")
}

// inOptions looks for flags: an option, or OPTION=VALUE, where VALUE may be * for any.
func (r *launchRule) inOptions(flags []string, options []option, own bool) []Finding {
	var out []Finding
	for _, flag := range flags {
		name, want, valued := strings.Cut(flag, "=")
		for i := range options {
			o := &options[i]
			if !o.is(name) {
				continue
			}
			if !valued && (len(o.at) == 2 || o.off()) { // its value is the next option's business
				continue
			}
			if !valued && o.given && len(o.name) == 2 {
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
func (r *launchRule) inOverrides(a *agent, options []option) []Finding {
	var out []Finding
	for _, way := range a.OverrideOptions {
		name, prefix, _ := strings.Cut(way, "=")
		for i := range options {
			o := &options[i]
			if !o.given || !o.is(name) {
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
