// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// bare shows the machine without what the demo mounts, runs the demo, and shows it again.
const bare = `set -e
mount --make-rprivate /
umount -R /sys/fs/cgroup
mount -t tmpfs none /sys/fs/cgroup
umount /sys/fs/bpf 2>&1 || true
look() { cat /proc/self/mounts; ls /sys/fs/cgroup; }
look >"$1/before"
../../examples/demo.sh
look >"$1/after"
`

// The demo mounts what a machine lacks, leaves it as it was, and tells each refusal once.
func TestDemo(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command("sh", "-c", bare, "sh", dir)
	cmd.Env = append(os.Environ(), "PADDOCK_BIN="+shared.paddock)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	look := func(name string) string {
		text, err := os.ReadFile(dir + "/" + name)
		must(t, err)
		return string(text)
	}
	if before, after := look("before"), look("after"); before != after || strings.Contains(before, "cgroup2") {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	if n := strings.Count(string(out), "  forbidden  "); n != 7 {
		t.Errorf("%d refusals of 7:\n%s", n, out)
	}
}
