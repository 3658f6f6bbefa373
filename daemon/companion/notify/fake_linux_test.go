// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/godbus/dbus/v5"

	"github.com/seed-649e9bbc/paddock/tests/desktop"
)

// fake is a notification server without a screen: what real ones do is tried with
// real ones, this one does what they do not.
type fake struct {
	conn            *dbus.Conn
	buttons, markup bool

	mu     sync.Mutex
	last   uint32
	shown  []string
	done   []string
	client string
}

func fakeServer(t *testing.T, d *desktop.Desktop) *fake {
	t.Helper()
	f := &fake{conn: d.Connect(), buttons: true, markup: true}
	if err := f.conn.Export(f, path, name); err != nil {
		t.Fatal(err)
	}
	if reply, err := f.conn.RequestName(name, dbus.NameFlagDoNotQueue); err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
		t.Fatalf("taking the name: %v, %v", reply, err)
	}
	return f
}

func (f *fake) GetServerInformation() (string, string, string, string, *dbus.Error) {
	return "fake", "test", "1", "1.2", nil
}

func (f *fake) GetCapabilities() ([]string, *dbus.Error) {
	out := []string{"body"}
	if f.buttons {
		out = append(out, "actions")
	}
	if f.markup {
		out = append(out, "body-markup")
	}
	return out, nil
}

func (f *fake) Notify(sender dbus.Sender, _ string, replaces uint32, _, summary, body string, _ []string, _ map[string]dbus.Variant, _ int32) (uint32, *dbus.Error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.client = string(sender)
	f.shown = append(f.shown, summary+"|"+body)
	if replaces != 0 {
		f.done = append(f.done, fmt.Sprint("replace", replaces))
		return replaces, nil
	}
	f.last++
	f.done = append(f.done, fmt.Sprint("show", f.last))
	return f.last, nil
}

func (f *fake) CloseNotification(id uint32) *dbus.Error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.done = append(f.done, fmt.Sprint("close", id))
	return nil
}

func (f *fake) texts() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.shown)
}

func (f *fake) did() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.done)
}

func (f *fake) clientName() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.client
}

func (f *fake) emit(t *testing.T, member string, args ...any) {
	t.Helper()
	if err := f.conn.Emit(path, name+"."+member, args...); err != nil {
		t.Fatal(err)
	}
}

func (f *fake) invoke(t *testing.T, id uint32, action string) {
	t.Helper()
	f.emit(t, "ActionInvoked", id, action)
}

func (f *fake) leave(t *testing.T) {
	t.Helper()
	if _, err := f.conn.ReleaseName(name); err != nil {
		t.Fatal(err)
	}
}
