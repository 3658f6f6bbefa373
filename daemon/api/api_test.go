// SPDX-License-Identifier: Apache-2.0

package api

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-649e9bbc/paddock/daemon/session"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

func TestAsk(t *testing.T) {
	f := newFake()
	path, _ := serve(t, f, nil)
	c := NewClient(path)
	status, err := c.Status(t.Context())
	if diff := cmp.Diff(f.status, status); err != nil || diff != "" {
		t.Errorf("status: %v\n%s", err, diff)
	}
	sessions, err := c.Sessions(t.Context())
	if diff := cmp.Diff(f.sessions, sessions); err != nil || diff != "" {
		t.Errorf("sessions: %v\n%s", err, diff)
	}
	for _, q := range []struct {
		query telemetry.Query
		want  string
	}{
		{telemetry.Query{}, "abcde"},
		{telemetry.Query{After: 2}, "cde"},
		{telemetry.Query{Limit: 2}, "ab"},
		{telemetry.Query{Names: []string{"paddock.process.exit", "paddock.daemon.start"}}, "ade"},
		{telemetry.Query{Session: sessionNobody}, "cd"},
		{telemetry.Query{Session: "0xyz", Limit: 1}, "c"},
		{telemetry.Query{Limit: 2, Newest: true}, "de"},
		{telemetry.Query{Limit: 2, After: 4, Newest: true}, "e"},
		{telemetry.Query{Session: sessionNobody, Limit: 1, Newest: true}, "d"},
		{telemetry.Query{Names: []string{telemetry.NameTamper}, Limit: 1, Newest: true}, ""},
		{telemetry.Query{Session: "01JZ000000000000000FORGOT1"}, "e"},
	} {
		if got, err := collect(c.Events(t.Context(), q.query, false)); got != q.want || err != nil {
			t.Errorf("events %+v: %q, %v; want %q", q.query, got, err, q.want)
		}
	}
	var all []telemetry.Event
	for e, err := range c.Events(t.Context(), telemetry.Query{}, false) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	if diff := cmp.Diff(f.events, all); diff != "" {
		t.Errorf("events changed on the way:\n%s", diff)
	}
}

func TestEventsBeyondAPage(t *testing.T) {
	f := newFake()
	f.events = nil
	for i := range int64(2*eventsPage + 1) {
		f.events = append(f.events, telemetry.Event{ID: "x", Seq: i + 1})
	}
	path, _ := serve(t, f, nil)
	got, err := collect(NewClient(path).Events(t.Context(), telemetry.Query{}, false))
	if len(got) != len(f.events) || err != nil {
		t.Errorf("%d events, %v; want %d", len(got), err, len(f.events))
	}
	got, err = collect(NewClient(path).Events(t.Context(), telemetry.Query{Limit: eventsPage + 2}, false))
	if len(got) != eventsPage+2 || err != nil {
		t.Errorf("%d events, %v; want %d", len(got), err, eventsPage+2)
	}
}

func TestRunAdoptsTheCaller(t *testing.T) {
	f := newFake()
	path, _ := serve(t, f, nil)
	req := RunRequest{Agent: "codex", Argv: []string{"make", strings.Repeat("x", maxRunArgs)}, Cwd: "/src"}
	res, err := NewClient(path).Run(t.Context(), req)
	if err != nil || res.SessionID != sessionRoot {
		t.Fatalf("%+v, %v", res, err)
	}
	want := []Peer{{PID: os.Getpid(), UID: uint32(os.Getuid()), GID: uint32(os.Getgid())}}
	if diff := cmp.Diff(want, f.taken()); diff != "" {
		t.Errorf("adopted:\n%s", diff)
	}
	if diff := cmp.Diff([]RunRequest{{"codex", []string{"make"}, "/src"}}, f.requests); diff != "" {
		t.Errorf("what was too long for a label was to be left out:\n%s", diff)
	}
	f.err = errors.New("the kernel has no room")
	_, err = NewClient(path).Run(t.Context(), req)
	wantError(t, err, 500)
}

func TestBadQuestions(t *testing.T) {
	path, _ := serve(t, newFake(), nil)
	c := NewClient(path)
	for _, q := range []string{"?limit=x", "?after=-1", "?follow=perhaps", "?sesion=1", "?session=xy", "?limit=-1", "?newest=1", "?newest=1&limit=10001", "?newest=x"} {
		err := try(t, c, "GET", "/v1/events"+q, nil)
		wantError(t, err, 400)
	}
	for _, id := range []string{"ZZZZ", "01JZ000000000000000000NONE"[1:]} {
		_, err := collect(c.Events(t.Context(), telemetry.Query{Session: id}, false))
		wantError(t, err, 404)
	}
	for _, body := range []any{
		"text", RunRequest{}, RunRequest{Argv: []string{""}}, RunRequest{Agent: "a b", Argv: []string{"x"}}, map[string]any{"argv": []string{"x"}, "uid": 0},
	} {
		err := try(t, c, "POST", "/v1/run", body)
		wantError(t, err, 400)
	}
	err := try(t, c, "GET", "/v1/nothing", nil)
	wantError(t, err, 404)
	err = try(t, c, "DELETE", "/v1/sessions", nil)
	wantError(t, err, 405)
}

func TestAmbiguousSession(t *testing.T) {
	f := newFake()
	f.sessions = append(f.sessions, session.Session{ID: "01JZ1000000000000000000ABC"})
	path, _ := serve(t, f, nil)
	_, err := collect(NewClient(path).Events(t.Context(), telemetry.Query{Session: "0ABC"}, false))
	wantError(t, err, 400)
}

func TestErrorWithinEvents(t *testing.T) {
	f := newFake()
	f.err = errors.New("the disk is gone")
	path, _ := serve(t, f, nil)
	got, err := collect(NewClient(path).Events(t.Context(), telemetry.Query{}, false))
	if got != "abcde" || err == nil || err.Error() != f.err.Error() {
		t.Errorf("%q, %v; want what there was, and why no more", got, err)
	}
}

func FuzzParseEventLine(f *testing.F) {
	f.Add([]byte(`{"error":"no"}`))
	f.Add([]byte(`{"id":"x","attrs":{"a":1}}`))
	f.Add([]byte(`{"error":`))
	f.Fuzz(func(t *testing.T, line []byte) {
		if e, err := parseEventLine(line); err != nil && (err.Error() == "" && !strings.Contains(string(line), "error") || e.ID != "") {
			t.Fatalf("%+v, %v", e, err)
		}
	})
}

func FuzzParseRun(f *testing.F) {
	f.Add(`{"agent":"codex","argv":["a"],"cwd":"/"}`)
	f.Add(`{"argv":[""]} {}`)
	f.Fuzz(func(t *testing.T, body string) {
		req, err := parseRun(strings.NewReader(body))
		if err == nil && (len(req.Argv) == 0 || req.Argv[0] == "" || strings.ContainsAny(req.Agent, "\x1b /\n")) {
			t.Fatalf("accepted %+v", req)
		}
	})
}
