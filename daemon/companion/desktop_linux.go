// SPDX-License-Identifier: Apache-2.0

package companion

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/api"
	"github.com/seed-649e9bbc/paddock/daemon/companion/notify"
)

// Desktop returns the screen of the user whose process this is, and what takes it
// down.
func Desktop(ctx context.Context, client *api.Client, o DesktopOptions) (Screen, func(), error) {
	address := o.Bus
	if address == "" {
		// Where systemd puts it. What the environment says may have been put there.
		path := fmt.Sprintf("/run/user/%d/bus", os.Getuid())
		address = "unix:path=" + path
		if env := os.Getenv("DBUS_SESSION_BUS_ADDRESS"); !o.Setgid && env != "" {
			if _, err := os.Lstat(path); err != nil {
				address = env
			}
		}
	}
	screen := notify.Start(ctx, notify.Options{Address: address, Log: o.Log, Trusted: func(pid int) error {
		return trusted(ctx, client, pid)
	}})
	return screen, screen.Shutdown, nil
}

// trusted returns why a process cannot be the bus or the notification server: an
// agent's own would press its own buttons. When the daemon cannot say, nobody is
// believed; there is nothing to ask then either.
func trusted(ctx context.Context, client *api.Client, pid int) error {
	if pid <= 0 {
		return errors.New("it is not known which process it is")
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	governed, err := client.Governed(ctx, pid)
	switch {
	case err != nil:
		return fmt.Errorf("it is not known whether process %d is an agent's: %w", pid, err)
	case governed:
		return fmt.Errorf("process %d belongs to an agent", pid)
	}
	return nil
}
