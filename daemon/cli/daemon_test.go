// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// An option that cannot be meant ends in a wrong command line, before anything is done. A
// daemon that goes on without what it was told would be found open later.
func TestDaemonOptions(t *testing.T) {
	dir := t.TempDir()
	none, file := filepath.Join(dir, "none"), filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--root", none}, none},
		{[]string{"--root", file}, "--root " + file + ": it must be a directory"},
		{[]string{"--fanotify-below", none}, none},
		{[]string{"--hold-grace", "-5s"}, "--hold-grace -5s: it must be more than 0"},
		{[]string{"--hold-grace", "0"}, "--hold-grace 0s: it must be more than 0"},
		{[]string{"--otlp-address", "garbage"}, "it must be an address of loopback with its port, such as 127.0.0.1:4328"},
		{[]string{"--otlp-address", "0.0.0.0:4328"}, "--otlp-address 0.0.0.0:4328: it must be an address of loopback"},
		{[]string{"--otlp-address", ":4328"}, "--otlp-address :4328: it must be an address of loopback"},
		{[]string{"--otlp-address", "[::]:4328"}, "--otlp-address [::]:4328: it must be an address of loopback"},
		{[]string{"--otlp-address", "192.0.2.7:4328"}, "--otlp-address 192.0.2.7:4328: it must be an address of loopback"},
		{[]string{"--otlp-address", "127.0.0.1:99999"}, "--otlp-address 127.0.0.1:99999: it must be an address of loopback"},
	} {
		// Were the options let through, an unknown profile file or the lack of a right would end it, and with another code.
		args := append([]string{"daemon", "--agents", none, "--run-dir", filepath.Join(dir, "run"), "--state-dir", filepath.Join(dir, "state"), "--pin-dir", dir}, c.args...)
		root := New("test", DaemonCommands("test")...)
		var out, errs bytes.Buffer
		root.SetOut(&out)
		root.SetErr(&errs)
		code := Main(root, args)
		if code != ExitUsage || !strings.Contains(errs.String(), c.args[0]) || !strings.Contains(errs.String(), c.want) || strings.Count(errs.String(), "\n") != 1 {
			t.Errorf("%q: code %d\n%s%s", c.args, code, &out, &errs)
		}
		if _, err := os.Stat(filepath.Join(dir, "run")); err == nil {
			t.Errorf("%q: it made its directory", c.args)
		}
	}
}
