// SPDX-License-Identifier: Apache-2.0

package vm

import "testing"

// TestEveryKernel runs what touches the kernel on each of the kernels: the
// tests are those that run natively too, but here LSM and fmod_ret exist, and
// the tests demand the better of the two that the kernel can have.
func TestEveryKernel(t *testing.T) {
	for _, cfg := range Kernels(t) {
		t.Run(cfg.Name(), func(t *testing.T) {
			t.Run("ebpf", func(t *testing.T) { RunTests(t, cfg, "./ebpf", ".") })
			t.Run("enforce", func(t *testing.T) { RunTests(t, cfg, "./daemon/enforce", ".") })
		})
	}
}
