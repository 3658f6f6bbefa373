// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
)

// What is mounted in a container is found where it lies outside; what only the
// container has is nowhere.
func TestContainersPathsAreFound(t *testing.T) {
	top, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	real, inside, alone := filepath.Join(top, "real"), filepath.Join(top, "inside"), filepath.Join(top, "alone")
	for _, d := range []string{real + "/project/.git", real + "/project/src", inside, alone} {
		must(t, os.MkdirAll(d, 0o755))
	}
	cmd := exec.Command("unshare", "-m", "sh", "-ec", `mount --bind "$0" "$1" && mount -t tmpfs none "$2" && mkdir "$2/x" && echo ready && read x`, real, inside, alone)
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	cmd.Stderr = os.Stderr
	must(t, cmd.Start())
	defer func() { _ = in.Close(); _ = cmd.Wait() }()
	if said, err := bufio.NewReader(out).ReadString('\n'); err != nil || strings.TrimSpace(said) != "ready" {
		t.Fatalf("%q, %v", said, err)
	}
	v := viewOf(cmd.Process.Pid)
	if v == nil {
		t.Fatal("it has no view of its own")
	}
	for path, want := range map[string]string{
		inside + "/project/src": real + "/project/src", inside: real, alone: "", alone + "/x": "", real + "/project": real + "/project", top: top,
	} {
		if got := v.at(path); got != want {
			t.Errorf("%s is at %q, want %q", path, got, want)
		}
	}
	b := policy.Boundary{Mode: policy.WorkspaceWrite}
	want := project{dir: real + "/project", view: v, seen: inside + "/project"}
	if got := findProject(b, v, inside+"/project/src", uint32(os.Getuid())); got != want {
		t.Errorf("the project: %+v, want %+v", got, want)
	}
	b.Protected = []policy.Pattern{{Text: real}}
	if got := findProject(b, v, inside+"/project/src", uint32(os.Getuid())); got.dir != "" {
		t.Errorf("a project in what is protected outside: %+v", got)
	}
	if viewOf(os.Getpid()) != nil {
		t.Error("the daemon is in a container of its own")
	}
}
