// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"bytes"
	"errors"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDocumentDuplicateInLargeTable(t *testing.T) {
	var text strings.Builder
	text.WriteString("paddock = {")
	for i := range 48 {
		text.WriteString("k" + strings.Repeat("x", i) + " = 1, ")
	}
	_, err := Parse("f", []byte(text.String()+"kx = 2}"))
	var parse *ParseError
	if !errors.As(err, &parse) || parse.Line != 1 || parse.Key != "kx" {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	example, err := os.ReadFile("../../examples/requirements.toml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(example)
	for _, k := range Keys() {
		f.Add([]byte(k.Example))
	}
	for _, text := range []string{
		"", "rules=[]\n[paddock.a]\n[paddock]\nb=1", "features={a=true}\nfeature_requirements={b=true}", "[[paddock.cohort]]\nname='a'\nhosts=['*']\nrequirements.paddock.mode='observe'\n[rules]\nprefix_rules=[{pattern=[{token='a'},{any_of=['b','c']}],decision='prompt'}]\n",
		"[paddock]\nmode='observe'\nagents=['codex']\n[paddock.network]\ndefault='deny'\n[[paddock.network.rules]]\ncidr='10.0.0.0/8'\nports=[1,'2-3']\nprotocol='udp'\ndecision='allow'\n[paddock.telemetry]\nendpoint='http://h'\nheaders={a='b'}\n",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
			data = data[2:]
		}
		req, err := Parse("f", data)
		if err != nil {
			var parse *ParseError
			if req != nil || !errors.As(err, &parse) || parse.Source != "f" || parse.Problem == "" || parse.Line > 1+bytes.Count(data, []byte("\n")) {
				t.Fatalf("%+v, %#v", req, err)
			}
			return
		}
		if again, err := Parse("f", data); err != nil || !cmp.Equal(req, again, notTheLayer, cmp.Comparer(func(a, b Network) bool {
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
		if merged := Merge(req, req); merged.Codex == nil && merged.CodexError == nil {
			t.Fatal("nothing is said of Codex")
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
