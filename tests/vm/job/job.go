// SPDX-License-Identifier: Apache-2.0

// Package job is what the host and the guest of a test's virtual machine must agree on.
package job

// Files in the directory that both see.
const (
	File   = "job.json" // a Job; the host writes it
	Output = "output"   // what the command prints; the guest writes it
	Exit   = "exit"     // exit status of the command, decimal; written last, renamed into place
)

const (
	// Path is where the guest mounts that directory.
	Path = "/vm"

	// HostTag is the name of the 9p device that is the host's file system.
	HostTag = "host"
	// ShareTag is the name of the 9p device that is the directory both see.
	ShareTag = "share"

	// Ready is what the guest prints on the console when it starts the command.
	Ready = "paddock-vm: ready"
)

// Job says what the guest does once it has booted.
type Job struct {
	Command []string
	Dir     string
	Env     []string // the whole environment
	Systemd bool
	Share   []string // directories under /tmp or /run that stay visible
	Release string   // `uname -r`
	Modules string   // path of the kernel's modules on the host
}
