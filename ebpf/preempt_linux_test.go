// SPDX-License-Identifier: Apache-2.0

package ebpf

import "testing"

func TestPreemption(t *testing.T) {
	const dynamic, config = "#1 SMP PREEMPT_DYNAMIC Debian 6.1.1", "CONFIG_SMP=y\nCONFIG_PREEMPT_VOLUNTARY=y\n# CONFIG_PREEMPT_NONE is not set\n"
	for _, c := range []struct{ name, version, now, cmdline, config, want string }{
		{"a kernel that cannot", "#1 SMP Debian 5.10.1", "", "", "", "none"},
		{"one that always does", "#1 SMP PREEMPT Arch", "", "preempt=none", config, "full"},
		{"real time", "#1 SMP PREEMPT_RT", "", "", config, "full"},
		{"the scheduler's word", dynamic, "none voluntary (full) \n", "preempt=none", config, "full"},
		{"another word", dynamic, "none (voluntary) full lazy\n", "", "", "voluntary"},
		{"what it was built for", dynamic, "", "quiet", config, "voluntary"},
		{"what it was started with", dynamic, "", "preempt=full quiet", config, "full"},
		{"the last word counts", dynamic, "", "preempt=full preempt=voluntary", config, "voluntary"},
		{"built to", dynamic, "", "", "CONFIG_PREEMPT=y\nCONFIG_SMP=y\n", "full"},
		{"lazily", dynamic, "", "", "CONFIG_SMP=y\nCONFIG_PREEMPT_LAZY=y\n", "lazy"},
		{"nobody says", dynamic, "", "preempt=voluntary", "", "unknown"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, err := preemptionOf(c.version, c.now, c.cmdline, c.config); got != c.want || (err != nil) != (c.want == "unknown") {
				t.Errorf("%q, %v; want %q", got, err, c.want)
			}
		})
	}
}
