// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"testing"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// documented checks that events are as the registry, and with it docs/events.md,
// says. Every test of this package ends with it.
func documented(t *testing.T, events []telemetry.Event) {
	t.Helper()
	told := map[string]bool{}
	for _, e := range events {
		for _, fault := range telemetry.Undocumented(e) {
			if !told[fault] {
				told[fault] = true
				t.Errorf("docs/events.md does not say so: %s", fault)
			}
		}
	}
}
