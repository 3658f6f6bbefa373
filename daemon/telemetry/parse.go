// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// parseAttrs reads what appendAttrs wrote; nothing gives no attributes. A value
// of any other type is an error.
//
// It reads what encoding/json would, in a third of the time: every event that is
// shown or exported passes here. A fuzz test compares the two.
func parseAttrs(b []byte) (map[string]any, error) {
	if len(b) == 0 {
		return nil, nil
	}
	p := attrParser{text: b}
	attrs, err := p.object()
	if err != nil {
		return nil, fmt.Errorf("attributes, byte %d: %w", p.at, err)
	}
	if p.space(); p.at < len(b) {
		return nil, fmt.Errorf("attributes: something follows the object")
	}
	if len(attrs) == 0 {
		return nil, nil
	}
	return attrs, nil
}

// attrParser reads JSON from text on.
type attrParser struct {
	text []byte
	at   int
}

func (p *attrParser) space() {
	for p.at < len(p.text) {
		switch p.text[p.at] {
		case ' ', '\t', '\n', '\r':
			p.at++
		default:
			return
		}
	}
}

// next is the next byte that is no space, 0 at the end.
func (p *attrParser) next() byte {
	p.space()
	if p.at == len(p.text) {
		return 0
	}
	return p.text[p.at]
}

// take reads c and says whether it was there.
func (p *attrParser) take(c byte) bool {
	if p.next() != c {
		return false
	}
	p.at++
	return true
}

func (p *attrParser) object() (map[string]any, error) {
	if !p.take('{') {
		return nil, fmt.Errorf("no object")
	}
	out := make(map[string]any, 24)
	if p.take('}') {
		return out, nil
	}
	for {
		key, err := p.key()
		if err != nil {
			return nil, err
		}
		if !p.take(':') {
			return nil, fmt.Errorf("attribute %q: no colon", key)
		}
		if out[key], err = p.value(); err != nil {
			return nil, fmt.Errorf("attribute %q: %w", key, err)
		}
		if p.take('}') {
			return out, nil
		}
		if !p.take(',') {
			return nil, fmt.Errorf("attribute %q: no end", key)
		}
	}
}

// key reads a name, for which there mostly is a string already.
func (p *attrParser) key() (string, error) {
	raw, plain, err := p.raw()
	if err != nil {
		return "", err
	}
	if plain {
		if a := attributesByName[string(raw[1:len(raw)-1])]; a != nil {
			return a.Name, nil
		}
		return string(raw[1 : len(raw)-1]), nil
	}
	return unquote(raw)
}

func (p *attrParser) value() (any, error) {
	switch c := p.next(); {
	case c == '"':
		return p.string()
	case c == 't' && p.word("true"):
		return true, nil
	case c == 'f' && p.word("false"):
		return false, nil
	case c == '[':
		return p.list()
	case c == '-' || '0' <= c && c <= '9':
		return p.number()
	}
	return nil, fmt.Errorf("no string, number, boolean or list of strings")
}

func (p *attrParser) word(w string) bool {
	if len(p.text)-p.at < len(w) || string(p.text[p.at:p.at+len(w)]) != w {
		return false
	}
	p.at += len(w)
	return true
}

func (p *attrParser) list() ([]string, error) {
	p.at++
	out := []string{}
	if p.take(']') {
		return out, nil
	}
	for {
		s, err := p.string()
		if err != nil {
			return nil, fmt.Errorf("element %d of the list: %w", len(out), err)
		}
		out = append(out, s)
		if p.take(']') {
			return out, nil
		}
		if !p.take(',') {
			return nil, fmt.Errorf("the list has no end")
		}
	}
}

func (p *attrParser) string() (string, error) {
	raw, plain, err := p.raw()
	if err != nil {
		return "", err
	}
	if plain {
		return string(raw[1 : len(raw)-1]), nil
	}
	return unquote(raw)
}

// raw reads a string with its quotes, and says whether it stands for itself.
func (p *attrParser) raw() (raw []byte, plain bool, err error) {
	if p.next() != '"' {
		return nil, false, fmt.Errorf("no string")
	}
	start := p.at
	plain = true
	for i := start + 1; i < len(p.text); i++ {
		switch c := p.text[i]; {
		case c == '"':
			p.at = i + 1
			raw = p.text[start:p.at]
			return raw, plain && utf8.Valid(raw), nil
		case c == '\\':
			plain = false
			i++
		case c < ' ':
			return nil, false, fmt.Errorf("a control character in a string")
		}
	}
	return nil, false, fmt.Errorf("a string has no end")
}

// unquote reads a string with escapes.
func unquote(raw []byte) (string, error) {
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", err
	}
	return s, nil
}

func (p *attrParser) number() (any, error) {
	start, whole := p.at, true
	digits := func() int {
		from := p.at
		for p.at < len(p.text) && '0' <= p.text[p.at] && p.text[p.at] <= '9' {
			p.at++
		}
		return p.at - from
	}
	is := func(set string) bool {
		for i := range len(set) {
			if p.at < len(p.text) && p.text[p.at] == set[i] {
				p.at++
				return true
			}
		}
		return false
	}
	is("-")
	ok := is("0") || digits() > 0
	if is(".") {
		whole = false
		ok = ok && digits() > 0
	}
	if is("eE") {
		whole = false
		is("+-")
		ok = ok && digits() > 0
	}
	text := string(p.text[start:p.at])
	if !ok {
		return nil, fmt.Errorf("%q is no number", text)
	}
	if whole {
		return strconv.ParseInt(text, 10, 64)
	}
	return strconv.ParseFloat(text, 64)
}
