// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// hostPattern is what a key of Codex's table domains matches: one of exact, within
// and glob is set.
type hostPattern struct {
	exact Host
	// within is the x of "*.x" and "**.x". apex: x itself, too.
	within string
	apex   bool
	glob   *regexp.Regexp
}

// parseHostPattern reads a pattern as Codex does (globset, with "*." and "**." in
// front of a name meaning what is below it, and below it and itself). It has no
// port: one that is there is left out, as in Codex.
func parseHostPattern(written string) (hostPattern, error) {
	s := strings.TrimSpace(written)
	if strings.Count(s, ":") == 1 && !strings.HasPrefix(s, "[") {
		var port string
		s, port, _ = strings.Cut(s, ":")
		if strings.Trim(port, "0123456789") != "" {
			return hostPattern{}, errors.New("write the host only: no scheme, no path")
		}
	}
	s = strings.TrimRight(s, ".")
	rest, apex := strings.CutPrefix(s, "**.")
	below := apex
	if !apex {
		rest, below = strings.CutPrefix(s, "*.")
	}
	if s == "" {
		return hostPattern{}, errors.New("it is empty")
	}
	if len(s) > maxHost {
		return hostPattern{}, errors.New("it is too long")
	}
	bracketed := strings.HasPrefix(rest, "[") && strings.Contains(rest, ":")
	if strings.ContainsAny(rest, "*?{}\\") || strings.Contains(rest, "[") && !bracketed {
		if below { // globset: something, a dot, and the rest
			s = "*." + rest
		}
		re, err := globRegexp(s)
		if err == nil && apex {
			var alone *regexp.Regexp
			if alone, err = globRegexp(rest); err == nil {
				re, err = regexp.Compile(re.String() + "|" + alone.String())
			}
		}
		return hostPattern{glob: re}, err
	}
	h, err := ParseHost(rest)
	switch {
	case err != nil:
		return hostPattern{}, err
	case !below:
		return hostPattern{exact: h}, nil
	case h.Name() == "":
		return hostPattern{}, fmt.Errorf("nothing is below the address %s", h)
	}
	return hostPattern{within: h.Name(), apex: apex}, nil
}

// meantHost finds the host in what is no pattern, such as a URL. That is for rules
// that deny: to Codex they match nothing.
func meantHost(written string) (hostPattern, error) {
	s := strings.TrimSpace(written)
	if _, rest, url := strings.Cut(s, "://"); url {
		s = rest
	}
	if i := strings.IndexAny(s, "/?#"); i >= 0 {
		s = s[:i]
	}
	return parseHostPattern(s[strings.LastIndexByte(s, '@')+1:])
}

// globRegexp translates a pattern of globset for a whole host. The result runs in
// linear time on any input.
func globRegexp(pattern string) (*regexp.Regexp, error) {
	var re strings.Builder
	re.WriteString(`(?:\A`)
	depth := 0
	lower := strings.ToLower(pattern)
	for i := 0; i < len(lower); i++ {
		switch c := lower[i]; c {
		case '*':
			re.WriteString(`.*`)
			for i+1 < len(lower) && lower[i+1] == '*' {
				i++
			}
		case '?':
			re.WriteString(`.`)
		case '{':
			depth++
			re.WriteString(`(?:`)
		case '}':
			if depth--; depth < 0 {
				return nil, errors.New("a } without its {")
			}
			re.WriteString(`)`)
		case ',':
			if depth == 0 {
				return nil, errors.New("a comma is not possible in a host")
			}
			re.WriteString(`|`)
		case '[':
			end := strings.IndexByte(lower[i:], ']')
			if end < 2 {
				return nil, errors.New("a [ without its ]")
			}
			class := lower[i+1 : i+end]
			if rest, not := strings.CutPrefix(class, "!"); not {
				class = "^" + rest
			}
			if strings.Trim(strings.TrimPrefix(class, "^"), "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
				return nil, errors.New("only letters, digits, - and _ are possible between [ and ]")
			}
			re.WriteString("[" + class + "]")
			i += end
		default:
			if c >= 0x80 || c != '.' && c != ':' && forbiddenInHost(rune(c)) {
				return nil, fmt.Errorf("%q is not possible in a host pattern", string(c))
			}
			re.WriteString(regexp.QuoteMeta(string(c)))
		}
	}
	if depth != 0 {
		return nil, errors.New("a { without its }")
	}
	re.WriteString(`\z)`)
	out, err := regexp.Compile(re.String())
	if err != nil {
		return nil, errors.New("it is no glob pattern")
	}
	return out, nil
}
