// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"sync"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
)

// How a held process that somebody else wakes is ended: the tiers of the gate exec.woken.
const (
	tierReturn   = "fexit"     // on its way back to its instructions; in force for good
	tierSyscalls = "sys_enter" // at its first system call; costs the whole machine
)

// wokenWatch keeps one of them in force.
type wokenWatch struct {
	mu       sync.Mutex
	tier     string    // "" is not chosen yet
	why      string    // the better one is not it
	proving  bool      // a canary wants it now
	watching bool      // system calls
	idle     time.Time // since when nobody needs that
}

// linger is how long system calls stay watched after the last session: starting
// and stopping costs the whole machine more than a short while of watching.
const linger = 10 * time.Second

// watchWoken keeps the watch on held processes in force: for good where that costs
// nothing, else while a session under enforcement lives.
func (e *Enforcer) watchWoken() {
	g := e.now.Load()
	w := &e.woken
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.tier == "" {
		w.tier = tierReturn
		if err := e.Kernel.WatchWoken(); err != nil {
			w.tier, w.why = tierSyscalls, firstLine(err)
		}
	}
	need := w.tier == tierSyscalls && (w.proving || g != nil && g.mode == policy.Enforce && e.Sessions.Live() > 0)
	if need {
		w.idle = time.Time{}
	} else if w.idle.IsZero() {
		w.idle = time.Now()
	}
	want := need || w.watching && time.Since(w.idle) < linger
	if want == w.watching {
		return
	}
	if err := e.Kernel.WatchSyscalls(want); err != nil {
		e.Log.Error("watching held processes", "on", want, "error", err)
		return
	}
	w.watching = want
}

// proveWoken has the watch in force as long as a canary is sent.
func (e *Enforcer) proveWoken(on bool) {
	e.woken.mu.Lock()
	e.woken.proving, e.woken.idle = on, time.Now().Add(-linger)
	e.woken.mu.Unlock()
	e.watchWoken()
}

// distrustWoken takes the other way if the better one let a woken process go on, and
// says whether it did.
func (e *Enforcer) distrustWoken(seen findings) bool {
	w := &e.woken
	w.mu.Lock()
	worse := w.tier == tierReturn && seen.Woken != saidKilled
	if worse {
		e.Kernel.UnwatchWoken()
		w.tier, w.why = tierSyscalls, "fexit: attached, but a woken process ended with \""+seen.Woken+"\""
	}
	w.mu.Unlock()
	if worse {
		e.watchWoken()
	}
	return worse
}

// wokenGate is what the canary proved of it.
func (e *Enforcer) wokenGate(seen findings, now time.Time) Gate {
	e.woken.mu.Lock()
	defer e.woken.mu.Unlock()
	g := gate(gateWoken, e.woken.tier, now, "woken", seen.Woken, saidKilled)
	if g.Detail == "" {
		g.Detail = e.woken.why
	}
	return g
}

const gateWoken = "exec.woken"
