// SPDX-License-Identifier: Apache-2.0

package rulesfile

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

func load(text string) (*Policy, error) {
	return Load(Env{Dir: "/work", Home: "/home/dev"}, Source{"f", []byte(text)})
}

// hostile files want a machine's time or memory. Each is refused for the reason
// given.
var hostile = map[string]struct{ text, cause string }{
	"loop":            {"for i in range(1000000):\n  for j in range(1000000): pass", "steps"},
	"recursion":       {"def f(): f()\nf()", "call stack"},
	"lambdas":         {"f = lambda n: f(n)\nf(1)", "call stack"},
	"sorted key":      {"def f(x): return sorted([1, 2], key = f)\nf(1)", "call stack"},
	"two functions":   {"def f(): g()\ndef g(): f()\nf()", "call stack"},
	"string doubling": {"x = 'a'\nfor i in range(100): x = x + x", "too long"},
	"string +=":       {"x = 'a'\nfor i in range(100): x += x", "too long"},
	"string in list":  {"x = ['a']\nfor i in range(100): x[0] += x[0]", "too long"},
	"string *":        {"x = 'a' * 1000000000", "too long"},
	"* string":        {"x = 1000000000 * 'a'", "too long"},
	"string * huge":   {"x = 'a' * (1 << 100)", "too long"},
	"list *":          {"x = [1] * 1000000000", "too long"},
	"tuple *":         {"x = (1, 2) * 1000000000", "too long"},
	"list +=":         {"x = [1]\nfor i in range(100): x += x", "too"},
	"list extend":     {"x = [1]\nfor i in range(100): x.extend(x)", "too"},
	"list doubling":   {"x = [1]\nfor i in range(100): x = x + x", "too"},
	"list append":     {"x = []\nfor i in range(1000000):\n  for j in range(100): x.append(1)", "too|steps"},
	"range":           {"x = range(1 << 60)", "too long"},
	"list of range":   {"x = list(range(1 << 60))", "too long"},
	"all of range":    {"all(range(1, 1 << 60))", "too long"},
	"comprehension":   {"x = [i for i in range(1000000) for j in range(1000000)]", "MiB|steps"},
	"dict":            {"x = {i: j for i in range(1000000) for j in range(1000000)}", "MiB|steps"},
	"dict of strings": {"x = {}\nfor i in range(1000000): x['a' * 1000 + str(i)] = 1", "MiB|steps"},
	"many strings":    {"x = ['a' * 1000000 for i in range(1000000)]", "MiB|steps"},
	"int power":       {"x = 3\nfor i in range(100): x = x * x", "too long"},
	"int *=":          {"x = 3\nfor i in range(100): x *= x", "too long"},
	"int shift":       {"x = 1\nfor i in range(100000): x = x << 500", "too long"},
	"int of text":     {"x = int('9' * 100000)", "too long"},
	"int literal":     {"x = " + strings.Repeat("9", 100_000), "digits"},
	"join":            {"x = ('a' * 1000).join(['b'] * 1000000)", "too long"},
	"replace":         {"x = ('a' * 1000000).replace('a', 'b' * 1000000)", "too long"},
	"replace nothing": {"x = ('a' * 1000000).replace('', 'b' * 1000)", "too long"},
	"format":          {"x = ('{0}' * 100000).format('b' * 1000000)", "too long"},
	"f-string":        {"x = 'b' * 1000000\ny = f'{x}{x}{x}{x}{x}'", "too long"},
	"percent":         {"x = ('%s' * 100000) % (('b' * 1000000,) * 100000)", "too long"},
	"percent of dict": {"x = ('%(a)s' * 100000) % {'a': 'b' * 1000000}", "Unsupported format character"},
	"repr of shared":  {"x = [1]\nfor i in range(60): x = [x, x]\ny = repr(x)", "too long"},
	"str of shared":   {"x = [1]\nfor i in range(60): x = [x, x]\ny = str(x)", "too long"},
	"fail of shared":  {"x = [1]\nfor i in range(60): x = [x, x]\nfail(x)", "too long"},
	"hash of shared":  {"x = (1,)\nfor i in range(60): x = (x, x)\ny = {x: 1}", "too long"},
	"index of shared": {"x = (1,)\nfor i in range(60): x = (x, x)\ny = {}.get(x)", "too long"},
	"in of shared":    {"x = (1,)\nfor i in range(60): x = (x, x)\ny = x in {}", "too long"},
	"compare shared":  {"x = (1,) * 1000\nfor i in range(9): x = (x,) * 1000\ny = x == (x,)", "too long"},
	"sort of shared":  {"x = (1,)\nfor i in range(60): x = (x, x)\nsorted([x, x])", "too long"},
	"type of shared":  {"x = [1]\nfor i in range(60): x = [x, x]\ny: list[list] = x", "too long"},
	"cycle":           {"x = []\nx.append(x)\nfail(x)", "too long"},
	"message":         {"prefix_rule(pattern = ['a'], decision = [['a'] * 1000] * 1000)", "actual `list (repr: a list of length 1000)`"},
	"spread":          {"def f(*a): pass\nx = [1] * 1000000\nfor i in range(1000000): f(*x)", "too long|MiB|steps"},
	"slices":          {"x = [1] * 1000000\nfor i in range(1000000): y = x[1:]", "MiB|steps"},
	"find":            {"x = ('a' * 1000000)\nfor i in range(1000000): x.find('b')", "steps"},
	"membership":      {"x = [0] * 100000\nfor i in range(1000000): 1 in x", "steps|too long"},
	"one pattern":     {"x = [['a'] * 100000] * 1000\nfor i in range(1000): prefix_rule(pattern = x)", "MiB"},
	"rules":           {"for i in range(1000000): prefix_rule(pattern = ['a', 'b'], match = ['a b'])", "MiB|steps"},
	"examples":        {"prefix_rule(pattern = ['a'], match = [['a'] * 100000] * 1000000)", "MiB|too long"},
	"hosts":           {"host_executable('a', ['/a'] * 1000000)\n" + "host_executable('b', ['/b'] * 1000000)\n" + strings.Repeat("host_executable('b', ['/b'] * 1000000)\n", 10), "MiB|steps"},
	"split":           {"x = 'a ' * 500000\nfor i in range(100): x.split()", "too long"},
	"brackets":        {"x = " + strings.Repeat("[", 100_000), "brackets"},
	"parentheses":     {"x = " + strings.Repeat("(", 100_000) + "1" + strings.Repeat(")", 100_000), "brackets"},
	"not":             {"x = " + strings.Repeat("not ", 100_000) + "1", "words"},
	"minus":           {"x = " + strings.Repeat("-", 100_000) + "1", "words"},
	"plus":            {"x = " + strings.Repeat("1+", 100_000) + "1", "words"},
	"dots":            {"x = x" + strings.Repeat(".x", 100_000), "words"},
	"calls":           {"x = x" + strings.Repeat("()", 100_000), "words"},
	"lambda nest":     {"x = " + strings.Repeat("lambda: ", 100_000) + "1", "words"},
	"conditions":      {"x = " + strings.Repeat("1 if 1 else ", 100_000) + "1", "words"},
	"elif":            {"if 1: pass\n" + strings.Repeat("elif 1: pass\n", 100_000), "elif"},
	"f-strings":       {"x = " + strings.Repeat("f'{", 100_000), "brackets|unfinished"},
	"f-strings 2":     {"x = " + strings.Repeat("f\"{f'{", 30_000), "brackets|unfinished"},
	"indent":          {"if 1:\n" + strings.Repeat(" ", 100_000) + "pass", "indented"},
	"blocks":          {blocks(500), "indented|within each other"},
	"fors":            {"x = [1 " + strings.Repeat("for i in [1] ", 10_000) + "]", "words"},
	"type":            {"x: " + strings.Repeat("list[", 100_000) + "int = 1", "expression is not allowed in type"},
	"union":           {"x: " + strings.Repeat("int|", 10_000) + "int = ''", "does not match"},
	"one-line ifs":    {strings.Repeat("if 1: ", 100_000) + "pass", "words|expected"},
	"file":            {strings.Repeat("#", MaxSource+1), "MiB"},
}

func blocks(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i) + "if 1:\n")
	}
	return b.String()
}

func TestHostileFilesAreRefused(t *testing.T) {
	for name, h := range hostile {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			began := time.Now()
			_, err := load(h.text)
			took := time.Since(began)
			runtime.ReadMemStats(&after)
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("no error but %v", err)
			}
			said := false
			for _, cause := range strings.Split(h.cause, "|") {
				said = said || strings.Contains(e.Cause, cause)
			}
			if !said || len(e.Error()) > 2000 {
				t.Errorf("%.2000s; want %s", e, h.cause)
			}
			// Far above what any of them takes: this is about those that would never end.
			if took > 20*time.Second {
				t.Errorf("it took %v", took)
			}
			if mib := (after.TotalAlloc - before.TotalAlloc) >> 20; mib > 2048 {
				t.Errorf("it allocated %d MiB in all", mib)
			}
			t.Logf("%v, %d MiB", took.Round(time.Millisecond), (after.TotalAlloc-before.TotalAlloc)>>20)
		})
	}
}

// What administrators write stays far from the bounds.
func TestUsefulProgramsAreNotRefused(t *testing.T) {
	for name, text := range map[string]string{
		"generated":     "for a in ['x%d' % i for i in range(300)]:\n  for b in range(300):\n    prefix_rule(pattern = [a, str(b)], decision = 'prompt')",
		"helper":        "def forbid(words, why):\n  for w in words:\n    prefix_rule(pattern = w.split(' '), decision = 'forbidden', justification = f'no {w}: {why}')\nforbid(['git push', 'npm publish'], 'ask first')",
		"long list":     "prefix_rule(pattern = ['x', [" + strings.Repeat("'word',\n", 50_000) + "]])",
		"long sum":      "x = ''\nfor i in range(1000): x += 'word '\nprefix_rule(pattern = ['x', x.strip().split(' ')])",
		"deep but sane": "def f(n): return [n] if n == 0 else f(n - 1) + [n]\nprefix_rule(pattern = [str(i) for i in f(40)])",
		"table":         "T = {'git': ['push', 'fetch'], 'hg': ['push']}\nfor p, subs in T.items():\n  prefix_rule(pattern = [p, subs], decision = 'prompt', match = [p + ' ' + s for s in subs], not_match = [p + ' log'])",
	} {
		p, err := load(text)
		if err != nil || len(p.Rules()) == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The same file is the same policy or the same error, every time.
func TestDeterministic(t *testing.T) {
	const text = "x = {'b': 1, 'a': 2}\nfor k in x: prefix_rule(pattern = [k, str(hash(k))])\n"
	var first string
	for range 20 {
		p, err := load(text)
		if err != nil {
			t.Fatal(err)
		}
		if now := fmt.Sprint(p.Rules()); first == "" {
			first = now
		} else if now != first {
			t.Fatalf("%s, before %s", now, first)
		}
	}
}
