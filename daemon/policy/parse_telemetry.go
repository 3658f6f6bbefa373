// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"cmp"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/seed-649e9bbc/paddock/daemon/policy/document"
)

// Seconds between two heartbeats: at most, and if nothing is said.
const (
	maxHeartbeat     = 86400
	defaultHeartbeat = 300
)

// Heartbeat is after how many seconds an event says again that the machine lives.
func (r *Requirements) Heartbeat() int { return cmp.Or(r.Beat, defaultHeartbeat) }

// What is done with a kind of text, and with secrets.
const (
	contentRecord = "record"
	contentOmit   = "omit"
	secretsRedact = "redact"
	secretsKeep   = "keep"
)

// word is one of several.
type word string

func (w word) String() string { return string(w) }

// contents are the kinds of text that can be left out of events.
var contents = []string{"prompts", "outputs", "arguments", "commands", "environment"}

const (
	sinkOTLP   = "otlp"
	sinkNDJSON = "ndjson"
	sinkSplunk = "splunk_hec"
	sinkOCSF   = "ocsf"
)

var sinkTypes = []string{sinkOTLP, sinkNDJSON, sinkSplunk, sinkOCSF}

func telemetry(req *Requirements, key string, v *document.Value) error {
	t, err := document.TableOf(key, v, keysOf(telemetryShape)...)
	if err != nil {
		return err
	}
	if err := receiver(&req.Telemetry, t, v, key); err != nil {
		return err
	}
	if req.Telemetry.Endpoint == "" && !req.Telemetry.empty() {
		return document.Fail(v, key, `"endpoint" is missing`)
	}
	for _, name := range contents {
		if v := t.Get(name); v != nil {
			said, err := document.Enum[word](key+"."+name, v, "setting", contentRecord, contentOmit)
			if err != nil {
				return err
			}
			if req.Contents == nil {
				req.Contents = map[string]bool{}
			}
			req.Contents[name] = said == contentRecord
		}
	}
	if v := t.Get("heartbeat"); v != nil {
		n := int64(0)
		if v.Kind == document.KindInteger {
			n, err = v.Integer()
		}
		if err != nil || n < 1 || n > maxHeartbeat {
			return document.Fail(v, key+".heartbeat", "expected a number of seconds from 1 to %d", maxHeartbeat)
		}
		req.Beat = int(n)
	}
	if v := t.Get("secrets"); v != nil {
		secrets, err := document.Enum[word](key+".secrets", v, "setting", secretsRedact, secretsKeep)
		if err != nil {
			return err
		}
		req.Secrets = string(secrets)
	}
	if v := t.Get("sinks"); v != nil {
		req.Sinks, err = sinks(key+".sinks", v)
	}
	return err
}

// empty says that nothing is said of a receiver.
func (s *TelemetrySink) empty() bool {
	return s.Endpoint == "" && s.Headers == nil && s.HeadersFile == "" && s.CAFile == "" && s.CertFile == ""
}

// receiver reads what every receiver of events has.
func receiver(sink *TelemetrySink, t *document.Table, v *document.Value, key string) error {
	var err error
	if v := t.Get("endpoint"); v != nil {
		if sink.Endpoint, err = document.StringOf(key+".endpoint", v); err != nil {
			return err
		}
		if why := badEndpoint(sink.Endpoint); why != "" {
			return document.Fail(v, key+".endpoint", `bad endpoint: %s (write the base URL of a receiver, like "https://otel.example.com:4318")`, why)
		}
	}
	for name, to := range map[string]*string{
		"headers_file": &sink.HeadersFile, "ca_file": &sink.CAFile, "cert_file": &sink.CertFile, "key_file": &sink.KeyFile,
	} {
		if v := t.Get(name); v != nil {
			if *to, err = wholePath(key+"."+name, v); err != nil {
				return err
			}
		}
	}
	if (sink.CertFile == "") != (sink.KeyFile == "") {
		return document.Fail(v, key, `"cert_file" and "key_file" belong together: one is missing`)
	}
	sink.Headers, err = headers(key+".headers", t.Get("headers"))
	return err
}

func wholePath(key string, v *document.Value) (string, error) {
	p, err := document.StringOf(key, v)
	if err == nil && (!path.IsAbs(p) || path.Clean(p) != p) {
		err = document.Fail(v, key, "%s is no whole path, from / on and without dots", document.Quoted(p))
	}
	return p, err
}

// sinks reads further receivers.
func sinks(key string, v *document.Value) ([]TelemetrySink, error) {
	items, err := document.ArrayOf(key, v)
	if err != nil {
		return nil, err
	}
	out := make([]TelemetrySink, len(items))
	for i, item := range items {
		key := document.Element(key, i)
		if out[i], err = oneSink(key, item); err != nil {
			return nil, err
		}
		same := func(s TelemetrySink) bool { return s.Name == out[i].Name }
		if slices.ContainsFunc(out[:i], same) {
			return nil, document.Fail(item, key, "there is another sink called %s: a cursor belongs to one", document.Quoted(out[i].Name))
		}
	}
	return out, nil
}

func oneSink(key string, v *document.Value) (TelemetrySink, error) {
	var s TelemetrySink
	t, err := document.TableOf(key, v, keysOf(sinkShape)...)
	if err != nil {
		return s, err
	}
	name, err := document.Required(t, v, key, "name")
	if err != nil {
		return s, err
	}
	if s.Name, err = document.StringOf(key+".name", name); err != nil {
		return s, err
	}
	if !isSinkName(s.Name) || s.Name == sinkOTLP {
		return s, document.Fail(name, key+".name", "%s cannot be the name of a sink: write up to 32 lower-case letters, digits and dashes, and not %q, which is the receiver above", document.Quoted(s.Name), sinkOTLP)
	}
	kind, err := document.Required(t, v, key, "type")
	if err != nil {
		return s, err
	}
	chosen, err := document.Enum[word](key+".type", kind, "type of sink", sinkOTLP, sinkNDJSON, sinkSplunk, sinkOCSF)
	if err != nil {
		return s, err
	}
	s.Type = string(chosen)
	if err := receiver(&s, t, v, key); err != nil {
		return s, err
	}
	if file := t.Get("file"); file != nil {
		if s.Type == sinkOTLP || s.Type == sinkSplunk {
			return s, document.Fail(file, key+".file", "a sink of type %q has an endpoint and no file", s.Type)
		}
		if file.Kind == document.KindString && file.Text == "stdout" {
			s.File = file.Text
		} else if s.File, err = wholePath(key+".file", file); err != nil {
			return s, err
		}
	}
	if (s.Endpoint == "") == (s.File == "") {
		return s, document.Fail(v, key, `write either "endpoint" or "file"`)
	}
	return s, nil
}

func isSinkName(s string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789-"
	return s != "" && len(s) <= 32 && strings.Trim(s, letters) == ""
}

func headers(key string, headers *document.Value) (map[string]string, error) {
	if headers == nil {
		return nil, nil
	}
	if headers.Kind != document.KindTable {
		return nil, document.Fail(headers, key, "expected a table of strings, found %s", headers.Kind)
	}
	out := make(map[string]string, len(headers.Table.Keys))
	for i, name := range headers.Table.Keys {
		v := headers.Table.Vals[i]
		key := key + "." + quoteWord(name)
		if v.Kind != document.KindString { // its value may be a secret: not shown
			return nil, document.Fail(v, key, "expected a string, found %s", v.Kind)
		}
		if !isToken(name) {
			return nil, document.Fail(v, key, "not a possible HTTP header name")
		}
		if strings.ContainsFunc(v.Text, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			return nil, document.Fail(v, key, "the value holds a control character, which an HTTP header cannot")
		}
		out[name] = v.Text
	}
	return out, nil
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
