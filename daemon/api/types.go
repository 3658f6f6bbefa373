// SPDX-License-Identifier: Apache-2.0

package api

import (
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/sandbox"
)

// DefaultSocket is where the daemon of the system listens.
const DefaultSocket = "/run/paddock/paddock.sock"

// Status is what the daemon says of itself.
type Status struct {
	Version      string            `json:"version"`
	PID          int               `json:"pid"`
	Mode         string            `json:"mode"` // observe or enforce
	Started      time.Time         `json:"started"`
	Kernel       string            `json:"kernel"` // release, as uname -r prints it
	Policy       PolicyStatus      `json:"policy"`
	Gates        []Gate            `json:"gates"`
	Agents       []AgentCoverage   `json:"agents"`
	Sinks        []SinkStatus      `json:"sinks,omitempty"`
	Counters     map[string]uint64 `json:"counters"`
	Identities   []Identity        `json:"identities"`
	SessionsLive int               `json:"sessions_live"`
	Intake       Intake            `json:"agent_telemetry"`
	Network      *Network          `json:"network,omitempty"` // the managed network; none: it is not in force, and never was
}

// Network is how sessions come to the managed network, besides being redirected.
type Network struct {
	Proxy  string `json:"proxy"`  // address on loopback, HTTP and SOCKS5: for clients that use a proxy
	Bridge string `json:"bridge"` // path of the socket for other network namespaces: see paddock bridge
	// Namespaces is what becomes of connections made in other network namespaces that
	// do not go over the bridge.
	Namespaces string `json:"other_namespaces"`
}

// NamespacesRefused is what Network.Namespaces says.
const NamespacesRefused = "refused"

// Intake is where agents' own telemetry is taken in.
type Intake struct {
	Address string `json:"address,omitempty"` // of loopback; empty: nowhere
	Problem string `json:"problem,omitempty"` // why nowhere, though it should be
}

// PolicyStatus says which requirements are in force, and what is wrong with
// those that are not.
type PolicyStatus struct {
	Generation uint64        `json:"generation"`
	Layers     []PolicyLayer `json:"layers"`
	Incidents  []string      `json:"incidents"` // sources that could not be used, and why
	Rules      int           `json:"rules"`
	Strictest  bool          `json:"strictest"`       // nothing could be read: the built-in strictest requirements apply
	LastKnown  bool          `json:"last_known_good"` // at least one layer is the last good version of its file
}

// PolicyLayer is one source of requirements, in force.
type PolicyLayer struct {
	Source string `json:"source"`
	Path   string `json:"path"`
	Digest string `json:"digest"`
}

// Names of gates.
const (
	GateExecRefuse = "exec.refuse"
	GateExecHold   = "exec.hold"
	GateExecWoken  = "exec.woken" // what is held, and woken by somebody else
	GateConnect    = "connect"
	GateSocket     = "socket"
	GateSignal     = "signal"
)

// Tiers: the mechanism a gate stands on.
const (
	TierLSM     = "lsm"
	TierFmodRet = "fmod_ret"
	TierHold    = "hold"
	// TierFexit and TierSysEnter are where a woken process ends: on its way back, or at
	// its first system call.
	TierFexit    = "fexit"
	TierSysEnter = "sys_enter"
	TierCgroup   = "cgroup"
	// TierLandlock holds for sessions that paddock run started, TierFanotify for opens
	// of what may not be read.
	TierLandlock = "landlock"
	TierFanotify = "fanotify"
	TierNone     = "none"
)

// Gate is one place where something can be stopped. That its mechanism is
// attached means little; Proven means that a canary was stopped by it.
type Gate struct {
	Gate    string    `json:"gate"`    // one of the Gate constants
	Tier    string    `json:"tier"`    // one of the Tier constants
	Proven  bool      `json:"proven"`  // by the last canary
	Checked time.Time `json:"checked"` // when that ran; zero: never
	Detail  string    `json:"detail"`  // why it is not proven, or what limits it
}

// Coverage of an agent.
const (
	Enforced   = "enforced"
	Observed   = "observed"
	NotCovered = "not covered"
)

// AgentCoverage says what holds for an agent on this machine.
type AgentCoverage struct {
	Name     string `json:"name"`
	Coverage string `json:"coverage"` // Enforced, Observed or NotCovered
}

// SinkStatus says how far a receiver of events has come. Counts are of events.
type SinkStatus struct {
	Name     string    `json:"name"`
	Type     string    `json:"type"`    // otlp, ndjson, splunk_hec, ocsf
	Where    string    `json:"where"`   // address or file, without secrets
	State    string    `json:"state"`   // idle, sending, failing
	Error    string    `json:"error"`   // why it fails
	Success  time.Time `json:"success"` // the last one since the daemon started; zero: none
	Exported uint64    `json:"exported"`
	Waiting  uint64    `json:"waiting"`  // its lag
	Rejected uint64    `json:"rejected"` // it will not have
	Dropped  uint64    `json:"dropped"`  // lost before it got them
}

// SinkFailing is the state of a sink that takes nothing at present.
const SinkFailing = "failing"

// Identity is an equation between counters that holds when nothing was lost.
type Identity struct {
	Name  string `json:"name"`
	Left  uint64 `json:"left"`
	Right uint64 `json:"right"`
	Holds bool   `json:"holds"`
}

// Problems lists, a sentence each, what keeps the status from being good: a
// gate that is not proven, an identity that does not hold, requirements that
// could not be used, a receiver of events that takes none, an agent that is not
// covered. None: all is well.
func (s *Status) Problems() []string {
	var out []string
	if s.Policy.Strictest {
		out = append(out, "no requirements could be read: the strictest apply")
	}
	for _, incident := range s.Policy.Incidents {
		out = append(out, "requirements: "+incident)
	}
	if len(s.Gates) == 0 {
		out = append(out, "no gate is in force")
	}
	for _, g := range s.Gates {
		if g.Proven {
			continue
		}
		text := "gate " + g.Gate + " is not proven"
		if g.Detail != "" {
			text += ": " + g.Detail
		}
		out = append(out, text)
	}
	for _, g := range s.Gates {
		if g.Proven && g.Tier == TierLandlock {
			out = append(out, "gate "+g.Gate+" holds for a part: "+g.Detail)
		}
	}
	if s.Intake.Problem != "" {
		out = append(out, s.Intake.Problem)
	}
	for _, i := range s.Identities {
		if !i.Holds {
			out = append(out, "records were lost: "+i.Name+" does not hold")
		}
	}
	for _, k := range s.Sinks {
		if k.State == SinkFailing {
			out = append(out, "events do not reach "+k.Name+": "+k.Error)
		}
	}
	for _, a := range s.Agents {
		if a.Coverage != Enforced && a.Coverage != Observed {
			out = append(out, "agent "+a.Name+" is not covered")
		}
	}
	return out
}

// RunRequest asks that the calling process become the root of a session.
type RunRequest struct {
	Agent string   `json:"agent,omitempty"` // empty: recognised by argv, else "run"
	Argv  []string `json:"argv"`            // what it will execute; a label
	Cwd   string   `json:"cwd"`             // a label
}

// RunResponse is the answer once the process is governed.
type RunResponse struct {
	SessionID string `json:"session_id"`
	// Sandbox is what the process must enter before it executes anything. nil: nothing.
	Sandbox *sandbox.Ruleset `json:"sandbox,omitempty"`
}
