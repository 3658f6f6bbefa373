// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed-649e9bbc/paddock/daemon/approval"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

const unameAsked = `
[rules]
prefix_rules = [
  { pattern = [{ token = "uname" }], decision = "prompt", justification = "it tells where it is" },
]
[paddock]
mode = "enforce"
`

// asking is a machine on which people are asked.
func asking(t *testing.T, requirements string) (*machine, *approval.Queue) {
	t.Helper()
	m := newMachine(t, requirements)
	q, err := approval.Open(approval.Options{File: filepath.Join(t.TempDir(), "approvals.json"), Events: m.log})
	must(t, err)
	t.Cleanup(func() { q.Close() })
	m.Approvals = q
	m.apply(requirements)
	must(t, m.Prove(t.Context()))
	return m, q
}

// Whatever mechanisms the kernel has, what a rule asks about runs after a yes, and
// only then.
func TestPersonDecides(t *testing.T) {
	m, q := asking(t, unameAsked)

	questions := make(chan approval.Approval, 16)
	go func() {
		for c := range q.Follow(t.Context(), approval.Viewer{}, true) {
			if c.Approval != nil && c.Approval.State == approval.Pending && c.Approval.Merged == 1 {
				questions <- *c.Approval
			}
		}
	}()
	next := func() approval.Approval {
		t.Helper()
		select {
		case a := <-questions:
			return a
		case <-time.After(2 * time.Minute):
			t.Fatal("nothing is asked")
			return approval.Approval{}
		}
	}
	type result struct {
		out string
		err error
	}
	begin := func(script string) <-chan result {
		done := make(chan result, 1)
		go func() { out, err := m.run(script); done <- result{out, err} }()
		return done
	}
	for _, one := range []struct {
		script string
		allow  bool
		out    string
	}{
		{"uname", true, "Linux\n"},
		{"$(echo una)me -s", false, "refused by alice (no)"},
		{"cp $(command -v uname) other; ./other", true, "Linux\n"}, // by its content
		{"sh -c 'exec uname -r'", false, "refused by alice (no)"},
	} {
		done := begin(one.script)
		a := next()
		select {
		case r := <-done:
			t.Fatalf("%s ended before the answer: %+v", one.script, r)
		default:
		}
		_, err := q.Answer(a.ID, approval.Answerer{UID: a.UID, User: "alice", By: approval.ByTerminal, Proof: "terminal"}, approval.Reply{Allow: one.allow, Reason: map[bool]string{false: "no"}[one.allow]})
		must(t, err)
		if r := <-done; !strings.Contains(r.out, one.out) || (r.err == nil) != one.allow {
			t.Errorf("%s: %q, %v", one.script, r.out, r.err)
		}
	}
	m.wait("the event of what was approved", func(e telemetry.Event) bool {
		return e.Name == telemetry.NameProcessExec && e.Attrs[telemetry.AttrApprovalState] == "allowed" && e.Attrs[telemetry.AttrApprovalUser] == "alice"
	})

	// Its process ends: there is nothing to answer any more.
	done := begin("uname -m & sleep 600 & echo $!; wait")
	a := next()
	for _, x := range m.asks.execs() {
		must(t, unix.Kill(x.PID, unix.SIGKILL))
	}
	m.wait("the end of the question", func(e telemetry.Event) bool {
		return e.Name == telemetry.NameApprovalCancelled && e.Attrs[telemetry.AttrApprovalID] == a.ID
	})
	procs, err := m.Kernel.Procs()
	must(t, err)
	for pid := range procs {
		must(t, unix.Kill(pid, unix.SIGKILL))
	}
	<-done
}

// Root's processes of a session, or another user's, do not get an answer that was for its own user's.
func TestWhoItRunsAsIsSaid(t *testing.T) {
	m, q := asking(t, unameAsked)
	type result struct {
		out string
		err error
	}
	done := make(chan result, 1)
	go func() {
		out, err := m.run("uname -s & setpriv --reuid 65534 --clear-groups uname -s & setpriv --euid 65534 uname -s & wait")
		done <- result{out, err}
	}()
	asked := map[string]int{}
	answered := 0
	for c := range q.Follow(t.Context(), approval.Viewer{}, true) {
		a := c.Approval
		if a == nil || a.State != approval.Pending {
			continue
		}
		if asked[a.RunsAs] = a.Merged; asked[""] != 1 || asked["nobody"] != 2 {
			continue
		}
		for w := range q.Follow(t.Context(), approval.Viewer{}, false) {
			if w.Approval == nil {
				continue
			}
			if w.Approval.UID != 0 {
				t.Errorf("user %d is asked, and not whose session it is", w.Approval.UID)
			}
			_, err := q.Answer(w.Approval.ID, approval.Answerer{By: approval.ByTerminal, Proof: "terminal"}, approval.Reply{Allow: w.Approval.RunsAs == ""})
			must(t, err)
			answered++
		}
		break
	}
	r := <-done
	if answered != 2 || len(asked) != 2 || strings.Count(r.out, "Linux") != 1 {
		t.Errorf("asked of %v, %d answered, one of them with yes: %q, %v", asked, answered, r.out, r.err)
	}
}

// However it is called, a command has the risk of what runs.
func TestRiskIsOfWhatRuns(t *testing.T) {
	const asked = `
[rules]
prefix_rules = [{ pattern = [{ token = "git" }], decision = "prompt", justification = "git is asked about" }]
[paddock]
mode = "enforce"
`
	m, q := asking(t, asked)
	loaders, _ := filepath.Glob("/lib*/ld-linux*")
	asks := make(chan *approval.Approval, 16)
	go func() {
		for c := range q.Follow(t.Context(), approval.Viewer{}, true) {
			if c.Approval != nil && c.Approval.State == approval.Pending && c.Approval.Merged == 1 {
				asks <- c.Approval
			}
		}
	}()
	for script, risk := range map[string]string{
		"git credential fill":                                         "credentials",
		"bash -c 'exec -a git-credential git fill'":                   "credentials",
		loaders[0] + " $(command -v git) credential fill":             "credentials",
		loaders[0] + " --argv0 git-credential $(command -v git) fill": "credentials",
		"git --version": "",
	} {
		done := make(chan struct{})
		go func() { _, _ = m.run(script + "; true"); close(done) }()
		select {
		case a := <-asks:
			if a.Risk != risk {
				t.Errorf("%s: risk %q, want %q", script, a.Risk, risk)
			}
			_, err := q.Answer(a.ID, approval.Answerer{UID: a.UID, User: "alice", By: approval.ByTerminal, Proof: "terminal"}, approval.Reply{})
			must(t, err)
		case <-time.After(2 * time.Minute):
			t.Fatalf("%s: nothing is asked", script)
		}
		<-done
	}
}
