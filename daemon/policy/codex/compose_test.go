// SPDX-License-Identifier: Apache-2.0

package codex

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/seed-649e9bbc/paddock/daemon/policy/document"
)

// read is ParseDocument of what is not read yet.
func read(l Layer, m Machine, own ...string) (*Parsed, error) {
	doc, err := document.Read(l.Data)
	if err != nil {
		return nil, newError(l.Name, l.Kind, err)
	}
	return ParseDocument(l, doc, m, own...)
}

func parse(t testing.TB, kind Kind, name, text string) *Parsed {
	t.Helper()
	p, err := read(Layer{Name: name, Kind: kind, Data: []byte(text)}, Machine{Host: "h", Home: "/home/u"}, "paddock")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// plainJSON is what is in force, as JSON, besides the rules.
func plainJSON(t testing.TB, e *Effective) string {
	t.Helper()
	data, err := json.Marshal(Plain(e.Root))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestCompose(t *testing.T) {
	type layers map[Kind]string
	for name, tt := range map[string]struct {
		layers layers
		want   string
	}{
		"scalars and lists are the highest layer's":     {layers{System: "allow_appshots = true\nallowed_web_search_modes = ['live', 'cached']", MDM: "allow_appshots = false\nallowed_web_search_modes = ['cached']"}, `{"allow_appshots":false,"allowed_web_search_modes":["cached"]}`},
		"tables are merged":                             {layers{System: "[features]\na = true\nb = true", Cloud: "[features]\nb = false"}, `{"features":{"a":true,"b":false}}`},
		"an alias is the same key":                      {layers{System: "[feature_requirements]\na = true", Cloud: "[features]\nb = false"}, `{"features":{"a":true,"b":false}}`},
		"three names of the network":                    {layers{System: "[network_proxy]\nenabled = true\n[network_proxy.domains]\n'a' = 'allow'", Cloud: "[experimental_network.domains]\nb = 'allow'"}, `{"experimental_network":{"domains":{"a":"allow","b":"allow"},"enabled":true}}`},
		"legacy is above cloud":                         {layers{Legacy: "sandbox_mode = 'workspace-write'", Cloud: "allowed_sandbox_modes = ['read-only']"}, `{"allowed_sandbox_modes":["read-only","workspace-write"]}`},
		"deny_read adds up":                             {layers{System: "[permissions.filesystem]\ndeny_read = ['/a', '~/b']", MDM: "[permissions.filesystem]\ndeny_read = ['/c', '/a']"}, `{"permissions":{"filesystem":{"deny_read":["/c","/a","/home/u/b"]}}}`},
		"required_on_models adds up":                    {layers{System: "[auto_review]\nrequired_on_models = ['a']\nignore_rules = ['x']", MDM: "[auto_review]\nrequired_on_models = ['b']\nignore_rules = ['y']"}, `{"auto_review":{"ignore_rules":["y"],"required_on_models":["b","a"]}}`},
		"an app once off stays off":                     {layers{System: "[apps.x]\nenabled = false", MDM: "[apps.x]\nenabled = true\n[apps.y]\nenabled = true"}, `{"apps":{"x":{"enabled":false},"y":{"enabled":true}}}`},
		"hooks add up":                                  {layers{System: "[[hooks.Stop]]\nmatcher = 'low'\n[hooks]\nmanaged_dir = '/d'", MDM: "[[hooks.Stop]]\nmatcher = 'high'\n[hooks]\nmanaged_dir = '/d'\nwindows_managed_dir = 'w'"}, `{"hooks":{"Stop":[{"matcher":"high"},{"matcher":"low"}],"managed_dir":"/d","windows_managed_dir":"w"}}`},
		"an exporter is one setting":                    {layers{System: "[otel]\nenvironment = 'e'\nspan_attributes = {a = 'b'}\nexporter = {otlp-grpc = {endpoint = 'g', headers = {secret = 's'}}}", MDM: "[otel]\nspan_attributes = {c = 'd'}\nexporter = {otlp-grpc = {endpoint = 'h'}}"}, `{"otel":{"environment":"e","exporter":{"otlp-grpc":{"endpoint":"h"}},"span_attributes":{"a":"b","c":"d"}}}`},
		"a blank policy is none":                        {layers{System: "guardian_policy_config = 'x'", MDM: "guardian_policy_config = ' '"}, `{}`},
		"the machine's own alone may say how to log in": {layers{System: "allowed_login_methods = ['chatgpt']", Cloud: "allowed_login_methods = ['api']\nchatgpt_base_url = 7"}, `{"allowed_login_methods":["chatgpt"]}`},
		"unknown keys are kept":                         {layers{System: "[new]\na = 1\nb = 1.5\nc = 1979-05-27\n[paddock]\nmode = 'observe'", MDM: "[new]\na = 2"}, `{"new":{"a":2,"b":1.5,"c":"1979-05-27"}}`},
		"what is no table ends the one below":           {layers{System: "[new.key]\na = 2", Cloud: "[new]\nkey = 1", MDM: "[new.key]\nb = 3"}, `{"new":{"key":{"b":3}}}`},
		"hosts are matched in each layer":               {layers{System: "allowed_sandbox_modes = ['read-only']\n[[remote_sandbox_config]]\nhostname_patterns = ['x', 'H.']\nallowed_sandbox_modes = ['read-only', 'workspace-write']", MDM: "allowed_sandbox_modes = ['read-only', 'danger-full-access']\n[[remote_sandbox_config]]\nhostname_patterns = ['??']\nallowed_sandbox_modes = ['read-only']"}, `{"allowed_sandbox_modes":["read-only","danger-full-access"]}`},
		"rules add up":                                  {layers{System: "[rules]\nprefix_rules = [{pattern = [{token = 'low'}], decision = 'prompt'}]", MDM: "[rules]\nprefix_rules = [{pattern = [{token = 'high'}], decision = 'forbidden'}]"}, `{}`},
	} {
		var parsed []*Parsed
		for kind, text := range tt.layers {
			parsed = append(parsed, parse(t, kind, kind.String(), text))
		}
		e, err := Compose(parsed...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(tt.want, plainJSON(t, e)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if name == "rules add up" && (len(e.Rules) != 2 || e.Rules[0].Pattern[0][0] != "high" || e.Rules[1].Source != "system") {
			t.Errorf("rules %+v", e.Rules)
		}
	}
}

// Who set a value is known however deep it lies and whatever merged around it.
func TestSources(t *testing.T) {
	e, err := Compose(
		parse(t, System, "low", "[features]\na = true\nb = true\n\n[permissions.filesystem]\ndeny_read = ['/a']\n"),
		parse(t, MDM, "high", "\n\n[features]\nb = false\n[permissions.filesystem]\ndeny_read = ['/b']\n"))
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"features.a": "low:2", "features.b": "high:4"} {
		v := e.Get(strings.Split(key, ".")...)
		if got := fmt.Sprintf("%s:%d", e.Source(v), v.At.Line); got != want {
			t.Errorf("%s is from %s, want %s", key, got, want)
		}
	}
	var from []string
	for _, item := range e.Get("permissions", "filesystem", "deny_read").Items {
		from = append(from, fmt.Sprintf("%s %s:%d", item.Text, e.Source(item), item.At.Line))
	}
	if want := []string{"/b high:6", "/a low:6"}; !slices.Equal(from, want) {
		t.Errorf("deny_read %q, want %q", from, want)
	}
}

func TestHookDirectoriesContradict(t *testing.T) {
	_, err := Compose(parse(t, System, "low", "[hooks]\nmanaged_dir = '/a'"), parse(t, MDM, "high", "\n[hooks]\nmanaged_dir = '/b'"))
	var e *Error
	if !errors.As(err, &e) || e.Source != "high" || e.Line != 3 || e.Codex != "failed to compose requirements field `hooks.managed_dir` between high and low: `/b` conflicts with `/a`" {
		t.Errorf("%+v", err)
	}
}

func TestBundleCannotNameAServer(t *testing.T) {
	_, err := read(Layer{Name: "cloud", Kind: Cloud, Data: []byte("[config_server]\nbase_url = 'https://h'")}, Machine{})
	if err == nil || !strings.Contains(err.Error(), "config_server") {
		t.Error(err)
	}
}

func TestMatchHost(t *testing.T) {
	for _, tt := range []struct {
		pattern, host string
		want          bool
	}{
		{"*", "a", true},
		{"*", "", false},
		{"", "a", false},
		{"a.example.com", "A.EXAMPLE.com.", true},
		{"*.example.com.", "a.b.example.com", true},
		{"*.example.com", "example.com", false},
		{"dev-??", "dev-07", true},
		{"dev-??", "dev-7", false},
		{" a ", "a", true},
		{"a*b*c", "aXbYc", true},
		{"a*b*c", "aXbY", false},
		{strings.Repeat("*a", 2000), strings.Repeat("a", 2000) + "b", false}, // in no time
	} {
		if got := MatchHost(tt.pattern, tt.host); got != tt.want {
			t.Errorf("%.20q matches %.20q: %t", tt.pattern, tt.host, got)
		}
	}
}

// pieces are lines that may stand together in any layer, each a key of its own.
var pieces = []string{
	"allow_appshots = true", "allow_appshots = false", "features.a = true", "features.a = false", "features.b = true", "apps.x.enabled = true", "apps.x.enabled = false",
	"apps.y.tools.t.approval_mode = 'prompt'", "apps.y.tools.t.approval_mode = 'auto'", "permissions.filesystem.deny_read = ['/a', '/b']", "permissions.filesystem.deny_read = ['/c', '/a']",
	"auto_review.required_on_models = ['m']", "auto_review.required_on_models = ['n', 'm']", "otel.environment = 'x'", "otel.exporter = 'none'", "otel.exporter.otlp-grpc.endpoint = 'g'", "otel.span_attributes.k = 'v'",
	"experimental_network.domains.h = 'allow'", "experimental_network.domains.h = 'deny'", "experimental_network.domains.i = 'deny'", "hooks.Stop = [{matcher = 'a'}]", "hooks.Stop = [{matcher = 'b'}]", "hooks.managed_dir = '/d'",
	"new.number = 1", "new.number = 2", "new.key = {a = 2}", "new.key = {b = 3}",
}

// drawLayer draws some of the pieces, at most one for each key.
func drawLayer(t *rapid.T, name string) string {
	chosen := map[string]string{}
	var order []string
	for _, p := range rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 8).Draw(t, name) {
		key, _, _ := strings.Cut(p, " = ")
		clash := slices.ContainsFunc(order, func(k string) bool { return k != key && (strings.HasPrefix(k, key) || strings.HasPrefix(key, k)) })
		if chosen[key] == "" && !clash {
			chosen[key] = p
			order = append(order, key)
		}
	}
	var b strings.Builder
	for _, key := range order {
		b.WriteString(chosen[key] + "\n")
	}
	return b.String()
}

// Layers may be combined two first and the third later, in either way, where Codex
// does it so: it merges from low to high, and a merge is a layer. It does not where a
// key is a table in one layer and none in another, which only a key that Codex does not
// know can be; see TestCompose.
func TestComposeIsAssociative(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var layers []*Parsed
		for i, name := range []string{"low", "middle", "high"} {
			p, err := read(Layer{Name: name, Kind: []Kind{System, Cloud, MDM}[i], Data: []byte(drawLayer(t, name))}, Machine{})
			if err != nil {
				t.Fatal(err)
			}
			layers = append(layers, p)
		}
		all := composed(t, layers...)
		pair := func(a, b *Parsed) *Parsed {
			return &Parsed{Name: a.Name + b.Name, Kind: a.Kind, Doc: composed(t, a, b).Root}
		}
		first := composed(t, pair(layers[0], layers[1]), layers[2])
		last := composed(t, layers[0], pair(layers[1], layers[2]))
		want := canonical(t, all)
		for how, e := range map[string]*Effective{"low and middle first": first, "middle and high first": last} {
			if got := canonical(t, e); got != want {
				t.Fatalf("%s:\n%s\nat once:\n%s", how, got, want)
			}
		}
	})
}

func composed(t *rapid.T, layers ...*Parsed) *Effective {
	e, err := Compose(layers...)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func canonical(t *rapid.T, e *Effective) string {
	data, err := json.Marshal(Plain(e.Root))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// Nothing that a lower layer denied for good is possible again with a higher one.
func TestHigherLayersDoNotWiden(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		low, err := read(Layer{Name: "low", Data: []byte(drawLayer(t, "low"))}, Machine{})
		if err != nil {
			t.Fatal(err)
		}
		high, err := read(Layer{Name: "high", Kind: MDM, Data: []byte(drawLayer(t, "high"))}, Machine{})
		if err != nil {
			t.Fatal(err)
		}
		alone, both := composed(t, low), composed(t, low, high)
		for _, names := range [][]string{{"permissions", "filesystem", "deny_read"}, {"auto_review", "required_on_models"}} {
			for _, item := range Texts(alone.Get(names...)) {
				if !slices.Contains(Texts(both.Get(names...)), item) {
					t.Fatalf("%v no longer has %s", names, item)
				}
			}
		}
		if v := alone.Get("apps", "x", "enabled"); v != nil && v.Text == "false" && both.Get("apps", "x", "enabled").Text != "false" {
			t.Fatal("the app is on again")
		}
		for _, denied := range alone.Sticky {
			if !slices.ContainsFunc(both.Sticky, func(d Denied) bool { return d.Host == denied.Host }) {
				t.Fatalf("%s is no longer denied", denied.Host)
			}
		}
		if n := len(alone.Get("hooks", "Stop").ItemsOf()); len(both.Get("hooks", "Stop").ItemsOf()) < n {
			t.Fatal("a hook is gone")
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, k := range Keys() {
		f.Add([]byte(k.Example), uint8(0))
	}
	f.Add([]byte("sandbox_mode = 'read-only'\napproval_policy = {granular = {}}\n"), uint8(2))
	f.Add([]byte("[model_providers]\n0 = ''\n"), uint8(0)) // checked only when merged
	f.Fuzz(func(t *testing.T, data []byte, kind uint8) {
		p, err := read(Layer{Name: "f", Kind: Kind(kind % 4), Data: data}, Machine{Host: "h", Home: "/h"})
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Source != "f" || e.Problem == "" {
				t.Fatalf("%#v", err)
			}
			return
		}
		e, err := Compose(p, p)
		if err != nil {
			var bad *Error
			if !errors.As(err, &bad) || bad.Problem == "" {
				t.Fatalf("%#v", err)
			}
		}
		if e == nil {
			return
		}
		e.Hints()
		if _, failed := json.Marshal(e.JSON()); failed != nil && err == nil && !strings.Contains(failed.Error(), "unsupported value") {
			t.Fatal(failed)
		}
	})
}
