// SPDX-License-Identifier: Apache-2.0

package mdm

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"howett.net/plist"
)

// Domains of managed preferences that carry requirements.
const (
	codexDomain   = "com.openai.codex"
	paddockDomain = "dev.paddock"
)

// Keys of such a domain. Each value is a string: standard base64 of TOML.
const (
	requirementsKey = "requirements_toml_base64"
	configKey       = "config_toml_base64" // managed_config.toml, in Codex's domain only
)

// maxPrefs bounds a property list, in bytes. A profile has some kilobytes; what
// is decoded from a list may be far larger than the list.
const maxPrefs = 1 << 20

// prefs is what a file of managed preferences says of requirements. Only typed
// values are decoded: into an untyped one, a few hundred bytes can unfold for ever.
type prefs struct {
	Requirements *encoded `plist:"requirements_toml_base64"`
	Config       *encoded `plist:"config_toml_base64"`
	// Manual is a mark of profiles that a person installed, whatever its value.
	Manual *present `plist:"_manualProfile"`
}

// encoded is a value as it stands in the list, and whether it is the string it
// has to be.
type encoded struct {
	text string
	bad  bool
}

// UnmarshalPlist implements plist.Unmarshaler. What is no string is not read.
func (e *encoded) UnmarshalPlist(unmarshal func(any) error) error {
	e.bad = unmarshal(&e.text) != nil
	return nil
}

// present says only that a key is there.
type present struct{}

// UnmarshalPlist implements plist.Unmarshaler.
func (*present) UnmarshalPlist(func(any) error) error { return nil }

// readPrefs reads a binary or XML property list. The library would also take an
// empty file, and what is no property list at all, for an empty one of a third
// kind: "no requirements" must not come of that.
func readPrefs(data []byte) (*prefs, error) {
	if len(data) > maxPrefs {
		return nil, fmt.Errorf("a property list of %d bytes: at most %d are read", len(data), maxPrefs)
	}
	var p prefs
	format, err := unmarshalPlist(data, &p)
	if err != nil {
		return nil, fmt.Errorf("reading a property list: %w", err)
	}
	if format != plist.BinaryFormat && format != plist.XMLFormat {
		return nil, errors.New("neither a binary nor an XML property list: restore the file, or let the MDM server install the profile again")
	}
	return &p, nil
}

// unmarshalPlist is plist.Unmarshal for lists of anybody's making.
func unmarshalPlist(data []byte, into any) (format int, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("damaged: %v", r)
		}
	}()
	return plist.Unmarshal(data, into)
}

// toml returns the TOML a key stands for; ok is false when the key is not there.
func (e *encoded) toml(key string) (data []byte, ok bool, err error) {
	if e == nil {
		return nil, false, nil
	}
	if e.bad {
		return nil, true, fmt.Errorf("%s must be a string: the base64 of TOML", key)
	}
	data, err = base64.StdEncoding.Strict().DecodeString(strings.TrimSpace(e.text))
	if err != nil {
		return nil, true, fmt.Errorf("%s is not standard base64: %w", key, err)
	}
	if strings.ContainsAny(strings.TrimSpace(e.text), "\r\n") {
		return nil, true, fmt.Errorf("%s is wrapped into lines: Codex reads only one (base64 -w0)", key)
	}
	return data, true, nil
}
