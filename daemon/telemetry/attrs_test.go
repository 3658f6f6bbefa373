// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func roundTrip(t interface {
	Helper()
	Fatalf(string, ...any)
}, attrs map[string]any,
) map[string]any {
	t.Helper()
	b := appendAttrs(nil, attrs)
	if !json.Valid(b) || !utf8.Valid(b) {
		t.Fatalf("%q is not JSON", b)
	}
	got, err := parseAttrs(b)
	if err != nil {
		t.Fatalf("%q: %v", b, err)
	}
	return got
}

func TestAttributesThatAreNotUTF8(t *testing.T) {
	got := roundTrip(t, map[string]any{
		"bad": "a\\\xff\xfeé", "fine": `\x`, "list": []string{"ok\\", "\x80"}, "key\xff": true,
	})
	want := map[string]any{
		"bad": `a\\\xff\xfeé`, "fine": `\x`, "list": []string{`ok\\`, `\x80`}, `key\xff`: true,
		AttrEscaped: []string{"bad", "list"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAttributesThatAreTooLong(t *testing.T) {
	arg := strings.Repeat("é", 1<<20) // 2 MiB, and no cut at MaxAttribute-1 is between two runes
	got := roundTrip(t, map[string]any{
		"s": "x" + arg, "l": []string{"cmd", arg, "rest"}, "short": []string{"a"}, "many": make([]string, MaxAttribute),
	})
	if s := got["s"].(string); len(s) > MaxAttribute || len(s) < MaxAttribute-2 || !utf8.ValidString(s) {
		t.Errorf("a string of %d bytes is left", len(s))
	}
	if l := got["l"].([]string); len(l) != 2 || l[0] != "cmd" || len(l[1]) < MaxAttribute-10 {
		t.Errorf("a list of %d is left", len(l))
	}
	if l := got["many"].([]string); len(l) > MaxAttribute/2 {
		t.Errorf("a list of %d empty strings is left", len(l))
	}
	if diff := cmp.Diff([]string{"l", "many", "s"}, got[AttrTruncated]); diff != "" {
		t.Error(diff)
	}
}

func TestAttributesOfOtherTypes(t *testing.T) {
	got := roundTrip(t, map[string]any{
		"int": 1, "u32": uint32(math.MaxUint32), "u64": uint64(math.MaxInt64), "f32": float32(0.5),
		"huge": uint64(math.MaxUint64), "nan": math.NaN(), "inf": math.Inf(-1), "nil": nil, "struct": struct{ A int }{1},
	})
	want := map[string]any{
		"int": int64(1), "u32": int64(math.MaxUint32), "u64": int64(math.MaxInt64), "f32": 0.5,
		"huge": "18446744073709551615", "nan": "NaN", "inf": "-Inf", "nil": "<nil>", "struct": "{1}",
		AttrConverted: []string{"huge", "inf", "nan", "nil", "struct"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAttributesRoundTrip(t *testing.T) {
	value := rapid.OneOf(
		rapid.String().AsAny(), rapid.Int64().AsAny(), rapid.Bool().AsAny(), rapid.SliceOf(rapid.String()).AsAny(),
		rapid.Float64().Filter(func(f float64) bool { return !math.IsNaN(f) && !math.IsInf(f, 0) }).AsAny(),
	)
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.MapOf(rapid.StringN(1, 20, 60), value).Draw(t, "attrs")
		for key, v := range want {
			if l, ok := v.([]string); ok && l == nil {
				want[key] = []string{}
			}
		}
		got := roundTrip(t, want)
		if len(want) == 0 {
			want = nil
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

// No two values may become the same by being made UTF-8.
func FuzzEscape(f *testing.F) {
	f.Add("a", `a`)
	f.Add("\xff", `\xff`)
	f.Add("\\\xff", "\\\\\xff")
	f.Fuzz(func(t *testing.T, a, b string) {
		ea, fa := escape(a)
		eb, fb := escape(b)
		if !utf8.ValidString(ea) || a != b && ea == eb && fa == fb {
			t.Errorf("%q and %q become %q and %q", a, b, ea, eb)
		}
	})
}

func FuzzParseAttrs(f *testing.F) {
	f.Add([]byte(`{"a":1,"b":[],"c":1.0,"d":"x","e":true}`))
	f.Add([]byte(`{"a":{"b":1}}`))
	f.Add([]byte(`{} {}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		attrs, err := parseAttrs(b)
		if err != nil || len(attrs) == 0 {
			return
		}
		again := roundTrip(t, attrs)
		if _, cut := again[AttrTruncated]; !cut && !cmp.Equal(attrs, again) {
			t.Errorf("%q: %v became %v", b, attrs, again)
		}
	})
}

func FuzzEventJSON(f *testing.F) {
	f.Add([]byte(`{"seq":1,"id":"x","time":"2026-11-24T00:00:00Z","name":"n","severity":"warn","attributes":{"a":1.0}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var e, again Event
		if json.Unmarshal(b, &e) != nil {
			return
		}
		out, err := json.Marshal(e)
		if err != nil {
			return // a year that RFC 3339 has not
		}
		if err := json.Unmarshal(out, &again); err != nil {
			t.Errorf("%s became %s: %v", b, out, err)
		}
	})
}

func TestSeverities(t *testing.T) {
	for _, s := range []Severity{Info, Warn, Error} {
		if got, err := ParseSeverity(s.String()); got != s || err != nil {
			t.Errorf("%s: %v, %v", s, got, err)
		}
	}
	if _, err := ParseSeverity("fatal"); err == nil {
		t.Error("fatal was taken for a severity")
	}
}

func TestNamesAreOurs(t *testing.T) {
	names := Names()
	if sorted := slices.Compact(slices.Sorted(slices.Values(names))); len(sorted) != len(names) {
		t.Error("a name is there twice")
	}
	for _, name := range names {
		if !strings.HasPrefix(name, "paddock.") {
			t.Errorf("%q does not begin with paddock.", name)
		}
	}
}
