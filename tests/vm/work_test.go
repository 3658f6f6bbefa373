// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TestWork does a developer's whole day under a boundary on every kernel, if
// PADDOCK_LONG=1: compilers take minutes where processors are emulated.
func TestWork(t *testing.T) {
	if os.Getenv("PADDOCK_LONG") == "" {
		return // not a skip: TestEveryKernel does the short part of it
	}
	root, err := repository()
	if err != nil {
		t.Fatal(err)
	}
	cache, programs := filepath.Join(root, ".cache", "work-go"), filepath.Join(root, ".cache", "work-bin")
	fill := exec.Command("sh", "-ec", `
		printf 'module example.com/m\ngo 1.24\nrequire github.com/google/go-cmp v0.7.0\n' >go.mod
		printf 'package m\nimport "github.com/google/go-cmp/cmp"\nfunc Same(a, b int) bool { return cmp.Equal(a, b) }\n' >m.go
		printf 'package m\nimport "testing"\nfunc TestSame(t *testing.T) { if !Same(2, 2) { t.Fail() } }\n' >m_test.go
		go mod tidy && go build ./... && go vet ./... && go test ./...
		[ -e $GOBIN/gopls ] || GOFLAGS= GOCACHE= go install golang.org/x/tools/gopls@v0.21.1`)
	fill.Dir = t.TempDir()
	fill.Env = append(os.Environ(), "GOCACHE="+cache, "GOBIN="+programs, "GOFLAGS=-mod=mod -trimpath", "CGO_ENABLED=0")
	if out, err := fill.CombinedOutput(); err != nil {
		t.Fatalf("compiling once for all machines: %v: %s", err, out)
	}
	for _, cfg := range Kernels(t) {
		t.Run(cfg.Name(), func(t *testing.T) {
			cfg.Timeout = 25 * time.Minute
			cfg.Env = []string{"PADDOCK_LONG=1", "PADDOCK_GOCACHE=" + cache, "PADDOCK_WORK_BIN=" + programs}
			RunTests(t, cfg, "./daemon/enforce", "^TestWork$")
		})
	}
}

// TestPreemption has kernels preempt themselves, which decides whether a hook's program always runs.
func TestPreemption(t *testing.T) {
	if os.Getenv("PADDOCK_LONG") == "" {
		return // not a skip: what depends on it is tested where kernels are as they come
	}
	for _, cfg := range []Config{{Kernel: "6.12", BPFLSM: true}, {Kernel: "6.12"}, {Kernel: "6.1", BPFLSM: true}} {
		t.Run(cfg.Name(), func(t *testing.T) {
			cfg.Preempt = "full"
			RunTests(t, cfg, "./daemon/enforce", "^(TestLeftOut|TestHoldCannotBeEscaped)$")
		})
	}
}
