// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"errors"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/seed-649e9bbc/paddock/tests/desktop"
)

func start(t *testing.T, d *desktop.Desktop, trusted func(int) error) *Client {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	if testing.Verbose() {
		log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	c := Start(t.Context(), Options{Address: d.Bus, Trusted: trusted, Log: log})
	t.Cleanup(c.Shutdown)
	return c
}

func anybody(int) error { return nil }

func next(t *testing.T, c *Client) Event {
	t.Helper()
	select {
	case e := <-c.Events():
		return e
	case <-time.After(60 * time.Second):
		t.Fatal("no event")
	}
	return Event{}
}

func want(t *testing.T, c *Client, kind Kind, key string) Event {
	t.Helper()
	e := next(t, c)
	if e.Kind != kind || e.Key != key {
		t.Fatalf("%+v, want %s of %q", e, kind, key)
	}
	return e
}

func question(key string) Notification {
	return Notification{
		Key: key, Summary: "codex wants to run", Body: "git push <b>--force</b> & echo \"done\"\n\nIn: /home/dev/shop",
		Actions: []Action{{"deny", "Deny"}, {"once", "Allow once"}, {Default, "Details"}}, Plain: "Answer with paddock approvals",
	}
}

// A person clicks on what the server has drawn.
func TestRealClicks(t *testing.T) {
	t.Run("notification-daemon", func(t *testing.T) {
		d := desktop.Start(t)
		d.Serve("notification-daemon")
		c := start(t, d, anybody)
		for i, action := range []string{"deny", "once"} {
			c.Show(question(action))
			if e := want(t, c, Shown, action); !e.Buttons {
				t.Fatal("it is said to have no buttons")
			}
			buttons := d.Buttons(2)
			d.Screenshot("notification-daemon-" + action)
			d.Click(buttons[i], 1)
			if e := want(t, c, Invoked, action); e.Action != action || e.Since <= 0 {
				t.Errorf("%+v", e)
			}
		}
		// A click beside the buttons shows details, whatever the buttons are.
		c.Show(question("body"))
		want(t, c, Shown, "body")
		d.Buttons(2)
		at := d.Window().Min
		at.X, at.Y = at.X+150, at.Y+50
		d.Click(at, 1)
		if e := want(t, c, Invoked, "body"); e.Action != Default {
			t.Errorf("%+v", e)
		}
	})
	t.Run("dunst", func(t *testing.T) {
		d := desktop.Start(t)
		d.Serve("dunst")
		c := start(t, d, anybody)
		for _, test := range []struct{ label, action string }{{"Deny", "deny"}, {"Allow once", "once"}} {
			c.Show(question(test.action))
			want(t, c, Shown, test.action)
			at := d.Window().Min
			at.X, at.Y = at.X+100, at.Y+20
			d.Screenshot("dunst-" + test.action)
			d.Choose(test.label)
			d.Click(at, 3)
			if e := want(t, c, Invoked, test.action); e.Action != test.action {
				t.Errorf("%+v", e)
			}
		}
	})
}

// What is answered elsewhere leaves the screens of real servers.
func TestRealServersClose(t *testing.T) {
	for server := range desktop.Servers {
		t.Run(server, func(t *testing.T) {
			d := desktop.Start(t)
			d.Serve(server)
			c := start(t, d, anybody)
			c.Show(question("a"))
			want(t, c, Shown, "a")
			d.Drawn()
			c.Close("a")
			d.Blank()
		})
	}
}

// Any program of the user may send signals, also straight to one client.
func TestForgedAnswersAreNotBelieved(t *testing.T) {
	d := desktop.StartBus(t)
	server := d.Pretend()
	c := start(t, d, anybody)
	c.Show(question("a"))
	want(t, c, Shown, "a")
	other := d.Connect()
	for _, to := range []string{"", server.Client()} {
		for id := range uint32(5) {
			forge(t, other, to, "ActionInvoked", id, "once")
			forge(t, other, to, "NotificationClosed", id, uint32(2))
		}
	}
	// The server itself is believed, and its signal comes after those.
	server.Invoke(1, "deny")
	if e := want(t, c, Invoked, "a"); e.Action != "deny" {
		t.Errorf("%+v", e)
	}
}

// An action that was not offered, or of something not shown any more, is no answer.
func TestServerCannotMakeUpAnswers(t *testing.T) {
	d := desktop.StartBus(t)
	server := d.Pretend()
	c := start(t, d, anybody)
	n := question("a")
	n.Actions = n.Actions[:1] // only Deny
	c.Show(n)
	want(t, c, Shown, "a")
	server.Invoke(1, "once")
	server.Invoke(2, "deny")
	server.Invoke(0, "deny")
	server.Invoke(1, "deny")
	if e := want(t, c, Invoked, "a"); e.Action != "deny" {
		t.Errorf("%+v", e)
	}
	server.Invoke(1, "deny") // again
	c.Show(question("b"))
	want(t, c, Shown, "b")
}

func TestServerThatIsNotTrusted(t *testing.T) {
	d := desktop.StartBus(t)
	server := d.Pretend()
	calls := 0
	c := start(t, d, func(pid int) error {
		if calls++; calls == 1 {
			return nil // the bus
		}
		if pid != os.Getpid() {
			t.Errorf("process %d is asked about", pid)
		}
		return errors.New("it is governed")
	})
	c.Show(question("a"))
	if e := want(t, c, Unshown, "a"); !strings.Contains(e.Err.Error(), "governed") {
		t.Errorf("%v", e.Err)
	}
	if got := server.Texts(); len(got) > 0 {
		t.Errorf("it was shown %q all the same", got)
	}
}

func TestBusThatIsNotTrusted(t *testing.T) {
	d := desktop.StartBus(t)
	server := d.Pretend()
	c := start(t, d, func(pid int) error { return errors.New("it is governed") })
	c.Show(question("a"))
	if e := want(t, c, Unshown, "a"); !strings.Contains(e.Err.Error(), "governed") {
		t.Errorf("%v", e.Err)
	}
	if server.Client() != "" {
		t.Error("it was joined all the same")
	}
}

// Another server takes over in the middle of a question: it is asked again there, and
// what the first one says does not count any more.
func TestServerIsReplaced(t *testing.T) {
	d := desktop.StartBus(t)
	first := d.Pretend()
	c := start(t, d, anybody)
	c.Show(question("a"))
	want(t, c, Shown, "a")
	first.Leave()
	want(t, c, Unshown, "a")
	second := d.Pretend()
	want(t, c, Shown, "a")
	first.Invoke(1, "once")
	second.Invoke(1, "deny")
	if e := want(t, c, Invoked, "a"); e.Action != "deny" {
		t.Errorf("%+v", e)
	}
}

// The real server is killed, then stopped, in the middle of a question.
func TestRealServerDiesAndHangs(t *testing.T) {
	d := desktop.Start(t)
	server := d.Serve("dunst")
	c := start(t, d, anybody)
	c.Show(question("a"))
	want(t, c, Shown, "a")
	server.Kill()
	want(t, c, Unshown, "a")
	server = d.Serve("dunst")
	want(t, c, Shown, "a")
	d.Window()

	server.Pause(t)
	began := time.Now()
	c.Show(question("b"))
	c.Close("a")
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("a stopped server held the client up for %v", took)
	}
	if e := want(t, c, Unshown, "b"); !strings.Contains(e.Err.Error(), "does not answer") {
		t.Errorf("%v", e.Err)
	}
	c.Close("b")
	c.Show(question("c"))
	server.Resume(t)
	want(t, c, Shown, "c") // and not b, which nobody waits for any more
}

// Texts reach the screen as they are, whatever the server reads into them.
func TestNoMarkup(t *testing.T) {
	for _, markup := range []bool{true, false} {
		d := desktop.StartBus(t)
		server := d.Pretend()
		server.Markup = markup
		c := start(t, d, anybody)
		n := question("a")
		n.Body = `a <b>bold</b> & "q" 'r'` + "\nline\x1b[2J\u202e"
		n.Summary = "<i>&x</i>"
		c.Show(n)
		want(t, c, Shown, "a")
		wanted := "a \\x3cb\\x3ebold\\x3c/b\\x3e \\x26 \"q\" 'r'\nline\ufffd[2J\ufffd"
		if markup {
			wanted = "a &lt;b&gt;bold&lt;/b&gt; &amp; &quot;q&quot; &apos;r&apos;\nline\ufffd[2J\ufffd"
		}
		if got := server.Texts(); len(got) != 1 || got[0] != "(i)+x(/i)|"+wanted {
			t.Errorf("markup %v: %q", markup, got)
		}
	}
}

func TestServerWithoutButtons(t *testing.T) {
	d := desktop.StartBus(t)
	server := d.Pretend()
	server.Buttons = false
	c := start(t, d, anybody)
	c.Show(question("a"))
	if e := want(t, c, Shown, "a"); e.Buttons {
		t.Error("it is said to have buttons")
	}
	if got := server.Texts(); !strings.HasSuffix(got[0], "\nAnswer with paddock approvals") {
		t.Errorf("%q does not say where to answer", got)
	}
}

func TestReplaceAndClose(t *testing.T) {
	d := desktop.StartBus(t)
	server := d.Pretend()
	c := start(t, d, anybody)
	c.Show(question("a"))
	want(t, c, Shown, "a")
	c.Show(question("a"))
	want(t, c, Shown, "a")
	c.Close("a")
	c.Show(question("b"))
	want(t, c, Shown, "b")
	server.Wait("close1")
	did := server.Did()
	slices.Sort(did) // the server does them at the same time
	if got := strings.Join(did, " "); got != "close1 replace1 show1 show2" {
		t.Errorf("%s", got)
	}
	server.Emit("NotificationClosed", uint32(2), uint32(2))
	want(t, c, Gone, "b")
}

func TestOnlyUnixSockets(t *testing.T) {
	for address, want := range map[string]string{
		"unix:path=/run/user/1000/bus":  "/run/user/1000/bus",
		"unix:abstract=/tmp/x,guid=1":   "@/tmp/x",
		"unix:path=/a%20b;unix:path=/c": "/a b",
		"unixexec:path=/bin/sh":         "",
		"tcp:host=127.0.0.1,port=1":     "",
		"autolaunch:":                   "",
		"":                              "",
		"unix:tmpdir=/tmp":              "",
		"unix:path=%zz":                 "",
	} {
		got, err := socketOf(address)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", address, got, err)
		}
	}
}

func forge(t *testing.T, conn *dbus.Conn, to, member string, args ...any) {
	t.Helper()
	msg := &dbus.Message{
		Type: dbus.TypeSignal,
		Headers: map[dbus.HeaderField]dbus.Variant{
			dbus.FieldPath: dbus.MakeVariant(path), dbus.FieldInterface: dbus.MakeVariant(name), dbus.FieldMember: dbus.MakeVariant(member),
			dbus.FieldSignature: dbus.MakeVariant(dbus.SignatureOf(args...)),
		},
		Body: args,
	}
	if to != "" {
		msg.Headers[dbus.FieldDestination] = dbus.MakeVariant(to)
	}
	if call := conn.Send(msg, nil); call != nil && call.Err != nil {
		t.Fatal(call.Err)
	}
}
