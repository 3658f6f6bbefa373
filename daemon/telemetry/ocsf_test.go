// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// ocsfType is what testdata/ocsf-1.8.0.txt says of an attribute.
type ocsfType struct {
	kind     string // string, int, bool, float, json, or "{NAME}", "{}" of objects
	list     bool
	required bool
	values   []string
}

// ocsfShape is a class or an object.
type ocsfShape struct {
	name          string
	uid, category int
	attributes    map[string]ocsfType
	atLeastOne    []string
	justOne       []string
}

func readOCSF(t *testing.T) (classes map[int]*ocsfShape, objects map[string]*ocsfShape) {
	t.Helper()
	data, err := os.ReadFile("testdata/ocsf-1.8.0.txt")
	if err != nil {
		t.Fatal(err)
	}
	classes, objects = map[int]*ocsfShape{}, map[string]*ocsfShape{}
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if fields[0] == "#" {
			continue
		}
		s := &ocsfShape{name: fields[1], attributes: map[string]ocsfType{}}
		if _, err := fmt.Sscan(fields[2]+" "+fields[3], &s.uid, &s.category); err != nil {
			t.Fatalf("%.40q: %v", line, err)
		}
		for _, f := range fields[4:] {
			if names, ok := strings.CutPrefix(f, "@at_least_one="); ok {
				s.atLeastOne = strings.Split(names, ",")
				continue
			}
			if names, ok := strings.CutPrefix(f, "@just_one="); ok {
				s.justOne = strings.Split(names, ",")
				continue
			}
			name, rest, _ := strings.Cut(f, ":")
			var a ocsfType
			rest, a.required = strings.CutSuffix(rest, "!")
			rest, a.list = strings.CutPrefix(rest, "[]")
			var values string
			if a.kind, values, _ = strings.Cut(rest, "="); values != "" {
				a.values = strings.Split(values, ",")
			}
			s.attributes[name] = a
		}
		if fields[0] == "class" {
			classes[s.uid] = s
		} else {
			objects[s.name] = s
		}
	}
	return classes, objects
}

// check says what is wrong with an object, as JSON has it.
func (s *ocsfShape) check(objects map[string]*ocsfShape, at string, in map[string]any) []string {
	var out []string
	for name, value := range in {
		a, known := s.attributes[name]
		where := at + "." + name
		if !known {
			out = append(out, where+": "+s.name+" has no such attribute")
			continue
		}
		values := []any{value}
		if a.list {
			list, ok := value.([]any)
			if !ok {
				out = append(out, where+" is no list")
				continue
			}
			values = list
		}
		for _, v := range values {
			out = append(out, a.check(objects, where, v)...)
		}
	}
	for name, a := range s.attributes {
		if _, there := in[name]; a.required && !there {
			out = append(out, at+"."+name+" is missing, and required")
		}
	}
	has := func(name string) bool { _, there := in[name]; return there }
	if s.atLeastOne != nil && !slices.ContainsFunc(s.atLeastOne, has) {
		out = append(out, fmt.Sprintf("%s has none of %v", at, s.atLeastOne))
	}
	return out
}

func (a ocsfType) check(objects map[string]*ocsfShape, at string, v any) []string {
	name, object := strings.CutPrefix(a.kind, "{")
	if object {
		inner, ok := v.(map[string]any)
		if !ok {
			return []string{fmt.Sprintf("%s is %T, and not an object", at, v)}
		}
		if name == "}" {
			return []string{at + ": testdata/ocsf-1.8.0.txt does not say what is in it"}
		}
		return objects[strings.TrimSuffix(name, "}")].check(objects, at, inner)
	}
	number, isNumber := v.(json.Number)
	_, isString := v.(string)
	_, isBool := v.(bool)
	ok := true
	switch a.kind {
	case "int":
		ok = isNumber && !strings.ContainsAny(number.String(), ".eE")
	case "float":
		ok = isNumber
	case "bool":
		ok = isBool
	case "json":
	default: // kinds of text
		ok = isString
	}
	switch {
	case !ok:
		return []string{fmt.Sprintf("%s is %T %v, and not %s", at, v, v, a.kind)}
	case a.values != nil && !slices.Contains(a.values, fmt.Sprint(v)):
		return []string{fmt.Sprintf("%s is %v, and not one of %v", at, v, a.values)}
	}
	return nil
}

// sample is an event with everything that its kind may carry.
func sample(k *Kind, decision string, bare bool) Event {
	e := Event{ID: "01JDEFGHJKMNPQRSTVWXYZ0123", Seq: 7, Time: time.Unix(1764000000, 5), Name: k.Name, Severity: Warn, Session: "01JDEFGHJKMNPQRSTVWXYZ9999", Attrs: map[string]any{}}
	if bare {
		e.Session = ""
		return e
	}
	for _, name := range append(slices.Clone(k.Attributes), everywhere...) {
		switch attributesByName[name].Type {
		case String:
			e.Attrs[name] = "text"
		case Int:
			e.Attrs[name] = int64(42)
		case Float:
			e.Attrs[name] = 1.5
		case Bool:
			e.Attrs[name] = true
		case Strings:
			e.Attrs[name] = []string{"a", "b"}
		}
	}
	if slices.Contains(k.Attributes, AttrDecision) {
		e.Attrs[AttrDecision] = decision
	}
	return e
}

// Whatever Paddock writes as OCSF is valid against the schema of OCSF 1.8.0: of every kind of event with all it may carry, and
// with nothing.
func TestOCSFIsValid(t *testing.T) {
	classes, objects := readOCSF(t)
	resource := resourceAttrs(map[string]string{"host.name": "test-host", "os.type": "linux", "os.version": "6.1.0", "service.version": "1.2.3"})
	for i := range kinds {
		k := &kinds[i]
		for _, decision := range []string{"allow", "forbidden", "bare"} {
			line, err := encodeOCSF(resource, []Event{sample(k, decision, decision == "bare")})
			if err != nil {
				t.Fatal(err)
			}
			var got map[string]any
			d := json.NewDecoder(strings.NewReader(string(line)))
			d.UseNumber()
			if err := d.Decode(&got); err != nil {
				t.Fatal(err)
			}
			class := classes[k.OCSF.UID]
			if class == nil {
				t.Errorf("%s: no class %d in testdata/ocsf-1.8.0.txt", k.Name, k.OCSF.UID)
				continue
			}
			delete(got, "unmapped") // anything
			faults := class.check(objects, k.Name, got)
			slices.Sort(faults)
			for _, fault := range faults {
				t.Errorf("%s (%s)", fault, decision)
			}
			number := func(name string) int64 { n, _ := got[name].(json.Number).Int64(); return n }
			if number("class_uid") != int64(class.uid) || number("category_uid") != int64(class.category) ||
				number("type_uid") != int64(class.uid)*100+number("activity_id") {
				t.Errorf("%s: class %v, category %v, type %v, activity %v", k.Name, got["class_uid"], got["category_uid"], got["type_uid"], got["activity_id"])
			}
			metadata := got["metadata"].(map[string]any)
			if metadata["version"] != "1.8.0" {
				t.Errorf("%s: version %v", k.Name, metadata["version"])
			}
			for _, p := range metadata["profiles"].([]any) {
				if p != "host" && p != "security_control" && p != "ai_operation" {
					t.Errorf("%s: no profile %v", k.Name, p)
				}
			}
		}
	}
}
