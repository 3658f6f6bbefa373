// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"strings"
	"testing"
)

func TestParseKernels(t *testing.T) {
	for _, test := range []struct{ value, want string }{
		{"", "6.1 6.1-nolsm 6.12"},
		{"all", "5.10 5.10-nolsm 6.1 6.1-nolsm 6.12 6.12-nolsm"},
		{"5.10,6.12-nolsm", "5.10 6.12-nolsm"},
		{" 6.12, 5.10 ", "6.12 5.10"},
	} {
		configs, err := parseKernels(test.value)
		if err != nil {
			t.Errorf("%q: %v", test.value, err)
			continue
		}
		var names []string
		for _, cfg := range configs {
			names = append(names, cfg.Name())
		}
		if got := strings.Join(names, " "); got != test.want {
			t.Errorf("%q: %s, want %s", test.value, got, test.want)
		}
	}
}

// A misspelt kernel must not turn the whole matrix into nothing.
func TestParseKernelsRefuses(t *testing.T) {
	for _, value := range []string{"6.2", "6.1 -nolsm", "6.1,ALL", ",", "nolsm"} {
		if configs, err := parseKernels(value); err == nil {
			t.Errorf("%q: %v, want an error", value, configs)
		}
	}
}
