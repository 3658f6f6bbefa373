// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry/join"
)

// hostile is what an agent, or whoever instructs it, may write anywhere.
const hostile = `</code></pre><script>alert(1)</script><img src=x onerror=alert(2)>"'&` + "\u202e\x1b[31m"

func account(text string) *join.Account {
	at := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	failed := false
	deny := join.Decision{At: at, By: join.ByPaddock, What: "forbidden", Who: text, Reason: text, Rule: text, Source: text, Held: true, About: text, Event: text}
	p := &join.Process{PID: 7, At: at, Args: []string{text, text}, Path: text, Cwd: text, User: text, Decision: &deny, Exit: &join.Exit{At: at, Code: 1}, Event: text}
	c := join.Connection{At: at, PID: 7, Program: text, Host: text, Address: text, Port: 443, Transport: text, Decision: deny, Event: text}
	f := join.File{At: at, PID: 7, Path: text, Operation: text, Decision: deny, Event: text}
	prompt := join.Prompt{At: at, Text: text, Thread: text, Event: text, Link: &join.Link{Confidence: join.High, Because: text}}
	return &join.Account{
		Session: join.Session{ID: text, Agent: text, Version: text, Surface: text, User: text, Args: []string{text}, Cwd: text, Started: at, Model: text, Approval: text, Sandbox: text, MCPServers: []string{text}},
		Prompts: []join.Prompt{prompt}, Loose: []*join.Process{p}, Network: []join.Connection{c}, Files: []join.File{f},
		Notes: []join.Note{{At: at, Text: text, Grave: true, Event: text}},
		Calls: []*join.Call{{
			ID: text, Tool: text, MCPServer: text, Arguments: text, Command: text, Began: at, Prompt: &prompt, Decisions: []join.Decision{deny},
			Processes: []*join.Process{p}, Files: []join.File{f}, Network: []join.Connection{c}, Link: &join.Link{Confidence: join.Exact, Because: text},
			Result: &join.Result{At: at, Success: &failed, Output: text, Error: text, Event: text},
		}},
		More: true,
	}
}

func write(t *testing.T, a *join.Account) string {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, a, Options{Now: time.Date(2026, 11, 25, 13, 0, 0, 0, time.UTC), Version: "test", Host: a.Session.ID}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// tags are the names of all elements of a page.
func tags(page string) []string {
	var out []string
	for _, m := range regexp.MustCompile(`<([a-zA-Z!/][a-zA-Z0-9]*)`).FindAllStringSubmatch(page, -1) {
		out = append(out, m[1])
	}
	return out
}

// Whatever an agent writes, the page has the elements it has without that.
func TestNothingOfAnAgentIsMarkup(t *testing.T) {
	harmless, bad := write(t, account("x")), write(t, account(hostile))
	if got, want := strings.Join(tags(bad), " "), strings.Join(tags(harmless), " "); got != want {
		t.Errorf("elements:\n%s\nwant\n%s", got, want)
	}
	for _, raw := range []string{"<script", "onerror=alert(2)>\"", "\u202e", "\x1b"} {
		if strings.Contains(bad, raw) {
			t.Errorf("the page has %q", raw)
		}
	}
	if n := strings.Count(bad, "&lt;script&gt;alert(1)"); n < 30 {
		t.Errorf("the words of the agent are told %d times only", n)
	}
}

// It opens without a network, and stays shut to scripts.
func TestPageIsSelfContained(t *testing.T) {
	page := write(t, account("x"))
	for _, name := range tags(page) {
		switch name {
		case "script", "link", "img", "iframe", "object", "embed", "base", "form", "a", "svg", "audio", "video", "source":
			t.Errorf("the page has an element %s", name)
		}
	}
	if regexp.MustCompile(`(?i)url\(|@import|https?://`).MatchString(page) {
		t.Error("the page refers to something outside")
	}
	if !strings.Contains(page, `content="default-src 'none'; style-src 'unsafe-inline'"`) {
		t.Error("the page allows more than it needs")
	}
	for _, want := range []string{"did not run: forbidden", "This is the end of a longer session", "1 stopped", "failed"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
}
