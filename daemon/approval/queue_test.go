// SPDX-License-Identifier: Apache-2.0

package approval

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// events are what a queue recorded.
type events struct {
	mu  sync.Mutex
	all []telemetry.Event
}

func (e *events) Record(_ context.Context, more ...telemetry.Event) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, more...)
	return nil
}

func (e *events) count(name string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := 0
	for _, one := range e.all {
		if one.Name == name {
			n++
		}
	}
	return n
}

const user = 1000

// testQueue is a queue under requirements that offer everything.
func testQueue(t *testing.T, file string) (*Queue, *events) {
	t.Helper()
	ev := &events{}
	q, err := Open(Options{File: file, Reviewer: Deterministic{}, Events: ev})
	if err != nil {
		t.Fatal(err)
	}
	p := policy.DefaultApprovals()
	p.Scopes = []string{"once", "session", "always"}
	q.Apply(p)
	return q, ev
}

func command(session string, argv ...string) Question {
	return Question{
		Kind: Command, Session: session, Agent: "codex", UID: user, Project: "/p",
		Subject: Subject{Argv: argv, Program: "/usr/bin/" + argv[0], Cwd: "/p"}, Why: Why{Reason: "because", Rule: argv[0]}, Names: argv[:1],
	}
}

// asked asks, and returns the question and where the answer comes.
func asked(t *testing.T, q *Queue, question Question) (Approval, *Ticket, <-chan Outcome) {
	t.Helper()
	answer := make(chan Outcome, 1)
	out, ticket := q.Ask(question, func(o Outcome) { answer <- o })
	if ticket == nil {
		t.Fatalf("nobody was asked: %+v", out.Approval.Answer)
	}
	return out.Approval, ticket, answer
}

func person() Answerer {
	return Answerer{UID: user, User: "alice", By: ByTerminal, Proof: "terminal pts/1"}
}

func newFile(t *testing.T) string { return filepath.Join(t.TempDir(), "approvals.json") }

// What a call is approved as may turn out to be something that needs a better answer.
func TestAnswerToAnotherQuestion(t *testing.T) {
	q, _ := testQueue(t, newFile(t))
	defer q.Close()
	harmless, human, risky := command("s", "git", "push"), command("s", "git", "push"), command("s", "git", "push")
	human.HumanOnly = true
	risky.Within = [][]string{{"sudo", "id"}}
	for name, test := range map[string]struct {
		answer *Answer
		covers [3]bool
	}{
		"on a terminal":      {&Answer{Allow: true, By: ByTerminal, Proof: "terminal"}, [3]bool{true, true, true}},
		"a click":            {&Answer{Allow: true, By: ByCompanion}, [3]bool{true, true, false}},
		"a reviewer program": {&Answer{Allow: true, By: ByReview}, [3]bool{true, false, false}},
		"none":               {nil, [3]bool{}},
	} {
		out := Outcome{Allow: true, Approval: Approval{Answer: test.answer}}
		if got := [3]bool{q.Covers(&out, &harmless), q.Covers(&out, &human), q.Covers(&out, &risky)}; got != test.covers {
			t.Errorf("%s: of what is harmless, for people only, of high risk %v, want %v", name, got, test.covers)
		}
	}
}

func TestTheSameQuestionIsAskedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, ev := testQueue(t, newFile(t))
		defer q.Close()
		var wg sync.WaitGroup
		answers := make(chan Outcome, 2000)
		for range 1000 {
			wg.Go(func() {
				q.Ask(command("s", "git", "push"), func(o Outcome) { answers <- o })
			})
		}
		wg.Wait()
		all := q.History(Viewer{}, 0)
		var waits []Approval
		for c := range q.Follow(t.Context(), Viewer{UID: user}, false) {
			if c.Approval != nil {
				waits = append(waits, *c.Approval)
			}
		}
		if len(all) != 0 || len(waits) != 1 || waits[0].Merged != 1000 {
			t.Fatalf("%d over, waiting: %+v", len(all), waits)
		}
		if _, err := q.Answer(waits[0].ID, person(), Reply{Allow: true}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := len(answers); n != 1000 || ev.count(telemetry.NameApprovalRequested) != 1 || ev.count(telemetry.NameApprovalAnswered) != 1 {
			t.Errorf("%d answers, %d questions, %d answered", n, ev.count(telemetry.NameApprovalRequested), ev.count(telemetry.NameApprovalAnswered))
		}
		// What is different in anything that matters is another question.
		for _, other := range []Question{command("s", "git", "push", "x"), command("s2", "git", "push")} {
			if _, ticket := q.Ask(other, func(Outcome) {}); ticket == nil {
				t.Errorf("not asked: %+v", other)
			}
		}
		swapped := command("s", "git", "push")
		swapped.Identity = "another file"
		if _, ticket := q.Ask(swapped, func(Outcome) {}); ticket == nil {
			t.Error("another program of the same name was not asked about")
		}
		elevated := command("s", "git", "push", "x") // waits already, for a process that is the user's
		elevated.UID = 0
		if o, ticket := q.Ask(elevated, func(Outcome) {}); ticket == nil || o.Approval.UID != 0 {
			t.Errorf("what runs as root was not asked for: %+v", o.Approval)
		}
	})
}

func TestNobodyAnswersInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, ev := testQueue(t, newFile(t))
		defer q.Close()
		began := time.Now()
		out := q.Wait(t.Context(), command("s", "git", "push"))
		synctest.Wait() // the event comes after the answer
		if out.Allow || out.Approval.State != Expired || time.Since(began) != 2*time.Minute || ev.count(telemetry.NameApprovalExpired) != 1 {
			t.Errorf("after %v: %+v", time.Since(began), out.Approval)
		}
		// A shorter time holds for what waits already.
		done := make(chan Outcome, 1)
		go func() { done <- q.Wait(t.Context(), command("s", "git", "pull")) }()
		synctest.Wait()
		p := policy.DefaultApprovals()
		p.Timeout = 10
		began = time.Now()
		q.Apply(p)
		if out := <-done; out.Allow || time.Since(began) != 10*time.Second {
			t.Errorf("after %v: %+v", time.Since(began), out.Approval)
		}
	})
}

func TestWhoWaitsNoLongerIsNotAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, ev := testQueue(t, newFile(t))
		defer q.Close()
		a, one, _ := asked(t, q, command("s", "git", "push"))
		_, two, answer := asked(t, q, command("s", "git", "push"))
		if !one.Withdraw(ByProcess, "gone") || ev.count(telemetry.NameApprovalCancelled) != 0 {
			t.Error("the question went with the first who waited for it")
		}
		if !two.Withdraw(ByProcess, "gone") || two.Withdraw(ByProcess, "gone") || ev.count(telemetry.NameApprovalCancelled) != 1 {
			t.Error("the question did not go with the last who waited for it")
		}
		if _, err := q.Answer(a.ID, person(), Reply{Allow: true}); !errors.Is(err, ErrOver) {
			t.Errorf("an answer to a cancelled question: %v", err)
		}
		synctest.Wait()
		select {
		case out := <-answer:
			t.Errorf("told after it was withdrawn: %+v", out)
		default:
		}
		q.Ask(command("s", "git", "push"), func(Outcome) {})
		q.EndSession("s")
		if n := ev.count(telemetry.NameApprovalCancelled); n != 2 {
			t.Errorf("a session ended, %d questions were cancelled", n)
		}
	})
}

func TestWhoMayNotAnswer(t *testing.T) {
	q, _ := testQueue(t, newFile(t))
	defer q.Close()
	a, _, _ := asked(t, q, command("s", "git", "push"))
	risky, _, _ := asked(t, q, command("s", "sudo", "ls"))
	human := command("s", "make")
	human.HumanOnly = true
	forPeople, _, _ := asked(t, q, human)
	root := Answerer{UID: 0, User: "root", By: ByTerminal, Proof: "terminal"}
	unproven := person()
	unproven.Proof = ""
	for name, test := range map[string]struct {
		id    string
		who   Answerer
		reply Reply
		want  string
	}{
		"another user":          {a.ID, Answerer{UID: 1001, By: ByTerminal}, Reply{Allow: true}, ErrUnknown.Error()},
		"another user, no":      {a.ID, Answerer{UID: 1001, By: ByTerminal}, Reply{}, ErrUnknown.Error()},
		"root":                  {a.ID, root, Reply{Allow: true}, "root_may_answer"},
		"a guess":               {"01ARZ3NDEKTSV4RRFFQ69G5FAV", person(), Reply{Allow: true}, ErrUnknown.Error()},
		"part of an id":         {a.ID[10:], person(), Reply{Allow: true}, ErrUnknown.Error()},
		"a scope of no name":    {a.ID, person(), Reply{Allow: true, Scope: "ever"}, "is not offered"},
		"high risk, unproven":   {risky.ID, unproven, Reply{Allow: true}, "needs proof"},
		"high risk, for ever":   {risky.ID, person(), Reply{Allow: true, Scope: Always}, "is not offered"},
		"for people, for ever":  {forPeople.ID, person(), Reply{Allow: true, Scope: Always}, "asked each time"},
		"a reason of megabytes": {a.ID, person(), Reply{Reason: strings.Repeat("x", 1<<20)}, "at most"},
	} {
		if _, err := q.Answer(test.id, test.who, test.reply); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
	p := policy.DefaultApprovals()
	p.RootMayAnswer, p.Scopes = true, []string{"once"}
	q.Apply(p)
	if _, err := q.Answer(a.ID, person(), Reply{Allow: true, Scope: Session}); err == nil {
		t.Error("a scope the requirements no longer offer was taken")
	}
	done, err := q.Answer(a.ID, root, Reply{Allow: true})
	if err != nil || !done.Answer.Root || done.Answer.UID != 0 {
		t.Errorf("root, who may by now: %+v, %v", done.Answer, err)
	}
	if _, err := q.Answer(a.ID, person(), Reply{Allow: true}); !errors.Is(err, ErrOver) {
		t.Errorf("answered twice: %v", err)
	}
}

// What requirements want to be asked about each time is: neither an answer to it counts any longer, nor one from before.
func TestAskedEachTime(t *testing.T) {
	q, _ := testQueue(t, newFile(t))
	defer q.Close()
	before := command("s", "curl")
	before.Kind, before.Subject = Connection, Subject{Host: "pastebin.test", Port: 443, Protocol: "https"}
	a, _, _ := asked(t, q, before)
	if _, err := q.Answer(a.ID, person(), Reply{Allow: true, Scope: Always}); err != nil {
		t.Fatal(err)
	}
	if out, ticket := q.Ask(before, nil); ticket != nil || !out.Allow {
		t.Fatalf("an answer for ever is not remembered: %+v", out)
	}
	each := before
	each.EachTime = true
	for range 2 {
		a, _, _ := asked(t, q, each)
		if !slices.Equal(a.Scopes, []Scope{Once}) {
			t.Errorf("answers of scope %v are offered", a.Scopes)
		}
		for _, scope := range []Scope{Session, Always} {
			if _, err := q.Answer(a.ID, person(), Reply{Allow: true, Scope: scope}); err == nil {
				t.Errorf("an answer of scope %s was taken", scope)
			}
		}
		if _, err := q.Answer(a.ID, person(), Reply{Allow: true}); err != nil {
			t.Fatal(err)
		}
	}
}

// What always would allow is never more than what was asked, and nothing of what runs
// other things.
func TestAlwaysIsNarrow(t *testing.T) {
	q, _ := testQueue(t, newFile(t))
	defer q.Close()
	for _, argv := range [][]string{
		{"bash", "-c", "ls"},
		{"sh", "x.sh"},
		{"python"},
		{"python3.12", "x.py"},
		{"/lib64/ld-linux-x86-64.so.2", "/usr/bin/ls"},
		{"ld-musl-aarch64.so.1", "/bin/ls"},
		{"ld.so", "/bin/ls"},
		{"env", "ls"},
		{"sudo", "ls"},
		{"xargs", "rm"},
		{"node", "x.js"},
		{"-bash"},
		{"busybox", "ls"},
		{"find", ".", "-exec", "x", ";"},
		{"ssh", "h"},
		{"npx", "x"},
		{"nice", "ls"},
	} {
		a, ticket, _ := asked(t, q, command("s", argv...))
		if a.Always != "" || a.NotAlways == "" || slices.Contains(a.Scopes, Always) {
			t.Errorf("%q: always is offered: %q", argv, a.Always)
		}
		ticket.Withdraw(ByProcess, "")
	}
	renamed := command("s", "tool", "x")
	renamed.Names = []string{"tool", "python3"} // what it is by its content
	if a, ticket, _ := asked(t, q, renamed); a.Always != "" {
		t.Errorf("a copy of python: %q", a.Always)
	} else {
		ticket.Withdraw(ByProcess, "")
	}
	a, _, _ := asked(t, q, command("s", "git", "push", "origin", "a b"))
	if want := `exactly the command git push origin "a b" (/usr/bin/git), for codex in /p`; a.Always != want {
		t.Errorf("the rule is %q, want %q", a.Always, want)
	}
	if _, err := q.Answer(a.ID, person(), Reply{Allow: true, Scope: Always}); err != nil {
		t.Fatal(err)
	}
	if out, ticket := q.Ask(command("another", "git", "push", "origin", "a b"), nil); !out.Allow || ticket != nil || out.Approval.Answer.By != ByMemory {
		t.Errorf("the same in another session: %+v", out.Approval)
	}
	for name, other := range map[string]Question{
		"more arguments": command("s", "git", "push", "origin", "a b", "--force"), "fewer": command("s", "git", "push", "origin"),
		"split otherwise": command("s", "git", "push", "origin", "a", "b"),
		"elsewhere":       func() Question { o := command("s", "git", "push", "origin", "a b"); o.Project = "/q"; return o }(),
		"another file":    func() Question { o := command("s", "git", "push", "origin", "a b"); o.Program = "/tmp/git"; return o }(),
		"another agent":   func() Question { o := command("s", "git", "push", "origin", "a b"); o.Agent = "x"; return o }(),
		"another user":    func() Question { o := command("s", "git", "push", "origin", "a b"); o.UID++; return o }(),
		"for people only": func() Question { o := command("s", "git", "push", "origin", "a b"); o.HumanOnly = true; return o }(),
	} {
		out, ticket := q.Ask(other, func(Outcome) {})
		if ticket == nil {
			t.Fatalf("%s: %+v", name, out.Approval)
		}
		ticket.Withdraw(ByProcess, "")
	}
	grants := q.Grants(Viewer{UID: user})
	if len(grants) != 1 || len(q.Grants(Viewer{UID: 7})) != 0 {
		t.Fatalf("grants: %+v", grants)
	}
	if err := q.Revoke(Viewer{UID: 7}, grants[0].ID); !errors.Is(err, ErrUnknown) {
		t.Errorf("revoked by another user: %v", err)
	}
	// Requirements that do not permit it any more end what it allowed.
	q.Apply(policy.DefaultApprovals())
	if _, ticket := q.Ask(command("s3", "git", "push", "origin", "a b"), func(Outcome) {}); ticket == nil {
		t.Error("an answer of a scope that is not permitted any more still holds")
	}
}

func TestTooManyQuestions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, ev := testQueue(t, newFile(t))
		defer q.Close()
		told := 0
		for i := range 200 {
			out, ticket := q.Ask(command("s", "tool", fmt.Sprint(i)), func(Outcome) {})
			if (ticket == nil) != (i >= maxSession) {
				t.Fatalf("question %d: %+v", i, out.Approval.Answer)
			}
			if out.First {
				told++
			}
		}
		if told != 1 || ev.count(telemetry.NameApprovalOverflow) != 1 {
			t.Errorf("told %d times, %d events", told, ev.count(telemetry.NameApprovalOverflow))
		}
		// Another session of the user is not kept from asking by this one.
		if _, ticket := q.Ask(command("other", "tool"), func(Outcome) {}); ticket == nil {
			t.Error("one session took the place of all")
		}
		// Answering at once does not help to ask for ever.
		asks := 0
		for i := range 200 {
			if _, ticket := q.Ask(command("fast", "tool", fmt.Sprint(i)), func(Outcome) {}); ticket != nil {
				asks++
				ticket.Withdraw(ByProcess, "")
			}
		}
		if asks != maxRate {
			t.Errorf("%d questions in a moment", asks)
		}
		time.Sleep(rateTime + time.Second)
		if _, ticket := q.Ask(command("fast", "tool"), func(Outcome) {}); ticket == nil {
			t.Error("it may not ask any more at all")
		}
	})
}

func TestRefusedIsNotAskedAgainAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, _ := testQueue(t, newFile(t))
		defer q.Close()
		a, _, answer := asked(t, q, command("s", "git", "push"))
		if _, err := q.Answer(a.ID, person(), Reply{Reason: "no"}); err != nil {
			t.Fatal(err)
		}
		if out := <-answer; out.Allow || out.Approval.Answer.Reason != "no" {
			t.Errorf("%+v", out.Approval.Answer)
		}
		if out, ticket := q.Ask(command("s", "git", "push"), nil); ticket != nil || out.Allow {
			t.Error("asked again at once")
		}
		time.Sleep(pause)
		asked(t, q, command("s", "git", "push"))
	})
}

func TestRestart(t *testing.T) {
	file := newFile(t)
	q, _ := testQueue(t, file)
	waits, _, told := asked(t, q, command("s", "git", "push", "\xff"))
	gone, _, _ := asked(t, q, command("s", "git", "pull"))
	for scope, name := range map[Scope]string{Session: "a", Always: "b"} {
		a, _, _ := asked(t, q, command("s", "tool", name))
		if _, err := q.Answer(a.ID, person(), Reply{Allow: true, Scope: scope}); err != nil {
			t.Fatal(err)
		}
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	if len(told) != 0 {
		t.Error("a stop answered a question")
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v", info.Mode(), err)
	}

	q, ev := testQueue(t, file)
	a, _, answer := asked(t, q, command("s", "git", "push", "\xff"))
	if a.ID != waits.ID || !a.Deadline.Equal(waits.Deadline) || a.Argv[2] != "\xff" || ev.count(telemetry.NameApprovalRequested) != 0 {
		t.Errorf("asked as another question: %+v, before %+v", a, waits)
	}
	q.Settle()
	if ev.count(telemetry.NameApprovalCancelled) != 1 {
		t.Error("what nobody waits for any more is still asked")
	}
	if _, err := q.Answer(gone.ID, person(), Reply{Allow: true}); !errors.Is(err, ErrOver) {
		t.Errorf("an answer to it: %v", err)
	}
	if _, err := q.Answer(a.ID, person(), Reply{Allow: true}); err != nil {
		t.Fatal(err)
	}
	if out := <-answer; !out.Allow {
		t.Error("the answer after the restart does not count")
	}
	for session, name := range map[string]string{"s": "a", "t": "b"} {
		if out, _ := q.Ask(command(session, "tool", name), nil); !out.Allow {
			t.Errorf("what was allowed before the restart: %+v", out.Approval.Answer)
		}
	}
	q.Close()

	// Damaged, it allows nothing and does not keep the daemon from starting.
	for _, damage := range []string{"", "{", `{"version":2}`, `{"version":1,"grants":[{"key":""}]}`, `{"version":1,"over":[null]}`, `{"version":1,"pending":[{}]}`} {
		if err := os.WriteFile(file, []byte(damage), 0o600); err != nil {
			t.Fatal(err)
		}
		q, _ := testQueue(t, file)
		if _, ticket := q.Ask(command("t", "tool", "b"), func(Outcome) {}); ticket == nil {
			t.Errorf("%q: allowed by a damaged file", damage)
		}
		q.Close()
	}
}

func TestFollow(t *testing.T) {
	q, _ := testQueue(t, newFile(t))
	changes := make(chan Change, 100)
	ended := make(chan struct{})
	a, _, _ := asked(t, q, command("s", "git", "push"))
	other := command("s", "git", "push")
	other.UID = 7
	asked(t, q, other)
	go func() {
		defer close(ended)
		for c := range q.Follow(t.Context(), Viewer{UID: user}, true) {
			changes <- c
		}
	}()
	if c := <-changes; c.Approval == nil || c.Approval.ID != a.ID {
		t.Errorf("first: %+v", c)
	}
	if c := <-changes; !c.Synced {
		t.Errorf("then: %+v", c)
	}
	if _, err := q.Answer(a.ID, person(), Reply{}); err != nil {
		t.Fatal(err)
	}
	if c := <-changes; c.Approval == nil || c.Approval.State != Denied || c.Approval.ID != a.ID {
		t.Errorf("the answer: %+v", c)
	}
	q.Close()
	<-ended
}

func TestReview(t *testing.T) {
	q, ev := testQueue(t, newFile(t))
	defer q.Close()
	p := policy.DefaultApprovals()
	p.AutoReview = []string{"read-only", "registries", "project"}
	q.Apply(p)
	connection := func(host string, port uint16) Question {
		return Question{Kind: Connection, Session: "s", UID: user, Subject: Subject{Host: host, Port: port, Protocol: "https"}}
	}
	file := func(path string) Question {
		return Question{Kind: File, Session: "s", UID: user, Project: "/p", Subject: Subject{Path: path, Access: "write"}}
	}
	human := command("s", "cat", "x")
	human.HumanOnly = true
	own := command("s", "cat", "x")
	own.Program = "/p/cat"
	disguised := command("s", "cat", "x")
	disguised.Program = "/usr/bin/rm"
	for name, test := range map[string]struct {
		q    Question
		want bool
	}{
		"cat": {command("s", "cat", "/etc/hosts"), true}, "rm": {command("s", "rm", "x"), false}, "git": {command("s", "git", "log"), false},
		"a rule for people": {human, false}, "an agent's own cat": {own, false}, "rm as cat": {disguised, false}, "sudo cat": {command("s", "sudo", "cat"), false},
		"rust": {connection("index.crates.io", 443), true}, "rust in the clear": {connection("index.crates.io", 80), false},
		"below rust": {connection("index.crates.io.evil.example", 443), false}, "another of theirs": {connection("paste.ubuntu.com", 443), false},
		"inside": {file("/p/src/x"), true}, "outside": {file("/p/../etc/x"), false}, "beside": {file("/pp/x"), false}, "hooks": {file("/p/.git/hooks/x"), false},
	} {
		out, ticket := q.Ask(test.q, func(Outcome) {})
		if out.Allow != test.want || (ticket == nil) != test.want || test.want && (out.Approval.Answer.By != ByReview || out.Approval.Answer.Reason == "") {
			t.Errorf("%s: %+v", name, out.Approval)
		}
	}
	if n := ev.count(telemetry.NameApprovalAnswered); n != 3 || len(q.History(Viewer{UID: user}, 0)) != 3 {
		t.Errorf("%d answers recorded", n)
	}
	q.Apply(policy.DefaultApprovals())
	if _, ticket := q.Ask(command("s2", "cat", "x"), func(Outcome) {}); ticket == nil {
		t.Error("reviewed without the requirements' leave")
	}
}

func FuzzSaved(f *testing.F) {
	f.Add([]byte(`{"version":1,"pending":[{"approval":{"id":"a","state":"pending"},"intent":"x"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		file := newFile(t)
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		q, err := Open(Options{File: file})
		if err != nil {
			t.Fatal(err)
		}
		q.Settle()
		q.Close()
	})
}

func TestRefusedAnswersDoNotFillTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, ev := testQueue(t, newFile(t))
		defer q.Close()
		for range 1000 {
			q.Refused(strings.Repeat("x", 1<<16), 1, user, "", ErrUnknown)
		}
		q.Refused("id", 1, 7, "", ErrUnknown)
		if n := ev.count(telemetry.NameApprovalRefused); n != maxRefusals+1 {
			t.Errorf("%d events", n)
		}
		time.Sleep(2 * rateTime)
		q.Refused("id", 1, user, "", ErrUnknown)
		if last := ev.all[len(ev.all)-1]; last.Attrs[telemetry.AttrApprovalMerged] != int64(1000-maxRefusals+1) {
			t.Errorf("the next event counts %v", last.Attrs[telemetry.AttrApprovalMerged])
		}
	})
}
