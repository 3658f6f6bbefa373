// SPDX-License-Identifier: Apache-2.0

// Package otelcol tests the export of events against a real OpenTelemetry
// Collector, which install.sh builds.
package otelcol

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-649e9bbc/paddock/tests/otelcol/rig"
)

// TestGatewayExample has the real Collector judge the example for a fleet.
func TestGatewayExample(t *testing.T) {
	const example = "../../examples/collector-gateway.yaml"
	validate := func(path string) ([]byte, error) {
		return exec.CommandContext(t.Context(), rig.Binary, "validate", "--config", path).CombinedOutput()
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

func TestCollectorIsTheOnePinned(t *testing.T) {
	mod, err := os.ReadFile("collector/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(mod), "\tgo.opentelemetry.io/collector/otelcol v")
	if !found {
		t.Fatal("collector/go.mod does not say which Collector it is")
	}
	want, _, _ := strings.Cut(rest, "\n")
	out, err := exec.Command(rig.Binary, "--version").Output()
	if err != nil {
		t.Fatalf("there is no OpenTelemetry Collector: run `make setup` (%v)", err)
	}
	if got := string(out); !strings.HasPrefix(got, "otelcol version "+want+"+") {
		t.Errorf("the Collector is %q, want %s: run `make setup`", got, want)
	}
}
