// SPDX-License-Identifier: Apache-2.0

package codex

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/seed-649e9bbc/paddock/daemon/policy/document"
)

// absolute resolves a path as Codex does: ~ and ~/ are the home directory, all else
// is below the layer's directory. Whose home is not known stays ~.
func (c *Reader) absolute(p string) string {
	home := p == "~" || strings.HasPrefix(p, "~/")
	switch {
	case home && c.home == "":
		return path.Clean(p)
	case home:
		return path.Join("/", c.home, p[1:])
	case strings.HasPrefix(p, "/"):
		return path.Clean(p)
	}
	return path.Join("/", c.dir, p)
}

// readFullPath reads a path that is absolute as it is written.
func readFullPath(c *Reader, at spot, v *document.Value) error {
	if v.Kind != document.KindString {
		return at.wrongType(v, "path string", "a path")
	}
	if !strings.HasPrefix(v.Text, "/") && v.Text != "~" && !strings.HasPrefix(v.Text, "~/") {
		return at.fail(v, "path is not absolute: "+v.Text, "%s is not absolute: begin it with / or ~/", document.Quoted(v.Text))
	}
	v.Text = c.absolute(v.Text)
	return nil
}

const globCharacters = "*?["

// checkDenyRead makes the part of a pattern before its first wildcard absolute.
func checkDenyRead(c *Reader, at spot, v *document.Value) error {
	text := v.Text
	windows := strings.HasPrefix(text, `\\`) || len(text) > 2 && text[1] == ':' && (text[2] == '\\' || text[2] == '/')
	switch {
	case windows:
		return at.fail(v, "path "+text+" uses Windows paths, but executor cwd file://"+c.dir+" uses POSIX paths", "%s is a path of Windows: write it with / and without a drive", document.Quoted(text))
	case strings.ContainsAny(text, "{}\\\x00"):
		quoted := strings.ReplaceAll(fmt.Sprintf("%q", text), `\x00`, `\0`)
		return at.fail(v, "unsupported configuration path "+quoted+" using POSIX path syntax", "%s holds a brace, a backslash or NUL, which a pattern cannot; write one pattern for each alternative", document.Quoted(text))
	}
	if !strings.HasPrefix(text, "/") && !strings.HasPrefix(text, "~/") && text != "~" {
		c.warn(v.At, at.key, "%s is not absolute: it means %s; write it so", document.Quoted(text), document.Quoted(c.absolute(text)))
	}
	first := strings.IndexAny(text, globCharacters)
	if first < 0 {
		v.Text = c.absolute(text)
		return nil
	}
	prefix, pattern := "", text
	if slash := strings.LastIndexByte(text[:first], '/'); slash >= 0 {
		prefix, pattern = text[:slash], text[slash+1:]
		if slash == 0 {
			prefix = "/"
		}
	}
	v.Text = path.Join(c.absolute(prefix), "x")
	v.Text = strings.TrimSuffix(v.Text, "x") + pattern
	return nil
}

// checkReserved refuses a profile under the name of what holds in every profile.
func checkReserved(_ *Reader, at spot, v *document.Value) error {
	for _, name := range []string{"description", "extends", "workspace_roots", "filesystem", "network"} {
		if v.Table.Has(name) {
			return at.fail(v, "`permissions.filesystem` is reserved for requirements-level filesystem constraints and cannot define a profile",
				"the name is reserved for what holds in every profile: give the profile another one (it has %q)", name)
		}
	}
	return nil
}

func readPermissionsNetwork(c *Reader, at spot, v *document.Value) error {
	if v.Kind == document.KindTable {
		for _, name := range []string{"description", "extends", "workspace_roots", "filesystem", "network"} {
			if v.Table.Has(name) || len(v.Table.Keys) == 0 {
				return at.fail(v, "`permissions.network` in requirements.toml is reserved for shared network constraints; rename the managed profile (for example, to `network-access`) and update `default_permissions`, `allowed_permission_profiles`, and `extends`; check saved session profile references. Profiles named `network` in config.toml remain valid",
					"the name is reserved for the network of every profile: give the profile another one (it has %q)", name)
			}
		}
	}
	inner := spot{key: at.key}
	err := c.read(networkShape, inner, v)
	var e *document.Error
	if errors.As(err, &e) && e.Codex != "" {
		e.Codex += at.says("")
	}
	return err
}

// checkNetwork refuses the old lists beside what replaced them. They are not turned
// into it before all layers are merged, for in one layer there may be the old form and
// in another the new one, which Codex refuses.
func checkNetwork(_ *Reader, at spot, v *document.Value) error {
	t := v.Table
	if t.Has("domains") && (t.Has("allowed_domains") || t.Has("denied_domains")) {
		return at.fail(v, "`domains` cannot be combined with legacy `allowed_domains` or `denied_domains` in managed network requirements",
			"domains cannot stand beside allowed_domains or denied_domains: move these into domains")
	}
	if t.Has("unix_sockets") && t.Has("allow_unix_sockets") {
		return at.fail(v, "`unix_sockets` cannot be combined with legacy `allow_unix_sockets` in managed network requirements",
			"unix_sockets cannot stand beside allow_unix_sockets: move these into unix_sockets")
	}
	return nil
}

// modern turns the old lists of the network into what replaced them.
func modern(t *document.Table) {
	lists(t, "domains", []*document.Value{t.Get("allowed_domains"), t.Get("denied_domains")}, "allow", "deny")
	lists(t, "unix_sockets", []*document.Value{t.Get("allow_unix_sockets")}, "allow")
	for _, old := range []string{"allowed_domains", "denied_domains", "allow_unix_sockets"} {
		t.Remove(old)
	}
}

// lists makes the table name from lists, of which the last one counts. Of empty
// lists, Codex makes none.
func lists(t *document.Table, name string, from []*document.Value, says ...string) {
	var into *document.Value
	for i, list := range from {
		if list == nil {
			continue
		}
		for _, item := range list.Items {
			if into == nil {
				into = document.NewTable(list.At)
				into.Layer = list.Layer
			}
			entry := &document.Value{Kind: document.KindString, Text: says[i], At: item.At, Layer: item.Layer}
			into.Table.Set(item.Text, item.At, entry)
		}
	}
	if into != nil && !t.Has(name) {
		t.Add(name, into.At, into)
	}
}

// checkApplicationDomains makes host names uniform.
func checkApplicationDomains(_ *Reader, at spot, v *document.Value) error {
	domains := v.Table.Get("domains")
	if domains == nil {
		return nil
	}
	for i, name := range domains.Table.Keys {
		plain := strings.TrimSuffix(strings.ToLower(name), ".")
		place := &document.Value{At: domains.Table.At[i]}
		if !exactHost(plain) {
			return at.fail(place, "application.network.domains requires exact ASCII domain names without URLs, ports, or wildcards",
				"%s is no exact host name: no URL, port or wildcard is possible here", document.Quoted(name))
		}
		if j := slices.IndexFunc(domains.Table.Keys, func(k string) bool { return k != name && strings.TrimSuffix(strings.ToLower(k), ".") == plain }); j >= 0 {
			return at.fail(place, fmt.Sprintf("duplicate application.network domain after normalization: %q", plain), "%s is there twice, written differently", document.Quoted(plain))
		}
	}
	for i, name := range domains.Table.Keys {
		domains.Table.Rename(i, strings.TrimSuffix(strings.ToLower(name), "."))
	}
	return nil
}

func exactHost(host string) bool {
	if host == "" || len(host) > 253 {
		return false
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return false
		}
	}
	return true
}

// checkEffort refuses an empty effort; its words are the provider's.
func checkEffort(_ *Reader, at spot, v *document.Value) error {
	if v.Text == "" {
		return at.fail(v, "reasoning_effort must not be empty", "cannot be empty; leave it out")
	}
	return nil
}

func checkConfigServer(_ *Reader, at spot, v *document.Value) error {
	const secure = "config_server URLs must use HTTPS without userinfo or fragments"
	base := v.Table.Get("base_url")
	urls := []*document.Value{base}
	oauth := v.Table.Get("oauth")
	if oauth != nil {
		for _, name := range []string{"authorization_url", "token_url", "device_authorization_url"} {
			urls = append(urls, oauth.Table.Get(name))
		}
	}
	for _, u := range urls {
		if u == nil {
			continue
		}
		parsed, err := url.Parse(u.Text)
		if err != nil || parsed.Scheme != "https" || parsed.Host == "" || parsed.User != nil || strings.Contains(u.Text, "#") {
			return at.fail(u, secure, "%s is no https URL without user and fragment", document.Quoted(u.Text))
		}
		if u == base && strings.Contains(u.Text, "?") {
			return at.fail(u, "config_server.base_url must not contain a query", "%s has a query, which it cannot", document.Quoted(u.Text))
		}
	}
	if oauth == nil {
		return nil
	}
	port, zero := oauth.Table.Get("redirect_port"), false
	if port != nil {
		n, err := port.Integer()
		zero = err != nil || n == 0
	}
	if oauth.Table.Get("client_id").Text == "" || zero {
		return at.fail(oauth, "config_server OAuth requires a client ID and a nonzero redirect port when specified", "client_id cannot be empty, and redirect_port not 0")
	}
	return nil
}

// checkGateway wants one way to get at a credential.
func checkGateway(_ *Reader, at spot, v *document.Value) error {
	if v.Kind != document.KindTable {
		return at.fail(v, "choose one gateway credential source: credential_export or OAuth settings (authorization_url, token_url, and client_id)", "expected a table, found %s", document.Found(v))
	}
	t := v.Table
	settings := t.Has("authorization_url") && t.Has("token_url") && t.Has("client_id")
	if t.Has("credential_export") == settings {
		return at.fail(v, "choose one gateway credential source: credential_export or OAuth settings (authorization_url, token_url, and client_id)",
			"it needs either credential_export, or authorization_url, token_url and client_id")
	}
	return nil
}

func checkNonzero(_ *Reader, at spot, v *document.Value) error {
	if n, err := v.Integer(); err != nil || n == 0 {
		return at.fail(v, "invalid value: integer `0`, expected a nonzero u64", "cannot be 0")
	}
	return nil
}
