// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"errors"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// ahead is by how many steps of niceness the daemon is before what it was
// started among. Governed processes must not starve the one who records them:
// when they take every processor, they slow down, and not the log.
const ahead = 10

// comeFirst puts the daemon before what it governs. Without the right to do so
// it answers and records all the same, only later.
func (d *Daemon) comeFirst() {
	// Storing events and collecting garbage may take every processor Go gives them; an answer must not wait for one.
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 2)

	raw, err := unix.Getpriority(unix.PRIO_PROCESS, 0) // 20 less niceness
	if err != nil {
		d.config.Log.Warn("the daemon's own priority cannot be read", "error", err)
		return
	}
	niceness := max(-20, 20-raw-ahead)
	threads, err := os.ReadDir("/proc/self/task") // a thread passes its niceness on to those it starts
	for _, t := range threads {
		tid, _ := strconv.Atoi(t.Name())
		if perr := unix.Setpriority(unix.PRIO_PROCESS, tid, niceness); perr != nil && !errors.Is(perr, unix.ESRCH) {
			err = perr
		}
	}
	if err != nil {
		d.config.Log.Warn("the daemon runs with no precedence over what it governs", "error", err)
	}
}
