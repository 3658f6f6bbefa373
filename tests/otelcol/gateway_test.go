// SPDX-License-Identifier: Apache-2.0

package otelcol

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestGatewayExample has the real Collector judge the example for a fleet.
func TestGatewayExample(t *testing.T) {
	const example = "../../examples/collector-gateway.yaml"
	validate := func(path string) ([]byte, error) {
		return exec.CommandContext(t.Context(), binary, "validate", "--config", path).CombinedOutput()
	}
	if out, err := validate(example); err != nil {
		t.Errorf("the Collector refuses %s: %v\n%s", example, err, out)
	}
	// It would tell: a component that is nowhere defined.
	data, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	wrong := filepath.Join(t.TempDir(), "wrong.yaml")
	if err := os.WriteFile(wrong, bytes.ReplaceAll(data, []byte("processors: [memory_limiter]"), []byte("processors: [nothing]")), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := validate(wrong); err == nil {
		t.Errorf("the Collector takes what cannot be: %s", out)
	}
}
