// SPDX-License-Identifier: Apache-2.0

//go:build amd64

package bench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed-649e9bbc/paddock/tests/vm"
)

// What the boundary costs: of the kernel's hooks for files only a virtual machine
// has those that this needs, and there it counts instructions, not seconds. They are
// those of the whole machine, the daemon's among them, and the same from run to run
// within a few in a thousand.

// Where the host leaves the program for the guest, and what compiling it made.
const (
	builtBinary = "../../.cache/paddock-bench"
	builtCache  = "../../.cache/paddock-bench-go"
)

func testFiles(t *testing.T, binary string) {
	if !thorough() {
		return // not a skip: two machines, several minutes
	}
	data, err := os.ReadFile(binary)
	must(t, err)
	must(t, os.WriteFile(builtBinary, data, 0o755))
	cache, err := filepath.Abs(builtCache)
	must(t, err)
	fill := exec.Command("go", "build", "../../daemon/...")
	fill.Env = append(os.Environ(), "GOCACHE="+cache, "GOFLAGS=-trimpath", "CGO_ENABLED=0")
	if out, err := fill.CombinedOutput(); err != nil {
		t.Fatalf("building: %v: %s", err, out)
	}
	kernels := []vm.Config{{Kernel: "6.1", BPFLSM: true}, {Kernel: "6.1"}}
	for _, cfg := range kernels {
		t.Run(cfg.Name(), func(t *testing.T) {
			cfg.Instructions = true
			cfg.Env = []string{filesEnv + "=" + os.Getenv(filesEnv)}
			cfg.Timeout = 20 * time.Minute
			vm.RunTests(t, cfg, "./tests/bench", "^TestGuestFiles$")
		})
	}
}

// fileWork is something to be counted. Each is done as often as is said, and once
// before.
var fileWork = []struct {
	name  string
	times int
	argv  []string
}{
	{"open, close", 20_000, nil},
	{"create, remove", 5_000, nil},
	{"rename", 5_000, nil},
	{"stat", 20_000, nil},
	{"git status, 20,000 files", 1, []string{"git", "-C", "big", "status", "--porcelain"}},
	{"git commit", 1, []string{"sh", "-ec", "cd big; echo x >>a0/f0; git commit -q -a -m x"}},
	{"tar x, rm, 2,000 files", 1, []string{"sh", "-ec", "tar xf some.tar; rm -r some"}},
	{"npm ci", 1, []string{"sh", "-ec", "cd app; npm ci -s --offline"}},
	{"go build", 1, []string{"sh", "-ec", "cd paddock; echo '//' >>daemon/policy/verdict.go; go build ./daemon/..."}},
}

// filesEnv holds a regular expression: only what it matches is counted. npm and go take most of the time.
const filesEnv = "PADDOCK_BENCH_FILES"

func chosenFile(name string) bool { return regexp.MustCompile(os.Getenv(filesEnv)).MatchString(name) }

// roleFiles does one of fileWork in the current directory and says how long it took, in nanoseconds.
const roleFiles = "bench-files"

func filesMain(name string) int {
	for _, w := range fileWork {
		if w.name != name {
			continue
		}
		if err := doFiles(w.name, 1, w.argv); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		began := instructions()
		if err := doFiles(w.name, w.times, w.argv); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		fmt.Println(instructions() - began)
		return 0
	}
	return 2
}

// instructions is what the processor has executed: in a machine that counts, each takes a nanosecond of its time.
func instructions() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC_RAW, &ts); err != nil {
		panic(err) // the clock is always there
	}
	return ts.Nano()
}

func doFiles(name string, n int, argv []string) error {
	for range n {
		if argv != nil {
			if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
				return fmt.Errorf("%s: %w: %s", name, err, out)
			}
			continue
		}
		if err := fileOps[name](); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

var fileOps = map[string]func() error{
	"open, close": func() error {
		fd, err := unix.Open("src/pkg/deep/file", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		return unix.Close(fd)
	},
	"create, remove": func() error {
		fd, err := unix.Open("src/pkg/deep/new", unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o644)
		if err != nil {
			return err
		}
		if err := unix.Close(fd); err != nil {
			return err
		}
		return unix.Unlink("src/pkg/deep/new")
	},
	"rename": func() error {
		if err := unix.Rename("src/pkg/deep/one", "src/pkg/deep/two"); err != nil {
			return err
		}
		return unix.Rename("src/pkg/deep/two", "src/pkg/deep/one")
	},
	"stat": func() error {
		var st unix.Stat_t
		return unix.Stat("src/pkg/deep/file", &st)
	},
}

// TestGuestFiles is run by testFiles in the guest.
func TestGuestFiles(t *testing.T) {
	if os.Getenv(vm.EnvKernel) == "" || !guestCounts() {
		return // not a skip: TestBench runs it where it can run
	}
	project := layFiles(t)
	data, err := os.ReadFile(builtBinary)
	must(t, err)
	binary := filepath.Join(t.TempDir(), "paddock")
	must(t, os.WriteFile(binary, data, 0o755))
	m := newMachine(t, binary)
	m.write("root/etc/paddock/requirements.toml", "[paddock]\nmode = \"enforce\"\n[paddock.boundary]\n")
	self, err := os.Executable()
	must(t, err)
	results := map[string][]int64{}
	measure := func(prefix []string) {
		for _, w := range fileWork {
			if !chosenFile(w.name) {
				continue
			}
			argv := append(append([]string{}, prefix...), self, roleFiles, w.name)
			cmd := exec.Command(argv[0], argv[1:]...)
			cmd.Dir = project
			var said bytes.Buffer
			cmd.Stderr = &said
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%s: %v: %s%s", w.name, err, out, said.String())
			}
			var n int64
			must(t, json.Unmarshal(bytes.TrimSpace(out), &n))
			results[w.name] = append(results[w.name], n)
		}
	}
	measure(nil)
	measure(nil) // the same again is the noise
	m.start()
	measure(nil)
	measure(m.run())
	for _, g := range m.status().Gates {
		if g.Gate == "boundary" {
			t.Logf("boundary: %s, proven: %v", g.Tier, g.Proven)
			if !g.Proven {
				t.Error("the boundary is not proven: nothing was measured")
			}
		}
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\tinstructions without a daemon\tagain\tnot governed\tgoverned")
	for _, work := range fileWork {
		r := results[work.name]
		if r == nil {
			continue
		}
		base := float64(r[1])
		fmt.Fprintf(w, "%s\t%.0f\t%.3fx\t%.3fx\t%.3fx\n", work.name, base/float64(work.times), float64(r[0])/base, float64(r[2])/base, float64(r[3])/base)
	}
	must(t, w.Flush())
	t.Logf("\n%s", b.String())
}

// guestCounts says whether this machine's time is its instructions.
func guestCounts() bool {
	cmdline, err := os.ReadFile("/proc/cmdline")
	return err == nil && bytes.Contains(cmdline, []byte(vm.CountsInstructions))
}

// layFiles makes a project with what fileWork needs, in a home directory on a file system of its own: the guest's root is
// an overlay, on which everything costs more.
func layFiles(t *testing.T) string {
	t.Helper()
	must(t, unix.Mount("tmpfs", "/home", "tmpfs", 0, "mode=755"))
	const home, project = "/home/dev", "/home/dev/src/project"
	must(t, os.MkdirAll(project+"/src/pkg/deep", 0o755))
	t.Setenv("HOME", home)
	for _, f := range []string{"file", "one"} {
		must(t, os.WriteFile(project+"/src/pkg/deep/"+f, []byte("x\n"), 0o644))
	}
	root, err := filepath.Abs("../..")
	must(t, err)
	cmd := exec.Command("sh", "-ec", `
		mkdir -p ~/.cache ~/.npm ~/go/pkg
		git config --global user.name Dev; git config --global user.email dev@example.com; git config --global gc.auto 0
		git config --global safe.directory '*'
		git init -q . && git init -q big && cd big
		i=0; while [ $i -lt 200 ]; do mkdir a$i; (cd a$i; seq 100 | split -l 1 -a 2 -d - f0); mv a$i/f000 a$i/f0; i=$((i+1)); done
		git add . && git commit -q -m 1 && cd ..
		mkdir some; cp -r big/a? big/a1? some; tar cf some.tar some; rm -r some
		[ "$ALL" ] || exit 0; mkdir app; i=0; deps=; while [ $i -lt 10 ]; do mkdir -p dep$i; echo 'module.exports = 1' >dep$i/index.js
			echo '{"name":"dep'$i'","version":"1.0.0"}' >dep$i/package.json; tar czf app/dep$i.tgz --transform s,^dep$i,package, dep$i
			deps="$deps${deps:+,}\"dep$i\":\"file:dep$i.tgz\""; i=$((i+1)); done
		cd app; echo '{"name":"app","version":"1.0.0","dependencies":{'$deps'}}' >package.json; npm install -s --offline; cd ..
		git clone -q `+root+` paddock`)
	cmd.Dir = project
	cmd.Env = os.Environ()
	if chosenFile("npm ci") || chosenFile("go build") {
		cmd.Env = append(cmd.Env, "ALL=1")
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("laying out: %v: %s", err, out)
	}
	for name, value := range map[string]string{
		"GOCACHE": home + "/.cache/go-build", "GOPROXY": "off", "GOMODCACHE": "/root/go/pkg/mod", "GOFLAGS": "-trimpath", "CGO_ENABLED": "0",
	} {
		t.Setenv(name, value)
	}
	if !chosenFile("go build") {
		return project
	}
	// The host's answers: an emulated processor would compile for an hour.
	if out, err := exec.Command("cp", "-r", builtCache, home+"/.cache/go-build").CombinedOutput(); err != nil {
		t.Fatalf("copying the build cache: %v: %s", err, out)
	}
	return project
}
