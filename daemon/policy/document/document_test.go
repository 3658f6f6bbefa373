// SPDX-License-Identifier: Apache-2.0

package document

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/pelletier/go-toml/v2"
)

// said turns a value into plain data; of scalars that are no text, only the type.
func said(v *Value) any {
	switch v.Kind {
	case KindTable:
		out := map[string]any{}
		for i, k := range v.Table.Keys {
			out[k] = said(v.Table.Vals[i])
		}
		return out
	case KindArray:
		out := make([]any, len(v.Items))
		for i, item := range v.Items {
			out[i] = said(item)
		}
		return out
	case KindString:
		return "text " + v.Text
	case KindBool:
		return v.Text == "true"
	}
	return v.Kind.String()
}

// decoded does the same for what the TOML decoder makes.
func decoded(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, e := range v {
			out[k] = decoded(e)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = decoded(e)
		}
		return out
	case string:
		return "text " + v
	case bool:
		return v
	case int64:
		return KindInteger.String()
	case float64:
		return KindFloat.String()
	case time.Time, toml.LocalDate, toml.LocalTime, toml.LocalDateTime:
		return KindTime.String()
	}
	return v
}

// sameDocument fails unless the document read with lines says what the TOML
// decoder reads in it. The two are one library's, but were written apart.
func sameDocument(t *testing.T, data []byte) {
	t.Helper()
	var all map[string]any
	invalid := toml.Unmarshal(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), &all)
	doc, err := Read(data)
	if invalid != nil {
		// Odd numbers and dates are the only thing we may let pass: we read none.
		about := regexp.MustCompile("too large|too small|out of range|impossible|date|time|digit|number|integer|float|offset|hour|minute|second|nanosecond|year|month|day")
		if err == nil && !about.MatchString(invalid.Error()) {
			t.Fatalf("valid for us, but: %v\n%q", invalid, data)
		}
		return
	}
	if err != nil {
		t.Fatalf("the decoder finds it valid; we: %v\n%q", err, data)
	}
	if diff := cmp.Diff(decoded(all), said(doc), cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("(-decoder +ours):\n%s\n%q", diff, data)
	}
	checkPlaces(t, doc, bytes.Split(data, []byte("\n")))
}

// checkPlaces fails unless every value and key lies inside the text.
func checkPlaces(t *testing.T, v *Value, lines [][]byte) {
	t.Helper()
	check := func(at Position) {
		if at.Line < 1 || int(at.Line) > len(lines) || at.Column < 1 || int(at.Column) > 1+len(lines[at.Line-1]) {
			t.Fatalf("%+v lies outside the text", at)
		}
	}
	check(v.At)
	for _, item := range v.Items {
		checkPlaces(t, item, lines)
	}
	if v.Kind != KindTable {
		return
	}
	for i, val := range v.Table.Vals {
		check(v.Table.At[i])
		checkPlaces(t, val, lines)
	}
}

func documents() []string {
	return []string{
		"", "#", "[rules]", "[[rules]]\n[[rules]]\n[rules.a]\n[[rules.b]]\nc=1\n[[rules.b]]", "rules.a.b=1\nrules.a.c=2\n[rules.d]",
		"paddock={a={b=[1,{c='x'},[2,'y']]},d.e=true}", "[paddock]\na=1979-05-27\nb=07:32:00\nc=1979-05-27T07:32:00\nd=1979-05-27T07:32:00Z\ne=inf\nf=nan\ng=-0.0\nh=0x1F",
		"[a]\nb=1\n[rules.x]\n[a.rules]\n[[paddock.y]]\n[[paddock.y.z]]\n[paddock.y.z.w]\nq=1\n[[paddock.y]]\nq=2", "[paddock]\n\"\"=1\n'a.b'=2\n\"\\u0000\"=3",
		"rules=[]\n[paddock.a]\n[paddock]\nb=1", "rules=1\nrules=2", "[rules]\n[rules]", "paddock.a=1\n[paddock.a.b]", "[[paddock]]\n[paddock]", "x={}\n[x.y]",
		"\xef\xbb\xbfrules={}", "a=\"\\uD800\"", "rules='''\n\n a'''\npaddock=\"\"\"\n\\\n  b\"\"\"", "paddock.x=[[[[]]],\n#c\n[{}]]",
		"[rules]\nprefix_rules=[{pattern=[{token='a'},{any_of=['b','c']}],decision='prompt'}]\n[paddock]\nmode='observe'\nagents=['codex']\n[paddock.network]\ndefault='deny'\n[[paddock.network.rules]]\ncidr='10.0.0.0/8'\nports=[1,'2-3']\nprotocol='udp'\ndecision='allow'\n[paddock.telemetry]\nendpoint='http://h'\nheaders={a='b'}\n",
	}
}

func TestDocument(t *testing.T) {
	for _, text := range documents() {
		sameDocument(t, []byte(text))
	}
	var many strings.Builder
	for i := range 3 * largeTable {
		many.WriteString("paddock.k" + strings.Repeat("x", i) + ".y = 1\n")
	}
	sameDocument(t, []byte(many.String()))
}

func TestPlaces(t *testing.T) {
	doc, err := Read([]byte("a = 1\n[t.u]\n  key = [ 'x',\n    {y = true} ]\n"))
	if err != nil {
		t.Fatal(err)
	}
	u := doc.Table.Get("t").Table.Get("u")
	list := u.Table.Get("key")
	inner := list.Items[1].Table
	for what, at := range map[string][2]Position{
		"integer":            {doc.Table.Get("a").At, {1, 5}},
		"table":              {u.At, {2, 4}},
		"key":                {u.Table.At[0], {3, 3}},
		"string in a list":   {list.Items[0].At, {3, 11}},
		"key of an inline":   {inner.At[0], {4, 6}},
		"value of an inline": {inner.Vals[0].At, {4, 10}},
	} {
		if at[0] != at[1] {
			t.Errorf("%s: %+v, want %+v", what, at[0], at[1])
		}
	}
}

// A document of a few bytes for each level is refused, and not walked through.
func TestDepth(t *testing.T) {
	const deep = 1 << 18
	for name, text := range map[string]string{
		"dotted key":    "a" + strings.Repeat(".a", deep) + " = 1",
		"header":        "[a" + strings.Repeat(".a", deep) + "]",
		"arrays":        "a = " + strings.Repeat("[", deep) + strings.Repeat("]", deep),
		"inline tables": "a = " + strings.Repeat("{a.a = ", 150) + "1" + strings.Repeat("}", 150),
		"all of them":   "[a" + strings.Repeat(".a", 100) + "]\nb" + strings.Repeat(".b", 60) + " = " + strings.Repeat("[", 60) + strings.Repeat("]", 60),
	} {
		if _, err := Read([]byte(text)); err == nil || !strings.Contains(err.Error(), "nested more than") {
			t.Errorf("%s: %.100v", name, err)
		}
	}
	var wide strings.Builder
	for range 2 * maxDepth {
		wide.WriteString("[[a.b]]\nc = [[], [], {d.e = 1}]\n")
	}
	if _, err := Read([]byte(wide.String())); err != nil {
		t.Errorf("what is wide is not deep: %v", err)
	}
}

// The time is in proportion to the size, whatever the document says.
func TestManyKeys(t *testing.T) {
	keys := func(n int) []byte {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "k%d = 1\n", i)
		}
		return []byte(b.String())
	}
	if _, err := Read(keys(5_000)); err != nil {
		t.Error(err)
	}
	if _, err := Read(keys(500_000)); err == nil || !strings.Contains(err.Error(), "too many keys") {
		t.Error(err)
	}
}

func TestOddNumbers(t *testing.T) {
	for _, bad := range []string{"9223372036854775808", "-9223372036854775809", "1__0", "017", "0x"} {
		if _, err := Read([]byte("a = " + bad)); err == nil {
			t.Errorf("%s passes for an integer", bad)
		}
	}
	for text, want := range map[string]int64{"0x1F": 31, "8_080": 8080, "-0": 0, "+7": 7, "0o17": 15, "0": 0} {
		doc, err := Read([]byte("a = " + text))
		if err != nil {
			t.Fatal(text, err)
		}
		if n, err := doc.Table.Get("a").Integer(); n != want || err != nil {
			t.Errorf("%s: %d, %v", text, n, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, text := range documents() {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
			data = data[2:]
		}
		sameDocument(t, data)
	})
}
