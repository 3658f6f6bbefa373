// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

func compiledSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	data, err := json.Marshal(Schema())
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("requirements.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("requirements.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// tomlAsJSON turns TOML into what an editor checks.
func tomlAsJSON(t *testing.T, text string) any {
	t.Helper()
	var values map[string]any
	if err := toml.Unmarshal([]byte(text), &values); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestSchemaAcceptsWhatParseDoes(t *testing.T) {
	schema := compiledSchema(t)
	example, err := os.ReadFile("../../examples/requirements.toml")
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{"the example": string(example), "cohorts": staged, "nothing": ""}
	for _, k := range Keys() {
		texts[k.Name] = k.Example
	}
	for name, text := range texts {
		if _, err := Parse("f", []byte(text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := schema.Validate(tomlAsJSON(t, text)); err != nil {
			t.Errorf("%s: %v\n%s", name, err, text)
		}
	}
}

func TestSchemaRefusesWhatParseDoes(t *testing.T) {
	schema := compiledSchema(t)
	for _, text := range []string{
		"allow_appshots = 1", "allowed_sandbox_modes = ['read-onyl']", "allowed_approval_policies = []", "allowed_approval_policies = ['granular']",
		"allowed_approval_policies = [{granular = {rules = true}}]", "otel.unknown = 1", "otel.exporter = {otlp-http = {endpoint = 'x'}}", "marketplaces.x = 1",
		"mcp_servers.a.identity = {}", "mcp_servers.a = {}", "experimental_network.http_port = 65536", "network_proxy.domains.a = 'none'", "hooks.Stop = [{hooks = [{type = 'command'}]}]",
		"rules.prefix_rules = []", "rules = {}", "rules.prefix_rules = [{pattern = [{token = 'a'}]}]", "paddock.moed = 'observe'", "paddock.mode = 'enfroce'",
		"paddock.network.rules = [{decision = 'deny'}]", "paddock.network.rules = [{cidr = '::/0', decision = 'deny', ports = []}]", "paddock.telemetry.endpiont = 'http://h'", "paddock.telemetry.prompts = 'no'", "paddock.telemetry.sinks = [{name = 'a', file = 'stdout'}]",
		"paddock.cohort = [{name = 'a', percent = 101, requirements = {}}]", "paddock.cohort = [{name = 'a', percent = 1, requirements = {allow_appshots = 1}}]",
	} {
		if _, err := Parse("f", []byte(text)); err == nil && !strings.Contains(text, "[]") {
			t.Errorf("Parse accepts %s", text)
		}
		if schema.Validate(tomlAsJSON(t, text)) == nil {
			t.Errorf("the schema accepts %s", text)
		}
	}
}
