// SPDX-License-Identifier: Apache-2.0

package desktop

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
)

const (
	name = "org.freedesktop.Notifications"
	path = dbus.ObjectPath("/org/freedesktop/Notifications")
)

// Fake is a notification server without a screen: what real ones do is tried with
// real ones, this one does what they do not, and counts.
type Fake struct {
	Buttons, Markup bool // what it says it can do

	conn *dbus.Conn
	t    *testing.T

	mu      sync.Mutex
	changed chan struct{} // closed when something is noted
	last    uint32
	shown   []string
	done    []string
	client  string
}

// Pretend takes the name of notification servers.
func (d *Desktop) Pretend() *Fake {
	t := d.t
	t.Helper()
	f := &Fake{conn: d.Connect(), t: t, Buttons: true, Markup: true, changed: make(chan struct{})}
	if err := f.conn.Export(methods{f}, path, name); err != nil {
		t.Fatal(err)
	}
	if reply, err := f.conn.RequestName(name, dbus.NameFlagDoNotQueue); err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
		t.Fatalf("taking the name: %v, %v", reply, err)
	}
	return f
}

// methods are what the bus may call.
type methods struct{ *Fake }

// GetServerInformation is the specification's.
func (f methods) GetServerInformation() (string, string, string, string, *dbus.Error) {
	return "fake", "test", "1", "1.2", nil
}

// GetCapabilities is the specification's.
func (f methods) GetCapabilities() ([]string, *dbus.Error) {
	out := []string{"body"}
	if f.Buttons {
		out = append(out, "actions")
	}
	if f.Markup {
		out = append(out, "body-markup")
	}
	return out, nil
}

// Notify is the specification's.
func (f methods) Notify(sender dbus.Sender, _ string, replaces uint32, _, summary, body string, _ []string, _ map[string]dbus.Variant, _ int32) (uint32, *dbus.Error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.client = string(sender)
	f.shown = append(f.shown, summary+"|"+body)
	if replaces != 0 {
		f.note("replace", replaces)
		return replaces, nil
	}
	f.last++
	f.note("show", f.last)
	return f.last, nil
}

// CloseNotification is the specification's.
func (f methods) CloseNotification(id uint32) *dbus.Error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.note("close", id)
	return nil
}

// Texts are summary and body of what it was asked to show, with a bar between.
func (f *Fake) Texts() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.shown)
}

// Did lists what it was asked: show1, replace1, close1.
func (f *Fake) Did() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.done)
}

// Wait waits until it was asked this, as Did writes it.
func (f *Fake) Wait(what string) {
	f.t.Helper()
	deadline := time.After(patience)
	for {
		f.mu.Lock()
		changed, found := f.changed, slices.Contains(f.done, what)
		f.mu.Unlock()
		if found {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			f.t.Fatalf("the notification server was not asked to %s but %v", what, f.Did())
		}
	}
}

// note notes what was asked; f.mu is held.
func (f *Fake) note(what string, id uint32) {
	f.done = append(f.done, fmt.Sprint(what, id))
	close(f.changed)
	f.changed = make(chan struct{})
}

// Client is the unique name of who asked last.
func (f *Fake) Client() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.client
}

// Emit sends a signal.
func (f *Fake) Emit(member string, args ...any) {
	f.t.Helper()
	if err := f.conn.Emit(path, name+"."+member, args...); err != nil {
		f.t.Fatal(err)
	}
}

// Invoke says that a button was pressed.
func (f *Fake) Invoke(id uint32, action string) {
	f.t.Helper()
	f.Emit("ActionInvoked", id, action)
}

// Leave gives the name back.
func (f *Fake) Leave() {
	f.t.Helper()
	if _, err := f.conn.ReleaseName(name); err != nil {
		f.t.Fatal(err)
	}
}
