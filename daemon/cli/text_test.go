// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestWord(t *testing.T) {
	for in, want := range map[string]string{
		"":            "''",
		"--x=/a.b:c":  "--x=/a.b:c",
		"two words":   "'two words'",
		"$(ls)":       "'$(ls)'",
		"it's":        `$'it\'s'`,
		"a\\b'":       `$'a\\b\''`,
		"\x1b[1m":     `$'\x1b[1m'`,
		"a\nb\tc\r":   `$'a\nb\tc\r'`,
		"\xff":        `$'\xff'`,
		"日本":          "'日本'",
		"\u202e":      `$'\u202e'`,
		"\U000e0041":  `$'\U000e0041'`,
		"no\u00a0gap": `$'no\u00a0gap'`,
	} {
		if got := word(in); got != want {
			t.Errorf("word(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestCommandLine(t *testing.T) {
	for _, c := range []struct {
		args  []string
		limit int
		want  string
	}{
		{nil, 9, ""},
		{[]string{"a", "b"}, 9, "a b"},
		{[]string{"aaaa", "bbbbbbbb"}, 9, "aaaa bbbb…"},
		{[]string{"aaaa", "bbbbb", "c"}, 9, "aaaa bbbb…"},
		{[]string{"ééé"}, 3, "'é'…"},
		{[]string{"é"}, 1, "…"},
	} {
		if got := commandLine(c.args, c.limit); got != c.want {
			t.Errorf("%q within %d: %q, want %q", c.args, c.limit, got, c.want)
		}
	}
}

// What is printed can be pasted: the shell reads the same bytes back.
func TestWordIsReadBackByTheShell(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"it's", `\`, `\'`, "\x1b[0m\xff\xc3", "$HOME `x` \"y\" *", "\x01f", "a\nb", "日\u202e本", "!x", "~", "#"} {
		cmd := exec.CommandContext(t.Context(), bash, "-c", "printf %s "+word(s))
		cmd.Env = []string{"LC_ALL=C.UTF-8"}
		if got, err := cmd.Output(); string(got) != s || err != nil {
			t.Errorf("%q as %s: the shell reads %q, %v", s, word(s), got, err)
		}
	}
}

func FuzzText(f *testing.F) {
	f.Add("\x1b[2J\u202e\xff\u009b", 3)
	f.Add("'\\\n\U000e0041", 100)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		line := commandLine([]string{s, s}, limit%1000)
		for _, text := range []string{plain(s), word(s), line} {
			if strings.ContainsFunc(text, hidden) || !utf8.ValidString(text) {
				t.Fatalf("%q became %q", s, text)
			}
		}
		data, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var want, got string
		safe := safeJSON(data)
		if err := json.Unmarshal(data, &want); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(safe, &got); err != nil || got != want {
			t.Fatalf("%s became %s: %v", data, safe, err)
		}
		if strings.ContainsFunc(string(safe), func(r rune) bool { return hidden(r) && r != utf8.RuneError }) {
			t.Fatalf("%q became %s", s, safe)
		}
	})
}
