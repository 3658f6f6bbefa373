// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"bytes"
	"errors"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pelletier/go-toml/v2"
)

// said turns a value into plain data; of scalars that are no text, only the type.
func said(v *value) any {
	switch v.kind {
	case kindTable:
		out := map[string]any{}
		for i, k := range v.table.keys {
			out[k] = said(v.table.vals[i])
		}
		return out
	case kindArray:
		out := make([]any, len(v.items))
		for i, item := range v.items {
			out[i] = said(item)
		}
		return out
	case kindString:
		return "text " + v.text
	case kindBool:
		return v.text == "true"
	}
	return v.kind.String()
}

// decoded does the same for what the TOML decoder makes.
func decoded(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, e := range v {
			out[k] = decoded(e)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = decoded(e)
		}
		return out
	case string:
		return "text " + v
	case bool:
		return v
	case int64:
		return kindInteger.String()
	case float64:
		return kindFloat.String()
	case time.Time, toml.LocalDate, toml.LocalTime, toml.LocalDateTime:
		return kindTime.String()
	}
	return v
}

// sameDocument fails unless the document read with lines says what the TOML
// decoder reads in it. The two are one library's, but were written apart.
func sameDocument(t *testing.T, data []byte) {
	t.Helper()
	var all map[string]any
	invalid := toml.Unmarshal(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), &all)
	doc, err := readDocument(data, "rules", "paddock")
	if invalid != nil {
		// Odd numbers and dates are the only thing we may let pass: we read none.
		about := regexp.MustCompile("too large|too small|out of range|impossible|date|time|digit|number|integer|float|offset|hour|minute|second|nanosecond|year|month|day")
		if err == nil && !about.MatchString(invalid.Error()) {
			t.Fatalf("valid for us, but: %v\n%q", invalid, data)
		}
		return
	}
	if err != nil {
		t.Fatalf("the decoder finds it valid; we: %v\n%q", err, data)
	}
	for _, key := range []string{"rules", "paddock"} {
		v := doc.table.get(key)
		want, there := all[key]
		if there != (v != nil) {
			t.Fatalf("%s: there %t, read %t\n%q", key, there, v != nil, data)
		}
		if v == nil {
			continue
		}
		if diff := cmp.Diff(decoded(want), said(v)); diff != "" {
			t.Fatalf("%s (-decoder +ours):\n%s\n%q", key, diff, data)
		}
		checkLines(t, v, 1+bytes.Count(data, []byte("\n")))
	}
	if got, want := slices.Sorted(slices.Values(doc.table.keys)), slices.Sorted(maps.Keys(all)); !slices.Equal(got, want) {
		t.Fatalf("top-level keys %q, want %q\n%q", got, want, data)
	}
}

func checkLines(t *testing.T, v *value, last int) {
	t.Helper()
	if v.line < 1 || int(v.line) > last {
		t.Fatalf("line %d of %d", v.line, last)
	}
	for _, item := range v.items {
		checkLines(t, item, last)
	}
	if v.kind != kindTable {
		return
	}
	for i, val := range v.table.vals {
		if line := v.table.lines[i]; line < 1 || int(line) > last {
			t.Fatalf("line %d of %d", line, last)
		}
		checkLines(t, val, last)
	}
}

func documents() []string {
	return []string{
		"", "#", "[rules]", "[[rules]]\n[[rules]]\n[rules.a]\n[[rules.b]]\nc=1\n[[rules.b]]", "rules.a.b=1\nrules.a.c=2\n[rules.d]",
		"paddock={a={b=[1,{c='x'},[2,'y']]},d.e=true}", "[paddock]\na=1979-05-27\nb=07:32:00\nc=1979-05-27T07:32:00\nd=1979-05-27T07:32:00Z\ne=inf\nf=nan\ng=-0.0\nh=0x1F",
		"[a]\nb=1\n[rules.x]\n[a.rules]\n[[paddock.y]]\n[[paddock.y.z]]\n[paddock.y.z.w]\nq=1\n[[paddock.y]]\nq=2", "[paddock]\n\"\"=1\n'a.b'=2\n\"\\u0000\"=3",
		"rules=[]\n[paddock.a]\n[paddock]\nb=1", "rules=1\nrules=2", "[rules]\n[rules]", "paddock.a=1\n[paddock.a.b]", "[[paddock]]\n[paddock]", "x={}\n[x.y]",
		"\xef\xbb\xbfrules={}", "a=\"\\uD800\"", "rules='''\n\n a'''\npaddock=\"\"\"\n\\\n  b\"\"\"", "paddock.x=[[[[]]],\n#c\n[{}]]",
		"[rules]\nprefix_rules=[{pattern=[{token='a'},{any_of=['b','c']}],decision='prompt'}]\n[paddock]\nmode='observe'\nagents=['codex']\n[paddock.network]\ndefault='deny'\n[[paddock.network.rules]]\ncidr='10.0.0.0/8'\nports=[1,'2-3']\nprotocol='udp'\ndecision='allow'\n[paddock.telemetry]\nendpoint='http://h'\nheaders={a='b'}\n",
	}
}

func TestDocument(t *testing.T) {
	for _, text := range documents() {
		sameDocument(t, []byte(text))
	}
	var many strings.Builder
	for i := range 3 * largeTable {
		many.WriteString("paddock.k" + strings.Repeat("x", i) + ".y = 1\n")
	}
	sameDocument(t, []byte(many.String()))
}

func TestDocumentDuplicateInLargeTable(t *testing.T) {
	var text strings.Builder
	text.WriteString("paddock = {")
	for i := range 3 * largeTable {
		text.WriteString("k" + strings.Repeat("x", i) + " = 1, ")
	}
	_, err := Parse("f", []byte(text.String()+"kx = 2}"))
	var parse *ParseError
	if !errors.As(err, &parse) || parse.Line != 1 || parse.Key != "kx" {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range documents() {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
			data = data[2:]
		}
		sameDocument(t, data)
		req, err := Parse("f", data)
		if err != nil {
			var parse *ParseError
			if req != nil || !errors.As(err, &parse) || parse.Source != "f" || parse.Problem == "" || parse.Line > 1+bytes.Count(data, []byte("\n")) {
				t.Fatalf("%+v, %#v", req, err)
			}
			return
		}
		if again, err := Parse("f", data); err != nil || !cmp.Equal(req, again, cmp.Comparer(func(a, b Network) bool {
			return a.None == b.None && a.Default == b.Default && len(a.Rules) == len(b.Rules)
		})) {
			t.Fatalf("the second time: %+v, %v", again, err)
		}
		rules := Compile(req.Rules, req.Unmatched)
		for _, r := range req.Rules {
			if r.Decision == Allow || r.Line < 1 {
				t.Fatalf("rule %+v", r)
			}
			c := Command{Names: []string{r.Pattern[0][0]}}
			for _, e := range r.Pattern[1:] {
				c.Args = append(c.Args, e[len(e)-1])
			}
			if v := rules.Decide(c); !v.Matched || v.Decision < r.Decision {
				t.Fatalf("rule %s does not match its own words: %+v", r, v)
			}
		}
		for i := range req.Network.Rules {
			r := &req.Network.Rules[i]
			if !r.Prefix.IsValid() || r.Prefix != canonicalPrefix(r.Prefix) || r.Protocols == 0 {
				t.Fatalf("network rule %+v", r)
			}
		}
		if _, err := req.Network.Entries(); err != nil {
			t.Fatalf("accepted, but: %v", err)
		}
		if merged := Merge(req, Defaults()); merged.Mode != req.Mode && req.ModeSet {
			t.Fatalf("mode %s became %s", req.Mode, merged.Mode)
		}
	})
}

func FuzzDecide(f *testing.F) {
	f.Add("git push", "git", "push\x00-f")
	f.Add("/bin/rm", "./rm", "")
	f.Add("", "", "")
	f.Fuzz(func(t *testing.T, pattern, name, args string) {
		r := rule(Forbidden, strings.Fields(pattern)...)
		r.Canonical = len(args)%2 == 0
		c := Command{Names: []string{name}, Args: strings.Split(args, "\x00")}
		v := Compile([]PrefixRule{r}, Allow).Decide(c)
		d, _, words := slowly(nonEmpty(r), Allow, c)
		if name == "" {
			d, words = Forbidden, 0
		}
		if v.Decision != d || len(v.Prefix) != words || len(v.Reason) > math.MaxInt16+10*len(pattern) {
			t.Fatalf("%s by %q, want %s by %d words", v.Decision, v.Prefix, d, words)
		}
	})
}

func nonEmpty(r PrefixRule) []PrefixRule {
	if len(r.Pattern) == 0 {
		return nil
	}
	return []PrefixRule{r}
}
