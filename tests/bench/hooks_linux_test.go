// SPDX-License-Identifier: Apache-2.0

//go:build amd64

package bench

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"text/tabwriter"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// What each kernel program costs, as the kernel counts it: that says where the time of testCost goes, and is much the same
// on a machine that does other work as well.

// emptyProgram is the name under which a program that does nothing is measured: what counting costs by itself.
const emptyProgram = "(an empty program)"

// inForce are the kernel programs that a daemon has in force, by name.
func (m *machine) inForce() map[string]*ebpf.Program {
	m.t.Helper()
	out := map[string]*ebpf.Program{}
	found, _ := filepath.Glob(filepath.Join(m.pins, "*", "links", "*"))
	for _, path := range found {
		l, err := link.LoadPinnedLink(path, nil)
		must(m.t, err)
		info, err := l.Info()
		must(m.t, err)
		p, err := ebpf.NewProgramFromID(info.Program)
		must(m.t, err)
		must(m.t, l.Close())
		m.t.Cleanup(func() { p.Close() })
		out[filepath.Base(path)] = p
	}
	return out
}

// attachEmpty attaches a program that does nothing to a tracepoint of the kernel.
func attachEmpty(t *testing.T, tracepoint string) (p *ebpf.Program, detach func()) {
	t.Helper()
	return attachNothing(t, ebpf.Tracing, ebpf.AttachTraceRawTp, tracepoint)
}

// attachNothing attaches a program of a type that does nothing.
func attachNothing(t *testing.T, kind ebpf.ProgramType, at ebpf.AttachType, to string) (p *ebpf.Program, detach func()) {
	t.Helper()
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: kind, AttachType: at, AttachTo: to, License: "Dual BSD/GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
	})
	must(t, err)
	var l link.Link
	if kind == ebpf.LSM {
		l, err = link.AttachLSM(link.LSMOptions{Program: p})
	} else {
		l, err = link.AttachTracing(link.TracingOptions{Program: p})
	}
	must(t, err)
	return p, func() {
		l.Close()
		p.Close()
	}
}

// hookCost is what a program ran while something was done n times.
type hookCost struct {
	runs float64
	each []float64 // ns a run, of each batch that counts
}

func testHooks(t *testing.T, binary string) {
	batches, n := 2, 10
	if thorough() {
		batches, n = 60, 100
	}
	m := newMachine(t, binary)
	m.start()
	outside, inside := startWorker(t), startWorker(t, m.run()...)
	m.known(inside, order{Op: "exec", Program: m.free, N: 1})
	stats, err := ebpf.EnableStats(uint32(unix.BPF_STATS_RUN_TIME))
	must(t, err)
	defer stats.Close()
	programs := m.inForce()
	empty, detach := attachEmpty(t, "sched_process_fork") // once for each fork
	defer detach()
	programs[emptyProgram] = empty

	fmt.Printf("\n%s\n%d batches of %d. Programs see the whole machine: a batch counts for a program where others had it run no more than once in ten.\n\n", where(), batches, n)
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "\truns each\tns a run, least\tmedian\t")
	for _, o := range []order{{Op: "exec", Program: m.free, N: n}, {Op: "connect", N: n}} {
		for _, who := range []struct {
			name string
			*worker
		}{{"not governed", outside}, {"governed, cached verdict", inside}} {
			m.settled()
			costs := hookCosts(t, programs, who.worker, o, batches)
			fmt.Fprintf(table, "%s, %s\t\t\t\t\n", o.Op, who.name)
			for _, name := range slices.Sorted(maps.Keys(costs)) {
				c := costs[name]
				if len(c.each) == 0 {
					continue
				}
				fmt.Fprintf(table, "  %s\t%.2f\t%.0f\t%.0f\t\n", name, c.runs/float64(batches*n), quantile(c.each, 0), median(c.each))
			}
			expected := []string{"on_fork", "on_exec", "on_exit"}
			if o.Op == "connect" {
				expected = []string{"on_sock_create", "on_connect4"}
			}
			if m.bySyscalls() {
				expected = append(expected, "on_syscall")
			}
			for _, name := range expected {
				if costs[name].runs < float64(batches*n) {
					t.Errorf("%s, %s: %s did not run", o.Op, who.name, name)
				}
			}
		}
	}
	must(t, table.Flush())
}

func hookCosts(t *testing.T, programs map[string]*ebpf.Program, w *worker, o order, batches int) map[string]*hookCost {
	t.Helper()
	read := func() map[string]ebpf.ProgramStats {
		out := map[string]ebpf.ProgramStats{}
		for name, p := range programs {
			s, err := p.Stats()
			must(t, err)
			out[name] = *s
		}
		return out
	}
	out := map[string]*hookCost{}
	for name := range programs {
		out[name] = &hookCost{}
	}
	for range batches {
		before := read()
		w.do(o)
		for name, after := range read() {
			runs := float64(after.RunCount - before[name].RunCount)
			c := out[name]
			c.runs += runs
			if n := float64(o.N); name == "on_syscall" || runs >= n && runs <= 1.1*n {
				c.each = append(c.each, float64((after.Runtime-before[name].Runtime).Nanoseconds())/runs)
			}
		}
	}
	return out
}
