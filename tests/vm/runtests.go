// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The test binary, in the directory that host and guest share.
const testBinary = "package.test"

// RunTests compiles the tests of a package (an import path or a directory such as "./daemon/enforce", relative to the
// root of this repository), runs those that match the regular expression in the guest, as root and in the directory of
// the package, and makes every one of them a subtest of t. A guest test that is skipped has failed, unless
// cfg.AllowSkip names it; so has one that never ended, and a regular expression that matches nothing.
//
// cfg.Command, Dir and OutputDir are set here.
func RunTests(t *testing.T, cfg Config, pkg, run string) {
	t.Helper()
	cfg.OutputDir = t.TempDir()
	guest, err := runGuestTests(t.Context(), cfg, pkg, run)
	if guest != nil {
		t.Logf("kernel %s booted in %v, attempt %d", cfg.Name(), guest.result.Boot.Round(100*time.Millisecond), guest.result.Boots)
		if guest.result.Boots > 1 {
			t.Logf("the first machine locked up; its console ended with:\n%s", tail(guest.result.LockedUp, 40))
		}
		for _, test := range guest.tests {
			surface(t, cfg, test)
		}
	}
	// After the tests, whose output is the reason more often than not.
	if err != nil {
		t.Errorf("tests of %s that match %q: %v", pkg, run, err)
	}
}

// runGuestTests returns the tests that ran. The error says what went wrong outside of them.
func runGuestTests(ctx context.Context, cfg Config, pkg, run string) (*guestRun, error) {
	root, err := repository()
	if err != nil {
		return nil, err
	}
	list := exec.CommandContext(ctx, "go", "list", "-f", "{{.Dir}}", pkg)
	list.Dir = root
	dir, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("finding the package: %w", err)
	}
	cfg.Dir = strings.TrimSpace(string(dir))
	binary := filepath.Join(cfg.OutputDir, testBinary)
	if cfg.Compiled == "" {
		err = compile(ctx, root, cfg.Dir, binary)
	} else {
		err = os.Link(cfg.Compiled, binary)
	}
	if err != nil {
		return nil, err
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	cfg.Command = []string{
		filepath.Join(OutputPath, testBinary),
		"-test.v=test2json", "-test.count=1",
		// Earlier than the machine's, so that the goroutines of a test that hangs get printed.
		"-test.timeout=" + (cfg.Timeout * 4 / 5).String(),
		"-test.run=" + run,
		"-test.skip=" + cfg.Skip,
	}
	result, runErr := Run(ctx, cfg)
	events, err := test2json(ctx, result.Output)
	if err != nil {
		return nil, errors.Join(runErr, err)
	}
	guest := readEvents(events)
	guest.result = result
	switch {
	case runErr != nil:
		err = runErr
	case len(guest.tests) == 0:
		err = fmt.Errorf("there is no such test; exit status %d", result.ExitCode)
	case result.ExitCode != 0 && !guest.failed():
		err = fmt.Errorf("exit status %d, and no test failed", result.ExitCode)
	}
	if err != nil {
		err = fmt.Errorf("%w; output of no test:\n%s", err, guest.output.String())
	}
	return guest, err
}

// compile makes the program of a package's tests.
func compile(ctx context.Context, root, pkg, binary string) error {
	c := exec.CommandContext(ctx, "go", "test", "-c", "-o", binary, pkg)
	c.Dir = root
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if err := quiet(c); err != nil {
		return err
	}
	if _, err := os.Stat(binary); err != nil {
		return errors.New("the package has no tests")
	}
	return nil
}

// test2json turns what a test binary prints into events, as `go test -json` does.
func test2json(ctx context.Context, output string) ([]byte, error) {
	convert := exec.CommandContext(ctx, "go", "tool", "test2json")
	convert.Stdin = strings.NewReader(output)
	events, err := convert.Output()
	if err != nil {
		return nil, fmt.Errorf("reading the output of the tests: %w", err)
	}
	return events, nil
}

// guestTest is one test of the guest with its subtests.
type guestTest struct {
	name     string // the whole name, as -run takes it
	output   strings.Builder
	action   string // pass, fail, skip; empty when it never ended
	subtests []*guestTest
}

type guestRun struct {
	tests  []*guestTest
	output strings.Builder // of no test
	result Result
}

func (g *guestRun) failed() bool {
	for _, test := range g.tests {
		if test.action != "pass" && test.action != "skip" {
			return true
		}
	}
	return false
}

// readEvents reads what `go doc test2json` describes. Events that cannot be read end up in the output.
func readEvents(events []byte) *guestRun {
	g := &guestRun{}
	byName := map[string]*guestTest{}
	decoder := json.NewDecoder(bytes.NewReader(events))
	for {
		var e struct{ Action, Test, Output string }
		err := decoder.Decode(&e)
		if errors.Is(err, io.EOF) {
			return g
		}
		if err != nil {
			fmt.Fprintf(&g.output, "unreadable event: %v\n", err)
			return g
		}
		if e.Test == "" {
			g.output.WriteString(e.Output)
			continue
		}
		test := byName[e.Test]
		if test == nil {
			test = &guestTest{name: e.Test}
			byName[e.Test] = test
			if parent := parentOf(byName, e.Test); parent != nil {
				parent.subtests = append(parent.subtests, test)
			} else {
				g.tests = append(g.tests, test)
			}
		}
		switch e.Action {
		case "output":
			test.output.WriteString(e.Output)
		case "pass", "fail", "skip":
			test.action = e.Action
		}
	}
}

// parentOf finds the nearest test above: a name may itself contain slashes.
func parentOf(byName map[string]*guestTest, name string) *guestTest {
	for {
		i := strings.LastIndexByte(name, '/')
		if i < 0 {
			return nil
		}
		name = name[:i]
		if parent := byName[name]; parent != nil {
			return parent
		}
	}
}

// surface makes a test of the guest a subtest of t, with the same outcome.
func surface(t *testing.T, cfg Config, test *guestTest) {
	t.Run(test.name[strings.LastIndexByte(test.name, '/')+1:], func(t *testing.T) {
		for _, subtest := range test.subtests {
			surface(t, cfg, subtest)
		}
		outcome, message := judge(cfg, test)
		switch outcome {
		case "pass":
			t.Log(message)
		case "skip":
			t.Skip(message)
		default:
			t.Error(message)
		}
	})
}

// judge says what a guest test's outcome is here, and what is to be said about it.
func judge(cfg Config, test *guestTest) (outcome, message string) {
	said := strings.TrimSpace(test.output.String())
	switch test.action {
	case "pass":
		return "pass", said
	case "fail":
		return "fail", said
	case "skip":
		if reason := cfg.AllowSkip[test.name]; reason != "" {
			return "skip", reason
		}
		return "fail", said + "\nskipped on kernel " + cfg.Name() + ", where it must run"
	default:
		return "fail", said + "\ndid not finish"
	}
}
