// SPDX-License-Identifier: Apache-2.0

package session

import (
	"fmt"
	"regexp"
	"strings"
)

// versionMark stands for a version in a path pattern, which is kept.
const versionMark = "{version}"

// versionField is what {version} stands for in a path pattern.
const versionField = `(?P<version>[0-9][0-9A-Za-z.+_-]*?)`

// glob matches a whole path: * within one name, ** over any number of names,
// {version} a version, which is kept. It runs in linear time on any input.
type glob struct{ re *regexp.Regexp }

func compileGlob(pattern string) (glob, error) {
	if !strings.HasPrefix(pattern, "/") && !strings.HasPrefix(pattern, "**/") {
		return glob{}, fmt.Errorf("path %q: must begin with / or **/", pattern)
	}
	if strings.Count(pattern, "{version}") > 1 {
		return glob{}, fmt.Errorf("path %q: {version} more than once", pattern)
	}
	var re strings.Builder
	re.WriteString(`(?s)\A`)
	for rest := pattern; rest != ""; {
		switch {
		case strings.HasPrefix(rest, "**/"):
			re.WriteString(`(?:.*/)?`)
			rest = rest[3:]
		case strings.HasPrefix(rest, "**"):
			re.WriteString(`.*`)
			rest = rest[2:]
		case rest[0] == '*':
			re.WriteString(`[^/]*`)
			rest = rest[1:]
		case strings.HasPrefix(rest, "{version}"):
			re.WriteString(versionField)
			rest = rest[len("{version}"):]
		default:
			end := strings.IndexAny(rest[1:], "*{") + 1
			if end == 0 {
				end = len(rest)
			}
			re.WriteString(regexp.QuoteMeta(rest[:end]))
			rest = rest[end:]
		}
	}
	re.WriteString(`\z`)
	compiled, err := regexp.Compile(re.String())
	if err != nil {
		return glob{}, fmt.Errorf("path %q: %w", pattern, err)
	}
	return glob{compiled}, nil
}

func compileGlobs(patterns []string) ([]glob, error) {
	var globs []glob
	for _, pattern := range patterns {
		g, err := compileGlob(pattern)
		if err != nil {
			return nil, err
		}
		globs = append(globs, g)
	}
	return globs, nil
}

// match reports whether path matches, and the version in it.
func (g glob) match(path string) (version string, ok bool) {
	found := g.re.FindStringSubmatch(path)
	if found == nil {
		return "", false
	}
	if i := g.re.SubexpIndex("version"); i >= 0 {
		version = found[i]
	}
	return version, true
}
