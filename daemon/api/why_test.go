// SPDX-License-Identifier: Apache-2.0

package api

import (
	"strings"
	"testing"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry/join"
)

func TestExplainIsCheckedBeforeItIsAsked(t *testing.T) {
	path, _ := serve(t, newFake(), nil)
	c := NewClient(path)
	_, err := c.Explain(t.Context())
	wantError(t, err, 400)
	_, err = c.Explain(t.Context(), make([]join.Subject, maxSubjects+1)...)
	wantError(t, err, 400)
	for _, s := range []join.Subject{
		{Kind: "colour", Value: "red"},
		{Kind: join.KindPID, Value: "-4"},
		{Kind: join.KindFile, Value: "etc/passwd"},
		{Kind: join.KindCommand, Value: strings.Repeat("x", 100_000)},
	} {
		_, err := c.Explain(t.Context(), s)
		wantError(t, err, 400)
	}
	_, err = c.Explain(t.Context(), join.Subject{Kind: join.KindPID, Value: "404"})
	wantError(t, err, 404)
	_, err = c.Account(t.Context(), sessionRoot, join.Page{Limit: join.MaxShown + 1})
	wantError(t, err, 400)
	_, err = c.Account(t.Context(), "../status", join.Page{})
	wantError(t, err, 404)
}
