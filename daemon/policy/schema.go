// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"cmp"
	"slices"

	"github.com/seed-649e9bbc/paddock/daemon/policy/codex"
)

// Schema returns the JSON Schema (2020-12) of a requirements.toml, for editors. It
// accepts what Parse accepts by form; what only the values together show, it does not
// know.
func Schema() map[string]any {
	properties := map[string]any{}
	for _, k := range Keys() {
		own := schemaOf(k.Shape)
		own["description"] = k.Meaning + " Enforced by " + k.Enforced.String() + "."
		properties[k.Name] = own
		for _, alias := range k.Aliases {
			properties[alias] = map[string]any{"$ref": "#/properties/" + k.Name, "description": "Another name for " + k.Name + "."}
		}
	}
	return map[string]any{
		"$schema":     "https://json-schema.org/draft/2020-12/schema",
		"title":       "requirements.toml",
		"description": "What administrators require of Codex (" + codex.Version + "), and with [paddock] of every agent.",
		"type":        "object",
		"properties":  properties,
	}
}

// schemaOf is the schema of one shape.
func schemaOf(s *codex.Shape) map[string]any {
	switch s.Form {
	case codex.Bool:
		return map[string]any{"type": "boolean"}
	case codex.String, codex.Path, codex.RawPath:
		return map[string]any{"type": "string"}
	case codex.Integer:
		return map[string]any{"type": "integer", "minimum": 0, "maximum": s.Max}
	case codex.List:
		out := map[string]any{"type": "array", "items": schemaOf(s.Item)}
		if s.MinItems > 0 {
			out["minItems"] = s.MinItems
		}
		return out
	case codex.Map:
		return map[string]any{"type": "object", "additionalProperties": schemaOf(s.Item)}
	case codex.Table:
		return tableSchema(s, "", "")
	case codex.Enum:
		return enumSchema(s)
	case codex.OneOf:
		var all []any
		for _, v := range s.Variants {
			all = append(all, schemaOf(v.Shape))
		}
		return map[string]any{"anyOf": all}
	case codex.Tagged:
		var all []any
		for _, v := range s.Variants {
			all = append(all, tableSchema(v.Shape, s.Tag, v.Name))
		}
		return map[string]any{"oneOf": all}
	case codex.Any:
	}
	if s == overlayShape {
		return map[string]any{"$ref": "#"}
	}
	return map[string]any{}
}

// tableSchema is the schema of a table, whose key tag has the one value word.
func tableSchema(s *codex.Shape, tag, word string) map[string]any {
	properties := map[string]any{}
	required := []string{}
	for _, f := range s.Fields {
		own := schemaOf(f.Shape)
		if f.Name == tag {
			own = map[string]any{"const": word}
		}
		if f.Meaning != "" {
			own["description"] = f.Meaning
		}
		properties[f.Name] = own
		for _, alias := range f.Aliases {
			properties[alias] = schemaOf(f.Shape)
		}
		if f.Required {
			required = append(required, f.Name)
		}
	}
	out := map[string]any{"type": "object", "properties": properties}
	if len(required) > 0 {
		slices.SortFunc(required, cmp.Compare[string])
		out["required"] = required
	}
	switch {
	case s.Rest != nil:
		out["additionalProperties"] = schemaOf(s.Rest)
	case s.Closed:
		out["additionalProperties"] = false
	}
	return out
}

func enumSchema(s *codex.Shape) map[string]any {
	var words, tables []any
	for _, v := range s.Variants {
		if v.Shape == nil {
			words = append(words, v.Name)
			continue
		}
		tables = append(tables, map[string]any{
			"type": "object", "properties": map[string]any{v.Name: schemaOf(v.Shape)}, "required": []string{v.Name}, "additionalProperties": false,
		})
	}
	if len(tables) == 0 {
		return map[string]any{"enum": words}
	}
	return map[string]any{"anyOf": append([]any{map[string]any{"enum": words}}, tables...)}
}
