// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"time"

	notify "github.com/coreos/go-systemd/v22/daemon"
)

// watchdogTicks ticks at half of what the service manager allows; never when it
// does not watch.
func watchdogTicks() (<-chan time.Time, func()) {
	interval, err := notify.SdWatchdogEnabled(false)
	if err != nil || interval == 0 {
		return nil, func() {}
	}
	t := time.NewTicker(interval / 2)
	return t.C, t.Stop
}

// stuckHold is the age at which a hold of which no person is asked shows that nobody
// answers: reading the slowest program is given up before.
const stuckHold = 30 * time.Second

// feedWatchdog tells the service manager that the daemon works: only if it does.
func (d *Daemon) feedWatchdog(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := d.store.Flush(ctx); err != nil {
		d.config.Log.Error("the event store does not answer; leaving the watchdog unfed", "error", err)
		return
	}
	if age, err := d.kernel.OldestHold(d.enforcer.Asked()); err != nil || age > stuckHold {
		d.config.Log.Error("holds are not answered; leaving the watchdog unfed", "oldest", age, "error", err)
		return
	}
	_, _ = notify.SdNotify(false, notify.SdNotifyWatchdog)
}

// NotifyReady tells the service manager that the daemon is up.
func NotifyReady() { _, _ = notify.SdNotify(false, notify.SdNotifyReady) }

// NotifyStopping tells the service manager that the daemon goes down.
func NotifyStopping() { _, _ = notify.SdNotify(false, notify.SdNotifyStopping) }
