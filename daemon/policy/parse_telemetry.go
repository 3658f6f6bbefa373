// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"net/url"
	"strings"
)

func telemetry(key string, v *value) (TelemetrySink, error) {
	var sink TelemetrySink
	t, err := tableOf(key, v, "endpoint", "headers")
	if err != nil {
		return sink, err
	}
	endpoint, err := required(t, v, key, "endpoint")
	if err != nil {
		return sink, err
	}
	if sink.Endpoint, err = stringOf(key+".endpoint", endpoint); err != nil {
		return sink, err
	}
	if why := badEndpoint(sink.Endpoint); why != "" {
		return sink, fail(endpoint, key+".endpoint", `bad endpoint: %s (write the base URL of an OTLP/HTTP receiver, like "https://otel.example.com:4318")`, why)
	}
	headers := t.get("headers")
	if headers == nil {
		return sink, nil
	}
	if headers.kind != kindTable {
		return sink, fail(headers, key+".headers", "expected a table of strings, found %s", headers.kind)
	}
	sink.Headers = make(map[string]string, len(headers.table.keys))
	for i, name := range headers.table.keys {
		v := headers.table.vals[i]
		key := key + ".headers." + quoteWord(name)
		if v.kind != kindString { // its value may be a secret: not shown
			return sink, fail(v, key, "expected a string, found %s", v.kind)
		}
		if !isToken(name) {
			return sink, fail(v, key, "not a possible HTTP header name")
		}
		if strings.ContainsFunc(v.text, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			return sink, fail(v, key, "the value holds a control character, which an HTTP header cannot")
		}
		sink.Headers[name] = v.text
	}
	return sink, nil
}

// badEndpoint returns what is wrong with s as a base URL. It never quotes the
// whole of s, which might hold a password.
func badEndpoint(s string) string {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return "not a URL"
	case u.User != nil:
		return "it holds a user name or password; use headers"
	case u.Scheme != "http" && u.Scheme != "https":
		return fmt.Sprintf("the scheme is %s, not http or https", quoted(u.Scheme))
	case u.Hostname() == "":
		return "it names no host"
	case u.RawQuery != "" || u.ForceQuery || strings.Contains(s, "#"):
		return "it has a query or fragment"
	}
	return ""
}

// isToken reports whether s is a token of RFC 9110, 5.6.2.
func isToken(s string) bool {
	const marks = "!#$%&'*+-.^_`|~"
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		isLetter := 'A' <= r && r <= 'Z' || 'a' <= r && r <= 'z'
		return !isLetter && (r < '0' || r > '9') && !strings.ContainsRune(marks, r)
	})
}
