// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestTally(t *testing.T) {
	for _, test := range []struct {
		name   string
		events string
		want   []string // lines at the end
		status int
	}{
		{
			"passes", `
{"Action":"start","Package":"p"}
{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"run","Package":"p","Test":"TestA/b"}
{"Action":"pass","Package":"p","Test":"TestA/b"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"pass","Package":"p","Elapsed":1.5}`,
			[]string{"ok    p (1 tests, 1.5s)", "1 passed, 0 failed, 0 skipped"},
			0,
		},
		{
			"a failed subtest counts once and shows its output", `
{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"run","Package":"p","Test":"TestA/b"}
{"Action":"output","Package":"p","Test":"TestA/b","Output":"    a_test.go:1: broken\n"}
{"Action":"fail","Package":"p","Test":"TestA/b"}
{"Action":"fail","Package":"p","Test":"TestA"}
{"Action":"fail","Package":"p","Elapsed":1}`,
			[]string{"    a_test.go:1: broken", "FAIL  p (1.0s)", "failed: p TestA/b", "0 passed, 1 failed, 0 skipped"},
			1,
		},
		{
			"a parent that fails by itself", `
{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"run","Package":"p","Test":"TestA/b"}
{"Action":"pass","Package":"p","Test":"TestA/b"}
{"Action":"fail","Package":"p","Test":"TestA"}
{"Action":"fail","Package":"p"}`,
			[]string{"failed: p TestA", "1 passed, 1 failed, 0 skipped"},
			1,
		},
		{
			"a skip tells its reason", `
{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:9: needs macOS\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"        and a keyboard\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"--- SKIP: TestA (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestA"}
{"Action":"pass","Package":"p"}`,
			[]string{"skipped: p TestA: needs macOS and a keyboard", "0 passed, 0 failed, 1 skipped"},
			0,
		},
		{
			"a package that does not build", `
{"ImportPath":"p [p.test]","Action":"build-output","Output":"p/a.go:1:1: undefined: x\n"}
{"ImportPath":"p [p.test]","Action":"build-fail"}
{"Action":"start","Package":"p"}
{"Action":"output","Package":"p","Output":"FAIL\tp [build failed]\n"}
{"Action":"fail","Package":"p","FailedBuild":"p [p.test]"}`,
			[]string{"p/a.go:1:1: undefined: x", "failed: p: does not build", "0 passed, 1 failed, 0 skipped"},
			1,
		},
		{
			"a package that fails in TestMain", `
{"Action":"start","Package":"p"}
{"Action":"output","Package":"p","Output":"no root\n"}
{"Action":"fail","Package":"p"}`,
			[]string{"no root", "failed: p: failed outside its tests", "0 passed, 1 failed, 0 skipped"},
			1,
		},
		{
			"a process that died under its test", `
{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"run","Package":"p","Test":"TestA/b"}
{"Action":"fail","Package":"p"}`,
			[]string{"    TestA/b did not finish", "failed: p TestA/b", "0 passed, 1 failed, 0 skipped"},
			1,
		},
		{
			"events that break off", `
{"Action":"start","Package":"p"}
{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"pass","Package":"p","Test":"TestA"}`,
			[]string{"failed: p: did not finish", "1 passed, 1 failed, 0 skipped"},
			1,
		},
		{
			"a package without tests is no skipped test", `
{"Action":"skip","Package":"p"}`,
			[]string{"0 passed, 0 failed, 0 skipped"},
			0,
		},
		{
			"text that is no event", `
go: cannot find main module`,
			[]string{"go: cannot find main module", "0 passed, 0 failed, 0 skipped"},
			0,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			tally := newTally(&out)
			if err := tally.events(strings.NewReader(strings.TrimPrefix(test.events, "\n"))); err != nil {
				t.Fatal(err)
			}
			if status := tally.finish(); status != test.status {
				t.Errorf("exit status %d, want %d", status, test.status)
			}
			got := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
			for _, want := range test.want {
				if !slices.Contains(got, want) {
					t.Errorf("no line %q in:\n%s", want, out.String())
				}
			}
			if last := got[len(got)-1]; last != test.want[len(test.want)-1] {
				t.Errorf("last line %q, want %q", last, test.want[len(test.want)-1])
			}
		})
	}
}

func TestRunCountsTheCommandItself(t *testing.T) {
	checks := filepath.Join(t.TempDir(), "checks")
	if err := os.WriteFile(checks, []byte("pass\tsetup\nfail\tvet\texit status 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		args   []string
		last   string
		status int
	}{
		{"a quiet success", []string{"--", "true"}, "0 passed, 0 failed, 0 skipped", 0},
		{"a failure no test told of", []string{"--", "false"}, "0 passed, 1 failed, 0 skipped", 1},
		{"a command that is missing", []string{"--", "/nonexistent/go"}, "0 passed, 1 failed, 0 skipped", 1},
		{"earlier steps", []string{"-checks", checks, "--", "true"}, "1 passed, 1 failed, 0 skipped", 1},
		{"earlier steps that cannot be read", []string{"-checks", checks + ".none", "--", "true"}, "0 passed, 1 failed, 0 skipped", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			if status := run(test.args, &stdout, &stderr); status != test.status {
				t.Errorf("exit status %d, want %d", status, test.status)
			}
			lines := strings.Split(strings.TrimSuffix(stdout.String(), "\n"), "\n")
			if last := lines[len(lines)-1]; last != test.last {
				t.Errorf("last line %q, want %q (stderr %q)", last, test.last, stderr.String())
			}
		})
	}
}

func TestRunRefusesNoCommand(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if status := run(nil, &stdout, &stderr); status != 2 {
		t.Errorf("exit status %d, want 2", status)
	}
}
