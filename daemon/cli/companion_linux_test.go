// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// The daemon takes what the companion's program says for what a person says. So it must
// be of no use to a program of the person's that only starts it.
func TestCompanionsProgramHasOneCommand(t *testing.T) {
	const nobody, group = 65534, 60123
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	program := filepath.Join(dir, "companion")
	from, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	to, err := os.Create(program)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(to, from)
	if err := errors.Join(err, to.Close(), os.Chown(program, 0, group), os.Chmod(program, 0o755|os.ModeSetgid)); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		"approve 7F3K":                 "no other command",
		"hook codex":                   "no other command",
		"daemon":                       "no other command",
		"":                             "no other command",
		"--socket /x companion":        "no other command",
		"companion --bus unix:path=/x": "neither --bus nor --socket",
		"companion --socket /x":        "neither --bus nor --socket",
	} {
		cmd := exec.CommandContext(t.Context(), program, strings.Fields(args)...)
		cmd.Env = []string{mainEnv + "=1", "PADDOCK_SOCKET=/x"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%q: %v, %s", args, err, out)
		}
	}
}
