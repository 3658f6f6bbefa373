// SPDX-License-Identifier: Apache-2.0

package companion

import (
	"bytes"
	"context"
	"image"
	"iter"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/approval"
	"github.com/seed-649e9bbc/paddock/daemon/companion/notify"
	"github.com/seed-649e9bbc/paddock/daemon/policy"
	"github.com/seed-649e9bbc/paddock/tests/desktop"
)

const uid = 1000

// queue is the daemon's queue without the way to it.
type queue struct{ *approval.Queue }

func (q queue) Approvals(ctx context.Context, follow bool) iter.Seq2[approval.Change, error] {
	return q.Follow(ctx, approval.Viewer{UID: uid}, follow)
}

func (q queue) AnswerApproval(_ context.Context, id string, r approval.Reply) (approval.Approval, error) {
	return q.Answer(id, approval.Answerer{UID: uid, User: "dev", By: approval.ByCompanion}, r)
}

func newQueue(t *testing.T, timeout int) queue {
	t.Helper()
	q, err := approval.Open(approval.Options{File: filepath.Join(t.TempDir(), "approvals.json")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.Close() })
	p := policy.DefaultApprovals()
	p.Timeout = timeout
	q.Apply(p)
	return queue{q}
}

// timeIsUp ends the time of what waits. What is asked later has as much as before.
func (q queue) timeIsUp() {
	p := policy.DefaultApprovals()
	p.Timeout = -1
	q.Apply(p)
	p.Timeout = 100
	q.Apply(p)
}

// terminal is where a test reads what the companion prints.
type terminal struct {
	mu   sync.Mutex
	text bytes.Buffer
	some chan struct{}
}

func (b *terminal) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case b.some <- struct{}{}:
	default:
	}
	return b.text.Write(p)
}

// begin runs a companion on the desktop.
func begin(t *testing.T, d *desktop.Desktop, q Queue, readTime time.Duration) *terminal {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	if testing.Verbose() {
		log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	ctx, cancel := context.WithCancel(t.Context())
	screen := notify.Start(ctx, notify.Options{Address: d.Bus, Trusted: func(int) error { return nil }, Log: log})
	out := &terminal{some: make(chan struct{}, 1)}
	c := New(Options{Queue: q, Screen: screen, UID: uid, Log: log, Terminal: out, ReadTime: readTime})
	done := make(chan struct{})
	go func() {
		c.Run(ctx)
		close(done)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return out
}

func push() approval.Question {
	return approval.Question{
		Kind: approval.Command, Session: "01JZ0000000000000000000ABC", Agent: "codex", UID: uid, Project: "/home/dev/shop",
		Subject: approval.Subject{Argv: []string{"git", "push", "origin", "<main>"}, Cwd: "/home/dev/shop"},
		Why: approval.Why{
			Reason: "git push needs approval", Rule: "git push", Source: "/etc/codex/requirements.toml:7", Justification: "Pushes are reviewed",
			Prompt: "publish it",
		},
	}
}

// ask asks in the background.
func ask(t *testing.T, q queue, question approval.Question) <-chan approval.Outcome {
	out := make(chan approval.Outcome, 1)
	go func() { out <- q.Wait(t.Context(), question) }()
	return out
}

func outcome(t *testing.T, from <-chan approval.Outcome) approval.Outcome {
	t.Helper()
	select {
	case o := <-from:
		return o
	case <-time.After(60 * time.Second):
		t.Fatal("no answer")
	}
	return approval.Outcome{}
}

// From a question to what a person does with it, on a real screen.
func TestPersonAnswers(t *testing.T) {
	d := desktop.Start(t)
	d.Serve("notification-daemon")
	q := newQueue(t, 100)
	begin(t, d, q, time.Nanosecond)
	for _, test := range []struct {
		name   string
		button int
		allow  bool
		scope  approval.Scope
	}{
		{"deny", 0, false, approval.Once},
		{"once", 1, true, approval.Once},
		{"session", 2, true, approval.Session},
	} {
		question := push()
		question.Argv = append(question.Argv, test.name)
		answer := ask(t, q, question)
		buttons := d.Buttons(3)
		d.Screenshot("question-" + test.name)
		d.Click(buttons[test.button], 1)
		o := outcome(t, answer)
		if a := o.Approval.Answer; o.Allow != test.allow || a == nil || a.By != approval.ByCompanion || a.Scope != test.scope {
			t.Errorf("%s: %+v", test.name, a)
		}
	}
	// What was allowed for the session is not asked again.
	question := push()
	question.Argv = append(question.Argv, "session")
	if o := outcome(t, ask(t, q, question)); !o.Allow {
		t.Errorf("%+v", o.Approval.Answer)
	}
}

// A click on the notification shows more, and is no answer.
func TestDetailsAllowNothing(t *testing.T) {
	d := desktop.Start(t)
	d.Serve("notification-daemon")
	q := newQueue(t, 100)
	begin(t, d, q, time.Nanosecond)
	question := push()
	question.Argv = append(question.Argv, strings.Repeat("x", 400)+"; rm -rf ~")
	answer := ask(t, q, question)
	small := d.Window()
	// Only Deny: who has not seen all of it is not offered to allow it.
	d.Buttons(1)
	d.Screenshot("long")
	d.Click(small.Min.Add(image.Pt(150, 50)), 1)
	d.Larger(small)
	deny := d.Buttons(1)[0]
	d.Screenshot("long-details")
	select {
	case o := <-answer:
		t.Fatalf("the click was taken for an answer: %+v", o.Approval.Answer)
	default:
	}
	d.Click(deny, 1)
	if o := outcome(t, answer); o.Allow || o.Approval.State != approval.Denied {
		t.Errorf("%+v", o.Approval)
	}
}

// A question that jumps under the mouse is not answered by the click that was for
// something else; a refusal is taken however fast.
func TestTooFastToBeRead(t *testing.T) {
	d := desktop.StartBus(t)
	server := d.Pretend()
	q := newQueue(t, 100)
	begin(t, d, q, time.Hour)
	answer := ask(t, q, push())
	server.Wait("show1")
	server.Invoke(1, actionOnce)
	server.Wait("show2")
	if got := server.Texts()[1]; !strings.Contains(got, "too fast") {
		t.Errorf("it does not say why it is there again: %q", got)
	}
	server.Invoke(2, actionSession)
	server.Wait("show3")
	server.Invoke(3, actionDeny)
	if o := outcome(t, answer); o.Allow || o.Approval.Answer.By != approval.ByCompanion {
		t.Errorf("%+v", o.Approval.Answer)
	}
}

// What is over goes off the screen, however it ended; what others are asked is not
// shown.
func TestWhatIsOverGoes(t *testing.T) {
	d := desktop.StartBus(t)
	server := d.Pretend()
	q := newQueue(t, 100)
	begin(t, d, q, 0)

	others := push()
	others.UID = 1001
	ask(t, q, others)
	answer := ask(t, q, push())
	server.Wait("show1")
	id := ""
	for change := range q.Follow(t.Context(), approval.Viewer{UID: uid}, false) {
		if change.Approval != nil {
			id = change.Approval.ID
		}
	}
	if _, err := q.Answer(id, approval.Answerer{UID: uid, By: approval.ByTerminal}, approval.Reply{Allow: true}); err != nil {
		t.Fatal(err)
	}
	if !outcome(t, answer).Allow {
		t.Error("the answer from the terminal did not count")
	}
	server.Wait("close1")

	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan approval.Outcome, 1)
	go func() { gone <- q.Wait(ctx, push()) }()
	server.Wait("show2")
	cancel() // the process that waited has ended
	outcome(t, gone)
	server.Wait("close2")
	if n := len(server.Texts()); n != 2 {
		t.Errorf("%d notifications were shown", n)
	}
}

func TestNobodyAnswers(t *testing.T) {
	d := desktop.StartBus(t)
	server := d.Pretend()
	q := newQueue(t, 100)
	begin(t, d, q, 0)
	answer := ask(t, q, push())
	server.Wait("show1")
	q.timeIsUp()
	if o := outcome(t, answer); o.Allow || o.Approval.State != approval.Expired {
		t.Errorf("%+v", o.Approval)
	}
	server.Wait("close1")
	// It is over: a click that comes now changes nothing.
	server.Invoke(1, actionOnce)
	if h := q.History(approval.Viewer{UID: uid}, 1); h[0].State != approval.Expired {
		t.Errorf("%+v", h[0])
	}
}

// A server that keeps everything from the screen says nothing of it. The time goes on.
func TestDoNotDisturb(t *testing.T) {
	d := desktop.Start(t)
	d.Serve("dunst")
	q := newQueue(t, 100)
	begin(t, d, q, 0)
	dunstctl := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "dunstctl", args...)
		cmd.Env = d.Env()
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("dunstctl: %v\n%s", err, out)
		}
		return strings.TrimSpace(string(out))
	}
	kept := func(n string) {
		t.Helper()
		for began := time.Now(); dunstctl("count", "waiting") != n; {
			if time.Since(began) > 60*time.Second {
				t.Fatalf("dunst keeps %s back, want %s", dunstctl("count", "waiting"), n)
			}
		}
	}
	dunstctl("set-paused", "true")
	answer := ask(t, q, push())
	kept("1")
	q.timeIsUp()
	if o := outcome(t, answer); o.Allow || o.Approval.State != approval.Expired {
		t.Errorf("%+v", o.Approval)
	}
	d.Blank()
	kept("0")
	dunstctl("set-paused", "false")
	// What is over does not come up now; what is asked now does, alone.
	ask(t, q, approval.Question{Kind: approval.Connection, Session: "s", Agent: "codex", UID: uid, Subject: approval.Subject{Host: "example.com", Port: 443}})
	d.Drawn()
	q.timeIsUp()
	d.Blank()
}

// A thousand of the same are one question.
func TestManyOfTheSameAreOneNotification(t *testing.T) {
	d := desktop.StartBus(t)
	server := d.Pretend()
	q := newQueue(t, 100)
	begin(t, d, q, 0)
	first := ask(t, q, push())
	server.Wait("show1")
	var all []<-chan approval.Outcome
	for range 999 {
		out := make(chan approval.Outcome, 1)
		if o, ticket := q.Ask(push(), func(o approval.Outcome) { out <- o }); ticket == nil {
			t.Fatalf("%+v", o.Approval.Answer)
		}
		all = append(all, out)
	}
	server.Invoke(1, actionDeny)
	for _, one := range append(all, first) {
		if outcome(t, one).Allow {
			t.Fatal("allowed")
		}
	}
	if n := len(server.Texts()); n != 1 {
		t.Errorf("%d notifications", n)
	}
}

// Many different ones do not cover the screen: those that are older come first.
func TestFewAtATime(t *testing.T) {
	d := desktop.StartBus(t)
	server := d.Pretend()
	q := newQueue(t, 100)
	begin(t, d, q, 0)
	answers := make(chan approval.Outcome, 7)
	for _, word := range strings.Fields("a b c d e f g") {
		question := push()
		question.Argv = append(question.Argv, word)
		if o, ticket := q.Ask(question, func(o approval.Outcome) { answers <- o }); ticket == nil {
			t.Fatalf("%+v", o.Approval.Answer)
		}
	}
	server.Wait("show4")
	server.Invoke(1, actionDeny)
	outcome(t, answers)
	server.Wait("show5")
	if n := len(server.Texts()); n != 5 {
		t.Errorf("%d notifications were shown when one of 7 was answered, and %d may be there at a time", n, maxShown)
	}
}

// Without a server there is a terminal; when a server comes, it is asked there too.
func TestWithoutAServer(t *testing.T) {
	d := desktop.StartBus(t)
	q := newQueue(t, 100)
	out := begin(t, d, q, 0)
	answer := ask(t, q, push())
	select {
	case <-out.some:
	case <-time.After(60 * time.Second):
		t.Fatal("nothing is said")
	}
	out.mu.Lock()
	if got := out.text.String(); !strings.Contains(got, "codex wants to run:\n\n  git push origin '<main>'\n") || !strings.Contains(got, "paddock approve 01") {
		t.Errorf("%s", got)
	}
	out.mu.Unlock()
	server := d.Pretend()
	server.Wait("show1")
	server.Invoke(1, actionDeny)
	if outcome(t, answer).Allow {
		t.Error("allowed")
	}
}

// The server refuses answers, for example for want of proof: it is said, and asked
// again.
func TestAnswerThatIsNotTaken(t *testing.T) {
	d := desktop.StartBus(t)
	server := d.Pretend()
	q := newQueue(t, 100)
	begin(t, d, q, time.Nanosecond)
	question := push()
	question.Argv = []string{"sudo", "ls"} // high risk: the queue wants proof
	ask(t, q, question)
	server.Wait("show1")
	server.Invoke(1, actionOnce)
	server.Wait("show2")
	if got := server.Texts()[1]; !strings.Contains(got, "not taken") {
		t.Errorf("%q", got)
	}
}

// failing is a daemon that comes back.
type failing struct {
	queue
	streams chan context.CancelFunc
}

func (f failing) Approvals(ctx context.Context, follow bool) iter.Seq2[approval.Change, error] {
	ctx, cancel := context.WithCancel(ctx)
	f.streams <- cancel
	return f.queue.Approvals(ctx, follow)
}

// While the daemon was away a question ended: it goes when the stream is back.
func TestDaemonComesBack(t *testing.T) {
	d := desktop.StartBus(t)
	server := d.Pretend()
	f := failing{newQueue(t, 100), make(chan context.CancelFunc)}
	begin(t, d, f, 0)
	cut := <-f.streams
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan approval.Outcome, 1)
	go func() { gone <- f.Wait(ctx, push()) }()
	server.Wait("show1")
	cut()
	cut = <-f.streams
	cut()
	cancel()
	outcome(t, gone)
	<-f.streams
	server.Wait("close1")
}
