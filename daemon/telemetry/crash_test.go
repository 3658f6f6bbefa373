// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
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

// writeForEver records events in groups, and prints the number of the last one
// whenever a Flush acknowledged it.
func writeForEver(dir string) error {
	s, err := Open(context.Background(), dir, Options{MaxQueued: 512, Gather: time.Millisecond})
	if err != nil {
		return err
	}
	n := int(s.Last())
	for size := 1; ; size = size%97 + 1 {
		for range 3 {
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
// again, and looks whether every event it was told is stored is there.
func TestKilledWriter(t *testing.T) {
	dir := t.TempDir()
	for round := range 8 {
		acknowledged := killWriter(t, dir, 5+7*round)
		s := openStore(t, dir, Options{})
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
// and returns the number of the last event acknowledged.
func killWriter(t *testing.T, dir string, times int) int {
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
	var last int
	lines := bufio.NewScanner(out)
	for seen := 0; lines.Scan(); seen++ {
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
	return last
}
