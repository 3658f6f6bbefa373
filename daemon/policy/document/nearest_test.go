// SPDX-License-Identifier: Apache-2.0

package document

import (
	"slices"
	"strings"
	"testing"
)

func TestNearest(t *testing.T) {
	words := []string{"agents", "mode", "network", "telemetry", "unmatched"}
	for bad, want := range map[string]string{
		"moed": "mode", "mod": "mode", "modes": "mode", "MODE": "mode", "agent": "agents", "netwrk": "network", "ntework": "network",
		"unmatch": "unmatched", "telemetrie": "telemetry", "": "", "colour": "", "x": "", "mo": "", "nodes": "",
		strings.Repeat("mode", 1000): "",
	} {
		got, ok := Nearest(bad, words)
		if ok != (want != "") || (ok && got != want) {
			t.Errorf("Nearest(%.20q) = %q, %t; want %q", bad, got, ok, want)
		}
	}
	if got, ok := Nearest("a", nil); ok {
		t.Errorf("nearest of nothing: %q", got)
	}
	if !slices.IsSorted(words) {
		t.Error("the keys are listed unsorted")
	}
}
