// SPDX-License-Identifier: Apache-2.0

package join

// prompt finds what a tool call was for: the last thing asked before it, in the
// same turn or conversation.
func (a *Account) prompt(c *Call) {
	var best *Prompt
	var link Link
	for i := range a.Prompts {
		p := &a.Prompts[i]
		if p.At.After(c.Began.Add(slack)) {
			continue
		}
		switch {
		case c.Turn != "" && p.Turn == c.Turn:
			best, link = p, Link{Exact, "the same turn"}
		case link.Confidence == Exact:
		case c.Thread != "" && p.Thread == c.Thread:
			best, link = p, Link{High, "the last prompt before it in the same conversation"}
		case link.Confidence == High:
		case c.Thread == "" || p.Thread == "":
			best, link = p, Link{Medium, "the last prompt before it in the session"}
		}
	}
	if best != nil {
		chosen := *best
		chosen.Link = &link
		c.Prompt = &chosen
	}
}
