// SPDX-License-Identifier: Apache-2.0

package mdm

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"howett.net/plist"
)

const observing = "[paddock]\nmode = \"observe\"\n"

func base64Of(toml string) string { return base64.StdEncoding.EncodeToString([]byte(toml)) }

// list encodes a property list as macOS writes it.
func list(t testing.TB, format int, v any) []byte {
	t.Helper()
	data, err := plist.Marshal(v, format)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestPrefsAreRead(t *testing.T) {
	for name, format := range map[string]int{"binary": plist.BinaryFormat, "XML": plist.XMLFormat} {
		t.Run(name, func(t *testing.T) {
			p, err := readPrefs(list(t, format, map[string]any{
				requirementsKey: base64Of(observing), "PayloadUUID": "8D7B", "other": []any{1, true, map[string]any{"a": 2.5}},
			}))
			if err != nil {
				t.Fatal(err)
			}
			data, ok, err := p.Requirements.toml(requirementsKey)
			if err != nil || !ok || string(data) != observing {
				t.Errorf("requirements: %q %v %v", data, ok, err)
			}
			if _, ok, err := p.Config.toml(configKey); ok || err != nil {
				t.Errorf("a key that is not there: %v %v", ok, err)
			}
			if p.Manual != nil {
				t.Error("a mark of manual profiles that is not there")
			}
		})
	}
}

// What is there and cannot be used is an error, never an absence.
func TestPrefsAreRefused(t *testing.T) {
	for name, test := range map[string]struct {
		data []byte
		want string
	}{
		"empty":        {nil, "neither a binary nor an XML"},
		"OpenStep":     {[]byte(`{ requirements_toml_base64 = ""; }`), "neither a binary nor an XML"},
		"text":         {[]byte("mode = observe"), "property list"},
		"cut off":      {list(t, plist.BinaryFormat, map[string]any{requirementsKey: "eA=="})[:30], "property list"},
		"no dict":      {list(t, plist.XMLFormat, []string{"x"}), "property list"},
		"too large":    {bytes.Repeat([]byte(" "), maxPrefs+1), "at most"},
		"no string":    {list(t, plist.XMLFormat, map[string]any{requirementsKey: []byte("x")}), "must be a string"},
		"dict":         {list(t, plist.BinaryFormat, map[string]any{requirementsKey: map[string]any{}}), "must be a string"},
		"no base64":    {list(t, plist.XMLFormat, map[string]any{requirementsKey: "!"}), "not standard base64"},
		"URL alphabet": {list(t, plist.XMLFormat, map[string]any{requirementsKey: "_-8="}), "not standard base64"},
		"wrapped":      {list(t, plist.XMLFormat, map[string]any{requirementsKey: "eHh4\neHh4"}), "wrapped into lines"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := readPrefs(test.data)
			if err == nil {
				_, _, err = p.Requirements.toml(requirementsKey)
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want an error with %q", err, test.want)
			}
		})
	}
}

// unfolding is a binary property list of a few hundred bytes: lists of lists of
// the same lists, 16 to the power of depth in all, under a key.
func unfolding(key string, depth int) []byte {
	var b bytes.Buffer
	b.WriteString("bplist00")
	var offsets []int
	object := func(bytes ...byte) {
		offsets = append(offsets, b.Len())
		b.Write(bytes)
	}
	object(0xd1, 1, 2) // 0: a dict of one key
	object(append([]byte{0x5f, 0x10, byte(len(key))}, key...)...)
	for i := range depth {
		next := byte(3 + i)
		object(append([]byte{0xaf, 0x10, 16}, bytes.Repeat([]byte{next}, 16)...)...)
	}
	object(0x08) // false
	table := b.Len()
	for _, o := range offsets {
		_ = binary.Write(&b, binary.BigEndian, uint16(o))
	}
	b.Write(make([]byte, 6))
	b.Write([]byte{2, 1})
	_ = binary.Write(&b, binary.BigEndian, []uint64{uint64(len(offsets)), 0, uint64(table)})
	return b.Bytes()
}

func TestPrefsThatUnfoldForEver(t *testing.T) {
	for _, key := range []string{requirementsKey, "_manualProfile", "other"} {
		data := unfolding(key, 20)
		done := make(chan error, 1)
		go func() {
			p, err := readPrefs(data)
			if err == nil {
				_, _, err = p.Requirements.toml(requirementsKey)
			}
			done <- err
		}()
		select {
		case err := <-done:
			if key == requirementsKey && err == nil {
				t.Error("lists passed for a string")
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("%d bytes under %s are still being read", len(data), key)
		}
	}
}

func FuzzPrefs(f *testing.F) {
	f.Add(list(f, plist.BinaryFormat, map[string]any{requirementsKey: base64Of(observing)}))
	f.Add(list(f, plist.XMLFormat, map[string]any{requirementsKey: base64Of(observing), "_manualProfile": true}))
	f.Add(unfolding(requirementsKey, 20))
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := readPrefs(data)
		if (p == nil) == (err == nil) {
			t.Fatalf("%v and %v", p, err)
		}
		if err != nil {
			return
		}
		if toml, ok, err := p.Requirements.toml(requirementsKey); err != nil && toml != nil || !ok && toml != nil {
			t.Fatalf("%q %v %v", toml, ok, err)
		}
	})
}
