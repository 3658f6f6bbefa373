// SPDX-License-Identifier: Apache-2.0

package codex

import (
	"errors"
	"net"
	"testing"
)

func TestOnlyLoopback(t *testing.T) {
	lo := net.Interface{Name: "lo", Flags: net.FlagUp | net.FlagLoopback}
	if err := onlyLoopback([]net.Interface{lo, {Name: "sit0"}}); err != nil {
		t.Errorf("lo and a tunnel that is down: %v", err)
	}
	if err := onlyLoopback([]net.Interface{lo, {Name: "eth0", Flags: net.FlagUp}}); !errors.Is(err, ErrNetwork) {
		t.Errorf("lo and a network card: %v, want ErrNetwork", err)
	}
	for name, interfaces := range map[string][]net.Interface{"nothing": nil, "lo is down": {{Name: "lo", Flags: net.FlagLoopback}}} {
		if err := onlyLoopback(interfaces); err == nil || errors.Is(err, ErrNetwork) {
			t.Errorf("%s: %v, want an error about lo", name, err)
		}
	}
}

func TestPrivate(t *testing.T) {
	t.Setenv(envGuest, "")
	const other = "22 1 0:5 / /proc rw,nosuid - proc proc rw\n"
	ours := "30 1 0:40 / / rw,relatime - overlay paddock-codex rw,lowerdir=/\n"
	for text, want := range map[string]bool{
		"":                                      false,
		other:                                   false,
		other + ours:                            true,
		"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n": false,
		// The name counts only at the root.
		"30 1 0:40 / /mnt rw,relatime - overlay paddock-codex rw\n": false,
	} {
		if got := private(text); got != want {
			t.Errorf("private(%q) = %v, want %v", text, got, want)
		}
	}
	t.Setenv(envGuest, "6.1")
	if !private("") {
		t.Error("the guest of tests/vm is not taken for private")
	}
}

func FuzzParseMount(f *testing.F) {
	f.Add(`36 35 98:0 /mnt1 /a\040b rw,noatime master:1 - ext3 /dev/root rw`)
	f.Add(` - `)
	f.Fuzz(func(t *testing.T, line string) {
		if m, ok := parseMount(line); ok && m.point == "" {
			t.Errorf("a mount on nothing in %q", line)
		}
	})
}
