// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/whole"
)

// saveEvery is how often the table of sessions is written when none begins or
// ends: for its counters.
const saveEvery = 5 * time.Second

func (d *Daemon) sessionsChanged() {
	if err := d.saveSessions(); err != nil {
		d.config.Log.Error("saving the sessions", "error", err)
	}
	d.meet()
	d.forgetEnded()
}

func (d *Daemon) savedPath() string { return filepath.Join(d.config.StateDir, "sessions.json") }

func (d *Daemon) saveSessions() error {
	d.saving.Lock()
	defer d.saving.Unlock()
	return whole.Write(d.savedPath(), d.sessions.Snapshot(), whole.Process)
}

// restoreSessions reads the sessions from before. Those of another boot have no
// marked process any more and end when the enforcer takes over.
func (d *Daemon) restoreSessions() error {
	data, err := os.ReadFile(d.savedPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return d.sessions.Restore(data)
}
