// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// exchange sends a request and returns all of the answer.
func exchange(t *testing.T, conn net.Conn, request string) string {
	t.Helper()
	_, err := io.WriteString(conn, request)
	got, readErr := io.ReadAll(conn)
	if len(got) == 0 && (err != nil || readErr != nil) {
		t.Fatalf("no answer: %v, %v", err, readErr)
	}
	return string(got)
}

func short(s *Server) {
	s.limits = limits{200 * time.Millisecond, 200 * time.Millisecond}
}

func answers(t *testing.T, path string) {
	t.Helper()
	if _, err := NewClient(path).Status(t.Context()); err != nil {
		t.Errorf("the others are not answered: %v", err)
	}
}

func TestHangingClients(t *testing.T) {
	path, _ := serve(t, newFake(), short)
	for name, part := range map[string]string{
		"nothing":       "",
		"half a header": "GET /v1/status HTTP/1.1\r\nHo",
		"half a body":   "POST /v1/run HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{\"argv\"",
	} {
		t.Run(name, func(t *testing.T) {
			conn := dial(t, path)
			if _, err := io.WriteString(conn, part); err != nil {
				t.Fatal(err)
			}
			answers(t, path)
			// It is cut off: the read ends, long before its own deadline.
			if got, err := io.ReadAll(conn); err != nil || strings.HasPrefix(string(got), "HTTP/1.1 200") {
				t.Errorf("%q, %v; want to be cut off", got, err)
			}
		})
	}
}

// A client that follows and never reads fills its socket's buffer; the write
// that does not fit must not wait for ever.
func TestClientThatNeverReads(t *testing.T) {
	f := newFake()
	f.live = func(yield func(telemetry.Event, error) bool) {
		for i := int64(10); ; i++ {
			if !yield(telemetry.Event{ID: strings.Repeat("x", 4096), Seq: i, Session: sessionRoot}, nil) {
				return
			}
		}
	}
	path, _ := serve(t, f, short)
	conn := dial(t, path)
	if _, err := io.WriteString(conn, "GET /v1/events?follow=1 HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answers(t, path)
	<-f.left
}

// Time limits are for requests and for writing: who follows quietly is not cut
// off by them.
func TestFollowOutlivesTheLimits(t *testing.T) {
	f := newFake()
	more := make(chan int64)
	f.live = func(yield func(telemetry.Event, error) bool) {
		for seq := range more {
			if !yield(telemetry.Event{ID: fmt.Sprint(seq), Seq: seq}, nil) {
				return
			}
		}
	}
	path, _ := serve(t, f, short)
	got := ""
	for e, err := range NewClient(path).Events(t.Context(), telemetry.Query{After: 4}, true) {
		if err != nil {
			t.Fatal(err)
		}
		got += e.ID
		if e.ID == "7" {
			break
		}
		// One after all limits, one at once.
		if e.Seq == 5 {
			wait := time.NewTimer(600 * time.Millisecond)
			go func() {
				<-wait.C
				more <- 6
				more <- 7
				close(more)
			}()
		}
	}
	if got != "e67" {
		t.Errorf("followed %q", got)
	}
	<-f.left
}

func TestFollowWithLimitEnds(t *testing.T) {
	f := newFake()
	path, _ := serve(t, f, nil)
	got, err := collect(NewClient(path).Events(t.Context(), telemetry.Query{Limit: 3}, true))
	if got != "abc" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// The newest first, then on without a gap and without one twice.
func TestFollowFromTheNewest(t *testing.T) {
	f := newFake()
	f.live = func(yield func(telemetry.Event, error) bool) {
		yield(telemetry.Event{ID: "f", Seq: 6}, nil)
	}
	path, _ := serve(t, f, nil)
	got := ""
	for e, err := range NewClient(path).Events(t.Context(), telemetry.Query{Limit: 2, Newest: true}, true) {
		if err != nil {
			t.Fatal(err)
		}
		if got += e.ID; e.ID == "f" {
			break
		}
	}
	if got != "def" {
		t.Errorf("%q", got)
	}
	<-f.left
}

func TestOversizedRequests(t *testing.T) {
	path, _ := serve(t, newFake(), nil)
	err := try(t, NewClient(path), "POST", "/v1/run", RunRequest{Argv: []string{strings.Repeat("x", maxBody)}})
	wantError(t, err, 413)
	got := exchange(t, dial(t, path), "GET /v1/status HTTP/1.1\r\nHost: x\r\nX: "+strings.Repeat("x", 8*maxHeader)+"\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 431") {
		t.Errorf("%.60q; want 431", got)
	}
	got = exchange(t, dial(t, path), "GET /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello")
	if !strings.HasPrefix(got, "HTTP/1.1 400") {
		t.Errorf("%.60q; want 400 for a body nobody reads", got)
	}
	got = exchange(t, dial(t, path), "\x16\x03\x01 not http\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 400") {
		t.Errorf("%.60q; want 400", got)
	}
	answers(t, path)
}
