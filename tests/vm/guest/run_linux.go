// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/seed-649e9bbc/paddock/tests/vm/job"
	"golang.org/x/sys/unix"
)

// run runs the command and writes its exit status where the host looks for it. As init it also reaps the orphans.
func run(j job.Job, init bool) error {
	output, err := os.OpenFile(filepath.Join(job.Path, job.Output), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("opening the output: %w", err)
	}
	defer output.Close()
	tell(strings.TrimPrefix(job.Ready, "paddock-vm: "))

	code, err := wait(j, output, init)
	if err != nil {
		// As a shell would: the host sees the reason in the output, and not a missing exit status.
		fmt.Fprintf(output, "paddock-vm: %v\n", err)
		code = 127
	}
	return writeExit(code)
}

func wait(j job.Job, output *os.File, init bool) (int, error) {
	for _, pair := range j.Env {
		name, value, _ := strings.Cut(pair, "=")
		if err := os.Setenv(name, value); err != nil {
			return 0, fmt.Errorf("setting %q: %w", pair, err)
		}
	}
	path, err := exec.LookPath(j.Command[0])
	if err != nil {
		return 0, err
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	process, err := os.StartProcess(path, j.Command, &os.ProcAttr{
		Dir:   j.Dir,
		Env:   j.Env,
		Files: []*os.File{null, output, output},
		Sys:   &unix.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return 0, err
	}
	which := process.Pid
	if init {
		which = -1
	}
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(which, &status, 0, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("waiting for %s: %w", path, err)
		}
		if pid != process.Pid {
			continue
		}
		if status.Signaled() {
			return 128 + int(status.Signal()), nil
		}
		return status.ExitStatus(), nil
	}
}

// startSystemd becomes systemd, with a target of our own: the host's has services that have nothing to do here, and may
// wait for devices that are not there.
func startSystemd() error {
	units := map[string]string{
		"paddock-vm.target": `[Unit]
Requires=basic.target
Wants=dbus.service systemd-logind.service systemd-user-sessions.service paddock-vm.service
After=basic.target dbus.service systemd-logind.service systemd-user-sessions.service
AllowIsolate=yes
`,
		"paddock-vm.service": `[Unit]
Requires=basic.target
After=basic.target dbus.service systemd-logind.service systemd-user-sessions.service
[Service]
Type=exec
ExecStart=` + program + ` run
`,
	}
	const dir = "/run/systemd/system"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, text := range units {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	// None of these has anything to do in a guest that lives for a minute, and each takes seconds under emulation.
	for _, name := range []string{
		"systemd-udev-trigger.service", "systemd-udev-settle.service", "systemd-timesyncd.service", "systemd-networkd.service",
		"systemd-journal-flush.service", "systemd-update-utmp.service", "ldconfig.service", "timers.target", "e2scrub_reap.service",
		"systemd-binfmt.service", "sys-kernel-debug.mount", "sys-kernel-tracing.mount", "dev-hugepages.mount", "dev-mqueue.mount",
	} {
		if err := os.Symlink("/dev/null", filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	for _, path := range []string{"/lib/systemd/systemd", "/usr/lib/systemd/systemd"} {
		if _, err := os.Stat(path); err == nil {
			return unix.Exec(path, []string{"systemd", "--unit=paddock-vm.target"}, []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "TERM=linux"})
		}
	}
	return errors.New("starting systemd: it is not installed; run: make setup")
}
