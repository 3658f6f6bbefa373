// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"bufio"
	"crypto/rand"
	"strconv"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sys/unix"
)

// execEvent and exitEvent are as the daemon makes them of a storm of execs.
func execEvent(i int, at time.Time) Event {
	return Event{Time: at, Name: NameProcessExec, Severity: Info, Session: "01JDEFGHJKMNPQRSTVWXYZ0123", Attrs: map[string]any{
		AttrProcessPID: int64(4000 + i%30000), AttrProcessStart: int64(1e14 + i*1000), AttrAgent: "codex",
		AttrToolCallID: "call_" + strconv.Itoa(i/50), AttrThreadID: "0199a213-81c0-7800-8aa1-bbab2a035a53",
		AttrProcessParentPID: int64(3999), AttrProcessUserID: int64(1000), AttrProcessOwner: "dev",
		AttrProcessExecutableName: "git", AttrCalledAs: "/usr/bin/git", AttrFileID: "8:1:1234567",
		AttrProcessCommandArgs: []string{"git", "-c", "core.pager=cat", "log", "--oneline", "-n", strconv.Itoa(i % 100)}, AttrProcessExecutablePath: "/usr/bin/git",
		AttrProcessWorkingDir: "/home/dev/src/project", AttrDecision: "allow", AttrDecisionReason: "allowed before, unchanged since",
		AttrDecisionEnforced: true, AttrMode: "enforce", AttrGate: "exec.hold", AttrPolicyGeneration: int64(3),
	}}
}

func exitEvent(i int, at time.Time) Event {
	return Event{Time: at, Name: NameProcessExit, Severity: Info, Session: "01JDEFGHJKMNPQRSTVWXYZ0123", Attrs: map[string]any{
		AttrProcessPID: int64(4000 + i%30000), AttrProcessStart: int64(1e14 + i*1000), AttrAgent: "codex",
		AttrToolCallID: "call_" + strconv.Itoa(i/50), AttrThreadID: "0199a213-81c0-7800-8aa1-bbab2a035a53",
		AttrProcessExitCode: int64(0),
	}}
}

// What one event of a storm costs, from Record until it is durable.
func BenchmarkRecord(b *testing.B) {
	s, err := Open(b.Context(), b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	at := time.Now()
	b.ReportAllocs()
	b.ResetTimer()
	before := processorTime(b)
	for i := range b.N {
		e := execEvent(i, at)
		if i%2 == 1 {
			e = exitEvent(i, at)
		}
		if err := s.Room(b.Context()); err != nil {
			b.Fatal(err)
		}
		if err := s.Record(b.Context(), e); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(processorTime(b)-before)/float64(b.N), "cpu-ns/op")
}

// processorTime is what this process has used: what else the machine does changes it least.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// What it costs to make an event ready for the disk, for who records it.
func BenchmarkRow(b *testing.B) {
	s := Store{redactor: newRedactor(make([]byte, 32)), entropy: ulid.Monotonic(bufio.NewReader(rand.Reader), 0)}
	at := time.Now()
	for name, e := range map[string]Event{"exec": execEvent(0, at), "exit": exitEvent(0, at)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				if _, err := s.row(&e); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
