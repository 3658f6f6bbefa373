// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/seed-649e9bbc/paddock/tests/vm/job"
	"golang.org/x/sys/unix"
)

// insertModules inserts the modules of a directory in the order of their names.
func insertModules(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		f, err := os.Open(filepath.Join(dir, entry.Name()))
		if err != nil {
			return err
		}
		err = unix.FinitModule(int(f.Fd()), "", 0)
		_ = f.Close()
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("inserting module %s: %w", entry.Name(), err)
		}
	}
	return nil
}

// mount is one file system, mounted on a directory that is made when it is missing.
type mount struct {
	source, target, fstype string
	flags                  uintptr
	data                   string
}

func (m mount) do() error {
	if err := os.MkdirAll(m.target, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(m.source, m.target, m.fstype, m.flags, m.data); err != nil {
		return fmt.Errorf("mounting %s on %s: %w", m.fstype, m.target, err)
	}
	return nil
}

func mountAll(mounts []mount) error {
	for _, m := range mounts {
		if err := m.do(); err != nil {
			return err
		}
	}
	return nil
}

// switchRoot makes the host's file system, with a layer in memory on top, the root.
func switchRoot() error {
	err := mountAll([]mount{
		// cache=loose keeps what was read once: nobody but this guest asks for it, and a boot reads much.
		{job.HostTag, "/host", "9p", unix.MS_RDONLY, "trans=virtio,version=9p2000.L,cache=loose,msize=524288"},
		{"tmpfs", "/memory", "tmpfs", 0, "size=75%"},
	})
	if err != nil {
		return err
	}
	for _, dir := range []string{"/memory/upper", "/memory/work"} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	self, err := os.ReadFile("/init")
	if err != nil {
		return err
	}
	err = mountAll([]mount{{"overlay", "/root", "overlay", 0, "lowerdir=/host,upperdir=/memory/upper,workdir=/memory/work"}})
	if err != nil {
		return err
	}
	if err := os.Chdir("/root"); err != nil {
		return err
	}
	// What switch_root(8) does: the initramfs cannot be unmounted, only covered.
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("moving the new root: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("changing to the new root: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	err = mountAll([]mount{
		{"proc", "/proc", "proc", 0, ""},
		{"sysfs", "/sys", "sysfs", 0, ""},
		{"securityfs", "/sys/kernel/security", "securityfs", 0, ""},
		{"tracefs", "/sys/kernel/tracing", "tracefs", 0, ""},
		{"debugfs", "/sys/kernel/debug", "debugfs", 0, ""},
		{"devtmpfs", "/dev", "devtmpfs", 0, ""},
		{"devpts", "/dev/pts", "devpts", 0, "mode=620,ptmxmode=666,gid=5"},
		{"tmpfs", "/dev/shm", "tmpfs", 0, "mode=1777"},
		{"cgroup2", "/sys/fs/cgroup", "cgroup2", 0, ""},
		{"bpf", "/sys/fs/bpf", "bpf", 0, "mode=700"},
		{job.ShareTag, job.Path, "9p", 0, "trans=virtio,version=9p2000.L,cache=none,msize=524288"},
	})
	if err != nil {
		return err
	}
	for link, target := range map[string]string{"/dev/fd": "/proc/self/fd", "/dev/stdin": "fd/0", "/dev/stdout": "fd/1", "/dev/stderr": "fd/2"} {
		if err := os.Symlink(target, link); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return keepProgram(self)
}

// keepProgram gives /run, which must not show the host's sockets and PID files, a file system of its own, and puts this
// program there.
func keepProgram(self []byte) error {
	if err := (mount{"tmpfs", "/memory-run", "tmpfs", 0, "mode=755"}).do(); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join("/memory-run", filepath.Base(program)), self, 0o755)
}

// prepare covers /tmp and /run, which belong to what runs on the host, brings back what the job wants to see of them,
// and makes the guest's identity its own.
func prepare(j job.Job) error {
	type kept struct{ aside, path string }
	var keep []kept
	for i, path := range j.Share {
		if !strings.HasPrefix(path, "/tmp/") && !strings.HasPrefix(path, "/run/") {
			continue
		}
		aside := fmt.Sprintf("/memory-share/%d", i)
		if err := (mount{path, aside, "", unix.MS_BIND, ""}).do(); err != nil {
			return err
		}
		keep = append(keep, kept{aside, path})
	}
	if err := (mount{"/memory-run", "/run", "", unix.MS_MOVE, ""}).do(); err != nil {
		return err
	}
	if err := (mount{"tmpfs", "/tmp", "tmpfs", 0, "mode=1777"}).do(); err != nil {
		return err
	}
	for _, k := range keep {
		if err := (mount{k.aside, k.path, "", unix.MS_MOVE, ""}).do(); err != nil {
			return err
		}
	}
	_ = os.Remove("/memory-run")
	// systemd leaves out what it thinks a container cannot do, and the host may be one.
	_ = os.Remove("/.dockerenv")

	for path, text := range map[string]string{
		"/etc/hostname":   "paddock-vm\n",
		"/etc/hosts":      "127.0.0.1 localhost paddock-vm\n::1 localhost\n",
		"/etc/machine-id": "5061646465636b000000000000000001\n",
	} {
		// Removed first: the host may have a mount or a link there.
		_ = os.Remove(path)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	if err := unix.Sethostname([]byte("paddock-vm")); err != nil {
		return fmt.Errorf("naming the guest: %w", err)
	}
	if err := os.MkdirAll("/lib/modules", 0o755); err != nil {
		return err
	}
	// For modprobe: the kernel asks it for what a test uses for the first time.
	if err := os.Symlink(j.Modules, "/lib/modules/"+j.Release); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return loopbackUp()
}

// loopbackUp brings up the only network interface there is.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("bringing up loopback: %w", err)
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("bringing up loopback: %w", err)
	}
	return nil
}
