// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed-649e9bbc/paddock/daemon/drift"
	"github.com/seed-649e9bbc/paddock/daemon/enforce"
	"github.com/seed-649e9bbc/paddock/daemon/policy"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
	"github.com/seed-649e9bbc/paddock/daemon/watch"
)

// patience is longer than an installation takes from one file to the next.
const patience = 5 * time.Second

// files watches what manages agents and Paddock.
type files struct {
	guard  *drift.Guard
	actors *watch.Actors // nil: it cannot be told who changes files
	begun  chan struct{} // closed when what was there is known
}

// beginFiles looks at the files for the first time, beside what else is done: before the
// daemon is ready, so that no later change is taken for what was there.
func (d *Daemon) beginFiles() {
	f := &d.files
	f.begun = make(chan struct{})
	f.guard = &drift.Guard{
		Places: func() []drift.Place { return append(d.places(), d.usersPlaces()...) },
		Dir:    filepath.Join(d.config.StateDir, "files"), Tell: d.changed, Upgrading: upgrading, Program: runs(),
		Patience: patience, Log: d.config.Log,
	}
	actors, err := watch.NewActors(d.config.Log, func(pid int, alive bool) any { return d.enforcer.Meet(pid, alive) })
	if err != nil {
		d.config.Log.Warn("files are watched, but not by whom they are changed", "error", err)
	} else {
		f.actors, f.guard.Last, f.guard.Watched = actors, actors.Last, actors.Watch
	}
	go func() {
		f.guard.Begin()
		close(f.begun)
	}()
}

// watchFiles tells of changes until ctx ends.
func (d *Daemon) watchFiles(ctx context.Context) {
	if err := d.files.guard.Run(ctx); err != nil {
		d.config.Log.Error("protected files are not watched any more", "error", err)
	}
}

// close ends what beginFiles began.
func (f *files) close() error {
	if f.begun == nil {
		return nil
	}
	<-f.begun
	if f.actors == nil {
		return nil
	}
	return f.actors.Close()
}

// usersPlaces are files of users that a boundary would keep from sessions, as long as
// none is in force.
func (d *Daemon) usersPlaces() []drift.Place {
	if d.enforcer.Bounded() {
		return nil
	}
	var out []drift.Place
	homes := map[string]bool{}
	for _, s := range d.sessions.List() {
		home := enforce.HomeOf(s.UID)
		if !s.Live() || home == "" || homes[home] {
			continue
		}
		homes[home] = true
		for _, p := range policy.AtHome() {
			out = append(out, drift.Place{Path: filepath.Join(home, p), Role: drift.Users, Sessions: true})
		}
	}
	return out
}

// upgrading says that the program on disk is not the one that runs.
func upgrading() bool {
	self, err := os.Executable()
	if err != nil {
		return false
	}
	disk, errDisk := os.Stat(self)
	runs, errRuns := os.Stat("/proc/self/exe")
	return errDisk != nil || errRuns != nil || !os.SameFile(disk, runs)
}

// changed makes an event of a change.
func (d *Daemon) changed(c drift.Change) {
	who, known := c.Act.Who.(enforce.Met)
	if known {
		who = d.enforcer.Recall(who)
	}
	if governed := c.Known && known && who.Governed; c.Sessions && !governed {
		return
	}
	a := map[string]any{
		telemetry.AttrFilePath: c.Path, telemetry.AttrFileOperation: c.Operation, telemetry.AttrFileRole: string(c.Role),
		telemetry.AttrFileWhileDown: c.Down, telemetry.AttrFileBy: "unknown",
	}
	text := c.Operation + " of " + c.Path
	if c.Before != nil && c.Before.Sum != "" {
		a[telemetry.AttrFileSumBefore] = c.Before.Sum
	}
	if c.After != nil {
		if c.After.Sum != "" {
			a[telemetry.AttrFileSum] = c.After.Sum
		}
		a[telemetry.AttrFileMode] = fmt.Sprintf("%o %d:%d", c.After.Mode&0o7777, c.After.UID, c.After.GID)
	}
	if c.Folded > 0 {
		a[telemetry.AttrFileFolded] = int64(c.Folded)
	}
	ev := telemetry.Event{Time: time.Now(), Name: telemetry.NameFileChanged, Severity: telemetry.Warn, Attrs: a}
	if c.Known && known {
		a[telemetry.AttrFileBy] = "outside"
		if who.Governed {
			a[telemetry.AttrFileBy], ev.Session, ev.Severity = "session", who.Session, telemetry.Error
		}
		who.Describe(a, c.Act.PID)
	}
	switch {
	case c.Restored:
		a[telemetry.AttrFileBy], a[telemetry.AttrFileRestored] = "paddock", true
		text = c.Path + " is put back"
	case c.Failed != nil:
		a[telemetry.AttrFileRestored], a[telemetry.AttrErrorMessage] = false, c.Failed.Error()
		text = c.Path + " is not put back"
		ev.Severity = telemetry.Error
	}
	d.config.Log.Warn("a protected file changed", "what", text, "by", a[telemetry.AttrFileBy])
	d.record(ev)
}

// inspectEvery is how often the kernel side is looked at though nothing was noticed.
const inspectEvery = 30 * time.Second

// watchKernel tells of what is done to the kernel side, and mends it, until ctx ends.
func (d *Daemon) watchKernel(ctx context.Context) {
	w := watch.Watch{
		What: "the pinned kernel side", Directories: d.kernel.PinDirs, Quiet: 50 * time.Millisecond, Between: time.Second, Rescan: inspectEvery,
		Log: d.config.Log, Look: func() {
			damages := d.enforcer.Inspect()
			for _, damage := range damages {
				reason := map[string]string{
					"unpin": "it is not pinned any more", "detach": "it is not attached any more", "exchange": "another one is pinned in its place",
					"map": "somebody else has written to it",
				}[damage.What]
				if damage.Mended {
					reason += ": mended"
				} else if damage.Err != nil {
					reason += ": " + damage.Err.Error()
				}
				d.config.Log.Error("the kernel side was changed", "what", damage.What, "target", damage.Target, "reason", reason)
				d.record(telemetry.Event{Name: telemetry.NameTamper, Severity: telemetry.Error, Attrs: map[string]any{
					telemetry.AttrGate: "machine", telemetry.AttrTamperOperation: damage.What, telemetry.AttrTamperObject: damage.Target,
					telemetry.AttrTamperMended: damage.Mended, telemetry.AttrDecisionReason: reason,
				}})
			}
			if len(damages) > 0 {
				select {
				case d.prove <- struct{}{}: // what is left of the gates is to be known
				default:
				}
			}
		},
	}
	if err := w.Run(ctx, true); err != nil {
		d.config.Log.Error("the kernel side is not watched any more", "error", err)
	}
}

func (d *Daemon) heartbeatEvery() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return time.Duration(d.policy.applied.Heartbeat()) * time.Second
}

// runs tells the program that runs from any other.
func runs() string {
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/exe", &st); err != nil {
		return ""
	}
	return fmt.Sprintf("%d:%d:%d:%d", st.Dev, st.Ino, st.Size, st.Ctim.Nano())
}

// heartbeat says that this machine lives, and how it is.
func (d *Daemon) heartbeat() telemetry.Event {
	d.mu.Lock()
	p := d.policy
	d.mu.Unlock()
	var unproven []string
	for _, g := range d.enforcer.Gates() {
		if !g.Proven {
			unproven = append(unproven, g.Gate)
		}
	}
	ev := d.startEvent()
	ev.Name = telemetry.NameDaemonHeartbeat
	ev.Attrs[telemetry.AttrUptime] = int64(time.Since(d.started).Seconds())
	ev.Attrs[telemetry.AttrHeartbeat] = int64(p.applied.Heartbeat())
	ev.Attrs[telemetry.AttrSessionsLive] = int64(d.sessions.Live())
	ev.Attrs[telemetry.AttrMode] = p.applied.Mode.String()
	ev.Attrs[telemetry.AttrPolicyGeneration] = int64(p.generation)
	ev.Attrs[telemetry.AttrPolicyStrictest] = p.result.Strictest || p.applied != p.result.Requirements
	ev.Attrs[telemetry.AttrPolicyLastKnown] = p.result.LastKnownGood
	if len(unproven) > 0 {
		ev.Attrs[telemetry.AttrGatesUnproven] = unproven
		ev.Severity = telemetry.Warn
	}
	return ev
}
