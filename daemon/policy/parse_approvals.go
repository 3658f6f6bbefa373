// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"slices"
	"strings"

	"github.com/seed-649e9bbc/paddock/daemon/policy/document"
)

// Bounds of paddock.approvals.timeout, in seconds. An agent gives a command up after
// minutes, and a process that is held holds its agent.
const (
	minTimeout = 5
	maxTimeout = 3600
)

func (f *file) approvals(key string, v *document.Value) (Approvals, error) {
	var out Approvals
	guard := true
	t, err := document.TableOf(key, v, keysOf(approvalsShape)...)
	if err != nil {
		return out, err
	}
	if v := t.Get("timeout"); v != nil {
		n := int64(-1)
		if v.Kind == document.KindInteger {
			n, err = v.Integer()
		}
		if err != nil || n < minTimeout || n > maxTimeout {
			return out, document.Fail(v, key+".timeout", "expected a number of seconds from %d to %d", minTimeout, maxTimeout)
		}
		out.Timeout = int(n)
	}
	for _, yes := range []struct {
		name      string
		into, set *bool
	}{
		{"root_may_answer", &out.RootMayAnswer, &out.RootSet},
		{"guard", &guard, &out.GuardSet},
	} {
		v := t.Get(yes.name)
		if v == nil {
			continue
		}
		if v.Kind != document.KindBool {
			return out, document.Fail(v, key+"."+yes.name, "expected true or false, found %s", v.Kind)
		}
		*yes.into, *yes.set = v.Text == "true", true
	}
	out.Unguarded = out.GuardSet && !guard
	for _, list := range []struct {
		name string
		of   []string
		into *[]string
		some bool // an empty list makes no sense
	}{
		{"scopes", approvalScopes, &out.Scopes, true},
		{"high_risk", RiskClasses(), &out.HighRisk, false},
		{"auto_review", reviewClasses, &out.AutoReview, false},
	} {
		v := t.Get(list.name)
		if v == nil {
			continue
		}
		if *list.into, err = someOf(key+"."+list.name, v, list.of); err != nil {
			return out, err
		}
		if list.some && len(*list.into) == 0 {
			return out, document.Fail(v, key+"."+list.name, "an empty list would let nobody allow anything: write \"forbidden\" rules instead")
		}
	}
	return out, nil
}

// someOf reads a list of some of the known words, and returns them in the order of
// those.
func someOf(key string, v *document.Value, known []string) ([]string, error) {
	given, err := document.StringsOf(key, v)
	if err != nil {
		return nil, err
	}
	for i, w := range given {
		if !slices.Contains(known, w) {
			return nil, document.Fail(v.Items[i], document.Element(key, i), "unknown word %q (one of %s)", w, strings.Join(known, ", "))
		}
	}
	return slices.DeleteFunc(slices.Clone(known), func(w string) bool { return !slices.Contains(given, w) }), nil
}
