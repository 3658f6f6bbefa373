// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf/features"
	"golang.org/x/sys/unix"
)

// What can be missing before anything is loaded. The wrapping error says what
// was found and what to do.
var (
	ErrNotRoot   = errors.New("not root")
	ErrNoBTF     = errors.New("no kernel type information (BTF)")
	ErrOldKernel = errors.New("kernel too old")
	ErrNoBPFFS   = errors.New("no BPF file system")
	ErrSharedDir = errors.New("not a directory for Paddock alone")
	ErrNoCgroup  = errors.New("no cgroup v2 hierarchy")
	ErrNotCgroup = errors.New("not a cgroup")
	ErrContainer = errors.New("not in the first PID namespace")
)

// typesPath is where the kernel shows its own BTF.
const typesPath = "/sys/kernel/btf/vmlinux"

// firstPIDNamespace is PROC_PID_INIT_INO of include/linux/proc_ns.h.
const firstPIDNamespace = "pid:[4026531836]"

// MinKernel is the oldest kernel with everything the core needs: ring buffers
// (5.8), iterators over files and tp_btf from 5.8, and tested from 5.10 on.
const MinKernel = "5.10"

// Check looks for what the kernel side needs, in the order in which a person
// would have to mend it.
func Check(options Options) error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("%w: the daemon loads kernel programs; run it as root (systemctl start paddock, or sudo paddock daemon)", ErrNotRoot)
	}
	release, err := kernelRelease()
	if err != nil {
		return err
	}
	if olderThan(release, MinKernel) {
		return fmt.Errorf("%w: this is Linux %s, Paddock needs %s or newer; install a newer kernel", ErrOldKernel, release, MinKernel)
	}
	if _, err := os.Stat(typesPath); err != nil {
		return fmt.Errorf("%w: %s is not there; boot a kernel built with CONFIG_DEBUG_INFO_BTF=y (every distribution kernel since 2021 is)", ErrNoBTF, typesPath)
	}
	if err := features.HaveMapType(ringBufferType); err != nil {
		if errors.Is(err, unix.EPERM) {
			return fmt.Errorf("%w: bpf(2) is forbidden here (a container, or kernel lockdown); run the daemon on the host with CAP_SYS_ADMIN", ErrNotRoot)
		}
		return fmt.Errorf("%w: Linux %s has no BPF ring buffer: %w", ErrOldKernel, release, err)
	}
	// The kernel programs speak of processes by their ids in the first namespace.
	if ns, err := os.Readlink("/proc/self/ns/pid"); err != nil || ns != firstPIDNamespace {
		return fmt.Errorf("%w (but in %s): this is a container; run the daemon on the host", ErrContainer, ns)
	}
	if err := checkMagic(options.PinDir, unix.BPF_FS_MAGIC); err != nil {
		return fmt.Errorf("%w: %s is not in one (%w); run: mount -t bpf bpf /sys/fs/bpf", ErrNoBPFFS, options.PinDir, err)
	}
	if err := checkPinDir(options.PinDir); err != nil {
		return err
	}
	return checkCgroup(options.Cgroup)
}

// checkPinDir refuses the root of a file system: what others pin is there.
func checkPinDir(dir string) error {
	var is, above unix.Stat_t
	if unix.Stat(dir, &is) == nil && unix.Stat(dir+"/..", &above) == nil && is.Dev != above.Dev {
		return fmt.Errorf("%w: %s is the root of a BPF file system; name a directory in it with --pin-dir, such as %s", ErrSharedDir, dir, filepath.Join(dir, "paddock"))
	}
	return nil
}

// checkCgroup looks whether programs can be attached to dir: that it lies in the right file system is not enough.
func checkCgroup(dir string) error {
	if st, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w: there is no %s; make it with mkdir, or name another one with --cgroup", ErrNotCgroup, dir)
	} else if err == nil && !st.IsDir() {
		return fmt.Errorf("%w: %s is a file; name the directory with --cgroup", ErrNotCgroup, dir)
	}
	if err := checkMagic(dir, unix.CGROUP2_SUPER_MAGIC); err != nil {
		return fmt.Errorf("%w: %s is not in one (%w); mount it (mount -t cgroup2 none /sys/fs/cgroup/unified) and name it with --cgroup", ErrNoCgroup, dir, err)
	}
	return nil
}

// KernelRelease is uname -r; empty if it cannot be had.
func KernelRelease() string {
	r, _ := kernelRelease()
	return r
}

func kernelRelease() (string, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", fmt.Errorf("asking for the kernel's version: %w", err)
	}
	return unix.ByteSliceToString(u.Release[:]), nil
}

func olderThan(release, min string) bool {
	var a, b, x, y int
	if n, _ := fmt.Sscanf(release, "%d.%d", &a, &b); n < 2 {
		return false // an unknown scheme: let the feature checks speak
	}
	_, _ = fmt.Sscanf(min, "%d.%d", &x, &y) // ours: a constant
	return a < x || a == x && b < y
}

// checkMagic asks the nearest existing directory for its file system.
func checkMagic(dir string, magic int64) error {
	var st unix.Statfs_t
	for {
		err := unix.Statfs(dir, &st)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.ENOENT) || filepath.Dir(dir) == dir {
			return fmt.Errorf("statfs %s: %w", dir, err)
		}
		dir = filepath.Dir(dir)
	}
	if st.Type != magic {
		return fmt.Errorf("file system type %#x of %s", st.Type, dir)
	}
	return nil
}

// FindCgroup returns the mount point of the cgroup v2 hierarchy, the usual
// places first; the plain default if there is none.
func FindCgroup() string {
	for _, dir := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		if checkMagic(dir, unix.CGROUP2_SUPER_MAGIC) == nil {
			return dir
		}
	}
	return "/sys/fs/cgroup"
}
