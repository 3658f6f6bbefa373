// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"testing"
	"time"
)

// TestEveryKernel runs what touches the kernel on each of the kernels: the
// tests are those that run natively too, but here LSM and fmod_ret exist, and
// the tests demand the better of the two that the kernel can have. An emulator
// takes one processor, so that as many kernels run at a time as there are.
func TestEveryKernel(t *testing.T) {
	t.Parallel()
	for _, cfg := range Kernels(t) {
		t.Run(cfg.Name(), func(t *testing.T) {
			t.Parallel()
			cfg.Timeout = 12 * time.Minute
			t.Run("ebpf", func(t *testing.T) { RunTests(t, cfg, "./ebpf", ".") })
			t.Run("enforce", func(t *testing.T) { RunTests(t, cfg, "./daemon/enforce", ".") })
		})
	}
}
