// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"

	"github.com/seed-649e9bbc/paddock/daemon/whole"
)

// Content is a kind of text that a policy may keep out of the store as a whole.
type Content string

// Kinds of text. contents says which attributes hold them.
const (
	Prompts     Content = "prompts"     // what people ask
	Outputs     Content = "outputs"     // what tools and models answer
	Arguments   Content = "arguments"   // what tools are called with
	Commands    Content = "commands"    // arguments of programs; the program's own name stays
	Environment Content = "environment" // values of environment variables
)

// Redaction says what must not reach the disk. The zero value redacts secrets
// and omits nothing.
type Redaction struct {
	Omit        []Content
	KeepSecrets bool // do not look for secrets
}

// redactor makes attributes fit for the disk. Nothing passes a Store but
// through one.
//
// A secret is replaced by a marker that is the same for the same secret on this
// machine, so that it can be followed from one event to the next. It holds 16
// bits of a keyed hash: not enough to find the secret by trying, even for who has
// the key.
type redactor struct {
	key    []byte
	policy atomic.Pointer[Redaction]
	count  atomic.Uint64 // values in which something was replaced

	// What was found to hold no secret: events repeat themselves.
	seed  maphash.Seed
	known [1 << 12]atomic.Pointer[string]
}

// knownLimit is how long a text may be to be remembered, in bytes.
const knownLimit = 256

func newRedactor(key []byte) *redactor {
	r := &redactor{key: key, seed: maphash.MakeSeed()}
	r.policy.Store(&Redaction{})
	return r
}

// Redact changes what is kept out of the store, from the next event on.
func (s *Store) Redact(r Redaction) {
	r.Omit = slices.Clone(r.Omit)
	s.redactor.policy.Store(&r)
}

// attribute returns the value to keep, and whether it is another. It does not
// change what it is given.
func (r *redactor) attribute(how treatment, value any) (any, bool) {
	switch value.(type) {
	case int64, bool, float64, int, uint32:
		return value, false // no text that a policy or a shape could be about
	}
	policy := r.policy.Load()
	if how.content != "" && slices.Contains(policy.Omit, how.content) {
		return r.omit(how.content, value)
	}
	if policy.KeepSecrets || how.opaque {
		return value, false
	}
	switch v := value.(type) {
	case string:
		if clean, changed := r.text(v); changed {
			return clean, true
		}
		return value, false
	case []string:
		if clean, changed := r.list(v); changed {
			return clean, true
		}
		return value, false
	}
	// Another type becomes text later on.
	if v, same := normal(value); !same {
		return r.text(v.(string))
	}
	return value, false
}

// omit replaces the whole of a value. Of a command, the program's name stays.
func (r *redactor) omit(c Content, value any) (any, bool) {
	switch v := value.(type) {
	case string:
		if v == "" {
			return v, false
		}
		return r.marker(string(c), v), true
	case []string:
		out := slices.Clone(v)
		for i := range out {
			if i > 0 || c != Commands {
				out[i] = r.marker(string(c), v[i])
			}
		}
		return out, len(v) > 1 || len(v) == 1 && c != Commands
	}
	text, _ := normal(value)
	return r.marker(string(c), fmt.Sprint(text)), true
}

// marker stands for a secret, in which kind says what shape it had.
func (r *redactor) marker(kind, secret string) string {
	mac := hmac.New(sha256.New, r.key)
	mac.Write([]byte(secret)) // never fails
	return "[redacted:" + kind + ":" + hex.EncodeToString(mac.Sum(nil)[:2]) + "]"
}

// text redacts one text.
func (r *redactor) text(s string) (string, bool) {
	// What is beyond is cut off in the end; twice as much is enough to see what a secret at the cut is.
	s, _ = truncate(s, 2*MaxAttribute)
	if len(s) < shortestSecret || r.isKnown(s) {
		return s, false
	}
	spans := findSecrets(s)
	if len(spans) == 0 {
		r.remember(s)
		return s, false
	}
	return r.replace(s, spans), true
}

func (r *redactor) replace(s string, spans []span) string {
	var out []byte
	at := 0
	for _, f := range spans {
		out = append(out, s[at:f.from]...)
		out = append(out, r.marker(f.kind, s[f.from:f.to])...)
		at = f.to
	}
	return string(append(out, s[at:]...))
}

// list redacts arguments, of which one may say what the next one is.
func (r *redactor) list(in []string) ([]string, bool) {
	var out []string
	set := func(i int, s string) {
		if out == nil {
			out = slices.Clone(in)
		}
		out[i] = s
	}
	program := ""
	if len(in) > 0 {
		program = filepath.Base(in[0])
	}
	for i, s := range in {
		if i > 0 {
			if kind, from, found := saidBefore(program, in[i-1], s); found {
				set(i, s[:from]+r.marker(kind, s[from:]))
				continue
			}
		}
		if clean, changed := r.text(s); changed {
			set(i, clean)
		}
	}
	if out == nil {
		return in, false
	}
	return out, true
}

func (r *redactor) isKnown(s string) bool {
	if len(s) > knownLimit {
		return false
	}
	p := r.known[maphash.String(r.seed, s)%uint64(len(r.known))].Load()
	return p != nil && *p == s
}

func (r *redactor) remember(s string) {
	if len(s) <= knownLimit {
		r.known[maphash.String(r.seed, s)%uint64(len(r.known))].Store(&s)
	}
}

// redactionKey reads the key of the markers, and makes it when there is none.
func redactionKey(dir string) ([]byte, error) {
	path := filepath.Join(dir, "redaction.key")
	key, err := os.ReadFile(path)
	if err == nil && len(key) == sha256.Size {
		return key, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading the key of redacted values: %w", err)
	}
	key = make([]byte, sha256.Size)
	if _, err := rand.Read(key); err != nil {
		return nil, err
	}
	// Half a key would be another one at the next start.
	if err := whole.Write(path, key, whole.Power); err != nil {
		return nil, fmt.Errorf("the key of redacted values: %w", err)
	}
	return key, nil
}
