// SPDX-License-Identifier: Apache-2.0

//go:build amd64

package bench

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
	"github.com/seed-649e9bbc/paddock/daemon/policy/rulesfile"
	"github.com/seed-649e9bbc/paddock/tests/codex"
)

// checkedEnv names the program to compare with Codex, in the test that runs isolated.
const checkedEnv = "PADDOCK_BENCH_CHECKED"

// paddock rules check, as a whole process, is faster than codex execpolicy check, and
// says the same: one after the other, on the vectors of tests/conformance.
func TestRulesCheck(t *testing.T) {
	if os.Getenv(checkedEnv) == "" {
		t.Setenv(checkedEnv, build(t))
	}
	// Codex runs where there is no network but loopback.
	codex.Isolated(t, func(t *testing.T) {
		install, err := codex.Find()
		must(t, err)
		every, rounds := 12, 1
		if thorough() {
			every, rounds = 1, 5
		}
		programs := []struct {
			name string
			line []string
		}{{"codex execpolicy check", []string{install.Native, "execpolicy", "check"}}, {"paddock rules check", []string{os.Getenv(checkedEnv), "rules", "check"}}}
		took := [2][]int64{}
		compared := 0
		for i, v := range vectors(t) {
			if i%every != 0 {
				continue
			}
			args := v.arguments(t)
			for round := range rounds + 1 {
				var said [2]string
				for p, program := range programs {
					out, code, spent := whole(t, append(program.line, args...))
					said[p] = fmt.Sprintf("%d %s", code, out)
					if round > 0 { // the first warms up
						took[p] = append(took[p], spent.Nanoseconds())
					}
				}
				if said[0] != said[1] && !v.refused() {
					t.Errorf("%s: Codex says %s, Paddock %s", v.Name, said[0], said[1])
				}
			}
			compared++
		}
		t.Logf("%d vectors, %d rounds\n%-24s %10s %10s", compared, rounds, "", "p50", "p99")
		for p, program := range programs {
			t.Logf("%-24s %10v %10v", program.name, time.Duration(quantile(took[p], 0.5)).Round(10*time.Microsecond), time.Duration(quantile(took[p], 0.99)).Round(10*time.Microsecond))
		}
		theirs, ours := quantile(took[0], 0.5), quantile(took[1], 0.5)
		t.Logf("ratio %.2f", float64(ours)/float64(theirs))
		if compared < 30 || ours >= theirs {
			t.Errorf("%d compared; ours takes %v, Codex's %v", compared, time.Duration(ours), time.Duration(theirs))
		}
	})
}

// checkVector is one of tests/conformance, whose test compares errors too.
type checkVector struct {
	Name    string   `json:"name"`
	Rules   []string `json:"rules"`
	Argv    []string `json:"argv"`
	Resolve bool     `json:"resolveHostExecutables"`
}

// refused says that it is one which Paddock refuses on purpose: see tests/conformance.
func (v *checkVector) refused() bool { return v.Name == "409_T_int_x_T_1" }

func vectors(t *testing.T) []checkVector {
	t.Helper()
	var all []checkVector
	for _, name := range []string{"execpolicy.json", "execpolicy_more.json", "execpolicy_unseen.json"} {
		data, err := os.ReadFile(filepath.Join("..", "conformance", name))
		must(t, err)
		var some []checkVector
		must(t, json.Unmarshal(data, &some))
		all = append(all, some...)
	}
	return all
}

func (v *checkVector) arguments(t *testing.T) []string {
	t.Helper()
	dir := t.TempDir()
	var args []string
	for i, text := range v.Rules {
		file := filepath.Join(dir, fmt.Sprintf("%d.rules", i))
		must(t, os.WriteFile(file, []byte(text), 0o600))
		args = append(args, "--rules", file)
	}
	if v.Resolve {
		args = append(args, "--resolve-host-executables")
	}
	return append(append(args, "--"), v.Argv...)
}

// whole runs a program from its start to its end.
func whole(t *testing.T, line []string) (string, int, time.Duration) {
	t.Helper()
	cmd := exec.Command(line[0], line[1:]...)
	var out bytes.Buffer
	cmd.Stdout = &out
	began := time.Now()
	err := cmd.Run()
	spent := time.Since(began)
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		t.Fatal(err)
	}
	return out.String(), cmd.ProcessState.ExitCode(), spent
}

// Rules are ready in time, and however many there are, a decision takes as long.
func TestRulesSpeed(t *testing.T) {
	var decisions []time.Duration
	for _, tt := range []struct {
		rules int
		limit time.Duration
	}{{10, time.Second}, {10_000, time.Second}, {100_000, 10 * time.Second}} {
		var toml, star strings.Builder
		toml.WriteString("[rules]\nprefix_rules = [\n")
		for i := range tt.rules {
			fmt.Fprintf(&toml, "{pattern=[{token=\"p%d\"},{any_of=[\"a\",\"b\"]}],decision=\"forbidden\"},\n", i)
			fmt.Fprintf(&star, "prefix_rule(pattern=[\"p%d\", [\"a\", \"b\"]], decision=\"forbidden\")\n", i)
		}
		toml.WriteString("]\n")

		began := time.Now()
		req, err := policy.Parse("f", []byte(toml.String()))
		must(t, err)
		rules := policy.Compile(req.Rules, req.Unmatched)
		requirements := time.Since(began)

		began = time.Now()
		files, err := rulesfile.Load(rulesfile.Env{}, rulesfile.Source{Name: "f", Data: []byte(star.String())})
		must(t, err)
		policy.Compile(files.Rules(), policy.Allow)
		file := time.Since(began)

		decision := decide(t, rules, tt.rules)
		decisions = append(decisions, decision)
		t.Logf("%7d rules: requirements.toml ready after %v, a .rules file after %v; a decision takes %v", tt.rules,
			requirements.Round(time.Millisecond), file.Round(time.Millisecond), decision)
		if thorough() && (requirements > tt.limit || file > tt.limit) { // else it says more of what the machine does besides
			t.Errorf("%d rules take longer than %v", tt.rules, tt.limit)
		}
		if thorough() && decision > 5*time.Microsecond {
			t.Errorf("of %d rules, a decision takes %v at the median", tt.rules, decision)
		}
	}
	// A look-up in a table that no cache holds takes longer than one in ten lines.
	if few, many := decisions[0], decisions[len(decisions)-1]; many > 4*few+time.Microsecond {
		t.Errorf("a decision takes %v with 10 rules, and %v with 100,000", few, many)
	}
}

// decide returns the median of what deciding takes, about programs all over the rules.
func decide(t *testing.T, rules *policy.Rules, n int) time.Duration {
	t.Helper()
	var took []int64
	for i := range 20_000 {
		program := fmt.Sprintf("p%d", (i*7919)%n)
		c := policy.Command{Names: []string{program, "/usr/bin/" + program}, Args: []string{[]string{"a", "c"}[i%2], "x"}}
		began := time.Now()
		v := rules.Decide(c)
		took = append(took, time.Since(began).Nanoseconds())
		if v.Matched != (i%2 == 0) {
			t.Fatalf("%v: %+v", c, v)
		}
	}
	return time.Duration(quantile(took, 0.5))
}
