// SPDX-License-Identifier: Apache-2.0

package mdm

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/seed-649e9bbc/paddock/daemon/policy/codex"
)

// A bundle is what a configuration server requires of whoever is logged in: of
// ChatGPT's, or of the one that requirements name with config_server. The last one is
// kept in the format of Codex's own cache (0.169.0), in a directory that only root can
// write to.
//
// Codex's caches are no source: they lie in the homes of users, and the key they are
// signed with is in every copy of Codex, so whoever can write one can sign one. For
// the same reason the signature here proves nothing but that the file is whole; that
// it is root's is what the lock check proves.

// bundleFile is the name of the kept bundle, in the directory of the loader's state.
const bundleFile = "cloud-config-bundle.json"

// bundleName names the source in incidents; its layers have names of their own.
const bundleName = "cloud requirements"

// bundleKey is Codex's, and no secret.
const bundleKey = "codex-cloud-config-bundle-cache-v1-6160ae70-bcfd-4ca8-a99b-40f73b3b072e"

// maxFragments is how many documents a bundle may have.
const maxFragments = 1000

// Fragment is one document of a bundle.
type Fragment struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Contents string `json:"contents"`
}

// Bundle is a kept bundle.
type Bundle struct {
	// User and Account are whom the server answered; of a server without a login,
	// "anonymous" and a digest of where it is.
	User, Account string
	// Fetched and Expires are when the server answered, and until when that counts.
	Fetched, Expires time.Time
	// Requirements are the documents, the one that counts most first.
	Requirements []Fragment
}

type signedBundle struct {
	Payload   json.RawMessage `json:"signed_payload"`
	Signature string          `json:"signature"`
}

type bundlePayload struct {
	Version int             `json:"version"`
	Fetched time.Time       `json:"cached_at"`
	Expires time.Time       `json:"expires_at"`
	User    string          `json:"chatgpt_user_id"`
	Account string          `json:"account_id"`
	Bundle  json.RawMessage `json:"bundle"`
}

// answer is what a server says. What it says of config.toml is Codex's alone.
type answer struct {
	Requirements struct {
		Managed []Fragment `json:"enterprise_managed"`
	} `json:"requirements_toml"`
}

// readBundle reads a kept bundle, in force or not any more.
func readBundle(data []byte) (*Bundle, error) {
	var signed signedBundle
	if err := json.Unmarshal(data, &signed); err != nil {
		return nil, fmt.Errorf("a bundle that is no JSON: %w", err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, signed.Payload); err != nil {
		return nil, fmt.Errorf("a bundle without a payload: %w", err)
	}
	if !hmac.Equal([]byte(sign(compact.Bytes())), []byte(signed.Signature)) {
		return nil, errors.New("a bundle that is damaged: its signature is that of another one")
	}
	var p bundlePayload
	if err := json.Unmarshal(signed.Payload, &p); err != nil {
		return nil, fmt.Errorf("a bundle of an unknown form: %w", err)
	}
	if p.Version != 1 {
		return nil, fmt.Errorf("a bundle of version %d, and only version 1 is known", p.Version)
	}
	fragments, err := readAnswer(p.Bundle)
	if err != nil {
		return nil, err
	}
	return &Bundle{p.User, p.Account, p.Fetched, p.Expires, fragments}, nil
}

func readAnswer(data []byte) ([]Fragment, error) {
	if trimmed := bytes.TrimSpace(data); len(trimmed) == 0 || trimmed[0] != '{' {
		return nil, errors.New("the answer of a configuration server must be a JSON object")
	}
	var a answer
	if err := json.Unmarshal(data, &a); err != nil {
		return nil, fmt.Errorf("the answer of a configuration server: %w", err)
	}
	if n := len(a.Requirements.Managed); n > maxFragments {
		return nil, fmt.Errorf("the answer of a configuration server has %d documents, and at most %d are read", n, maxFragments)
	}
	return a.Requirements.Managed, nil
}

func sign(payload []byte) string {
	mac := hmac.New(sha256.New, []byte(bundleKey))
	mac.Write(payload)
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// layers are the documents of a bundle from low to high.
func (b *Bundle) layers() []codex.Layer {
	var out []codex.Layer
	for _, f := range slices.Backward(b.Requirements) {
		// As Codex calls it. What the server says may hold anything.
		name := fmt.Sprintf("enterprise-managed requirements %s (%s)", f.Name, f.ID)
		if strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
			name = fmt.Sprintf("enterprise-managed requirements %q (%q)", f.Name, f.ID)
		}
		out = append(out, codex.Layer{Name: name, Kind: codex.Cloud, Data: []byte(f.Contents)})
	}
	return out
}
