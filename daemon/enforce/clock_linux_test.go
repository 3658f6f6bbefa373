// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"testing"
	"time"
)

func TestClock(t *testing.T) {
	near := func(ago time.Duration) {
		t.Helper()
		got := clock(bootTime() - uint64(ago)).Add(ago)
		if d := time.Since(got); d < -time.Second || d > time.Minute {
			t.Errorf("what was %s ago is said to have been %s later", ago, d)
		}
	}
	for _, ago := range []time.Duration{0, 2 * time.Hour, -time.Hour} {
		near(ago)
	}
	lastMoment.Store(&moment{time.Now().Add(-time.Hour), bootTime()}) // before somebody set the clock
	near(0)
}

func BenchmarkClock(b *testing.B) {
	now := bootTime()
	for range b.N {
		clock(now)
	}
}

func BenchmarkOldClock(b *testing.B) {
	ns := bootTime()
	for range b.N {
		_ = time.Now().Add(-time.Duration(bootTime() - ns))
	}
}
