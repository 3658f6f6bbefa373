// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"regexp"
	"strings"
	"testing"
)

func TestStats(t *testing.T) {
	socket := serve(t, &fake{})
	stdout, stderr, code, _ := paddock(t, socket, "stats")
	if code != 0 || stderr != "" {
		t.Fatalf("code %d, %s", code, stderr)
	}
	golden(t, "stats", regexp.MustCompile(`since .*`).ReplaceAllString(stdout, "since then"))
	if _, stderr, code, _ := paddock(t, socket, "stats", "--days", "0"); code != ExitUsage {
		t.Errorf("code %d, %s", code, stderr)
	}
}

func TestSelectEvents(t *testing.T) {
	socket := serve(t, &fake{})
	stdout, stderr, code, _ := paddock(t, socket, "events", "--sql", "SELECT 1")
	if want := "{\"n\":1,\"text\":\"a\\u003cb\"}\n{\"n\":null,\"text\":2.5}\n"; code != 0 || stdout != want {
		t.Errorf("code %d, %q, want %q; %s", code, stdout, want, stderr)
	}
	if _, stderr, code, _ := paddock(t, socket, "events", "--sql", "SELEKT"); code != ExitError || !strings.Contains(stderr, "syntax error") {
		t.Errorf("code %d, %s", code, stderr)
	}
}
