// SPDX-License-Identifier: Apache-2.0

package api

import (
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// A hook is a process of its session: it may tell, and nothing else.
func TestGovernedHookMayTell(t *testing.T) {
	f := newFake()
	path, _ := serve(t, f, nil)
	f.govern(os.Getpid(), true)
	c := NewClient(path)
	e := HookEvent{Agent: "codex", Event: "UserPromptSubmit", Prompt: "go"}
	if err := c.RecordHook(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]HookEvent{e}, f.hooks); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	_, err := c.Governed(t.Context(), os.Getpid())
	wantError(t, err, 403)
	wantError(t, c.RecordHook(t.Context(), HookEvent{}), 400)
}

// Whatever a client sends, no value is longer than the limit, and it is said.
func TestHookValuesAreCut(t *testing.T) {
	f := newFake()
	path, _ := serve(t, f, nil)
	long := strings.Repeat("é", MaxHookValue)
	if err := try(t, NewClient(path), "POST", "/v1/hooks", HookEvent{Event: "Stop", Message: "x" + long, Result: long, Prompt: "short"}); err != nil {
		t.Fatal(err)
	}
	got := f.hooks[0]
	if len(got.Message) > MaxHookValue || len(got.Result) > MaxHookValue || !utf8.ValidString(got.Message+got.Result) || got.Prompt != "short" {
		t.Errorf("%d and %d bytes are kept", len(got.Message), len(got.Result))
	}
	if diff := cmp.Diff([]string{"result", "message"}, got.Cut); diff != "" {
		t.Errorf("cut (-want +got):\n%s", diff)
	}
}

func TestWhoIsGoverned(t *testing.T) {
	f := newFake()
	path, _ := serve(t, f, nil)
	c := NewClient(path)
	f.govern(1234, true)
	for pid, want := range map[int]bool{1234: true, 1235: false} {
		if got, err := c.Governed(t.Context(), pid); got != want || err != nil {
			t.Errorf("%d: %v, %v", pid, got, err)
		}
	}
	_, err := c.Governed(t.Context(), 0)
	wantError(t, err, 400)
}
