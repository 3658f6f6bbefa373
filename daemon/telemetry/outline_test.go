// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"maps"
	"strings"
	"testing"
	"time"
)

// What is known of the order of attributes changes nothing of what is kept of an event.
func TestOutlineChangesNothing(t *testing.T) {
	r := testRedactor()
	base := execEvent(1, time.Now()).Attrs
	with := func(key string, value any) map[string]any {
		a := maps.Clone(base)
		a[key] = value
		return a
	}
	instead := func(key string, value any) map[string]any {
		a := with(key, value)
		delete(a, AttrProcessExecutablePath)
		return a
	}
	for _, attrs := range []map[string]any{
		base, with(AttrCalledAs, "/usr/bin/other"), with(AttrProcessPID, uint32(7)),
		with(AttrProcessCommandArgs, []string{"curl", "-H", "Authorization: Bearer " + strings.Repeat("aB3dE5gH", 5)}),
		with(AttrCalledAs, "a\xffb"), with(AttrCalledAs, strings.Repeat("x", 2*MaxAttribute)), with(AttrAgent, struct{}{}),
		with(AttrProcessCommandArgs, []string{"a", "b\xff"}),
		instead(AttrThreadID+".more", "other keys, and as many"), instead("a\xff", "a key that is escaped"), instead("zz.last", "x"),
		instead(AttrEscaped, []string{"what pretends to be ours"}), with(AttrProcessPID, nil),
	} {
		var plain pairs
		plain.clean(attrs, "", r)
		want := string(plain.append(nil))
		for range 2 * missesAtOne { // until it is known, and then with it
			for i, attrs := range []map[string]any{base, attrs} {
				var p pairs
				p.cleanLike(NameProcessExec, attrs, r)
				if got := string(p.append(nil)); i == 1 && got != want {
					t.Fatalf("%v became\n%s\nwithout an outline it is\n%s", attrs, got, want)
				}
			}
		}
	}
	if outlineOf(NameProcessExec, len(base)).Load() == nil {
		t.Error("no outline was remembered")
	}
}

func BenchmarkOutline(b *testing.B) {
	r := testRedactor()
	attrs := execEvent(1, time.Now()).Attrs
	var p pairs
	b.Run("known", func(b *testing.B) {
		for range b.N {
			p.cleanLike(NameProcessExec, attrs, r)
		}
	})
	b.Run("sorted anew", func(b *testing.B) {
		for range b.N {
			p.clean(attrs, "", r)
		}
	})
}
