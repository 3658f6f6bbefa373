// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"math"
	"regexp"
	"strings"
)

// literal says that a value stands for itself, and not for one that is put in
// its place later: a variable, a placeholder, what was redacted before.
func literal(s string) bool {
	switch {
	case s == "", strings.HasPrefix(s, "$"), strings.HasPrefix(s, "`"), strings.HasPrefix(s, "[redacted:"):
		return false
	case strings.HasPrefix(s, "{{"), strings.HasPrefix(s, "<"), strings.HasPrefix(s, "%{"), strings.HasPrefix(s, "@"):
		return false
	}
	if len(s) >= 3 && strings.Trim(s, "xX") == "" {
		return false
	}
	return strings.Trim(s, "*.-_") != ""
}

// isPassword says whether what follows the name of a password is one. Written
// as text and not as an assignment or an option, it is as likely a sentence.
func isPassword(before, value string) bool {
	if !literal(value) || strings.HasPrefix(value, "-") || strings.ContainsAny(value[:1], `/.[{=`) {
		return false
	}
	if strings.ContainsAny(before, "=:") {
		return !isWordOfCode(value)
	}
	return strings.HasPrefix(before, "-") && len(value) > 0
}

// isWordOfCode says that a value is the name of a type, as in a declaration.
func isWordOfCode(s string) bool {
	switch strings.TrimRight(strings.ToLower(s), "?,;") {
	case "string", "str", "text", "true", "false", "null", "none", "nil", "bytes", "any", "bool", "optional[str]", "required":
		return true
	}
	return false
}

// random says that a value looks drawn and not written: it is long enough, has
// digits or both cases, and its letters are spread.
func random(s string) bool {
	if !literal(s) || strings.HasPrefix(s, "/") || strings.HasPrefix(s, "./") || strings.HasPrefix(s, "~/") || strings.Contains(s, "://") {
		return false
	}
	var digits, upper, lower int
	for i := range len(s) {
		switch c := s[i]; {
		case '0' <= c && c <= '9':
			digits++
		case 'A' <= c && c <= 'Z':
			upper++
		case 'a' <= c && c <= 'z':
			lower++
		}
	}
	if digits == 0 && (upper == 0 || lower == 0 || len(s) < 20) || digits+upper+lower < len(s)*2/3 {
		return false
	}
	if digits == len(s) {
		return false // a number: a port, a size, a time
	}
	if isFileName.MatchString(s) {
		return false
	}
	return entropy(s) >= 2.8
}

var isFileName = regexp.MustCompile(`(?i)^[\w./-]+\.(?:go|js|ts|tsx|py|rs|c|h|md|txt|json|ya?ml|toml|pem|key|crt|sh|sql|html|css|log|env|lock)(?::\d+)*$`)

// entropy is Shannon's, in bits per byte.
func entropy(s string) float64 {
	var count [256]int
	for i := range len(s) {
		count[s[i]]++
	}
	h := 0.0
	for _, n := range count {
		if n > 0 {
			p := float64(n) / float64(len(s))
			h -= p * math.Log2(p)
		}
	}
	return h
}

var (
	passwordOption = regexp.MustCompile(`(?i)^--?(?:[a-z0-9]+[-_.])*[a-z0-9]*(?:` + secretWords + `)$`)
	keyOption      = regexp.MustCompile(`(?i)^--?(?:[a-z0-9]+[-_.])*[a-z0-9]*(?:` + keyWords + `)$`)
)

// saidBefore says whether an argument is a secret because the one before it, or
// the program, says so, and where in it the secret begins.
func saidBefore(program, before, s string) (kind string, from int, found bool) {
	if strings.HasPrefix(before, "-") && s != "" {
		switch {
		case len(before) > 3 && triggered(before) == 0:
		case len(before) > 3 && passwordOption.MatchString(before):
			return "password", 0, literal(s) && !strings.HasPrefix(s, "-")
		case len(before) > 3 && keyOption.MatchString(before):
			return "secret", 0, random(s)
		case before == "-u" || before == "--user" || before == "--proxy-user" || before == "-U" || before == "-a":
			if program != "curl" && program != "http" && program != "https" && program != "wget" {
				return "", 0, false
			}
			colon := strings.IndexByte(s, ':')
			return "password", colon + 1, colon >= 0 && literal(s[colon+1:])
		case before == "-p" && program == "sshpass":
			return "password", 0, literal(s)
		}
	}
	if (strings.HasPrefix(program, "mysql") || strings.HasPrefix(program, "mariadb")) && strings.HasPrefix(s, "-p") && len(s) > 2 {
		return "password", 2, literal(s[2:])
	}
	if program == "sshpass" && strings.HasPrefix(s, "-p") && len(s) > 2 {
		return "password", 2, literal(s[2:])
	}
	return "", 0, false
}
