// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
	"github.com/seed-649e9bbc/paddock/ebpf"
)

// Processes of the lowest priority are interrupted in the middle of a hook's program, again and again, while another tries
// what that refuses. Either it never succeeds, or what the kernel did not look at is told. tests/vm TestPreemption runs it.
func TestLeftOut(t *testing.T) {
	if cmdline, err := os.ReadFile("/proc/cmdline"); err != nil || !bytes.Contains(cmdline, []byte("preempt=full")) {
		return // not a skip: a kernel that does not preempt itself leaves out nothing
	}
	b, ok := newBounded(t)
	if !ok {
		t.Fatal("the boundary is not proven")
	}
	must(t, os.WriteFile("/usr/local/outside", nil, 0o644))
	out, err := b.run(fmt.Sprintf(`cd %s; perl -e '$| = 1; $idle = pack "i", 0;
		for (1..3) { $p = fork; if (!$p) { syscall 144, 0, 5, $idle; while (1) { open F, "<", "src/deep/file"; close F } } push @p, $p }
		$end = time + 20; while (time < $end) { select undef, undef, undef, 0.0003; for (1..20) { $tried++; open F, ">>", "/usr/local/outside" and $wrote++; close F } }
		kill 9, @p; printf "%%d of %%d\n", $wrote, $tried'`, b.project))
	must(t, err)
	t.Logf("written: %s", out)
	why := ebpf.MayBeLeftOut(b.canary.mechanism())
	if why == "" {
		if !strings.HasPrefix(out, "0 of ") {
			t.Errorf("it wrote outside of its project: %s", out)
		}
		return
	}
	for _, g := range b.Gates() {
		if g.Tier == string(b.canary.mechanism()) && !strings.Contains(g.Detail, why) {
			t.Errorf("gate %s does not say that it may be left out: %q", g.Gate, g.Detail)
		}
	}
	if strings.HasPrefix(out, "0 of ") { // no doubt is a promise: some kernels before 6.2 have that change as well
		return
	}
	b.wait("a gap that tells of it", func(e telemetry.Event) bool {
		n, _ := e.Attrs[telemetry.AttrGapCount].(int64)
		return e.Name == telemetry.NameTelemetryGap && e.Attrs[telemetry.AttrGapCause] == telemetry.GapLeftOut && n > 0
	})
}

func TestDoubt(t *testing.T) {
	gates := []Gate{
		{Gate: "boundary", Tier: "fmod_ret", Proven: true, Detail: "a limit"}, {Gate: "signal", Tier: "none"}, {Gate: "exec.hold", Tier: "hold", Proven: true},
	}
	doubt(gates, ebpf.ModReturn, "")
	if gates[0].Detail != "a limit" {
		t.Errorf("without a reason: %q", gates[0].Detail)
	}
	doubt(gates, ebpf.ModReturn, "the kernel preempts itself (full)")
	if d := gates[0].Detail; !strings.HasPrefix(d, "a limit; ") || !strings.Contains(d, "the kernel preempts itself (full)") {
		t.Errorf("what stands on it says %q", d)
	}
	if gates[1].Detail != "" || gates[2].Detail != "" {
		t.Errorf("what does not: %q, %q", gates[1].Detail, gates[2].Detail)
	}
}
