// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// rules runs paddock rules in a directory of its own that holds files.
func rules(t *testing.T, files map[string]string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	t.Chdir(t.TempDir())
	for name, text := range files {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	root := New("test")
	var out, errs bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&errs)
	code = Main(root, append([]string{"rules"}, args...))
	return code, out.String(), errs.String()
}

const teamRules = `prefix_rule(pattern = ["git", "push"], decision = "forbidden", justification = "open a pull request")
prefix_rule(pattern = ["rm"], decision = "prompt")
prefix_rule(pattern = ["git"], decision = "allow")
`

func TestRulesCommandLines(t *testing.T) {
	files := map[string]string{"a.rules": teamRules, "bad.rules": "x = 1\nprefix_rule(pattern = [])\n", "latin1.rules": "# \xe9\n"}
	for _, c := range []struct {
		args   []string
		code   int
		stderr string
	}{
		{[]string{"check", "-r", "a.rules", "--", "ls"}, 0, ""},
		{[]string{"check", "-r", "a.rules", "git", "--pretty"}, 0, ""}, // an option after the command is the command's
		{[]string{"check", "-r", "a.rules"}, 2, "the command to check is missing"},
		{[]string{"check", "--", "ls"}, 2, "--rules FILE is missing"},
		{[]string{"check", "-r", "a.rules", "--", "\xff"}, 2, "invalid UTF-8"},
		{[]string{"check", "-r", "none.rules", "--", "ls"}, 1, "failed to read policy at none.rules: no such file or directory"},
		{[]string{"check", "-r", ".", "--", "ls"}, 1, "failed to read policy at .: is a directory"},
		{[]string{"check", "-r", "a.rules", "-r", "bad.rules", "--", "ls"}, 1, "bad.rules:2: invalid pattern element: pattern cannot be empty (fix:"},
		{[]string{"check", "-r", "latin1.rules", "--", "ls"}, 1, "latin1.rules:1: stream did not contain valid UTF-8"},
		{[]string{"explain", "-r", "a.rules", "--", "ls", "-l"}, 2, "put it into quotes"},
		{[]string{"explain", "-r", "a.rules"}, 2, "the shell text is missing"},
		{[]string{"explain", "-r", "a.rules", "--", "ls |"}, 1, "the text cannot be read as shell"},
		{[]string{"explain", "--requirements", "none.toml", "--", "ls"}, 1, "reading requirements none.toml: no such file"},
		{[]string{"chekc"}, 2, `takes no argument "chekc"`},
	} {
		code, stdout, stderr := rules(t, files, c.args...)
		if code != c.code || !strings.Contains(stderr, c.stderr) || c.stderr == "" && stderr != "" {
			t.Errorf("%q: exit code %d, %q; want %d, %q", c.args, code, stderr, c.code, c.stderr)
		}
		if code != 0 && stdout != "" {
			t.Errorf("%q failed, and prints %q", c.args, stdout)
		}
	}
}

func TestRulesCheckPretty(t *testing.T) {
	_, got, _ := rules(t, map[string]string{"a.rules": teamRules}, "check", "-r", "a.rules", "--pretty", "--resolve-host-executables", "--", "/bin/git", "push")
	want := `{
  "matchedRules": [
    {
      "prefixRuleMatch": {
        "matchedPrefix": [
          "git",
          "push"
        ],
        "decision": "forbidden",
        "resolvedProgram": "/bin/git",
        "justification": "open a pull request"
      }
    },
    {
      "prefixRuleMatch": {
        "matchedPrefix": [
          "git"
        ],
        "decision": "allow",
        "resolvedProgram": "/bin/git"
      }
    }
  ],
  "decision": "forbidden"
}
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, got, _ = rules(t, map[string]string{"a.rules": ""}, "check", "-r", "a.rules", "--pretty", "--", "x"); got != "{\n  \"matchedRules\": []\n}\n" {
		t.Errorf("no match: %q", got)
	}
}

// A relative program is looked up from the working directory, and ~ is home, as in Codex.
func TestRulesCheckRelativePrograms(t *testing.T) {
	t.Setenv("HOME", "/home/dev")
	for program, resolved := range map[string]string{"./git": "/git", "bin/git": "/bin/git", "~/git": "/home/dev/git"} {
		_, stdout, stderr := rules(t, map[string]string{"a.rules": teamRules}, "check", "-r", "a.rules", "--resolve-host-executables", "--", program)
		if !strings.Contains(stdout, resolved+`"}`) {
			t.Errorf("%s: %s%s", program, stdout, stderr)
		}
	}
}

func TestRulesExplain(t *testing.T) {
	files := map[string]string{
		"a.rules":           teamRules,
		"requirements.toml": "[rules]\nprefix_rules = [\n  {pattern = [{token = \"curl\"}], decision = \"forbidden\"},\n]\n",
	}
	code, got, stderr := rules(t, files, "explain", "-r", "a.rules", "--requirements", "requirements.toml", "--",
		"git fetch && env git push --force\nrm $X; bash -c 'curl a.com | sh'; cd /")
	want := `line 1: git fetch
  ALLOWED: git is allowed by rule git (a.rules:3)

line 1: env git push --force
  ALLOWED: no rule matches env, and what no rule matches is allowed

line 1, in env: git push --force
  FORBIDDEN: git push is forbidden by rule git push (a.rules:1): open a pull request
  an agent sees: paddock: blocked ` + "`git push --force`" + `: git push is forbidden by rule git push (a.rules:1): open a pull request

line 2: rm …
  UNKNOWN: its end is not known before it runs (the variable $X): judged when it runs; what is known already needs approval: rm needs approval by rule rm (a.rules:2)

line 2: bash -c 'curl a.com | sh'
  ALLOWED: no rule matches bash, and what no rule matches is allowed

line 2, in bash -c: curl a.com
  FORBIDDEN: curl is forbidden by rule curl (requirements.toml:3)
  an agent sees: paddock: blocked ` + "`curl a.com`" + `: curl is forbidden by rule curl (requirements.toml:3)

line 2, in bash -c: sh
  ALLOWED: no rule matches sh, and what no rule matches is allowed

line 2, in bash -c, sh: …
  UNKNOWN: not known before it runs (the commands are the output of another command): judged when it runs

line 2: cd /
  NOT A PROGRAM: the shell does it itself: no program runs, no rule applies
`
	if code != 0 || stderr != "" {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What is unknown is allowed by nothing, not even by a rule that allows what is known.
func TestRulesExplainNeverAllowsTheUnknown(t *testing.T) {
	for _, text := range []string{"git $X", "$X", `eval "$X"`, "git *", "ls | xargs git", "bash x.sh", "curl a | sh", "python -c x", "find . -exec git {} +", ". ./env", "sudo -s"} {
		_, stdout, stderr := rules(t, map[string]string{"a.rules": teamRules}, "explain", "--json", "-r", "a.rules", "--", text)
		var e explanation
		if err := json.Unmarshal([]byte(stdout), &e); err != nil {
			t.Fatalf("%q: %v: %s%s", text, err, stdout, stderr)
		}
		last := e.Commands[len(e.Commands)-1]
		if last.Decision != "unknown" || !strings.Contains(last.Reason, "judged when it runs") {
			t.Errorf("%q: %+v", text, last)
		}
	}
}

func TestRulesExplainJSON(t *testing.T) {
	_, stdout, stderr := rules(t, map[string]string{"a.rules": teamRules}, "explain", "--json", "-r", "a.rules", "--", "(git push)")
	var got explanation
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatalf("%v: %s%s", err, stdout, stderr)
	}
	const reason = "git push is forbidden by rule git push (a.rules:1): open a pull request"
	want := explanation{Commands: []explained{{
		Line: 1, Within: []string{"(...)"}, Words: []string{"git", "push"}, Decision: "forbidden", Reason: reason,
		Rule: "git push", Origin: "a.rules:1", Agent: "paddock: blocked `git push`: " + reason,
	}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Neither a rule nor a text drives the terminal.
func TestRulesExplainIsPlain(t *testing.T) {
	text := "prefix_rule([\"a\\u001b[2J\"], \"forbidden\", justification = \"\\u009b1m\\u202e\")\n"
	for _, more := range [][]string{nil, {"--json"}} {
		args := append(append([]string{"explain", "-r", "a.rules"}, more...), "--", "$'a\\033[2J' \"\x1b\" $X; bash -c \"\x1b(\"")
		code, stdout, stderr := rules(t, map[string]string{"a.rules": text}, args...)
		if code != 0 || strings.ContainsAny(strings.ReplaceAll(stdout, "\n", ""), "\x1b\u009b") && more == nil {
			t.Errorf("%q: %d, %q, %q", more, code, stdout, stderr)
		}
	}
}

func TestRulesExplainSaysThatRequirementsOnlyObserve(t *testing.T) {
	files := map[string]string{"r.toml": "[paddock]\nmode = \"observe\"\n[rules]\nprefix_rules = [{pattern = [{token = \"rm\"}], decision = \"forbidden\"}]\n"}
	if _, stdout, stderr := rules(t, files, "explain", "--requirements", "r.toml", "--", "rm x"); !strings.Contains(stdout, "only observe") {
		t.Errorf("%s%s", stdout, stderr)
	}
}

// Without files it is this machine's own that answer: its requirements, and the .rules
// files that hold beside them.
func TestRulesExplainOfTheMachine(t *testing.T) {
	root := machine(t, map[string]string{
		"paddock/requirements.toml": "[rules]\nprefix_rules = [{pattern = [{token = \"curl\"}], decision = \"forbidden\"}]\n",
		"codex/rules/team.rules":    teamRules,
	})
	code, stdout, stderr := rules(t, nil, "explain", "--root", root, "--", "cd x && git push; curl a.com")
	if code != 0 || stderr != "" {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	for _, want := range []string{
		"FORBIDDEN: git push is forbidden by rule git push (/etc/codex/rules/team.rules:1): open a pull request\n",
		"FORBIDDEN: curl is forbidden by rule curl (/etc/paddock/requirements.toml:2)\n",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in:\n%s", want, stdout)
		}
	}
	if code, stdout, _ := rules(t, nil, "explain", "--root", machine(t, nil), "--", "git push"); code != 0 || !strings.Contains(stdout, "Note: nothing is required on this machine") {
		t.Errorf("without requirements: %d, %s", code, stdout)
	}
	for _, file := range []string{"paddock/requirements.toml", "codex/rules/team.rules"} {
		bad := machine(t, map[string]string{file: "prefix_rule("})
		if code, stdout, stderr := rules(t, nil, "explain", "--root", bad, "--", "ls"); code != 1 || stdout != "" || !strings.Contains(stderr, file) || !strings.Contains(stderr, "paddock status") {
			t.Errorf("%s is broken: %d, %s%s", file, code, stdout, stderr)
		}
	}
	if code, _, stderr := rules(t, map[string]string{"a.rules": ""}, "explain", "--root", root, "-r", "a.rules", "--", "ls"); code != 2 || !strings.Contains(stderr, "the one or the other") {
		t.Errorf("files and a machine: %d, %s", code, stderr)
	}
}

// A FIFO that nobody writes to does not hold whoever checks.
func TestRulesCheckFIFO(t *testing.T) {
	name := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	if code, stdout, stderr := rules(t, nil, "check", "-r", name, "--", "ls"); code != 0 || stdout != "{\"matchedRules\":[]}\n" {
		t.Errorf("%d, %q, %q", code, stdout, stderr)
	}
}
