// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// writerDir is set in the child that TestKilledWriter starts.
const writerDir = "PADDOCK_TEST_WRITER_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(writerDir); dir != "" {
		fmt.Fprintln(os.Stderr, writeForEver(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// writeForEver records events in groups. It prints "record N" before it records up to number N, and N whenever a
// Flush acknowledged it.
func writeForEver(dir string) error {
	s, err := Open(context.Background(), dir, Options{MaxQueued: 512, Gather: time.Millisecond, Account: dir + ".account", Boot: "b"})
	if err != nil {
		return err
	}
	n := int(s.Last())
	for size := 1; ; size = size%97 + 1 {
		for range 3 {
			fmt.Println("record", n+size)
			if err := s.Record(context.Background(), numbered(n+1, n+size)...); err != nil {
				return err
			}
			n += size
		}
		if err := s.Flush(context.Background()); err != nil {
			return err
		}
		fmt.Println(n)
	}
}

// TestKilledWriter kills a process in the middle of its writing, again and
// again, and looks whether every event it was told is stored is there, and
// whether the number of those that are not is known.
func TestKilledWriter(t *testing.T) {
	dir := t.TempDir()
	for round := range 8 {
		acknowledged, recorded := killWriter(t, dir, 5+7*round)
		s := openStore(t, dir, Options{Account: dir + ".account", Boot: "b"})
		var n int64
		for {
			page := query(t, s, Query{After: n, Limit: 5000})
			if len(page) == 0 {
				break
			}
			for _, e := range page {
				if n++; e.Seq != n || e.Attrs["n"] != n {
					t.Fatalf("round %d: event %d has seq %d and number %v", round, n, e.Seq, e.Attrs["n"])
				}
			}
		}
		if n < int64(acknowledged) {
			t.Fatalf("round %d: %d events are there, %d were acknowledged", round, n, acknowledged)
		}
		// The last one may not have been recorded any more.
		if lost, known := s.LostBefore(); !known || !slices.Contains(recorded[len(recorded)-2:], int(n)+int(lost)) {
			t.Errorf("round %d: %d stored and %d lost (%v), %d were recorded", round, n, lost, known, recorded[len(recorded)-2:])
		}
		var integrity string
		if err := s.db.read.QueryRow(`PRAGMA integrity_check`).Scan(&integrity); err != nil || integrity != "ok" {
			t.Fatalf("round %d: integrity is %q, %v", round, integrity, err)
		}
		checkIdentities(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// killWriter lets a child write until it acknowledged so many times, kills it,
// and returns the number of the last event acknowledged, and those it was about
// to record up to.
func killWriter(t *testing.T, dir string, times int) (last int, recorded []int) {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), writerDir+"="+dir)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for seen := 0; lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "record "); ok {
			n, err := strconv.Atoi(text)
			if err != nil {
				t.Error(err)
			}
			recorded = append(recorded, n)
			continue
		}
		seen++
		if last, err = strconv.Atoi(lines.Text()); err != nil {
			t.Error(err)
		}
		if seen == times {
			if err := child.Process.Kill(); err != nil {
				t.Error(err)
			}
			// What it printed before it died counts too: the loop ends with the pipe.
		}
	}
	if err := child.Wait(); err == nil || child.ProcessState.ExitCode() != -1 {
		t.Fatalf("the writer was not killed: %v", child.ProcessState)
	}
	return last, recorded
}

// Of what was before another start of the machine, or before there was an account, nobody knows how much is lost.
func TestLossThatNobodyKnows(t *testing.T) {
	dir := t.TempDir()
	path := dir + "/account"
	var left []byte // by a process that was killed
	for i, boot := range []string{"one", "two", "two"} {
		if left != nil {
			if err := os.WriteFile(path, left, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s := openStore(t, dir+"/events", Options{Account: path, Boot: boot})
		if n, known := s.LostBefore(); n != 0 || known != (i == 2) {
			t.Errorf("start %d: %d, known %v", i, n, known)
		}
		if err := s.Record(t.Context(), numbered(1, 10)...); err != nil {
			t.Fatal(err)
		}
		flush(t, s)
		var err error
		if left, err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a stop in order leaves its account: %v", err)
		}
	}
}
