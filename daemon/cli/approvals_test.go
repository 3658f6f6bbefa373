// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-649e9bbc/paddock/daemon/api"
	"github.com/seed-649e9bbc/paddock/daemon/approval"
	"github.com/seed-649e9bbc/paddock/daemon/policy"
)

// asking serves a real queue in which the user who runs the test is asked.
func asking(t *testing.T) (socket string, q *approval.Queue) {
	t.Helper()
	q, err := approval.Open(approval.Options{File: filepath.Join(t.TempDir(), "approvals.json")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.Close() })
	p := policy.DefaultApprovals()
	p.Scopes = []string{"once", "session", "always"}
	q.Apply(p)
	return serve(t, &fake{queue: q}), q
}

func ask(t *testing.T, q *approval.Queue, argv ...string) (id string, answer <-chan approval.Outcome) {
	t.Helper()
	answers := make(chan approval.Outcome, 1)
	out, ticket := q.Ask(approval.Question{
		Kind: approval.Command, Session: oneSession, Agent: "codex", Surface: "cli", UID: uint32(os.Getuid()), User: "alice", Project: "/p",
		Subject: approval.Subject{Argv: argv, Program: "/usr/bin/" + argv[0], Cwd: "/p/sub"},
		Why:     approval.Why{Reason: "git push needs approval by rule git push (f:12): use the CI", Rule: "git push", ToolCall: "call_1", Prompt: "release\x1b]0;it\x07"},
	}, func(o approval.Outcome) { answers <- o })
	if ticket == nil {
		t.Fatalf("nobody is asked: %+v", out)
	}
	return out.Approval.ID, answers
}

func TestApprovals(t *testing.T) {
	socket, q := asking(t)
	if out, _, code, _ := paddock(t, socket, "approvals"); code != 0 || out != "Nothing waits for you.\n" {
		t.Errorf("without questions: %d, %q", code, out)
	}
	// What an agent may choose must neither act on a terminal nor hide.
	nasty := "a\x1b[2Jb\u202ec\nd p\u0430y"
	id, answer := ask(t, q, "git", "push", nasty, strings.Repeat("long ", 400)+"end")
	out, _, code, _ := paddock(t, socket, "approvals")
	for _, want := range []string{
		id, "codex (cli) of alice wants to run", `git push $'a\x1b[2Jb\u202ec\nd p\u0430y'`, "long end'", "use the CI", "/usr/bin/git", "/p/sub", "call_1",
		`release\x1b]0;it\x07`, "exactly the command git push", "1m59s left",
	} {
		if want == "1m59s left" && strings.Contains(out, "2m0s left") {
			continue
		}
		if !strings.Contains(out, want) {
			t.Errorf("%q is not shown in\n%s", want, out)
		}
	}
	if code != 0 || strings.ContainsAny(out, "\x1b\u202e\x07") {
		t.Errorf("code %d, %q", code, out)
	}
	out, _, _, _ = paddock(t, socket, "approvals", "--json")
	var a api.Approval
	if err := json.Unmarshal([]byte(out), &a); err != nil || a.ID != id || a.Argv[2] != nasty || strings.ContainsAny(out, "\x1b\u202e") {
		t.Errorf("--json: %v, %s", err, out)
	}
	for _, args := range [][]string{{"approve"}, {"deny"}, {"approve", "a", "b"}, {"approve", id, "--session", "--always"}, {"approvals", "history", "--limit", "-1"}, {"approvals", "revoke", "a", "b"}} {
		if _, _, code, _ := paddock(t, socket, args...); code != ExitUsage {
			t.Errorf("%q: code %d", args, code)
		}
	}
	for _, bad := range []string{"abc", "ZZZZZZ"} {
		if _, errs, code, _ := paddock(t, socket, "approve", bad); code != ExitError || errs == "" {
			t.Errorf("approve %s: %d, %s", bad, code, errs)
		}
	}
	if len(answer) != 0 {
		t.Fatal("answered by a mistake")
	}
	if out, errs, code, _ := paddock(t, socket, "approve", strings.ToLower(id[18:]), "--always"); code != 0 || !strings.Contains(out, "allowed (always)") {
		t.Errorf("approve: %d, %s%s", code, out, errs)
	}
	if o := <-answer; !o.Allow || o.Approval.Answer.Scope != approval.Always {
		t.Errorf("the answer: %+v", o.Approval.Answer)
	}
	second, answer := ask(t, q, "git", "pull")
	if out, _, code, _ := paddock(t, socket, "deny", second, "--reason", "no"); code != 0 || !strings.Contains(out, "denied by terminal somebody: no") {
		t.Errorf("deny: %d, %s", code, out)
	}
	if o := <-answer; o.Allow {
		t.Error("denied, and allowed")
	}
	out, _, _, _ = paddock(t, socket, "approvals", "history", "--limit", "1")
	if !strings.Contains(out, "git pull") || strings.Contains(out, "git push") {
		t.Errorf("history: %s", out)
	}
	out, _, _, _ = paddock(t, socket, "approvals", "revoke")
	if !strings.Contains(out, "always") || strings.ContainsAny(out, "\x1b\u202e") {
		t.Errorf("what holds on: %s", out)
	}
	grant := strings.Fields(strings.Split(out, "\n")[1])[0]
	if out, _, code, _ := paddock(t, socket, "approvals", "revoke", grant); code != 0 || !strings.Contains(out, "revoked") || len(q.Grants(approval.Viewer{})) != 0 {
		t.Errorf("revoke: %d, %s", code, out)
	}
}

// What is shown is what runs, and as whom.
func TestWhatWouldRunIsShown(t *testing.T) {
	socket, q := asking(t)
	for _, s := range []struct {
		kind    approval.Kind
		subject approval.Subject
		want    []string
	}{
		{approval.Tool, approval.Subject{Tool: "shell", Argv: []string{"npm", "publish", "--registry=https://evil.example"}}, []string{"wants to call shell", "npm publish --registry=https://evil.example"}},
		{approval.Tool, approval.Subject{Tool: "Bash", Input: "npm publish --dry-run"}, []string{"npm publish --dry-run"}},
		{approval.Command, approval.Subject{Argv: []string{"cp", "a", "b"}, RunsAs: "root"}, []string{"cp a b", "as user     root", "as root"}},
	} {
		_, ticket := q.Ask(approval.Question{Kind: s.kind, Session: oneSession, Agent: "codex", UID: uint32(os.Getuid()), Subject: s.subject}, func(approval.Outcome) {})
		out, _, _, _ := paddock(t, socket, "approvals")
		for _, want := range s.want {
			if !strings.Contains(out, want) {
				t.Errorf("%q is not shown in\n%s", want, out)
			}
		}
		ticket.Withdraw(approval.ByProcess, "")
	}
}
