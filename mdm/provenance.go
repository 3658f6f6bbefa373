// SPDX-License-Identifier: Apache-2.0

package mdm

import (
	"bufio"
	"bytes"
	"encoding/json"
	"strings"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
)

// Evidence is what macOS prints about its profiles. What could not be had is empty.
type Evidence struct {
	Profiles       []byte // of `profiles -C -o stdout-xml`, as root
	SystemProfiler []byte // of `system_profiler -json SPConfigurationProfileDataType`
	Enrollment     []byte // of `profiles status -type enrollment`
}

// installed is one profile of `profiles -C`.
type installed struct {
	Identifier string    `plist:"ProfileIdentifier"`
	Items      []payload `plist:"ProfileItems"`
}

type payload struct {
	Type    string   `plist:"PayloadType"`
	Content *content `plist:"PayloadContent"`
}

// content is a payload's: the preferences of a domain themselves (its type is the
// domain), or those of several domains.
type content struct {
	own     prefs
	domains map[string]domain
}

type domain struct {
	Forced []struct {
		Settings prefs `plist:"mcx_preference_settings"`
	} `plist:"Forced"`
}

// UnmarshalPlist implements plist.Unmarshaler. A payload of another kind, of
// which anything may be true, counts as empty.
func (c *content) UnmarshalPlist(unmarshal func(any) error) error {
	if unmarshal(&c.own) != nil {
		c.own = prefs{}
	}
	var managed struct {
		Domains map[string]domain `plist:"PayloadContentManagedPreferences"`
	}
	if unmarshal(&managed) == nil && managed.Domains != nil {
		c.domains = managed.Domains
		return nil
	}
	if unmarshal(&c.domains) != nil {
		c.domains = nil
	}
	return nil
}

// preferences are what the payload forces on a domain.
func (p *payload) preferences(of string) []prefs {
	if p.Content == nil {
		return nil
	}
	if p.Type == of {
		return []prefs{p.Content.own}
	}
	var out []prefs
	if p.Type == "com.apple.ManagedClient.preferences" {
		for _, f := range p.Content.domains[of].Forced {
			out = append(out, f.Settings)
		}
	}
	return out
}

// computer is the section of `profiles -C` for the whole machine; the others are
// named after users.
const computer = "_computerlevel"

// provenance says where a file of managed preferences came from. user is empty
// for those of the machine.
func (e Evidence) provenance(p *prefs, of, user string) policy.Provenance {
	section := computer
	if user != "" {
		section = user
	}
	var all map[string][]installed
	if len(e.Profiles) == 0 {
		return policy.FileOnly
	}
	if _, err := unmarshalPlist(e.Profiles, &all); err != nil {
		return policy.FileOnly
	}
	best := policy.FileOnly
	for _, profile := range all[section] {
		for _, item := range profile.Items {
			for _, forced := range item.preferences(of) {
				if !sameText(forced.Requirements, p.Requirements) || !sameText(forced.Config, p.Config) {
					continue
				}
				if p.Manual == nil && e.fromServer(profile.Identifier) && e.enrolled() {
					return policy.MDMVerified
				}
				best = policy.Manual
			}
		}
	}
	return best
}

func sameText(a, b *encoded) bool {
	if a == nil || b == nil {
		return a == b
	}
	return !a.bad && !b.bad && a.text == b.text
}

// fromServer says whether the one profile of that identifier was installed by a
// server.
func (e Evidence) fromServer(identifier string) bool {
	var report struct {
		Sections []struct {
			Items []profilerItem `json:"_items"`
		} `json:"SPConfigurationProfileDataType"`
	}
	if json.Unmarshal(e.SystemProfiler, &report) != nil {
		return false
	}
	found := false
	for _, s := range report.Sections {
		for _, i := range s.Items {
			if i.Identifier != identifier {
				continue
			}
			if i.Source != "MDM" || i.State != "verified" {
				return false // two of one name: the doubtful one may be ours
			}
			found = true
		}
	}
	return found
}

type profilerItem struct {
	Identifier string `json:"spconfigprofile_profile_identifier"`
	Source     string `json:"spconfigprofile_install_source"`
	State      string `json:"spconfigprofile_verification_state"`
}

// enrolled reads the line "MDM enrollment: Yes (User Approved)", wherever it is.
func (e Evidence) enrolled() bool {
	lines := bufio.NewScanner(bytes.NewReader(e.Enrollment))
	for lines.Scan() {
		if v, ok := strings.CutPrefix(strings.TrimSpace(lines.Text()), "MDM enrollment:"); ok {
			v = strings.TrimSpace(v)
			return v == "Yes" || strings.HasPrefix(v, "Yes ")
		}
	}
	return false
}
