// SPDX-License-Identifier: Apache-2.0

package claude

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// EnvInstall names another directory that holds a Claude Code as install.sh makes it, of another version perhaps.
const EnvInstall = "PADDOCK_CLAUDE"

// Install is a Claude Code.
type Install struct {
	Program string
	Version string
}

// Find returns what install.sh put into .cache/claude, or what the directory that EnvInstall names holds. Without one the
// error says how to get it: a test must fail then, and not skip.
func Find() (Install, error) {
	dir := os.Getenv(EnvInstall)
	if dir == "" {
		// Tests run in the directory of their package.
		dir = filepath.Join("..", "..", ".cache", "claude")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Install{}, fmt.Errorf("finding Claude Code: %w", err)
	}
	found, err := filepath.Glob(filepath.Join(dir, "node_modules", "@anthropic-ai", "claude-code-linux-*", "claude"))
	if err != nil || len(found) != 1 {
		return Install{}, fmt.Errorf("finding Claude Code: %d programs in %s instead of one; run: make setup", len(found), dir)
	}
	data, err := os.ReadFile(filepath.Join(filepath.Dir(found[0]), "package.json"))
	if err != nil {
		return Install{}, fmt.Errorf("finding Claude Code: %w", err)
	}
	var about struct {
		Version string `json:"version"`
	}
	if err := json.Unmarshal(data, &about); err != nil {
		return Install{}, fmt.Errorf("finding Claude Code: reading its package.json in %s: %w", filepath.Dir(found[0]), err)
	}
	return Install{Program: found[0], Version: about.Version}, nil
}
