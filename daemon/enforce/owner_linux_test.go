// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"bufio"
	"os/exec"
	"syscall"
	"testing"
)

// A process that has made itself undumpable is still its user's: the directory in /proc
// is root's then.
func TestOwnerOfUndumpable(t *testing.T) {
	cmd := exec.Command("/usr/bin/python3", "-c", "import ctypes, sys; ctypes.CDLL(None).prctl(4, 0); print('up', flush=True); sys.stdin.read()")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	_, err = bufio.NewReader(out).ReadString('\n')
	must(t, err)
	if uid := ownerOf(cmd.Process.Pid); uid != 65534 {
		t.Errorf("it belongs to %d", uid)
	}
	in.Close()
	_ = cmd.Wait() // it has nothing to say
}
