// SPDX-License-Identifier: Apache-2.0

package show

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/bidi"
	"golang.org/x/text/unicode/norm"
)

// mistakable reports whether r, which is not ASCII, passes for ASCII wherever it
// stands, or changes the order in which its neighbours are shown.
func mistakable(r rune) bool {
	if r < utf8.RuneSelf {
		return false
	}
	switch p, _ := bidi.LookupRune(r); p.Class() {
	case bidi.R, bidi.AL, bidi.AN:
		return true
	}
	switch {
	case unicode.In(r, unicode.P, unicode.Sm, unicode.Sk, unicode.Lm):
		return true // quotes, dashes, slashes and dots of every kind
	case r >= 0x2500 && r <= 0x257f: // box drawing
		return true
	case r == 'ı' || r == 'ȷ' || r >= 0x1c0 && r <= 0x1c3 || r >= 0x250 && r <= 0x2af: // phonetic letters
		return true
	}
	// Wide, round, mathematical and other forms of ASCII characters, ligatures.
	return strings.ContainsFunc(norm.NFKC.String(string(r)), func(c rune) bool { return c < utf8.RuneSelf })
}

// twins are letters of other scripts that look like one of ASCII in common fonts.
const twins = "аАВсСԁеЕҽғԍһНіІјЈкКӏӀМпоОрРԛԚЅѕтТиуУѵѴԜԝхХҮүЗзьѡ" + // Cyrillic
	"ΑαΒΕεΖΗηΙιΚκΜΝνΟοΡρΤτΥυΧχϲϹϳωγ" + // Greek
	"աոսօհցզտքՕՍԼ" // Armenian

// lookalikes returns the places of letters in s that are to be taken for ASCII
// ones: letters of another script in a word with Latin ones, and words in which
// every letter has a twin.
func lookalikes(s string) map[int]bool {
	var out map[int]bool
	word := func(from, to int) {
		var foreign []int
		latin, all := false, true
		for i, r := range s[from:to] {
			switch {
			case r < utf8.RuneSelf || unicode.Is(unicode.Latin, r):
				latin = latin || unicode.IsLetter(r)
			case unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul):
				all = false
			case unicode.IsLetter(r):
				foreign = append(foreign, from+i)
				all = all && (strings.ContainsRune(twins, r) || unicode.In(r, unicode.Cherokee, unicode.Lisu, unicode.Coptic, unicode.Old_Italic, unicode.Deseret))
			}
		}
		if !latin && !all {
			return
		}
		for _, i := range foreign {
			if out == nil {
				out = map[int]bool{}
			}
			out[i] = true
		}
	}
	begin := -1
	for i, r := range s {
		in := unicode.In(r, unicode.L, unicode.M, unicode.N)
		if in && begin < 0 {
			begin = i
		}
		if !in && begin >= 0 {
			word(begin, i)
			begin = -1
		}
	}
	if begin >= 0 {
		word(begin, len(s))
	}
	return out
}
