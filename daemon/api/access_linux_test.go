// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry/join"
)

// childEnv makes the test program be another process of a test: its value says
// what to do, and with which socket.
const childEnv = "PADDOCK_API_TEST_CHILD"

func TestMain(m *testing.M) {
	if what := os.Getenv(childEnv); what != "" {
		if err := child(what); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// seen is what a child tells of the API.
type seen struct {
	UID      int
	Sessions []string
	Events   string
	First    string // with a limit of one
	Newest   string // one
	Errors   map[string]int

	Explained, Account string
}

func child(what string) error {
	what, path, _ := strings.Cut(what, " ")
	switch what {
	case "look":
		return look(path)
	case "listen":
		l, err := net.Listen("unix", path)
		if err != nil {
			return err
		}
		fmt.Println("listening")
		_, err = l.Accept()
		return err
	case "connect": // and give the connection to the parent
		conn, err := net.Dial("unix", path)
		if err != nil {
			return err
		}
		file, err := conn.(*net.UnixConn).File()
		if err != nil {
			return err
		}
		return unix.Sendmsg(3, []byte{0}, unix.UnixRights(int(file.Fd())), nil, 0)
	}
	return fmt.Errorf("%q: what?", what)
}

func look(path string) error {
	ctx, c := context.Background(), NewClient(path)
	s := seen{UID: os.Getuid(), Errors: map[string]int{}}
	note := func(what string, err error) {
		var e *Error
		if errors.As(err, &e) {
			s.Errors[what] = e.Code
		} else if err != nil {
			s.Errors[what+": "+err.Error()] = -1
		}
	}
	_, err := c.Status(ctx)
	note("status", err)
	sessions, err := c.Sessions(ctx)
	note("sessions", err)
	for i := range sessions {
		s.Sessions = append(s.Sessions, sessions[i].ID)
	}
	s.Events, err = collect(c.Events(ctx, telemetry.Query{}, false))
	note("events", err)
	s.First, err = collect(c.Events(ctx, telemetry.Query{Limit: 1}, false))
	note("first", err)
	s.Newest, err = collect(c.Events(ctx, telemetry.Query{Limit: 1, Newest: true}, false))
	note("newest", err)
	_, err = collect(c.Events(ctx, telemetry.Query{Session: sessionRoot}, false))
	note("root's", err)
	_, err = collect(c.Events(ctx, telemetry.Query{Session: sessionRoot[20:]}, false))
	note("root's suffix", err)
	story, err := c.Explain(ctx, join.Subject{Kind: join.KindPID, Value: "1"})
	note("explain", err)
	s.Explained = story.Session.ID
	_, err = c.Account(ctx, sessionRoot, join.Page{})
	note("root's account", err)
	account, err := c.Account(ctx, sessionForgot, join.Page{Before: 7, Limit: 3})
	note("forgotten account", err)
	s.Account = fmt.Sprint(account.Session.ID, account.Last, account.Events)
	_, err = c.Stats(ctx, time.Now().Add(-time.Hour), time.Now())
	note("stats", err)
	for _, err := range c.Select(ctx, "SELECT 1") {
		note("sql", err)
	}
	_, err = c.Run(ctx, RunRequest{Argv: []string{"x"}})
	note("run", err)
	return json.NewEncoder(os.Stdout).Encode(s)
}

// command makes a child of a user. It is started through procfs, for the
// directory of the test program is closed to others.
func command(t *testing.T, uid uint32, what string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Env = []string{childEnv + "=" + what}
	cmd.Dir = "/"
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	return cmd
}

func askAs(t *testing.T, uid uint32, path string) seen {
	t.Helper()
	out, err := command(t, uid, "look "+path).Output()
	if err != nil {
		t.Fatalf("asking as user %d: %v", uid, err)
	}
	var s seen
	if err := json.Unmarshal(out, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestUserSeesOwnSessionsOnly(t *testing.T) {
	f := newFake()
	path, _ := serve(t, f, nil)
	want := seen{
		UID: nobody, Sessions: []string{sessionNobody}, Events: "cd", First: "c", Newest: "d",
		Errors:    map[string]int{"root's": 404, "root's suffix": 404, "root's account": 404, "stats": 403, "sql": 403},
		Explained: sessionForgot, Account: sessionForgot + "7 3",
	}
	if diff := cmp.Diff(want, askAs(t, nobody, path)); diff != "" {
		t.Errorf("user %d (-want +got):\n%s", nobody, diff)
	}
	if got := f.taken(); len(got) != 1 || got[0].UID != nobody || got[0].GID != nobody {
		t.Errorf("adopted %+v; want the user's process", got)
	}
	want = seen{Sessions: []string{sessionNobody, sessionRoot}, Events: "abcde", First: "a", Newest: "e", Errors: map[string]int{}}
	want.Explained, want.Account = sessionRoot, sessionForgot+"7 3"
	if diff := cmp.Diff(want, askAs(t, 0, path)); diff != "" {
		t.Errorf("root (-want +got):\n%s", diff)
	}
}

func TestGovernedMayAskForTheStatusOnly(t *testing.T) {
	f := newFake()
	path, _ := serve(t, f, nil)
	f.govern(os.Getpid(), true)
	c := NewClient(path)
	if _, err := c.Status(t.Context()); err != nil {
		t.Errorf("status: %v", err)
	}
	_, err := c.Sessions(t.Context())
	wantError(t, err, 403)
	_, err = collect(c.Events(t.Context(), telemetry.Query{}, true))
	wantError(t, err, 403)
	_, err = c.Explain(t.Context(), join.Subject{Kind: join.KindPID, Value: "1"})
	wantError(t, err, 403)
	_, err = c.Account(t.Context(), sessionRoot, join.Page{})
	wantError(t, err, 403)
	_, err = c.Run(t.Context(), RunRequest{Argv: []string{"x"}})
	wantError(t, err, 403)
	if err != nil && !strings.Contains(err.Error(), "governed") {
		t.Errorf("%q does not say why", err)
	}
	if len(f.taken()) > 0 {
		t.Error("a governed process began a session")
	}
}

// What was governed when it connected stays so for the connection, and so does
// what became governed after.
func TestGovernedBeforeOrAfterConnecting(t *testing.T) {
	f := newFake()
	path, _ := serve(t, f, nil)
	for _, first := range []bool{true, false} {
		f.govern(os.Getpid(), first)
		conn := dial(t, path)
		// Accepted in order: when the second is answered, the first was seen.
		if _, err := NewClient(path).Status(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.govern(os.Getpid(), !first)
		if got := exchange(t, conn, "GET /v1/sessions HTTP/1.1\r\nHost: x\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 403") {
			t.Errorf("governed %v, then %v: %q", first, !first, got)
		}
	}
}

// A connection whose maker is gone could be anybody's.
func TestPeerThatEnded(t *testing.T) {
	path, _ := serve(t, newFake(), nil)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "pair")
	cmd := command(t, 0, "connect "+path)
	cmd.ExtraFiles = []*os.File{theirs}
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	defer unix.Close(pair[0])
	oob := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(pair[0], make([]byte, 1), oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(msgs) != 1 {
		t.Fatalf("%d messages, %v", len(msgs), err)
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fds[0]), "connection")
	defer file.Close()
	conn, err := net.FileConn(file)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	got := exchange(t, conn, "GET /v1/sessions HTTP/1.1\r\nHost: x\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 403") {
		t.Errorf("%q; want a refusal", got)
	}
}

func TestClientDoesNotBelieveAnotherUser(t *testing.T) {
	dir := openDir(t)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	path := dir + "/p.sock"
	cmd := command(t, nobody, "listen "+path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 16)); err != nil {
		t.Fatal(err)
	}
	_, err = NewClient(path).Run(t.Context(), RunRequest{Argv: []string{"x"}})
	if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "65534") {
		t.Errorf("%v; want that the socket is another user's", err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func TestTooManyConnections(t *testing.T) {
	f := newFake()
	path, _ := serve(t, f, nil)
	f.govern(os.Getpid(), true)
	var conns []net.Conn
	for range maxConnsGoverned {
		conns = append(conns, dial(t, path))
	}
	_, err := NewClient(path).Status(t.Context())
	wantError(t, err, 503)
	// Somebody else has other places.
	if s := askAs(t, nobody, path); s.Errors["status"] != 0 || len(s.Sessions) == 0 {
		t.Errorf("another user: %+v", s)
	}
	for _, c := range conns {
		c.Close()
	}
	// The server notices when it reads; until then it may still refuse.
	for deadline := time.Now().Add(10 * time.Second); ; {
		_, err := NewClient(path).Status(t.Context())
		if err == nil {
			break
		}
		var e *Error
		if time.Now().After(deadline) || !errors.As(err, &e) || e.Code != 503 {
			t.Fatalf("after the connections were closed: %v", err)
		}
	}
}
