// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/seed-649e9bbc/paddock/daemon/policy/document"
)

func telemetry(key string, v *document.Value) (TelemetrySink, error) {
	var sink TelemetrySink
	t, err := document.TableOf(key, v, keysOf(telemetryShape)...)
	if err != nil {
		return sink, err
	}
	endpoint, err := document.Required(t, v, key, "endpoint")
	if err != nil {
		return sink, err
	}
	if sink.Endpoint, err = document.StringOf(key+".endpoint", endpoint); err != nil {
		return sink, err
	}
	if why := badEndpoint(sink.Endpoint); why != "" {
		return sink, document.Fail(endpoint, key+".endpoint", `bad endpoint: %s (write the base URL of an OTLP/HTTP receiver, like "https://otel.example.com:4318")`, why)
	}
	headers := t.Get("headers")
	if headers == nil {
		return sink, nil
	}
	if headers.Kind != document.KindTable {
		return sink, document.Fail(headers, key+".headers", "expected a table of strings, found %s", headers.Kind)
	}
	sink.Headers = make(map[string]string, len(headers.Table.Keys))
	for i, name := range headers.Table.Keys {
		v := headers.Table.Vals[i]
		key := key + ".headers." + quoteWord(name)
		if v.Kind != document.KindString { // its value may be a secret: not shown
			return sink, document.Fail(v, key, "expected a string, found %s", v.Kind)
		}
		if !isToken(name) {
			return sink, document.Fail(v, key, "not a possible HTTP header name")
		}
		if strings.ContainsFunc(v.Text, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			return sink, document.Fail(v, key, "the value holds a control character, which an HTTP header cannot")
		}
		sink.Headers[name] = v.Text
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
		return fmt.Sprintf("the scheme is %s, not http or https", document.Quoted(u.Scheme))
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
