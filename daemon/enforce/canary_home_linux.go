// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// canaryHome is the cgroup that the canary lives in. Connections are judged below one
// cgroup, which the daemon need not be in: its children prove nothing then.
type canaryHome struct {
	below string   // the cgroup below which connections are judged
	dir   *os.File // nil: the canary stays with the daemon
}

// canaryHomes is what their names begin with; then comes the daemon's number.
const canaryHomes = "paddock-canary-"

// newCanaryHome makes a cgroup of its own: in one that shares out memory or processors
// there must be no processes beside the cgroups in it.
func (e *Enforcer) newCanaryHome() (*canaryHome, error) {
	h := &canaryHome{below: e.Cgroup}
	// The root of the hierarchy has no type, and every process is below it.
	if _, err := os.Lstat(filepath.Join(e.Cgroup, "cgroup.type")); e.Cgroup == "" || errors.Is(err, fs.ErrNotExist) {
		return h, nil
	}
	h.clean()
	// The number tells it from those of other instances; one that a daemon with this number left is as good.
	name := filepath.Join(e.Cgroup, canaryHomes+itoa(os.Getpid()))
	if err := os.Mkdir(name, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, h.explain(err)
	}
	var err error
	if h.dir, err = os.OpenFile(name, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0); err != nil {
		_ = os.Remove(name)
		return nil, h.explain(err)
	}
	return h, nil
}

// clean removes those of daemons that were killed meanwhile. One with a process in it stays.
func (h *canaryHome) clean() {
	left, _ := filepath.Glob(filepath.Join(h.below, canaryHomes+"*"))
	for _, dir := range left {
		pid, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(dir), canaryHomes))
		if err == nil && errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
			_ = os.Remove(dir)
		}
	}
}

// attr has a process begin there: no moment of it is spent elsewhere.
func (h *canaryHome) attr() *syscall.SysProcAttr {
	if h.dir == nil {
		return nil
	}
	return &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(h.dir.Fd())}
}

// explain says what is wrong with a cgroup that the canary cannot begin in.
func (h *canaryHome) explain(err error) error {
	return fmt.Errorf("the cgroup %s takes no canary (%w): name one with --cgroup that is not threaded, and in which another can be made", h.below, err)
}

// close removes it. Where a process of the canary's is left, it stays.
func (h *canaryHome) close() {
	if h.dir != nil {
		_ = os.Remove(h.dir.Name())
		h.dir.Close()
	}
}
