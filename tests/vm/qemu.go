// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/seed-649e9bbc/paddock/tests/vm/job"
)

// arguments is QEMU's command line.
func (m *machine) arguments() []string {
	lsm := "landlock,capability"
	if m.cfg.BPFLSM {
		lsm += ",bpf"
	}
	kernel := []string{
		"console=ttyS0", "quiet", "loglevel=4",
		"lsm=" + lsm,
		// A kernel that panics ends the run, and does not wait for somebody to come and look.
		"panic=-1",
		// Read by systemd: the host's disks and mounts are not the guest's.
		"fstab=no", "systemd.unified_cgroup_hierarchy=1", "systemd.show_status=no", "cgroup_no_v1=all",
	}
	return []string{
		"-nodefaults", "-no-user-config", "-display", "none", "-monitor", "none", "-serial", "stdio", "-no-reboot",
		// KVM may be there and hang: see DESIGN. Emulated, every machine gives the same result.
		"-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "2048",
		"-nic", "none",
		"-kernel", filepath.Join(m.kernel, "vmlinuz"),
		"-initrd", filepath.Join(m.work, "initramfs.cpio"),
		"-append", strings.Join(kernel, " "),
		"-fsdev", "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap",
		"-device", "virtio-9p-pci,fsdev=host,mount_tag=" + job.HostTag,
		"-fsdev", "local,id=share,path=" + strings.ReplaceAll(m.cfg.OutputDir, ",", ",,") + ",security_model=none,multidevs=remap",
		"-device", "virtio-9p-pci,fsdev=share,mount_tag=" + job.ShareTag,
	}
}

// boot runs QEMU until the guest powers off, fills in what it told, and kills it when it does not come as far as the
// command in time (ErrNoBoot) or not to an end (the context's error).
func (m *machine) boot(ctx context.Context, result *Result) error {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.Timeout)
	defer cancel()
	console := newConsole()
	// Not CommandContext: which of the reasons ended it is decided below.
	qemu := exec.Command("qemu-system-x86_64", m.arguments()...)
	qemu.Stdout, qemu.Stderr = console, console
	qemu.SysProcAttr = dieWithParent()
	began := time.Now()
	if err := qemu.Start(); err != nil {
		return fmt.Errorf("starting QEMU: %w", err)
	}
	var exit error
	ended := make(chan struct{})
	go func() {
		exit = qemu.Wait()
		close(ended)
	}()

	deadline := bootDeadline
	if m.cfg.Systemd {
		deadline = systemdDeadline
	}
	lockedUp := time.NewTimer(deadline)
	defer lockedUp.Stop()

	var err error
	running := true
	ready := console.ready
	for running && err == nil {
		select {
		case <-ready:
			result.Boot = time.Since(began)
			lockedUp.Stop()
			ready = nil
		case <-lockedUp.C:
			err = fmt.Errorf("%w in %v", ErrNoBoot, deadline)
		case <-ctx.Done():
			err = fmt.Errorf("after %v: %w", time.Since(began).Round(time.Second), ctx.Err())
		case <-ended:
			running = false
		}
	}
	if running {
		_ = qemu.Process.Kill()
		<-ended
	} else if exit != nil {
		err = fmt.Errorf("QEMU: %w", exit)
	} else if !console.isReady() {
		err = fmt.Errorf("%w: it ended after %v", ErrNoBoot, time.Since(began).Round(time.Second))
	}
	result.Console = console.String()
	return err
}

// console keeps what the guest prints, and closes ready when it says that it starts the command.
type console struct {
	ready chan struct{}

	mu   sync.Mutex
	text bytes.Buffer
	seen bool
}

func newConsole() *console { return &console{ready: make(chan struct{})} }

// Write implements io.Writer.
func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.text.Write(p)
	if !c.seen && bytes.Contains(c.text.Bytes(), []byte(job.Ready)) {
		c.seen = true
		close(c.ready)
	}
	return len(p), nil
}

func (c *console) isReady() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen
}

// String is the text without the carriage returns of a serial line.
func (c *console) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.ReplaceAll(c.text.String(), "\r", "")
}
