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
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
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
	handOver(t, binary)
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

// handOver leaves the program where a guest finds it.
func handOver(t *testing.T, binary string) {
	t.Helper()
	data, err := os.ReadFile(binary)
	must(t, err)
	must(t, os.WriteFile(builtBinary, data, 0o755))
}

// handedOver is the guest's copy of it.
func handedOver(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(builtBinary)
	must(t, err)
	binary := filepath.Join(t.TempDir(), "paddock")
	must(t, os.WriteFile(binary, data, 0o755))
	return binary
}

// batches is how often each of fileWork is counted: the median is what it takes when nothing else of the machine came
// between.
const batches = 7

// testFilesHere measures, in seconds, the tier without hooks: Landlock for what `paddock run` starts, and fanotify.
func testFilesHere(t *testing.T, binary string) {
	if !thorough() {
		return // not a skip: what it measures needs many turns
	}
	project := filepath.Join(t.TempDir(), "project")
	must(t, os.MkdirAll(project+"/src/pkg/deep", 0o755))
	for _, f := range []string{"file", "one"} {
		must(t, os.WriteFile(project+"/src/pkg/deep/"+f, []byte("x\n"), 0o644))
	}
	lay := exec.Command("sh", "-ec", layBig)
	lay.Dir = project
	if out, err := lay.CombinedOutput(); err != nil {
		t.Fatalf("laying out: %v: %s", err, out)
	}
	m := newMachine(t, binary)
	m.write("root/etc/paddock/requirements.toml", "[paddock]\nmode = \"enforce\"\n[paddock.boundary]\n")
	var works []string
	for _, w := range fileWork {
		if !w.once && chosenFile(w.name) {
			works = append(works, w.name)
		}
	}
	const rounds = 5
	bare, free, kept := map[string][]int64{}, map[string][]int64{}, map[string][]int64{}
	turn := func(into map[string][]int64, prefix []string) {
		for _, name := range works {
			into[name] = append(into[name], countFiles(t, project, prefix, name))
		}
	}
	for range rounds {
		turn(bare, nil)
	}
	m.start()
	for range rounds {
		turn(free, nil)
		turn(kept, m.run())
	}
	m.stop()
	for range rounds {
		turn(bare, nil)
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\twithout a daemon\tnot governed\tgoverned (Landlock)\tof not governed")
	for _, name := range works {
		base, free, kept := middle(bare[name]), middle(free[name]), middle(kept[name])
		fmt.Fprintf(w, "%s\t%v\t%.3fx\t%.3fx\t%.3fx\n", name, time.Duration(base/timesOf(name)), float64(free)/float64(base), float64(kept)/float64(base), float64(kept)/float64(free))
	}
	must(t, w.Flush())
	t.Logf("\n%s", b.String())
}

// middle is the median.
func middle(v []int64) int64 {
	slices.Sort(v)
	return v[len(v)/2]
}

func timesOf(name string) int64 {
	for _, w := range fileWork {
		if w.name == name {
			return int64(w.times)
		}
	}
	return 1
}

// countFiles has one of fileWork done in the project, behind a prefix, and returns what it took.
func countFiles(t *testing.T, project string, prefix []string, name string) int64 {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	argv := append(append([]string{}, prefix...), self, roleFiles, name)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = project
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v: %s%s", name, err, out, said.String())
	}
	var n int64
	must(t, json.Unmarshal(bytes.TrimSpace(out), &n))
	return n
}

// fileWork is something to be counted. Each is done as often as is said, and once
// before.
var fileWork = []struct {
	name  string
	times int
	argv  []string
	once  bool // it takes minutes
}{
	{"open, close", 2_000, nil, false},
	{"create, remove", 500, nil, false},
	{"rename", 500, nil, false},
	{"stat", 2_000, nil, false},
	{"git status, 20,000 files", 1, []string{"git", "-C", "big", "status", "--porcelain"}, false},
	{"git commit", 1, []string{"sh", "-ec", "cd big; echo x >>a0/f0; git commit -q -a -m x"}, false},
	{"tar x, rm, 2,000 files", 1, []string{"sh", "-ec", "tar xf some.tar; rm -r some"}, false},
	{"npm ci", 1, []string{"sh", "-ec", "cd app; npm ci -s --offline"}, true},
	{"go build", 1, []string{"sh", "-ec", "cd paddock; echo '//' >>daemon/hook/doc.go; go build ./daemon/..."}, true},
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
		if _, err := doFiles(w.name, 1, w.argv); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		times := batches
		if w.once {
			times = 1
		}
		var took []int64
		for range times {
			n, err := doFiles(w.name, w.times, w.argv)
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
			took = append(took, n)
		}
		fmt.Println(middle(took))
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

// doFiles does something n times and returns what it took: of a program, the processor time of all its processes, since
// for what is read from the host's disk the machine waits.
func doFiles(name string, n int, argv []string) (int64, error) {
	var took time.Duration
	began := instructions()
	for range n {
		if argv != nil {
			cmd := exec.Command(argv[0], argv[1:]...)
			if out, err := cmd.CombinedOutput(); err != nil {
				return 0, fmt.Errorf("%s: %w: %s", name, err, out)
			}
			took += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
			continue
		}
		if err := fileOps[name](); err != nil {
			return 0, fmt.Errorf("%s: %w", name, err)
		}
	}
	if argv != nil {
		return took.Nanoseconds(), nil
	}
	return instructions() - began, nil
}

var fileOps = map[string]func() error{
	"open, close": func() error { return openClose(oldFile, unix.O_RDONLY) },
	"create, remove": func() error {
		if err := openClose(newFile, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL); err != nil {
			return err
		}
		_, err := call(unix.SYS_UNLINK, newFile, 0, 0)
		return err
	},
	"rename": func() error {
		if _, err := call(unix.SYS_RENAME, one, uintptr(unsafe.Pointer(two)), 0); err != nil {
			return err
		}
		_, err := call(unix.SYS_RENAME, two, uintptr(unsafe.Pointer(one)), 0)
		return err
	},
	"stat": func() error {
		_, err := call(unix.SYS_STAT, oldFile, uintptr(unsafe.Pointer(&status)), 0)
		return err
	},
}

var (
	oldFile, newFile = &[]byte("src/pkg/deep/file\x00")[0], &[]byte("src/pkg/deep/new\x00")[0]
	one, two         = &[]byte("src/pkg/deep/one\x00")[0], &[]byte("src/pkg/deep/two\x00")[0]
	status           unix.Stat_t
)

// call has the kernel do something, and the runtime nothing: to it, a system call that takes microseconds is one that
// another thread should be started for.
func call(number uintptr, path *byte, a, b uintptr) (uintptr, error) {
	r, _, errno := unix.RawSyscall(number, uintptr(unsafe.Pointer(path)), a, b)
	if errno != 0 {
		return 0, errno
	}
	return r, nil
}

func openClose(path *byte, flags uintptr) error {
	fd, err := call(unix.SYS_OPEN, path, flags|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return err
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_CLOSE, fd, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// TestGuestFiles is run by testFiles in the guest.
func TestGuestFiles(t *testing.T) {
	if os.Getenv(vm.EnvKernel) == "" || !guestCounts() {
		return // not a skip: TestBench runs it where it can run
	}
	project := layFiles(t)
	m := newMachine(t, handedOver(t))
	m.write("root/etc/paddock/requirements.toml", "[paddock]\nmode = \"enforce\"\n[paddock.boundary]\n")
	results := map[string][]int64{}
	measure := func(prefix []string) {
		for _, w := range fileWork {
			if !chosenFile(w.name) {
				continue
			}
			results[w.name] = append(results[w.name], countFiles(t, project, prefix, w.name))
		}
	}
	measure(nil)
	measure(nil) // the same again is the noise
	var detach []func()
	for _, hook := range []string{"file_open", "inode_create", "inode_unlink", "inode_rename"} {
		kind, at := ebpf.LSM, ebpf.AttachLSMMac
		if !strings.Contains(securityModules(t), "bpf") {
			kind, at, hook = ebpf.Tracing, ebpf.AttachModifyReturn, "security_"+hook
		}
		_, off := attachNothing(t, kind, at, hook)
		detach = append(detach, off)
	}
	measure(nil) // no implementation can cost less
	for _, off := range detach {
		off()
	}
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
	fmt.Fprintln(w, "\tinstructions without a daemon\tagain\tempty hooks\tnot governed\tgoverned")
	for _, work := range fileWork {
		r := results[work.name]
		if r == nil {
			continue
		}
		base := float64(r[1])
		fmt.Fprintf(w, "%s\t%.0f\t%.3fx\t%.3fx\t%.3fx\t%.3fx\n", work.name, base/float64(work.times),
			float64(r[0])/base, float64(r[2])/base, float64(r[3])/base, float64(r[4])/base)
	}
	must(t, w.Flush())
	t.Logf("\n%s", b.String())
}

// securityModules are those of the kernel.
func securityModules(t *testing.T) string {
	t.Helper()
	list, err := os.ReadFile("/sys/kernel/security/lsm")
	must(t, err)
	return string(list)
}

// layBig makes a repository of 20,000 files, and an archive.
const layBig = `git init -q . && git init -q big && cd big && git config user.name Dev && git config user.email dev@example.com && git config gc.auto 0
		i=0; while [ $i -lt 200 ]; do mkdir a$i; (cd a$i; seq 100 | split -l 1 -a 2 -d - f0); mv a$i/f000 a$i/f0; i=$((i+1)); done
		git add . && git commit -q -m 1 && cd ..
		mkdir some; cp -r big/a? big/a1? some; tar cf some.tar some; rm -r some`

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
		`+layBig+`
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
		"PATH": os.Getenv("PATH") + ":/usr/local/go/bin",
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
