// SPDX-License-Identifier: Apache-2.0

package codex

import (
	"errors"
	"fmt"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/seed-649e9bbc/paddock/daemon/policy/document"
)

// check finds what makes Codex refuse requirements although each layer is valid. The
// order is Codex's, which reports the first.
func (e *Effective) check() error {
	for _, check := range []func(*Effective) error{
		(*Effective).checkNetworks, (*Effective).checkSurfaces, (*Effective).checkProviderShape, (*Effective).checkModels, (*Effective).checkServers,
		(*Effective).checkApprovals, (*Effective).checkSandbox, (*Effective).checkRules, (*Effective).checkProfiles, (*Effective).checkProviders,
		(*Effective).checkDomains, (*Effective).checkLogin,
	} {
		if err := check(e); err != nil {
			return err
		}
	}
	return nil
}

// fault makes the error for a value that holds. codex is the whole of what Codex
// says; of "%S" in it, the sources.
func (e *Effective) fault(v *document.Value, key, codex, format string, args ...any) error {
	out := &Error{Source: e.all(), Key: key, Problem: fmt.Sprintf(format, args...)}
	if v != nil && v.At.Line > 0 {
		out.Source, out.Line, out.Column = e.Source(v), int(v.At.Line), int(v.At.Column)
	}
	top, _, _ := strings.Cut(key, ".")
	out.Codex = strings.ReplaceAll(codex, "%S", e.sourcesOf(top, out.Source))
	return out
}

// sourcesOf names, as Codex does, the layers that a key of the top level is from: of
// a table, all that have it, the highest first.
func (e *Effective) sourcesOf(top, one string) string {
	var names []string
	for _, l := range slices.Backward(e.Layers) {
		if v := l.Doc.Table.Get(top); v != nil && v.Kind == document.KindTable {
			names = append(names, l.Name)
		}
	}
	if len(names) < 2 {
		return one
	}
	return "requirements layers: " + strings.Join(names, ", ")
}

func (e *Effective) all() string {
	names := make([]string, len(e.Layers))
	for i, l := range e.Layers {
		names[i] = l.Name
	}
	return strings.Join(names, ", ")
}

// checkNetworks checks once more what several layers may have made invalid, and then
// makes it uniform.
func (e *Effective) checkNetworks() error {
	var first error
	for _, surface := range [][]string{{"experimental_network"}, {"permissions", "network"}} {
		v := e.Get(surface...)
		if v == nil {
			continue
		}
		// After the merge, Codex has one name for it.
		err := checkNetwork(nil, spot{key: strings.Join(surface, "."), codex: "network_proxy"}, v)
		var at *document.Error
		if errors.As(err, &at) && first == nil {
			first = e.fault(v, at.Key, "failed to parse merged requirements: "+at.Codex, "%s (one layer has the old form, another the new one)", at.Problem)
		}
		modern(v.Table)
	}
	return first
}

func (e *Effective) checkSurfaces() error {
	below, top := e.Get("permissions", "network"), e.Get("experimental_network")
	if below == nil || top == nil {
		return nil
	}
	return e.fault(below, "permissions.network",
		"failed to parse merged requirements: invalid value for `permissions.network`: `configured together with top-level network requirements from "+e.Source(top)+
			"` is not in the allowed set specify managed network requirements through exactly one surface (set by %S)",
		"the network is also under experimental_network (%s, line %d): they are two names for one table, use one", e.Source(top), top.At.Line)
}

func (e *Effective) checkModels() error {
	list := e.Get("auto_review", "required_on_models")
	if list == nil {
		return nil
	}
	for _, item := range list.Items {
		if s := item.Text; s == "" || strings.TrimSpace(s) != s || strings.Contains(s, "/") {
			return e.fault(item, "auto_review.required_on_models",
				fmt.Sprintf("invalid value for `auto_review.required_on_models`: `%q` is not in the allowed set non-empty model slugs without surrounding whitespace or provider namespaces (set by %%S)", s),
				"%s is no name of a model: no provider, no slash, no space around it", document.Quoted(s))
		}
	}
	return nil
}

func (e *Effective) checkServers() error {
	if err := e.serverIdentities(e.Get("mcp_servers"), "mcp_servers", ""); err != nil {
		return err
	}
	plugins := e.Get("plugins")
	if plugins == nil {
		return nil
	}
	for i, name := range plugins.Table.Keys {
		servers := plugins.Table.Vals[i].Table.Get("mcp_servers")
		if err := e.serverIdentities(servers, document.Join("plugins", name)+".mcp_servers", name+"/"); err != nil {
			return err
		}
	}
	return nil
}

func (e *Effective) serverIdentities(servers *document.Value, key, prefix string) error {
	if servers == nil {
		return nil
	}
	for i, name := range servers.Table.Keys {
		of := "invalid requirement for MCP server `" + prefix + name + "` (set by %S): "
		identity := servers.Table.Vals[i].Table.Get("identity")
		key := document.Join(key, name) + ".identity"
		for _, args := range []*document.Value{lookDown(identity, []string{"command", "args"})} {
			if args == nil {
				continue
			}
			for j, arg := range args.Items {
				if why := badExpression(arg); why != "" {
					return e.fault(arg, key, fmt.Sprintf("%sinvalid argument matcher at index %d: %s", of, j, why), "argument %d: %s", j, why)
				}
			}
		}
		if why := badExpression(identity.Table.Get("url")); why != "" {
			return e.fault(identity, key, of+why, "%s", why)
		}
	}
	return nil
}

// badExpression says what is wrong with the regular expression of a matcher, in
// Codex's words where they are known. It has no Unicode classes and no look-around.
func badExpression(matcher *document.Value) string {
	expression := lookDown(matcher, []string{"expression"})
	if expression == nil {
		return ""
	}
	text := expression.Text
	_, err := syntax.Parse(text, syntax.Perl)
	var bad *syntax.Error
	var why string
	switch {
	case strings.Contains(strings.ReplaceAll(text, `\\`, ""), `\p`), strings.Contains(strings.ReplaceAll(text, `\\`, ""), `\P`):
		why = "Unicode character classes are not supported"
	case err == nil:
		return ""
	case !errors.As(err, &bad):
		why = err.Error()
	case strings.HasPrefix(bad.Expr, "(?=") || strings.HasPrefix(bad.Expr, "(?!") || strings.HasPrefix(bad.Expr, "(?<"):
		why = "look-around is not supported"
	case bad.Code == syntax.ErrInvalidRepeatSize && strings.Count(text, "{") == 1:
		return "" // Codex has no such limit
	case bad.Code == syntax.ErrInvalidRepeatSize || bad.Code == syntax.ErrLarge:
		why = "compiled regex exceeded size limit"
	case bad.Code == syntax.ErrMissingParen:
		why = "found open group without closing ')'"
	case bad.Code == syntax.ErrMissingBracket:
		why = "found unclosed character class"
	default:
		why = bad.Code.String()
	}
	return "invalid regex `" + text + "`: " + why
}

func (e *Effective) checkApprovals() error {
	for _, key := range []string{"allowed_approval_policies", "allowed_approvals_reviewers"} {
		if err := e.notEmpty(e.Get(key), key); err != nil {
			return err
		}
	}
	return nil
}

func (e *Effective) notEmpty(list *document.Value, key string) error {
	if list == nil || len(list.Items) > 0 {
		return nil
	}
	return e.fault(list, key, "field `"+key+"` cannot be empty", "cannot be empty; leave it out to allow everything")
}

func (e *Effective) checkSandbox() error {
	modes := e.Get("allowed_sandbox_modes")
	if modes != nil && !slices.Contains(Texts(modes), "read-only") {
		names := map[string]string{"workspace-write": "WorkspaceWrite", "danger-full-access": "DangerFullAccess", "external-sandbox": "ExternalSandbox"}
		said := make([]string, len(modes.Items))
		for i, item := range modes.Items {
			said[i] = names[item.Text]
		}
		return e.fault(modes, "allowed_sandbox_modes",
			"invalid value for `allowed_sandbox_modes`: `["+strings.Join(said, ", ")+"]` is not in the allowed set must include 'read-only' to allow any PermissionProfile (set by %S)",
			`"read-only" must be among them`)
	}
	return e.notEmpty(e.Get("windows", "allowed_sandbox_implementations"), "windows.allowed_sandbox_implementations")
}

func (e *Effective) checkRules() error {
	for _, l := range slices.Backward(e.Layers) {
		if l.Fault != nil {
			return l.Fault
		}
	}
	return nil
}

// builtinProfiles are the permission profiles there always are.
var builtinProfiles = []string{":read-only", ":workspace", ":danger-full-access"}

func (e *Effective) profiles() []string {
	var names []string
	if permissions := e.Get("permissions"); permissions != nil {
		for _, name := range permissions.Table.Keys {
			if name != "filesystem" && name != "network" {
				names = append(names, name)
			}
		}
	}
	return names
}

func (e *Effective) checkProfiles() error {
	allowed, initial := e.Get("allowed_permission_profiles"), e.Get("default_permissions")
	own := e.profiles()
	for _, name := range own {
		v := e.Get("permissions", name)
		if strings.HasPrefix(name, ":") {
			return e.fault(v, document.Join("permissions", name), "permissions profile `"+name+"` uses a reserved built-in profile prefix", "a name that begins with a colon is that of a built-in profile: take another one")
		}
	}
	if allowed == nil {
		switch {
		case initial != nil:
			return e.fault(initial, "default_permissions", "requirements.toml default_permissions requires allowed_permission_profiles", "it needs allowed_permission_profiles, which is not there")
		case len(own) > 0:
			return e.fault(e.Get("permissions", own[0]), document.Join("permissions", own[0]), "config defines `[permissions]` profiles but does not set `default_permissions`",
				"there are permission profiles, so default_permissions must say which one sessions begin with, and allowed_permission_profiles which ones may be chosen")
		}
		return nil
	}
	for i, name := range allowed.Table.Keys {
		if !slices.Contains(builtinProfiles, name) && !slices.Contains(own, name) {
			return e.fault(allowed.Table.Vals[i], document.Join("allowed_permission_profiles", name), "requirements.toml allowed_permission_profiles refers to undefined profile `"+name+"`",
				"there is no profile %s: define [permissions.%s]%s", document.Quoted(name), name, document.Among("profiles", name, slices.Concat(builtinProfiles, own)))
		}
	}
	is := func(name string) bool { v := allowed.Table.Get(name); return v != nil && v.Text == "true" }
	switch {
	case initial == nil && (!is(":workspace") || !is(":read-only")):
		return e.fault(allowed, "default_permissions", "requirements.toml default_permissions must be set unless allowed_permission_profiles allows both `:workspace` and `:read-only`",
			"must be set, unless allowed_permission_profiles allows both \":workspace\" and \":read-only\"")
	case initial != nil && !is(initial.Text):
		return e.fault(initial, "default_permissions", "requirements.toml default_permissions `"+initial.Text+"` must be allowed by allowed_permission_profiles",
			"%s is not allowed by allowed_permission_profiles: set it to true there", document.Quoted(initial.Text))
	}
	for _, name := range own {
		extends := e.Get("permissions", name, "extends")
		if extends != nil && strings.HasPrefix(extends.Text, ":") && !slices.Contains(builtinProfiles, extends.Text) {
			return e.fault(extends, document.Join("permissions", name)+".extends", "permissions profile `"+name+"` cannot extend unsupported built-in profile `"+extends.Text+"`",
				"there is no built-in profile %s%s", document.Quoted(extends.Text), document.Among("profiles", extends.Text, builtinProfiles))
		}
	}
	return nil
}

func (e *Effective) checkDomains() error {
	domains := e.Network("domains")
	if domains == nil {
		return nil
	}
	for _, decision := range []string{"allow", "deny"} {
		for i, host := range domains.Table.Keys {
			if v := domains.Table.Vals[i]; host == "*" && v.Text == decision {
				list := map[string]string{"allow": "allowed_domains", "deny": "denied_domains"}[decision]
				return e.fault(v, "experimental_network.domains",
					"failed to build managed network proxy from %S: network proxy constraints are invalid: invalid value for network."+list+": * (allowed exact hosts or scoped wildcards like *.example.com or **.example.com)",
					`"*" is not possible here: name hosts, or "**.example.com"`)
			}
		}
	}
	return nil
}

// Network returns what holds for a key of the network, under whichever name the
// table has.
func (e *Effective) Network(names ...string) *document.Value {
	for _, surface := range [][]string{{"experimental_network"}, {"permissions", "network"}} {
		if v := e.Get(slices.Concat(surface, names)...); v != nil {
			return v
		}
	}
	return nil
}

// LoginMethods returns how people may log in, sorted. It takes into account that
// where no workspace is allowed, nobody can log in by ChatGPT.
func (e *Effective) LoginMethods() []string {
	out := []string{"api", "chatgpt"}
	if methods := e.Get("allowed_login_methods"); methods != nil {
		said := Texts(methods)
		out = slices.DeleteFunc(out, func(m string) bool { return !slices.Contains(said, m) })
	}
	if list := e.Get("allowed_chatgpt_workspaces"); list != nil && !slices.ContainsFunc(Texts(list), func(w string) bool { return strings.TrimSpace(w) != "" }) {
		out = slices.DeleteFunc(out, func(m string) bool { return m == "chatgpt" })
	}
	return out
}

func (e *Effective) checkLogin() error {
	if len(e.LoginMethods()) > 0 {
		return nil
	}
	v, key := e.Get("allowed_login_methods"), "allowed_login_methods"
	return e.fault(v, key, "authentication requirements do not permit any usable login method", "no way to log in is left: name one, and for \"chatgpt\" a workspace")
}

// Texts returns the texts of the elements of a list.
func Texts(list *document.Value) []string {
	if list == nil {
		return nil
	}
	out := make([]string, len(list.Items))
	for i, item := range list.Items {
		out[i] = item.Text
	}
	return out
}
