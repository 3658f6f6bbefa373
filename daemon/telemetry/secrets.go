// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
)

// secret is a shape that secrets have. Every expression is RE2's: the time it
// takes is linear, whatever the text.
//
// Shapes are those that the issuers publish. gitleaks' detector was tried as a
// library: it brings 99 modules, and is made for files at rest, not for arguments.
type secret struct {
	kind  string
	words []string // in lower case, three letters or more; without any of them the shape cannot be there
	shape *regexp.Regexp
	// The last group of shape is the secret, or all of it if there is none.
	likely func(string) bool // nil: always
}

func shape(kind, words, expression string) secret {
	return secret{kind: kind, words: strings.Fields(words), shape: regexp.MustCompile(expression)}
}

func named(kind, words, expression string, likely func(string) bool) secret {
	s := shape(kind, words, expression)
	s.likely = likely
	return s
}

// secretWords are the ends of names whose values are secrets whatever they look
// like; keyWords of those whose values are when they look random.
const (
	secretWords = `passwords?|passwd|passphrase|pass_?phrase|userpass|dbpass|db_pass|passcode`
	keyWords    = `secret|token|api[-_]?key|apikey|access[-_]?key|account[-_]?key|private[-_]?key|secret[-_]?key|encryption[-_]?key|signing[-_]?key|auth[-_]?key|credentials?|authtoken|auth`
)

// secrets is every shape, the more certain ones first.
var secrets = []secret{
	shape("private-key", "private", `(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\z)`),
	shape("github-fine-grained-pat", "github_pat_", `\bgithub_pat_[A-Za-z0-9_]{22,}`),
	shape("github-pat", "ghp_", `\bghp_[A-Za-z0-9]{36,}`),
	shape("github-token", "gho_ ghu_ ghs_ ghr_", `\bgh[ousr]_[A-Za-z0-9]{36,}`),
	shape("gitlab-token", "glpat- gldt- glrt- glptt- glcbt- glsoat- glft- glimt- glagent- gloas- glffct-", `\bgl(?:pat|dt|rt|ptt|cbt|soat|ft|imt|agent|oas|ffct)-[A-Za-z0-9_.=-]{20,}`),
	shape("anthropic-key", "sk-ant-", `\bsk-ant-[A-Za-z0-9_-]{20,}`),
	shape("openai-key", "sk-proj- sk-svcacct- sk-admin- sk-none-", `\bsk-(?:proj|svcacct|admin|None)-[A-Za-z0-9_-]{20,}`),
	shape("openai-key", "t3blbkfj", `\bsk-[A-Za-z0-9]{16,}T3BlbkFJ[A-Za-z0-9]{16,}`),
	named("api-key", "sk-", `\bsk-(?:[a-z0-9]{2,12}-)?[A-Za-z0-9]{32,}\b`, random),
	shape("aws-access-key", "akia asia abia acca", `\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b`),
	shape("slack-token", "xoxa- xoxb- xoxe- xoxe. xoxo- xoxp- xoxr- xoxs- xoxc- xoxd-", `\bxox(?:[abceoprsd]|e\.xox[bp])[-.][A-Za-z0-9%/+.-]{10,}`),
	shape("slack-token", "xapp-", `\bxapp-\d-[A-Z0-9]{6,20}-\d{6,20}-[A-Za-z0-9]{20,}`),
	shape("slack-webhook", "hooks.slack.com", `hooks\.slack\.com/(?:services|workflows|triggers)/([A-Za-z0-9+/_-]{20,})`),
	shape("google-api-key", "aiza", `\bAIza[0-9A-Za-z_-]{35}`),
	shape("google-oauth-token", "ya29.", `\bya29\.[0-9A-Za-z_.-]{20,}`),
	shape("google-client-secret", "gocspx-", `\bGOCSPX-[A-Za-z0-9_-]{20,40}`),
	shape("jwt", "eyj", `\bey[IJ][A-Za-z0-9_-]{8,}\.ey[IJ][A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*`),
	shape("npm-token", "npm_", `\bnpm_[A-Za-z0-9]{36}\b`),
	shape("pypi-token", "pypi-ageichlwas5vcmc pypi-agenf", `\bpypi-Ag[A-Za-z0-9_-]{50,}`),
	shape("stripe-key", "sk_live_ rk_live_ sk_test_ rk_test_ whsec_", `\b(?:[sr]k_(?:live|test)_|whsec_)[A-Za-z0-9]{16,}`),
	shape("sendgrid-key", "sg.", `\bSG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{32,}`),
	shape("huggingface-token", "hf_", `\bhf_[A-Za-z0-9]{30,}\b`),
	shape("digitalocean-token", "dop_v1_ doo_v1_ dor_v1_", `\bdo[por]_v1_[a-f0-9]{64}\b`),
	shape("vault-token", "hvs. hvb. hvr.", `\bhv[sbr]\.[A-Za-z0-9_-]{24,}`),
	shape("docker-token", "dckr_pat_ dckr_oat_", `\bdckr_[po]at_[A-Za-z0-9_-]{20,}`),
	shape("databricks-token", "dapi", `\bdapi[a-f0-9]{32}(?:-\d)?\b`),
	shape("atlassian-token", "atatt3 atbb", `\bAT(?:ATT3|BB)[A-Za-z0-9_=-]{24,}`),
	shape("shopify-token", "shpat_ shpca_ shppa_ shpss_", `\bshp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}\b`),
	shape("tailscale-key", "tskey-", `\btskey-[a-z]{2,12}-[A-Za-z0-9]{6,40}-[A-Za-z0-9]{16,}`),
	shape("linear-key", "lin_api_", `\blin_api_[A-Za-z0-9]{32,}`),
	shape("age-key", "age-secret-key-", `\bAGE-SECRET-KEY-1[A-Z0-9]{50,}`),
	shape("cratesio-token", "cio", `\bcio[A-Za-z0-9]{32}\b`),
	shape("rubygems-key", "rubygems_", `\brubygems_[a-f0-9]{48}\b`),
	shape("telegram-token", ":aa", `\b\d{8,10}:AA[A-Za-z0-9_-]{33}\b`),

	named("url-password", "://", `[A-Za-z][A-Za-z0-9+.-]{0,30}://[^\s/?#:@'"]*:([^\s/?#@'"]+)@`, literal),
	named("authorization", "authorization", `(?i)\bauthorization["']?\s{0,4}[:=]\s{0,4}["']?(?:(?:bearer|basic|token|digest|negotiate|apikey|aws4-hmac-sha256)\s{1,4})?([^\s"',;]+)`, literal),
	named("bearer-token", "bearer", `(?i)\bbearer\s{1,4}([A-Za-z0-9_.~+/=-]{16,})`, random),
	named("header-secret", "-key -token -secret", `(?i)\b(?:x-[a-z-]{0,40}(?:key|token|secret)|private-token|job-token|deploy-token)["']?\s{0,4}:\s{0,4}["']?([^\s"',;]{6,})`, literal),
	named("cookie", "cookie", `(?i)\b(?:set-)?cookie:\s{0,4}([^"'\n]{8,})`, literal),
	named("password", "curl http wget", `(?i)\b(?:curl|https?|wget)\b[^|;&\n]*?\s(?:-u|--user|--proxy-user|-U|-a|--auth)[ =]?["']?[^\s:'"]*:([^\s'"]+)`, literal),
	named("password", "sshpass", `\bsshpass\s+-p\s{0,2}["']?([^\s'"]+)`, literal),
	named("password", "mysql mariadb", `\b(?:mysql|mariadb)[a-z]{0,12}\b[^|;&\n]*?\s-p["']?([^\s'"-][^\s'"]*)`, literal),
	named("password", "pass", `(?i)(?:\b|_|--?)(?:[a-z0-9]+[-_.])*[a-z0-9]*(?:`+secretWords+`)["']?(?:\s{0,3}[=:]\s{0,3}|\s{1,3})["']?([^\s"',;&|<>()]+)`, nil),
	named("secret", "secret token key credential auth", `(?i)(?:\b|_|--?)(?:[a-z0-9]+[-_.])*[a-z0-9]*(?:`+keyWords+`)["']?(?:\s{0,3}[=:]\s{0,3}|\s{1,3})["']?([A-Za-z0-9_.~+/=:%!@#$^*-]{8,})`, random),
}

// shortestSecret is the length of the shortest text in which one is found, in
// bytes: -p x.
const shortestSecret = 4

var markers = regexp.MustCompile(`\[redacted:[a-z-]+:[0-9a-f]{4}\]`)

// span is where a secret is in a text.
type span struct {
	from, to int
	kind     string
}

// findSecrets returns what is secret in a text, in order, without overlaps.
func findSecrets(s string) []span {
	hits := triggered(s)
	if hits == 0 {
		return nil
	}
	var found []span
	for _, m := range markers.FindAllStringIndex(s, -1) {
		found = append(found, span{from: m[0], to: m[1]}) // what was redacted before stays as it is
	}
	for i := range secrets {
		if hits&(1<<i) == 0 {
			continue
		}
		for _, m := range secrets[i].shape.FindAllStringSubmatchIndex(s, -1) {
			f := span{m[len(m)-2], m[len(m)-1], secrets[i].kind}
			if f.from < 0 || !secrets[i].accepts(s, m, f) {
				continue
			}
			overlaps := func(g span) bool { return f.from < g.to && g.from < f.to }
			if !slices.ContainsFunc(found, overlaps) {
				found = append(found, f)
			}
		}
	}
	found = slices.DeleteFunc(found, func(f span) bool { return f.kind == "" })
	slices.SortFunc(found, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	return found
}

func (x *secret) accepts(s string, match []int, f span) bool {
	value := s[f.from:f.to]
	if x.kind == "password" && x.likely == nil {
		return isPassword(s[match[0]:f.from], value)
	}
	return x.likely == nil || x.likely(value)
}
