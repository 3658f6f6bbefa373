// SPDX-License-Identifier: Apache-2.0

package session

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// clock goes a second on whenever it is read.
func clock() func() time.Time {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return func() time.Time { at = at.Add(time.Second); return at }
}

func newTable() *Table { return NewTable(clock(), rand.Reader) }

func TestStartAndEnd(t *testing.T) {
	table := newTable()
	m := Match{Agent: "codex", Surface: SurfaceExec, Install: "npm", Version: "1"}
	p := Process{PID: 7, Start: 8, UID: 9, User: "u", Exe: "/x", Args: []string{"x", "y"}, Cwd: "/c", Env: map[string]string{"CODEX_CI": "1"}}
	s := table.Start(1, m, p, HowExec)
	want := &Session{
		ID: s.ID, Key: 1, Agent: "codex", Surface: "exec", Install: "npm", Version: "1", User: "u", UID: 9,
		Root: Root{PID: 7, Start: 8, Exe: "/x", Args: []string{"x", "y"}, Cwd: "/c"}, Started: s.Started, How: "exec",
	}
	if diff := cmp.Diff(want, s); diff != "" || len(s.ID) != 26 || s.Started.IsZero() {
		t.Errorf("%s: %s", s.ID, diff)
	}
	if again := table.Start(1, Match{Agent: "other"}, Process{}, HowScan); !cmp.Equal(want, again) {
		t.Errorf("the same key became another session: %+v", again)
	}
	if !table.Count(1, Counters{Execs: 2, NetDenied: 1}) || !table.Count(1, Counters{Execs: 1}) || table.Count(2, Counters{}) {
		t.Error("only what is live counts")
	}
	if table.Live() != 1 {
		t.Errorf("%d live", table.Live())
	}
	ended, ok := table.End(1)
	if !ok || ended.Live() || !ended.Ended.After(ended.Started) || ended.Counters != (Counters{Execs: 3, NetDenied: 1}) {
		t.Errorf("%+v, %v", ended, ok)
	}
	if _, ok := table.End(1); ok {
		t.Error("ended twice")
	}
	if _, ok := table.ByKey(1); ok || table.Live() != 0 {
		t.Error("it is still live")
	}
	if got, ok := table.ByID(s.ID); !ok || !cmp.Equal(ended, got) {
		t.Errorf("%+v, %v", got, ok)
	}
	if _, ok := table.ByID("none"); ok {
		t.Error("found what is not there")
	}
	// The kernel may use the number again; the session is another.
	if s2 := table.Start(1, m, p, HowExec); s2.ID == s.ID {
		t.Error("an ended session began again")
	}
}

func TestCopiesAreHandedOut(t *testing.T) {
	table := newTable()
	args := []string{"x"}
	s := table.Start(1, Match{}, Process{Args: args}, HowRun)
	args[0], s.Root.Args[0], s.Agent = "changed", "changed", "changed"
	list := table.List()
	list[0].Root.Args[0] = "changed"
	got, _ := table.ByKey(1)
	if got.Agent != "" || got.Root.Args[0] != "x" {
		t.Errorf("changed from outside: %+v", got)
	}
}

func TestHugeArgumentsAreCut(t *testing.T) {
	s := newTable().Start(1, Match{}, Process{Args: []string{"x", "y", strings.Repeat("z", 2<<20), "after"}}, HowExec)
	if diff := cmp.Diff([]string{"x", "y"}, s.Root.Args); diff != "" {
		t.Error(diff)
	}
	s = newTable().Start(1, Match{}, Process{Args: make([]string, 1<<20)}, HowExec)
	if len(s.Root.Args) != maxRootArgs {
		t.Errorf("%d empty arguments", len(s.Root.Args))
	}
}

func TestEndedAreForgotten(t *testing.T) {
	table := newTable()
	first := table.Start(1, Match{}, Process{}, HowExec)
	table.End(1)
	live := table.Start(0, Match{}, Process{}, HowExec)
	for key := uint64(2); key < maxEnded+2; key++ {
		table.Start(key, Match{}, Process{}, HowExec)
		table.End(key)
	}
	if _, ok := table.ByID(first.ID); ok {
		t.Error("the first is remembered for ever")
	}
	if _, ok := table.ByID(live.ID); !ok {
		t.Error("a live one was forgotten")
	}
	list := table.List()
	if len(list) != maxEnded+1 {
		t.Errorf("%d sessions", len(list))
	}
	for i := 1; i < len(list); i++ {
		if list[i-1].Started.Before(list[i].Started) {
			t.Fatal("not newest first")
		}
	}
}

func TestIDsWithoutEntropy(t *testing.T) {
	table := NewTable(clock(), iotest.ErrReader(errors.New("dry")))
	a, b := table.Start(1, Match{}, Process{}, HowExec), table.Start(2, Match{}, Process{}, HowExec)
	if len(a.ID) != 26 || a.ID == b.ID {
		t.Errorf("%q, %q", a.ID, b.ID)
	}
}

func TestRestore(t *testing.T) {
	before := newTable()
	before.Start(1<<63+1, Match{Agent: "codex"}, Process{PID: 1, Args: []string{"\xff"}}, HowExec)
	before.Start(2, Match{Agent: "qwen"}, Process{PID: 2}, HowRun)
	before.Count(2, Counters{Denied: 5})
	before.End(2)
	data := before.Snapshot()
	after := newTable()
	if err := after.Restore(data); err != nil {
		t.Fatal(err)
	}
	want := before.List()
	want[1].Root.Args = []string{"\uFFFD"} // JSON has no other bytes
	if diff := cmp.Diff(want, after.List()); diff != "" || after.Live() != 1 {
		t.Errorf("%d live\n%s", after.Live(), diff)
	}
	if s, ok := after.ByKey(1<<63 + 1); !ok || s.Agent != "codex" {
		t.Errorf("%+v, %v", s, ok)
	}
	if err := after.Restore(data); err != nil || len(after.List()) != 2 {
		t.Errorf("twice: %v, %d sessions", err, len(after.List()))
	}
	busy := newTable()
	has := busy.Start(1<<63+1, Match{}, Process{}, HowScan)
	if err := busy.Restore(data); err != nil {
		t.Fatal(err)
	}
	if s, ok := busy.ByKey(1<<63 + 1); !ok || s.ID != has.ID || busy.Live() != 1 {
		t.Errorf("a session that runs gave way to one from before: %+v", s)
	}
	empty := newTable()
	if err := empty.Restore(newTable().Snapshot()); err != nil || len(empty.List()) != 0 {
		t.Errorf("nothing: %v", err)
	}
}

func TestRestoreRefusesWhatIsBroken(t *testing.T) {
	table := newTable()
	table.Start(1, Match{}, Process{}, HowExec)
	good := table.Snapshot()
	for name, data := range map[string][]byte{
		"empty":      nil,
		"cut":        good[:len(good)/2],
		"version":    bytes.Replace(good, []byte(`"version":1`), []byte(`"version":2`), 1),
		"id":         bytes.Replace(good, []byte(`"id":"`), []byte(`"id":"!`), 1),
		"not at all": []byte("[]"),
	} {
		other := newTable()
		if err := other.Restore(data); err == nil || !strings.Contains(err.Error(), "sessions from before") || len(other.List()) != 0 {
			t.Errorf("%s: %v, %d sessions", name, err, len(other.List()))
		}
	}
}

func FuzzRestore(f *testing.F) {
	table := newTable()
	table.Start(1, Match{Agent: "a"}, Process{}, HowExec)
	table.Start(2, Match{}, Process{}, HowExec)
	table.End(2)
	f.Add(table.Snapshot())
	f.Fuzz(func(t *testing.T, data []byte) {
		got := newTable()
		if got.Restore(data) != nil {
			return
		}
		again := newTable()
		if err := again.Restore(got.Snapshot()); err != nil {
			t.Fatal(err)
		}
		if !json.Valid(again.Snapshot()) || again.Live() != got.Live() || len(again.List()) != len(got.List()) {
			t.Fatalf("%s\n%s", got.Snapshot(), again.Snapshot())
		}
	})
}

func TestTableIsSafeForManyAtOnce(t *testing.T) {
	table := NewTable(time.Now, rand.Reader)
	var all sync.WaitGroup
	for n := range uint64(8) {
		all.Go(func() {
			for i := range uint64(200) {
				key := n<<32 | i
				s := table.Start(key, Match{}, Process{Args: []string{"x"}}, HowExec)
				table.Count(key, Counters{Execs: 1})
				if i%2 == 0 {
					table.End(key)
				}
				table.ByID(s.ID)
				if i%50 == 0 {
					table.List()
				}
			}
		})
	}
	all.Wait()
	if table.Live() != 8*100 {
		t.Errorf("%d live", table.Live())
	}
	ids := map[string]bool{}
	for _, s := range table.List() {
		ids[s.ID] = true
		if s.Counters.Execs != 1 {
			t.Errorf("%+v", s)
		}
	}
	if len(ids) != 8*200 {
		t.Errorf("%d IDs", len(ids))
	}
}

// Whatever happens in whatever order, the table is what a list of sessions
// would be, and a restart changes nothing.
func TestTableModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table := newTable()
		live, execs := map[uint64]string{}, map[string]uint64{}
		steps := rapid.IntRange(1, 60).Draw(t, "steps")
		for range steps {
			key := rapid.Uint64Range(0, 5).Draw(t, "key")
			switch rapid.SampledFrom([]string{"start", "end", "count", "restart"}).Draw(t, "what") {
			case "start":
				s := table.Start(key, Match{}, Process{}, HowExec)
				if id, ok := live[key]; ok && id != s.ID {
					t.Fatalf("key %d was %s, is %s", key, id, s.ID)
				} else if _, seen := execs[s.ID]; !ok && seen {
					t.Fatalf("%s began again", s.ID)
				}
				live[key] = s.ID
				execs[s.ID] += 0
			case "end":
				if _, ok := table.End(key); ok != (live[key] != "") {
					t.Fatalf("ending %d: %v", key, ok)
				}
				delete(live, key)
			case "count":
				if table.Count(key, Counters{Execs: 1}) {
					execs[live[key]]++
				}
			case "restart":
				next := newTable()
				if err := next.Restore(table.Snapshot()); err != nil {
					t.Fatal(err)
				}
				next.now = table.now
				table = next
			}
			if table.Live() != len(live) || len(table.List()) != len(execs) {
				t.Fatalf("%d live of %d, want %d of %d", table.Live(), len(table.List()), len(live), len(execs))
			}
			for id, n := range execs {
				if s, ok := table.ByID(id); !ok || s.Counters.Execs != n {
					t.Fatalf("%s: %+v, want %d", id, s, n)
				}
			}
		}
	})
}
