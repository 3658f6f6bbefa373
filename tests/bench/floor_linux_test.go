// SPDX-License-Identifier: Apache-2.0

//go:build amd64

package bench

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"text/tabwriter"
)

// testFloor measures what the watch on system calls costs with a program that does nothing, and no daemon: no
// implementation of it can cost less.
func testFloor(t *testing.T, binary string) {
	rounds, n := 2, 10
	if thorough() {
		rounds, n = 30, 500
	}
	w := startWorker(t)
	m := newMachine(t, binary)
	orders := []struct {
		name string
		order
	}{
		{"fork+exec+wait, smallest static program", order{Op: "exec", Program: m.free, N: n}},
		{"TCP connect+close, loopback", order{Op: "connect", N: n}},
	}
	fmt.Printf("\n%s\n%d rounds of %d without and with an empty program at sys_enter; no daemon.\n\n", where(), rounds, n)
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "\twithout, us\twith, us\textra us\tratio\t")
	for _, o := range orders {
		var without, with, ratio []float64
		for range rounds {
			off := microseconds(w.do(o.order))
			_, detach := attachEmpty(t, "sys_enter")
			on := microseconds(w.do(o.order))
			detach()
			without, with, ratio = append(without, off), append(with, on), append(ratio, on/off)
		}
		low, high := interval(ratio)
		fmt.Fprintf(table, "%s\t%.1f\t%.1f\t%+.1f\t%.3fx [%.3f..%.3f]\t\n", o.name, median(without), median(with), median(with)-median(without), median(ratio), low, high)
		if slices.Min(with) <= 0 {
			t.Errorf("%s: nothing was measured", o.name)
		}
	}
	must(t, table.Flush())
}

// microseconds is the median of durations in nanoseconds.
func microseconds(each []int64) float64 { return float64(quantile(each, 0.5)) / 1000 }
