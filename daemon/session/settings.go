// SPDX-License-Identifier: Apache-2.0

package session

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// inFile looks for settings in a file of the agent's. What cannot be read is searched
// as text: the agent may be more lenient.
func (r *launchRule) inFile(f *settingsFile, home string) []Finding {
	var out []Finding
	for _, found := range r.inEnvironment(f.environ, home) {
		found.Kind, found.What, found.variable = FoundOverrides, found.What+" in "+label(f.Name), ""
		out = append(out, found)
	}
	for _, name := range r.Environment {
		if f.Cut {
			out = append(out, r.finding(FoundOverrides, name+" in "+label(f.Name)))
		}
	}
	for _, want := range r.Settings {
		key, word, _ := strings.Cut(want, "=")
		found := f.Cut // what is not read may say anything
		if f.broken {
			last := key[strings.LastIndexByte(key, '.')+1:]
			found = bytes.Contains(f.Data, []byte(last)) && holds(string(f.Data), word)
		}
		for k, v := range f.values {
			found = found || sameSetting(k, key) && len(k) >= len(key) && slices.ContainsFunc(v, func(s string) bool { return strings.EqualFold(s, word) })
		}
		if found {
			out = append(out, r.finding(FoundOverrides, fmt.Sprintf("%s=%s in %s", key, word, label(f.Name))))
		}
	}
	return out
}

// settingsFile is a file of settings that was read.
type settingsFile struct {
	File
	values  map[string][]string
	environ []string // variables it sets, as NAME=VALUE
	broken  bool     // it could not be read
}

func readSettings(f File) *settingsFile {
	out := &settingsFile{File: f}
	if path.Ext(f.Name) == ".env" {
		for line := range strings.Lines(string(f.Data)) {
			name, value, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "=")
			out.environ = append(out.environ, strings.TrimSpace(name)+"="+strings.Trim(strings.TrimSpace(value), `"'`))
		}
		return out
	}
	var err error
	out.values, err = settingsOf(f)
	out.broken = err != nil
	for key, values := range out.values {
		if name, ok := strings.CutPrefix(key, "env."); ok {
			for _, v := range values {
				out.environ = append(out.environ, name+"="+v)
			}
		}
	}
	slices.Sort(out.environ)
	return out
}

// settingsOf returns the values of a file of TOML or JSON (with comments), by dotted
// key. Elements of a list have its key.
func settingsOf(f File) (map[string][]string, error) {
	var tree map[string]any
	var err error
	if path.Ext(f.Name) == ".toml" {
		err = toml.Unmarshal(f.Data, &tree)
	} else {
		err = json.Unmarshal(withoutComments(f.Data), &tree)
	}
	if err != nil {
		return nil, err
	}
	out := map[string][]string{}
	flatten(out, "", tree, 0)
	return out, nil
}

// maxDepth bounds tables in tables; no agent has a setting that deep.
const maxDepth = 32

func flatten(out map[string][]string, key string, v any, depth int) {
	if depth > maxDepth {
		return
	}
	switch v := v.(type) {
	case map[string]any:
		for k, inner := range v {
			if key != "" {
				k = key + "." + k
			}
			flatten(out, k, inner, depth+1)
		}
	case []any:
		for _, inner := range v {
			flatten(out, key, inner, depth+1)
		}
	default:
		out[key] = append(out[key], fmt.Sprint(v))
	}
}

var comments = regexp.MustCompile(`(?s)"(?:\\.|[^"\\])*"|//[^\n]*|/\*.*?\*/|,\s*[}\]]`)

// withoutComments makes JSON of JSON with comments and commas at the end of lists.
func withoutComments(data []byte) []byte {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	strip := func(in []byte) []byte {
		return comments.ReplaceAllFunc(in, func(m []byte) []byte {
			switch m[0] {
			case '"':
				return m
			case ',':
				return m[len(m)-1:]
			}
			return []byte(" ")
		})
	}
	return strip(strip(data)) // a comma may stand before a comment
}
