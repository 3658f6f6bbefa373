// SPDX-License-Identifier: Apache-2.0

//go:build amd64

package bench

import (
	"fmt"
	"os"
	"runtime/pprof"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed-649e9bbc/paddock/daemon/cli"
	"github.com/seed-649e9bbc/paddock/tests/egress/rig"
)

// Roles of the test binary besides its own.
const (
	roleWorker   = "bench-worker" // measures; see worker
	roleProfiled = "daemon"       // stands in for paddock, with a CPU profile; see profileEnv
	roleHelper   = "helper"

	roleProxied   = "bench-proxied"   // measures a proxy from where Codex's commands run; see proxied
	roleTelemetry = "bench-telemetry" // the store and the export by themselves; see measureTelemetry
)

// profileEnv names a file: the storms' daemon is then this binary, and leaves a
// CPU profile there.
const profileEnv = "PADDOCK_BENCH_PROFILE"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case roleWorker:
			os.Exit(work(os.Stdin, os.Stdout))
		case rig.Role:
			os.Exit(rig.Main(os.Args[2]))
		case roleProxied:
			os.Exit(measureProxied(os.Args[2]))
		case roleTelemetry:
			os.Exit(telemetryMain(os.Args[2:]))
		case roleFiles:
			os.Exit(filesMain(os.Args[2]))
		case roleProfiled, roleHelper:
			os.Exit(profiled(os.Args[1:]))
		}
	}
	os.Exit(m.Run())
}

func TestBench(t *testing.T) {
	binary := build(t)
	if thorough() {
		comeFirst(t)
	}
	t.Run("telemetry", testTelemetry)
	t.Run("cost", func(t *testing.T) { testCost(t, binary) })
	t.Run("cost counted", func(t *testing.T) { testCostCounted(t, binary) })
	t.Run("hooks", func(t *testing.T) { testHooks(t, binary) })
	t.Run("floor", func(t *testing.T) { testFloor(t, binary) })
	t.Run("files", func(t *testing.T) { testFiles(t, binary) })
	t.Run("files here", func(t *testing.T) { testFilesHere(t, binary) })
	t.Run("approval", func(t *testing.T) { testApproval(t, binary) })
	t.Run("hook", func(t *testing.T) { testHook(t, binary) })
	t.Run("visible", testVisible)
	t.Run("redirect", func(t *testing.T) { testRedirect(t, binary) })
	t.Run("why", testWhy)
	t.Run("storm", func(t *testing.T) { testStorm(t, binary) })
}

// comeFirst gives this process, and with it the daemons and workers it starts, precedence over whatever else the machine
// does, and leaves the daemon room to come before its workers as it does anywhere.
func comeFirst(t *testing.T) {
	t.Helper()
	tasks, err := os.ReadDir("/proc/self/task") // a priority is a thread's own
	must(t, err)
	for _, task := range tasks {
		tid, err := strconv.Atoi(task.Name())
		must(t, err)
		must(t, unix.Setpriority(unix.PRIO_PROCESS, tid, -10))
	}
}

func profiled(args []string) int {
	if path := os.Getenv(profileEnv); path != "" && args[0] == roleProfiled {
		f, err := os.Create(path)
		if err == nil {
			err = pprof.StartCPUProfile(f)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer f.Close()
		defer pprof.StopCPUProfile()
	}
	return cli.Main(cli.New("bench", cli.DaemonCommands("bench")...), args)
}
