// SPDX-License-Identifier: Apache-2.0

package dialog

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/companion/notify"
)

// program makes a program that notes its arguments, one a line, and then does this.
func program(t *testing.T, script string) (path, args string) {
	t.Helper()
	dir := t.TempDir()
	path, args = filepath.Join(dir, "program"), filepath.Join(dir, "args")
	// Whoever reads the arguments finds all of them or no file.
	text := "#!/bin/sh\nprintf '%s\\0' \"$@\" >'" + args + ".part'\nmv '" + args + ".part' '" + args + "'\n" + script + "\n"
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path, args
}

func question(key string) notify.Notification {
	return notify.Notification{
		Key: key, Summary: "codex wants to run", Body: "echo \"; do shell script \\\"rm -rf ~\\\"\" $(x) [a](b)\n\nProject: /src",
		Actions: []notify.Action{{Key: "deny", Label: "Deny"}, {Key: "once", Label: "Allow once"}, {Key: "session", Label: "Allow in this session"}, {Key: notify.Default, Label: "Details"}},
	}
}

func TestAppleScript(t *testing.T) {
	for name, test := range map[string]struct {
		does, want string
		wrong      bool
	}{
		"deny":             {does: "echo 'button:Deny'", want: "deny"},
		"once":             {does: "echo 'button:Allow once'", want: "once"},
		"session":          {does: "echo 'button:Allow in this session'", want: "session"},
		"nobody there":     {does: "echo 'gave up'"},
		"no such button":   {does: "echo 'button:Details'", wrong: true},
		"nothing":          {does: "", wrong: true},
		"no screen":        {does: "echo 'execution error: No user interaction allowed. (-1713)' >&2; exit 1", wrong: true},
		"yes, and failing": {does: "echo 'button:Allow once'; exit 1", wrong: true},
	} {
		t.Run(name, func(t *testing.T) {
			path, args := program(t, test.does)
			got, err := AppleScript{path}.Ask(t.Context(), question("a"))
			if got != test.want || (err != nil) != test.wrong {
				t.Errorf("%q, %v", got, err)
			}
			data, err := os.ReadFile(args)
			if err != nil {
				t.Fatal(err)
			}
			n := question("a")
			want := strings.Join([]string{"-e", script, n.Summary, n.Body, "900", "Allow in this session", "Allow once", "Deny", ""}, "\x00")
			if string(data) != want {
				t.Errorf("arguments %q, want %q", data, want)
			}
		})
	}
}

func TestSwiftDialog(t *testing.T) {
	for name, test := range map[string]struct {
		does, want string
		wrong      bool
	}{
		"return key":    {does: "exit 0", want: "deny"},
		"button 2":      {does: "exit 2", want: "once"},
		"info button":   {does: "exit 3", want: "session"},
		"quit":          {does: "exit 5"},
		"command and Q": {does: "exit 10"},
		"nobody there":  {does: "exit 20"},
		"it went wrong": {does: "exit 201", wrong: true},
		"what is this":  {does: "exit 4", wrong: true},
		"it was ended":  {does: "kill -9 $$", wrong: true},
	} {
		t.Run(name, func(t *testing.T) {
			path, args := program(t, test.does)
			got, err := SwiftDialog{path}.Ask(t.Context(), question("a"))
			if got != test.want || (err != nil) != test.wrong {
				t.Errorf("%q, %v", got, err)
			}
			data, err := os.ReadFile(args)
			if err != nil {
				t.Fatal(err)
			}
			if got := string(data); !strings.Contains(got, "\x00--button1text\x00Deny\x00--button2text\x00Allow once\x00") || !strings.Contains(got, `\[a\]\(b\)`) {
				t.Errorf("arguments %q", got)
			}
		})
	}
	// A button that is not there cannot have been pressed.
	path, _ := program(t, "exit 2")
	n := question("a")
	n.Actions = n.Actions[:1]
	if got, err := (SwiftDialog{path}).Ask(t.Context(), n); got != "" || err == nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestOneDialogAtATime(t *testing.T) {
	dir := t.TempDir()
	begun, never := filepath.Join(dir, "begun"), filepath.Join(dir, "never")
	for _, fifo := range []string{begun, never} {
		if err := syscall.Mkfifo(fifo, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path, _ := program(t, "case $4 in a*) echo >'"+begun+"'; read x <'"+never+"';; esac; echo 'button:Deny'")
	s := New(t.Context(), AppleScript{path}, slog.New(slog.DiscardHandler))
	defer s.Shutdown()
	want := func(kind notify.Kind, key string) notify.Event {
		t.Helper()
		select {
		case e := <-s.Events():
			if e.Kind != kind || e.Key != key {
				t.Fatalf("%+v, want %s of %s", e, kind, key)
			}
			return e
		case <-time.After(60 * time.Second):
			t.Fatal("no event")
		}
		return notify.Event{}
	}
	a, b, c := question("a"), question("b"), question("c")
	a.Body, b.Body = "a", "b"
	s.Show(a)
	want(notify.Shown, "a")
	s.Show(b)
	s.Show(c)
	s.Close("b") // answered elsewhere, before it was its turn
	if _, err := os.ReadFile(begun); err != nil {
		t.Fatal(err)
	}
	s.Close("a") // and this one while it is on the screen
	want(notify.Shown, "c")
	if e := want(notify.Invoked, "c"); e.Action != "deny" {
		t.Errorf("%+v", e)
	}
}

func TestDialogThatCannotBeShown(t *testing.T) {
	s := New(t.Context(), AppleScript{"/nowhere/osascript"}, slog.New(slog.DiscardHandler))
	defer s.Shutdown()
	s.Show(question("a"))
	if e := <-s.Events(); e.Kind != notify.Shown {
		t.Errorf("%+v", e)
	}
	if e := <-s.Events(); e.Kind != notify.Unshown || e.Err == nil {
		t.Errorf("%+v", e)
	}
}
