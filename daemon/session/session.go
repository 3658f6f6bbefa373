// SPDX-License-Identifier: Apache-2.0

package session

import "time"

// How a session began.
const (
	HowExec    = "exec"    // an agent was started
	HowRun     = "run"     // paddock run
	HowScan    = "scan"    // it ran before the daemon did
	HowRestart = "restart" // taken over from the daemon before
)

// Session is one running agent: its root process and every descendant.
type Session struct {
	ID  string `json:"id"`         // ULID
	Key uint64 `json:"key,string"` // the kernel's number of it, unique in one boot

	Agent   string `json:"agent"`
	Surface string `json:"surface"`
	Install string `json:"install,omitempty"`
	Version string `json:"version,omitempty"`
	User    string `json:"user,omitempty"`
	UID     uint32 `json:"uid"`

	Root    Root      `json:"root"`
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended,omitzero"` // zero: it is live
	How     string    `json:"how"`            // one of the How constants

	Counters Counters `json:"counters"`
}

// Live reports whether the session has not ended.
func (s *Session) Live() bool { return s.Ended.IsZero() }

// Root is the process a session began with.
type Root struct {
	PID   int      `json:"pid"`
	Start uint64   `json:"start"` // nanoseconds since boot
	Exe   string   `json:"exe"`
	Args  []string `json:"args,omitempty"` // at most 4096 bytes of them
	Cwd   string   `json:"cwd,omitempty"`
}

// Counters count what a session did.
type Counters struct {
	Execs     uint64 `json:"execs"`
	Denied    uint64 `json:"denied"` // of the execs
	Connects  uint64 `json:"connects"`
	NetDenied uint64 `json:"net_denied"` // of the connects
}

func (c *Counters) add(d Counters) {
	c.Execs += d.Execs
	c.Denied += d.Denied
	c.Connects += d.Connects
	c.NetDenied += d.NetDenied
}

// maxRootArgs bounds, in bytes, the arguments a session keeps of its root.
const maxRootArgs = 4096

func rootOf(p Process) Root {
	r := Root{PID: p.PID, Start: p.Start, Exe: p.Exe, Cwd: p.Cwd}
	left := maxRootArgs
	for _, arg := range p.Args {
		if left -= len(arg) + 1; left < 0 {
			break
		}
		r.Args = append(r.Args, arg)
	}
	return r
}
