// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

const (
	noLSM = "-nolsm"

	// What CI runs: the kernel of Debian 12 with and without BPF LSM, and the newest. tests/setup/kernels.sh has the
	// same default.
	defaultKernels = "6.1,6.1-nolsm,6.12"
)

var series = []string{"5.10", "6.1", "6.12"}

// Kernels returns a Config for every kernel that the environment variable KERNELS asks for, with nothing but the kernel
// set: names as Config.Name gives them, separated by commas, or "all".
func Kernels(t testing.TB) []Config {
	t.Helper()
	configs, err := parseKernels(os.Getenv("KERNELS"))
	if err != nil {
		t.Fatalf("environment variable KERNELS: %v", err)
	}
	return configs
}

func parseKernels(value string) ([]Config, error) {
	var names []string
	switch value {
	case "":
		value = defaultKernels
		fallthrough
	default:
		names = strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == ' ' })
	case "all":
		for _, kernel := range series {
			names = append(names, kernel, kernel+noLSM)
		}
	}
	var configs []Config
	for _, name := range names {
		kernel, without := strings.CutSuffix(name, noLSM)
		if !slices.Contains(series, kernel) {
			return nil, fmt.Errorf("unknown kernel %q (one of %s, each also with %s, or all)",
				name, strings.Join(series, ", "), noLSM)
		}
		configs = append(configs, Config{Kernel: kernel, BPFLSM: !without})
	}
	if len(configs) == 0 {
		return nil, fmt.Errorf("%q names no kernel", value)
	}
	return configs, nil
}
