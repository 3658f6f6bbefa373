// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// What the guest writes, and TestBoot looks for on the host: in the one place where it stays, and in two where it must
// not.
const (
	proof    = "proof"
	intruder = "/etc/paddock-vm-was-here"
	victim   = "kernels.go"
)

// Names of variables that tell the guest of two directories in the host's /tmp.
const (
	envHidden = "PADDOCK_VM_TEST_HIDDEN"
	envShared = "PADDOCK_VM_TEST_SHARED"
)

// TestGuest is run by TestBoot, inside the guest: what a test that runs there may count on.
func TestGuest(t *testing.T) {
	kernel := os.Getenv(EnvKernel)
	if kernel == "" {
		return // TestBoot sees whether the subtests were there
	}
	for _, test := range []struct {
		name string
		do   func(t *testing.T, kernel string)
	}{
		{"runs_the_kernel", guestKernel},
		{"has_BPF_LSM_or_not", guestLSM},
		{"has_only_loopback", guestNetwork},
		{"has_2_processors_and_2_GiB", guestSize},
		{"mounts_what_BPF_needs", guestMounts},
		{"can_load_modules", guestModules},
		{"has_terminals", guestTerminals},
		{"reaps_orphans", guestOrphans},
		{"has_a_tmp_of_its_own", guestTmp},
		{"writes", guestWrites},
	} {
		t.Run(test.name, func(t *testing.T) { test.do(t, kernel) })
	}
}

func guestKernel(t *testing.T, kernel string) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		t.Fatal(err)
	}
	release := unix.ByteSliceToString(name.Release[:])
	if want := strings.TrimSuffix(kernel, noLSM) + "."; !strings.HasPrefix(release, want) {
		t.Errorf("kernel %s, want %s*", release, want)
	}
	if os.Getuid() != 0 {
		t.Errorf("uid %d, want 0", os.Getuid())
	}
}

func guestLSM(t *testing.T, kernel string) {
	list, err := os.ReadFile("/sys/kernel/security/lsm")
	if err != nil {
		t.Fatal(err)
	}
	got := slices.Contains(strings.Split(strings.TrimSpace(string(list)), ","), "bpf")
	if want := !strings.HasSuffix(kernel, noLSM); got != want {
		t.Errorf("bpf in %q: %v, want %v", list, got, want)
	}
}

func guestNetwork(t *testing.T, _ string) {
	interfaces, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range interfaces {
		if i.Name != "lo" || i.Flags&net.FlagUp == 0 {
			t.Errorf("interface %s is %v, want only lo, up", i.Name, i.Flags)
		}
	}
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
	}
	// Documentation addresses: even with a network card nobody would be there.
	for _, address := range []string{"192.0.2.1:443", "[2001:db8::1]:443"} {
		if _, err := net.Dial("tcp", address); !errors.Is(err, unix.ENETUNREACH) && !errors.Is(err, unix.EADDRNOTAVAIL) {
			t.Errorf("dialling %s: %v, want that there is no way there", address, err)
		}
	}
}

func guestSize(t *testing.T, _ string) {
	if n := runtime.NumCPU(); n != 2 {
		t.Errorf("%d processors, want 2", n)
	}
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		t.Fatal(err)
	}
	if mib := info.Totalram * uint64(info.Unit) >> 20; mib < 1900 || mib > 2048 {
		t.Errorf("%d MiB of memory, want 2048 less what the kernel keeps for itself", mib)
	}
}

func guestMounts(t *testing.T, _ string) {
	for path, magic := range map[string]int64{
		"/":                    unix.OVERLAYFS_SUPER_MAGIC,
		"/sys/fs/cgroup":       unix.CGROUP2_SUPER_MAGIC,
		"/sys/fs/bpf":          unix.BPF_FS_MAGIC,
		"/sys/kernel/security": unix.SECURITYFS_MAGIC,
		"/sys/kernel/tracing":  unix.TRACEFS_MAGIC,
		"/tmp":                 unix.TMPFS_MAGIC,
		"/run":                 unix.TMPFS_MAGIC,
		"/proc":                unix.PROC_SUPER_MAGIC,
	} {
		var fs unix.Statfs_t
		if err := unix.Statfs(path, &fs); err != nil {
			t.Errorf("%s: %v", path, err)
		} else if fs.Type != magic {
			t.Errorf("%s is a file system of type %#x, want %#x", path, fs.Type, magic)
		}
	}
	if _, err := os.Stat("/sys/kernel/btf/vmlinux"); err != nil {
		t.Error(err)
	}
}

func guestModules(t *testing.T, _ string) {
	if output, err := exec.Command("modprobe", "dummy").CombinedOutput(); err != nil {
		t.Errorf("modprobe: %v: %s", err, output)
	}
	if _, err := os.Stat("/sys/module/dummy"); err != nil {
		t.Error(err)
	}
}

func guestTerminals(t *testing.T, _ string) {
	f, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n, err := unix.IoctlGetInt(int(f.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("/dev/pts/%d", n)
}

// An orphan that stays a zombie would look alive to whoever waits for it to go.
func guestOrphans(t *testing.T, _ string) {
	output, err := exec.Command("sh", "-c", "true & echo $!").Output()
	if err != nil {
		t.Fatal(err)
	}
	pid := strings.TrimSpace(string(output))
	for {
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		// Nobody but the parent, which is init, is told when it goes; -test.timeout ends this if it never does.
		t.Logf("still there: %s", stat)
		if _, err := unix.Poll(nil, 10); err != nil && !errors.Is(err, unix.EINTR) {
			t.Fatal(err)
		}
	}
}

func guestTmp(t *testing.T, _ string) {
	path := os.Getenv(envHidden)
	if path == "" {
		t.Fatalf("%s is not set", envHidden)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the host's %s: %v, want that it is not there", path, err)
	}
	if _, err := os.Stat(os.Getenv(envShared)); err != nil {
		t.Errorf("what Config.Share names: %v", err)
	}
}

func guestWrites(t *testing.T, kernel string) {
	for path, text := range map[string]string{
		filepath.Join(OutputPath, proof): kernel,
		intruder:                         "a file that the host must not have",
		victim:                           "a text that the host's file must not have",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Error(err)
		} else if got, err := os.ReadFile(path); err != nil || string(got) != text {
			t.Errorf("%s holds %q (%v), want %q", path, got, err, text)
		}
	}
}
