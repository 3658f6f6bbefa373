// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// TestInGuest is run by TestRunTests, in the guest.
func TestInGuest(t *testing.T) {
	if os.Getenv(EnvKernel) == "" {
		// Not a skip: in the guest, where it would matter, TestRunTests sees whether the subtests were there.
		return
	}
	t.Run("passes", func(t *testing.T) {
		t.Log("said in the guest")
	})
	t.Run("finds_the_files_of_its_package", func(t *testing.T) {
		if _, err := os.Stat("runtests_test.go"); err != nil {
			t.Error(err)
		}
	})
	t.Run("skips", func(t *testing.T) {
		t.Skip("because it can")
	})
}

func TestRunTests(t *testing.T) {
	t.Parallel()
	cfg := Kernels(t)[0]
	cfg.OutputDir = t.TempDir()
	cfg.AllowSkip = map[string]string{"TestInGuest/skips": "shows that a skip which is allowed is one here as well"}
	guest, err := runGuestTests(t.Context(), cfg, "./tests/vm", "^TestInGuest$")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"TestInGuest pass",
		"TestInGuest/passes pass",
		"TestInGuest/finds_the_files_of_its_package pass",
		"TestInGuest/skips skip",
	}
	if got := outcomes(cfg, guest.tests); !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
	if len(guest.tests) != 1 || !strings.Contains(guest.tests[0].subtests[0].output.String(), "said in the guest") {
		t.Errorf("the output of a guest test is lost: %+v", guest.tests)
	}
}

// outcomes lists the tests and what judge makes of them, parents first.
func outcomes(cfg Config, tests []*guestTest) []string {
	var list []string
	for _, test := range tests {
		outcome, _ := judge(cfg, test)
		list = append(list, test.name+" "+outcome)
		list = append(list, outcomes(cfg, test.subtests)...)
	}
	return list
}

const mark = "\x16" // what -test.v=test2json puts before a line that is not the test's own

func TestJudge(t *testing.T) {
	output := strings.Join([]string{
		mark + "=== RUN   TestA",
		mark + "=== RUN   TestA/good",
		mark + "=== RUN   TestA/bad",
		"    a_test.go:1: broken",
		mark + "=== RUN   TestA/lazy",
		"    a_test.go:2: no LSM here",
		mark + "=== RUN   TestA/excused",
		mark + "--- FAIL: TestA (0.10s)",
		"    " + mark + "--- PASS: TestA/good (0.00s)",
		"    " + mark + "--- FAIL: TestA/bad (0.00s)",
		"    " + mark + "--- SKIP: TestA/lazy (0.00s)",
		"    " + mark + "--- SKIP: TestA/excused (0.00s)",
		mark + "=== RUN   TestDies",
		"panic: dead",
		"",
	}, "\n")
	events, err := test2json(t.Context(), output)
	if err != nil {
		t.Fatal(err)
	}
	guest := readEvents(events)
	if !guest.failed() {
		t.Error("a run with a failed test has not failed")
	}
	cfg := Config{Kernel: "6.1", AllowSkip: map[string]string{"TestA/excused": "not on 6.1"}}
	want := []string{"TestA fail", "TestA/good pass", "TestA/bad fail", "TestA/lazy fail", "TestA/excused skip", "TestDies fail"}
	if got := outcomes(cfg, guest.tests); !slices.Equal(got, want) {
		t.Fatalf("%q\nwant %q", got, want)
	}
	subtests := guest.tests[0].subtests
	for _, said := range []struct {
		test *guestTest
		want string
	}{
		{subtests[1], "broken"},
		{subtests[2], "no LSM here\n"},
		{subtests[2], "skipped on kernel 6.1-nolsm, where it must run"},
		{subtests[3], "not on 6.1"},
		{guest.tests[1], "panic: dead"},
		{guest.tests[1], "did not finish"},
	} {
		if _, message := judge(cfg, said.test); !strings.Contains(message, said.want) {
			t.Errorf("%s: message %q, want %q in it", said.test.name, message, said.want)
		}
	}
}

func TestTail(t *testing.T) {
	if got := tail("a\nb\nc\n", 2); got != "b\nc" {
		t.Errorf("%q", got)
	}
}
