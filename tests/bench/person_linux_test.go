// SPDX-License-Identifier: Apache-2.0

//go:build amd64

package bench

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/api"
	"github.com/seed-649e9bbc/paddock/daemon/approval"
	"github.com/seed-649e9bbc/paddock/daemon/companion"
	"github.com/seed-649e9bbc/paddock/daemon/companion/notify"
	"github.com/seed-649e9bbc/paddock/tests/desktop"
)

const (
	// visibleLimit is how long after the command its question may be on the screen.
	visibleLimit = 150 * time.Millisecond
	// hookLimit is what a hook without a question may take.
	hookLimit = 10 * time.Millisecond
)

// silent is a daemon that has nothing against anything.
type silent struct{ api.Backend }

func (silent) Governed(int) bool { return false }

func (silent) RequestTool(context.Context, api.Peer, api.ToolRequest) (api.ToolAnswer, error) {
	return api.ToolAnswer{Decision: api.ToolNone}, nil
}

// testHook measures the whole of `paddock hook` as an agent does: from its start to its
// end.
func testHook(t *testing.T, binary string) {
	socket := filepath.Join(t.TempDir(), "p.sock")
	server := api.NewServer(socket, silent{}, slog.New(slog.DiscardHandler))
	must(t, server.Start(t.Context()))
	defer func() { must(t, server.Shutdown(context.Background())) }()
	runs := 10
	if thorough() {
		runs = 200
	}
	var took []float64
	for range runs {
		cmd := exec.Command(binary, "--socket", socket, "hook", "codex")
		cmd.Stdin = strings.NewReader(`{"hook_event_name":"PreToolUse","tool_name":"Bash","tool_use_id":"call_1","tool_input":{"command":"ls -l | wc -l"}}`)
		began := time.Now()
		out, err := cmd.CombinedOutput()
		took = append(took, time.Since(began).Seconds()*1000)
		if err != nil || len(out) > 0 {
			t.Fatalf("%v, %s", err, out)
		}
	}
	t.Logf("%d hooks without a question: %.1f ms (p95 %.1f)", runs, median(took), quantile(took, 0.95))
	if limit := float64(hookLimit.Milliseconds()); thorough() && median(took) > limit {
		t.Errorf("a hook takes %.1f ms, more than %.0f ms", median(took), limit)
	}
}

// direct is the queue without the socket between.
type direct struct{ *approval.Queue }

func (q direct) Approvals(ctx context.Context, follow bool) iter.Seq2[approval.Change, error] {
	return q.Follow(ctx, approval.Viewer{UID: 1000}, follow)
}

func (q direct) AnswerApproval(_ context.Context, id string, r approval.Reply) (approval.Approval, error) {
	return q.Answer(id, approval.Answerer{UID: 1000, By: approval.ByCompanion}, r)
}

// testVisible measures from a question to the pixels of its notification. What comes
// before, from the command to the question that a client sees, is testApproval's.
func testVisible(t *testing.T) {
	for _, server := range []string{"notification-daemon", "dunst"} {
		d := desktop.Start(t)
		d.Serve(server)
		q, err := approval.Open(approval.Options{File: filepath.Join(t.TempDir(), "approvals.json")})
		must(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		screen := notify.Start(ctx, notify.Options{Address: d.Bus, Trusted: func(int) error { return nil }})
		log := slog.New(slog.DiscardHandler)
		done := make(chan struct{})
		go func() {
			companion.New(companion.Options{Queue: direct{q}, Screen: screen, UID: 1000, Log: log, Terminal: t.Output()}).Run(ctx)
			close(done)
		}()
		runs := 3
		if thorough() {
			runs = 25 // a session may ask 30 times a minute
		}
		d.Blank()
		var took []float64
		for i := range runs {
			question := approval.Question{
				Kind: approval.Command, Session: fmt.Sprint("s", i), Agent: "codex", UID: 1000,
				Subject: approval.Subject{Argv: []string{"git", "push", fmt.Sprint(i)}}, Why: approval.Why{Reason: "git push needs approval"},
			}
			began := time.Now()
			_, ticket := q.Ask(question, func(approval.Outcome) {})
			if ticket == nil {
				t.Fatal("nobody is asked")
			}
			d.Drawn()
			took = append(took, time.Since(began).Seconds()*1000)
			ticket.Withdraw(approval.ByProcess, "enough")
			d.Blank()
		}
		cancel()
		<-done
		must(t, q.Close())
		t.Logf("%s: %d questions, from the queue to the screen %.1f ms (p95 %.1f)", server, runs, median(took), quantile(took, 0.95))
		if limit := float64(visibleLimit.Milliseconds()); thorough() && median(took) > limit {
			t.Errorf("%s: a question takes %.1f ms to be seen, more than %.0f ms", server, median(took), limit)
		}
	}
}
