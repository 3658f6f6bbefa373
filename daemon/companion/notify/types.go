// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"log/slog"
	"time"
)

// Notification is one message on the screen. Its texts are plain: what a server
// would take for markup is escaped here.
type Notification struct {
	// Key names it to the client; showing another with the same key replaces it.
	Key     string
	Summary string
	Body    string // lines
	Actions []Action
	// Passive makes it an ordinary message that the server takes away after a while.
	// Others are of critical urgency and stay.
	Passive bool
	// Plain is a line added to the body where the server shows no buttons.
	Plain string
}

// Action is a button. The one whose key is Default is what a click on the
// notification itself does; some servers show it as a button too.
type Action struct{ Key, Label string }

// Default is the key of the action of a click on the notification.
const Default = "default"

// Kind is what an Event tells.
type Kind string

// Kinds of events.
const (
	Shown   Kind = "shown"   // the server has taken it; Buttons says whether it can be answered there
	Invoked Kind = "invoked" // a button was pressed: Action
	Gone    Kind = "gone"    // it left the screen without an answer: the user or the server closed it
	Unshown Kind = "unshown" // it cannot be shown for now: Err. It is tried again when a server comes
)

// Event is what became of a notification.
type Event struct {
	Kind    Kind
	Key     string
	Action  string
	Buttons bool
	// Since is how long it had been on the screen; of Invoked.
	Since time.Duration
	Err   error
}

// Server is who shows notifications.
type Server struct {
	Name, Vendor, Version string
	PID                   int
	Buttons               bool // it shows actions
	Markup                bool // it reads markup in the body
}

// Options of a client.
type Options struct {
	// Address is that of the bus, "unix:path=..." or "unix:abstract=...". Others are
	// refused: they start programs or leave the machine.
	Address string
	// Trusted returns why a process must not be believed as bus or as server; nil: it
	// may. It is called with the process that listens on the bus's socket (0 where the
	// system does not say) and with the one that owns the name.
	Trusted func(pid int) error
	Log     *slog.Logger
}
