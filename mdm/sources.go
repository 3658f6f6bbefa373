// SPDX-License-Identifier: Apache-2.0

package mdm

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/policy/codex"
)

// source is one place where requirements may be.
type source struct {
	name string // what people call it, and what errors, events and rules name
	path string // where the file is, under the root of the loader
	keep string // the file name of its last-known-good, which must never change
	kind codex.Kind
	dir  string // where path begins, if not at the root of the loader

	// Of managed preferences: the domain, the key in it, and the user for whom they
	// are, empty for all. The file is then a property list.
	domain, key, user string

	broken error // why the source cannot even be looked for
}

// sources lists them from low to high, in Codex's order (0.169.0), with Paddock's
// own of each kind after Codex's. state is the directory of the kept bundle.
func sources(root, state string) []source {
	list := []source{
		{name: "/etc/codex/requirements.toml", path: etc + "/codex/requirements.toml", keep: "system-codex.toml"},
		{name: "/etc/paddock/requirements.toml", path: etc + "/paddock/requirements.toml", keep: "system-paddock.toml"},
		{name: bundleName, path: "/" + bundleFile, dir: state, keep: "cloud.json", kind: codex.Cloud},
		{name: "/etc/codex/managed_config.toml", path: etc + "/codex/managed_config.toml", keep: "legacy-codex.toml", kind: codex.Legacy},
	}
	list = append(list, preferences(root, configKey, codexDomain)...)
	return append(list, preferences(root, requirementsKey, codexDomain, paddockDomain)...)
}

func (l *Loader) sources() []source { return sources(l.root, l.kept.dir) }

// managed is where macOS puts what device management forces, in a file for each
// domain, and below it in a directory for each user.
const managed = "/Library/Managed Preferences"

// preferences are the places of a key of managed preferences: those of the machine,
// and after them, since they count more, those of its users. What is forced on one
// user holds for all of them: the machine is the stricter for it, never milder.
func preferences(root, key string, domains ...string) []source {
	if !darwin && !treeOfMac(root) {
		return nil
	}
	users := []string{""}
	entries, err := os.ReadDir(under(root, managed))
	for _, e := range entries {
		if e.IsDir() {
			users = append(users, e.Name())
		}
	}
	var list []source
	for _, user := range users {
		for _, domain := range domains {
			s := source{
				name: "MDM " + domain + ":" + key, path: path.Join(managed, user, domain+".plist"), keep: "mdm-" + domain + ".toml",
				kind: codex.MDM, domain: domain, key: key, user: user,
			}
			if key == configKey {
				s.kind = codex.Legacy
				s.keep += "-config"
			}
			if user != "" {
				s.name += " of " + user
				s.keep += "-" + url.PathEscape(user)
			}
			list = append(list, s)
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) && key == requirementsKey {
		list = append(list, source{name: managed, path: managed, keep: "mdm-users.toml", kind: codex.MDM, broken: err})
	}
	return list
}

// treeOfMac says whether root is the copy of a Mac's file system: that may be looked
// at anywhere, but no other system has managed preferences of its own.
func treeOfMac(root string) bool {
	if under(root, "") == "/" {
		return false
	}
	_, err := os.Lstat(under(root, path.Dir(managed)))
	return err == nil
}

// file is where the source is.
func (s source) file(root string) string {
	if s.dir != "" {
		root = s.dir
	}
	return under(root, s.path)
}

// documents are the layers that data, which the source said, is made of, from low to
// high; with a time, if it counts then.
func (s source) documents(data []byte, at time.Time) ([]codex.Layer, error) {
	if s.kind != codex.Cloud {
		return []codex.Layer{{Name: s.name, Kind: s.kind, Data: data}}, nil
	}
	b, err := readBundle(data)
	if err != nil {
		return nil, err
	}
	if !at.IsZero() && !at.Before(b.Expires) {
		return nil, fmt.Errorf("it counted until %s, and no newer one was kept", b.Expires.Format(time.RFC3339))
	}
	return b.layers(), nil
}

// read returns the TOML of a source, and of managed preferences all that is in the
// file. It is fs.ErrNotExist that the source says nothing.
func (s source) read(root string) ([]byte, *prefs, error) {
	if s.broken != nil {
		return nil, nil, s.broken
	}
	if s.dir != "" {
		root = s.dir
	}
	data, err := ReadLocked(root, s.path)
	if err != nil || s.key == "" {
		return data, nil, err
	}
	p, err := readPrefs(data)
	if err != nil {
		return nil, nil, err
	}
	value := p.Requirements
	if s.key == configKey {
		value = p.Config
	}
	toml, ok, err := value.toml(s.key)
	switch {
	case err != nil:
		return nil, nil, badValue{err}
	case !ok:
		return nil, nil, fs.ErrNotExist
	}
	return toml, p, nil
}

// badValue says that it is the value of a key that cannot be used, and not the file.
type badValue struct{ error }

// toldElsewhere says that an error is not of the source but of the place it shares
// with requirements, which are not in force because of it either.
func (s source) toldElsewhere(root string, err error) bool {
	if s.kind != codex.Legacy {
		return false
	}
	if s.domain != "" {
		var own badValue
		return !errors.As(err, &own)
	}
	_, err = os.Lstat(s.file(root))
	return errors.Is(err, fs.ErrNotExist)
}
