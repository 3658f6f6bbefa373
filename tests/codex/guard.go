// SPDX-License-Identifier: Apache-2.0

package codex

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
)

// Where this source of a mount shows up for "/", Isolated made the file system.
const privateRoot = "paddock-codex"

// The guest of tests/vm has no network card, and its file system is thrown away. vm.EnvKernel: not imported, because
// this package must do without the Go toolchain.
const envGuest = "PADDOCK_VM"

var (
	// ErrNetwork means that Codex would have run where something other than this machine can be reached.
	ErrNetwork = errors.New("not run: this network namespace has more than loopback; use codex.Isolated, or a virtual machine")
	// ErrNotPrivate means that /etc, where requirements belong, is that of the machine.
	ErrNotPrivate = errors.New("requirements not written: /etc is this machine's own; use codex.Isolated, or a virtual machine")
)

// NoNetwork refuses a network namespace from which an agent could reach something.
func NoNetwork() error {
	interfaces, err := net.Interfaces()
	if err != nil {
		return fmt.Errorf("looking at the network: %w", err)
	}
	return onlyLoopback(interfaces)
}

// onlyLoopback refuses a network namespace from which something could leave.
func onlyLoopback(interfaces []net.Interface) error {
	loopback := false
	for _, i := range interfaces {
		switch {
		case i.Flags&net.FlagUp == 0:
			// New namespaces come with tunnels that are down on kernels with those built in.
		case i.Flags&net.FlagLoopback != 0:
			loopback = true
		default:
			return fmt.Errorf("%w (it has %s)", ErrNetwork, i.Name)
		}
	}
	if !loopback {
		return errors.New("not run: lo is down in this network namespace, so Codex would not reach the fake model")
	}
	return nil
}

// private tells whether what is written to / is gone after the test.
func private(mountinfo string) bool {
	if os.Getenv(envGuest) != "" {
		return true
	}
	for line := range strings.Lines(mountinfo) {
		if m, ok := parseMount(line); ok && m.point == "/" && m.source == privateRoot {
			return true
		}
	}
	return false
}

type mount struct{ point, source string }

// parseMount reads a line of /proc/PID/mountinfo: proc_pid_mountinfo(5).
func parseMount(line string) (mount, bool) {
	left, right, found := strings.Cut(line, " - ")
	before, after := strings.Fields(left), strings.Fields(right)
	if !found || len(before) < 6 || len(after) < 2 {
		return mount{}, false
	}
	return mount{point: unescape(before[4]), source: unescape(after[1])}, true
}

// unescape undoes what the kernel does to blanks and backslashes in paths.
func unescape(path string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(path)
}
