// SPDX-License-Identifier: Apache-2.0

package approval

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Process is who is at the other end of Paddock's socket: the kernel says so.
type Process struct {
	PID int
	UID uint32
	GID uint32 // effective, when it connected
}

// People tells whether a process speaks for a person.
type People struct {
	// Companion is the path of the companion's program: owned by root and setgid. Empty:
	// there is none.
	Companion string
	// Terminal is the path of the program that answers from a terminal: paddock.
	Terminal string
	// Bus is the address of the bus polkit is on. Empty: the system's.
	Bus string
	// Governed lists the processes that belong to sessions.
	Governed func() ([]int, error)
}

// Identify says by what way a process answers, and what proves that somebody is
// there. It refuses what is neither the companion nor paddock on a terminal that no
// agent can write to. That the process itself is not governed was made sure of.
func (p *People) Identify(who Process) (by, proof string, err error) {
	if tracer, err := statusNumber(who.PID, "TracerPid:"); err != nil || tracer != 0 {
		return "", "", refuse("process %d is being traced, so it is not known whose words it says", who.PID)
	}
	if p.Companion != "" {
		isIt, err := p.companion(who)
		if err != nil {
			return "", "", err
		}
		if isIt {
			return ByCompanion, "", nil
		}
	}
	if proof, err = p.terminal(who); err != nil {
		return "", "", err
	}
	return ByTerminal, proof, nil
}

// companion reports whether a process runs the companion's program. That its group
// is the program's shows that it was executed and not loaded by something else; a
// setgid program cannot be traced by its user.
func (p *People) companion(who Process) (bool, error) {
	var want, is unix.Stat_t
	installed := unix.Lstat(p.Companion, &want) == nil
	known := unix.Stat(procFile(who.PID, "exe"), &is) == nil
	switch {
	case !installed || !known || is.Ino != want.Ino || is.Dev != want.Dev:
		return false, nil
	case want.Mode&unix.S_IFMT != unix.S_IFREG || want.Uid != 0 || want.Mode&0o022 != 0:
		return false, refuse("the companion %s must be a file of root's that nobody else can write", p.Companion)
	case want.Mode&unix.S_ISGID == 0 || want.Gid == 0:
		return false, refuse("the companion %s must be setgid, of a group of its own", p.Companion)
	case who.GID != want.Gid:
		return false, refuse("process %d runs the companion's program without its group %d", who.PID, want.Gid)
	}
	return true, nil
}

// terminal says on which terminal a process is, if only a person can have typed there.
func (p *People) terminal(who Process) (string, error) {
	if !p.ownProgram(who.PID) {
		return "", refuse("process %d is neither the companion nor the command paddock", who.PID)
	}
	// A process that its user may read and write, any program of the user can speak
	// through. Its files in /proc then belong to the user.
	var st unix.Stat_t
	if err := unix.Stat(procFile(who.PID, "mem"), &st); err != nil || who.UID != 0 && st.Uid != 0 {
		return "", refuse("process %d can be written to by others of its user", who.PID)
	}
	t, err := terminalOf(who.PID)
	if err != nil {
		return "", err
	}
	governed, err := p.Governed()
	if err != nil {
		return "", fmt.Errorf("listing governed processes: %w", err)
	}
	for _, pid := range governed {
		if t.reachedBy(pid) {
			return "", refuse("an agent's process %d is on the same terminal and could have typed the answer: use another terminal", pid)
		}
	}
	if err := t.checkOtherEnd(who.PID, governed); err != nil {
		return "", err
	}
	return "terminal " + t.name(), nil
}

// ownProgram reports whether a process runs the same program as the daemon, or the
// one that has taken its place.
func (p *People) ownProgram(pid int) bool {
	is, err := os.Stat(procFile(pid, "exe"))
	if err != nil {
		return false
	}
	for _, own := range []string{"/proc/self/exe", p.Terminal} {
		if want, err := os.Stat(own); err == nil && os.SameFile(is, want) {
			return true
		}
	}
	return false
}

func procFile(pid int, name string) string {
	return filepath.Join("/proc", fmt.Sprint(pid), name)
}

// Protect keeps other programs of its user from speaking through the calling
// process: paddock calls it before it answers.
func Protect() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("closing the process to others of its user: %w", err)
	}
	return nil
}

var errNoField = errors.New("no such field")
