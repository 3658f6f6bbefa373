// SPDX-License-Identifier: Apache-2.0

package codex

import (
	"fmt"
	"slices"
	"strings"

	"github.com/seed-649e9bbc/paddock/daemon/policy/document"
)

// Hints are what is valid with all layers together, but probably not meant.
func (e *Effective) Hints() []Warning {
	var out []Warning
	hint := func(v *document.Value, key, format string, args ...any) {
		out = append(out, Warning{e.Source(v), int(v.At.Line), int(v.At.Column), key, fmt.Sprintf(format, args...)})
	}
	if network := e.Network(); network != nil {
		if enabled := e.Network("enabled"); enabled == nil {
			hint(network, "experimental_network", "without enabled = true Codex starts no proxy, and the rest of the table has no effect")
		}
		for _, key := range []string{"domains", "review_domains"} {
			v := e.Network(key)
			if v == nil {
				continue
			}
			for i, host := range hostsOf(v) {
				if why := badPattern(host.Text); why != "" {
					hint(host, "experimental_network."+key, "%s matches no host: %s", document.Quoted(hostsOf(v)[i].Text), why)
				}
			}
		}
	}
	if list := e.Get("allowed_approvals_reviewers"); list != nil && !slices.Contains(Texts(list), "user") {
		hint(list, "allowed_approvals_reviewers", `without "user" Codex switches its feature guardianv2 off`)
	}
	return out
}

// hostsOf returns the keys of a table, or the elements of a list, as values.
func hostsOf(v *document.Value) []*document.Value {
	if v.Kind != document.KindTable {
		return v.Items
	}
	out := make([]*document.Value, len(v.Table.Keys))
	for i, key := range v.Table.Keys {
		out[i] = &document.Value{Kind: document.KindString, Text: key, At: v.Table.At[i], Layer: v.Table.Vals[i].Layer}
	}
	return out
}

// badPattern says why no host can match a pattern for hosts.
func badPattern(p string) string {
	p = strings.TrimSpace(p)
	switch {
	case p == "":
		return "it is empty"
	case strings.Contains(p, "://"):
		return "write the host alone, without the scheme"
	case strings.Contains(p, "/"):
		return "write the host alone, without a path"
	case strings.ContainsAny(p, " \t"):
		return "there is a space in it"
	case strings.Count(p, ":") == 1 && !strings.Contains(p, "["):
		return "write the host alone, without the port"
	}
	return ""
}
