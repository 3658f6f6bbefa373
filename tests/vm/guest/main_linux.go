// SPDX-License-Identifier: Apache-2.0

// Command guest is the init of a test's virtual machine. Started as PID 1 in the initramfs it mounts the host's file
// system read-only with a writable layer on top, makes that its root, runs one command and powers off. With systemd it
// hands over to that and is started again, as `guest run`, by a unit.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/seed-649e9bbc/paddock/tests/vm/job"
	"golang.org/x/sys/unix"
)

// program is where this program lies once the root is switched: in memory, for systemd to start again.
const program = "/run/paddock-vm"

func main() {
	if err := start(os.Args[1:]); err != nil {
		// There is nobody to return to. The host sees that there is no exit status, and prints the console.
		tell(err.Error())
	}
	unix.Sync()
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		tell(err.Error())
	}
}

func start(args []string) error {
	if len(args) == 1 && args[0] == "run" {
		j, err := readJob()
		if err != nil {
			return err
		}
		return run(j, false)
	}
	if os.Getpid() != 1 {
		// The power goes off whatever comes of this: never outside of a virtual machine.
		fmt.Fprintln(os.Stderr, "guest: this is the init of a virtual machine, and not for anybody to start")
		os.Exit(2)
	}
	if err := insertModules("/modules"); err != nil {
		return err
	}
	if err := switchRoot(); err != nil {
		return err
	}
	j, err := readJob()
	if err != nil {
		return err
	}
	if err := prepare(j); err != nil {
		return err
	}
	if j.Systemd {
		return startSystemd()
	}
	return run(j, true)
}

// tell writes a line on the console, which may not be where our own output goes.
func tell(text string) {
	line := []byte("paddock-vm: " + text + "\n")
	if console, err := os.OpenFile("/dev/console", os.O_WRONLY, 0); err == nil {
		_, _ = console.Write(line)
		_ = console.Close()
		return
	}
	_, _ = os.Stderr.Write(line)
}

func readJob() (job.Job, error) {
	var j job.Job
	data, err := os.ReadFile(filepath.Join(job.Path, job.File))
	if err != nil {
		return j, fmt.Errorf("reading what to do: %w", err)
	}
	if err := json.Unmarshal(data, &j); err != nil {
		return j, fmt.Errorf("reading what to do: %w", err)
	}
	return j, nil
}

func writeExit(code int) error {
	path := filepath.Join(job.Path, job.Exit)
	if err := os.WriteFile(path+".new", []byte(strconv.Itoa(code)), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
