// SPDX-License-Identifier: Apache-2.0

package codex

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// home makes a home directory for one run, whose Codex knows only the fake model. configTOML comes last, so it may add
// tables, and set top-level keys only by `-c`: see Options.Args.
func home(scratch, baseURL, configTOML string) (dir string, err error) {
	dir = filepath.Join(scratch, "home")
	for _, sub := range []string{".codex", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return "", fmt.Errorf("making a home for Codex: %w", err)
		}
	}
	config := strings.Join([]string{
		`model = "fake"`,
		`model_provider = "fake"`,
		// Nobody is there to answer.
		`approval_policy = "never"`,
		`check_for_update_on_startup = false`,
		``,
		`[model_providers.fake]`,
		`name = "fake"`,
		`base_url = ` + strconv.Quote(baseURL),
		`wire_api = "responses"`,
		// A fake model that fails is a failed test, not something to wait for.
		`request_max_retries = 1`,
		`stream_max_retries = 1`,
		``,
		`[analytics]`,
		`enabled = false`,
		``,
		// Otherwise Codex makes empty .git, .codex, .agents and .aws in /tmp.
		`[sandbox_workspace_write]`,
		`exclude_slash_tmp = true`,
		`exclude_tmpdir_env_var = true`,
		``,
		configTOML,
	}, "\n")
	if err := os.WriteFile(filepath.Join(dir, ".codex", "config.toml"), []byte(config), 0o600); err != nil {
		return "", fmt.Errorf("configuring Codex: %w", err)
	}
	return dir, nil
}

// environment is all that Codex gets from here.
func environment(home string, more []string) []string {
	path := os.Getenv("PATH")
	if path == "" {
		path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	}
	return append([]string{
		"PATH=" + path,
		"HOME=" + home,
		"CODEX_HOME=" + filepath.Join(home, ".codex"),
		"TMPDIR=" + filepath.Join(home, "tmp"),
		"LANG=C.UTF-8",
	}, more...)
}
