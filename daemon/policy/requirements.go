// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"

	"github.com/seed-649e9bbc/paddock/daemon/policy/codex"
	"github.com/seed-649e9bbc/paddock/daemon/policy/document"
)

// Mode says whether decisions are carried out.
type Mode int

const (
	// Observe records what would have happened and lets everything through.
	Observe Mode = iota
	// Enforce carries decisions out.
	Enforce
)

// String returns the word used in requirements files: "observe" or "enforce".
func (m Mode) String() string {
	switch m {
	case Observe:
		return "observe"
	case Enforce:
		return "enforce"
	}
	return fmt.Sprintf("Mode(%d)", int(m))
}

// Decision is what is decided about a command. The greater one is the stricter.
type Decision int

const (
	// Allow lets the command run without asking. It never lifts the boundary or
	// the managed network.
	Allow Decision = iota
	// Prompt holds the command until somebody who may answer has answered.
	Prompt
	// Forbidden refuses the command; nobody is asked.
	Forbidden
)

// String returns the word used in requirements files: "allow", "prompt" or
// "forbidden".
func (d Decision) String() string {
	switch d {
	case Allow:
		return "allow"
	case Prompt:
		return "prompt"
	case Forbidden:
		return "forbidden"
	}
	return fmt.Sprintf("Decision(%d)", int(d))
}

// Provenance says how sure it is that device management wrote a managed preference.
// That the file is there proves nothing: root can write it.
type Provenance int

// From least to most.
const (
	// Absent says that there is no such preference.
	Absent Provenance = iota
	// FileOnly says that no installed profile says the same.
	FileOnly
	// Manual says that a profile does, and a person installed it, or that it came from
	// a server is not known.
	Manual
	// MDMVerified says that a profile does, a server installed it, and the machine is
	// enrolled.
	MDMVerified
)

// String returns the word used in requirements files and in output.
func (p Provenance) String() string {
	switch p {
	case Absent:
		return "absent"
	case FileOnly:
		return "file_only"
	case Manual:
		return "manual"
	case MDMVerified:
		return "mdm_verified"
	}
	return fmt.Sprintf("Provenance(%d)", int(p))
}

// Requirements is what administrators enforce: one layer as parsed, or several
// merged.
type Requirements struct {
	// Mode is Enforce unless the file says otherwise.
	Mode Mode
	// ModeSet says that Mode was written in the file. A default does not outvote
	// what another layer says; see Merge.
	ModeSet bool
	// Unmatched is the decision for a command that no rule matches.
	Unmatched Decision
	// Why is what is said of Unmatched where no administrator wrote it. Empty: the
	// usual. See Strictest.
	Why string
	// Rules are the prefix rules, in the order of the file; those of a higher
	// layer come first.
	Rules []PrefixRule
	// Network says what may be reached.
	Network Network
	// Approvals says how people are asked.
	Approvals Approvals
	// HostRules are the network_rules of .rules files. What requirements.toml says of
	// hosts is in Domains.
	HostRules []HostRule
	// Boundary says where agents may write and what they may not read.
	Boundary Boundary
	// Launch says what becomes of agents that are started so as to slip their management.
	Launch Launch
	// Telemetry is where events are exported to.
	Telemetry TelemetrySink
	// Sinks are further receivers of events.
	Sinks []TelemetrySink
	// Contents says of kinds of text ("prompts", "outputs", "arguments", "commands",
	// "environment") whether they are recorded. What is not in it was not said.
	Contents map[string]bool
	// Secrets is "redact", "keep", or empty when nothing was said.
	Secrets string
	// Beat is the number of seconds between two heartbeats; 0: nothing was said. See
	// Heartbeat.
	Beat int
	// Agents names the agents to govern. Empty: all that are known.
	Agents []string
	// Provenance is the least that managed preferences must have to count.
	Provenance Provenance
	// Cohorts are those of the layers, with what became of them.
	Cohorts []Cohort
	// Layer is what was parsed; of merged requirements nil. Not to be changed.
	Layer *codex.Parsed
	// Codex is what all layers together require of Codex; of a single layer nil. Not
	// to be changed.
	Codex *codex.Effective
	// CodexError is why Codex does not start with these layers although each of them
	// is valid. What Paddock enforces does not hang on it.
	CodexError error
	// Warnings are whole sentences about what was read but has no effect, each
	// with its source and line.
	Warnings []string
	// People are what the layer's cohorts of people say: layers below it, see Merge.
	People []*Requirements
	// Without is what holds without any of People, of merged requirements that have
	// some: where layers add to each other, nothing may be milder than that.
	Without *Requirements
}

// TelemetrySink is a receiver that events are exported to.
type TelemetrySink struct {
	// Name is what its cursor is kept under. Empty: "otlp", the receiver of
	// [paddock.telemetry] itself.
	Name string
	// Type is "otlp", "ndjson", "splunk_hec" or "ocsf". Empty: "otlp".
	Type string
	// Endpoint is the base URL, without "/v1/logs". Empty: nothing is exported, or
	// to File.
	Endpoint string
	// File is the file to append to, or "stdout".
	File string
	// Headers are sent with every request. Their values may be secrets: never log
	// them.
	Headers map[string]string
	// HeadersFile is the path of a file of more headers.
	HeadersFile string
	// CAFile, CertFile and KeyFile are paths of PEM files, for TLS.
	CAFile, CertFile, KeyFile string
}

// Records says whether a kind of text, see Contents, is recorded. Of prompts,
// Codex's otel.log_user_prompt says so when Paddock's own key does not.
func (r *Requirements) Records(content string) bool {
	if r.Without != nil && !r.Without.Records(content) {
		return false
	}
	if record, said := r.Contents[content]; said {
		return record
	}
	switch content {
	case "prompts":
		if r.Codex == nil {
			return false
		}
		v := r.Codex.Get("otel", "log_user_prompt")
		return v != nil && v.Kind == document.KindBool && v.Text == "true"
	case "environment":
		return false
	}
	return true
}

// Defaults returns what holds on a machine where no source has any
// requirements: everything is recorded, nothing is stopped.
func Defaults() *Requirements {
	return &Requirements{Mode: Observe, Unmatched: Allow, Network: Network{Default: NetAllow}, Approvals: DefaultApprovals()}
}

// Unusable is the reason of what Strictest refuses: whoever meets it is a developer,
// whom no rule would tell anything.
const Unusable = "the requirements on this machine cannot be used, so everything is refused: ask who manages it; paddock status says what is wrong"

// Strictest returns the built-in requirements that hold when there is a source
// but it cannot be used and nothing is known to have been good: every command
// of an agent is refused, and so is every connection; it may write nowhere.
func Strictest() *Requirements {
	return &Requirements{
		Mode: Enforce, ModeSet: true, Unmatched: Forbidden, Why: Unusable,
		Network: Network{None: true, Default: NetDeny, Why: Unusable}, Approvals: DefaultApprovals(),
		Boundary: Boundary{Mode: ReadOnly},
	}
}
