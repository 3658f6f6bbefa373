// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

func start(t *testing.T, path string) (*Server, error) {
	t.Helper()
	s := NewServer(path, newFake(), slog.New(slog.DiscardHandler))
	err := s.Start(t.Context())
	t.Cleanup(func() { _ = s.Shutdown(context.Background()) })
	return s, err
}

func TestSocketIsOpenToAll(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	path := filepath.Join(dir, "p.sock")
	if _, err := start(t, path); err != nil {
		t.Fatal(err)
	}
	for p, want := range map[string]fs.FileMode{dir: fs.ModeDir | 0o755, path: fs.ModeSocket | 0o666, path + ".lock": 0o600} {
		info, err := os.Lstat(p)
		if err != nil || info.Mode() != want {
			t.Errorf("%s: mode %v, %v; want %v", p, info.Mode(), err, want)
		}
	}
}

func TestSecondInstance(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.sock")
	first, err := start(t, path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := start(t, path); !errors.Is(err, ErrRunning) {
		t.Fatalf("a second instance: %v; want %v", err, ErrRunning)
	}
	answers(t, path)
	if err := first.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
	if _, err := start(t, path); err != nil {
		t.Errorf("after the first has gone: %v", err)
	}
	answers(t, path)
}

func TestStaleSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	// Somebody serves it who has no lock.
	if _, err := start(t, path); !errors.Is(err, ErrRunning) {
		t.Errorf("a socket that is served: %v; want %v", err, ErrRunning)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := start(t, path); err != nil {
		t.Fatalf("a socket that is left over: %v", err)
	}
	answers(t, path)
}

func TestPlacesThatCannotBeUsed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	open := filepath.Join(t.TempDir(), "open")
	if err := os.Mkdir(open, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o775); err != nil {
		t.Fatal(err)
	}
	others := t.TempDir()
	if err := os.Chown(others, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(t.TempDir(), link); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		file:                                "not a socket",
		open + "/p.sock":                    "chmod go-w",
		others + "/p.sock":                  "belongs to user 65534",
		link + "/p.sock":                    "not a directory",
		"/" + strings.Repeat("x", 200):      "201 bytes",
		t.TempDir() + "/no/where/p.sock":    "no such file",
		file + "/below/a/file/that/is.sock": "not a directory",
	} {
		if _, err := start(t, path); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v; want %q", path, err, want)
		}
	}
	if _, err := os.Stat(file); err != nil {
		t.Errorf("what was no socket is gone: %v", err)
	}
}

func TestClientWithoutDaemon(t *testing.T) {
	dir := t.TempDir()
	dead := filepath.Join(dir, "dead.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: dead, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(dir, "none.sock"), dead} {
		_, err := NewClient(path).Run(t.Context(), RunRequest{Argv: []string{"x"}})
		if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "http://") {
			t.Errorf("%v; want one sentence with the path", err)
		}
	}
}

// A daemon that stops must not wait for those who follow.
func TestShutdownEndsFollowers(t *testing.T) {
	ignore := goleak.IgnoreCurrent()
	f := newFake()
	path := filepath.Join(t.TempDir(), "p.sock")
	s := NewServer(path, f, slog.New(slog.DiscardHandler))
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := ""
	var last error
	for e, err := range NewClient(path).Events(t.Context(), telemetry.Query{}, true) {
		got, last = got+e.ID, err
		if e.ID == "e" {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			if err := s.Shutdown(ctx); err != nil {
				t.Errorf("stopping: %v", err)
			}
		}
	}
	if got != "abcde" || !errors.Is(last, ErrStreamEnded) {
		t.Errorf("%q, %v; want all events and %v", got, last, ErrStreamEnded)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Errorf("stopping twice: %v", err)
	}
	goleak.VerifyNone(t, ignore)
}
