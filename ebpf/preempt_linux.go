// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// A kernel that preempts itself may take the processor from a process in the middle of a program, and leaves that
// program out for whoever comes to it on that processor meanwhile: it takes it for a program that calls itself. Who has
// processes of a lower priority can have that happen as often as they like. Programs at tracepoints and in cgroups are
// not interrupted, and from 6.2 on those of LSM are never left out (kernel/bpf/trampoline.c, bpf_prog_check_recur).

// MayBeLeftOut says why programs of a mechanism may not run for every call; empty: they do.
func MayBeLeftOut(m Mechanism) string {
	release, err := kernelRelease()
	if m == None || m == LSM && err == nil && !olderThan(release, "6.2") {
		return ""
	}
	return preempts()
}

// preempts says why programs around a function of the kernel may be left out; empty: they always run.
func preempts() string {
	mode, err := preemption()
	if err != nil {
		return "nobody says whether the kernel preempts itself: " + err.Error()
	}
	if mode == "none" || mode == "voluntary" {
		return ""
	}
	return fmt.Sprintf("the kernel preempts itself (%s)", mode)
}

// LeftOut counts how often programs in force that refuse something were left out, since they were attached.
func (k *Kernel) LeftOut() (uint64, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var total uint64
	for name, l := range k.links {
		if slices.Contains(corePrograms, name) {
			continue
		}
		info, err := l.Info()
		if err != nil {
			return 0, fmt.Errorf("asking for the link of %s: %w", name, err)
		}
		p, err := ebpf.NewProgramFromID(info.Program)
		if err != nil {
			return 0, fmt.Errorf("asking for the program %s: %w", name, err)
		}
		stats, err := p.Stats()
		p.Close()
		if err != nil {
			return 0, fmt.Errorf("asking how often %s ran: %w", name, err)
		}
		total += stats.RecursionMisses
	}
	return total, nil
}

// preemption says when the kernel lets another process have the processor while it works itself for
// one: none, voluntary, lazy, full. An error: it cannot be told.
func preemption() (string, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "unknown", fmt.Errorf("asking for the kernel's version: %w", err)
	}
	read := func(path string) string {
		data, _ := os.ReadFile(path)
		if z, err := gzip.NewReader(bytes.NewReader(data)); err == nil {
			data, _ = io.ReadAll(io.LimitReader(z, 4<<20))
		}
		return string(data)
	}
	release := unix.ByteSliceToString(u.Release[:])
	return preemptionOf(unix.ByteSliceToString(u.Version[:]), read("/sys/kernel/debug/sched/preempt"), read("/proc/cmdline"),
		read("/proc/config.gz")+read("/boot/config-"+release)+read("/lib/modules/"+release+"/config"))
}

// preemptionOf tells it from what uname calls the version, the scheduler's own word, the kernel's command line and its
// configuration; what is not there is empty.
func preemptionOf(version, now, cmdline, config string) (string, error) {
	switch {
	case !strings.Contains(version, "PREEMPT"):
		return "none", nil // or voluntary
	case !strings.Contains(version, "PREEMPT_DYNAMIC"):
		return "full", nil
	}
	if _, after, ok := strings.Cut(now, "("); ok {
		mode, _, _ := strings.Cut(after, ")")
		return mode, nil
	}
	if config == "" {
		return "unknown", errors.New("neither /sys/kernel/debug/sched/preempt nor the kernel's configuration can be read")
	}
	mode := "full"
	for name, value := range map[string]string{"CONFIG_PREEMPT_NONE=y": "none", "CONFIG_PREEMPT_VOLUNTARY=y": "voluntary", "CONFIG_PREEMPT_LAZY=y": "lazy"} {
		if strings.Contains(config, "\n"+name+"\n") {
			mode = value
		}
	}
	for _, word := range strings.Fields(cmdline) {
		if value, ok := strings.CutPrefix(word, "preempt="); ok {
			mode = value
		}
	}
	return mode, nil
}
