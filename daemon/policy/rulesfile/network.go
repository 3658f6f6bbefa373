// SPDX-License-Identifier: Apache-2.0

package rulesfile

import (
	"strings"
	"unicode"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
)

// NetworkRule decides about connections to one host.
type NetworkRule struct {
	// Host is a name or an IP literal: lower case, without port, brackets and the
	// dots at its end.
	Host string
	// Protocol is "http", "https", "socks5_tcp" or "socks5_udp".
	Protocol string
	// Decision is Forbidden for "deny" as well.
	Decision policy.Decision
	// Justification is the administrator's reason. May be empty.
	Justification string
	// Source and Line (from 1) say where the rule is written.
	Source string
	Line   int
}

// HostRules returns the network rules as policy.CompileHosts takes them: what is
// asked about in a command's rule is asked about here. "socks5_tcp" is every
// connection that is neither HTTP nor HTTPS. Rules for "socks5_udp" are left out:
// the connect gate judges datagrams, by address.
func (p *Policy) HostRules() []policy.HostRule {
	var out []policy.HostRule
	for _, r := range p.network {
		host, err := policy.ParseHost(r.Host)
		protocol, known := hostProtocols[r.Protocol]
		if err != nil || !known {
			continue
		}
		decision := policy.NetAllow
		switch r.Decision {
		case policy.Allow:
		case policy.Prompt:
			decision = policy.NetAsk
		default:
			decision = policy.NetDeny
		}
		out = append(out, policy.HostRule{
			Host: host, Protocols: []policy.HostProtocol{protocol}, Decision: decision,
			Justification: r.Justification, Source: r.Source, Line: r.Line,
		})
	}
	return out
}

var hostProtocols = map[string]policy.HostProtocol{
	"http": policy.HTTP, "https": policy.HTTPS, "socks5_tcp": policy.RawTCP,
}

func networkProtocol(s string) (string, *fault) {
	switch s {
	case "http", "https", "socks5_tcp", "socks5_udp":
		return s, nil
	case "https_connect", "http-connect":
		return "https", nil
	}
	return "", faultf("", "invalid rule: network_rule protocol must be one of http, https, socks5_tcp, socks5_udp (got %s)", short(s))
}

func networkHost(written string) (string, *fault) {
	host := strings.TrimSpace(written)
	switch {
	case host == "":
		return "", emptyHost()
	case strings.ContainsAny(host, "/?#"):
		return "", faultf("write the host only: \"example.com\"", "invalid rule: network_rule host must be a hostname or IP literal (without scheme or path)")
	}
	if rest, bracketed := strings.CutPrefix(host, "["); bracketed {
		inside, after, closed := strings.Cut(rest, "]")
		switch {
		case !closed:
			return "", faultf("write \"[::1]\" or \"::1\"", "invalid rule: network_rule host has an invalid bracketed IPv6 literal")
		case after != "" && !port(after):
			return "", faultf("leave out what follows the bracket", "invalid rule: network_rule host contains an unsupported suffix: %s", short(host))
		}
		host = inside
	} else if i := strings.IndexByte(host, ':'); i > 0 && strings.Count(host, ":") == 1 && port(host[i:]) {
		host = host[:i]
	}
	host = strings.ToLower(strings.TrimSpace(strings.TrimRight(host, ".")))
	switch {
	case host == "":
		return "", emptyHost()
	case strings.Contains(host, "*"):
		return "", faultf("write one rule for each host, or use the network table of requirements.toml", "invalid rule: network_rule host must be a specific host; wildcards are not allowed")
	case strings.ContainsFunc(host, unicode.IsSpace):
		return "", faultf("", "invalid rule: network_rule host cannot contain whitespace")
	}
	return host, nil
}

func emptyHost() *fault {
	return faultf("name the host: \"example.com\"", "invalid rule: network_rule host cannot be empty")
}

// port reports whether s is a colon and digits.
func port(s string) bool { return len(s) > 1 && s[0] == ':' && strings.Trim(s[1:], "0123456789") == "" }
