// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"io"
	"math/bits"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
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

// mechanisms are those that can do the most on this kernel. To load a boundary takes an emulated processor
// half a minute: what 6.12 does with fmod_ret, its configuration without BPF LSM tells.
func mechanisms() []Mechanism {
	switch kernel := os.Getenv("PADDOCK_VM"); {
	case kernel == "":
		return []Mechanism{LSM, ModReturn}
	case strings.HasSuffix(kernel, "-nolsm"):
		return []Mechanism{ModReturn}
	default:
		return []Mechanism{LSM}
	}
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
	own.AddName(BoundName{at("out"), "cache"}, Bound{Flags: BoundWrite})
	own.AddName(BoundName{at("in/git"), "hooks"}, Bound{Flags: BoundProtected})
	// As long as the filter's eight bytes, around them, and too long to be kept with the entry.
	var long []string
	for _, n := range []int{1, 7, 8, 9, 40, MaxBoundName} {
		long = append(long, strings.Repeat("n", n))
		own.AddName(BoundName{at("in/git"), long[len(long)-1]}, Bound{Flags: BoundProtected})
	}
	policy := Generation{Number: 2, Enforce: true, Net: openNet, Boundary: BoundaryWorkspace, Bounds: bounds}
	must(t, k.SetPolicy(policy))
	must(t, k.SetBoundary(7, BoundaryFull, 0, &own))
	// What the filter has too much of is taken away with a later policy, and nothing else.
	full := filterBits{}
	for word := range uint32(kernelLimitFILTER_WORDS) {
		full[word] = ^uint64(0)
	}
	must(t, k.setFilter(full))
	for range 2 {
		policy.Number++
		must(t, k.SetPolicy(policy))
	}
	set := 0
	for word := range uint32(kernelLimitFILTER_WORDS) {
		var now uint64
		must(t, k.maps[kernelMapBoundFilter].Lookup(word, &now))
		set += bits.OnesCount64(now)
	}
	if most := len(bounds.Files) + len(own.Files) + len(own.Names); set == 0 || set > most {
		t.Errorf("the filter has %d bits for %d entries", set, most)
	}

	worked := 0
	for _, m := range mechanisms() {
		err := k.AttachBoundary(m, Whole)
		if os.Getenv("PADDOCK_VM") == "" && err != nil {
			t.Logf("%s: this kernel refuses such programs: %v", m, err)
			continue
		}
		must(t, err)
		out, err := governedShellOutput(t, k, dir, `try() { if (eval "$2") 2>/dev/null; then echo "$1 yes"; else echo "$1 no"; fi; }
			try write 'true >in/new'; try outside 'true >out/new'; try cache 'true >out/cache'; try append 'echo y >>out/file'; try read 'read x <out/file'
			try secret 'read x <secret/file'; try kept 'true >in/kept/new'; try hooks 'true >in/git/hooks'; try other 'true >in/git/other'; try null 'true >/dev/null'
			for n in `+strings.Join(long, " ")+`; do try long "true >in/git/$n"; done; try longer 'true >in/git/`+long[len(long)-1]+`n'`)
		must(t, err)
		t.Logf("%s: %q", m, out)
		if strings.Contains(out, "outside no") {
			worked++
			want := "write yes outside no cache yes append no read yes secret no kept no hooks no other yes null yes" + strings.Repeat(" long no", len(long)) + " longer yes"
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

// Two subvolumes of btrfs have inodes of the same number on the same device: what
// holds for one must not hold for the other. Machines are installed with one for the
// system and one for the home directories.
func TestSubvolumesAreToldApart(t *testing.T) {
	if os.Getenv("PADDOCK_VM") != "" {
		return // not a skip: the guest mounts no such file system, and the kernel is asked the same way everywhere
	}
	dir := t.TempDir()
	runtime.LockOSThread() // and never unlocked: its view of the mounts ends with it
	must(t, unix.Unshare(unix.CLONE_NEWNS))
	must(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	script := exec.Command("sh", "-ec", `truncate -s 128M image; mkfs.btrfs -q image >/dev/null; mkdir top; mount -o loop image top || exit 3
		cd top; for s in system home; do btrfs -q subvolume create $s; mkdir $s/dir; sync; done; stat -c %i */dir`)
	script.Dir = dir
	out, err := script.Output()
	if script.ProcessState.ExitCode() == 3 {
		t.Skip("this kernel mounts no btrfs")
	}
	must(t, err)
	defer func() { must(t, unix.Unmount(filepath.Join(dir, "top"), unix.MNT_DETACH)) }()
	if numbers := strings.Fields(string(out)); len(numbers) != 2 || numbers[0] != numbers[1] {
		t.Fatalf("their inodes have the numbers %q: nothing is tried", numbers)
	}
	k := enforcing(t)
	system, home := inode(t, k, filepath.Join(dir, "top/system/dir")), inode(t, k, filepath.Join(dir, "top/home/dir"))
	if system == home || system.Dev != home.Dev || system.Ino == 0 {
		t.Errorf("they are %+v and %+v to the kernel side", system, home)
	}
}

// governedShellOutput runs a script of builtins in a governed shell.
func governedShellOutput(t *testing.T, k *Kernel, dir, script string) (string, error) {
	t.Helper()
	cmd, out, tell := waitingShell(t, "cd "+dir+"; "+script)
	mark(t, k, cmd)
	tell()
	said, err := io.ReadAll(out)
	must(t, err)
	return string(said), cmd.Wait()
}
