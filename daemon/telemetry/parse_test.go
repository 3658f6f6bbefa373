// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// parseByLibrary is parseAttrs by way of encoding/json.
func parseByLibrary(b []byte) (map[string]any, error) {
	if len(b) == 0 {
		return nil, nil
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var raw map[string]any
	if err := d.Decode(&raw); err != nil {
		return nil, fmt.Errorf("attributes: %w", err)
	}
	if d.More() {
		return nil, fmt.Errorf("attributes: something follows the object")
	}
	for key, value := range raw {
		v, err := parseValue(value)
		if err != nil {
			return nil, fmt.Errorf("attribute %q: %w", key, err)
		}
		raw[key] = v
	}
	if len(raw) == 0 {
		return nil, nil
	}
	return raw, nil
}

func parseValue(value any) (any, error) {
	switch v := value.(type) {
	case string, bool:
		return v, nil
	case json.Number:
		if strings.ContainsAny(v.String(), ".eE") {
			return v.Float64()
		}
		return v.Int64()
	case []any:
		list := make([]string, len(v))
		for i, element := range v {
			s, ok := element.(string)
			if !ok {
				return nil, fmt.Errorf("element %d of the list is %v, not a string", i, element)
			}
			list[i] = s
		}
		return list, nil
	}
	return nil, fmt.Errorf("%v is no string, number, boolean or list of strings", value)
}

// What encoding/json reads, parseAttrs reads, and as the same; and nothing else.
func FuzzParseAttrsLikeTheLibrary(f *testing.F) {
	for _, s := range []string{
		``, `{}`, `{}}0`, `{"a":1,"b":[],"c":1.0,"d":"x","e":true,"f":false}`, `{"a":{"b":1}}`, `{} {}`, `{"a":null}`, ` { "a" : [ "x" , "y" ] } `,
		`{"a":"\u00e9\ud83d\ude00\ud800\n\/\\"}`, `{"a":1,"a":2}`, `{"a":-0}`, `{"a":01}`, `{"a":1e400}`, `{"a":9223372036854775808}`, `{"a":[1]}`,
		`{"a":"x`, `{"a"}`, `{"a":tru}`, "{\"a\":\"\x01\"}", "{\"a\":\"\xff\"}", `{"a":1.}`, `{"a":-}`, `{,}`, `{"a":1,}`, `[]`, `{"a":[]]}`, `{"a":1E5}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		want, errWant := parseByLibrary(b)
		if len(b) > 0 && !json.Valid(b) {
			errWant = errors.New("not JSON") // the library's decoder does not look at all that follows
		}
		got, err := parseAttrs(b)
		if (err == nil) != (errWant == nil) {
			t.Fatalf("%q: %v, and encoding/json says %v", b, err, errWant)
		}
		if err == nil && !cmp.Equal(want, got) {
			t.Errorf("%q: %s", b, cmp.Diff(want, got))
		}
	})
}

func BenchmarkParseAttrs(b *testing.B) {
	text := appendAttrs(nil, execEvent(1, time.Now()).Attrs)
	b.ReportAllocs()
	for range b.N {
		if _, err := parseAttrs(text); err != nil {
			b.Fatal(err)
		}
	}
}
