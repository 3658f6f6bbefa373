// SPDX-License-Identifier: Apache-2.0

package telemetry

// Most texts hold no secret, and expressions cost a hundred times as much as a
// look at each byte. So a text is first searched for the words without which no
// shape can be there: three bytes at a time, whatever their case.

// word is one of secret.words.
type word struct {
	text  string
	rules uint64 // the places in secrets that need it
}

// words are all of them, by the hash of their first three bytes.
var words = wordsOf(secrets)

type wordTable struct {
	first [1 << 15 / 64]uint64 // a bit for each hash that a word has: small enough to stay in the nearest cache
	slot  [1 << 15]uint8       // of those, the place in lists
	lists [][]word
}

func wordsOf(secrets []secret) *wordTable {
	if len(secrets) > 64 {
		panic("telemetry: more shapes of secrets than bits")
	}
	t := &wordTable{}
	for i := range secrets {
		for _, text := range secrets[i].words {
			h := uint32(0)
			for j := range 3 {
				h = h<<5 | uint32(fold[text[j]])
			}
			if t.first[h/64]&(1<<(h%64)) == 0 {
				t.first[h/64] |= 1 << (h % 64)
				t.slot[h] = uint8(len(t.lists))
				t.lists = append(t.lists, nil)
			}
			list := &t.lists[t.slot[h]]
			*list = append(*list, word{text, 1 << i})
		}
	}
	return t
}

// fold maps a byte to five bits: letters by their place, whatever their case.
var fold = func() (f [256]uint8) {
	for c := range 256 {
		switch {
		case 'a' <= c && c <= 'z':
			f[c] = uint8(c - 'a' + 1)
		case 'A' <= c && c <= 'Z':
			f[c] = uint8(c - 'A' + 1)
		case '0' <= c && c <= '9':
			f[c] = 27
		case c == '_' || c == '-':
			f[c] = 28
		case c == ':' || c == '/' || c == '.':
			f[c] = 29
		default:
			f[c] = 30
		}
	}
	return f
}()

// triggered returns which shapes may be in a text.
func triggered(s string) uint64 {
	var rules uint64
	h := uint32(0)
	for i := range len(s) {
		h = (h<<5 | uint32(fold[s[i]])) & (1<<15 - 1)
		if i < 2 || words.first[h/64]&(1<<(h%64)) == 0 {
			continue
		}
		for _, w := range words.lists[words.slot[h]] {
			if rules&w.rules == 0 && hasFolded(s[i-2:], w.text) {
				rules |= w.rules
			}
		}
	}
	return rules
}

// hasFolded says whether s begins with a word in lower case, whatever its own.
func hasFolded(s, word string) bool {
	if len(s) < len(word) {
		return false
	}
	for i := range len(word) {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != word[i] {
			return false
		}
	}
	return true
}
