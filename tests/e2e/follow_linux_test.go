// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// follower is `paddock events --follow --json`: what a test waits on.
type follower struct {
	t *testing.T

	mu   sync.Mutex
	all  []telemetry.Event
	more chan struct{}
	end  error // why the stream ended
}

// follow shows every event the daemon has, and those to come.
func (m *machine) follow(more ...string) *follower {
	m.t.Helper()
	f := &follower{t: m.t, more: make(chan struct{})}
	args := append([]string{"--socket", m.socket(), "events", "--follow", "--json"}, more...)
	cmd := exec.CommandContext(m.t.Context(), shared.paddock, args...)
	out, err := cmd.StdoutPipe()
	must(m.t, err)
	must(m.t, cmd.Start())
	done := make(chan struct{})
	go func() {
		defer close(done)
		lines := bufio.NewReaderSize(out, 1<<20)
		for {
			line, err := lines.ReadBytes('\n')
			if err != nil {
				break
			}
			var e telemetry.Event
			if err := json.Unmarshal(line, &e); err != nil {
				f.add(nil, fmt.Errorf("reading the event %.200q: %w", line, err))
				break
			}
			f.add(&e, nil)
		}
		f.add(nil, fmt.Errorf("the stream of events ended: %w", cmd.Wait()))
	}()
	m.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-done
	})
	return f
}

func (f *follower) add(e *telemetry.Event, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e != nil {
		f.all = append(f.all, *e)
	}
	if f.end == nil {
		f.end = err
	}
	close(f.more)
	f.more = make(chan struct{})
}

// wait returns the first event that fits.
func (f *follower) wait(what string, fits func(telemetry.Event) bool) telemetry.Event {
	f.t.Helper()
	timer := time.NewTimer(waitLimit())
	defer timer.Stop()
	for seen := 0; ; {
		f.mu.Lock()
		events, more, end := f.all[seen:], f.more, f.end
		f.mu.Unlock()
		for i := range events {
			if fits(events[i]) {
				return events[i]
			}
		}
		seen += len(events)
		if end != nil {
			f.t.Fatalf("no event: %s: %v", what, end)
		}
		select {
		case <-more:
		case <-timer.C:
			for _, e := range f.list()[max(0, seen-8):] {
				f.t.Logf("%s %s %.600s", e.Name, e.Session, fmt.Sprint(e.Attrs))
			}
			f.t.Fatalf("no event: %s", what)
		}
	}
}

// list is what came so far.
func (f *follower) list() []telemetry.Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]telemetry.Event(nil), f.all...)
}

// named waits for an event of a session; session "" is any.
func (f *follower) named(name, session string) telemetry.Event {
	f.t.Helper()
	return f.wait(name, func(e telemetry.Event) bool {
		return e.Name == name && (session == "" || e.Session == session)
	})
}

// exec waits for the exec of a program with these arguments, argv[0] left out;
// without arguments any will do.
func (f *follower) exec(session, program string, args ...string) telemetry.Event {
	f.t.Helper()
	return f.wait(fmt.Sprintf("exec of %s %q", program, args), func(e telemetry.Event) bool {
		return e.Name == telemetry.NameProcessExec && e.Session == session &&
			e.Attrs[telemetry.AttrProcessExecutableName] == program && argsFit(e, args)
	})
}

func argsFit(e telemetry.Event, args []string) bool {
	if len(args) == 0 {
		return true
	}
	had, _ := e.Attrs[telemetry.AttrProcessCommandArgs].([]string)
	return len(had) > 0 && fmt.Sprint(had[1:]) == fmt.Sprint(args)
}

// applied waits for a policy that came into force after the event with this
// number, and returns its own. (A generation's number begins anew with a new
// kernel side.)
func (f *follower) applied(after int64) int64 {
	f.t.Helper()
	return f.wait(fmt.Sprintf("a policy after event %d", after), func(e telemetry.Event) bool {
		return e.Name == telemetry.NamePolicyApplied && e.Seq > after
	}).Seq
}

func number(e telemetry.Event, attr string) int64 {
	n, _ := e.Attrs[attr].(int64)
	return n
}

func text(e telemetry.Event, attr string) string {
	s, _ := e.Attrs[attr].(string)
	return s
}

// lastSeq is the number of the newest event so far.
func (m *machine) lastSeq() int64 {
	m.t.Helper()
	out, _, _ := m.cli("events", "--json", "--limit", "1")
	var e telemetry.Event
	must(m.t, json.Unmarshal([]byte(out), &e))
	return e.Seq
}

// fence waits until everything that happened so far has its event.
func (m *machine) fence() {
	m.t.Helper()
	last := m.lastSeq()
	_, err := m.run("/bin/true")
	must(m.t, err)
	m.events.wait("the end of an agent", func(e telemetry.Event) bool {
		return e.Name == telemetry.NameSessionEnd && e.Seq > last
	})
}
