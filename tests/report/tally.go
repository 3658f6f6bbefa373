// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// event is one line of `go test -json`, as `go doc test2json` and `go help buildjson` describe it.
type event struct {
	Action      string
	Package     string
	ImportPath  string // of build-output and build-fail
	Test        string
	Elapsed     float64 // seconds
	Output      string
	FailedBuild string
}

// result is what is known of one test while it runs.
type result struct {
	output   strings.Builder
	children bool // a parent counts only when it fails by itself
	failed   bool // it or one of its subtests
}

// suite is what is known of one package while it runs.
type suite struct {
	tests  map[string]*result
	order  []string // names in the order in which they started
	output strings.Builder
	passed int
	failed int
}

type tally struct {
	out                     io.Writer
	passed, failed, skipped int
	skips                   []string
	fails                   []string
	suites                  map[string]*suite
}

func newTally(out io.Writer) *tally {
	return &tally{out: out, suites: map[string]*suite{}}
}

func (t *tally) fail(name, reason string) {
	t.failed++
	t.fails = append(t.fails, strings.TrimSuffix(name+": "+reason, ": "))
}

func (t *tally) skip(name, reason string) {
	t.skipped++
	t.skips = append(t.skips, name+": "+reason)
}

// checks counts outcomes of steps that are not Go tests.
func (t *tally) checks(r io.Reader) error {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		outcome, rest, _ := strings.Cut(lines.Text(), "\t")
		name, reason, _ := strings.Cut(rest, "\t")
		switch outcome {
		case "pass":
			t.passed++
		case "fail":
			t.fail(name, reason)
		default:
			return fmt.Errorf("outcome of a step %q: want pass or fail, a tab, a name", lines.Text())
		}
	}
	return lines.Err()
}

// events counts the tests of one `go test -json`. A line that is no event is passed on: go prints some of its own
// errors as plain text.
func (t *tally) events(r io.Reader) error {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil || e.Action == "" {
				fmt.Fprintf(t.out, "%s\n", strings.TrimSuffix(string(line), "\n"))
			} else {
				t.event(e)
			}
		}
		if err == io.EOF {
			t.unfinished()
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (t *tally) event(e event) {
	if e.Action == "build-output" {
		fmt.Fprint(t.out, e.Output)
		return
	}
	if e.Package == "" {
		return // build-fail: the package that needed the build fails as well, and is counted there
	}
	s := t.suites[e.Package]
	if s == nil {
		s = &suite{tests: map[string]*result{}}
		t.suites[e.Package] = s
	}
	if e.Test == "" {
		t.packageEvent(s, e)
		return
	}
	r := s.tests[e.Test]
	if r == nil {
		r = &result{}
		s.tests[e.Test] = r
		s.order = append(s.order, e.Test)
		if parent := s.parent(e.Test); parent != nil {
			parent.children = true
		}
	}
	switch e.Action {
	case "output":
		r.output.WriteString(e.Output)
	case "pass":
		if !r.children {
			t.passed++
			s.passed++
		}
		delete(s.tests, e.Test)
	case "skip":
		t.skip(e.Package+" "+e.Test, skipReason(r.output.String()))
		delete(s.tests, e.Test)
	case "fail":
		t.failTest(s, e.Package, e.Test, r)
		delete(s.tests, e.Test)
	}
}

// failTest prints what a failed test said. A parent whose subtest failed has failed by that alone, and the failure is
// counted once.
func (t *tally) failTest(s *suite, pkg, test string, r *result) {
	fmt.Fprint(t.out, r.output.String())
	if parent := s.parent(test); parent != nil {
		parent.failed = true
	}
	if !r.failed {
		t.fail(pkg+" "+test, "")
	}
	s.failed++
}

func (s *suite) parent(test string) *result {
	i := strings.LastIndexByte(test, '/')
	if i < 0 {
		return nil
	}
	if parent := s.tests[test[:i]]; parent != nil {
		return parent
	}
	// A name may itself contain a slash: the parent is then further up.
	return s.parent(test[:i])
}

func (t *tally) packageEvent(s *suite, e event) {
	switch e.Action {
	case "output":
		s.output.WriteString(e.Output)
		return
	case "pass":
		fmt.Fprintf(t.out, "ok    %s (%d tests, %.1fs)\n", e.Package, s.passed, e.Elapsed)
	case "fail":
		t.endUnfinished(s, e.Package)
		if s.failed == 0 {
			reason := "failed outside its tests"
			if e.FailedBuild != "" {
				reason = "does not build"
			}
			fmt.Fprint(t.out, s.output.String())
			t.fail(e.Package, reason)
		}
		fmt.Fprintf(t.out, "FAIL  %s (%.1fs)\n", e.Package, e.Elapsed)
	case "skip": // no test files
	default:
		return
	}
	delete(t.suites, e.Package)
}

// endUnfinished fails the tests that never told how they ended: the process died under them.
func (t *tally) endUnfinished(s *suite, pkg string) {
	// Subtests first: they start after their parents.
	for _, test := range slices.Backward(s.order) {
		r := s.tests[test]
		if r == nil {
			continue
		}
		r.output.WriteString("    " + test + " did not finish\n")
		t.failTest(s, pkg, test, r)
		delete(s.tests, test)
	}
}

// unfinished fails the packages that never told how they ended.
func (t *tally) unfinished() {
	for pkg, s := range t.suites {
		t.endUnfinished(s, pkg)
		if s.failed == 0 {
			t.fail(pkg, "did not finish")
		}
		delete(t.suites, pkg)
	}
}

// A message of testing.T.Skip: four spaces per level, file, line, text.
var skipMessage = regexp.MustCompile(`(?m)^ +[^ :]+\.go:\d+: ((?s:.*?))(?:^ *--- SKIP|\z)`)

// skipReason is the last thing a test said before it was skipped, on one line.
func skipReason(output string) string {
	all := skipMessage.FindAllStringSubmatch(output, -1)
	if len(all) == 0 {
		return "no reason given"
	}
	return strings.Join(strings.Fields(all[len(all)-1][1]), " ")
}

// finish prints what failed and what was skipped, then the one line, and returns the exit status.
func (t *tally) finish() int {
	for _, name := range t.fails {
		fmt.Fprintf(t.out, "failed: %s\n", name)
	}
	for _, name := range t.skips {
		fmt.Fprintf(t.out, "skipped: %s\n", name)
	}
	fmt.Fprintf(t.out, "%d passed, %d failed, %d skipped\n", t.passed, t.failed, t.skipped)
	if t.failed > 0 {
		return 1
	}
	return 0
}
