// SPDX-License-Identifier: Apache-2.0

// Package daemon is the system service: it builds the parts below, runs them and
// stops them in order.
package daemon

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// Config says where an instance lives. The zero value is the system's own; a
// private instance moves everything.
type Config struct {
	Version string
	// Root is put before the paths of requirements, of agents' managed configuration and of
	// the resolver's files. Programs and users are the machine's.
	Root string
	// StateDir keeps events, sessions and the last requirements that were good.
	StateDir string
	// RunDir holds the socket and the lock.
	RunDir string
	// AgentsFile replaces the embedded agent profiles.
	AgentsFile string
	// Cgroup is the cgroup v2 directory below which connections are judged.
	Cgroup string
	// PinDir keeps the kernel side alive without the daemon.
	PinDir string
	// Companion is the program of the companion, which speaks for its user: owned by
	// root, setgid, of a group of its own. Others may not answer without a terminal.
	Companion string
	// HoldGrace is how long what a person is asked about waits for the next daemon when
	// this one ends; then it is killed. Zero: DefaultHoldGrace.
	HoldGrace time.Duration
	// OTLPAddr is where agents' own telemetry is taken in, an address of loopback
	// with its port. "off": nowhere, which is the default of a private instance.
	OTLPAddr string
	// MarkBelow is the directory below which opens of what may not be read are asked
	// about, where the kernel has nothing better. The system's own instance: "/";
	// a private one: nowhere.
	MarkBelow string
	// DetachOnStop takes the kernel side down on an orderly stop. Without it,
	// governed processes stay governed, and what would need an answer is killed.
	DetachOnStop bool
	// Helper is the command line of Paddock's helper process.
	Helper []string
	Log    *slog.Logger
}

// Where the system's own instance lives.
const (
	DefaultStateDir = "/var/lib/paddock"
	DefaultRunDir   = "/run/paddock"
	DefaultOTLPAddr = "127.0.0.1:4328" // not OTLP's own 4318, where a developer's collector may be
	noOTLP          = "off"
	defaultPinRoot  = "/sys/fs/bpf"
	// DefaultCompanion is where the companion's program is installed.
	DefaultCompanion = "/usr/libexec/paddock/companion"
)

// MemoryLimit is how much memory Go may use before it collects garbage more often,
// in bytes. What SQLite and the kernel's rings use comes on top.
const MemoryLimit = 80 << 20

// DefaultHoldGrace is long enough for a restart, also by hand.
const DefaultHoldGrace = 30 * time.Second

func (c Config) withDefaults() Config {
	if c.StateDir == "" {
		c.StateDir = DefaultStateDir
	}
	if c.RunDir == "" {
		c.RunDir = DefaultRunDir
	}
	if c.HoldGrace == 0 {
		c.HoldGrace = DefaultHoldGrace
	}
	if c.Companion == "" {
		c.Companion = DefaultCompanion
	}
	if c.Root == "" {
		c.Root = "/"
	}
	if c.PinDir == "" {
		c.PinDir = PinDir(c.RunDir)
	}
	if c.Cgroup == "" {
		c.Cgroup = defaultCgroup()
	}
	if c.MarkBelow == "" && filepath.Clean(c.RunDir) == DefaultRunDir {
		c.MarkBelow = "/"
	}
	if c.OTLPAddr == "" && filepath.Clean(c.RunDir) == DefaultRunDir {
		c.OTLPAddr = DefaultOTLPAddr
	}
	if c.OTLPAddr == noOTLP {
		c.OTLPAddr = ""
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Check says what is wrong with the options, in one sentence with what to do. What the
// machine lacks is for Run to say.
func (c Config) Check() error {
	for _, dir := range []struct{ flag, path string }{{"--root", c.Root}, {"--fanotify-below", c.MarkBelow}} {
		if dir.path == "" {
			continue
		}
		if st, err := os.Stat(dir.path); err != nil {
			return fmt.Errorf("%s: %w", dir.flag, err)
		} else if !st.IsDir() {
			return fmt.Errorf("%s %s: it must be a directory", dir.flag, dir.path)
		}
	}
	return checkOTLPAddr(c.OTLPAddr)
}

// checkOTLPAddr: what agents say of themselves is taken from this machine alone.
func checkOTLPAddr(address string) error {
	if address == "" || address == noOTLP {
		return nil
	}
	host, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if ip := net.ParseIP(host); err != nil || host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("--otlp-address %s: it must be an address of loopback with its port, such as %s, or %q", address, DefaultOTLPAddr, noOTLP)
	}
	return nil
}

func (c Config) socket() string { return filepath.Join(c.RunDir, "paddock.sock") }

// PinDir is where the instance with this run directory pins its kernel side.
func PinDir(runDir string) string {
	if filepath.Clean(runDir) == DefaultRunDir {
		return filepath.Join(defaultPinRoot, "paddock")
	}
	abs, err := filepath.Abs(runDir)
	if err != nil {
		abs = runDir
	}
	sum := sha256.Sum256([]byte(abs))
	return filepath.Join(defaultPinRoot, "paddock-"+hex.EncodeToString(sum[:6]))
}
