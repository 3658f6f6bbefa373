// SPDX-License-Identifier: Apache-2.0

package mdm

import (
	"testing"

	"howett.net/plist"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
)

const (
	fromMDM      = `{"SPConfigurationProfileDataType":[{"_items":[{"_name":"Codex","spconfigprofile_profile_identifier":"example.codex","spconfigprofile_install_source":"MDM","spconfigprofile_verification_state":"verified"}]}]}`
	byHand       = `{"SPConfigurationProfileDataType":[{"_items":[{"spconfigprofile_profile_identifier":"example.codex","spconfigprofile_install_source":"Manual","spconfigprofile_verification_state":"verified"}]}]}`
	both         = `{"SPConfigurationProfileDataType":[{"_items":[{"spconfigprofile_profile_identifier":"example.codex","spconfigprofile_install_source":"MDM","spconfigprofile_verification_state":"verified"},{"spconfigprofile_profile_identifier":"example.codex","spconfigprofile_install_source":"Manual","spconfigprofile_verification_state":"unsigned"}]}]}`
	enrolledText = "Enrolled via DEP: No\nMDM enrollment: Yes (User Approved)\nMDM server: https://mdm.example/\n"
)

// profiles is what `profiles -C -o stdout-xml` prints of one profile.
func profiles(t *testing.T, section, payloadType string, content any) []byte {
	return list(t, plist.XMLFormat, map[string]any{
		section: []any{map[string]any{
			"ProfileIdentifier": "example.codex", "ProfileVerificationState": "verified", "ProfileRemovalDisallowed": "true",
			"ProfileItems": []any{
				map[string]any{"PayloadType": "com.apple.TCC.configuration-profile-policy", "PayloadContent": map[string]any{
					"Services": map[string]any{"SystemPolicyAllFiles": []any{map[string]any{"Allowed": true}}},
				}},
				map[string]any{"PayloadType": payloadType, "PayloadContent": content},
			},
		}},
	})
}

func TestProvenance(t *testing.T) {
	said := map[string]any{requirementsKey: base64Of(observing)}
	other := map[string]any{requirementsKey: base64Of("")}
	forced := func(v any) any {
		return map[string]any{codexDomain: map[string]any{"Forced": []any{map[string]any{"mcx_preference_settings": v}}}}
	}
	own := profiles(t, computer, codexDomain, said)
	for name, test := range map[string]struct {
		file     map[string]any
		user     string
		evidence Evidence
		want     policy.Provenance
	}{
		"verified":                  {said, "", Evidence{own, []byte(fromMDM), []byte(enrolledText)}, policy.MDMVerified},
		"verified, several domains": {said, "", Evidence{profiles(t, computer, "com.apple.ManagedClient.preferences", forced(said)), []byte(fromMDM), []byte(enrolledText)}, policy.MDMVerified},
		"verified, nested":          {said, "", Evidence{profiles(t, computer, "com.apple.ManagedClient.preferences", map[string]any{"PayloadContentManagedPreferences": forced(said)}), []byte(fromMDM), []byte(enrolledText)}, policy.MDMVerified},
		"verified, of a user":       {said, "ann", Evidence{profiles(t, "ann", codexDomain, said), []byte(fromMDM), []byte(enrolledText)}, policy.MDMVerified},
		"of another user":           {said, "bob", Evidence{profiles(t, "ann", codexDomain, said), []byte(fromMDM), []byte(enrolledText)}, policy.FileOnly},
		"by hand":                   {said, "", Evidence{own, []byte(byHand), []byte(enrolledText)}, policy.Manual},
		"two of one identifier":     {said, "", Evidence{own, []byte(both), []byte(enrolledText)}, policy.Manual},
		"marked as by hand":         {map[string]any{requirementsKey: base64Of(observing), "_manualProfile": true}, "", Evidence{own, []byte(fromMDM), []byte(enrolledText)}, policy.Manual},
		"not enrolled":              {said, "", Evidence{own, []byte(fromMDM), []byte("MDM enrollment: No\n")}, policy.Manual},
		"enrolment unknown":         {said, "", Evidence{own, []byte(fromMDM), nil}, policy.Manual},
		"source unknown":            {said, "", Evidence{own, nil, []byte(enrolledText)}, policy.Manual},
		"profile says otherwise":    {other, "", Evidence{own, []byte(fromMDM), []byte(enrolledText)}, policy.FileOnly},
		"profile of another domain": {said, "", Evidence{profiles(t, computer, paddockDomain, said), []byte(fromMDM), []byte(enrolledText)}, policy.FileOnly},
		"more than the profile": {
			map[string]any{requirementsKey: base64Of(observing), configKey: base64Of("")},
			"",
			Evidence{own, []byte(fromMDM), []byte(enrolledText)},
			policy.FileOnly,
		},
		"nothing known":   {said, "", Evidence{}, policy.FileOnly},
		"profiles broken": {said, "", Evidence{own[:200], []byte(fromMDM), []byte(enrolledText)}, policy.FileOnly},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := readPrefs(list(t, plist.BinaryFormat, test.file))
			if err != nil {
				t.Fatal(err)
			}
			if got := test.evidence.provenance(p, codexDomain, test.user); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}
