// SPDX-License-Identifier: Apache-2.0

package codex

import (
	"errors"
	"slices"
	"strings"

	"github.com/seed-649e9bbc/paddock/daemon/policy/document"
)

var (
	builtinProviders = []string{"openai", "ollama", "lmstudio", "amazon-bedrock", "amazon-bedrock-runtime"}
	// reservedProviders cannot be defined anew.
	reservedProviders = []string{"openai", "ollama", "lmstudio"}
	bedrock           = []string{"amazon-bedrock", "amazon-bedrock-runtime"}
	// bedrockKeys are those of a built-in provider that may be changed.
	bedrockKeys = []string{"base_url", "auth", "http_headers", "aws"}
)

// checkProviderShape checks the form of model_providers, which a single layer may
// have only a part of.
func (e *Effective) checkProviderShape() error {
	v := e.Get("model_providers")
	if v == nil {
		return nil
	}
	key, _ := Lookup(Keys(), "model_providers")
	from := e.Layers[v.Layer]
	c := &Reader{source: from.Name, dir: from.dir, home: from.machine.Home}
	err := c.read(key.Shape, spot{}.down("model_providers"), v)
	e.warnings = append(e.warnings, c.warnings...)
	var at *document.Error
	if !errors.As(err, &at) {
		return err
	}
	e.Root.Table.Remove("model_providers") // of which nothing can be said
	bad := &document.Value{At: at.At, Layer: v.Layer}
	cause := at.Codex
	if strings.Contains(cause, "unknown variant `chat`") {
		cause = "`wire_api = \"chat\"` is no longer supported.\nHow to fix: set `wire_api = \"responses\"` in your provider config.\nMore info: https://github.com/openai/codex/discussions/7782\nin `" + at.Key + "`\n"
	}
	return e.fault(bad, at.Key, "failed to parse merged requirements: "+cause, "%s", at.Problem)
}

func (e *Effective) checkProviders() error {
	var defined []string
	if v := e.Get("model_providers"); v != nil {
		for i, id := range v.Table.Keys {
			defined = append(defined, id)
			if err := e.checkProvider(id, v.Table.Vals[i]); err != nil {
				return err
			}
		}
	}
	pinned := e.Get("model_provider")
	if pinned == nil || slices.Contains(builtinProviders, pinned.Text) || slices.Contains(defined, pinned.Text) {
		return nil
	}
	if pinned.Text == "ollama-chat" {
		return e.fault(pinned, "model_provider", "`ollama-chat` is no longer supported.\nHow to fix: replace `ollama-chat` with `ollama` in `model_provider`, `oss_provider`, or `--local-provider`.\nMore info: https://github.com/openai/codex/discussions/7782",
			`"ollama-chat" is no longer supported: write "ollama"`)
	}
	return e.fault(pinned, "model_provider", "Model provider `"+pinned.Text+"` not found", "there is no provider %s: define [model_providers.%s]%s",
		document.Quoted(pinned.Text), pinned.Text, document.Among("providers", pinned.Text, slices.Concat(builtinProviders, defined)))
}

func (e *Effective) checkProvider(id string, v *document.Value) error {
	key := document.Join("model_providers", id)
	fault := func(codex, problem string) error {
		return e.fault(v, key, "model_providers."+id+": "+codex, "%s", problem)
	}
	t := v.Table
	switch {
	case slices.Contains(reservedProviders, id):
		return e.fault(v, key, "model_providers contains reserved built-in provider IDs: `"+id+"`. Built-in providers cannot be overridden. Rename your custom provider (for example, `openai-custom`).",
			"a built-in provider has this name: take another one")
	case slices.Contains(bedrock, id):
		if slices.ContainsFunc(t.Keys, func(k string) bool { return !slices.Contains(bedrockKeys, k) && provider.FieldNamed(k) != nil }) {
			return e.fault(v, key, "model_providers."+id+" only supports changing `base_url`, `auth`, `http_headers`, `aws.profile`, `aws.region`, `aws.credential_export`, and `aws.auth_refresh`; other non-default provider fields are not supported",
				"of this built-in provider only %s can be changed", strings.Join(bedrockKeys, ", "))
		}
		return nil
	case t.Has("aws"):
		return fault("provider aws is only supported for `amazon-bedrock` or `amazon-bedrock-runtime`", "aws is for amazon-bedrock and amazon-bedrock-runtime only")
	case t.Has("gateway_oauth") && !t.Has("base_url"):
		return fault("gateway_oauth requires base_url", "gateway_oauth needs base_url")
	}
	if auth := t.Get("auth"); auth != nil {
		if strings.TrimSpace(auth.Table.Get("command").Text) == "" {
			return fault("provider auth.command must not be empty", "auth.command cannot be empty")
		}
		for _, other := range []string{"env_key", "experimental_bearer_token", "requires_openai_auth"} {
			if with := t.Get(other); with != nil && with.Text != "false" {
				return fault("provider auth cannot be combined with "+other, "auth cannot stand beside "+other+": keep one way to log in")
			}
		}
	}
	if name := t.Get("name"); name == nil || strings.TrimSpace(name.Text) == "" {
		return fault("provider name must not be empty", `"name" is missing or empty`)
	}
	return nil
}
