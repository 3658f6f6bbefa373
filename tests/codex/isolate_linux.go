// SPDX-License-Identifier: Apache-2.0

package codex

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Names the test that runs isolated, in the environment of the process that runs it.
const envIsolated = "PADDOCK_CODEX_ISOLATED"

// Isolated runs the body of a top-level test in a process of its own, which is this test binary once more:
//
//   - its network is loopback and nothing else;
//   - its whole file system is a layer in memory over this machine's, so that /etc/codex, /tmp and even /usr can be
//     written to, and nothing of it stays;
//   - what it starts, however detached, ends with it.
//
// It takes root. In a virtual machine of tests/vm it works, and is needed only where a test changes what it must not
// leave changed.
func Isolated(t *testing.T, body func(t *testing.T)) {
	t.Helper()
	if os.Getenv(envIsolated) == t.Name() {
		if err := isolate(); err != nil {
			t.Fatalf("isolating the test: %v", err)
		}
		body(t)
		return
	}
	if os.Getuid() != 0 {
		// Not with a user namespace either: the kernel refuses an overlay over a / below which others have mounted.
		t.Fatal("codex.Isolated takes namespaces, and those take root: run as root")
	}
	if strings.Contains(t.Name(), "/") {
		t.Fatalf("codex.Isolated in %s: only a top-level test can be run again alone", t.Name())
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.count=1")
	cmd.Env = append(os.Environ(), envIsolated+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
	}
	output, err := cmd.CombinedOutput()
	t.Logf("isolated:\n%s", output)
	// An exit status of 0 alone would also be that of a test that skipped itself, or that does not exist.
	if err != nil || !strings.Contains(string(output), "--- PASS: "+t.Name()+" ") {
		t.Errorf("the isolated test failed: %v", err)
	}
}

// isolate sets up the namespaces that this process has just been born into.
func isolate() error {
	if err := loopbackUp(); err != nil {
		return fmt.Errorf("bringing up lo: %w", err)
	}
	return privateFileSystem()
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request)
}

// privateFileSystem makes / an overlay. Of what is mounted elsewhere only the part that is needed shows up in it,
// read-only.
func privateFileSystem() error {
	cwd, err := os.Getwd()
	if err != nil {
		return err
	}
	needed, err := neededPaths(cwd)
	if err != nil {
		return err
	}
	mountinfo, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	// First of all: nothing that follows may spread to the machine.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	// /proc is the one directory that is there and in nobody's way: what is mounted on it now is the wrong one.
	const base = "/proc"
	if err := unix.Mount("tmpfs", base, "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mounting the layer in memory: %w", err)
	}
	for _, dir := range []string{"upper", "work", "root"} {
		if err := os.Mkdir(filepath.Join(base, dir), 0o755); err != nil {
			return err
		}
	}
	root := filepath.Join(base, "root")
	options := "lowerdir=/,upperdir=" + base + "/upper,workdir=" + base + "/work"
	if err := unix.Mount(privateRoot, root, "overlay", 0, options); err != nil {
		return fmt.Errorf("mounting an overlay over /: %w", err)
	}
	if err := unix.Mount("/dev", root+"/dev", "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("binding /dev: %w", err)
	}
	for _, point := range pointsAbove(needed, string(mountinfo)) {
		if err := bindReadOnly(point, root+point); err != nil {
			return err
		}
	}
	if err := unix.Mount("proc", root+"/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	return enter(root, cwd)
}

// enter makes root the root, and drops the old one. pivot_root(2) allows both names to be the same.
func enter(root, cwd string) error {
	if err := unix.Chdir(root); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("changing the root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("dropping the old root: %w", err)
	}
	if err := os.Chmod("/tmp", 0o1777); err != nil {
		return err
	}
	return os.Chdir(cwd)
}

// neededPaths are those that a test reads, wherever they are mounted from.
func neededPaths(cwd string) ([]string, error) {
	install, err := Find()
	if err != nil {
		return nil, err
	}
	needed := []string{cwd, install.Dir, "/usr/bin", "/usr/lib", "/etc"}
	if node, err := exec.LookPath("node"); err == nil {
		needed = append(needed, node)
	}
	for _, path := range needed {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			needed = append(needed, real)
		}
	}
	return needed, nil
}

// pointsAbove returns the mount points, other than /, on the way to these paths, outer ones first.
func pointsAbove(needed []string, mountinfo string) []string {
	var points []string
	for line := range strings.Lines(mountinfo) {
		m, ok := parseMount(line)
		if !ok || m.point == "/" || strings.HasPrefix(m.point, "/proc/") {
			continue
		}
		for _, path := range needed {
			if path == m.point || strings.HasPrefix(path, m.point+"/") {
				points = append(points, m.point)
				break
			}
		}
	}
	return points
}

func bindReadOnly(from, to string) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(from, to, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("binding %s: %w", from, err)
	}
	if err := unix.Mount("", to, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("making %s read-only: %w", from, err)
	}
	return nil
}
