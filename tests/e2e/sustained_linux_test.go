// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// sustainedEnv is how long TestSustained takes, as time.ParseDuration has it; a minute is what was agreed.
const sustainedEnv = "PADDOCK_SUSTAINED"

// TestSustained has sessions do as much as two processors let them for a while: so many events a second are stored durably by the
// whole daemon, of which the memory is measured throughout.
func TestSustained(t *testing.T) {
	long, err := time.ParseDuration(os.Getenv(sustainedEnv))
	if err != nil {
		return // not a skip: TestFlood runs always
	}
	denied := newTarget(t)
	m := newMachine(t, base+networkRules(newTarget(t), denied))
	m.start()
	dir := m.path("enough")
	m.begin(fmt.Sprintf("for i in 1 2; do while [ ! -e %s ]; do %s act-storm %d 20000; done & done; wait", dir, shared.self, denied.port))
	m.events.wait("the first connection", func(e telemetry.Event) bool { return e.Name == telemetry.NameNetworkDecision })
	before := m.status()
	began := time.Now()
	slowest := 1e9
	last, lastAt := before.Counters["store.stored"], began
	samples := time.NewTicker(5 * time.Second)
	defer samples.Stop()
	for time.Since(began) < long {
		<-samples.C
		now := m.status().Counters["store.stored"]
		slowest = min(slowest, float64(now-last)/time.Since(lastAt).Seconds())
		last, lastAt = now, time.Now()
	}
	took := time.Since(began)
	after := m.status()
	peak := memory(t, m.daemon.pid(), "VmHWM")
	must(t, os.WriteFile(dir, nil, 0o644))
	load, err := os.ReadFile("/proc/loadavg")
	must(t, err)
	rate := float64(after.Counters["store.stored"]-before.Counters["store.stored"]) / took.Seconds()
	var lost []string
	for _, ring := range []string{"ring.security.full", "ring.volume.full", "telemetry.lost"} {
		lost = append(lost, fmt.Sprintf("%s %d", ring, after.Counters[ring]-before.Counters[ring]))
	}
	t.Logf("%.0f events a second for %s, in the slowest 5 s %.0f; %s; at most %.0f MiB resident; load %s", rate, took.Round(time.Second), slowest, strings.Join(lost, ", "), peak, load)
	if rate < 20_000 || peak > 150 {
		t.Errorf("%.0f events a second with %.0f MiB; wanted are 20000 with 150", rate, peak)
	}
}
