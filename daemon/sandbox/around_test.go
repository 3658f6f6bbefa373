// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// below makes files, and returns what of places lies in dir.
func below(t *testing.T, dir string, denied ...string) []string {
	t.Helper()
	for i, p := range denied {
		denied[i] = filepath.Join(dir, p)
	}
	places, err := Around(denied)
	if err != nil {
		t.Fatal(err)
	}
	var in []string
	for _, p := range places {
		if strings.HasPrefix(dir+"/", p+"/") {
			t.Errorf("%s holds what is denied", p)
		}
		if rest, ok := strings.CutPrefix(p, dir+"/"); ok {
			in = append(in, rest)
		}
	}
	slices.Sort(in)
	return in
}

func TestAround(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"home/.ssh", "home/src/deep", "home/.config/app", "home/.config/gh"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{"home/.ssh/key", "home/.config/gh/hosts.yml", "home/.config/gh/config.yml", "home/file"} {
		if err := os.WriteFile(filepath.Join(dir, f), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// A link counts where it leads to: to list it would open that.
	if err := os.Symlink(".ssh", filepath.Join(dir, "home/link")); err != nil {
		t.Fatal(err)
	}
	want := []string{"home/.config/app", "home/.config/gh/config.yml", "home/file", "home/src"}
	if diff := cmp.Diff(want, below(t, dir, "home/.ssh", "home/.config/gh/hosts.yml", "home/missing/file", "home/.ssh/key")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if nothing, err := Around([]string{"/"}); err != nil || len(nothing) > 0 {
		t.Errorf("around everything: %q, %v", nothing, err)
	}
	if all, err := Around(nil); err != nil || !slices.Equal(all, []string{"/"}) {
		t.Errorf("around nothing: %q, %v", all, err)
	}
}

func TestAroundIsBounded(t *testing.T) {
	dir := t.TempDir()
	for i := range 300 {
		if err := os.WriteFile(filepath.Join(dir, strconv.Itoa(i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := around([]string{filepath.Join(dir, "secret")}, 250); !errors.Is(err, ErrTooMany) {
		t.Errorf("%v", err)
	}
}
