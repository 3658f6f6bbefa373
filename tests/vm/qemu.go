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
		// Seconds; a processor counts as stuck after twice as long. The default is too short where the host is busy.
		"watchdog_thresh=30",
		// Read by systemd: the host's disks and mounts are not the guest's.
		"fstab=no", "systemd.unified_cgroup_hierarchy=1", "systemd.show_status=no", "cgroup_no_v1=all",
	}
	if m.cfg.Preempt != "" {
		kernel = append(kernel, "preempt="+m.cfg.Preempt)
	}
	// Clearing a page, which Debian's kernels do whenever they allocate one, is one instruction for each byte of it where a
	// processor is emulated.
	kernel = append(kernel, "init_on_alloc=0")
	processor, processors, count := "max", "2", []string{}
	if m.cfg.Instructions {
		kernel = append(kernel, CountsInstructions)
		processors, count = "1", []string{"-icount", "shift=0"}
	} else {
		// The same for what else is cleared or copied a byte at a time; and there is nothing to speculate in an emulator
		// (three tests of ebpf on 6.1: 42 s and not 59).
		kernel = append(kernel, "mitigations=off")
		processor += ",-erms,-fsrm,-la57"
	}
	return append([]string{
		"-nodefaults", "-no-user-config", "-display", "none", "-monitor", "none", "-serial", "stdio", "-no-reboot",
		// KVM may be there and hang. Emulated, every machine gives the same result. One host thread emulates both
		// processors by turns: side by side they now and then locked up for ever while the kernel patched its own code,
		// and took longer (enforce on 6.1: 134 s against 110 s).
		"-accel", "tcg,thread=single", "-cpu", processor, "-smp", processors, "-m", "2048",
		"-nic", "none",
		"-kernel", filepath.Join(m.kernel, "vmlinuz"),
		"-initrd", filepath.Join(m.work, "initramfs.cpio"),
		"-append", strings.Join(kernel, " "),
		"-fsdev", "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap",
		"-device", "virtio-9p-pci,fsdev=host,mount_tag=" + job.HostTag,
		"-fsdev", "local,id=share,path=" + strings.ReplaceAll(m.cfg.OutputDir, ",", ",,") + ",security_model=none,multidevs=remap",
		"-device", "virtio-9p-pci,fsdev=share,mount_tag=" + job.ShareTag,
	}, count...)
}

// boot runs QEMU until the guest powers off, fills in what it told, and kills it when it does not come as far as the
// command in time (ErrNoBoot), says that it is stuck (ErrLockedUp) or does not come to an end (the context's error).
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
	if m.cfg.Systemd || m.cfg.Instructions { // counting takes twice as long
		deadline = systemdDeadline
	}
	lockedUp := time.NewTimer(deadline)
	defer lockedUp.Stop()

	var err error
	running := true
	ready := console.ready.seen
	for running && err == nil {
		select {
		case <-ready:
			result.Boot = time.Since(began)
			lockedUp.Stop()
			ready = nil
		case <-lockedUp.C:
			err = fmt.Errorf("%w in %v", ErrNoBoot, deadline)
		case <-console.stuck.seen:
			err = ErrLockedUp
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
	} else if !console.ready.isSeen() {
		err = fmt.Errorf("%w: it ended after %v", ErrNoBoot, time.Since(began).Round(time.Second))
	}
	result.Console = console.String()
	return err
}

// What the kernel prints about a processor that does not come back from where it is.
const softLockup = "watchdog: BUG: soft lockup"

// console keeps what the guest prints, and tells when it says that it starts the command, or that it is stuck.
type console struct {
	ready, stuck phrase

	mu   sync.Mutex
	text bytes.Buffer
}

// phrase is something to wait for: seen is closed when it has been printed.
type phrase struct {
	words string
	seen  chan struct{}
}

func newConsole() *console {
	return &console{
		ready: phrase{job.Ready, make(chan struct{})},
		stuck: phrase{softLockup, make(chan struct{})},
	}
}

func (p *phrase) isSeen() bool {
	select {
	case <-p.seen:
		return true
	default:
		return false
	}
}

// Write implements io.Writer.
func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.text.Write(p)
	for _, phrase := range []*phrase{&c.ready, &c.stuck} {
		if !phrase.isSeen() && bytes.Contains(c.text.Bytes(), []byte(phrase.words)) {
			close(phrase.seen)
		}
	}
	return len(p), nil
}

// String is the text without the carriage returns of a serial line.
func (c *console) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.ReplaceAll(c.text.String(), "\r", "")
}
