// SPDX-License-Identifier: Apache-2.0

package session

// Process is one program that was started, as the kernel and procfs show it.
// Only PID and Start identify it. Every string may hold any bytes.
type Process struct {
	PID   int
	Start uint64 // when it started: nanoseconds since boot, suspended time included
	UID   uint32
	User  string // name of UID; a label, may be empty

	Exe    string            // path of the executable, all links resolved
	Called string            // path execve was called with; empty when it is not known (a process that ran before us)
	Script string            // what ScriptArgument named, all links resolved; empty when there is none or it is not known
	Args   []string          // argv, with argv[0]
	Env    map[string]string // of Profiles.EnvKeys those that are set
	Cwd    string

	ParentExe  string
	ParentArgs []string
}

// Surfaces an agent can run on.
const (
	SurfaceCLI     = "cli"     // a person at a terminal
	SurfaceExec    = "exec"    // headless: one task, then it ends
	SurfaceIDE     = "ide"     // started by an editor
	SurfaceDesktop = "desktop" // started by a desktop application
	SurfaceMCP     = "mcp"     // serves tools to another program
)

func surfaces() []string {
	return []string{SurfaceCLI, SurfaceExec, SurfaceIDE, SurfaceDesktop, SurfaceMCP}
}

// Match says which agent a process is. All of it is a label for people and for
// telemetry.
type Match struct {
	Agent   string `json:"agent"`             // name of the profile
	Surface string `json:"surface"`           // one of the Surface constants
	Install string `json:"install,omitempty"` // npm, brew, standalone, ...; empty when the path does not tell
	Version string `json:"version,omitempty"` // empty when the path does not tell
}

// Candidate is a file name whose exec is worth a look.
type Candidate struct {
	Name        string // at most 63 bytes: what the kernel side compares
	Sure        bool   // the name alone is the agent: not let through unjudged
	Interpreter bool   // may run an agent as a script
}

// Why is what a process says about the reason it runs. It says so itself: it
// joins records and decides nothing.
type Why struct {
	ToolCallID string
	ThreadID   string
	Attrs      map[string]string // telemetry attribute to value
}
