// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// inode asks the kernel itself who a file is.
func inode(t *testing.T, k *Kernel, path string) InodeID {
	t.Helper()
	f, err := os.OpenFile(path, unix.O_PATH, 0)
	must(t, err)
	defer f.Close()
	ids, err := k.Identify()
	must(t, err)
	return ids[int(f.Fd())].Inode()
}

// Both mechanisms load and attach on every kernel that has them, and the one that
// works refuses: what is nearest decides, names count before there is a file, and
// what is pinned stays.
func TestBoundaryHooks(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"in/git", "in/kept", "out", "secret"} {
		must(t, os.MkdirAll(filepath.Join(dir, d), 0o755))
	}
	for _, f := range []string{"in/file", "in/kept/file", "out/file", "secret/file"} {
		must(t, os.WriteFile(filepath.Join(dir, f), []byte("x\n"), 0o644))
	}
	k := enforcing(t)
	at := func(path string) InodeID { return inode(t, k, filepath.Join(dir, path)) }
	var bounds, own Bounds
	bounds.Add(at("secret"), Bound{Flags: BoundUnreadable})
	own.Add(at("in"), Bound{Flags: BoundWrite})
	own.Add(at("in/kept"), Bound{Flags: BoundProtected})
	own.AddName(BoundName{at("in/git"), "hooks"}, Bound{Flags: BoundProtected})
	must(t, k.SetPolicy(Generation{Number: 2, Enforce: true, Net: openNet, Boundary: BoundaryWorkspace, Bounds: bounds}))
	must(t, k.SetBoundary(7, BoundaryFull, 0, &own))

	worked := 0
	for _, m := range []Mechanism{LSM, ModReturn} {
		err := k.AttachBoundary(m, Whole)
		if os.Getenv("PADDOCK_VM") == "" && err != nil {
			t.Logf("%s: this kernel refuses such programs: %v", m, err)
			continue
		}
		must(t, err)
		out, err := governedShellOutput(t, k, dir, `try() { if (eval "$2") 2>/dev/null; then echo "$1 yes"; else echo "$1 no"; fi; }
			try write 'true >in/new'; try outside 'true >out/new'; try append 'echo y >>out/file'; try read 'read x <out/file'
			try secret 'read x <secret/file'; try kept 'true >in/kept/new'; try hooks 'true >in/git/hooks'; try other 'true >in/git/other'; try null 'true >/dev/null'`)
		must(t, err)
		t.Logf("%s: %q", m, out)
		if strings.Contains(out, "outside no") {
			worked++
			want := "write yes outside no append no read yes secret no kept no hooks no other yes null yes"
			if got := strings.Join(strings.Fields(out), " "); got != want {
				t.Errorf("%s: %s\nwant %s", m, got, want)
			}
		}
		k.DetachBoundary()
	}
	if os.Getenv("PADDOCK_VM") != "" && worked == 0 {
		t.Error("no mechanism refused anything")
	}
}

// governedShellOutput runs a script of builtins in a governed shell.
func governedShellOutput(t *testing.T, k *Kernel, dir, script string) (string, error) {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", "cd "+dir+"; echo ready; read go; "+script)
	in, err := cmd.StdinPipe()
	must(t, err)
	pipe, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill() })
	out := bufio.NewReader(pipe)
	_, err = out.ReadString('\n') // past its own exec
	must(t, err)
	must(t, k.NewSession(7))
	must(t, k.Mark(cmd.Process.Pid, Proc{Session: 7}))
	_, err = in.Write([]byte("go\n"))
	must(t, err)
	said, err := io.ReadAll(out)
	must(t, err)
	return string(said), cmd.Wait()
}
