// SPDX-License-Identifier: Apache-2.0

// Command report runs `go test -json` and tells the outcome in one line that people and CI can both read:
// `N passed, N failed, N skipped`. It prints the output of what failed and the reason of what was skipped, and nothing
// of what passed.
//
//	report [-checks FILE] -- go test -json ./...
//
// The file given with -checks holds outcomes of steps that are not Go tests, one per line: `pass` or `fail`, the name and
// a reason, separated by tabs.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("report", flag.ContinueOnError)
	flags.SetOutput(stderr)
	checks := flags.String("checks", "", "file with the outcomes of earlier steps")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	command := flags.Args()
	if len(command) == 0 {
		fmt.Fprintln(stderr, "report: no command given: report [-checks FILE] -- go test -json ./...")
		return 2
	}

	t := newTally(stdout)
	if *checks != "" {
		if err := readChecks(*checks, t); err != nil {
			t.fail("checks", err.Error())
		}
	}
	if err := runTests(command, t, stderr); err != nil {
		t.fail(command[0], err.Error())
	}
	return t.finish()
}

func readChecks(path string, t *tally) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("reading the outcomes of earlier steps: %w", err)
	}
	defer f.Close()
	return t.checks(f)
}

// runTests runs the command and feeds the tally. A command that fails although every test it told of passed, for
// example because its own output was cut off, is an error.
func runTests(command []string, t *tally, stderr io.Writer) error {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stderr = stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("running the tests: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("running the tests: %w", err)
	}
	before := t.failed
	readErr := t.events(out)
	if readErr != nil {
		// The command would block for ever on a pipe nobody reads.
		_, _ = io.Copy(io.Discard, out)
	}
	err = cmd.Wait()
	if readErr != nil {
		return fmt.Errorf("reading the events of the tests: %w", readErr)
	}
	if exit := new(exec.ExitError); errors.As(err, &exit) && t.failed > before {
		return nil // what failed has been told already
	}
	if err != nil {
		return fmt.Errorf("the tests ended with %w, but no test told of a failure", err)
	}
	return nil
}
