// SPDX-License-Identifier: Apache-2.0

// Package conformance compares Paddock with what the real Codex answered.
package conformance

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
	"github.com/seed-649e9bbc/paddock/daemon/policy/codex"
)

// requirementsVector is what `codex app-server --print-startup-config` of codex-cli
// 0.169.0 answered to files in /etc/codex, on a machine called vm with the home
// directory /home/dev and nothing else configured.
type requirementsVector struct {
	Name string
	// Req and Managed are requirements.toml and managed_config.toml; nil: no file.
	Req, Managed *string
	// Cloud are the fragments of a bundle, the first one being the highest. They are
	// called n0, n1 and so on, and came from a config_server.
	Cloud []string
	// Error is why it did not start.
	Error string
	// Requirements are those it showed, without those that are null.
	Requirements map[string]any
}

// elsewhere are vectors whose answer depends on more than the files: on what is on
// the disk, on the network, or on keys of config.toml that are no requirements.
var elsewhere = map[string]string{
	"config_server_https":                      "no server answers",
	"cs_12_base_url_https_127.0.0.1_1_oauth_a": "the user is not logged in there",
	"s_model_catalog_json":                     "there is no such file",
	"l_badother":                               "the model of config.toml",
	"caps":                                     "an enumeration that is not known",
	"ld15_a_u0000b":                            "a path no file can have",
	"mpa":                                      "the directory Codex was started in",
}

func requirementsVectors(t *testing.T, file string, atLeast int) []requirementsVector {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all []requirementsVector
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	if len(all) < atLeast {
		t.Fatalf("only %d vectors", len(all))
	}
	return all
}

// effective reads the files of a vector as mdm does, and combines them.
func (v *requirementsVector) effective() (*codex.Effective, error) {
	subject := policy.Subject{Host: "vm", Home: "/home/dev"}
	var files []codex.Layer
	if v.Managed != nil {
		files = append(files, codex.Layer{Name: "/etc/codex/managed_config.toml", Kind: codex.Legacy, Data: []byte(*v.Managed)})
	}
	if v.Req != nil {
		files = append(files, codex.Layer{Name: "/etc/codex/requirements.toml", Kind: codex.System, Data: []byte(*v.Req)})
	}
	for i, text := range slices.Backward(v.Cloud) {
		name := fmt.Sprintf("enterprise-managed requirements n%d (id%d)", i, i)
		files = append(files, codex.Layer{Name: name, Kind: codex.Cloud, Data: []byte(text), Dir: "/home/dev/.codex"})
	}
	var layers []*policy.Requirements
	for _, l := range files {
		parsed, err := policy.ParseLayer(l, subject)
		if err != nil {
			return nil, err
		}
		layers = append(layers, parsed)
	}
	merged := policy.Merge(layers...)
	return merged.Codex, merged.CodexError
}

func TestRequirements(t *testing.T) {
	skipped := 0
	for _, v := range requirementsVectors(t, "requirements.json", 700) {
		if elsewhere[v.Name] != "" {
			skipped++
			continue
		}
		t.Run(v.Name, v.test)
	}
	if skipped != len(elsewhere) {
		t.Errorf("%d vectors left out, want %d: their names have changed", skipped, len(elsewhere))
	}
}

// Answers to what was put together at random after all the rest had passed: values
// where others belong, tables written as lists, several layers.
func TestRequirementsUnseen(t *testing.T) {
	for _, file := range []string{"requirements_unseen.json", "requirements_unseen_layers.json"} {
		for _, v := range requirementsVectors(t, file, 60) {
			t.Run(v.Name, v.test)
		}
	}
}

// How layers combine, by a real config_server.
func TestRequirementsLayers(t *testing.T) {
	for _, v := range requirementsVectors(t, "requirements_layers.json", 39) {
		t.Run(v.Name, v.test)
	}
}

// stricter are vectors that Codex accepts and Paddock refuses, on purpose.
var stricter = map[string]string{
	"rules2": "an empty list of rules is refused in each layer, not only if all are empty: probably a name is misspelt",
}

func (v *requirementsVector) test(t *testing.T) {
	e, err := v.effective()
	if stricter[v.Name] != "" {
		if err == nil {
			t.Errorf("accepted, although %s", stricter[v.Name])
		}
		return
	}
	if err != nil || v.Error != "" {
		sameCause(t, err, v.Error)
		return
	}
	data, err := json.Marshal(e.JSON())
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	maps.DeleteFunc(got, func(_ string, v any) bool { return v == nil })
	if diff := cmp.Diff(v.Requirements, got); diff != "" {
		t.Errorf("(-Codex +ours):\n%s", diff)
	}
}

// sameCause fails unless Codex's error and ours have one cause: what we know that it
// says is what it says, to the letter. Of a syntax error only that it is one can be
// compared, and the line.
func sameCause(t *testing.T, err error, said string) {
	t.Helper()
	var ours *codex.Error
	switch {
	case said == "":
		t.Fatalf("refused, but not by Codex: %v", err)
	case err == nil:
		t.Fatalf("accepted; Codex says: %s", said)
	case !errors.As(err, &ours):
		t.Fatalf("%T: %v", err, err)
	case strings.Contains(err.Error(), "not valid TOML"):
		_, text, ok := strings.Cut(said, "TOML parse error at line ")
		if !ok {
			_, text, ok = strings.Cut(said, "/etc/codex/managed_config.toml:")
		}
		if line, _, _ := strings.Cut(strings.ReplaceAll(text, ":", ","), ","); !ok || line != "1" && line != "2" || ours.Line < 1 || ours.Line > 2 {
			t.Errorf("%v; Codex says: %s", err, said)
		}
	case ours.Codex != said:
		t.Errorf("%v\nours %q\nCodex %q", err, ours.Codex, said)
	case ours.Problem == "" || ours.Source == "":
		t.Errorf("an error without words of its own: %+v", ours)
	}
}
