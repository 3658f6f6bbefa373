// SPDX-License-Identifier: Apache-2.0

package codex

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// EnvInstall names a directory that install.sh filled, where there is no repository around: in a test binary that was
// copied elsewhere.
const EnvInstall = "PADDOCK_CODEX"

// Version is the one that install.sh pins.
const Version = "0.169.0"

// Install is Codex as npm installs it.
type Install struct {
	Dir    string // what install.sh filled
	Script string // what npm puts into the PATH as "codex": a symbolic link to a script with "#!/usr/bin/env node"
	Native string // the program that this script starts
}

// Find returns the Codex of this repository, .cache/codex, or the one that EnvInstall names. Without one the error says
// how to get it: a test must fail then, and not skip.
func Find() (Install, error) {
	dir := os.Getenv(EnvInstall)
	if dir == "" {
		root, err := repository()
		if err != nil {
			return Install{}, fmt.Errorf("finding Codex: %w; set %s to what tests/codex/install.sh filled", err, EnvInstall)
		}
		dir = filepath.Join(root, ".cache", "codex")
	}
	install := Install{Dir: dir, Script: filepath.Join(dir, "node_modules", ".bin", "codex")}
	if _, err := os.Stat(install.Script); err != nil {
		return Install{}, fmt.Errorf("finding Codex %s: %w; run: make setup", Version, err)
	}
	natives, err := filepath.Glob(filepath.Join(dir, "node_modules", "@openai", "codex-linux-*", "vendor", "*", "bin", "codex"))
	if err != nil || len(natives) != 1 {
		return Install{}, fmt.Errorf("finding Codex %s: %d programs in %s instead of one; run: rm -rf %s && make setup", Version, len(natives), dir, dir)
	}
	install.Native = natives[0]
	return install, nil
}

// repository finds the root of this repository above the working directory, which is a package's in a Go test.
func repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no go.mod in the working directory or above it")
		}
		dir = parent
	}
}
